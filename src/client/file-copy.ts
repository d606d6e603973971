/**
 * copy_file_range: bytes from one file to another without a detour through the kernel. From a place
 * to the same place of another file they are cloned (docs/formats/data.md, "Clones"): the targets
 * share blocks, and no data moves. Else, or where a target says that it cannot, they are copied
 * through this client, a piece at a time.
 *
 *   GetAttr of the source (where it ends)
 *     ├─ same place ──> (beyond chunk 0, not striped yet: AdoptLayout) ──> same layout? ── no ──┐
 *     │                   ──> CloneRange everywhere ──> (chunk 0 is elsewhere: copied)          │
 *     │                   ──> (beyond chunk 0: Extend) ──> reply                                │
 *     └─ other place ──> read a piece ──> write it ──┬─ more: the next piece <──────────────────┘
 *                                                    └─ reply: how many bytes
 *
 * A request copies a bounded number of bytes, and says so: callers go on from there. An error after
 * the first piece is not lost, it meets the next call.
 */
import { errno } from '../common/errno.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { Answer } from './answer.js';
import type { AttributeOperations } from './attribute-operations.js';
import type { ClientContext } from './context.js';
import { AdoptOperation, ClonePiece } from './clone-operations.js';
import type { CloneParent } from './clone-operations.js';
import type { FileReads } from './file-read.js';
import { peersOfRange } from './file-space.js';
import type { FileWrites } from './file-write.js';
import { STRIPED_YES } from './open-file.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { OperationPool } from './operation.js';
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

class CopyJob implements CloneParent, SizeWaiter {
  readonly request: ClientRequest;
  readonly range: CopyRange;
  /** What the core answers instead of `request`. */
  readonly step: Answer;
  readonly #copies: FileCopies;
  readonly #landing: number;
  readonly #peers: RpcPeer[] = [];
  #now: Step = 'size';
  /** Bytes that are copied through here: so far, and by this request. */
  #done = 0;
  #bytes = 0;
  /** Of them, what belongs to a clone; its end is then the size that the file has at least. */
  #cloning = false;
  #cloned = 0;
  #pending = 0;
  #status = 0;
  #firstIsElsewhere = false;

  constructor(copies: FileCopies, request: ClientRequest, range: CopyRange, landing: number) {
    const { arena } = copies.context;
    this.#copies = copies;
    this.request = request;
    this.range = range;
    this.#landing = landing;
    range.source.users++;
    range.target.users++;
    this.step = new Answer(arena, request.uid, request.gid, (status) => {
      this.#stepped(status);
    });
  }

  start(): void {
    this.#copies.attributes.getAttributes(this.step, this.range.source.inode);
  }

  #stepped(status: number): void {
    if (status !== 0) this.#finish(status);
    else if (this.#now === 'size') this.#haveSize();
    else if (this.#now === 'read') this.#haveData();
    else this.#next(this.step.lengthBytes);
  }

  #haveSize(): void {
    const { source, target, from, to, lengthBytes } = this.range;
    this.#bytes = Math.min(lengthBytes, Math.max(0, this.step.stats!.size - from));
    const end = from + this.#bytes;
    if (from !== to || source.inode === target.inode || this.#bytes === 0) this.#copy();
    else if (end > chunkBytes && target.striped !== STRIPED_YES) this.#copies.startAdopt(this);
    else this.#cloneOrCopy();
  }

  /** Of AdoptOperation. */
  adopted(status: number): void {
    if (status !== 0) this.#finish(status);
    else this.#cloneOrCopy();
  }

  #cloneOrCopy(): void {
    const { source, target, from } = this.range;
    const end = from + this.#bytes;
    if (end > chunkBytes && source.layout !== target.layout) this.#copy();
    else this.#clone(from, end);
  }

