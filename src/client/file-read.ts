/**
 * read: the range is cut at chunk borders, each piece asked from the target that holds the chunk,
 * all at once; data lands where the front end will reply from.
 *
 * Where does the file end? Chunk 0's target is the inode's and says so with the data. For a range
 * beyond chunk 0 that lies inside the size known here, that size is believed when it was learnt
 * lately, and checked beside the reads when not (somebody may have cut the file). Where chunks beyond
 * the first lie is known once the file is known to be striped; it is asked for as the size is. A range that
 * seems to pass the end is another matter: there the inode's target is asked first, and only then
 * the data. Asked the other way round, a write of another client between the two answers could
 * make its range look like zeros.
 *
 *   range in chunk 0, or inside the known size ──> pieces (and GetAttr) ── all arrived ──> reply
 *   else ──> GetAttr ──> cut the range at the end ──┘
 */
import { errno } from '../common/errno.js';
import { crc32c } from '../native/crc32c.js';
import { chunkBytes, fileBytesMax, inlineDataBytes } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  AttributesReply,
  InodeRequest,
  Opcode,
  ReadReply,
  ReadRequest,
} from '../protocol/wire.generated.js';
import { encodeInode } from './bodies.js';
import type { ClientContext } from './context.js';
import type { OpenFile } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';
import type { ClientRequest } from './request.js';

class ReadOperation extends CoreOperation {
  reads!: FileReads;
  file!: OpenFile;
  landing = 0;
  #offset = 0;
  #lengthBytes = 0;
  #pending = 0;
  #status = 0;
  /** The size is asked for beside the data. */
  #checking = false;

  start(file: OpenFile, offset: number, lengthBytes: number, landing: number): void {
    file.users++;
    this.file = file;
    this.landing = landing;
    this.#offset = offset;
    this.#lengthBytes = lengthBytes;
    this.#status = 0;
    const end = offset + lengthBytes;
    const believed = file.knows(end);
    const certain = end <= chunkBytes || this.context.isSizeFresh(file);
    this.#checking = believed && !certain;
    if (believed) this.#readPieces();
    else this.#askSize();
  }

  #askSize(): void {
    const peer = this.context.peerOfInode(this.file.inode);
    this.send(peer, Opcode.GetAttr, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.file.inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    this.peer = null;
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked === 0) {
      const attributes = this.context.readAttributes(body + AttributesReply.attributes);
      this.cutAt(attributes.sizeBytes);
    }
    if (this.#checking) {
      this.pieceDone(checked);
    } else if (checked !== 0 || this.#lengthBytes === 0) {
      this.#status = checked;
      this.#finish();
    } else {
      this.#readPieces();
    }
  }

  /** The file ends here. */
  cutAt(sizeBytes: number): void {
    const left = sizeBytes - this.#offset;
    if (left < this.#lengthBytes) this.#lengthBytes = left > 0 ? left : 0;
  }

  #readPieces(): void {
    const end = this.#offset + this.#lengthBytes;
    let at = this.#offset;
    let landing = this.landing;
    // One more than there are pieces, so that an answer during this loop does not finish.
    this.#pending = 1;
    if (this.#checking) {
      this.#pending++;
      this.#askSize();
    }
    while (at < end) {
      const chunk = Math.floor(at / chunkBytes);
      const inChunk = at - chunk * chunkBytes;
      const bytes = Math.min(end - at, chunkBytes - inChunk);
      this.#pending++;
      this.reads.startPiece(this, chunk, inChunk, bytes, landing);
      at += bytes;
      landing += bytes;
    }
    this.pieceDone(0);
  }

  /** Of ReadPiece. */
  pieceDone(status: number): void {
    if (status !== 0) this.#status = status;
    this.#pending--;
    if (this.#pending === 0) this.#finish();
  }

  #finish(): void {
    const { context } = this;
    const status = this.#status;
    const bytes = this.#lengthBytes;
    const { file } = this;
    const request = this.release();
    if (status === 0 && request?.readsSilently !== true) context.accessTimes.note(file.inode);
    context.files.drop(file);
    if (status !== 0) {
      request?.replyError(status);
    } else {
      context.counters.readBytes += bytes;
      request?.replyRead(bytes);
    }
  }
}

class ReadPiece extends CoreOperation {
  parent!: ReadOperation;
  #chunk = 0;
  #offset = 0;
  #lengthBytes = 0;
  #landing = 0;

