/** A directory that is being made: its inode, and the attributes of its record and of the answer to mkdir. */
import { errno } from '../common/errno.js';
import { Attributes } from '../protocol/wire.generated.js';
import { writeI53, writeU53 } from '../protocol/u53.js';
import { DIRECTORY_BYTES, FLAG_ACCESS_ACL, FLAG_DEFAULT_ACL, FLAG_XATTRS } from './inode-record.js';
import { ACCESS_ACL, DEFAULT_ACL, storeXattrs } from './inode-xattrs.js';
import type { Namespace } from './namespace.js';
import { undoInode } from './namespace-create.js';

export interface NewDirectory {
  /** Where it stands. */
  other: number;
  /** Type and permissions. */
  mode: number;
  uid: number;
  gid: number;
  seconds: number;
  nanoseconds: number;
  accessAcl: Uint8Array;
  defaultAcl: Uint8Array;
}

/** Fills the attributes at this offset. */
export function fillDirectory(
  words: Uint32Array,
  at: number,
  inode: number,
  directory: NewDirectory,
): void {
  words.fill(0, at >>> 2, (at + Attributes.SIZE) >>> 2);
  const { seconds, nanoseconds } = directory;
  const access = directory.accessAcl.length > 0 ? FLAG_ACCESS_ACL : 0;
  const inherited = directory.defaultAcl.length > 0 ? FLAG_DEFAULT_ACL : 0;
  const flags = access | inherited;
  writeU53(words, at + Attributes.inode, inode);
  writeU53(words, at + Attributes.sizeBytes, DIRECTORY_BYTES);
  writeU53(words, at + Attributes.blocks, DIRECTORY_BYTES / 512);
  writeI53(words, at + Attributes.atimeSeconds, seconds);
  writeI53(words, at + Attributes.mtimeSeconds, seconds);
  writeI53(words, at + Attributes.ctimeSeconds, seconds);
  words[(at + Attributes.atimeNanoseconds) >>> 2] = nanoseconds;
  words[(at + Attributes.mtimeNanoseconds) >>> 2] = nanoseconds;
  words[(at + Attributes.ctimeNanoseconds) >>> 2] = nanoseconds;
  words[(at + Attributes.mode) >>> 2] = directory.mode;
  words[(at + Attributes.linkCount) >>> 2] = 2;
  words[(at + Attributes.uid) >>> 2] = directory.uid;
  words[(at + Attributes.gid) >>> 2] = directory.gid;
  words[(at + Attributes.flags) >>> 2] = flags === 0 ? 0 : flags | FLAG_XATTRS;
  writeU53(words, at + Attributes.layout, directory.other);
}

/** Inside a transaction: the new inode in this bucket, or minus an errno; then nothing has changed. */
export function storeDirectory(
  ns: Namespace,
  bucket: number,
  directory: NewDirectory,
  inode = ns.allocateInode(bucket),
): number {
  if (inode === 0) return -errno.ENOSPC;
  const at = ns.inodes.add(inode);
  ns.countInodes(1);
  fillDirectory(ns.inodes.words, at, inode, directory);
  const { accessAcl, defaultAcl } = directory;
  const acls = [];
  if (accessAcl.length > 0) acls.push({ name: ACCESS_ACL, value: accessAcl });
  if (defaultAcl.length > 0) acls.push({ name: DEFAULT_ACL, value: defaultAcl });
  const status = acls.length === 0 ? 0 : storeXattrs(ns, at, acls);
  return status === 0 ? inode : -undoInode(ns, at, status);
}
