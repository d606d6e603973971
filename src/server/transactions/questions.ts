/** Questions about transactions and what they hold: what targets ask each other, and what reads wait for. */
import { errno, ESTALE } from '../../common/errno.js';
import {
  InodeRequest,
  NameRequest,
  Opcode,
  ParentReply,
  PartitionSumsRequest,
  ReadDirRequest,
  TransactionStatusReply,
} from '../../protocol/wire.generated.js';
import { isU53, readU16, readU53, writeU53 } from '../../protocol/u53.js';
import type { RpcRequest } from '../../transport/rpc-server.js';
import { entryHash } from '../dentries.js';
import { byteU64, InodeRecord, modeOf, S_IFDIR, S_IFMT, storedInode } from '../inode-record.js';
import type { Call, Namespace, WireMemory } from '../namespace.js';
import { hashAfter } from '../partitions/table.js';
import { LOCK_MOVE, LOCK_TABLE, type Lock } from './locks.js';

/** Requests that only targets may make. */
export function isOfTargets(opcode: number): boolean {
  if (opcode === Opcode.MoveEntries || opcode === Opcode.PartitionSums) return true;
  return opcode >= Opcode.Prepare && opcode <= Opcode.GetParent;
}

export function getParent(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  const record = inode === 0 ? undefined : storedInode(ns.meta, inode);
  if (record === undefined) return ESTALE;
  if (isMoving(ns, inode)) return errno.EAGAIN;
  if ((modeOf(record) & S_IFMT) !== S_IFDIR) return errno.ENOTDIR;
  writeU53(call.out.words, call.reply, byteU64(record, InodeRecord.parent));
  call.replyBytes = ParentReply.SIZE;
  return 0;
}

/**
 * Whether the directory is about to get another parent: who asks for the present one must ask again. It may
 * be decided, and the token be somebody else's already, before this target has heard of it.
 */
export function isMoving(ns: Namespace, directory: number): boolean {
  return ns.locks.inode(directory)?.kind === LOCK_MOVE;
}

export function transactionStatus(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  if (!isU53(words, call.body)) return errno.EINVAL;
  const state = ns.host.coordinator.stateOf(readU53(words, call.body));
  call.out.words[(call.reply + TransactionStatusReply.state) >>> 2] = state;
  call.out.words[(call.reply + TransactionStatusReply.reserved) >>> 2] = 0;
  call.replyBytes = TransactionStatusReply.SIZE;
  return 0;
}

/**
 * The lock that this read has to wait for. Only those with a number below `before`: what was locked after
 * the read had come cannot have been answered to anybody before, and a directory that entries are moved out of
 * all the time is never without a lock.
 */
export function readLock(
  ns: Namespace,
  request: RpcRequest,
  memory: WireMemory,
  body: number,
  before: number,
): Lock | undefined {
  const { words } = memory;
  if (!isU53(words, body)) return undefined;
  const inode = readU53(words, body);
  const { locks, recalls } = ns;
  switch (request.opcode) {
    case Opcode.GetAttr:
      return attributesLock(ns, inode, before);
    case Opcode.ReadDir:
      return (
        entryLock(ns, inode, before) ??
        recalls.anyEntry(inode) ??
        listingLock(ns, inode, memory, body, before)
      );
    case Opcode.GetXattr:
    case Opcode.ListXattr:
    case Opcode.SeekData:
      return recalls.inode(inode);
    case Opcode.GetPartitions:
      return ifBlocking(tableLock(locks.inode(inode)), before);
    case Opcode.PartitionSums:
      return sumsLock(ns, memory, body, request.bodyBytes, before);
    case Opcode.Lookup:
      return lookupLock(ns, inode, memory, body, request.bodyBytes, before);
    default:
      return undefined;
  }
}

/** The same of an item of a batch: a request for an inode, or for a name. */
export function itemLock(
  ns: Namespace,
  isInode: boolean,
  memory: WireMemory,
  body: number,
  bodyBytes: number,
): Lock | undefined {
  const { locks, recalls } = ns;
  if (locks.size === 0 && recalls.size === 0) return undefined;
  if (!isU53(memory.words, body)) return undefined;
  const inode = readU53(memory.words, body);
  if (isInode) return attributesLock(ns, inode, Infinity);
  return lookupLock(ns, inode, memory, body, bodyBytes, Infinity);
}

/** A partition that is about to take another's entries in, if it is asked for those. */
function listingLock(
  ns: Namespace,
  inode: number,
  { words }: WireMemory,
  body: number,
  before: number,
): Lock | undefined {
  const lock = ifBlocking(tableLock(ns.locks.inode(inode)), before);
  if (lock === undefined || !isU53(words, body + ReadDirRequest.cookie)) return undefined;
  const hash = hashAfter(readU53(words, body + ReadDirRequest.cookie));
  return ns.holdsStored(inode, hash) ? undefined : lock;
}

/** The only one that the table itself waits for: who removes the directory has to see it. */
function tableLock(lock: Lock | undefined): Lock | undefined {
  return lock?.kind === LOCK_TABLE ? lock : undefined;
}

function sumsLock(
  ns: Namespace,
  { words }: WireMemory,
  body: number,
  bodyBytes: number,
  before: number,
): Lock | undefined {
  for (let at = PartitionSumsRequest.SIZE; at + 8 <= bodyBytes; at += 8) {
    const lock = isU53(words, body + at)
      ? attributesLock(ns, readU53(words, body + at), before)
      : undefined;
    if (lock !== undefined) return lock;
  }
  return undefined;
}

/** The oldest entry of this directory that is prepared, if it was locked before that. */
export function entryLock(ns: Namespace, directory: number, before: number): Lock | undefined {
  return ifBlocking(ns.locks.anyEntry(directory), before);
}

function ifBlocking(lock: Lock | undefined, before: number): Lock | undefined {
  return lock?.owner.blocksReads === true && lock.number < before ? lock : undefined;
}

/** Attributes of a directory are changed by what happens to its entries, too. */
function attributesLock(ns: Namespace, inode: number, before: number): Lock | undefined {
  const { locks } = ns;
  return (
    ifBlocking(locks.inode(inode), before) ??
    entryLock(ns, inode, before) ??
    ns.recalls.inode(inode)
  );
}

function lookupLock(
  ns: Namespace,
  parent: number,
  memory: WireMemory,
  body: number,
  bodyBytes: number,
  before: number,
): Lock | undefined {
  const nameBytes = readU16(memory.words, body + NameRequest.nameBytes);
  if (nameBytes === 0 || NameRequest.SIZE + nameBytes > bodyBytes) return undefined;
  const name = body + NameRequest.SIZE;
  const hash = ns.dentries.hashOf(memory.bytes, name, nameBytes);
  const table = ifBlocking(tableLock(ns.locks.inode(parent)), before);
  if (table !== undefined && !ns.holdsStored(parent, hash)) return table;
  const entry =
    ifBlocking(ns.locks.entry(parent, hash), before) ?? ns.recalls.entry(parent, entryHash(hash));
  if (entry !== undefined) return entry;
  // The answer has the inode's attributes where it lies here.
  const exists = ns.dentries.find(parent, memory.bytes, name, nameBytes, ns.found);
  return exists ? attributesLock(ns, ns.found.inode, before) : undefined;
}

if (ReadDirRequest.inode !== 0 || InodeRequest.inode !== 0 || NameRequest.parent !== 0) {
  throw new Error('questions: layout');
}
