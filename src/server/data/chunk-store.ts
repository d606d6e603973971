/**
 * A target's file data: chunks of files, by bucket, inode and chunk number. The contract is
 * docs/internals.md, "ChunkStore"; the format docs/formats/data.md.
 *
 *   write:  beginWrite ─> data on a device (or in the record, if inline) ─> written
 *           ─> transaction { commitWrite … } : extents spliced, replaced blocks freed
 *   read:   read ─> segments of arena memory, verified against the blocks' CRCs
 *   cut:    transaction { cut … }
 *   space:  transaction { changeSpace … } : holes made, space promised (unwritten extents)
 *
 * Everything runs on one thread in turns. Reads see the last commit and must not be begun inside a
 * transaction. Blocks freed by a commit are used again when that commit is durable and no read that
 * began before it is under way; so a write never disturbs a read, and a power loss brings back a
 * state whose blocks are intact. Two writes in flight to the same bytes: the later commit wins.
 */
import { errno } from '../../common/errno.js';
import { TURN_SUBMIT } from '../../common/scheduler.js';
import { blockBytes, chunkBytes } from '../../protocol/limits.generated.js';
import type { ChunkRead } from './chunk-read.js';
import { WRITE_COMMITTING, WRITE_IDLE, WRITE_WRITTEN } from './chunk-write.js';
import type { ChunkWrite } from './chunk-write.js';
import { COMPACTION_OVERTAKEN, Compactor } from './compactor.js';
import { CrowdedChunks } from './crowded-chunks.js';
import type { CrowdedChunk } from './crowded-chunks.js';
import { newDataCounters } from './data-context.js';
import type { DataContext, DataCounters } from './data-context.js';
import { EXTENTS_CAPACITY, ExtentMap } from './extent-map.js';
import { CHUNK_LIMIT, chunkEndKey, chunkKey, chunkOfKey } from './keys.js';
import { ChunkReader } from './reader.js';
import { BlockRuns, fillHoles, splice } from './splice.js';
import { ChunkWriter } from './writer.js';

/** A map of so many extents is queued for compaction. */
const COMPACT_AT = 192;
/** From here on new writes to the chunk wait for it: those in flight must still fit below 256. */
const HOLD_AT = 224;
/** After so many failures in a row a chunk is compacted only when writes are held for it. */
const FAILURES_MAX = 3;
/** How often waiting for bulk slots looks for them: engines give them back without a word. */
const SLOT_POLL_MS = 1;
/** With less than this share of the space at hand, freed blocks are made durable early. */
const LOW_SPACE_SHARE = 8;
/** Behind every offset in a chunk. */
const TO_THE_END = 0xffffffff;

/** What changeSpace does with a range: both together zero it and keep space for it. */
export const SPACE_DROP = 1;
export const SPACE_PROMISE = 2;

export type ChunkStoreOptions = Omit<DataContext, 'counters'>;

export interface Capacity {
  totalBytes: number;
  freeBytes: number;
}

export class ChunkStore {
  readonly counters: DataCounters = newDataCounters();
  readonly #context: DataContext;
  readonly #reader: ChunkReader;
  readonly #writer: ChunkWriter;
  readonly #compactor: Compactor;
  readonly #crowded = new CrowdedChunks();
  // Maps of the commit at hand: as stored, what comes in, the result.
  readonly #base = new ExtentMap();
  readonly #patch = new ExtentMap();
  readonly #result = new ExtentMap();
  readonly #freed = new BlockRuns();
  #inTransaction = false;
  /** Writes of the open transaction. */
  readonly #committing: ChunkWrite[] = [];
  /** Chunks that the open transaction left with many extents: bucket, inode, chunk, extents. */
  readonly #becameCrowded: number[] = [];
  #releasedUpTo = 0;
  #polling = false;
  #flushing = false;
  #closed = false;
  readonly #cutBuckets: number[] = [];
  readonly #cutChunks: number[] = [];

