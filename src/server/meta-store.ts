/**
 * MetaStore over LMDB (the lmdb package), power-safe by checkpoints of our own.
 *
 * LMDB runs with noSync: a commit is in the kernel's page cache when it returns, so it survives
 * SIGKILL, and waits for no I/O. (A writable map would be a third faster, but with one this build of
 * LMDB ends the process by an assertion, mdb.c "x <= dl[0].mid", when a transaction that merged
 * pages finds no older free page: deletions while a snapshot is pinned.) What is power-safe is the
 * last *checkpoint*:
 *
 *   pin a read transaction at the committed snapshot S     LMDB then reuses no page of S
 *   copy S's meta page (the other one is the next commit's)
 *   barrier: the data devices are synced                    what S's extents point to is durable
 *   fdatasync data.mdb
 *   write the copy into the older slot of `checkpoint`, fdatasync
 *   let go of the snapshot before                           its pages may be reused from here on
 *
 * A start under another boot id puts the newest slot's meta page back before LMDB opens. Checkpoints
 * are made on `flush` and every two seconds while there are changes.
 *
 * On persistent memory (`persistentMemory`) the same is done with system calls that block, since
 * there they take microseconds: `flushNow` makes a commit power-safe before it returns, and nothing
 * is written that a store on a disk would not have. Neither LMDB's own syncing nor its writable map
 * would do: docs/formats/metadata.md says why.
 */
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { open, type RootDatabase } from '../native/lmdb.js';
import { SealfsError } from '../common/errors.js';
import {
  META_PAGE_BYTES,
  newestCheckpoint,
  readCurrentMetaPage,
  restoreMetaPage,
  type Checkpoint,
  type MetaPageFacts,
} from './checkpoint.js';
import { CheckpointWriter } from './checkpoint-writer.js';
import type { FlushBarrier, MetaStore } from './meta-store-api.js';
import { allocateByWriting, PageSpace, type Allocate } from './page-space.js';

export type { MetaStore } from './meta-store-api.js';

export interface LmdbMetaStoreOptions {
  directory: string;
  /** Of this boot of the machine; default: the kernel's. */
  bootId?: string;
  /** Virtual size of the map; default: as large as the file system. */
  mapBytes?: number;
  /** A checkpoint is made this long after a change; 0: only on flush. Default 2,000. */
  flushIntervalMs?: number;
  /** Makes room in data.mdb; default: by writing zeros, as is best on persistent memory. */
  allocate?: Allocate;
  /** `directory` lies on a DAX file system: flushes block, for microseconds. Default: false. */
  persistentMemory?: boolean;
}

type FlushCallback = (error: Error | undefined) => void;

const FLUSH_INTERVAL_MS = 2000;
/**
 * Pages that a checkpoint pins cannot be reused, so every change takes new ones until the next:
 * growth by so much, or by a quarter of what is used, makes one at once.
 */
const GROWTH_BYTES_MAX = 64 * 1024 * 1024;
const USAGE_MAX_AGE_MS = 1000;
const MAP_BYTES_MIN = 2 ** 30;
const MAP_BYTES_MAX = 2 ** 42;
/** lmdb's flag of a transaction that is committed when transactionSync returns. */
const SYNCHRONOUS_COMMIT = 2;
/** Views of lmdb's value buffer are kept by length up to here. */
const VIEW_LENGTH_MAX = 16384;

interface Pin {
  done(): void;
}

/** What lmdb's types leave out. */
interface LmdbInternals {
  lastSize: number;
  env: { info(): { lastTxnId: number } };
}

export function kernelBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

export class LmdbMetaStore implements MetaStore {
  readonly directory: string;
  #db: RootDatabase<Uint8Array, Uint8Array> & LmdbInternals;
  readonly #persistentMemory: boolean;
  readonly #dataFd: number;
  readonly #checkpoints: CheckpointWriter;
  readonly #space: PageSpace;
  readonly #metaPages = Buffer.alloc(2 * META_PAGE_BYTES);
  readonly #views: (Uint8Array | undefined)[] = new Array<undefined>(VIEW_LENGTH_MAX + 1);
  #viewsOf: ArrayBufferLike | undefined;
  #facts: MetaPageFacts;
  #inTransaction = false;
  #wrote = false;
  #commitSequence = 0;
  #durableSequence = 0;
  #pinned: Pin;
  /** Of the file when the newest snapshot was pinned. */
  #pinnedLastPage = 0;
  #flushing = false;
  #waiting: FlushCallback[] = [];
  #barrier: FlushBarrier | undefined;
  #barrierIsFree: () => boolean = () => true;
  /** A failed fdatasync may have dropped pages: no later success can be believed. */
  #broken: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #flushIntervalMs: number;
  #usage = { bytesUsed: 0, bytesTotal: 0 };
  #usageMs = -Infinity;
  #closed = false;

