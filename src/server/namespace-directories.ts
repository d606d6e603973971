/**
 * mkdir and rmdir. A directory's inode lies with its own bucket, as a rule on another target than its
 * entry: that is a step of a transaction there (docs/transactions.md).
 */
import { errno, ESTALE } from '../common/errno.js';
import { bucketCount, linkCountMax } from '../protocol/limits.generated.js';
import { MakeDirRequest, NameRequest } from '../protocol/wire.generated.js';
import { readU16 } from '../protocol/u53.js';
import type { Mutation } from './batch.js';
import { fillDirectory, storeDirectory } from './directory-record.js';
import { FLAG_DEFAULT_ACL, FLAG_SPLIT, InodeRecord, S_IFDIR, S_ISGID } from './inode-record.js';
import { DEFAULT_ACL, inheritedAcls } from './inode-xattrs.js';
import type { Call, Namespace } from './namespace.js';
import { addEntry, replyEntry } from './namespace-create.js';
import { readTable } from './partitions/table.js';
import { blockedBy } from './transactions/locks.js';
import { checkEmptyDirectory, emptyingLock } from './transactions/participant.js';
import {
  BLOCKED,
  PENDING,
  STEP_DROP_DIR,
  STEP_MAKE_DIR,
  STEP_TABLE,
  StepRequest,
} from './transactions/step.js';

const PERMISSION_BITS = 0o7777;
const UMASK_BITS = 0o777;
/** Of an answer to mkdir: the attributes are built here before they go into the reply. */
const attributes = new Uint32Array(InodeRecord.SIZE / 4);

export function makeDir(ns: Namespace, call: Call, mutation: Mutation): number {
  const refused = ns.checkName(call, MakeDirRequest.nameBytes, MakeDirRequest.SIZE);
  if (refused !== 0) return refused;
  const { words, bytes } = call.memory;
  const parent = ns.inodeField(call, MakeDirRequest.parent);
  const bucket = words[(call.body + MakeDirRequest.bucket) >>> 2]!;
  if (bucket >= bucketCount) return errno.EINVAL;
  const directory = ns.loadDirectory(parent);
  if (directory < 0) return -directory;
  const nameBytes = readU16(words, call.body + MakeDirRequest.nameBytes);
  const name = call.body + MakeDirRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (ns.dentries.find(parent, bytes, name, nameBytes, ns.found)) return errno.EEXIST;
  if (ns.found.cookie < 0) return errno.ENOSPC;
  if (ns.inodes.linkCount(directory) >= linkCountMax) return errno.EMLINK;
  const request = newDirectory(ns, call, directory, bucket);
  if (request === undefined) return errno.EIO;
  const inode = haveMade(ns, mutation, request);
  if (inode < 0) return inode;
  const status = ns.host.coordinator.decide(mutation);
  if (status !== 0) return status;
  if (inode === 0) return makeHere(ns, call, directory, request);
  linkDirectory(ns, call, directory, inode, request);
  return 0;
}

/** The inode's number once another target has it prepared, PENDING before; 0: it is to be made here. */
function haveMade(ns: Namespace, mutation: Mutation, request: StepRequest): number {
  if (ns.host.owns(request.bucket)) return 0;
  const made = ns.host.coordinator.need(mutation, request);
  return made === undefined ? PENDING : made.inode;
}

/** The new directory with what it gets from its parent; undefined when the parent's ACL is damaged. */
function newDirectory(
  ns: Namespace,
  call: Call,
  directory: number,
  bucket: number,
): StepRequest | undefined {
  const { words } = call.memory;
  const { body } = call;
  const request = new StepRequest(STEP_MAKE_DIR, 0);
  const now = ns.host.now();
  request.bucket = bucket;
  request.other = ns.directoryOf(directory);
  request.seconds = now.seconds;
  request.nanoseconds = now.nanoseconds;
  request.uid = words[(body + MakeDirRequest.uid) >>> 2]!;
  request.gid = words[(body + MakeDirRequest.gid) >>> 2]!;
  request.mode = S_IFDIR | (words[(body + MakeDirRequest.mode) >>> 2]! & PERMISSION_BITS);
  if ((ns.inodes.mode(directory) & S_ISGID) !== 0) {
    request.gid = ns.inodes.get32(directory, InodeRecord.gid);
    request.mode |= S_ISGID;
  }
  if ((ns.inodes.get32(directory, InodeRecord.flags) & FLAG_DEFAULT_ACL) === 0) {
    request.mode &= ~(words[(body + MakeDirRequest.umask) >>> 2]! & UMASK_BITS);
    return request;
  }
  const inherited = inheritedAcls(ns, directory, request.mode);
  if (inherited === undefined) return undefined;
  request.mode = inherited.mode;
  for (const { name, value } of inherited.xattrs) {
    if (Buffer.compare(name, DEFAULT_ACL) === 0) request.defaultAcl = Uint8Array.from(value);
    else request.accessAcl = Uint8Array.from(value);
  }
  return request;
}

