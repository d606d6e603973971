/**
 * The part of a file's space that this target holds: which of its chunks are here, holes and
 * promises in them (ChangeSpace), where data begins (SeekData), clones (CloneRange), and which files
 * are gone for good, so that a late write does not leave a chunk that nobody would ever remove.
 */
import { errno } from '../common/errno.js';
import { bucketOfInode, chunkBucket, stripeBucket } from '../placement/inode-number.js';
import { blockBytes, chunkBytes, stripeBuckets } from '../protocol/limits.generated.js';
import { SPACE_PROMISE } from './data/chunk-changes.js';
import type { ChunkStore } from './data/chunk-store.js';
import { DataSeek } from './data/data-seek.js';
import type { MetaStore } from './meta-store-api.js';

/** Chunks that one request promises space to, or drops: it is repeated for more. */
const CHUNKS_PER_CHANGE = 128;
/** Chunk numbers that one request of a clone looks at: of a sparse file most are not there. */
const CHUNKS_PER_LOOK = 2048;
/** Deleted files that are remembered; a write that is later than so many deletions is accepted. */
const GONE_MAX = 65_536;

export class FileSpace {
  /** Result of `change`: the byte to go on from. */
  nextByte = 0;
  readonly seek: DataSeek;
  readonly #chunks: ChunkStore;
  readonly #owns: (bucket: number) => boolean;
  /** By stripe of chunks beyond the first: its bucket, -1 when another target has it. */
  readonly #stripes = new Int32Array(stripeBuckets);
  /** The same of the first chunk. */
  #first = -1;
  /** All that are here. */
  #buckets: number[] = [];
  #gone = new Set<number>();
  #goneBefore = new Set<number>();

  constructor(chunks: ChunkStore, meta: MetaStore, owns: (bucket: number) => boolean) {
    this.#chunks = chunks;
    this.#owns = owns;
    this.seek = new DataSeek(meta);
  }

  /** The file is deleted; its number is never used again. */
  markGone(inode: number): void {
    if (this.#gone.size === GONE_MAX / 2) {
      this.#goneBefore = this.#gone;
      this.#gone = new Set();
    }
    this.#gone.add(inode);
  }

  isGone(inode: number): boolean {
    return this.#gone.has(inode) || this.#goneBefore.has(inode);
  }