  #copy(): void {
    this.#bytes = Math.min(this.#bytes, COPIED_BYTES_MAX);
    this.#next(0);
  }

  // ---------------------------------------------------------------- cloning

  #clone(from: number, end: number): void {
    const { context } = this.#copies;
    const { target } = this.range;
    this.#cloning = true;
    this.#cloned = this.#bytes;
    // One more than are asked, so that an answer during these loops does not end it.
    this.#pending = 1;
    const beyond = Math.max(from, chunkBytes);
    if (beyond < end) {
      peersOfRange(context, target, beyond, end, this.#peers);
      for (const peer of this.#peers) {
        this.#pending++;
        this.#copies.startClone(this, peer, beyond, end);
      }
    }
    if (from < chunkBytes) {
      this.#pending++;
      const peer = context.peerOfInode(target.inode);
      this.#copies.startClone(this, peer, from, Math.min(end, chunkBytes));
    }
    this.cloneDone(0, false);
  }

  /** Of ClonePiece: one target is through; or it does not hold the source's chunk 0. */
  cloneDone(status: number, first: boolean): void {
    if (status === errno.EXDEV && first) this.#firstIsElsewhere = true;
    else if (status !== 0) this.#status = status;
    if (--this.#pending > 0) return;
    if (this.#status !== 0) {
      this.#finish(this.#status);
      return;
    }
    if (this.#firstIsElsewhere) {
      this.#bytes = Math.min(this.#bytes, chunkBytes - this.range.from);
      this.#next(0);
    } else {
      this.#extend();
    }
  }

  #extend(): void {
    const { target, from } = this.range;
    const end = from + this.#cloned;
    // Chunk 0's target sees to it itself.
    if (this.request.dropsSetId && from >= chunkBytes && target.privileged)
      target.dropsSetId = true;
    if (end <= chunkBytes) this.#finish(0);
    else this.#copies.writes.tracker.extend(target, end, this);
  }

  sizeUpdated(status: number): void {
    this.#finish(status);
  }

  // ---------------------------------------------------------------- copying

  #next(bytes: number): void {
    const { source, from } = this.range;
    this.#done += bytes;
    if (this.#done === this.#bytes) {
      if (this.#cloning) this.#extend();
      else this.#finish(0);
      return;
    }
    // Up to the next chunk: what is aligned alike is then read from one target, written to one.
    const at = from + this.#done;
    const piece = Math.min(this.#bytes - this.#done, chunkBytes - (at % chunkBytes));
    this.#now = 'read';
    this.#copies.reads.read(this.step, source, at, piece, this.#landing);
  }

  #haveData(): void {
    const { target, to } = this.range;
    const bytes = this.step.lengthBytes;
    if (bytes === 0) {
      // Somebody has made the source shorter.
      this.#cloning = false;
      this.#finish(0);
      return;
    }
    this.#now = 'write';
    this.#copies.writes.write(this.step, target, to + this.#done, bytes, this.#landing, false);
  }

  #finish(status: number): void {
    const { request } = this;
    const bytes = this.#cloning ? this.#cloned : this.#done;
    this.#copies.ended(this);
    this.#copies.context.files.drop(this.range.source);
    this.#copies.context.files.drop(this.range.target);
    if (status !== 0 && (this.#cloning || this.#done === 0)) request.replyError(status);
    else request.replyWritten(bytes);
  }
}

export class FileCopies {
  readonly context: ClientContext;
  readonly attributes: AttributeOperations;
  readonly reads: FileReads;
  readonly writes: FileWrites;
  readonly #jobs = new Set<CopyJob>();
  readonly #adopts: OperationPool<AdoptOperation>;
  readonly #clones: OperationPool<ClonePiece>;

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
    this.#adopts = new OperationPool((pool) => new AdoptOperation(context, pool));
    this.#clones = new OperationPool((pool) => new ClonePiece(context, pool));
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
  startAdopt(job: CopyJob): void {
    const operation = this.#adopts.take(job.request);
    operation.parent = job;
    operation.start();
  }

  /** Of CopyJob. */
  startClone(job: CopyJob, peer: RpcPeer, from: number, to: number): void {
    const piece = this.#clones.take(job.request);
    piece.parent = job;
    piece.start(peer, from, to);
  }

  /** Of CopyJob. */
  ended(job: CopyJob): void {
    this.#jobs.delete(job);
  }

  interrupt(request: ClientRequest): void {
    this.#adopts.interrupt(request);
    this.#clones.interrupt(request);
    for (const { request: mine, step } of [...this.#jobs]) {
      if (mine !== request) continue;
      this.attributes.interrupt(step);
      this.reads.interrupt(step);
      this.writes.interrupt(step);
    }
  }
}
