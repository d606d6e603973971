/**
 * A split: the upper half of a partition's hashes goes to a partition of its own. An operation of the
 * target that has the entries, which is its coordinator (transactions/coordinator.ts): executed again and
 * again until it needs nothing more.
 *
 *   freeze the half ──> make the partition ──> send it the entries ──> tell the directory's target ──> decide
 *
 * The new partition may lie here: then it is made, and has its entries, in the deciding transaction.
 */
import { errno, ESTALE } from '../../common/errno.js';
import { bucketOfInode } from '../../placement/inode-number.js';
import { splitNumber } from '../../placement/partition-bucket.js';
import type { Execute, Mutation } from '../batch.js';
import { FLAG_PARTITION, InodeRecord, S_IFDIR } from '../inode-record.js';
import { COLLISIONS } from '../keys.js';
import type { Namespace } from '../namespace.js';
import { blockedBy, LOCK_FREEZE } from '../transactions/locks.js';
import {
  AGAIN,
  PENDING,
  STEP_ADD_RANGE,
  STEP_MAKE_PARTITION,
  STEP_MOVE,
  STEP_RECALL,
  StepRequest,
} from '../transactions/step.js';
import { inheritanceOf } from './inherit.js';
import { addRange, checkRange, storePartition } from './steps.js';
import { HASH_END, rangeOf, writeRange, type HashRange } from './table.js';

/** What is split, and the number of what is made, if it is to lie here. */
export interface Split {
  readonly partition: number;
  readonly bucket: number;
  readonly made: number;
}

/** One attempt's surroundings. */
interface Half {
  readonly at: number;
  readonly partition: number;
  readonly directory: number;
  readonly first: number;
  readonly end: number;
}

/** Where the upper half of this partition goes; undefined: it cannot be split. */
export function bucketOfHalf(ns: Namespace, partition: number): number | undefined {
  const at = ns.loadDirectory(partition);
  if (at < 0) return undefined;
  const range = rangeOf(ns.meta, partition, ns.inodes.get32(at, InodeRecord.flags));
  const width = range.end - range.first;
  if (width < 2) return undefined;
  const depth = Math.round(Math.log2(HASH_END / width));
  const number = splitNumber(Math.floor(range.first / width), depth);
  if (2 ** (depth + 1) > ns.host.partitionsMax) return undefined;
  return ns.host.partitionBucket(ns.directoryOf(at), number);
}

export const split: Execute = (ns, _call, mutation) => {
  const { partition, bucket, made } = mutation.context as Split;
  const at = ns.loadDirectory(partition);
  if (at < 0) return -at;
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  const range = rangeOf(ns.meta, partition, flags);
  const first = Math.floor((range.first + range.end) / 2);
  if (first === range.first) return errno.EINVAL;
  const lock = ns.locks.inode(partition);
  if (lock !== undefined) return blockedBy(mutation, lock);
  const frozen = ns.host.coordinator.lock(mutation, LOCK_FREEZE, partition, first);
  if (frozen !== 0) return frozen;
  // What is prepared for them is done, or forgotten, before they move.
  if (ns.locks.entryFrom(partition, first) !== undefined) return AGAIN;
  // What names in it are leased is believed no more before any moves; while it is frozen none is granted.
  const recall = new StepRequest(STEP_RECALL, partition);
  if (ns.host.coordinator.need(mutation, recall) === undefined) return PENDING;
  const half = { at, partition, directory: ns.directoryOf(at), first, end: range.end };
  return splitHalf(ns, mutation, half, bucket, made);
};

function splitHalf(
  ns: Namespace,
  mutation: Mutation,
  half: Half,
  bucket: number,
  made: number,
): number {
  const { at, partition, directory, first, end } = half;
  const { coordinator } = ns.host;
  const request = inheritanceOf(ns, at, STEP_MAKE_PARTITION);
  if (request === undefined) return errno.EIO;
  request.bucket = bucket;
  request.other = directory;
  request.seconds = ns.inodes.mtimeSeconds(at);
  request.nanoseconds = ns.inodes.get32(at, InodeRecord.mtimeNanoseconds);
  request.first = first;
  request.end = end;
  let inode = made;
  if (made === 0) {
    const prepared = coordinator.need(mutation, request);
    if (prepared === undefined) return PENDING;
    inode = prepared.inode;
    const move = new StepRequest(STEP_MOVE, partition);
    move.other = inode;
    move.first = first;
    move.end = end;
    if (coordinator.need(mutation, move) === undefined) return PENDING;
  } else if (ns.inodes.load(made) >= 0 || bucketOfInode(made) !== bucket) return ESTALE;
  const range = rangeRequest(directory, first, end, inode);
  if (!ns.ownsInode(directory)) {
    if (coordinator.need(mutation, range) === undefined) return PENDING;
  } else {
    const held = ns.checkInodeLock(mutation, directory);
    if (held !== 0) return held;
    const refused = checkRange(ns, range);
    if (refused !== 0) return refused;
  }
  const decided = coordinator.decide(mutation);
  if (decided !== 0) return decided;
  if (made !== 0) makeHere(ns, half, made, request);
  leave(ns, half);
  if (ns.ownsInode(directory)) addRange(ns, range);
  return 0;
}

function rangeRequest(directory: number, first: number, end: number, inode: number): StepRequest {
  const request = new StepRequest(STEP_ADD_RANGE, directory);
  request.first = first;
  request.end = end;
  request.other = inode;
  return request;
}

/** The new partition, with its entries. */
function makeHere(ns: Namespace, half: Half, made: number, request: StepRequest): void {
  const { partition, first, end } = half;
  storePartition(ns, made, request);
  const directories = copyEntries(ns, partition, made, { first, end });
  const at = ns.loadDirectory(made);
  ns.inodes.setLinkCount(at, ns.inodes.linkCount(at) + directories);
}

/** Entries of these hashes of one partition are put into another that lies here; how many are directories'. */
export function copyEntries(
  ns: Namespace,
  from: number,
  to: number,
  { first, end }: HashRange,
): number {
  const moved: [number, Uint8Array][] = [];
  let directories = 0;
  ns.dentries.list(
    from,
    first * COLLISIONS - 1,
    (cookie, _inode, mode, value) => {
      moved.push([cookie, value.slice()]);
      if (mode === S_IFDIR) directories++;
      return true;
    },
    end * COLLISIONS,
  );
  for (const [cookie, value] of moved) ns.dentries.putValue(to, cookie, value);
  return directories;
}

/** The half is another's. */
function leave(ns: Namespace, { at, partition, first, end }: Half): void {
  const directories = ns.dentries.removeRange(partition, first, end);
  ns.inodes.setLinkCount(at, ns.inodes.linkCount(at) - directories);
  ns.inodes.linkChanges++;
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  if ((flags & FLAG_PARTITION) === 0) return;
  writeRange(ns.meta, partition, { first: rangeOf(ns.meta, partition, flags).first, end: first });
}
