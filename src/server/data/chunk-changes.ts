/**
 * Changes of chunk values inside a transaction: a write's extents, cuts, holes and promises, clones,
 * the result of a compaction. Each loads the chunk's map, makes another one of it, and stores that
 * together with what it says of space: blocks that are used now, that nobody uses any more, that are
 * promised, that more than one chunk uses.
 *
 *   load ─> #base ── splice with #patch ─> #result, #freed ─> put: value, allocator, shared runs
 */
import { errno } from '../../common/errno.js';
import { blockBytes, chunkBytes } from '../../protocol/limits.generated.js';
import { blocksOnlyIn } from './block-sets.js';
import type { ChunkWrite } from './chunk-write.js';
import type { DataContext } from './data-context.js';
import { EXTENTS_CAPACITY, ExtentMap } from './extent-map.js';
import { CHUNK_LIMIT, chunkEndKey, chunkKey, chunkOfKey } from './keys.js';
import { SharedBlocks } from './shared-blocks.js';
import { BlockRuns, fillHoles, splice } from './splice.js';

/** Behind every offset in a chunk. */
const TO_THE_END = 0xffffffff;

/** What changeSpace does with a range: both together zero it and keep space for it. */
export const SPACE_DROP = 1;
export const SPACE_PROMISE = 2;

/**
 * What taking a chunk away costs, told in bytes of large chunks, which cost the least for their size:
 * so much for any chunk, for each of its extents, and for looking into a bucket.
 */
const COST_OF_CHUNK = 512 * 1024;
const COST_OF_EXTENT = 16 * 1024;
const COST_OF_BUCKET = 256 * 1024;

/** Hears how many extents a chunk has after a change; it may be undone with its transaction. */
export type ExtentNote = (bucket: number, inode: number, chunk: number, extents: number) => void;

export class ChunkChanges {
  readonly #context: DataContext;
  readonly #allocatableBlocks: () => number;
  readonly #note: ExtentNote;
  // Maps of the change at hand: as stored, what comes in, the result.
  readonly #base = new ExtentMap();
  readonly #patch = new ExtentMap();
  readonly #result = new ExtentMap();
  readonly #freed = new BlockRuns();
  readonly #shared: SharedBlocks;
  /** Of #freed, what no other chunk uses. */
  readonly #unused = new BlockRuns();
  /** Blocks that the clones at hand use now, too. */
  readonly #added = new BlockRuns();
  /** Of the last cut or dropChunks: bytes of blocks that nobody uses any more, and what it cost. */
  freedBytes = 0;
  cost = 0;
  /** How many of its buckets, from the first on, hold nothing of it any more. */
  emptied = 0;
  readonly #cutBuckets: number[] = [];
  readonly #cutChunks: number[] = [];

  constructor(context: DataContext, allocatableBlocks: () => number, note: ExtentNote) {
    this.#context = context;
    this.#allocatableBlocks = allocatableBlocks;
    this.#note = note;
    this.#shared = new SharedBlocks(context.store);
  }