  start(chunk: number, offset: number, lengthBytes: number, landing: number): void {
    this.#chunk = chunk;
    this.#offset = offset;
    this.#lengthBytes = lengthBytes;
    this.#landing = landing;
    // Up to this much comes inside the message and is copied.
    const inline = lengthBytes <= inlineDataBytes;
    this.landingOffset = inline ? 0 : landing;
    this.landingBytes = inline ? 0 : lengthBytes;
    const peer = this.context.peerOfChunk(this.parent.file, chunk);
    this.send(peer, Opcode.Read, ReadRequest.SIZE);
  }

  override encode(body: number): number {
    const words = this.context.arena.words;
    writeU53(words, body + ReadRequest.inode, this.parent.file.inode);
    writeU53(words, body + ReadRequest.layout, this.parent.file.layout);
    writeU53(words, body + ReadRequest.chunk, this.#chunk);
    words[(body + ReadRequest.offset) >>> 2] = this.#offset;
    words[(body + ReadRequest.lengthBytes) >>> 2] = this.#lengthBytes;
    return ReadRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    let checked = this.context.checkReply(status, bodyBytes, ReadReply.SIZE);
    if (checked === 0) checked = this.#take(body, bodyBytes, bulkBytes);
    const { parent } = this;
    this.release();
    parent.pieceDone(checked);
  }

  /** Puts the data in its place, with zeros behind it; 0, or an errno. */
  #take(body: number, bodyBytes: number, bulkBytes: number): number {
    const { arena, counters, scheduler } = this.context;
    const { words, bytes } = arena;
    const lengthBytes = words[(body + ReadReply.lengthBytes) >>> 2]!;
    const inlineBytes = words[(body + ReadReply.inlineBytes) >>> 2]!;
    const wellFormed =
      lengthBytes <= this.#lengthBytes &&
      (inlineBytes !== 0
        ? inlineBytes === lengthBytes && ReadReply.SIZE + inlineBytes <= bodyBytes
        : bulkBytes === lengthBytes);
    if (!wellFormed) {
      return this.context.malformed('data of a read');
    }
    if (inlineBytes !== 0) {
      const from = body + ReadReply.SIZE;
      bytes.copyWithin(this.#landing, from, from + inlineBytes);
    }
    if (lengthBytes !== 0) {
      const expected = words[(body + ReadReply.checksum) >>> 2]!;
      if (crc32c(arena, this.#landing, lengthBytes) !== expected) {
        counters.checksumErrors++;
        const where = `inode ${this.parent.file.inode}, chunk ${this.#chunk}`;
        this.context.damaged.say(`data of ${where} arrived with a wrong checksum`);
        return errno.EIO;
      }
    }
    if (lengthBytes < this.#lengthBytes) {
      bytes.fill(0, this.#landing + lengthBytes, this.#landing + this.#lengthBytes);
    }
    if (this.#chunk === 0) {
      const sizeBytes = readU53(words, body + ReadReply.sizeBytes);
      this.parent.file.learnSize(sizeBytes, scheduler.nowMs());
      this.parent.cutAt(sizeBytes);
    }
    return 0;
  }
}

export class FileReads {
  readonly #reads: OperationPool<ReadOperation>;
  readonly #pieces: OperationPool<ReadPiece>;

  constructor(context: ClientContext) {
    this.#reads = new OperationPool((pool) => {
      const operation = new ReadOperation(context, pool);
      operation.reads = this;
      return operation;
    });
    this.#pieces = new OperationPool((pool) => new ReadPiece(context, pool));
  }

  /** Into `lengthBytes` bytes of arena memory at `landing`. */
  read(
    request: ClientRequest,
    file: OpenFile,
    offset: number,
    lengthBytes: number,
    landing: number,
  ): void {
    const length = Math.min(lengthBytes, Math.max(0, fileBytesMax - offset));
    if (length === 0) request.replyRead(0);
    else this.#reads.take(request).start(file, offset, length, landing);
  }

  /** Of ReadOperation. */
  startPiece(
    parent: ReadOperation,
    chunk: number,
    offset: number,
    lengthBytes: number,
    landing: number,
  ): void {
    const piece = this.#pieces.take(parent.request);
    piece.parent = parent;
    piece.start(chunk, offset, lengthBytes, landing);
  }

  interrupt(request: ClientRequest): void {
    this.#reads.interrupt(request);
    this.#pieces.interrupt(request);
  }
}
