/**
 * Extended attributes: SetXattr, RemoveXattr in a transaction, GetXattr and ListXattr from what is
 * committed. The kernel has checked who may do what; what a name and a value may be, and what an
 * access control list means for the mode, is decided here.
 */
import { errno, ESTALE } from '../common/errno.js';
import { isAcl, isEmptyAcl } from '../protocol/posix-acl.js';
import {
  aclBytesMax,
  xattrListBytesMax,
  xattrNameBytesMax,
  xattrValueBytesMax,
} from '../protocol/limits.generated.js';
import { readU16 } from '../protocol/u53.js';
import { InodeRequest, SetXattrRequest, XattrRequest } from '../protocol/wire.generated.js';
import { XATTR_PREFIXES } from '../protocol/xattr-names.js';
import type { Mutation } from './batch.js';
import {
  FLAG_XATTRS,
  InodeRecord,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  storedInode,
} from './inode-record.js';
import {
  ACCESS_ACL,
  adoptAccessAcl,
  DEFAULT_ACL,
  loadXattrs,
  replaceXattr,
  storedXattrs,
  storeXattrs,
} from './inode-xattrs.js';
import type { Call, Namespace } from './namespace.js';
import { changeInheritance, isSplit } from './partitions/inherit.js';
import { STEP_INHERIT, StepRequest } from './transactions/step.js';
import { findXattr, packXattrs, type Xattr } from './xattr-set.js';

const SET_CREATE = 1;
const SET_REPLACE = 2;
const SET_DROP_SET_GID = 4;
const LIST_WITHOUT_TRUSTED = 1;
const [USER, TRUSTED] = XATTR_PREFIXES as [Buffer, Buffer];

for (const struct of [SetXattrRequest, XattrRequest]) {
  if (struct.inode !== InodeRequest.inode || struct.nameBytes !== 8) throw new Error('layout');
}

function startsWith(name: Buffer, prefix: Buffer): boolean {
  return name.length >= prefix.length && name.subarray(0, prefix.length).equals(prefix);
}

/** A copy of the name behind the struct; or why it cannot be one. */
function nameOf(call: Call, structBytes: number): Buffer | number {
  const length = readU16(call.memory.words, call.body + XattrRequest.nameBytes);
  if (structBytes + length > call.bodyBytes) return errno.EINVAL;
  if (length === 0 || length > xattrNameBytesMax) return errno.ERANGE;
  const from = call.body + structBytes;
  const name = Buffer.from(call.memory.bytes.subarray(from, from + length));
  if (name.includes(0)) return errno.EINVAL;
  if (name.equals(ACCESS_ACL) || name.equals(DEFAULT_ACL)) return name;
  const prefix = XATTR_PREFIXES.find((each) => startsWith(name, each));
  if (prefix === undefined) return errno.EOPNOTSUPP;
  return name.length === prefix.length ? errno.EINVAL : name;
}

/** Whether an inode of this type can have it: 0 or an errno. */
function checkType(name: Buffer, type: number): number {
  if (name.equals(ACCESS_ACL)) return type === S_IFLNK ? errno.EOPNOTSUPP : 0;
  if (name.equals(DEFAULT_ACL)) return type === S_IFDIR ? 0 : errno.EACCES;
  if (startsWith(name, USER) && type !== S_IFREG && type !== S_IFDIR) return errno.EPERM;
  return 0;
}

/** The value, which came behind the name or as bulk; or why not. */
function valueOf(call: Call, mutation: Mutation, nameBytes: number): Uint8Array | number {
  const { words, bytes } = call.memory;
  const length = words[(call.body + SetXattrRequest.valueBytes) >>> 2]!;
  const inlineBytes = words[(call.body + SetXattrRequest.inlineBytes) >>> 2]!;
  if (length > xattrValueBytesMax) return errno.E2BIG;
  const bulk = mutation.context as Uint8Array | undefined;
  if (length > 0 && inlineBytes === 0) return bulk?.length === length ? bulk : errno.EINVAL;
  const from = SetXattrRequest.SIZE + nameBytes;
  if (inlineBytes !== length || from + length > call.bodyBytes) return errno.EINVAL;
  return bytes.subarray(call.body + from, call.body + from + length);
}

