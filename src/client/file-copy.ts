/**
 * copy_file_range: bytes from one file to another without a detour through the kernel.
 *
 *   GetAttr of the source (where it ends) ──> read a piece ──> write it ──┬─ more: the next piece
 *                                                                         └─ reply: how many bytes
 *
 * A request copies a bounded number of bytes, and says so: callers go on from there. An error after
 * the first piece is not lost, it meets the next call.
 */
import { errno } from '../common/errno.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import { Answer } from './answer.js';
import type { AttributeOperations } from './attribute-operations.js';
import type { ClientContext } from './context.js';
import type { FileReads } from './file-read.js';
import type { FileWrites } from './file-write.js';
import type { OpenFile } from './open-file.js';
import type { ClientRequest } from './request.js';

/** Bytes that one request copies through this client. */
const COPIED_BYTES_MAX = 16 * chunkBytes;

/** A range of one file, to go to another. */
export interface CopyRange {
  source: OpenFile;
  from: number;
  target: OpenFile;
  to: number;
  lengthBytes: number;
}

type Step = 'size' | 'read' | 'write';

class CopyJob {
  readonly request: ClientRequest;
  /** What the core answers instead of `request`. */
  readonly step: Answer;
  readonly #copies: FileCopies;
  readonly #range: CopyRange;
  readonly #landing: number;
  #now: Step = 'size';
  /** Copied so far, and to be copied by this request. */
  #done = 0;
  #bytes = 0;

  constructor(copies: FileCopies, request: ClientRequest, range: CopyRange, landing: number) {
    const { arena } = copies.context;
    this.#copies = copies;
    this.request = request;
    this.#range = range;
    this.#landing = landing;
    range.source.users++;
    range.target.users++;
    this.step = new Answer(arena, request.uid, request.gid, (status) => {
      this.#stepped(status);
    });
  }

  start(): void {
    this.#copies.attributes.getAttributes(this.step, this.#range.source.inode);
  }

  #stepped(status: number): void {
    if (status !== 0) this.#finish(status);
    else if (this.#now === 'size') this.#haveSize();
    else if (this.#now === 'read') this.#haveData();
    else this.#next(this.step.lengthBytes);
  }

  #haveSize(): void {
    const { from, lengthBytes } = this.#range;
    const left = this.step.stats!.size - from;
    this.#bytes = Math.min(lengthBytes, Math.max(0, left), COPIED_BYTES_MAX);
    this.#next(0);
  }

  #next(bytes: number): void {
    const { source, from } = this.#range;
    this.#done += bytes;
    if (this.#done === this.#bytes) {
      this.#finish(0);
      return;
    }
    // Up to the next chunk: what is aligned alike is then read from one target, written to one.
    const at = from + this.#done;
    const piece = Math.min(this.#bytes - this.#done, chunkBytes - (at % chunkBytes));
    this.#now = 'read';
    this.#copies.reads.read(this.step, source, at, piece, this.#landing);
  }

  #haveData(): void {
    const { target, to } = this.#range;
    const bytes = this.step.lengthBytes;
    if (bytes === 0) {
      // Somebody has made the source shorter.
      this.#finish(0);
      return;
    }
    this.#now = 'write';
    this.#copies.writes.write(this.step, target, to + this.#done, bytes, this.#landing, false);
  }

  #finish(status: number): void {
    const { request } = this;
    this.#copies.ended(this);
    this.#copies.context.files.drop(this.#range.source);
    this.#copies.context.files.drop(this.#range.target);
    if (status !== 0 && this.#done === 0) request.replyError(status);
    else request.replyWritten(this.#done);
  }
}

export class FileCopies {
  readonly context: ClientContext;
  readonly attributes: AttributeOperations;
  readonly reads: FileReads;
  readonly writes: FileWrites;
  readonly #jobs = new Set<CopyJob>();

  constructor(
    context: ClientContext,
    attributes: AttributeOperations,
    reads: FileReads,
    writes: FileWrites,
  ) {
    this.context = context;
    this.attributes = attributes;
    this.reads = reads;
    this.writes = writes;
  }

  /**
   * Answered with replyWritten: how many bytes were copied, fewer than asked for at the source's end
   * and for long ranges. `landing`: 1 MiB of arena memory, the core's until the reply.
   */
  copy(request: ClientRequest, range: CopyRange, landing: number): void {
    if (range.to + range.lengthBytes > fileBytesMax) {
      request.replyError(errno.EFBIG);
      return;
    }
    const job = new CopyJob(this, request, range, landing);
    this.#jobs.add(job);
    job.start();
  }

  /** Of CopyJob. */
  ended(job: CopyJob): void {
    this.#jobs.delete(job);
  }

  interrupt(request: ClientRequest): void {
    for (const { request: mine, step } of [...this.#jobs]) {
      if (mine !== request) continue;
      this.attributes.interrupt(step);
      this.reads.interrupt(step);
      this.writes.interrupt(step);
    }
  }
}
