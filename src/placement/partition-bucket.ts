/**
 * Where the partitions of a directory go: one after the other to the members in the map's order, from
 * the directory's own on, so that each has its share however few there are.
 *
 * Partitions are numbered as extendible hashing does: what a split of partition n of depth d makes is
 * n + 2^d. So the first T of them, of T members, are on as many.
 */
import type { BucketTable } from './bucket-table.js';
import { bucketOfInode, directoryBucket } from './inode-number.js';

/** Tries to find a bucket of the right member; each hits with its share of the buckets. */
const SALTS_MAX = 4096;

/** The number of what is split off a partition of this depth whose hashes begin with these bits. */
export function splitNumber(prefix: number, depth: number): number {
  let number = 0;
  let rest = prefix;
  for (let i = 0; i < depth; i++) {
    number = number * 2 + (rest % 2);
    rest = Math.floor(rest / 2);
  }
  return number + 2 ** depth;
}

/** The bucket of the directory's partition of this number. */
export function partitionBucket(table: BucketTable, directory: number, number: number): number {
  const { members } = table.map;
  const owners = [...members.keys()].filter((index) => members[index]!.weight > 0);
  const own = owners.indexOf(table.memberOfBucket(bucketOfInode(directory)));
  const wanted = owners[(own + number) % owners.length];
  for (let salt = 0; salt < SALTS_MAX; salt++) {
    const bucket = directoryBucket(directory, number, salt);
    if (table.memberOfBucket(bucket) === wanted) return bucket;
  }
  return directoryBucket(directory, number, 0);
}
