/**
 * A target's reads and writes: between requests and the chunk store.
 *
 *   Write ─> checked ─> beginWrite ─> data is stored ─> queued ─> commitWrite, size, mtime in the
 *                                                       turn's transaction ─> reply
 *   Read  ─> checked ─> chunk store ─> reply: small data in the body, else its segments as bulk
 */
import { errno, ESTALE } from '../common/errno.js';
import { chunkBucket, isInode } from '../placement/inode-number.js';
import {
  blockBytes,
  chunkBytes,
  fileBytesMax,
  inlineDataBytes,
} from '../protocol/limits.generated.js';
import { ReadReply, ReadRequest, WriteRequest } from '../protocol/wire.generated.js';
import { isU53, readU53, writeU53 } from '../protocol/u53.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import type { Scheduler } from '../common/scheduler.js';
import type { RpcRequest, RpcServer } from '../transport/rpc-server.js';
import type { Execute, Mutation } from './batch.js';
import type { Committer } from './committer.js';
import { ChunkRead } from './data/chunk-read.js';
import type { ChunkStore } from './data/chunk-store.js';
import { ChunkWrite } from './data/chunk-write.js';
import type { FileSpace } from './file-space.js';
import { InodeRecord } from './inode-record.js';
import { inodeKey } from './keys.js';
import type { MetaStore } from './meta-store-api.js';
import { loadFile, replyReserve, written } from './namespace-attributes.js';
import type { Call, Namespace } from './namespace.js';

const WRITE_APPEND = 1;
const WRITE_DROP_SET_ID = 2;
const CHUNKS_MAX = Math.ceil(fileBytesMax / chunkBytes);

/** What the data side asks of its target. */
export interface DataHost {
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly meta: MetaStore;
  readonly namespace: Namespace;
  owns(bucket: number): boolean;
  readonly space: FileSpace;
  answerStatus(request: RpcRequest, status: number): void;
}

class TargetWrite extends ChunkWrite {
  readonly #data: TargetData;
  request: RpcRequest | undefined;
  append = false;
  dropsSetId = false;

  constructor(data: TargetData) {
    super();
    this.#data = data;
  }

  override written(status: number): void {
    this.#data.written(this, status);
  }
}

class TargetRead extends ChunkRead {
  readonly #data: TargetData;
  request: RpcRequest | undefined;

  constructor(data: TargetData) {
    super();
    this.#data = data;
  }

  override done(status: number): void {
    this.#data.readDone(this, status);
  }
}

/**
 * How many turns a commit may be held back for writes that are about to end. A turn that finds
 * nothing takes a few microseconds, so this is far below one write's time on any device.
 */
const HELD_TURNS_MAX = 16;

export class TargetData {
  readonly #host: DataHost;
  readonly #rpc: RpcServer;
  readonly #committer: Committer;
  readonly #chunks: ChunkStore;
  readonly #writes: TargetWrite[] = [];
  readonly #reads: TargetRead[] = [];
  readonly #record = new Uint8Array(InodeRecord.SIZE);
  readonly #recordWords = new Uint32Array(this.#record.buffer);
  readonly #executeWrite: Execute;
  /** Writes whose data is on its way to a device. */
  #writing = 0;
  #heldTurns = 0;
  #bytesRead = 0;
  #bytesWritten = 0;
  #readErrors = 0;
  #writeErrors = 0;

  constructor(host: DataHost, rpc: RpcServer, committer: Committer, chunks: ChunkStore) {
    this.#host = host;
    this.#rpc = rpc;
    this.#committer = committer;
    this.#chunks = chunks;
    this.#executeWrite = (ns, call, mutation) =>
      this.#commitWrite(ns, call, mutation.context as TargetWrite);
  }

  report(): Record<string, number> {
    return {
      bytesRead: this.#bytesRead,
      bytesWritten: this.#bytesWritten,
      readErrors: this.#readErrors,
      writeErrors: this.#writeErrors,
    };
  }

  // ---------------------------------------------------------------- writes

  write(request: RpcRequest): void {
    const { words } = this.#host.arena;
    const status = this.#checkWrite(request);
    if (status !== 0) {
      this.#writeErrors++;
      this.#host.answerStatus(request, status);
      return;
    }
    const { body } = request;
    const write = this.#writes.pop() ?? new TargetWrite(this);
    const inlineBytes = words[(body + WriteRequest.inlineBytes) >>> 2]!;
    const checksums = words[(body + WriteRequest.checksumCount) >>> 2]!;
    write.request = request;
    write.inode = readU53(words, body + WriteRequest.inode);
    write.chunk = readU53(words, body + WriteRequest.chunk);
    write.bucket = chunkBucket(
      write.inode,
      readU53(words, body + WriteRequest.layout),
      write.chunk,
    );
    const flags = words[(body + WriteRequest.flags) >>> 2]!;
    write.append = (flags & WRITE_APPEND) !== 0;
    write.dropsSetId = (flags & WRITE_DROP_SET_ID) !== 0;
    write.lengthBytes = words[(body + WriteRequest.lengthBytes) >>> 2]!;
    write.offset = write.append
      ? this.#likelyEnd(write)
      : words[(body + WriteRequest.offset) >>> 2]!;
    write.checksumsOffset = checksums === 0 ? 0 : body + WriteRequest.SIZE;
    write.ownsSlot = inlineBytes === 0;
    if (write.ownsSlot) {
      write.dataOffset = request.bulkOffset;
      request.bulkOffset = 0;
    } else {
      write.dataOffset = body + WriteRequest.SIZE + 4 * checksums;
    }
    this.#writing++;
    this.#chunks.beginWrite(write);
  }

