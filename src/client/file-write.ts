/**
 * write: the range is cut at chunk borders, each piece sent to the target that holds the chunk,
 * all at once, straight from the memory that the front end received it in.
 *
 *   (first write beyond chunk 0: MarkStriped) ──> pieces
 *   pieces ── all stored ──┬─ the file is longer now ──> Extend ──> reply
 *                          └─ else ──> reply
 *   append ──┬─ the end may be in chunk 0 ──> Write with append flag ──> reply
 *            │                                  └─ EAGAIN ──┐
 *            └─ else ───────────────────────────────────────┴─> Reserve ──> pieces ──> reply
 *
 * A write of chunk 0 needs no Extend: its target keeps the size with it. A write inside a size that
 * was learnt long ago sends Extend beside its pieces: normally it changes nothing, but another
 * client may have cut the file. The inode's target gives out append ranges, so appends of several
 * clients never overlap.
 */
import { errno } from '../common/errno.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  InodeRequest,
  LayoutReply,
  Opcode,
  ReserveReply,
  ReserveRequest,
} from '../protocol/wire.generated.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import { STRIPED_MARKING, STRIPED_NO, STRIPED_YES } from './open-file.js';
import type { OpenFile, SizeWaiter, StripeWaiter } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';
import type { ClientRequest } from './request.js';
import type { FileSyncs } from './file-sync.js';
import type { SizeTracker } from './size-tracker.js';
import { WRITE_APPEND, WRITE_DROP_SET_ID, WritePiece } from './write-piece.js';
import type { WriteParent } from './write-piece.js';

const PLACE_GIVEN = 0;
const PLACE_APPEND = 1;
const PLACE_RESERVED = 2;

class WriteOperation extends CoreOperation implements SizeWaiter, StripeWaiter, WriteParent {
  writes!: FileWrites;
  file!: OpenFile;
  #data = 0;
  #offset = 0;
  #lengthBytes = 0;
  #place = PLACE_GIVEN;
  #pending = 0;
  #status = 0;
  /** Of its Write requests: WRITE_DROP_SET_ID or 0. */
  #flags = 0;
  /** The inode's target hears of the size beside the data. */
  #checking = false;

  start(file: OpenFile, offset: number, lengthBytes: number, data: number, append: boolean): void {
    file.users++;
    this.file = file;
    this.change.addInode(file.inode);
    this.#offset = offset;
    this.#lengthBytes = lengthBytes;
    this.#data = data;
    this.#status = 0;
    this.#flags = this.request?.dropsSetId === true ? WRITE_DROP_SET_ID : 0;
    this.#place = append ? PLACE_APPEND : PLACE_GIVEN;
    if (!append) {
      this.#writeRange();
    } else if (file.knownSize + lengthBytes <= chunkBytes) {
      this.#pending = 1;
      this.writes.startPiece(this, 0, 0, lengthBytes, data, WRITE_APPEND | this.#flags);
    } else {
      this.#reserve();
    }
  }

  #reserve(): void {
    this.#place = PLACE_RESERVED;
    const peer = this.context.peerOfInode(this.file.inode);
    this.send(peer, Opcode.Reserve, ReserveRequest.SIZE);
  }

  /** Of Reserve. */
  override encode(body: number): number {
    const words = this.context.arena.words;
    writeU53(words, body + ReserveRequest.inode, this.file.inode);
    writeU53(words, body + ReserveRequest.lengthBytes, this.#lengthBytes);
    words[(body + ReserveRequest.flags) >>> 2] = this.#flags === 0 ? 0 : 1;
    words[(body + ReserveRequest.reserved) >>> 2] = 0;
    return ReserveRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    this.peer = null;
    this.#status = this.context.checkReply(status, bodyBytes, ReserveReply.SIZE);
    if (this.#status !== 0) {
      this.#finish();
      return;
    }
    const words = this.context.arena.words;
    this.#offset = readU53(words, body + ReserveReply.offset);
    const sizeBytes = readU53(words, body + ReserveReply.sizeBytes);
    this.file.learnSize(sizeBytes, this.context.scheduler.nowMs());
    this.#writeRange();
  }

  #writeRange(): void {
    const end = this.#offset + this.#lengthBytes;
    if (end > chunkBytes && this.file.striped !== STRIPED_YES) {
      this.writes.markStriped(this.file, this);
      return;
    }
    this.#writePieces();
  }

  stripedMarked(status: number): void {
    if (status === 0) {
      this.#writePieces();
    } else {
      this.#status = status;
      this.#finish();
    }
  }

  #writePieces(): void {
    const end = this.#offset + this.#lengthBytes;
    let at = this.#offset;
    let data = this.#data;
    // One more than there are pieces, so that an answer during this loop does not finish.
    this.#pending = 1;
    if (this.#flags !== 0 && this.#place === PLACE_GIVEN && end > chunkBytes) {
      // Chunk 0's target sees to it itself.
      if (this.file.privileged) this.file.dropsSetId = true;
    }
    this.#checking = this.#place === PLACE_GIVEN && this.writes.tracker.needsCheck(this.file, end);
    if (this.#checking) {
      this.#pending++;
      this.writes.tracker.extend(this.file, end, this);
    }
    while (at < end) {
      const chunk = Math.floor(at / chunkBytes);
      const inChunk = at - chunk * chunkBytes;
      const bytes = Math.min(end - at, chunkBytes - inChunk);
      this.#pending++;
      this.writes.startPiece(this, chunk, inChunk, bytes, data, this.#flags);
      at += bytes;
      data += bytes;
    }
    this.pieceDone(0);
  }