export function setXattr(ns: Namespace, call: Call, mutation: Mutation): number {
  const inode = ns.inodeField(call, SetXattrRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const name = nameOf(call, SetXattrRequest.SIZE);
  if (typeof name === 'number') return name;
  let value: Uint8Array | number | null = valueOf(call, mutation, name.length);
  if (typeof value === 'number') return value;
  const at = ns.inodes.load(inode);
  if (at < 0) return ESTALE;
  const refused = checkType(name, ns.inodes.mode(at) & S_IFMT);
  if (refused !== 0) return refused;
  const isAccess = name.equals(ACCESS_ACL);
  if (isAccess || name.equals(DEFAULT_ACL)) {
    if (value.length > aclBytesMax) return errno.E2BIG;
    if (!isEmptyAcl(value) && !isAcl(value)) return errno.EINVAL;
  }
  const xattrs = loadXattrs(ns, at);
  if (xattrs === undefined) return errno.EIO;
  const exists = findXattr(xattrs, name) >= 0;
  const flags = readU16(call.memory.words, call.body + SetXattrRequest.flags);
  if ((flags & SET_CREATE) !== 0 && exists) return errno.EEXIST;
  if ((flags & SET_REPLACE) !== 0 && !exists) return errno.ENODATA;
  if ((isAccess || name.equals(DEFAULT_ACL)) && isEmptyAcl(value)) value = null;
  const mode = ns.inodes.mode(at);
  if (isAccess && value !== null) {
    value = adoptAccessAcl(ns, at, value);
    if ((flags & SET_DROP_SET_GID) !== 0) ns.inodes.setMode(at, ns.inodes.mode(at) & ~S_ISGID);
  }
  replaceXattr(xattrs, name, value);
  const status = tellPartitions(ns, mutation, at, name, xattrs) || storeXattrs(ns, at, xattrs);
  if (status !== 0) ns.inodes.setMode(at, mode);
  return status === 0 ? changed(ns, call, at) : status;
}

/**
 * A split directory's default ACL, or set-group-ID bit, is about to be what the set and its record say
 * already: its partitions have to know. 0, an errno, PENDING, BLOCKED or AGAIN.
 */
function tellPartitions(
  ns: Namespace,
  mutation: Mutation,
  at: number,
  name: Buffer,
  xattrs: Xattr[],
): number {
  if (!isSplit(ns, at) || !(name.equals(ACCESS_ACL) || name.equals(DEFAULT_ACL))) return 0;
  const packed = packXattrs(xattrs);
  if (typeof packed === 'number') return -packed;
  // What the store has lent is gone when it is asked for something else.
  for (const one of xattrs) {
    one.name = Buffer.from(one.name);
    one.value = Uint8Array.from(one.value);
  }
  const given = new StepRequest(STEP_INHERIT, 0);
  given.mode = ns.inodes.mode(at);
  given.uid = ns.inodes.get32(at, InodeRecord.uid);
  given.gid = ns.inodes.get32(at, InodeRecord.gid);
  const index = findXattr(xattrs, DEFAULT_ACL);
  if (index >= 0) given.defaultAcl = xattrs[index]!.value;
  return changeInheritance(ns, mutation, at, given);
}

function changed(ns: Namespace, call: Call, at: number): number {
  ns.inodes.setCtime(at, ns.host.now());
  return unchanged(ns, call, at);
}

function unchanged(ns: Namespace, call: Call, at: number): number {
  ns.replyAttributes(call, at, 0);
  call.result0 = ns.inodes.inode(at);
  return 0;
}

export function removeXattr(ns: Namespace, call: Call, mutation: Mutation): number {
  const inode = ns.inodeField(call, XattrRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const name = nameOf(call, XattrRequest.SIZE);
  if (typeof name === 'number') return name;
  const at = ns.inodes.load(inode);
  if (at < 0) return ESTALE;
  const refused = checkType(name, ns.inodes.mode(at) & S_IFMT);
  if (refused !== 0) return refused;
  const xattrs = loadXattrs(ns, at);
  if (xattrs === undefined) return errno.EIO;
  if (findXattr(xattrs, name) < 0) {
    // An access control list that is not there says the same as the mode.
    const isAcl = name.equals(ACCESS_ACL) || name.equals(DEFAULT_ACL);
    return isAcl ? unchanged(ns, call, at) : errno.ENODATA;
  }
  replaceXattr(xattrs, name, null);
  const status = tellPartitions(ns, mutation, at, name, xattrs) || storeXattrs(ns, at, xattrs);
  return status === 0 ? changed(ns, call, at) : status;
}

/** What GetXattr and ListXattr have found: bytes in the store's memory, valid until its next call. */
export class XattrAnswer {
  bytes: Uint8Array = new Uint8Array(0);
}

/** 0, with the value or the list in `answer`, or an errno. Outside of transactions. */
export function readXattrs(ns: Namespace, call: Call, list: boolean, answer: XattrAnswer): number {
  const { words } = call.memory;
  const inode = ns.inodeField(call, XattrRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const name = list ? Buffer.alloc(0) : nameOf(call, XattrRequest.SIZE);
  if (typeof name === 'number') return name;
  const record = storedInode(ns.meta, inode);
  if (record === undefined) return ESTALE;
  const has = (record[InodeRecord.flags]! & FLAG_XATTRS) !== 0;
  const xattrs = has ? storedXattrs(ns.meta, inode) : [];
  if (xattrs === undefined) return errno.EIO;
  if (list) {
    const flags = readU16(words, call.body + XattrRequest.flags);
    const shown = (flags & LIST_WITHOUT_TRUSTED) === 0;
    const names = xattrs.filter((each) => shown || !startsWith(each.name, TRUSTED));
    answer.bytes = Buffer.concat(names.flatMap((each) => [each.name, Buffer.of(0)]));
  } else {
    const index = findXattr(xattrs, name);
    if (index < 0) return errno.ENODATA;
    answer.bytes = xattrs[index]!.value;
  }
  // More than was ever stored: damaged, and perhaps more than a reply can hold.
  if (answer.bytes.length > Math.max(xattrListBytesMax, xattrValueBytesMax)) return errno.EIO;
  const maxBytes = words[(call.body + XattrRequest.maxBytes) >>> 2]!;
  return maxBytes !== 0 && answer.bytes.length > maxBytes ? errno.ERANGE : 0;
}
