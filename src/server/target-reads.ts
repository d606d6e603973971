/**
 * A target's answers to requests that change nothing: at once, from what is committed, or when another
 * target's transaction is over that holds what is asked about.
 *
 *   request ─┬─ nothing locked ──────────────────> answer
 *            └─ locked: its body is kept ─ gone ─┘ (or the next lock)
 */
import { errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import {
  AbsentReply,
  AttributesReply,
  LookupReply,
  Opcode,
  ParentReply,
  PartitionSumsReply,
  ReadDirReply,
  ReadDirRequest,
  SeekDataReply,
  StatFsReply,
  TransactionStatusReply,
} from '../protocol/wire.generated.js';
import { readU53, readU53OrZero, writeU53 } from '../protocol/u53.js';
import type { RpcRequest, RpcServer } from '../transport/rpc-server.js';
import type { ChunkStore } from './data/chunk-store.js';
import type { Grants } from './leases/grants.js';
import { LIST_ATTRIBUTES } from './leases/listed-grants.js';
import { FLAG_SPLIT, storedInode } from './inode-record.js';
import { Call, type Namespace, type WireMemory } from './namespace.js';
import {
  getAttr,
  getPartitions,
  listDirectory,
  Listing,
  lookup,
  LOOKUP_ROOM,
  PARTITIONS_ROOM,
  readLink,
} from './namespace-read.js';
import { seekData } from './namespace-space.js';
import { partitionSums, type DirectorySums } from './partitions/sums.js';
import { flagsOf } from './partitions/table.js';
import type { TargetStatistics } from './target-statistics.js';
import { answerXattrs } from './target-xattrs.js';
import { getParent, readLock, transactionStatus } from './transactions/questions.js';

/** A listing up to here travels in the reply's body. */
const INLINE_LISTING_BYTES = 8192;
const SYMLINK_ROOM = 4096;
/** Metadata that one more inode takes, entry and small data included: for statfs alone. */
const BYTES_PER_INODE = 512;

type Read = (ns: Namespace, call: Call) => number;
type Fill = (call: Call) => number;

export interface TargetReadsDeps {
  arena: ArenaMemory;
  rpc: RpcServer;
  namespace: Namespace;
  chunks: ChunkStore;
  statistics: TargetStatistics;
  grants: Grants;
  sums: DirectorySums;
}

export class TargetReads {
  readonly #deps: TargetReadsDeps;
  readonly #call = new Call();
  readonly #listing = new Listing();

  constructor(deps: TargetReadsDeps) {
    this.#deps = deps;
    this.#call.out = deps.arena;
  }

  /** Answers the request, now or later; false: it is none of these. */
  answer(request: RpcRequest): boolean {
    const { namespace, arena } = this.#deps;
    const maybeLocked = namespace.locks.size > 0 || namespace.recalls.size > 0;
    if (maybeLocked && this.#waits(request)) return true;
    return this.#answer(request, arena, request.body);
  }

  #waits(request: RpcRequest): boolean {
    const { namespace, arena } = this.#deps;
    const before = namespace.locks.next;
    const lock = readLock(namespace, request, arena, request.body, before);
    if (lock === undefined) return false;
    // The body is valid until return only.
    const { body, bodyBytes } = request;
    const bytes = arena.bytes.slice(body, body + ((bodyBytes + 7) & ~7));
    lock.waiters.push(() => {
      this.#again(request, { bytes, words: new Uint32Array(bytes.buffer) }, before);
    });
    return true;
  }

  #again(request: RpcRequest, kept: WireMemory, before: number): void {
    const { namespace } = this.#deps;
    const lock = readLock(namespace, request, kept, 0, before);
    if (lock === undefined) {
      this.#answer(request, kept, 0);
      namespace.host.scheduler.requestTurn();
      return;
    }
    lock.waiters.push(() => {
      this.#again(request, kept, before);
    });
  }

  #answer(request: RpcRequest, memory: WireMemory, body: number): boolean {
    const call = this.#call;
    call.memory = memory;
    call.body = body;
    call.bodyBytes = request.bodyBytes;
    switch (request.opcode) {
      case Opcode.Lookup:
        return this.#read(request, lookup, LOOKUP_ROOM);
      case Opcode.GetAttr:
        if (this.#isSplit(memory, body)) {
          this.#deps.sums.answer(request, readU53OrZero(memory.words, body));
          return true;
        }
        return this.#read(request, getAttr, AttributesReply.SIZE);
      case Opcode.GetPartitions:
        return this.#read(request, getPartitions, PARTITIONS_ROOM);
      case Opcode.PartitionSums:
        return this.#read(request, partitionSums, PartitionSumsReply.SIZE);
      case Opcode.ReadLink:
        return this.#read(request, readLink, SYMLINK_ROOM);
      case Opcode.GetParent:
        return this.#read(request, getParent, ParentReply.SIZE);
      case Opcode.TransactionStatus:
        return this.#read(request, transactionStatus, TransactionStatusReply.SIZE);
      case Opcode.SeekData:
        return this.#read(request, seekData, SeekDataReply.SIZE);
      case Opcode.ReadDir:
        this.#readDir(request);
        return true;
      case Opcode.GetXattr:
      case Opcode.ListXattr: {
        const { namespace, rpc, arena, statistics } = this.#deps;
        const status = answerXattrs(namespace, rpc, arena, call, request);
        statistics.answered(request.opcode, status);
        return true;
      }
      case Opcode.StatFs:
        this.#statFs(request);
        return true;
      default:
        return false;
    }
  }

  #read(request: RpcRequest, execute: Read, room: number): true {
    const { rpc, namespace, statistics } = this.#deps;
    const call = this.#call;
    call.reply = rpc.beginReply(request, room);
    call.replyBytes = 0;
    const status = execute(namespace, call);
    statistics.answered(request.opcode, status);
    rpc.endReply(request, status, this.#grant(request, status));
    return true;
  }

  /** Puts the leases into the reply that stands there; returns its length. */
  #grant(request: RpcRequest, status: number): number {
    const call = this.#call;
    const { grants } = this.#deps;
    const { words } = call.out;
    const { session, opcode } = request;
    if (opcode === Opcode.Lookup && (status === 0 || status === errno.ENOENT)) {
      const flags = grants.lookup(session, call, status);
      if (status === 0) words[(call.reply + LookupReply.flags) >>> 2]! |= flags;
      else if (flags !== 0) {
        words[(call.reply + AbsentReply.flags) >>> 2] = flags;
        words[(call.reply + AbsentReply.reserved) >>> 2] = 0;
        return AbsentReply.SIZE;
      }
    } else if (opcode === Opcode.GetAttr && status === 0) {
      const inode = readU53(words, call.reply + AttributesReply.attributes);
      words[(call.reply + AttributesReply.flags) >>> 2]! |= grants.stored(session, inode);
    }
    return status === 0 ? call.replyBytes : 0;
  }

  #isSplit({ words }: WireMemory, body: number): boolean {
    const record = storedInode(this.#deps.namespace.meta, readU53OrZero(words, body));
    return record !== undefined && (flagsOf(record) & FLAG_SPLIT) !== 0;
  }

  /** An answer that had to wait for other targets. */
  answerLater(request: RpcRequest, roomBytes: number, fill: Fill): void {
    const { rpc, statistics, namespace } = this.#deps;
    const call = this.#call;
    call.reply = rpc.beginReply(request, roomBytes);
    call.replyBytes = 0;
    const status = fill(call);
    statistics.answered(request.opcode, status);
    rpc.endReply(request, status, this.#grant(request, status));
    namespace.host.scheduler.requestTurn();
  }

  #readDir(request: RpcRequest): void {
    const { arena, rpc, namespace, statistics } = this.#deps;
    const { words, bulk } = arena;
    const { body, memory } = this.#call;
    const inode = readU53OrZero(memory.words, body + ReadDirRequest.inode);
    const cookie = readU53OrZero(memory.words, body + ReadDirRequest.cookie);
    const asked = memory.words[(body + ReadDirRequest.maxBytes) >>> 2]!;
    const flags = memory.words[(body + ReadDirRequest.flags) >>> 2]!;
    const full = (flags & LIST_ATTRIBUTES) !== 0;
    const large = asked > INLINE_LISTING_BYTES ? bulk.take() : 0;
    const room = large === 0 ? INLINE_LISTING_BYTES : bulk.payloadBytes;
    const reply = rpc.beginReply(request, ReadDirReply.SIZE + INLINE_LISTING_BYTES);
    const place = large === 0 ? reply + ReadDirReply.SIZE : large;
    const listing = this.#listing;
    const { grants } = this.#deps;
    const leases = grants.listing(request.session, memory, body);
    listing.grants = grants.listed;
    const most = Math.min(asked, room);
    const status =
      inode === 0
        ? errno.EINVAL
        : listDirectory(namespace, inode, cookie, full, arena, place, most, listing);
    statistics.answered(request.opcode, status);
    if (status !== 0) {
      if (large !== 0) bulk.give(large);
      rpc.endReply(request, status, 0);
      return;
    }
    const inlined = listing.bytes <= INLINE_LISTING_BYTES;
    words[(reply + ReadDirReply.inlineBytes) >>> 2] = inlined ? listing.bytes : 0;
    words[(reply + ReadDirReply.entryCount) >>> 2] = listing.entries;
    words[(reply + ReadDirReply.endOfDirectory) >>> 2] = listing.ended ? 1 : 0;
    words[(reply + ReadDirReply.flags) >>> 2] = leases;
    writeU53(words, reply + ReadDirReply.rangeEnd, listing.rangeEnd);
    if (large !== 0 && inlined) {
      arena.bytes.copyWithin(reply + ReadDirReply.SIZE, large, large + listing.bytes);
      bulk.give(large);
    } else if (large !== 0) rpc.addReplyBulk(large, listing.bytes, true);
    rpc.endReply(request, 0, ReadDirReply.SIZE + (inlined ? listing.bytes : 0));
  }

  #statFs(request: RpcRequest): void {
    const { arena, rpc, namespace, chunks, statistics } = this.#deps;
    const { words } = arena;
    const { totalBytes, freeBytes } = chunks.capacity();
    const usage = namespace.meta.usage();
    const freeInodes = Math.floor(
      Math.max(0, usage.bytesTotal - usage.bytesUsed) / BYTES_PER_INODE,
    );
    const reply = rpc.beginReply(request, StatFsReply.SIZE);
    writeU53(words, reply + StatFsReply.totalBytes, totalBytes);
    writeU53(words, reply + StatFsReply.freeBytes, freeBytes);
    writeU53(words, reply + StatFsReply.inodes, namespace.inodeCount);
    writeU53(words, reply + StatFsReply.freeInodes, freeInodes);
    statistics.answered(request.opcode, 0);
    rpc.endReply(request, 0, StatFsReply.SIZE);
  }
}
