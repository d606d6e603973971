/**
 * MetaStore in memory, for unit tests and the simulator: ordered, transactional with rollback,
 * deterministic. What a stopped process leaves is in `MemoryMetaImage`, which the next store takes:
 *
 *   killed        the image as it is: every committed transaction
 *   power loss    image.powerLoss(): the state of the last flush
 *
 * Opening a store makes what it finds durable, as LmdbMetaStore does; so data devices are to be
 * synced before it (MemoryDisk.sync).
 *
 * Values are handed out in one reused buffer, as LMDB does, so that a caller that keeps one is found
 * out here.
 */
import type { Scheduler } from '../common/scheduler.js';
import type { FlushBarrier, MetaStore } from './meta-store-api.js';
import { SortedKeys } from './sorted-keys.js';

type FlushCallback = (error: Error | undefined) => void;

interface Undo {
  key: string;
  before: Uint8Array | undefined;
  /** Number of the commit that made the change. */
  sequence: number;
}

/** What survives the process. Keys are latin1 strings, which compare like their bytes. */
export class MemoryMetaImage {
  readonly values = new Map<string, Uint8Array>();
  readonly keys = new SortedKeys();
  /** Changes since the last flush, oldest first. */
  undo: Undo[] = [];

  set(key: string, value: Uint8Array | undefined): void {
    const known = this.values.has(key);
    if (value === undefined) {
      if (known) this.keys.remove(key);
      this.values.delete(key);
      return;
    }
    if (!known) this.keys.add(key);
    this.values.set(key, value);
  }

  /** Back to the last flush. */
  powerLoss(): void {
    for (let i = this.undo.length - 1; i >= 0; i--)
      this.set(this.undo[i]!.key, this.undo[i]!.before);
    this.undo = [];
  }
}

export interface MemoryMetaStoreOptions {
  /** Where flushes and their delay are scheduled. */
  scheduler: Scheduler;
  image?: MemoryMetaImage;
  /** How long a flush takes, besides its barrier. */
  flushDelayMs?: number;
  /** A flush is made this long after a change; 0, the default: only when asked for. */
  flushIntervalMs?: number;
  /** Flushes that wait for no device are done at once (`flushNow`). Default: false. */
  persistentMemory?: boolean;
  /** Bytes of keys and values that fit; a put beyond throws, as a full LMDB map does. */
  capacityBytes?: number;
}

export class MemoryMetaStore implements MetaStore {
  readonly image: MemoryMetaImage;
  readonly #scheduler: Scheduler;
  readonly #flushDelayMs: number;
  readonly #flushIntervalMs: number;
  readonly #persistentMemory: boolean;
  readonly #capacityBytes: number;
  #usedBytes = 0;
  #scratch = new Uint8Array(65536);
  #commitSequence = 0;
  #durableSequence = 0;
  #inTransaction = false;
  #transactionStart = 0;
  #waiting: FlushCallback[] = [];
  #flushing = false;
  #timerSet = false;
  #barrier: FlushBarrier | undefined;
  #barrierIsFree: () => boolean = () => true;
  #dead = false;

  constructor(options: MemoryMetaStoreOptions) {
    this.image = options.image ?? new MemoryMetaImage();
    this.#scheduler = options.scheduler;
    this.#flushDelayMs = options.flushDelayMs ?? 0;
    this.#flushIntervalMs = options.flushIntervalMs ?? 0;
    this.#persistentMemory = options.persistentMemory ?? false;
    this.#capacityBytes = options.capacityBytes ?? Infinity;
    for (const [key, value] of this.image.values) this.#usedBytes += key.length + value.length;
    // As LmdbMetaStore does: what is here is durable before anything is changed.
    this.image.undo = [];
  }

  get commitSequence(): number {
    return this.#commitSequence;
  }

  get durableSequence(): number {
    return this.#durableSequence;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const value = this.image.values.get(text(key));
    return value === undefined ? undefined : this.#lend(value);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#checkOpen();
    const name = text(key);
    const before = this.image.values.get(name)?.length ?? -name.length;
    if (this.#usedBytes + value.length - before > this.#capacityBytes) {
      throw Object.assign(new Error('the store is full'), { code: 'ENOSPC' });
    }
    this.#change(name, value.slice());
  }

  remove(key: Uint8Array): boolean {
    this.#checkOpen();
    const name = text(key);
    if (!this.image.values.has(name)) return false;
    this.#change(name, undefined);
    return true;
  }

  scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void {
    const limit = text(end);
    const cursor = this.image.keys.seek(text(start));
    for (let key = cursor.next(); key !== undefined && key < limit; key = cursor.next()) {
      if (!visit(Buffer.from(key, 'latin1'), this.#lend(this.image.values.get(key)!))) return;
    }
  }

  transaction(body: () => void): void {
    if (this.#inTransaction) throw new Error('meta store: transactions do not nest');
    if (this.#dead) throw new Error('meta store: it is closed');
    this.#inTransaction = true;
    this.#transactionStart = this.image.undo.length;
    try {
      body();
    } catch (error) {
      this.#rollBack();
      throw error;
    } finally {
      this.#inTransaction = false;
    }
    if (this.image.undo.length === this.#transactionStart) return;
    this.#commitSequence++;
    this.#startTimer();
  }

  flush(done: FlushCallback): void {
    this.#waiting.push(done);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#later(0, () => {
      this.#beginFlush();
    });
  }

  flushNow(): boolean {
    if (!this.#persistentMemory || this.#flushing || this.#dead) return false;
    if (this.#commitSequence === this.#durableSequence) return true;
    if (!this.#barrierIsFree()) return false;
    this.#madeDurable(this.#commitSequence);
    return true;
  }

  setFlushBarrier(barrier: FlushBarrier, isFree?: () => boolean): void {
    this.#barrier = barrier;
    this.#barrierIsFree = isFree ?? (() => false);
  }

  usage(): { bytesUsed: number; bytesTotal: number } {
    const bytesTotal = Number.isFinite(this.#capacityBytes) ? this.#capacityBytes : 2 ** 40;
    return { bytesUsed: this.#usedBytes, bytesTotal };
  }

  async close(): Promise<void> {
    if (this.#dead) return;
    await new Promise<void>((resolve, reject) => {
      this.flush((error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
    this.#dead = true;
  }

  /** The process is gone: no callback follows. The image is what it leaves. */
  kill(): void {
    this.#dead = true;
    this.#waiting = [];
  }

  #later(delayMs: number, callback: () => void): void {
    this.#scheduler.setTimer(delayMs, () => {
      if (!this.#dead) callback();
    });
  }

  #beginFlush(): void {
    const waiting = this.#waiting;
    const sequence = this.#commitSequence;
    this.#waiting = [];
    const end = (error: Error | undefined): void => {
      if (this.#dead) return;
      if (error === undefined) this.#madeDurable(sequence);
      this.#flushing = this.#waiting.length > 0;
      if (this.#flushing) {
        this.#later(0, () => {
          this.#beginFlush();
        });
      }
      for (const done of waiting) done(error);
    };
    const synced: FlushCallback = (error) => {
      if (error !== undefined) end(error);
      else
        this.#later(this.#flushDelayMs, () => {
          end(undefined);
        });
    };
    if (this.#barrier === undefined) synced(undefined);
    else this.#barrier(synced);
  }

  #madeDurable(sequence: number): void {
    const { undo } = this.image;
    let kept = 0;
    while (kept < undo.length && undo[kept]!.sequence <= sequence) kept++;
    this.image.undo = undo.slice(kept);
    this.#durableSequence = sequence;
  }

  #startTimer(): void {
    if (this.#timerSet || this.#flushIntervalMs === 0) return;
    this.#timerSet = true;
    this.#later(this.#flushIntervalMs, () => {
      this.#timerSet = false;
      this.flush((error) => {
        if (error !== undefined) this.#startTimer();
      });
    });
  }

  #checkOpen(): void {
    if (!this.#inTransaction) throw new Error('meta store: a change outside a transaction');
  }

  #change(key: string, value: Uint8Array | undefined): void {
    const before = this.image.values.get(key);
    this.image.undo.push({ key, before, sequence: this.#commitSequence + 1 });
    this.#apply(key, before, value);
  }

  #apply(key: string, before: Uint8Array | undefined, value: Uint8Array | undefined): void {
    if (before !== undefined) this.#usedBytes -= key.length + before.length;
    if (value !== undefined) this.#usedBytes += key.length + value.length;
    this.image.set(key, value);
  }

  #rollBack(): void {
    const { undo } = this.image;
    while (undo.length > this.#transactionStart) {
      const { key, before } = undo.pop()!;
      this.#apply(key, this.image.values.get(key), before);
    }
  }

  #lend(value: Uint8Array): Uint8Array {
    if (value.length > this.#scratch.length) this.#scratch = new Uint8Array(value.length * 2);
    this.#scratch.set(value);
    return this.#scratch.subarray(0, value.length);
  }
}

function text(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
