/**
 * A target's answers to batches that change nothing (docs/batches.md): each item is answered as the
 * ordinary request would be, from what is committed, all at once. An item that would have to wait for another
 * target's transaction is answered EAGAIN: the client asks for it alone. And the answers to batches that
 * have changed something and are asked for again.
 */
import { EREMCHG, errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { crc32c } from '../native/crc32c.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { BATCH_LEASES_ABSENCE, BatchCursor } from '../protocol/batch.js';
import { RPC_BODY_BYTES_MAX, roundUp8 } from '../protocol/frame.js';
import { HAS_ATTRIBUTES } from '../protocol/leases.js';
import { batchItemsMax, inlineDataBytes } from '../protocol/limits.generated.js';
import {
  Attributes,
  AttributesReply,
  BatchReply,
  BatchRequest,
  BatchResult,
  LookupReply,
  Opcode,
} from '../protocol/wire.generated.js';
import { readU16, readU53, writeU16 } from '../protocol/u53.js';
import type { RpcRequest, RpcServer } from '../transport/rpc-server.js';
import type { ChunkStore } from './data/chunk-store.js';
import type { Grants } from './leases/grants.js';
import { FLAG_SPLIT, FLAG_STRIPED, S_IFMT, S_IFREG } from './inode-record.js';
import { replyStatuses } from './namespace-batch.js';
import { getAttr, lookup, LOOKUP_ROOM } from './namespace-read.js';
import { Call, type Namespace } from './namespace.js';
import type { SessionRecords } from './sessions.js';
import type { TargetStatistics } from './target-statistics.js';
import { itemLock } from './transactions/questions.js';

/** A result, and room for a record that is copied whole. */
const RESULT_ROOM = BatchResult.SIZE + Math.max(LOOKUP_ROOM, AttributesReply.SIZE);

export interface TargetBatchesDeps {
  arena: ArenaMemory;
  rpc: RpcServer;
  namespace: Namespace;
  chunks: ChunkStore;
  statistics: TargetStatistics;
  grants: Grants;
}

export class TargetBatches {
  readonly #deps: TargetBatchesDeps;
  readonly #call = new Call();
  readonly #cursor = new BatchCursor();
  /** Arena offset where the next content goes, and of the end of its room. */
  #content = 0;
  #contentEnd = 0;

  constructor(deps: TargetBatchesDeps) {
    this.#deps = deps;
    this.#call.memory = deps.arena;
    this.#call.out = deps.arena;
  }

  /** Answers the request; false: it is none of these. */
  answer(request: RpcRequest): boolean {
    const { opcode } = request;
    switch (opcode) {
      case Opcode.BatchLookup:
      case Opcode.BatchGetAttr:
      case Opcode.BatchRead:
        break;
      default:
        return false;
    }
    const { arena, rpc, statistics } = this.#deps;
    const { body, bodyBytes, bulkBytes } = request;
    if (!this.#cursor.check(arena.words, body, bodyBytes, opcode, bulkBytes)) {
      statistics.answered(opcode, errno.EINVAL);
      rpc.reply(request, errno.EINVAL);
      return true;
    }
    statistics.answered(opcode, 0);
    if (opcode === Opcode.BatchRead) this.#read(request);
    else this.#look(request);
    return true;
  }

  #look(request: RpcRequest): void {
    const { rpc } = this.#deps;
    const reply = rpc.beginReply(request, BatchReply.SIZE + this.#cursor.count * RESULT_ROOM);
    const end = this.#results(request, reply);
    this.#head(reply, 0);
    rpc.endReply(request, 0, end - reply);
  }

  /** Contents are gathered in a slot, if one may be used and is free, else behind the results. */
  #read(request: RpcRequest): void {
    const { arena, rpc } = this.#deps;
    const { count, dataBytes } = this.#cursor;
    const inlineRoom = RPC_BODY_BYTES_MAX - BatchReply.SIZE - count * RESULT_ROOM;
    const slot = dataBytes > inlineRoom ? arena.bulk.take() : 0;
    const reply = rpc.beginReply(request, RPC_BODY_BYTES_MAX);
    // In front of results that are not all written yet: contents are moved up to them at the end.
    const place = slot === 0 ? reply + BatchReply.SIZE + count * RESULT_ROOM : slot;
    const room = slot === 0 ? inlineRoom : arena.bulk.payloadBytes;
    this.#content = place;
    this.#contentEnd = place + Math.min(dataBytes, room);
    const end = this.#results(request, reply);
    const bytes = this.#content - place;
    const fits = end - reply + bytes <= RPC_BODY_BYTES_MAX;
    if (fits) arena.bytes.copyWithin(end, place, place + bytes);
    this.#head(reply, fits ? bytes : 0);
    if (slot !== 0 && fits) arena.bulk.give(slot);
    else if (slot !== 0) rpc.addReplyBulk(slot, bytes, true);
    rpc.endReply(request, 0, end - reply + (fits ? bytes : 0));
  }

  #head(reply: number, inlineBytes: number): void {
    const { words } = this.#deps.arena;
    words[(reply + BatchReply.count) >>> 2] = this.#cursor.count;
    words[(reply + BatchReply.inlineBytes) >>> 2] = inlineBytes;
  }

  /** Writes all results; returns their end. */
  #results(request: RpcRequest, reply: number): number {
    let at = reply + BatchReply.SIZE;
    for (let i = 0; i < this.#cursor.count; i++) at = this.#result(request, at);
    return at;
  }

  #result({ opcode, session }: RpcRequest, at: number): number {
    const { arena, namespace } = this.#deps;
    const { words } = arena;
    const call = this.#call;
    this.#cursor.next();
    call.body = this.#cursor.body;
    call.bodyBytes = this.#cursor.bodyBytes;
    call.reply = at + BatchResult.SIZE;
    call.replyBytes = 0;
    const isInode = opcode === Opcode.BatchGetAttr;
    let status: number = errno.EAGAIN;
    if (itemLock(namespace, isInode, arena, call.body, call.bodyBytes) === undefined) {
      status = isInode ? getAttr(namespace, call) : lookup(namespace, call);
    }
    // In another partition, or the sum of several.
    if (status === EREMCHG || (isInode && status === 0 && this.#isSplit())) status = errno.EAGAIN;
    words.fill(0, at >>> 2, (at + BatchResult.SIZE) >>> 2);
    writeU16(words, at + BatchResult.status, status);
    if (status === errno.ENOENT && this.#leasesAbsence(opcode)) {
      words[(at + BatchResult.leases) >>> 2] = this.#deps.grants.absence(session, call);
    }
    if (status !== 0) return at + BatchResult.SIZE;
    if (opcode === Opcode.BatchRead) this.#addContent(at);
    return at + BatchResult.SIZE + call.replyBytes;
  }

  #leasesAbsence(opcode: number): boolean {
    return opcode === Opcode.BatchLookup && (this.#cursor.flags & BATCH_LEASES_ABSENCE) !== 0;
  }

  /** The attributes in the reply are not all there is to be shown. */
  #isSplit(): boolean {
    const at = this.#call.reply + AttributesReply.attributes + Attributes.flags;
    return (this.#deps.arena.words[at >>> 2]! & FLAG_SPLIT) !== 0;
  }

  /** The content of a small file goes where there is room for it; larger ones are read as ever. */
  #addContent(result: number): void {
    const { arena, chunks } = this.#deps;
    const { words } = arena;
    const reply = result + BatchResult.SIZE;
    if ((words[(reply + LookupReply.flags) >>> 2]! & HAS_ATTRIBUTES) === 0) return;
    const attributes = reply + LookupReply.attributes;
    if ((words[(attributes + Attributes.mode) >>> 2]! & S_IFMT) !== S_IFREG) return;
    if ((words[(attributes + Attributes.flags) >>> 2]! & FLAG_STRIPED) !== 0) return;
    const size = readU53(words, attributes + Attributes.sizeBytes);
    if (size > inlineDataBytes || this.#content + size > this.#contentEnd) return;
    const inode = readU53(words, attributes + Attributes.inode);
    const to = this.#content;
    if (!chunks.readSmall(bucketOfInode(inode), inode, size, arena.bytes, to)) return;
    this.#content += size;
    writeU16(words, result + BatchResult.hasData, 1);
    words[(result + BatchResult.dataBytes) >>> 2] = size;
    words[(result + BatchResult.checksum) >>> 2] = size === 0 ? 0 : crc32c(arena, to, size);
  }
}

/** The first answer to a batch that is asked for again, from its record and the statuses kept with it. */
export function replayBatch(call: Call, request: RpcRequest, sessions: SessionRecords): number {
  const count = readU16(call.memory.words, call.body + BatchRequest.count);
  const statuses = call.reply + BatchReply.SIZE;
  call.out.bytes.fill(0, statuses, statuses + batchItemsMax);
  if (request.recordResult0 !== 0) {
    const kept = sessions.statuses(request);
    if (kept?.length !== count) return errno.EIO;
    call.out.bytes.set(kept, statuses);
  }
  replyStatuses(call, count);
  return 0;
}

const largest = BatchReply.SIZE + batchItemsMax * RESULT_ROOM;
if (roundUp8(largest) > RPC_BODY_BYTES_MAX) throw new Error('a batch’s results fit a message');
