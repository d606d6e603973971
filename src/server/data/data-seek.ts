/**
 * Where a file's data begins, or a hole, among the chunks that this target holds: lseek(2) with
 * SEEK_DATA and SEEK_HOLE. Exact to the extent maps; unwritten extents are holes. Reads what is
 * committed, bounded: a long way is gone in several calls.
 *
 *   data: in each bucket, along the chunks that there are     the least of all wins
 *   hole: along the chunk numbers; one that is not there is a hole
 */
import { chunkBytes } from '../../protocol/limits.generated.js';
import type { MetaStore } from '../meta-store-api.js';
import { ExtentMap } from './extent-map.js';
import { chunkEndKey, chunkKey, chunkOfKey } from './keys.js';

/** Maps that one search looks at: of each bucket, and along the chunk numbers. */
const MAPS_OF_BUCKET = 16;
const MAPS_IN_ALL = 1024;

export class DataSeek {
  /** Result: the byte that was found; not found: nothing before this byte. */
  byte = 0;
  found = false;
  readonly #store: MetaStore;
  readonly #map = new ExtentMap();

  constructor(store: MetaStore) {
    this.#store = store;
  }

  /**
   * First written byte in [from, to) of the inode's chunks in these buckets. Throws SealfsError
   * CORRUPT.
   */
  data(inode: number, from: number, to: number, buckets: readonly number[]): void {
    const first = Math.floor(from / chunkBytes);
    let best = to;
    let bound = to;
    for (const bucket of buckets) {
      const end = Math.ceil(Math.min(best, bound) / chunkBytes);
      let looked = 0;
      // Scans keep their keys: both come from buffers that nothing else fills meanwhile.
      const start = chunkKey(bucket, inode, first);
      this.#store.scan(start, chunkEndKey(bucket, inode, end), (key, value) => {
        const chunk = chunkOfKey(key);
        this.#map.load(value);
        const at = this.#map.firstData(chunk === first ? from - first * chunkBytes : 0);
        if (at >= 0) {
          best = Math.min(best, chunk * chunkBytes + at);
          return false;
        }
        if (++looked < MAPS_OF_BUCKET) return true;
        bound = Math.min(bound, (chunk + 1) * chunkBytes);
        return false;
      });
    }
    this.found = best < bound;
    this.byte = this.found ? best : bound;
  }

  /** First byte in [from, to) that is not written, among the chunks whose bucket is given. */
  hole(inode: number, from: number, to: number, bucketOf: (chunk: number) => number): void {
    const end = Math.ceil(to / chunkBytes);
    let looked = 0;
    this.found = false;
    this.byte = to;
    for (let chunk = Math.floor(from / chunkBytes); chunk < end; chunk++) {
      const bucket = bucketOf(chunk);
      if (bucket < 0) continue;
      if (looked++ === MAPS_IN_ALL) {
        this.byte = chunk * chunkBytes;
        return;
      }
      const start = Math.max(from, chunk * chunkBytes);
      this.#map.load(this.#store.get(chunkKey(bucket, inode, chunk)));
      const at = this.#map.firstHole(start - chunk * chunkBytes);
      if (at === chunkBytes) continue;
      const byte = chunk * chunkBytes + at;
      if (byte >= to) return;
      this.found = true;
      this.byte = byte;
      return;
    }
  }
}
