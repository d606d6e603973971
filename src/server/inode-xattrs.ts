/**
 * An inode's extended attributes within a transaction: read, change, store, with the flags of its
 * record kept in step. And what other operations ask of them: the mode that a changed ACL gives,
 * the ACL that a changed mode gives, what a new file inherits, what a write takes away.
 */
import { errno } from '../common/errno.js';
import { aclOfMode, inheritAcl, modeOfAcl } from '../protocol/posix-acl.js';
import {
  FLAG_ACCESS_ACL,
  FLAG_CAPABILITY,
  FLAG_DEFAULT_ACL,
  FLAG_XATTRS,
  InodeRecord,
  S_IFDIR,
  S_IFMT,
} from './inode-record.js';
import { xattrsKey } from './keys.js';
import type { MetaStore } from './meta-store-api.js';
import type { Namespace } from './namespace.js';
import { findXattr, packXattrs, parseXattrs } from './xattr-set.js';
import type { Xattr } from './xattr-set.js';

export const ACCESS_ACL = Buffer.from('system.posix_acl_access');
export const DEFAULT_ACL = Buffer.from('system.posix_acl_default');
const CAPABILITY = Buffer.from('security.capability');
const FLAGS = FLAG_XATTRS | FLAG_ACCESS_ACL | FLAG_DEFAULT_ACL | FLAG_CAPABILITY;
const PERMISSIONS = 0o777;

/** Sorted; undefined when what is stored is damaged. They lie in the store's memory: see `get`. */
export function storedXattrs(meta: MetaStore, inode: number): Xattr[] | undefined {
  const stored = meta.get(xattrsKey(inode));
  return stored === undefined ? [] : parseXattrs(stored);
}

/** Of the record at this offset. They are valid until the store's next call. */
export function loadXattrs(ns: Namespace, at: number): Xattr[] | undefined {
  if ((ns.inodes.get32(at, InodeRecord.flags) & FLAG_XATTRS) === 0) return [];
  return storedXattrs(ns.meta, ns.inodes.inode(at));
}

/** Stores the set and touches the record. 0 or an errno; then nothing has changed. */
export function storeXattrs(ns: Namespace, at: number, xattrs: Xattr[]): number {
  const packed = packXattrs(xattrs);
  if (typeof packed === 'number') return -packed;
  const key = xattrsKey(ns.inodes.inode(at));
  if (xattrs.length === 0) ns.meta.remove(key);
  else ns.meta.put(key, packed);
  let flags = xattrs.length === 0 ? 0 : FLAG_XATTRS;
  if (findXattr(xattrs, ACCESS_ACL) >= 0) flags |= FLAG_ACCESS_ACL;
  if (findXattr(xattrs, DEFAULT_ACL) >= 0) flags |= FLAG_DEFAULT_ACL;
  if (findXattr(xattrs, CAPABILITY) >= 0) flags |= FLAG_CAPABILITY;
  const others = ns.inodes.get32(at, InodeRecord.flags) & ~FLAGS;
  ns.inodes.set32(at, InodeRecord.flags, others | flags);
  ns.inodes.touch(at);
  return 0;
}

/** Puts `value` under `name`, or takes it away. The set stays sorted. */
export function replaceXattr(xattrs: Xattr[], name: Buffer, value: Uint8Array | null): void {
  const index = findXattr(xattrs, name);
  if (value === null) {
    if (index >= 0) xattrs.splice(index, 1);
  } else if (index >= 0) {
    xattrs[index]!.value = value;
  } else {
    xattrs.splice(-1 - index, 0, { name, value });
  }
}

/** chmod: the access ACL's owner, mask (or owning group) and others follow the mode. */
export function changeMode(ns: Namespace, at: number): void {
  if ((ns.inodes.get32(at, InodeRecord.flags) & FLAG_ACCESS_ACL) === 0) return;
  const xattrs = loadXattrs(ns, at);
  const index = xattrs === undefined ? -1 : findXattr(xattrs, ACCESS_ACL);
  if (xattrs === undefined || index < 0) return;
  xattrs[index]!.value = aclOfMode(xattrs[index]!.value, ns.inodes.mode(at));
  storeXattrs(ns, at, xattrs);
}

/** An access ACL, checked, becomes the inode's: `mode` follows it. Null where the mode says it all. */
export function adoptAccessAcl(ns: Namespace, at: number, acl: Uint8Array): Uint8Array | null {
  const { permissions, equivalent } = modeOfAcl(acl);
  ns.inodes.setMode(at, (ns.inodes.mode(at) & ~PERMISSIONS) | permissions);
  ns.inodes.touch(at);
  return equivalent ? null : acl;
}

/** What a new inode gets from its directory's default ACL. */
export interface InheritedAcls {
  mode: number;
  /** Of the new inode, sorted. */
  xattrs: Xattr[];
}

/**
 * What an inode that is to have `mode` (type included) gets in the directory at this offset, which
 * has a default ACL: undefined when that is damaged.
 */
export function inheritedAcls(
  ns: Namespace,
  directory: number,
  mode: number,
): InheritedAcls | undefined {
  const xattrs = loadXattrs(ns, directory);
  const index = xattrs === undefined ? -1 : findXattr(xattrs, DEFAULT_ACL);
  if (xattrs === undefined || index < 0) return undefined;
  const inherited = inheritAcl(xattrs[index]!.value, mode);
  const own: Xattr[] = [];
  if (inherited.access !== null) own.push({ name: ACCESS_ACL, value: inherited.access });
  if ((mode & S_IFMT) === S_IFDIR) own.push({ name: DEFAULT_ACL, value: inherited.copy });
  return { mode: inherited.mode, xattrs: own };
}

/**
 * A new inode in a directory: its mode, and ACLs, by the directory's default ACL where it has one,
 * else the umask. The mode of the record at `at` is as the caller asked for it. 0 or an errno.
 */
export function inheritPermissions(
  ns: Namespace,
  directory: number,
  at: number,
  umask: number,
): number {
  const mode = ns.inodes.mode(at);
  if ((ns.inodes.get32(directory, InodeRecord.flags) & FLAG_DEFAULT_ACL) === 0) {
    ns.inodes.setMode(at, mode & ~(umask & PERMISSIONS));
    return 0;
  }
  const inherited = inheritedAcls(ns, directory, mode);
  if (inherited === undefined) return errno.EIO;
  ns.inodes.setMode(at, inherited.mode);
  return inherited.xattrs.length === 0 ? 0 : storeXattrs(ns, at, inherited.xattrs);
}

/** Writing to a file takes its capabilities. The caller touches the record. */
export function dropCapability(ns: Namespace, at: number): void {
  const xattrs = loadXattrs(ns, at);
  if (xattrs === undefined) return;
  replaceXattr(xattrs, CAPABILITY, null);
  storeXattrs(ns, at, xattrs);
}
