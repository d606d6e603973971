/**
 * Inode numbers: bucket (16 bits) times 2^37 plus a sequence number (37 bits, never reused). An
 * inode says where it lives, for ever, and is a plain number below 2^53. Which bucket things go to
 * is here as well.
 */
import { bucketCount, stripeBuckets } from '../protocol/limits.generated.js';
import { mixInode, mixPair } from './hash.js';

/** Sequence numbers of one bucket: 2^37. */
export const SEQUENCE_LIMIT = 137438953472;
export const INODE_LIMIT = bucketCount * SEQUENCE_LIMIT;

if (INODE_LIMIT !== 2 ** 53) throw new Error('an inode number must fill 53 bits');

export function makeInode(bucket: number, sequence: number): number {
  return bucket * SEQUENCE_LIMIT + sequence;
}

export function bucketOfInode(inode: number): number {
  return Math.floor(inode / SEQUENCE_LIMIT);
}

export function sequenceOfInode(inode: number): number {
  return inode % SEQUENCE_LIMIT;
}

/** An inode number that can exist: an integer in (0, 2^53) with a sequence that is not 0. */
export function isInode(inode: number): boolean {
  return inode > 0 && inode < INODE_LIMIT && inode % SEQUENCE_LIMIT !== 0;
}

/**
 * The bucket of a file's chunk: chunks whose number is a multiple of `stripeBuckets` lie with the
 * inode, the others in one of stripeBuckets - 1 further buckets, so that one file's chunks lie in at
 * most stripeBuckets buckets and a bucket's share of a file is one key range.
 */
export function stripeBucket(inode: number, chunk: number): number {
  const stripe = chunk % stripeBuckets;
  if (stripe === 0) return Math.floor(inode / SEQUENCE_LIMIT);
  return mixInode(inode, stripe) & (bucketCount - 1);
}

/**
 * The bucket of a chunk of a file with a layout (0: its own): the first lies with the inode, the
 * others where those of the layout's inode would.
 */
export function chunkBucket(inode: number, layout: number, chunk: number): number {
  if (chunk === 0) return Math.floor(inode / SEQUENCE_LIMIT);
  return stripeBucket(layout === 0 ? inode : layout, chunk);
}

/**
 * Where a new directory is put: hashed, so that a tree spreads over all targets. `salt` counts
 * attempts at another place.
 */
export function directoryBucket(parent: number, nameHash: number, salt: number): number {
  const name = mixInode(nameHash, salt);
  return mixPair(mixInode(parent, 0x64), name) & (bucketCount - 1);
}
