/**
 * Answers to GetXattr and ListXattr: up to 8 KiB in the reply's body, more as its bulk. They are
 * found before the reply is begun, so that what does not come begins none.
 */
import { errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { inlineDataBytes } from '../protocol/limits.generated.js';
import { Opcode, XattrReply, XattrRequest } from '../protocol/wire.generated.js';
import type { RpcRequest, RpcServer } from '../transport/rpc-server.js';
import type { Call, Namespace } from './namespace.js';
import { readXattrs, XattrAnswer } from './namespace-xattrs.js';

const answer = new XattrAnswer();

/** Replies; returns the status. EAGAIN: no slot is free for a long answer, ask again. */
export function answerXattrs(
  ns: Namespace,
  rpc: RpcServer,
  arena: ArenaMemory,
  call: Call,
  request: RpcRequest,
): number {
  const status = readXattrs(ns, call, request.opcode === Opcode.ListXattr, answer);
  if (status !== 0) {
    rpc.reply(request, status);
    return status;
  }
  const { words, bytes, bulk } = arena;
  const asked = words[(call.body + XattrRequest.maxBytes) >>> 2]! !== 0;
  const length = answer.bytes.length;
  const inlineBytes = asked && length <= inlineDataBytes ? length : 0;
  const slot = asked && length > inlineDataBytes ? bulk.take() : 0;
  if (slot === 0 && asked && length > inlineDataBytes) {
    rpc.reply(request, errno.EAGAIN);
    return errno.EAGAIN;
  }
  if (slot !== 0) bytes.set(answer.bytes, slot);
  const reply = rpc.beginReply(request, XattrReply.SIZE + inlineBytes);
  words[(reply + XattrReply.valueBytes) >>> 2] = length;
  words[(reply + XattrReply.inlineBytes) >>> 2] = inlineBytes;
  if (inlineBytes !== 0) bytes.set(answer.bytes, reply + XattrReply.SIZE);
  if (slot !== 0) rpc.addReplyBulk(slot, length, true);
  rpc.endReply(request, 0, XattrReply.SIZE + inlineBytes);
  return 0;
}