  /** Creates or opens the environment. Throws SealfsError CORRUPT if its checkpoint is not usable. */
  constructor(options: LmdbMetaStoreOptions) {
    this.directory = options.directory;
    this.#persistentMemory = options.persistentMemory ?? false;
    this.#flushIntervalMs = options.flushIntervalMs ?? FLUSH_INTERVAL_MS;
    mkdirSync(options.directory, { recursive: true });
    const dataPath = join(options.directory, 'data.mdb');
    const checkpointPath = join(options.directory, 'checkpoint');
    const bootId = options.bootId ?? kernelBootId();
    const known = recover(dataPath, checkpointPath, bootId);
    this.#db = open({
      path: options.directory,
      noSubdir: false,
      encoding: 'binary',
      keyEncoding: 'binary',
      cache: false,
      noSync: true,
      overlappingSync: false,
      maxDbs: 1,
      mapSize: options.mapBytes ?? defaultMapBytes(options.directory),
    }) as unknown as RootDatabase<Uint8Array, Uint8Array> & LmdbInternals;
    this.#dataFd = openSync(dataPath, 'r+');
    this.#space = new PageSpace(
      this.#dataFd,
      known?.allocatedBytes ?? 0,
      options.allocate ?? allocateByWriting,
      this.#persistentMemory,
    );
    this.#facts = this.#readFacts();
    this.#space.settle(this.#facts);
    this.#pinned = this.#db.useReadTransaction();
    // What is here becomes power-safe before anything is written, because the snapshot of the
    // checkpoint that an earlier process left is not pinned, and its pages would be reused.
    const first = {
      generation: (known?.generation ?? 0) + 1,
      bootId,
      allocatedBytes: this.#space.allocatedBytes,
      metaPage: Buffer.from(this.#committedPage()),
    };
    this.#checkpoints = new CheckpointWriter(
      checkpointPath,
      this.#dataFd,
      first,
      this.#persistentMemory,
    );
  }

  get commitSequence(): number {
    return this.#commitSequence;
  }

  get durableSequence(): number {
    return this.#durableSequence;
  }

  /** Lets changes spend the reserve that is kept for those that free space. */
  useReserve(on: boolean): void {
    this.#space.useReserve = on;
  }

  setFlushBarrier(barrier: FlushBarrier, isFree?: () => boolean): void {
    this.#barrier = barrier;
    this.#barrierIsFree = isFree ?? (() => false);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const bytes = this.#db.getBinaryFast(key);
    if (bytes === undefined) return undefined;
    // lmdb reuses one large buffer and lies about its length: hand out a view of the true one.
    const length = this.#db.lastSize;
    if (length > VIEW_LENGTH_MAX) return new Uint8Array(bytes.buffer, bytes.byteOffset, length);
    if (bytes.buffer !== this.#viewsOf) {
      this.#views.fill(undefined);
      this.#viewsOf = bytes.buffer;
    }
    return (this.#views[length] ??= new Uint8Array(bytes.buffer, bytes.byteOffset, length));
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#space.charge(value.length);
    this.#wrote = true;
    this.#db.putSync(key, value);
  }

  remove(key: Uint8Array): boolean {
    this.#space.charge(0);
    const found = this.#db.removeSync(key);
    if (found) this.#wrote = true;
    return found;
  }

  scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void {
    for (const { key, value } of this.#db.getRange({ start, end })) {
      if (!visit(key, value)) break;
    }
  }

  transaction(body: () => void): void {
    if (this.#inTransaction) throw new Error('meta store: transactions do not nest');
    if (this.#space.unsettled) {
      this.#settle();
      this.#flushIfGrown();
    }
    this.#inTransaction = true;
    this.#wrote = false;
    try {
      this.#db.transactionSync(() => {
        body();
      }, SYNCHRONOUS_COMMIT);
      if (this.#wrote) this.#commitSequence++;
    } finally {
      this.#inTransaction = false;
    }
    if (this.#wrote) this.#startTimer();
  }

  flush(done: FlushCallback): void {
    this.#waiting.push(done);
    if (!this.#flushing) {
      this.#flushing = true;
      queueMicrotask(() => {
        this.#beginFlush();
      });
    }
  }

  flushNow(): boolean {
    if (!this.#persistentMemory || this.#flushing || this.#broken !== undefined) return false;
    const sequence = this.#commitSequence;
    if (sequence === this.#durableSequence) return true;
    if (!this.#barrierIsFree()) return false;
    const pin = this.#pinCommitted();
    const error = this.#checkpoints.writeNow();
    this.#checkpointEnded(pin, sequence, error);
    return error === undefined;
  }

  usage(): { bytesUsed: number; bytesTotal: number } {
    const now = performance.now();
    if (now - this.#usageMs < USAGE_MAX_AGE_MS) return this.#usage;
    this.#usageMs = now;
    const facts = this.#inTransaction ? this.#facts : this.#settle();
    const disk = statfsSync(this.directory);
    const bytesUsed = facts.usedPages * META_PAGE_BYTES;
    const free = Math.max(0, this.#space.allocatedBytes - bytesUsed);
    this.#usage = { bytesUsed, bytesTotal: bytesUsed + free + disk.bavail * disk.bsize };
    return this.#usage;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    const failed = await new Promise<Error | undefined>((resolve) => {
      this.flush(resolve);
    });
    clearTimeout(this.#timer);
    this.#pinned.done();
    await this.#db.close();
    closeSync(this.#dataFd);
    this.#checkpoints.close();
    if (failed !== undefined) throw failed;
  }

  #readFacts(): MetaPageFacts {
    const facts = readCurrentMetaPage(this.#dataFd, this.#metaPages);
    const last = this.#db.env.info().lastTxnId;
    if (facts?.transactionId !== last) {
      throw new SealfsError(
        'UNSUPPORTED',
        `this build of lmdb lays out its meta page in another way (transaction ${last})`,
      );
    }
    return facts;
  }

  #settle(): MetaPageFacts {
    const facts = readCurrentMetaPage(this.#dataFd, this.#metaPages);
    if (facts !== undefined) {
      this.#facts = facts;
      this.#space.settle(facts);
    }
    return this.#facts;
  }

  /** Meta page of the snapshot that has just been pinned: no commit may come between. */
  #committedPage(): Buffer {
    const facts = this.#settle();
    this.#pinnedLastPage = facts.lastPage;
    const at = (facts.transactionId % 2) * META_PAGE_BYTES;
    return this.#metaPages.subarray(at, at + META_PAGE_BYTES);
  }

  #flushIfGrown(): void {
    if (this.#flushing || this.#broken !== undefined || this.#flushIntervalMs === 0) return;
    const grown = (this.#facts.lastPage - this.#pinnedLastPage) * META_PAGE_BYTES;
    const limit = Math.max(GROWTH_BYTES_MAX, (this.#facts.usedPages / 4) * META_PAGE_BYTES);
    if (grown > limit) this.#flushInBackground();
  }

  #flushInBackground(): void {
    this.flush((error) => {
      // The next flush that somebody waits for reports it; here only the retry matters.
      if (error !== undefined) this.#startTimer();
    });
  }

  #startTimer(): void {
    if (this.#timer !== undefined || this.#flushIntervalMs === 0 || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#durableSequence === this.#commitSequence || this.#broken !== undefined) return;
      this.#flushInBackground();
    }, this.#flushIntervalMs);
    this.#timer.unref();
  }

  #beginFlush(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const sequence = this.#commitSequence;
    if (this.#broken !== undefined || sequence === this.#durableSequence) {
      this.#endFlush(waiting, this.#broken);
      return;
    }
    const pin = this.#pinCommitted();
    const synced = (): void => {
      this.#checkpoints.write((error) => {
        this.#checkpointEnded(pin, sequence, error);
        this.#endFlush(waiting, error);
      });
    };
    if (this.#barrier === undefined) {
      synced();
      return;
    }
    this.#barrier((error) => {
      if (error === undefined) {
        synced();
        return;
      }
      pin.done();
      this.#endFlush(waiting, error);
    });
  }

  /** The snapshot of the last commit, which the checkpoint writer is then about. */
  #pinCommitted(): Pin {
    const pin: Pin = this.#db.useReadTransaction();
    this.#checkpoints.take(this.#committedPage(), this.#space.allocatedBytes);
    return pin;
  }

  #checkpointEnded(pin: Pin, sequence: number, error: Error | undefined): void {
    if (error !== undefined) {
      this.#broken = error;
      pin.done();
      return;
    }
    this.#pinned.done();
    this.#pinned = pin;
    this.#durableSequence = sequence;
  }

  #endFlush(waiting: FlushCallback[], error: Error | undefined): void {
    this.#flushing = false;
    if (this.#waiting.length > 0) {
      this.#flushing = true;
      queueMicrotask(() => {
        this.#beginFlush();
      });
    }
    for (const done of waiting) done(error);
  }
}

