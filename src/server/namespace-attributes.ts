/** Operations that change an inode: SetAttr, Extend, Reserve, MarkStriped, and a write's part. */
import { errno, ESTALE } from '../common/errno.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import {
  ExtendRequest,
  InodeRequest,
  LayoutReply,
  ReserveReply,
  ReserveRequest,
  SetAttrRequest,
  SizeReply,
} from '../protocol/wire.generated.js';
import { isI53, isU53, readI53, readU53, writeU53 } from '../protocol/u53.js';
import {
  FLAG_PROMISED,
  FLAG_CAPABILITY,
  FLAG_STRIPED,
  InodeRecord,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  S_ISGID,
  S_ISUID,
  S_IXGRP,
} from './inode-record.js';
import { changeMode, dropCapability } from './inode-xattrs.js';
import type { Mutation } from './batch.js';
import type { Call, Namespace } from './namespace.js';
import {
  changeInheritance,
  inheritanceOf,
  isSplit,
  lastChange,
  timesAreSet,
} from './partitions/inherit.js';
import { blockedBy } from './transactions/locks.js';
import { entryLock } from './transactions/questions.js';
import { PENDING, STEP_INHERIT } from './transactions/step.js';

export const SET_MODE = 1;
export const SET_UID = 2;
export const SET_GID = 4;
export const SET_SIZE = 8;
export const SET_ATIME = 16;
export const SET_MTIME = 32;
export const SET_ATIME_NOW = 64;
export const SET_MTIME_NOW = 128;
export const SET_DROP_SET_ID = 256;
const WITH_DROP_SET_ID = 1;
const NANOSECONDS = 1e9;

