/**
 * A merge: a partition that has become small goes back into its sibling, the lower half of what both were
 * split from. An operation of the target that has the partition, as a split is (split.ts):
 *
 *   freeze it ──> Absorb prepared ──> send the entries ──> tell the directory's target ──> decide
 *
 * Until it is decided the entries stand twice, and those of the sibling are copies: its range ends before them.
 */
import { errno } from '../../common/errno.js';
import type { Execute, Mutation } from '../batch.js';
import { FLAG_PARTITION, InodeRecord } from '../inode-record.js';
import type { Namespace } from '../namespace.js';
import { blockedBy, LOCK_FREEZE } from '../transactions/locks.js';
import {
  AGAIN,
  PENDING,
  STEP_ABSORB,
  STEP_MOVE,
  STEP_RECALL,
  STEP_REMOVE_RANGE,
  STEP_TABLE,
  StepRequest,
} from '../transactions/step.js';
import { copyEntries } from './split.js';
import { applyPartitionStep, checkPartitionStep, countEntries } from './steps.js';
import { HASH_END, rangeOf, readTable, type HashRange, type PartitionRow } from './table.js';

/** What is merged, and how many entries both may have together. */
export interface Merge {
  readonly partition: number;
  readonly mergeEntries: number;
}

export const merge: Execute = (ns, _call, mutation) => {
  const { partition, mergeEntries } = mutation.context as Merge;
  const at = ns.loadDirectory(partition);
  if (at < 0) return -at;
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  if ((flags & FLAG_PARTITION) === 0) return errno.EINVAL;
  const range = rangeOf(ns.meta, partition, flags);
  const lock = ns.locks.inode(partition);
  if (lock !== undefined) return blockedBy(mutation, lock);
  const frozen = ns.host.coordinator.lock(mutation, LOCK_FREEZE, partition, range.first);
  if (frozen !== 0) return frozen;
  if (ns.locks.entryFrom(partition, range.first) !== undefined) return AGAIN;
  // As before a split; names of the sibling stay where they are.
  const recall = new StepRequest(STEP_RECALL, partition);
  if (ns.host.coordinator.need(mutation, recall) === undefined) return PENDING;
  const entries = countEntries(ns, partition, range, mergeEntries);
  if (entries >= mergeEntries) return errno.EBUSY;
  const directory = ns.inodes.parent(at);
  const rows = rowsOf(ns, mutation, directory);
  if (rows === undefined) return PENDING;
  const sibling = siblingOf(rows, partition, range);
  if (sibling === undefined) return errno.EBUSY;
  const request = new StepRequest(STEP_ABSORB, sibling);
  request.first = range.first;
  request.end = range.end;
  request.other = partition;
  // Entries that the sibling may have at most.
  request.bucket = mergeEntries - entries;
  return mergeInto(ns, mutation, directory, request);
};

/** The directory's table; undefined: PENDING. What it says is checked again where it matters. */
function rowsOf(
  ns: Namespace,
  mutation: Mutation,
  directory: number,
): readonly PartitionRow[] | undefined {
  if (ns.ownsInode(directory)) return readTable(ns.meta, directory)?.rows ?? [];
  return ns.host.coordinator.need(mutation, new StepRequest(STEP_TABLE, directory))?.rows;
}

/** The lower half of what this is the upper half of, if that is one partition still. */
function siblingOf(
  rows: readonly PartitionRow[],
  partition: number,
  { first, end }: HashRange,
): number | undefined {
  const at = rows.findIndex((row) => row.inode === partition);
  if (at < 1 || rows[at]!.first !== first) return undefined;
  const width = end - first;
  const isUpper = Math.floor(first / width) % 2 === 1 && HASH_END % width === 0;
  return isUpper && rows[at - 1]!.first === first - width ? rows[at - 1]!.inode : undefined;
}

function mergeInto(
  ns: Namespace,
  mutation: Mutation,
  directory: number,
  request: StepRequest,
): number {
  const { coordinator } = ns.host;
  const { inode: sibling, other: partition, first, end } = request;
  const isHere = ns.ownsInode(sibling);
  if (isHere) {
    const held = ns.checkInodeLock(mutation, sibling);
    if (held !== 0) return held;
    const refused = checkPartitionStep(ns, request);
    if (refused !== 0) return refused;
  } else {
    if (coordinator.need(mutation, request) === undefined) return PENDING;
    const move = new StepRequest(STEP_MOVE, partition);
    move.other = sibling;
    move.first = first;
    move.end = end;
    if (coordinator.need(mutation, move) === undefined) return PENDING;
  }
  const row = new StepRequest(STEP_REMOVE_RANGE, directory);
  row.first = first;
  row.end = end;
  row.other = partition;
  // Where the directory itself takes it in, the row goes with that.
  const hasRow = sibling !== directory;
  const isRowHere = hasRow && ns.ownsInode(directory);
  if (isRowHere) {
    const held = ns.checkInodeLock(mutation, directory);
    if (held !== 0) return held;
    const refused = checkPartitionStep(ns, row);
    if (refused !== 0) return refused;
  } else if (hasRow && coordinator.need(mutation, row) === undefined) return PENDING;
  const decided = coordinator.decide(mutation);
  if (decided !== 0) return decided;
  if (isHere) {
    copyEntries(ns, partition, sibling, request);
    applyPartitionStep(ns, request);
  }
  if (isRowHere) applyPartitionStep(ns, row);
  ns.dentries.removeRange(partition, 0, HASH_END);
  const at = ns.inodes.load(partition);
  if (at >= 0) ns.dropInode(at);
  ns.inodes.linkChanges++;
  return 0;
}