  /**
   * Whether the commit of `queued` mutations should wait for the next turn: when more writes than
   * that are on the device, their completions are near, and one transaction for all costs little
   * more than one for each.
   */
  holdsCommit(queued: number): boolean {
    if (queued === 0 || this.#writing <= queued || this.#heldTurns === HELD_TURNS_MAX) {
      this.#heldTurns = 0;
      return false;
    }
    this.#heldTurns++;
    return true;
  }

  /** Where an append will probably go: it decides whether the data is stored inline. */
  #likelyEnd(write: TargetWrite): number {
    return Math.min(Math.max(0, this.#sizeOf(write.inode)), chunkBytes - write.lengthBytes);
  }

  /** Every length and place of the request: 0 or an errno. */
  #checkWrite(request: RpcRequest): number {
    const { words } = this.#host.arena;
    const { body, bodyBytes } = request;
    const place = this.#checkPlace(
      body + WriteRequest.inode,
      body + WriteRequest.layout,
      body + WriteRequest.chunk,
    );
    if (place !== 0) return place;
    const flags = words[(body + WriteRequest.flags) >>> 2]!;
    const offset = words[(body + WriteRequest.offset) >>> 2]!;
    const length = words[(body + WriteRequest.lengthBytes) >>> 2]!;
    const inlineBytes = words[(body + WriteRequest.inlineBytes) >>> 2]!;
    const checksums = words[(body + WriteRequest.checksumCount) >>> 2]!;
    if (length === 0 || length > chunkBytes) return errno.EINVAL;
    if ((flags & WRITE_APPEND) === 0) {
      if (offset + length > chunkBytes) return errno.EINVAL;
    } else if (readU53(words, body + WriteRequest.chunk) !== 0) return errno.EINVAL;
    if (checksums !== 0 && checksums !== Math.ceil(length / blockBytes)) return errno.EINVAL;
    if (inlineBytes === 0) {
      if (request.bulkOffset === 0 || request.bulkBytes !== length) return errno.EINVAL;
      return WriteRequest.SIZE + 4 * checksums > bodyBytes ? errno.EINVAL : 0;
    }
    if (inlineBytes !== length || length > inlineDataBytes) return errno.EINVAL;
    return WriteRequest.SIZE + 4 * checksums + inlineBytes > bodyBytes ? errno.EINVAL : 0;
  }

  #checkPlace(inodeAt: number, layoutAt: number, chunkAt: number): number {
    const { words } = this.#host.arena;
    if (!isU53(words, inodeAt) || !isU53(words, layoutAt)) return errno.EINVAL;
    if (!isU53(words, chunkAt)) return errno.EINVAL;
    const inode = readU53(words, inodeAt);
    const layout = readU53(words, layoutAt);
    const chunk = readU53(words, chunkAt);
    if (!isInode(inode) || (layout !== 0 && !isInode(layout))) return errno.EINVAL;
    if (chunk >= CHUNKS_MAX) return errno.EFBIG;
    return this.#host.owns(chunkBucket(inode, layout, chunk)) ? 0 : ESTALE;
  }

  /** Of TargetWrite: its data is stored, or is not. */
  written(write: TargetWrite, status: number): void {
    const request = write.request!;
    this.#writing--;
    if (status !== 0) {
      this.#writeErrors++;
      this.#release(write);
      this.#host.answerStatus(request, status);
    } else {
      const mutation = this.#committer.enqueueBare(request, this.#executeWrite, write);
      mutation.sizeInode = write.chunk === 0 ? write.inode : 0;
    }
    this.#host.scheduler.requestTurn();
  }

  /** Inside the transaction. */
  #commitWrite(ns: Namespace, call: Call, write: TargetWrite): number {
    if (write.chunk !== 0) {
      // Whoever deleted the file has been here: nobody would ever remove this chunk.
      if (this.#host.space.isGone(write.inode)) return ESTALE;
      const status = this.#chunks.commitWrite(write);
      if (status !== 0) return status;
      call.result0 = write.chunk * chunkBytes + write.offset;
      call.result1 = 0;
      replyReserve(call, call.result0, 0);
      return 0;
    }
    const at = loadFile(ns, write.inode);
    if (at < 0) return -at;
    const size = ns.inodes.size(at);
    if (write.append) {
      if (size + write.lengthBytes > chunkBytes) return errno.EAGAIN;
      // The file has grown since: what was to lie inline cannot, so the caller reserves its place.
      if (write.runs.count === 0 && size + write.lengthBytes > inlineDataBytes) return errno.EAGAIN;
      write.offset = size;
    }
    const status = this.#chunks.commitWrite(write);
    if (status !== 0) return status;
    const end = write.offset + write.lengthBytes;
    if (end > size) ns.inodes.setSize(at, end);
    written(ns, at, write.dropsSetId);
    call.result0 = write.offset;
    call.result1 = ns.inodes.size(at);
    replyReserve(call, call.result0, call.result1);
    return 0;
  }

  /** The write's mutation is decided: its record is free again. */
  decided(mutation: Mutation): void {
    const write = mutation.context as TargetWrite;
    if (mutation.status === 0) {
      this.#bytesWritten += write.lengthBytes;
    } else {
      this.#writeErrors++;
      this.#chunks.abandonWrite(write);
    }
    this.#release(write);
  }

  #release(write: TargetWrite): void {
    write.request = undefined;
    this.#writes.push(write);
  }

  // ---------------------------------------------------------------- reads

  read(request: RpcRequest): void {
    const { words } = this.#host.arena;
    const { body } = request;
    const offset = words[(body + ReadRequest.offset) >>> 2]!;
    const length = words[(body + ReadRequest.lengthBytes) >>> 2]!;
    let status = this.#checkPlace(
      body + ReadRequest.inode,
      body + ReadRequest.layout,
      body + ReadRequest.chunk,
    );
    if (status === 0 && (length === 0 || offset + length > chunkBytes)) status = errno.EINVAL;
    if (status !== 0) {
      this.#host.answerStatus(request, status);
      return;
    }
    const read = this.#reads.pop() ?? new TargetRead(this);
    read.request = request;
    read.inode = readU53(words, body + ReadRequest.inode);
    read.chunk = readU53(words, body + ReadRequest.chunk);
    read.bucket = chunkBucket(read.inode, readU53(words, body + ReadRequest.layout), read.chunk);
    read.offset = offset;
    read.lengthBytes = length;
    this.#chunks.read(read);
  }

  /** Of TargetRead. */
  readDone(read: TargetRead, status: number): void {
    const request = read.request!;
    const recall = this.#host.namespace.recalls.inode(read.inode);
    if (recall !== undefined) {
      // Others still believe in the size before.
      recall.waiters.push(() => {
        this.readDone(read, status);
      });
      return;
    }
    // The size is that of now: replies tell of executions in their order.
    const size = read.chunk === 0 ? this.#sizeOf(read.inode) : 0;
    if (status !== 0 || size < 0) {
      this.#readErrors++;
      if (status === 0) read.release();
      this.#host.answerStatus(request, status === 0 ? ESTALE : status);
    } else if (read.resultBytes <= inlineDataBytes) this.#answerInline(read, request, size);
    else this.#answerBulk(read, request, size);
    this.#bytesRead += read.resultBytes;
    read.request = undefined;
    this.#reads.push(read);
    this.#host.scheduler.requestTurn();
  }

  /** -1 when the inode is gone. */
  #sizeOf(inode: number): number {
    const record = this.#host.meta.get(inodeKey(inode));
    if (record?.length !== InodeRecord.SIZE) return -1;
    this.#record.set(record);
    return readU53(this.#recordWords, InodeRecord.sizeBytes);
  }

  #answerInline(read: TargetRead, request: RpcRequest, size: number): void {
    const bytes = read.resultBytes;
    const reply = this.#rpc.beginReply(request, ReadReply.SIZE + bytes);
    read.copyTo(reply + ReadReply.SIZE);
    this.#fillReply(reply, size, bytes, bytes, read.checksum);
    this.#rpc.endReply(request, 0, ReadReply.SIZE + bytes);
  }

  #answerBulk(read: TargetRead, request: RpcRequest, size: number): void {
    const reply = this.#rpc.beginReply(request, ReadReply.SIZE);
    this.#fillReply(reply, size, read.resultBytes, 0, read.checksum);
    for (let i = 0; i < read.segmentCount; i++) {
      const releases = read.segmentReleases[i]! === 1;
      this.#rpc.addReplyBulk(read.segmentOffsets[i]!, read.segmentLengths[i]!, releases);
    }
    read.handedOn();
    this.#rpc.endReply(request, 0, ReadReply.SIZE);
  }

  #fillReply(
    reply: number,
    size: number,
    bytes: number,
    inlineBytes: number,
    checksum: number,
  ): void {
    const { words } = this.#host.arena;
    writeU53(words, reply + ReadReply.sizeBytes, size);
    words[(reply + ReadReply.lengthBytes) >>> 2] = bytes;
    words[(reply + ReadReply.inlineBytes) >>> 2] = inlineBytes;
    words[(reply + ReadReply.checksum) >>> 2] = checksum;
    words[(reply + ReadReply.reserved) >>> 2] = 0;
  }
}
