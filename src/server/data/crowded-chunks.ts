/**
 * Chunks whose maps have many extents: those that are to be compacted. There are few, and asking
 * whether a chunk is one costs a look at a number when there are none.
 */
import type { ChunkWrite } from './chunk-write.js';

export class CrowdedChunk {
  readonly bucket: number;
  readonly inode: number;
  readonly chunk: number;
  /** As of the last commit. */
  extents = 0;
  /** A commit has changed the chunk since its compaction began. */
  changed = false;
  /** Queued or under way. */
  compacting = false;
  /** Compactions in a row that left it crowded. */
  failures = 0;
  /** Writes held until it is compacted. */
  held: ChunkWrite[] = [];

  constructor(bucket: number, inode: number, chunk: number) {
    this.bucket = bucket;
    this.inode = inode;
    this.chunk = chunk;
  }
}

export class CrowdedChunks {
  size = 0;
  /** By inode, then chunk. */
  readonly #inodes = new Map<number, Map<number, CrowdedChunk>>();

  find(inode: number, chunk: number): CrowdedChunk | undefined {
    return this.size === 0 ? undefined : this.#inodes.get(inode)?.get(chunk);
  }

  add(bucket: number, inode: number, chunk: number): CrowdedChunk {
    const crowded = new CrowdedChunk(bucket, inode, chunk);
    const chunks = this.#inodes.get(inode) ?? new Map<number, CrowdedChunk>();
    chunks.set(chunk, crowded);
    this.#inodes.set(inode, chunks);
    this.size++;
    return crowded;
  }

  remove(crowded: CrowdedChunk): void {
    const chunks = this.#inodes.get(crowded.inode);
    if (chunks?.delete(crowded.chunk) !== true) return;
    if (chunks.size === 0) this.#inodes.delete(crowded.inode);
    this.size--;
  }
}
