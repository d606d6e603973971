/**
 * What new entries get from their directory (group, set-group-ID bit, default ACL) stands in the record
 * of each of its partitions; where it changes, it changes in all of them at once: a step of a transaction
 * at each that lies elsewhere (docs/directories.md).
 */
import type { WallClock } from '../../common/scheduler.js';
import { FLAG_DEFAULT_ACL, FLAG_SPLIT, InodeRecord, S_IFMT } from '../inode-record.js';
import { DEFAULT_ACL, loadXattrs, replaceXattr, storeXattrs } from '../inode-xattrs.js';
import type { Mutation } from '../batch.js';
import type { Namespace } from '../namespace.js';
import { PENDING, STEP_CHANGED, STEP_INHERIT, StepRequest } from '../transactions/step.js';
import { findXattr } from '../xattr-set.js';
import { readTable, writeTable } from './table.js';

const noBytes: Uint8Array = new Uint8Array(0);

export function isSplit(ns: Namespace, at: number): boolean {
  return (ns.inodes.get32(at, InodeRecord.flags) & FLAG_SPLIT) !== 0;
}

/** What the directory at this offset gives, as a step of a partition; undefined: its ACL is damaged. */
export function inheritanceOf(ns: Namespace, at: number, step: number): StepRequest | undefined {
  const request = new StepRequest(step, 0);
  request.mode = ns.inodes.mode(at);
  request.uid = ns.inodes.get32(at, InodeRecord.uid);
  request.gid = ns.inodes.get32(at, InodeRecord.gid);
  if ((ns.inodes.get32(at, InodeRecord.flags) & FLAG_DEFAULT_ACL) === 0) return request;
  const xattrs = loadXattrs(ns, at);
  const index = xattrs === undefined ? -1 : findXattr(xattrs, DEFAULT_ACL);
  if (xattrs === undefined || index < 0) return undefined;
  request.defaultAcl = Uint8Array.from(xattrs[index]!.value);
  return request;
}

/**
 * The split directory at this offset is about to give what `given` says: 0 (then it is decided, and done
 * in the partitions that lie here), PENDING, BLOCKED or AGAIN.
 */
export function changeInheritance(
  ns: Namespace,
  mutation: Mutation,
  at: number,
  given: StepRequest,
): number {
  const directory = ns.inodes.inode(at);
  const held = ns.checkInodeLock(mutation, directory);
  if (held !== 0) return held;
  const here: number[] = [];
  let status = 0;
  for (const { inode } of readTable(ns.meta, directory)?.rows.slice(1) ?? []) {
    if (ns.ownsInode(inode)) {
      const locked = ns.checkInodeLock(mutation, inode);
      if (locked !== 0) return locked;
      here.push(inode);
      continue;
    }
    const request = new StepRequest(STEP_INHERIT, inode);
    request.mode = given.mode;
    request.uid = given.uid;
    request.gid = given.gid;
    request.defaultAcl = given.defaultAcl;
    if (ns.host.coordinator.need(mutation, request) === undefined) status = PENDING;
  }
  if (status !== 0) return status;
  status = ns.host.coordinator.decide(mutation);
  if (status !== 0) return status;
  for (const inode of here) inherit(ns, inode, given);
  return 0;
}

/** Of a partition that lies here. */
export function inherit(ns: Namespace, partition: number, given: StepRequest): void {
  const at = ns.inodes.load(partition);
  if (at < 0) return;
  ns.inodes.setMode(at, (ns.inodes.mode(at) & S_IFMT) | (given.mode & 0o7777));
  ns.inodes.set32(at, InodeRecord.uid, given.uid);
  ns.inodes.set32(at, InodeRecord.gid, given.gid);
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  const xattrs = loadXattrs(ns, at) ?? [];
  const acl =
    given.defaultAcl === noBytes || given.defaultAcl.length === 0 ? null : given.defaultAcl;
  if (xattrs.length === 0 && acl === null) return;
  replaceXattr(xattrs, DEFAULT_ACL, acl);
  storeXattrs(ns, at, xattrs);
}

/**
 * Somebody sets the split directory's times: of what its partitions say, only what is later than this counts from
 * then on. Their own time, since clocks of targets differ; and what is prepared there is done later than it was
 * acknowledged. Undefined: PENDING.
 */
export function lastChange(
  ns: Namespace,
  mutation: Mutation,
  at: number,
): Readonly<WallClock> | undefined {
  const request = new StepRequest(STEP_CHANGED, ns.inodes.inode(at));
  return ns.host.coordinator.need(mutation, request)?.changed;
}

export function timesAreSet(ns: Namespace, at: number, last: Readonly<WallClock>): void {
  const directory = ns.inodes.inode(at);
  const table = readTable(ns.meta, directory);
  if (table === undefined) return;
  table.setSeconds = last.seconds;
  table.setNanoseconds = last.nanoseconds;
  writeTable(ns.meta, directory, table);
}
