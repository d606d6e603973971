/**
 * fallocate, and lseek to data or to a hole. Both concern a range of the file, so every target that
 * can hold a chunk of it is asked, all at once, each repeatedly until it is through:
 *
 *   fallocate: (beyond chunk 0: MarkStriped) ──> ChangeSpace at the others ── all done ──>
 *              ChangeSpace at the inode's target, with the new size ──> reply
 *   lseek:     GetAttr (where the file ends) ──> SeekData everywhere ── all done: the least ──> reply
 *
 * The inode's target comes last in fallocate: the size grows when the space is there.
 */
import { errno } from '../common/errno.js';
import { chunkBytes, fileBytesMax, stripeBuckets } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  AttributesReply,
  ChangeSpaceReply,
  ChangeSpaceRequest,
  InodeRequest,
  Opcode,
  SeekDataReply,
  SeekDataRequest,
} from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import type { FileWrites } from './file-write.js';
import { STRIPED_YES } from './open-file.js';
import type { OpenFile, StripeWaiter } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';
import type { ClientRequest } from './request.js';

/** fallocate(2) */
export const FALLOC_KEEP_SIZE = 1;
export const FALLOC_PUNCH_HOLE = 2;
export const FALLOC_ZERO_RANGE = 16;

/** ChangeSpaceRequest.how */
const DROP = 1;
const PROMISE = 2;
const DROP_SET_ID = 4;

/** What `mode` does to the range; 0: not supported. */
function changeOf(mode: number): number {
  switch (mode) {
    case 0:
    case FALLOC_KEEP_SIZE:
      return PROMISE;
    case FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE:
      return DROP;
    case FALLOC_ZERO_RANGE:
    case FALLOC_ZERO_RANGE | FALLOC_KEEP_SIZE:
      return DROP | PROMISE;
    default:
      return 0;
  }
}

/** The targets that can hold chunks of [from, to), each once, into `peers`. */
export function peersOfRange(
  context: ClientContext,
  file: OpenFile,
  from: number,
  to: number,
  peers: RpcPeer[],
): void {
  peers.length = 0;
  const first = Math.floor(from / chunkBytes);
  // Chunk 0 and the one that comes round to its stripe may be in different places.
  const end = Math.min(Math.ceil(to / chunkBytes), first + stripeBuckets + 1);
  for (let chunk = first; chunk < end; chunk++) {
    const peer = context.peerOfChunk(file, chunk);
    if (!peers.includes(peer)) peers.push(peer);
  }
}

/** One fallocate: not an RPC itself. Pooled by FileSpace. */
class ChangeJob implements StripeWaiter {
  request: ClientRequest | null = null;
  file!: OpenFile;
  how = 0;
  /** DROP_SET_ID or 0. */
  also = 0;
  from = 0;
  to = 0;
  /** The file is at least that long afterwards. */
  sizeBytes = 0;
  readonly #space: FileSpace;
  readonly #peers: RpcPeer[] = [];
  #pending = 0;
  #status = 0;
  #last = false;

  constructor(space: FileSpace) {
    this.#space = space;
  }

  start(): void {
    this.#last = false;
    this.#status = 0;
    if (this.to > chunkBytes && this.file.striped !== STRIPED_YES)
      this.#space.markStriped(this.file, this);
    else this.#askOthers();
  }

  stripedMarked(status: number): void {
    if (status === 0) this.#askOthers();
    else this.#finish(status);
  }

  #askOthers(): void {
    const { context } = this.#space;
    const own = context.peerOfInode(this.file.inode);
    peersOfRange(context, this.file, this.from, this.to, this.#peers);
    // One more than are asked, so that an answer during this loop does not end it.
    this.#pending = 1;
    for (const peer of this.#peers) {
      if (peer === own) continue;
      this.#pending++;
      this.#space.startChange(this, peer, 0);
    }
    this.pieceDone(0);
  }

  /** Of ChangePiece: one target is through. */
  pieceDone(status: number): void {
    if (status !== 0) this.#status = status;
    if (--this.#pending > 0) return;
    if (this.#last || this.#status !== 0) {
      this.#finish(this.#status);
      return;
    }
    this.#last = true;
    this.#pending = 1;
    const own = this.#space.context.peerOfInode(this.file.inode);
    this.#space.startChange(this, own, this.sizeBytes);
  }

  #finish(status: number): void {
    const { request, file } = this;
    this.request = null;
    this.#space.context.files.drop(file);
    this.#space.giveChange(this);
    if (status === 0) request?.replyDone();
    else request?.replyError(status);
  }
}