  /**
   * Over devices that `options.disks` holds and the allocator has loaded. Takes four bulk slots of
   * the arena for good, and the store's flush barrier. Needs an arena of at least eight.
   */
  constructor(options: ChunkStoreOptions) {
    this.#context = { ...options, counters: this.counters };
    this.#reader = new ChunkReader(this.#context);
    this.#writer = new ChunkWriter(this.#context);
    this.#compactor = new Compactor(this.#context, this.#reader, this.#writer, {
      replaceAll: (crowded, patch, runs) => {
        this.#replaceAll(crowded, patch, runs);
      },
      compacted: (crowded, status) => {
        this.#compacted(crowded, status);
      },
    });
    options.store.setFlushBarrier(
      (done) => {
        options.disks.sync(done);
      },
      () => !options.disks.dirty,
    );
    options.scheduler.onTurnEnd(TURN_SUBMIT, () => {
      if (!this.#closed) this.#turnEnd();
    });
  }

  /**
   * Stores the data of an idle `write` where a commit can name it; `written` follows, perhaps before
   * this returns. Ownership of data and slots: see ChunkWrite.
   */
  beginWrite(write: ChunkWrite): void {
    if (write.state !== WRITE_IDLE) throw new Error('chunk store: this write is under way');
    if (!this.#writer.accept(write)) return;
    const crowded = this.#crowded.find(write.inode, write.chunk);
    if (crowded !== undefined && crowded.extents >= HOLD_AT) {
      this.counters.compactionWaits++;
      crowded.held.push(write);
      this.#compactor.enqueue(crowded, true);
      return;
    }
    this.#writer.start(write);
  }

  /**
   * Inside `transaction`: the bytes of a written write become those of the chunk. Returns 0, or an
   * errno after which the write is as before (EIO: the chunk's map is damaged; ENOSPC: it is full).
   * Throws what MetaStore.put throws. The write becomes idle when the transaction is committed.
   */
  commitWrite(write: ChunkWrite): number {
    this.#checkTransaction();
    if (write.state !== WRITE_WRITTEN) throw new Error('chunk store: this write is not written');
    if (!this.#load(write.bucket, write.inode, write.chunk)) return errno.EIO;
    const pieces = Math.max(1, write.runs.count);
    if (this.#base.count + pieces + 1 > EXTENTS_CAPACITY) return errno.ENOSPC;
    this.#makePatch(write);
    const end = write.offset + write.lengthBytes;
    this.#freed.clear();
    splice(this.#base, this.#patch, write.offset, end, this.#result, this.#freed);
    this.#put(write.bucket, write.inode, write.chunk, write.runs);
    write.state = WRITE_COMMITTING;
    this.#committing.push(write);
    return 0;
  }

  /** A written write will not be committed: its space is given back, it is idle. */
  abandonWrite(write: ChunkWrite): void {
    if (write.state !== WRITE_WRITTEN) throw new Error('chunk store: this write is not written');
    this.#writer.abandon(write);
  }

  /** See ChunkRead. Outside of transactions; `done` follows, perhaps before this returns. */
  read(read: ChunkRead): void {
    this.#reader.read(read);
  }

  /**
   * MetaStore.transaction for transactions that contain commitWrite or cut. A throw aborts it: its
   * writes are written again, to be committed or abandoned.
   */
  transaction(body: () => void): void {
    if (this.#inTransaction) throw new Error('chunk store: transactions do not nest');
    const { store, allocator } = this.#context;
    this.#inTransaction = true;
    let committed = false;
    try {
      store.transaction(() => {
        body();
        allocator.seal();
      });
      committed = true;
    } finally {
      this.#inTransaction = false;
      if (committed) this.#committed(store.commitSequence);
      else this.#rolledBack();
    }
  }

  /**
   * Inside `transaction`: drops the inode's data from `fromByte` (of the file) on, in the chunks
   * that these buckets hold, at most `limit` chunks. Returns 0 when nothing is left to drop, else at
   * least 1: to be called again, in this or another transaction.
   */
  cut(inode: number, fromByte: number, buckets: ArrayLike<number>, limit: number): number {
    this.#checkTransaction();
    const first = Math.floor(fromByte / chunkBytes);
    const within = fromByte % chunkBytes;
    const whole = within === 0 ? first : first + 1;
    for (let i = 0; within > 0 && i < buckets.length; i++) {
      this.#trim(buckets[i]!, inode, first, within);
    }
    return this.dropChunks(inode, whole, CHUNK_LIMIT, buckets, limit);
  }

  /**
   * Inside `transaction`: drops the inode's chunks [first, end) in these buckets, at most `limit`.
   * Returns 0 when nothing of them is left.
   */
  dropChunks(
    inode: number,
    first: number,
    end: number,
    buckets: ArrayLike<number>,
    limit: number,
  ): number {
    this.#checkTransaction();
    const found = this.#collect(inode, first, end, buckets, limit + 1);
    for (let i = 0; i < Math.min(found, limit); i++) {
      this.#drop(this.#cutBuckets[i]!, inode, this.#cutChunks[i]!);
    }
    return found > limit ? 1 : 0;
  }

  /**
   * Inside `transaction`: bytes [from, to) of a chunk lose their data (SPACE_DROP), or those without
   * data are promised space (SPACE_PROMISE). Returns 0, or an errno and nothing has changed: ENOSPC,
   * EIO (the map is damaged).
   */
  changeSpace(
    bucket: number,
    inode: number,
    chunk: number,
    from: number,
    to: number,
    how: number,
  ): number {
    this.#checkTransaction();
    if (!this.#load(bucket, inode, chunk)) return errno.EIO;
    const promise = (how & SPACE_PROMISE) !== 0;
    this.#patch.clear();
    this.#freed.clear();
    if ((how & SPACE_DROP) !== 0) {
      if (promise) this.#patch.appendUnwritten(from, to - from);
      splice(this.#base, this.#patch, from, to, this.#result, this.#freed);
    } else {
      // Each hole becomes an extent; room must be left for writes that are in flight.
      if (2 * this.#base.count + 1 > EXTENTS_CAPACITY / 2) return errno.ENOSPC;
      fillHoles(this.#base, from, to, this.#result);
    }
    const more = this.#result.promisedBlocks() - this.#base.promisedBlocks();
    if (how === SPACE_PROMISE && more === 0) return 0;
    if (promise && more > this.#unpromisedBlocks()) return errno.ENOSPC;
    this.#put(bucket, inode, chunk, undefined);
    return 0;
  }

  /** Blocks that can still be promised, those that this change frees included. */
  #unpromisedBlocks(): number {
    const { allocator } = this.#context;
    let blocks = this.#writer.allocatableBlocks + allocator.quarantinedBlocks;
    for (let i = 0; i < this.#freed.count; i++) blocks += this.#freed.lengths[i]!;
    return blocks - allocator.promisedBlocks;
  }

  /** Of the devices in use. */
  capacity(): Capacity {
    const { disks, allocator } = this.#context;
    let total = 0;
    let free = -allocator.promisedBlocks;
    for (const device of disks.healthy) {
      total += allocator.usableBlocks(device.number);
      free += allocator.freeBlocks(device.number);
    }
    return { totalBytes: total * blockBytes, freeBytes: Math.max(0, free) * blockBytes };
  }

  /** Nothing waits and no compaction is under way: for tests and for shutting down. */
  get idle(): boolean {
    return (
      this.#compactor.idle && this.#reader.waitingCount === 0 && this.#writer.waitingCount === 0
    );
  }

  /** No compaction begins any more; turns have no effect. The store and devices stay open. */
  close(): void {
    this.#closed = true;
    this.#compactor.close();
  }

  #checkTransaction(): void {
    if (!this.#inTransaction) throw new Error('chunk store: outside of ChunkStore.transaction');
  }

  /** Into #base. False: the value is damaged, which is logged. */
  #load(bucket: number, inode: number, chunk: number): boolean {
    try {
      this.#base.load(this.#context.store.get(chunkKey(bucket, inode, chunk)));
      return true;
    } catch (error) {
      this.#context.log(`inode ${inode} chunk ${chunk}: ${String(error)}`);
      return false;
    }
  }

  #makePatch(write: ChunkWrite): void {
    const { runs } = write;
    this.#patch.clear();
    if (runs.count === 0) {
      this.#patch.appendInline(write.offset, write.lengthBytes, write.small, 0);
      return;
    }
    let done = 0;
    let index = 0;
    for (let i = 0; i < runs.count; i++) {
      const blocks = runs.lengths[i]!;
      const length = Math.min(write.lengthBytes - done, blocks * blockBytes);
      const offset = write.offset + done;
      this.#patch.append(offset, length, runs.devices[i]!, 0, runs.blocks[i]!, write.crcs, index);
      done += length;
      index += blocks;
    }
  }

  /** Stores #result, and its space: `runs` are used from now on, #freed are not. */
  #put(bucket: number, inode: number, chunk: number, runs: BlockRuns | undefined): void {
    const { store, allocator } = this.#context;
    const key = chunkKey(bucket, inode, chunk);
    if (this.#result.count === 0) store.remove(key);
    else store.put(key, this.#result.store());
    if (runs !== undefined) {
      for (let i = 0; i < runs.count; i++) {
        allocator.commitAllocated(runs.devices[i]!, runs.blocks[i]!, runs.lengths[i]!);
      }
    }
    const freed = this.#freed;
    for (let i = 0; i < freed.count; i++) {
      allocator.commitFreed(freed.devices[i]!, freed.blocks[i]!, freed.lengths[i]!);
    }
    allocator.commitPromised(this.#result.promisedBlocks() - this.#base.promisedBlocks());
    const { count } = this.#result;
    if (count >= COMPACT_AT || this.#crowded.size > 0) {
      this.#becameCrowded.push(bucket, inode, chunk, count);
    }
  }

  /** Drops the chunk's bytes from `within` on. */
  #trim(bucket: number, inode: number, chunk: number, within: number): void {
    if (!this.#load(bucket, inode, chunk) || this.#base.end <= within) return;
    this.#patch.clear();
    this.#freed.clear();
    splice(this.#base, this.#patch, within, TO_THE_END, this.#result, this.#freed);
    this.#result.end = within;
    this.#put(bucket, inode, chunk, undefined);
  }

  #drop(bucket: number, inode: number, chunk: number): void {
    // A damaged map cannot say what it used: its blocks are lost until fsck, the chunk is gone.
    if (!this.#load(bucket, inode, chunk)) this.#base.clear();
    this.#patch.clear();
    this.#freed.clear();
    splice(this.#base, this.#patch, 0, TO_THE_END, this.#result, this.#freed);
    this.#result.clear();
    this.#put(bucket, inode, chunk, undefined);
  }

  /** Up to `limit` of the inode's chunks [first, end): their number. */
  #collect(
    inode: number,
    first: number,
    end: number,
    buckets: ArrayLike<number>,
    limit: number,
  ): number {
    this.#cutBuckets.length = 0;
    this.#cutChunks.length = 0;
    for (let i = 0; i < buckets.length && this.#cutChunks.length < limit; i++) {
      const bucket = buckets[i]!;
      this.#context.store.scan(
        chunkKey(bucket, inode, first),
        chunkEndKey(bucket, inode, end),
        (key) => {
          this.#cutBuckets.push(bucket);
          this.#cutChunks.push(chunkOfKey(key));
          return this.#cutChunks.length < limit;
        },
      );
    }
    return this.#cutChunks.length;
  }

  #committed(sequence: number): void {
    this.#context.allocator.committed(sequence);
    for (const write of this.#committing) {
      write.runs.clear();
      write.state = WRITE_IDLE;
    }
    this.#committing.length = 0;
    for (let i = 0; i < this.#becameCrowded.length; i += 4) {
      this.#noteExtents(
        this.#becameCrowded[i]!,
        this.#becameCrowded[i + 1]!,
        this.#becameCrowded[i + 2]!,
        this.#becameCrowded[i + 3]!,
      );
    }
    this.#becameCrowded.length = 0;
  }

  #rolledBack(): void {
    this.#context.allocator.aborted();
    for (const write of this.#committing) write.state = WRITE_WRITTEN;
    this.#committing.length = 0;
    this.#becameCrowded.length = 0;
  }

  /** A commit left this chunk with so many extents. */
  #noteExtents(bucket: number, inode: number, chunk: number, extents: number): void {
    let crowded = this.#crowded.find(inode, chunk);
    if (crowded === undefined && extents < COMPACT_AT) return;
    crowded ??= this.#crowded.add(bucket, inode, chunk);
    crowded.extents = extents;
    crowded.changed = true;
    const urgent = crowded.held.length > 0;
    if (extents < COMPACT_AT) this.#forgetIfDone(crowded);
    else if (urgent || crowded.failures < FAILURES_MAX) this.#compactor.enqueue(crowded, urgent);
  }

  #replaceAll(crowded: CrowdedChunk, patch: ExtentMap, runs: BlockRuns): void {
    const { bucket, inode, chunk } = crowded;
    this.transaction(() => {
      if (!this.#load(bucket, inode, chunk)) throw new Error('the chunk is damaged');
      this.#freed.clear();
      splice(this.#base, patch, 0, TO_THE_END, this.#result, this.#freed);
      this.#put(bucket, inode, chunk, runs);
    });
  }

  #compacted(crowded: CrowdedChunk, outcome: number): void {
    if (outcome === COMPACTION_OVERTAKEN) {
      const urgent = crowded.held.length > 0;
      if (urgent || crowded.extents >= COMPACT_AT) this.#compactor.enqueue(crowded, urgent);
      else this.#forgetIfDone(crowded);
      return;
    }
    const { held } = crowded;
    crowded.held = [];
    // Where free space is in crumbs, a compaction succeeds and gains nothing.
    const status = outcome === 0 && crowded.extents >= HOLD_AT ? errno.ENOSPC : outcome;
    crowded.failures = crowded.extents < COMPACT_AT ? 0 : crowded.failures + 1;
    this.#forgetIfDone(crowded);
    for (const write of held) {
      if (crowded.extents < HOLD_AT) this.#writer.start(write);
      else this.#writer.fail(write, status);
    }
  }

  #forgetIfDone(crowded: CrowdedChunk): void {
    if (crowded.extents < COMPACT_AT && !crowded.compacting && crowded.held.length === 0) {
      this.#crowded.remove(crowded);
    }
  }

  #turnEnd(): void {
    const { store, allocator } = this.#context;
    const sequence = Math.min(store.durableSequence, this.#reader.oldestSequence);
    const released = sequence > this.#releasedUpTo;
    if (released) {
      this.#releasedUpTo = sequence;
      allocator.releaseUpTo(sequence);
    }
    if (released || allocator.quarantinedBlocks === 0) this.#writer.retrySpace();
    this.#flushIfLow();
    this.#reader.retry();
    this.#writer.retrySlots();
    if (this.#polling || this.#reader.waitingCount + this.#writer.waitingCount === 0) return;
    this.#polling = true;
    this.#context.scheduler.setTimer(SLOT_POLL_MS, () => {
      this.#polling = false;
      this.#context.scheduler.requestTurn();
    });
  }

  /** Freed blocks wait for a flush; with little space left they cannot wait for the next regular. */
  #flushIfLow(): void {
    const { store, disks, allocator } = this.#context;
    if (allocator.quarantinedBlocks === 0 || this.#flushing) return;
    if (store.durableSequence === store.commitSequence) return;
    let usable = 0;
    let free = 0;
    for (const device of disks.healthy) {
      usable += allocator.usableBlocks(device.number);
      free += allocator.allocatableBlocks(device.number);
    }
    if (free * LOW_SPACE_SHARE > usable) return;
    this.#flushing = true;
    store.flush(() => {
      // An error comes back to those who wait for durability; here only the attempt matters.
      this.#flushing = false;
      this.#context.scheduler.requestTurn();
    });
  }
}