/**
 * Before LMDB opens: after a power loss the last checkpoint is restored. Returns the checkpoint
 * that the environment has; undefined for a new one.
 */
function recover(dataPath: string, checkpointPath: string, bootId: string): Checkpoint | undefined {
  if (!existsSync(checkpointPath)) {
    // The first checkpoint is made before anything is stored: what lies here never came so far.
    rmSync(dataPath, { force: true });
    rmSync(join(dirname(dataPath), 'lock.mdb'), { force: true });
    return undefined;
  }
  const checkpoint = newestCheckpoint(readFileSync(checkpointPath));
  if (checkpoint === undefined) {
    throw new SealfsError('CORRUPT', `${checkpointPath}: neither slot is valid`);
  }
  if (!existsSync(dataPath)) {
    throw new SealfsError('CORRUPT', `${dataPath} is missing, but its checkpoint is there`);
  }
  if (checkpoint.bootId !== bootId) restoreMetaPage(dataPath, checkpoint);
  return checkpoint;
}

/** The map is address space and a sparse file: as large as what could ever be stored there. */
function defaultMapBytes(directory: string): number {
  const disk = statfsSync(directory);
  const bytes = Math.ceil((disk.blocks * disk.bsize) / MAP_BYTES_MIN) * MAP_BYTES_MIN;
  return Math.min(MAP_BYTES_MAX, Math.max(MAP_BYTES_MIN, bytes));
}
