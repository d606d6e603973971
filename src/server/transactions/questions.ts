/** Questions about transactions and what they hold: what targets ask each other, and what reads wait for. */
import { errno, ESTALE } from '../../common/errno.js';
import {
  InodeRequest,
  NameRequest,
  Opcode,
  ParentReply,
  ReadDirRequest,
  TransactionStatusReply,
} from '../../protocol/wire.generated.js';
import { isU53, readU16, readU53, writeU53 } from '../../protocol/u53.js';
import type { RpcRequest } from '../../transport/rpc-server.js';
import { byteU64, InodeRecord, modeOf, S_IFDIR, S_IFMT, storedInode } from '../inode-record.js';
import type { Call, Namespace, WireMemory } from '../namespace.js';
import { LOCK_MOVE, type Lock } from './locks.js';

/** Requests that only targets may make. */
export function isOfTargets(opcode: number): boolean {
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
  const { locks } = ns;
  switch (request.opcode) {
    case Opcode.GetAttr:
      return attributesLock(ns, inode, before);
    case Opcode.ReadDir:
      return ifBlocking(locks.anyEntry(inode), before);
    case Opcode.Lookup:
      return lookupLock(ns, inode, memory, body, request.bodyBytes, before);
    default:
      return undefined;
  }
}

function ifBlocking(lock: Lock | undefined, before: number): Lock | undefined {
  return lock?.owner.blocksReads === true && lock.number < before ? lock : undefined;
}

/** Attributes of a directory are changed by what happens to its entries, too. */
function attributesLock(ns: Namespace, inode: number, before: number): Lock | undefined {
  const { locks } = ns;
  return ifBlocking(locks.inode(inode), before) ?? ifBlocking(locks.anyEntry(inode), before);
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
  const entry = ifBlocking(ns.locks.entry(parent, hash), before);
  if (entry !== undefined) return entry;
  // The answer has the inode's attributes where it lies here.
  const exists = ns.dentries.find(parent, memory.bytes, name, nameBytes, ns.found);
  return exists ? attributesLock(ns, ns.found.inode, before) : undefined;
}

if (ReadDirRequest.inode !== 0 || InodeRequest.inode !== 0 || NameRequest.parent !== 0) {
  throw new Error('questions: layout');
}