  pieceDone(status: number): void {
    if (this.#place === PLACE_APPEND && status === errno.EAGAIN) {
      this.#reserve();
      return;
    }
    if (status !== 0) this.#status = status;
    this.#pending--;
    if (this.#pending === 0) this.#stored();
  }

  #stored(): void {
    const end = this.#offset + this.#lengthBytes;
    const tracker = this.writes.tracker;
    const extends_ =
      this.#status === 0 &&
      this.#place === PLACE_GIVEN &&
      !this.#checking &&
      end > chunkBytes &&
      tracker.needsExtend(this.file, end);
    if (extends_) tracker.extend(this.file, end, this);
    else this.#finish();
  }

  sizeUpdated(status: number): void {
    if (this.#checking) {
      this.pieceDone(status);
      return;
    }
    this.#status = status;
    this.#finish();
  }

  #finish(): void {
    const { context, file } = this;
    const status = this.#status;
    const bytes = this.#lengthBytes;
    this.endChange(status, context.peerOfInode(file.inode));
    const request = this.release();
    context.facts.noteChange(file.inode);
    const synchronous = status === 0 && request?.synchronous === true;
    if (synchronous) this.writes.syncs.endWrite(request, file, bytes);
    context.files.drop(file);
    if (status !== 0) {
      request?.replyError(status);
    } else {
      context.counters.writtenBytes += bytes;
      if (!synchronous) request?.replyWritten(bytes);
    }
  }
}

/** Tells the inode's target that the file is about to have chunks elsewhere. */
class MarkStripedOperation extends CoreOperation {
  file!: OpenFile;

  start(): void {
    this.change.addInode(this.file.inode);
    this.send(this.context.peerOfInode(this.file.inode), Opcode.MarkStriped, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.file.inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, file } = this;
    const checked = context.checkReply(status, bodyBytes, LayoutReply.SIZE);
    if (checked === 0) {
      const layout = readU53(context.arena.words, body + LayoutReply.layout);
      file.layout = layout === 0 ? file.inode : layout;
    }
    this.endChange(checked, this.peer);
    this.release();
    file.striped = checked === 0 ? STRIPED_YES : STRIPED_NO;
    const waiters = file.stripeWaiters.splice(0);
    for (const waiter of waiters) waiter.stripedMarked(checked);
    context.files.drop(file);
  }
}

export class FileWrites {
  readonly tracker: SizeTracker;
  readonly syncs: FileSyncs;
  readonly #writes: OperationPool<WriteOperation>;
  readonly #pieces: OperationPool<WritePiece>;
  readonly #marks: OperationPool<MarkStripedOperation>;

  constructor(context: ClientContext, tracker: SizeTracker, syncs: FileSyncs) {
    this.tracker = tracker;
    this.syncs = syncs;
    this.#writes = new OperationPool((pool) => {
      const operation = new WriteOperation(context, pool);
      operation.writes = this;
      return operation;
    });
    this.#pieces = new OperationPool((pool) => new WritePiece(context, pool));
    this.#marks = new OperationPool((pool) => new MarkStripedOperation(context, pool));
  }

  /** `lengthBytes` (at most a chunk's) bytes at arena offset `data`; `append` ignores `offset`. */
  write(
    request: ClientRequest,
    file: OpenFile,
    offset: number,
    lengthBytes: number,
    data: number,
    append: boolean,
  ): void {
    if (lengthBytes === 0) request.replyWritten(0);
    else if (lengthBytes > chunkBytes) request.replyError(errno.EINVAL);
    else if (!append && offset + lengthBytes > fileBytesMax) request.replyError(errno.EFBIG);
    else this.#writes.take(request).start(file, offset, lengthBytes, data, append);
  }

  /** Of WriteOperation: `waiter` hears when the inode's target knows that the file is striped. */
  markStriped(file: OpenFile, waiter: StripeWaiter): void {
    file.stripeWaiters.push(waiter);
    if (file.striped === STRIPED_MARKING) return;
    file.striped = STRIPED_MARKING;
    file.users++;
    const operation = this.#marks.take(null);
    operation.file = file;
    operation.start();
  }

  /** Of WriteOperation. */
  startPiece(
    parent: WriteOperation,
    chunk: number,
    offset: number,
    lengthBytes: number,
    data: number,
    flags: number,
  ): void {
    const piece = this.#pieces.take(parent.request);
    piece.parent = parent;
    piece.start(chunk, offset, lengthBytes, data, flags);
  }

  interrupt(request: ClientRequest): void {
    this.#writes.interrupt(request);
    this.#pieces.interrupt(request);
  }
}