  /**
   * Inside a transaction: `how` (SPACE_… bits) to the bytes [from, to) as far as this target holds
   * them, a bounded number of chunks; sets `nextByte`. 0 or an errno; what was done before an error
   * stays.
   */
  change(inode: number, layout: number, from: number, to: number, how: number): number {
    this.#findStripes(inode, layout);
    this.nextByte = to;
    if (this.#buckets.length === 0) return 0;
    return (how & SPACE_PROMISE) === 0
      ? this.#makeHole(inode, from, to, how)
      : this.#promise(inode, from, to, how);
  }

  /** Inside a transaction: these bytes become the first ones of a file's first chunk. 0 or an errno. */
  storeSmall(bucket: number, inode: number, data: Uint8Array): number {
    return this.#chunks.changes.writeSmall(bucket, inode, data);
  }

  seekData(inode: number, layout: number, from: number, to: number): void {
    this.#findStripes(inode, layout);
    this.seek.data(inode, from, to, this.#buckets);
  }

  seekHole(inode: number, layout: number, from: number, to: number): void {
    this.#findStripes(inode, layout);
    // Without any chunk here, no hole of this target counts.
    const end = this.#buckets.length === 0 ? from : to;
    this.seek.hole(inode, from, end, (chunk) => this.#bucketOf(chunk));
    if (!this.seek.found && end === from) this.seek.byte = to;
  }

  /**
   * Inside a transaction: bytes [from, to) of `inode`, as far as this target holds them, come to
   * share the blocks of those of `source`, a bounded number of chunks; sets `nextByte`. Both files
   * have this layout. 0 or an errno, EXDEV: a chunk of the source is elsewhere; what was done before
   * an error stays.
   */
  clone(source: number, inode: number, layout: number, from: number, to: number): number {
    this.#findStripes(inode, layout);
    this.nextByte = to;
    if (this.#buckets.length === 0) return 0;
    const status = this.#cloneChunks(source, inode, layout, from, to);
    this.#chunks.changes.endClones();
    return status;
  }

  #cloneChunks(source: number, inode: number, layout: number, from: number, to: number): number {
    const end = Math.ceil(to / chunkBytes);
    const first = Math.floor(from / chunkBytes);
    let cloned = 0;
    for (let chunk = first; chunk < end; chunk++) {
      const bucket = this.#bucketOf(chunk);
      if (bucket < 0) continue;
      if (cloned === CHUNKS_PER_CHANGE || chunk - first === CHUNKS_PER_LOOK) {
        this.nextByte = chunk * chunkBytes;
        return 0;
      }
      const sourceBucket = chunkBucket(source, layout, chunk);
      if (!this.#owns(sourceBucket)) return errno.EXDEV;
      const start = chunk * chunkBytes;
      const within = Math.max(0, from - start);
      const stop = Math.min(chunkBytes, to - start);
      const status = this.#chunks.changes.cloneChunk(
        sourceBucket,
        source,
        bucket,
        inode,
        chunk,
        within,
        stop,
      );
      if (status !== 0) return status;
      cloned++;
    }
    return 0;
  }

  #bucketOf(chunk: number): number {
    return chunk === 0 ? this.#first : this.#stripes[chunk % stripeBuckets]!;
  }

  #findStripes(inode: number, layout: number): void {
    const placedBy = layout === 0 ? inode : layout;
    this.#buckets = [];
    this.#first = this.#find(bucketOfInode(inode));
    for (let stripe = 0; stripe < stripeBuckets; stripe++) {
      this.#stripes[stripe] = this.#find(stripeBucket(placedBy, stripe));
    }
  }

  /** The bucket, or -1 when it is not here. */
  #find(bucket: number): number {
    if (!this.#owns(bucket)) return -1;
    if (!this.#buckets.includes(bucket)) this.#buckets.push(bucket);
    return bucket;
  }

  /** Only chunks that there are count: a hole in a sparse file costs what lies in it. */
  #makeHole(inode: number, from: number, to: number, how: number): number {
    const first = Math.floor(from / chunkBytes);
    const last = Math.floor((to - 1) / chunkBytes);
    const firstWhole = Math.ceil(from / chunkBytes);
    const endWhole = Math.floor(to / chunkBytes);
    if (first < firstWhole || endWhole === first) {
      const status = this.#changeChunk(inode, first, from, to, how);
      if (status !== 0) return status;
    }
    if (last >= endWhole && last !== first) {
      const status = this.#changeChunk(inode, last, from, to, how);
      if (status !== 0) return status;
    }
    if (firstWhole >= endWhole) return 0;
    const left = this.#chunks.changes.dropChunks(
      inode,
      firstWhole,
      endWhole,
      this.#buckets,
      CHUNKS_PER_CHANGE,
    );
    if (left > 0) this.nextByte = from;
    return 0;
  }

  #promise(inode: number, from: number, to: number, how: number): number {
    const first = Math.floor(from / chunkBytes);
    const end = Math.ceil(to / chunkBytes);
    if (this.#cannotFit(end - first)) return errno.ENOSPC;
    let changed = 0;
    for (let chunk = first; chunk < end; chunk++) {
      if (this.#bucketOf(chunk) < 0) continue;
      if (changed++ === CHUNKS_PER_CHANGE) {
        this.nextByte = chunk * chunkBytes;
        return 0;
      }
      const status = this.#changeChunk(inode, chunk, from, to, how);
      if (status !== 0) return status;
    }
    return 0;
  }

  /** More than this target could ever hold is refused before the disk is filled with promises. */
  #cannotFit(chunks: number): boolean {
    const stripes = this.#stripes.reduce((sum, bucket) => sum + (bucket < 0 ? 0 : 1), 0);
    const here = Math.floor(chunks / stripeBuckets) * stripes;
    return here * chunkBytes > this.#chunks.capacity().totalBytes + blockBytes;
  }

  /** The part of [from, to) that lies in this chunk, if it is here. */
  #changeChunk(inode: number, chunk: number, from: number, to: number, how: number): number {
    const bucket = this.#bucketOf(chunk);
    if (bucket < 0) return 0;
    const start = chunk * chunkBytes;
    const within = Math.max(0, from - start);
    const stop = Math.min(chunkBytes, to - start);
    return this.#chunks.changes.changeSpace(bucket, inode, chunk, within, stop, how);
  }
}
