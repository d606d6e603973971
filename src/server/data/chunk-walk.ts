/**
 * Walks all chunks of a target in the order of their keys, a few at a time, from any place on: what
 * is stored meanwhile behind that place is met, what is removed is not.
 *
 *   bucket 7:  C… C… C… | D… I… L… X…     a bucket's chunks come first among its keys, so the first
 *   bucket 9:  C… C…    | D…              other key ends them, and leads to the next bucket
 */
import { bucketCount } from '../../protocol/limits.generated.js';
import type { MetaStore } from '../meta-store-api.js';
import { bucketOfChunkKey, CHUNK_LIMIT, chunkKey, chunkOfKey, inodeOfChunkKey } from './keys.js';

const CHUNK_KIND = 0x43; // 'C'
/** Buckets that one call looks into: most may be empty. */
const BUCKETS_PER_CALL = 64;
/** Behind every key: the buckets' and the target's own. */
const END = Uint8Array.of(0xff, 0xff, 0xff);

export interface ChunkPlace {
  bucket: number;
  inode: number;
  chunk: number;
}

/** The first place, and the one behind all. */
export const FIRST_CHUNK: Readonly<ChunkPlace> = { bucket: 0, inode: 0, chunk: 0 };
export const BEHIND_CHUNKS: Readonly<ChunkPlace> = { bucket: bucketCount, inode: 0, chunk: 0 };

export function isBehind(place: ChunkPlace): boolean {
  return place.bucket >= bucketCount;
}

/** The place right behind this chunk. */
export function afterChunk({ bucket, inode, chunk }: ChunkPlace): ChunkPlace {
  return chunk + 1 < CHUNK_LIMIT
    ? { bucket, inode, chunk: chunk + 1 }
    : { bucket, inode: inode + 1, chunk: 0 };
}

/**
 * Adds the chunks at `from` and behind it to `found`, at most `limit`; returns where to go on, which
 * is behind all when there are no more.
 */
export function nextChunks(
  store: MetaStore,
  from: ChunkPlace,
  limit: number,
  found: ChunkPlace[],
): ChunkPlace {
  let at = from;
  for (let looked = 0; looked < BUCKETS_PER_CALL && !isBehind(at); looked++) {
    let next: ChunkPlace = BEHIND_CHUNKS;
    const start = chunkKey(at.bucket, at.inode, at.chunk).slice();
    store.scan(start, END, (key) => {
      const bucket = bucketOfChunkKey(key);
      if (key[2] !== CHUNK_KIND) {
        // Keys below 'C' are the target's own, in the last bucket, in front of its chunks.
        next = { bucket: key[2]! < CHUNK_KIND ? bucket : bucket + 1, inode: 0, chunk: 0 };
        return false;
      }
      const place = { bucket, inode: inodeOfChunkKey(key), chunk: chunkOfKey(key) };
      if (found.length >= limit) {
        next = place;
        return false;
      }
      found.push(place);
      return true;
    });
    at = next;
    if (found.length >= limit) break;
  }
  return at;
}