/** ChangeSpace at one target, until it is through. */
class ChangePiece extends CoreOperation {
  job!: ChangeJob;
  #from = 0;
  #sizeBytes = 0;
  #at: RpcPeer | null = null;

  start(peer: RpcPeer, sizeBytes: number): void {
    this.#from = this.job.from;
    this.#sizeBytes = sizeBytes;
    this.#at = peer;
    this.change.addInode(this.job.file.inode);
    this.#next();
  }

  #next(): void {
    this.send(this.#at!, Opcode.ChangeSpace, ChangeSpaceRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    const { job } = this;
    writeU53(words, body + ChangeSpaceRequest.inode, job.file.inode);
    writeU53(words, body + ChangeSpaceRequest.layout, job.file.layout);
    writeU53(words, body + ChangeSpaceRequest.fromByte, this.#from);
    writeU53(words, body + ChangeSpaceRequest.toByte, job.to);
    writeU53(words, body + ChangeSpaceRequest.sizeBytes, this.#sizeBytes);
    words[(body + ChangeSpaceRequest.how) >>> 2] = job.how | job.also;
    words[(body + ChangeSpaceRequest.reserved) >>> 2] = 0;
    return ChangeSpaceRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, job } = this;
    const checked = context.checkReply(status, bodyBytes, ChangeSpaceReply.SIZE);
    job.file.touch(this.#at!);
    if (checked === 0) {
      const { words } = context.arena;
      const next = readU53(words, body + ChangeSpaceReply.nextByte);
      if (this.#at === context.peerOfInode(job.file.inode)) {
        const sizeBytes = readU53(words, body + ChangeSpaceReply.sizeBytes);
        job.file.learnSize(sizeBytes, context.scheduler.nowMs());
      }
      if (next < job.to) {
        this.#from = next;
        this.#next();
        return;
      }
    }
    this.endChange(checked, this.#at);
    this.#at = null;
    this.release();
    job.pieceDone(checked);
  }
}

/** One lseek: asks where the file ends, then everybody. */
class SeekOperation extends CoreOperation {
  space!: FileSpace;
  file!: OpenFile;
  from = 0;
  hole = false;
  /** The file's size; then the least byte that was found. */
  best = 0;
  readonly #peers: RpcPeer[] = [];
  #sizeBytes = 0;
  #pending = 0;
  #status = 0;

  start(file: OpenFile, from: number, hole: boolean): void {
    file.users++;
    this.file = file;
    this.from = from;
    this.hole = hole;
    this.#status = 0;
    this.send(this.context.peerOfInode(file.inode), Opcode.GetAttr, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.file.inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    this.peer = null;
    this.#status = context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (this.#status === 0) {
      const attributes = context.readAttributes(body + AttributesReply.attributes);
      this.#sizeBytes = attributes.sizeBytes;
      if (this.from >= this.#sizeBytes) this.#status = errno.ENXIO;
    }
    if (this.#status !== 0) {
      this.#finish();
      return;
    }
    this.best = this.#sizeBytes;
    peersOfRange(context, this.file, this.from, this.#sizeBytes, this.#peers);
    this.#pending = 1;
    for (const peer of this.#peers) {
      this.#pending++;
      this.space.startSeek(this, peer);
    }
    this.pieceDone(0);
  }

  pieceDone(status: number): void {
    if (status !== 0) this.#status = status;
    if (--this.#pending === 0) this.#finish();
  }

  #finish(): void {
    const { context, file, best } = this;
    let status = this.#status;
    if (status === 0 && !this.hole && best === this.#sizeBytes) status = errno.ENXIO;
    const request = this.release();
    context.files.drop(file);
    if (status === 0) request?.replyOffset(best);
    else request?.replyError(status);
  }
}

/** SeekData at one target, until it has found something or passed what another one found. */
class SeekPiece extends CoreOperation {
  parent!: SeekOperation;
  #from = 0;
  #at: RpcPeer | null = null;

  start(peer: RpcPeer): void {
    this.#from = this.parent.from;
    this.#at = peer;
    this.send(peer, Opcode.SeekData, SeekDataRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    const { parent } = this;
    writeU53(words, body + SeekDataRequest.inode, parent.file.inode);
    writeU53(words, body + SeekDataRequest.layout, parent.file.layout);
    writeU53(words, body + SeekDataRequest.fromByte, this.#from);
    writeU53(words, body + SeekDataRequest.toByte, Math.max(parent.best, this.#from));
    words[(body + SeekDataRequest.hole) >>> 2] = parent.hole ? 1 : 0;
    words[(body + SeekDataRequest.reserved) >>> 2] = 0;
    return SeekDataRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, parent } = this;
    const checked = context.checkReply(status, bodyBytes, SeekDataReply.SIZE);
    if (checked === 0) {
      const { words } = context.arena;
      const byte = readU53(words, body + SeekDataReply.byte);
      if (words[(body + SeekDataReply.found) >>> 2] !== 0) {
        parent.best = Math.min(parent.best, byte);
      } else if (byte < parent.best && byte > this.#from) {
        this.#from = byte;
        this.send(this.#at!, Opcode.SeekData, SeekDataRequest.SIZE);
        return;
      }
    }
    this.#at = null;
    this.release();
    parent.pieceDone(checked);
  }
}

export class FileSpace {
  readonly context: ClientContext;
  readonly #writes: FileWrites;
  readonly #freeJobs: ChangeJob[] = [];
  readonly #changes: OperationPool<ChangePiece>;
  readonly #seeks: OperationPool<SeekOperation>;
  readonly #seekPieces: OperationPool<SeekPiece>;

  constructor(context: ClientContext, writes: FileWrites) {
    this.context = context;
    this.#writes = writes;
    this.#changes = new OperationPool((pool) => new ChangePiece(context, pool));
    this.#seeks = new OperationPool((pool) => {
      const operation = new SeekOperation(context, pool);
      operation.space = this;
      return operation;
    });
    this.#seekPieces = new OperationPool((pool) => new SeekPiece(context, pool));
  }

  /** fallocate(2); EOPNOTSUPP for modes that move data (COLLAPSE_RANGE, …). */
  change(
    request: ClientRequest,
    file: OpenFile,
    mode: number,
    offset: number,
    lengthBytes: number,
  ): void {
    const how = changeOf(mode);
    const end = offset + lengthBytes;
    if (lengthBytes <= 0 || offset < 0) request.replyError(errno.EINVAL);
    else if (how === 0) request.replyError(errno.EOPNOTSUPP);
    else if (how !== DROP && end > fileBytesMax) request.replyError(errno.EFBIG);
    else if (offset >= fileBytesMax) request.replyDone();
    else {
      const job = this.#freeJobs.pop() ?? new ChangeJob(this);
      job.request = request;
      job.file = file;
      job.how = how;
      job.also = request.dropsSetId ? DROP_SET_ID : 0;
      job.from = offset;
      job.to = Math.min(end, fileBytesMax);
      job.sizeBytes = (mode & FALLOC_KEEP_SIZE) === 0 ? end : 0;
      file.users++;
      job.start();
    }
  }

  /** lseek(2), SEEK_DATA or SEEK_HOLE: answered with replyOffset, or ENXIO. */
  seek(request: ClientRequest, file: OpenFile, offset: number, hole: boolean): void {
    this.#seeks.take(request).start(file, offset, hole);
  }

  /** Of ChangeJob. */
  markStriped(file: OpenFile, waiter: StripeWaiter): void {
    this.#writes.markStriped(file, waiter);
  }

  /** Of ChangeJob. */
  startChange(job: ChangeJob, peer: RpcPeer, sizeBytes: number): void {
    const piece = this.#changes.take(job.request);
    piece.job = job;
    piece.start(peer, sizeBytes);
  }

  /** Of ChangeJob. */
  giveChange(job: ChangeJob): void {
    this.#freeJobs.push(job);
  }

  /** Of SeekOperation. */
  startSeek(parent: SeekOperation, peer: RpcPeer): void {
    const piece = this.#seekPieces.take(parent.request);
    piece.parent = parent;
    piece.start(peer);
  }

  interrupt(request: ClientRequest): void {
    this.#changes.interrupt(request);
    this.#seeks.interrupt(request);
    this.#seekPieces.interrupt(request);
  }
}
