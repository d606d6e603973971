/**
 * Whether a stored value is what its format says (docs/formats/metadata.md). Each function answers ''
 * or what is wrong with the value.
 */
import { isInode } from '../placement/inode-number.js';
import {
  batchItemsMax,
  nameBytesMax,
  symlinkBytesMax,
  xattrBytesMax,
  xattrListBytesMax,
  xattrNameBytesMax,
  xattrValueBytesMax,
} from '../protocol/limits.generated.js';
import { SESSION_RECORD_BYTES } from '../transport/rpc-session.js';
import { Dentry } from '../server/dentries.js';
import {
  byteU64,
  FLAG_ACCESS_ACL,
  FLAG_CAPABILITY,
  FLAG_DEFAULT_ACL,
  FLAG_XATTRS,
  InodeRecord,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
} from '../server/inode-record.js';
import { parseXattrs } from '../server/xattr-set.js';

const U53_LIMIT = 2 ** 53;
/** Of a cut intent: five numbers; those of earlier versions end after three. */
const CUT_BYTES = 40;
const CUT_BYTES_MIN = 24;
const types = new Map([
  [S_IFREG, 'a file'],
  [S_IFDIR, 'a directory'],
  [S_IFLNK, 'a symbolic link'],
  [S_IFIFO, 'a fifo'],
  [S_IFSOCK, 'a socket'],
  [S_IFCHR, 'a character device'],
  [S_IFBLK, 'a block device'],
]);

/** 'a directory', of a mode's type bits. */
export function typeName(mode: number): string {
  return types.get(mode & S_IFMT) ?? `of type ${(mode & S_IFMT).toString(8)}`;
}

/** A typed view of unaligned bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

export function inodeProblem(value: Uint8Array, inode: number): string {
  if (value.length !== InodeRecord.SIZE) return `has ${value.length} bytes`;
  const stored = byteU64(value, InodeRecord.inode);
  if (stored !== inode) return `is that of inode ${stored}`;
  if (!isInode(inode)) return 'has a number that no inode has';
  if (byteU64(value, InodeRecord.sizeBytes) >= U53_LIMIT) return 'has a size beyond 2^53';
  if (byteU64(value, InodeRecord.parent) >= U53_LIMIT) return 'has a parent beyond 2^53';
  const mode = viewOf(value).getUint32(InodeRecord.mode, true);
  return mode <= 0xffff && types.has(mode & S_IFMT) ? '' : `has the mode ${mode.toString(8)}`;
}

export function entryProblem(value: Uint8Array): string {
  const nameBytes = value.length - Dentry.name;
  if (nameBytes < 1 || nameBytes > nameBytesMax) return `has ${value.length} bytes`;
  const inode = byteU64(value, Dentry.inode);
  if (!isInode(inode)) return `names inode ${inode}, which cannot be`;
  const mode = value[Dentry.mode]! | (value[Dentry.mode + 1]! << 8);
  if (!types.has(mode)) return `has the type ${mode.toString(8)}`;
  for (let at = Dentry.name; at < value.length; at++) {
    if (value[at] === 0 || value[at] === 0x2f) return 'has a name with a NUL or a slash';
  }
  const dots = value[Dentry.name] === 0x2e && (nameBytes === 1 || value[Dentry.name + 1] === 0x2e);
  return dots && nameBytes <= 2 ? "has the name '.' or '..'" : '';
}

export function linkTargetProblem(value: Uint8Array): string {
  if (value.length === 0 || value.length > symlinkBytesMax) return `has ${value.length} bytes`;
  return value.includes(0) ? 'has a NUL' : '';
}

/** Flags that a record with these attributes has, or what is wrong with the value. */
export function attributeFlags(value: Uint8Array): number | string {
  const xattrs = parseXattrs(value);
  if (xattrs === undefined) return 'cannot be taken apart';
  if (xattrs.length === 0) return 'is empty';
  if (value.length > xattrBytesMax) return `has ${value.length} bytes`;
  let flags = FLAG_XATTRS;
  let listBytes = 0;
  for (const [index, { name, value: content }] of xattrs.entries()) {
    if (index > 0 && xattrs[index - 1]!.name.compare(name) >= 0) return 'is not sorted by name';
    if (name.length > xattrNameBytesMax || name.includes(0)) return 'has a name that cannot be';
    if (content.length > xattrValueBytesMax) return `has a value of ${content.length} bytes`;
    listBytes += name.length + 1;
    const text = name.toString('latin1');
    if (text === 'system.posix_acl_access') flags |= FLAG_ACCESS_ACL;
    if (text === 'system.posix_acl_default') flags |= FLAG_DEFAULT_ACL;
    if (text === 'security.capability') flags |= FLAG_CAPABILITY;
  }
  return listBytes > xattrListBytesMax ? `has ${listBytes} bytes of names` : flags;
}

export function cutProblem(value: Uint8Array): string {
  const { length } = value;
  if (length < CUT_BYTES_MIN || length > CUT_BYTES || length % 8 !== 0) {
    return `has ${length} bytes`;
  }
  const layout = byteU64(value, 16);
  if (!isInode(byteU64(value, 0)) || byteU64(value, 8) >= U53_LIMIT) return 'names no place';
  return layout === 0 || isInode(layout) ? '' : 'names no layout';
}

export function numberProblem(value: Uint8Array): string {
  if (value.length !== 8) return `has ${value.length} bytes`;
  return byteU64(value, 0) < U53_LIMIT ? '' : 'is beyond 2^53';
}

export function sessionProblem(value: Uint8Array): string {
  return value.length === SESSION_RECORD_BYTES ? '' : `has ${value.length} bytes`;
}

/** The statuses of a batch of a session. */
export function batchStatusesProblem(value: Uint8Array): string {
  const { length } = value;
  return length > 0 && length <= batchItemsMax ? '' : `has ${length} bytes`;
}

/** A u64 below 2^53 as it is stored. */
export function storedNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = viewOf(bytes);
  view.setUint32(0, value >>> 0, true);
  view.setUint32(4, Math.floor(value / 4294967296), true);
  return bytes;
}