function makeHere(ns: Namespace, call: Call, directory: number, request: StepRequest): number {
  const inode = storeDirectory(ns, request.bucket, request);
  if (inode < 0) return -inode;
  linkDirectory(ns, call, directory, inode, request);
  return 0;
}

function linkDirectory(
  ns: Namespace,
  call: Call,
  directory: number,
  inode: number,
  request: StepRequest,
): void {
  const nameBytes = readU16(call.memory.words, call.body + MakeDirRequest.nameBytes);
  ns.inodes.setLinkCount(directory, ns.inodes.linkCount(directory) + 1);
  addEntry(ns, call, directory, inode, S_IFDIR, MakeDirRequest.SIZE, nameBytes);
  fillDirectory(attributes, 0, inode, request);
  replyEntry(call, inode, S_IFDIR, attributes);
  call.result0 = inode;
}

export function removeDir(ns: Namespace, call: Call, mutation: Mutation): number {
  const refused = ns.checkName(call, NameRequest.nameBytes, NameRequest.SIZE);
  if (refused !== 0) return refused;
  const parent = ns.inodeField(call, NameRequest.parent);
  const directory = ns.loadDirectory(parent);
  if (directory < 0) return -directory;
  const nameBytes = readU16(call.memory.words, call.body + NameRequest.nameBytes);
  const name = call.body + NameRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (!ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) return errno.ENOENT;
  if (ns.found.mode !== S_IFDIR) return errno.ENOTDIR;
  const { inode, cookie } = ns.found;
  const refusal = dropOtherDirectory(ns, call, mutation, inode);
  if (refusal !== 0) return refusal;
  const status = ns.host.coordinator.decide(mutation);
  if (status !== 0) return status;
  const at = ns.inodes.load(inode);
  if (at >= 0) ns.dropInode(at);
  dropPartitions(ns);
  ns.dentries.remove(parent, cookie);
  ns.inodes.setLinkCount(directory, Math.max(2, ns.inodes.linkCount(directory) - 1));
  ns.inodes.setChanged(directory, ns.host.now());
  ns.inodes.touch(directory);
  return 0;
}

/**
 * A directory whose entry is about to go: 0, an errno, PENDING or BLOCKED. Where its inode lies here
 * the caller drops it, and calls dropPartitions. One that is gone already is fine: the entry dangles.
 */
export function dropOtherDirectory(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  inode: number,
): number {
  const status = dropPiece(ns, call, mutation, inode);
  return status === 0 ? dropOtherPieces(ns, call, mutation, inode) : status;
}

/** The same of its partitions besides itself. It can't change any more. */
export function dropOtherPieces(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  inode: number,
): number {
  ns.dropping.length = 0;
  const others = partitionsOf(ns, mutation, inode);
  if (typeof others === 'number') return others;
  let pending = 0;
  for (const partition of others) {
    const one = dropPiece(ns, call, mutation, partition);
    if (one > 0 || one === BLOCKED) return one;
    pending ||= one;
    if (ns.ownsInode(partition)) ns.dropping.push(partition);
  }
  return pending;
}

/** The other partitions of a directory, or PENDING. */
function partitionsOf(
  ns: Namespace,
  mutation: Mutation,
  directory: number,
): readonly number[] | number {
  const { coordinator } = ns.host;
  if (!ns.ownsInode(directory)) {
    const dropped = coordinator.need(mutation, new StepRequest(STEP_DROP_DIR, directory));
    if (dropped === undefined || dropped.count === 0) return [];
    const table = coordinator.need(mutation, new StepRequest(STEP_TABLE, directory));
    return table === undefined ? PENDING : (table.partitions ?? []);
  }
  if ((ns.flagsOf(directory) & FLAG_SPLIT) === 0) return [];
  const rows = readTable(ns.meta, directory)?.rows ?? [];
  return rows.slice(1).map((row) => row.inode);
}

/** After the decision: what of the directory's partitions lies here goes. */
export function dropPartitions(ns: Namespace): void {
  for (const partition of ns.dropping) {
    const at = ns.inodes.load(partition);
    if (at >= 0) ns.dropInode(at);
  }
  ns.dropping.length = 0;
}

/** The same of one piece of it. */
function dropPiece(ns: Namespace, call: Call, mutation: Mutation, inode: number): number {
  if (!ns.ownsInode(inode)) {
    const dropped = ns.host.coordinator.need(mutation, new StepRequest(STEP_DROP_DIR, inode));
    return dropped === undefined ? PENDING : 0;
  }
  const held = ns.checkInodeLock(call, inode);
  if (held !== 0) return held;
  const refusal = checkEmptyDirectory(ns, inode);
  if (refusal === errno.ENOTEMPTY) {
    // What is in it may be about to go: whoever moved it away may have its answer already.
    const lock = emptyingLock(ns, inode);
    if (lock !== undefined) return blockedBy(call, lock);
  }
  return refusal === ESTALE ? 0 : refusal;
}
