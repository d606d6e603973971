/**
 * O_TMPFILE: an inode that is open and has no name. To the store it is an orphan from its birth
 * (namespace.ts, dropLink): it goes with the last session that has it open, and after a crash if
 * nobody comes back to it. What tells it from a file that has lost its names is FLAG_UNNAMED: link
 * may give it its first name (unnamed.ts).
 */
import { errno } from '../common/errno.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { CreateRequest } from '../protocol/wire.generated.js';
import { FLAG_UNNAMED, InodeRecord, S_IFREG } from './inode-record.js';
import { inheritPermissions } from './inode-xattrs.js';
import { orphanKey } from './keys.js';
import { addInode, undoInode } from './namespace-create.js';
import type { Call, Namespace } from './namespace.js';

const PERMISSION_BITS = 0o7777;
const noBytes = new Uint8Array(0);

/** A CreateRequest without a name. The directory gives the inode its place and what it inherits. */
export function tmpFile(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const directory = ns.loadDirectory(ns.inodeField(call, CreateRequest.parent));
  if (directory < 0) return -directory;
  const inode = ns.allocateInode(bucketOfInode(ns.inodes.inode(directory)));
  if (inode === 0) return errno.ENOSPC;
  const mode = S_IFREG | (words[(call.body + CreateRequest.mode) >>> 2]! & PERMISSION_BITS);
  const uid = words[(call.body + CreateRequest.uid) >>> 2]!;
  const gid = words[(call.body + CreateRequest.gid) >>> 2]!;
  const umask = words[(call.body + CreateRequest.umask) >>> 2]!;
  const at = addInode(ns, inode, directory, mode, uid, gid);
  const inherited = inheritPermissions(ns, directory, at, umask);
  if (inherited !== 0) return undoInode(ns, at, inherited);
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  ns.inodes.set32(at, InodeRecord.flags, flags | FLAG_UNNAMED);
  ns.orphans.add(inode);
  ns.meta.put(orphanKey(inode), noBytes);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  call.openInode = inode;
  return 0;
}