export function setAttr(ns: Namespace, call: Call, mutation: Mutation): number {
  const { words } = call.memory;
  const inode = ns.inodeField(call, SetAttrRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const valid = words[(call.body + SetAttrRequest.valid) >>> 2]!;
  const refused = checkTimes(call, valid);
  if (refused !== 0) return refused;
  const at = ns.inodes.load(inode);
  if (at < 0) return ESTALE;
  if ((valid & SET_SIZE) !== 0) {
    const field = call.body + SetAttrRequest.sizeBytes;
    if (!isU53(words, field)) return errno.EFBIG;
    const status = setSize(ns, call, at, readU53(words, field));
    if (status !== 0) return status;
  }
  if (setsMtime(valid) && ns.inodes.isDirectory(at)) {
    // What is prepared here sets them when it is done.
    mutation.locksBefore ||= ns.locks.next;
    const lock = entryLock(ns, inode, mutation.locksBefore);
    if (lock !== undefined) return blockedBy(mutation, lock);
  }
  if (isSplit(ns, at)) {
    const status = setOfPartitions(ns, call, mutation, at, valid);
    if (status !== 0) return status;
  }
  // Before the mode, which may set anew what a new owner takes away.
  takeBits(ns, at, valid);
  if ((valid & SET_MODE) !== 0) {
    const mode = words[(call.body + SetAttrRequest.mode) >>> 2]!;
    ns.inodes.setMode(at, (ns.inodes.mode(at) & S_IFMT) | (mode & 0o7777));
    changeMode(ns, at);
  }
  if ((valid & SET_UID) !== 0) {
    ns.inodes.set32(at, InodeRecord.uid, words[(call.body + SetAttrRequest.uid) >>> 2]!);
  }
  if ((valid & SET_GID) !== 0) {
    ns.inodes.set32(at, InodeRecord.gid, words[(call.body + SetAttrRequest.gid) >>> 2]!);
  }
  setTimes(ns, call, at, valid);
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  return 0;
}

/** What a split directory's partitions have to know of it: 0, an errno, PENDING, BLOCKED or AGAIN. */
function setOfPartitions(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  at: number,
  valid: number,
): number {
  const { words } = call.memory;
  // Before anything is prepared in the partitions, for which they would wait.
  const last = setsMtime(valid) ? lastChange(ns, mutation, at) : undefined;
  if (setsMtime(valid) && last === undefined) return PENDING;
  const given = inheritanceOf(ns, at, STEP_INHERIT);
  if (given === undefined) return errno.EIO;
  const { mode, gid } = given;
  if ((valid & SET_MODE) !== 0) given.mode = words[(call.body + SetAttrRequest.mode) >>> 2]!;
  if ((valid & SET_UID) !== 0) given.uid = words[(call.body + SetAttrRequest.uid) >>> 2]!;
  if ((valid & SET_GID) !== 0) given.gid = words[(call.body + SetAttrRequest.gid) >>> 2]!;
  if (given.gid !== gid || ((given.mode ^ mode) & S_ISGID) !== 0) {
    const status = changeInheritance(ns, mutation, at, given);
    if (status !== 0) return status;
  }
  if (last !== undefined) timesAreSet(ns, at, last);
  return 0;
}

/** What a new owner or length takes from a file. */
function takeBits(ns: Namespace, at: number, valid: number): void {
  if (ns.inodes.isDirectory(at)) return;
  if ((valid & (SET_UID | SET_GID)) !== 0) dropPrivileges(ns, at, true);
  else if ((valid & (SET_SIZE | SET_DROP_SET_ID)) !== 0) {
    dropPrivileges(ns, at, (valid & SET_DROP_SET_ID) !== 0);
  }
}

function setsMtime(valid: number): boolean {
  return (valid & (SET_MTIME | SET_MTIME_NOW)) !== 0;
}

function checkTimes(call: Call, valid: number): number {
  const { words } = call.memory;
  const { body } = call;
  if ((valid & SET_ATIME) !== 0) {
    if (!isI53(words, body + SetAttrRequest.atimeSeconds)) return errno.EINVAL;
    if (words[(body + SetAttrRequest.atimeNanoseconds) >>> 2]! >= NANOSECONDS) return errno.EINVAL;
  }
  if ((valid & SET_MTIME) !== 0) {
    if (!isI53(words, body + SetAttrRequest.mtimeSeconds)) return errno.EINVAL;
    if (words[(body + SetAttrRequest.mtimeNanoseconds) >>> 2]! >= NANOSECONDS) return errno.EINVAL;
  }
  return 0;
}

function setTimes(ns: Namespace, call: Call, at: number, valid: number): void {
  const { words } = call.memory;
  const { body } = call;
  const now = ns.host.now();
  if ((valid & SET_ATIME_NOW) !== 0) {
    ns.inodes.setAtime(at, now.seconds, now.nanoseconds);
  } else if ((valid & SET_ATIME) !== 0) {
    const seconds = readI53(words, body + SetAttrRequest.atimeSeconds);
    ns.inodes.setAtime(at, seconds, words[(body + SetAttrRequest.atimeNanoseconds) >>> 2]!);
  }
  if ((valid & SET_MTIME_NOW) !== 0) {
    ns.inodes.setMtime(at, now.seconds, now.nanoseconds);
  } else if ((valid & SET_MTIME) !== 0) {
    const seconds = readI53(words, body + SetAttrRequest.mtimeSeconds);
    ns.inodes.setMtime(at, seconds, words[(body + SetAttrRequest.mtimeNanoseconds) >>> 2]!);
  }
}

/** A regular file's new length; a shorter one cuts the data. The reply may have to wait for that. */
export function setSize(ns: Namespace, call: Call, at: number, sizeBytes: number): number {
  const mode = ns.inodes.mode(at) & S_IFMT;
  if (mode === S_IFDIR) return errno.EISDIR;
  if (mode !== S_IFREG) return errno.EINVAL;
  if (sizeBytes > fileBytesMax) return errno.EFBIG;
  const before = ns.inodes.size(at);
  const inode = ns.inodes.inode(at);
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  const promised = (flags & FLAG_PROMISED) !== 0;
  if (
    sizeBytes < before ||
    (sizeBytes === before && promised) ||
    (sizeBytes === 0 && ns.inodes.isStriped(at))
  ) {
    ns.inodes.set32(at, InodeRecord.flags, flags & ~FLAG_PROMISED);
    const striped = ns.inodes.isStriped(at);
    const cutNow = ns.host.cutData(inode, ns.inodes.layout(at), sizeBytes, striped);
    if (!cutNow) call.waitForCut = inode;
  }
  ns.inodes.setSize(at, sizeBytes);
  ns.inodes.setChanged(at, ns.host.now());
  ns.inodes.touch(at);
  return 0;
}

/** A file that was written beyond its first chunk: at least this long, and changed now. */
export function extend(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const at = loadFile(ns, ns.inodeField(call, ExtendRequest.inode));
  if (at < 0) return -at;
  const field = call.body + ExtendRequest.sizeBytes;
  if (!isU53(words, field)) return errno.EFBIG;
  const sizeBytes = readU53(words, field);
  if (sizeBytes > ns.inodes.size(at)) ns.inodes.setSize(at, sizeBytes);
  written(ns, at, (words[(call.body + ExtendRequest.flags) >>> 2]! & WITH_DROP_SET_ID) !== 0);
  writeU53(call.out.words, call.reply + SizeReply.sizeBytes, ns.inodes.size(at));
  call.replyBytes = SizeReply.SIZE;
  call.result1 = ns.inodes.size(at);
  return 0;
}

/** O_APPEND beyond the first chunk: the caller owns [old size, new size). */
export function reserve(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const at = loadFile(ns, ns.inodeField(call, ReserveRequest.inode));
  if (at < 0) return -at;
  const field = call.body + ReserveRequest.lengthBytes;
  if (!isU53(words, field)) return errno.EFBIG;
  const offset = ns.inodes.size(at);
  const sizeBytes = offset + readU53(words, field);
  if (sizeBytes > fileBytesMax) return errno.EFBIG;
  if (sizeBytes > chunkBytes) markStripedRecord(ns, at);
  ns.inodes.setSize(at, sizeBytes);
  written(ns, at, (words[(call.body + ReserveRequest.flags) >>> 2]! & WITH_DROP_SET_ID) !== 0);
  replyReserve(call, offset, sizeBytes);
  call.result0 = offset;
  call.result1 = sizeBytes;
  return 0;
}

export function replyReserve(call: Call, offset: number, sizeBytes: number): void {
  writeU53(call.out.words, call.reply + ReserveReply.offset, offset);
  writeU53(call.out.words, call.reply + ReserveReply.sizeBytes, sizeBytes);
  call.replyBytes = ReserveReply.SIZE;
}

/** Before a file gets data beyond its first chunk: from here on its removal asks other targets. */
export function markStriped(ns: Namespace, call: Call): number {
  const at = loadFile(ns, ns.inodeField(call, InodeRequest.inode));
  if (at < 0) return -at;
  markStripedRecord(ns, at);
  call.result0 = ns.inodes.layout(at);
  replyLayout(call, call.result0);
  return 0;
}

export function replyLayout(call: Call, layout: number): void {
  writeU53(call.out.words, call.reply + LayoutReply.layout, layout);
  call.replyBytes = LayoutReply.SIZE;
}

export function markStripedRecord(ns: Namespace, at: number): void {
  ns.inodes.set32(at, InodeRecord.flags, ns.inodes.get32(at, InodeRecord.flags) | FLAG_STRIPED);
  ns.inodes.touch(at);
}

/** Offset of a regular file's record, or minus an errno. */
export function loadFile(ns: Namespace, inode: number): number {
  if (inode === 0) return -errno.EINVAL;
  const at = ns.inodes.load(inode);
  if (at < 0) return -ESTALE;
  const mode = ns.inodes.mode(at) & S_IFMT;
  if (mode === S_IFREG) return at;
  return mode === S_IFDIR ? -errno.EISDIR : -errno.EINVAL;
}

/** A file's data was written: times, and what a write takes away. */
export function written(ns: Namespace, at: number, dropSetId = false): void {
  dropPrivileges(ns, at, dropSetId);
  ns.inodes.setChanged(at, ns.host.now());
  ns.inodes.touch(at);
}

/**
 * What changing a file's data or owner takes away: always security.capability; the set-ID bits
 * unless the caller is privileged (the client says so), the group's only where it may execute. The
 * caller touches the record.
 */
export function dropPrivileges(ns: Namespace, at: number, dropSetId: boolean): void {
  if (dropSetId) {
    const mode = ns.inodes.mode(at);
    let stripped = mode & ~S_ISUID;
    if ((mode & S_IXGRP) !== 0) stripped &= ~S_ISGID;
    if (stripped !== mode) ns.inodes.setMode(at, stripped);
  }
  if ((ns.inodes.get32(at, InodeRecord.flags) & FLAG_CAPABILITY) !== 0) dropCapability(ns, at);
}
