/**
 * Keeps the size and mtime of striped files at their inode's target: Extend requests, at most one
 * in flight a file, everything that comes meanwhile merged into the next.
 *
 *   idle ── extend(n) ──> in flight (waiters: current) ── reply ──> next wanted? ── no ──> idle
 *                          │ extend(m): next = max(next, m)          └── yes: send next ──┘
 */
import { Opcode, ExtendRequest, SizeReply } from '../protocol/wire.generated.js';
import { chunkBytes } from '../protocol/limits.generated.js';
import { readU53 } from '../protocol/u53.js';
import { encodeExtend } from './bodies.js';
import type { ClientContext } from './context.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';

class ExtendOperation extends CoreOperation {
  tracker!: SizeTracker;
  file!: OpenFile;
  sizeBytes = 0;
  dropsSetId = false;

  start(): void {
    this.change.addInode(this.file.inode);
    this.send(this.context.peerOfInode(this.file.inode), Opcode.Extend, ExtendRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeExtend(this.context.arena, body, this.file.inode, this.sizeBytes, this.dropsSetId);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, SizeReply.SIZE);
    const { file, tracker } = this;
    if (checked === 0) {
      const sizeBytes = readU53(this.context.arena.words, body + SizeReply.sizeBytes);
      file.learnSize(sizeBytes, this.context.scheduler.nowMs());
      file.privileged = false;
    } else if (this.dropsSetId) {
      file.dropsSetId = true;
    }
    this.endChange(checked, this.peer);
    this.release();
    tracker.extended(file, checked);
  }
}

export class SizeTracker {
  readonly #context: ClientContext;
  readonly #pool: OperationPool<ExtendOperation>;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#pool = new OperationPool((pool) => new ExtendOperation(context, pool));
  }

  /**
   * After data beyond chunk 0 was stored up to byte `end`: tells whether the inode's target must
   * hear of it before the write is complete (the size, or that set-ID bits go). If not, the mtime is
   * left behind until `flush`.
   */
  needsExtend(file: OpenFile, end: number): boolean {
    if (this.#context.isSizeFresh(file) && end <= file.knownSize && !file.privileged) {
      file.mtimeDirty = true;
      return false;
    }
    return true;
  }

  /**
   * Before data is stored up to byte `end`: the file is known to be that long, but from an old
   * answer, so that an Extend has to confirm it.
   */
  needsCheck(file: OpenFile, end: number): boolean {
    if (end <= chunkBytes || end > file.knownSize) return false;
    return !this.#context.isSizeFresh(file);
  }

  /** The file is at least `sizeBytes` long; `waiter` hears when the inode's target knows. */
  extend(file: OpenFile, sizeBytes: number, waiter: SizeWaiter | null): void {
    if (sizeBytes > file.nextSize) file.nextSize = sizeBytes;
    file.nextWanted = true;
    if (waiter !== null) file.nextWaiters.push(waiter);
    if (!file.extendBusy) this.#sendNext(file);
  }

  /** Brings the mtime up to date. True: it is already, and `waiter` is not called. */
  flush(file: OpenFile, waiter: SizeWaiter | null): boolean {
    if (!file.mtimeDirty) return true;
    this.extend(file, 0, waiter);
    return false;
  }

  #sendNext(file: OpenFile): void {
    file.users++;
    file.extendBusy = true;
    const waiters = file.currentWaiters;
    file.currentWaiters = file.nextWaiters;
    file.nextWaiters = waiters;
    const operation = this.#pool.take(null);
    operation.tracker = this;
    operation.file = file;
    operation.sizeBytes = file.nextSize;
    operation.dropsSetId = file.dropsSetId;
    file.nextSize = 0;
    file.dropsSetId = false;
    file.nextWanted = false;
    file.mtimeDirty = false;
    operation.start();
  }

  /** Of ExtendOperation: its reply has come. */
  extended(file: OpenFile, status: number): void {
    if (status !== 0) file.mtimeDirty = true;
    // Still busy: what the waiters ask for is merged into the next Extend.
    const waiters = file.currentWaiters;
    for (let i = 0; i < waiters.length; i++) waiters[i]!.sizeUpdated(status);
    waiters.length = 0;
    file.extendBusy = false;
    if (file.nextWanted) this.#sendNext(file);
    this.#context.files.drop(file);
  }
}
