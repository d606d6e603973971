/**
 * A target's file data: chunks of files, by bucket, inode and chunk number. The contract is
 * docs/internals.md, "ChunkStore"; the format docs/formats/data.md.
 *
 *   write:  beginWrite ─> data on a device (or in the record, if inline) ─> written
 *           ─> transaction { commitWrite … } : extents spliced, replaced blocks freed
 *   read:   read ─> segments of arena memory, verified against the blocks' CRCs
 *   others: transaction { changes.cut, changes.changeSpace, changes.cloneChunk … }
 *
 * Everything runs on one thread in turns. Reads see the last commit and must not be begun inside a
 * transaction. Blocks freed by a commit are used again when that commit is durable and no read that
 * began before it is under way; so a write never disturbs a read, and a power loss brings back a
 * state whose blocks are intact. Two writes in flight to the same bytes: the later commit wins.
 */
import { SeldomLog } from '../../common/seldom.js';
import { errno } from '../../common/errno.js';
import { TURN_SUBMIT } from '../../common/scheduler.js';
import { blockBytes } from '../../protocol/limits.generated.js';
import { ChunkChanges } from './chunk-changes.js';
import type { ChunkRead } from './chunk-read.js';
import { WRITE_COMMITTING, WRITE_IDLE, WRITE_WRITTEN } from './chunk-write.js';
import type { ChunkWrite } from './chunk-write.js';
import { COMPACTION_OVERTAKEN, Compactor } from './compactor.js';
import { CrowdedChunks } from './crowded-chunks.js';
import type { CrowdedChunk } from './crowded-chunks.js';
import { newDataCounters } from './data-context.js';
import type { DataContext, DataCounters } from './data-context.js';
import type { ExtentMap } from './extent-map.js';
import { ChunkReader } from './reader.js';
import type { BlockRuns } from './splice.js';
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

export type ChunkStoreOptions = Omit<DataContext, 'counters' | 'damaged' | 'spaceIsComing'>;

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
  readonly #changes: ChunkChanges;
  #inTransaction = false;
  /** Writes of the open transaction. */
  readonly #committing: ChunkWrite[] = [];
  /** Chunks that the open transaction left with many extents: bucket, inode, chunk, extents. */
  readonly #becameCrowded: number[] = [];
  #releasedUpTo = 0;
  #polling = false;
  #flushing = false;
  #closed = false;

  /**
   * Over devices that `options.disks` holds and the allocator has loaded. Takes four bulk slots of
   * the arena for good, and the store's flush barrier. Needs an arena of at least eight.
   */
  constructor(options: ChunkStoreOptions) {
    const damaged = new SeldomLog(options.scheduler, options.log);
    const { counters } = this;
    this.#context = { ...options, counters, damaged, spaceIsComing: () => false };
    this.#reader = new ChunkReader(this.#context);
    this.#writer = new ChunkWriter(this.#context);
    this.#changes = new ChunkChanges(
      this.#context,
      () => this.#writer.allocatableBlocks,
      (bucket, inode, chunk, extents) => {
        if (extents < COMPACT_AT && this.#crowded.size === 0) return;
        this.#becameCrowded.push(bucket, inode, chunk, extents);
      },
    );
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
    const { changes } = this;
    if (write.state !== WRITE_WRITTEN) throw new Error('chunk store: this write is not written');
    const status = changes.write(write);
    if (status !== 0) return status;
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

  /** See ChunkReader.readSmall. Outside of transactions. */
  readSmall(
    bucket: number,
    inode: number,
    lengthBytes: number,
    to: Uint8Array,
    toOffset: number,
  ): boolean {
    return this.#reader.readSmall(bucket, inode, lengthBytes, to, toOffset);
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

  /** What ChunkChanges offers, inside `transaction`. */
  get changes(): ChunkChanges {
    if (!this.#inTransaction) throw new Error('chunk store: outside of ChunkStore.transaction');
    return this.#changes;
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

  /** Replaces the rule by which writes that find no space wait (DataContext.spaceIsComing). */
  expectSpace(spaceIsComing: () => boolean): void {
    this.#context.spaceIsComing = spaceIsComing;
  }

  /** Little space is left that can be given out now. */
  get isLow(): boolean {
    const { disks, allocator } = this.#context;
    let usable = 0;
    let free = 0;
    for (const device of disks.healthy) {
      usable += allocator.usableBlocks(device.number);
      free += allocator.allocatableBlocks(device.number);
    }
    return free * LOW_SPACE_SHARE <= usable;
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
    this.#changes.rolledBack();
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
      const done = this.#changes.replaceAll(bucket, inode, chunk, patch, runs);
      if (!done) throw new Error('the chunk is damaged');
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
    const { store, allocator } = this.#context;
    if (allocator.quarantinedBlocks === 0 || this.#flushing) return;
    if (store.durableSequence === store.commitSequence || !this.isLow) return;
    this.#flushing = true;
    store.flush(() => {
      // An error comes back to those who wait for durability; here only the attempt matters.
      this.#flushing = false;
      this.#context.scheduler.requestTurn();
    });
  }
}