  /** The bytes of a write become those of its chunk. 0, EIO (a damaged map), ENOSPC (a full one). */
  write(write: ChunkWrite): number {
    if (!this.#load(write.bucket, write.inode, write.chunk)) return errno.EIO;
    const pieces = Math.max(1, write.runs.count);
    if (this.#base.count + pieces + 1 > EXTENTS_CAPACITY) return errno.ENOSPC;
    this.#makePatch(write);
    const end = write.offset + write.lengthBytes;
    this.#freed.clear();
    splice(this.#base, this.#patch, write.offset, end, this.#result, this.#freed);
    this.#put(write.bucket, write.inode, write.chunk, write.runs);
    return 0;
  }

  /**
   * Up to inlineDataBytes become the first bytes of an inode's first chunk, inside its value. 0, EIO (a
   * damaged map), ENOSPC (a full one).
   */
  writeSmall(bucket: number, inode: number, data: Uint8Array): number {
    if (!this.#load(bucket, inode, 0)) return errno.EIO;
    if (this.#base.count + 2 > EXTENTS_CAPACITY) return errno.ENOSPC;
    const { counters } = this.#context;
    counters.writes++;
    counters.writtenBytes += data.length;
    this.#patch.clear();
    this.#patch.appendInline(0, data.length, data, 0);
    this.#freed.clear();
    splice(this.#base, this.#patch, 0, data.length, this.#result, this.#freed);
    this.#put(bucket, inode, 0, undefined);
    return 0;
  }

  /** The extents of `patch`, which lie in `runs`, take the place of all. False: a damaged map. */
  replaceAll(
    bucket: number,
    inode: number,
    chunk: number,
    patch: ExtentMap,
    runs: BlockRuns,
  ): boolean {
    if (!this.#load(bucket, inode, chunk)) return false;
    this.#freed.clear();
    splice(this.#base, patch, 0, TO_THE_END, this.#result, this.#freed);
    this.#put(bucket, inode, chunk, runs);
    return true;
  }

  /** The transaction is undone. */
  rolledBack(): void {
    this.#added.clear();
  }

  /**
   * Drops the inode's data from `fromByte` (of the file) on, in the chunks
   * that these buckets hold, at most `limit` chunks, and only the first of them once `costLimit`
   * (COST_…) is reached. Returns 0 when nothing is left to drop, else at least 1: to be called again,
   * in this or another transaction.
   */
  cut(
    inode: number,
    fromByte: number,
    buckets: ArrayLike<number>,
    limit: number,
    costLimit = Infinity,
  ): number {
    this.freedBytes = 0;
    this.cost = 0;
    const first = Math.floor(fromByte / chunkBytes);
    const within = fromByte % chunkBytes;
    const whole = within === 0 ? first : first + 1;
    for (let i = 0; within > 0 && i < buckets.length; i++) {
      this.#trim(buckets[i]!, inode, first, within);
    }
    return this.#dropFound(inode, whole, CHUNK_LIMIT, buckets, limit, costLimit);
  }

  /**
   * Drops the inode's chunks [first, end) in these buckets, at most `limit`.
   * Returns 0 when nothing of them is left.
   */
  dropChunks(
    inode: number,
    first: number,
    end: number,
    buckets: ArrayLike<number>,
    limit: number,
  ): number {
    this.freedBytes = 0;
    this.cost = 0;
    return this.#dropFound(inode, first, end, buckets, limit, Infinity);
  }

  /**
   * Drops this chunk if it has at most `extents` extents and nothing of it may be shared, so that it
   * costs next to nothing. False, and nothing has changed: it has more.
   */
  dropIfCheap(bucket: number, inode: number, chunk: number, extents: number): boolean {
    this.freedBytes = 0;
    if (!this.#load(bucket, inode, chunk)) return false;
    if (this.#base.count > extents || (this.#shared.any && !this.#isInline())) return false;
    if (this.#base.count > 0 || this.#base.end > 0) this.#drop(bucket, inode, chunk);
    return true;
  }

  #isInline(): boolean {
    for (let i = 0; i < this.#base.count; i++) if (this.#base.hasBlocks(i)) return false;
    return true;
  }

  #dropFound(
    inode: number,
    first: number,
    end: number,
    buckets: ArrayLike<number>,
    limit: number,
    costLimit: number,
  ): number {
    const most = Math.min(limit, Math.ceil(costLimit / COST_OF_CHUNK) + 1);
    const found = this.#collect(inode, first, end, buckets, most + 1);
    for (let i = 0; i < found; i++) {
      if (i === most || (i > 0 && this.cost >= costLimit)) {
        this.emptied = Array.prototype.indexOf.call(buckets, this.#cutBuckets[i]);
        return 1;
      }
      this.#drop(this.#cutBuckets[i]!, inode, this.#cutChunks[i]!);
    }
    this.emptied = buckets.length;
    return 0;
  }

  /**
   * Bytes [from, to) of a chunk lose their data (SPACE_DROP), or those without
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

  /**
   * `endClones` comes last. Bytes [from, to) of a chunk become those of the source's
   * chunk of the same number, whose blocks they share. Returns 0, or an errno and nothing has
   * changed: EIO (a map is damaged), ENOSPC (it is full).
   */
  cloneChunk(
    sourceBucket: number,
    source: number,
    bucket: number,
    inode: number,
    chunk: number,
    from: number,
    to: number,
  ): number {
    if (!this.#load(sourceBucket, source, chunk, this.#result)) return errno.EIO;
    if (!this.#load(bucket, inode, chunk)) return errno.EIO;
    const whole = from === 0 && to >= this.#result.end;
    if (this.#base.count === 0 && this.#result.count === 0) return 0;
    if (!whole || this.#base.count > 0 || this.#result.unwrittenCount > 0) {
      this.#patch.clear();
      this.#result.appendWritten(from, to, this.#patch);
      if (this.#base.count + this.#patch.count + 2 > EXTENTS_CAPACITY) return errno.ENOSPC;
      this.#freed.clear();
      splice(this.#base, this.#patch, from, to, this.#result, this.#freed);
    }
    // Blocks may be shared by the chunk's old and new extents: splice does not know of that.
    this.#freed.clear();
    blocksOnlyIn(this.#base, this.#result, this.#freed);
    blocksOnlyIn(this.#result, this.#base, this.#added);
    this.#put(bucket, inode, chunk, undefined);
    return 0;
  }

  /** After cloneChunk, whatever it said: counts the blocks that are shared now. */
  endClones(): void {
    const added = this.#added;
    // In order of place, runs of many chunks are few.
    const order = Array.from({ length: added.count }, (_, i) => i);
    order.sort(
      (a, b) => added.devices[a]! - added.devices[b]! || added.blocks[a]! - added.blocks[b]!,
    );
    const runs = this.#unused;
    runs.clear();
    for (const i of order) runs.push(added.devices[i]!, added.blocks[i]!, added.lengths[i]!);
    added.clear();
    for (let i = 0; i < runs.count; i++) {
      this.#shared.share(runs.devices[i]!, runs.blocks[i]!, runs.lengths[i]!);
    }
  }

  /** Blocks that can still be promised, those that this change frees included. */
  #unpromisedBlocks(): number {
    const { allocator } = this.#context;
    let blocks = this.#allocatableBlocks() + allocator.quarantinedBlocks;
    // Of shared blocks nobody knows yet whether they become free.
    if (this.#shared.any) return blocks - allocator.promisedBlocks;
    for (let i = 0; i < this.#freed.count; i++) blocks += this.#freed.lengths[i]!;
    return blocks - allocator.promisedBlocks;
  }

  /** False: the value is damaged, which is logged. */
  #load(bucket: number, inode: number, chunk: number, map = this.#base): boolean {
    try {
      map.load(this.#context.store.get(chunkKey(bucket, inode, chunk)));
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
    const freed = this.#shared.any ? this.#releaseFreed() : this.#freed;
    let freedBlocks = 0;
    for (let i = 0; i < freed.count; i++) {
      allocator.commitFreed(freed.devices[i]!, freed.blocks[i]!, freed.lengths[i]!);
      freedBlocks += freed.lengths[i]!;
    }
    this.freedBytes += freedBlocks * blockBytes;
    allocator.commitPromised(this.#result.promisedBlocks() - this.#base.promisedBlocks());
    this.#note(bucket, inode, chunk, this.#result.count);
  }

  #releaseFreed(): BlockRuns {
    const freed = this.#freed;
    this.#unused.clear();
    for (let i = 0; i < freed.count; i++) {
      this.#shared.release(freed.devices[i]!, freed.blocks[i]!, freed.lengths[i]!, this.#unused);
    }
    return this.#unused;
  }

  /** Of the change of the chunk that is loaded, whose bytes go. */
  #addCost(): void {
    const smallest = COST_OF_CHUNK + this.#base.count * COST_OF_EXTENT;
    this.cost += Math.max(this.#base.end, smallest);
  }

  /** Drops the chunk's bytes from `within` on. */
  #trim(bucket: number, inode: number, chunk: number, within: number): void {
    if (!this.#load(bucket, inode, chunk) || this.#base.end <= within) return;
    this.#addCost();
    this.#patch.clear();
    this.#freed.clear();
    splice(this.#base, this.#patch, within, TO_THE_END, this.#result, this.#freed);
    this.#result.end = within;
    this.#put(bucket, inode, chunk, undefined);
  }

  #drop(bucket: number, inode: number, chunk: number): void {
    // A damaged map cannot say what it used: its blocks are lost until fsck, the chunk is gone.
    if (!this.#load(bucket, inode, chunk)) this.#base.clear();
    this.#addCost();
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
      this.cost += COST_OF_BUCKET;
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
}
