/**
 * Steps of splits and merges at a participant (docs/directories.md): checked, done, undone inside
 * transactions. What locks them, and when, is the participant's (transactions/participant.ts).
 */
import { errno, ESTALE } from '../../common/errno.js';
import { bucketCount, nameBytesMax } from '../../protocol/limits.generated.js';
import { DirEntry, MoveEntriesRequest } from '../../protocol/wire.generated.js';
import { isU53, readU16, readU53 } from '../../protocol/u53.js';
import type { Execute } from '../batch.js';
import { Dentry, entryHash } from '../dentries.js';
import { storeDirectory } from '../directory-record.js';
import { FLAG_PARTITION, FLAG_SPLIT, InodeRecord, S_IFDIR, S_IFMT } from '../inode-record.js';
import { COLLISIONS, partitionsKey } from '../keys.js';
import type { Namespace } from '../namespace.js';
import {
  STEP_ABSORB,
  STEP_ADD_RANGE,
  STEP_INHERIT,
  STEP_MAKE_PARTITION,
  STEP_REMOVE_RANGE,
  type StepRequest,
} from '../transactions/step.js';
import { inherit } from './inherit.js';
import {
  HASH_END,
  PARTITIONS_MAX,
  rangeOf,
  readTable,
  writeRange,
  writeTable,
  type HashRange,
  type PartitionRow,
  type PartitionTable,
} from './table.js';

export function isPartitionStep(step: number): boolean {
  return step >= STEP_MAKE_PARTITION && step <= STEP_REMOVE_RANGE;
}

/** 0, or why the step can't be; minus an inode: MakePartition has made it. */
export function checkPartitionStep(ns: Namespace, request: StepRequest): number {
  const { step, inode, first, end } = request;
  if (step === STEP_MAKE_PARTITION) return makePartition(ns, request);
  const at = ns.loadDirectory(inode);
  if (at < 0) return -at;
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  const isPartition = (flags & FLAG_PARTITION) !== 0;
  switch (step) {
    case STEP_INHERIT:
      return isPartition ? 0 : errno.EINVAL;
    case STEP_ABSORB: {
      const range = rangeOf(ns.meta, inode, flags);
      if (range.end !== first || first >= end) return unlikely(ns, inode);
      // Together they would be no small one.
      const most = request.bucket;
      return countEntries(ns, inode, range, most) < most ? 0 : errno.EBUSY;
    }
    case STEP_ADD_RANGE:
      if (isPartition || request.other === 0) return errno.EINVAL;
      return withRange(tableOf(ns, inode), request) === undefined ? unlikely(ns, inode) : 0;
    default:
      if (isPartition) return errno.EINVAL;
      return withoutRange(tableOf(ns, inode), request) === undefined ? unlikely(ns, inode) : 0;
  }
}

/** It is not as the coordinator believes: not yet, perhaps, as long as something else is under way. */
function unlikely(ns: Namespace, inode: number): number {
  return ns.locks.inode(inode) === undefined ? errno.EBUSY : errno.EAGAIN;
}

export function applyPartitionStep(ns: Namespace, request: StepRequest): void {
  const { step, inode } = request;
  if (step === STEP_INHERIT) inherit(ns, inode, request);
  else if (step === STEP_ABSORB) absorb(ns, request);
  else if (step === STEP_ADD_RANGE) addRange(ns, request);
  else if (step === STEP_REMOVE_RANGE) removeRange(ns, request);
}

/** `made`: of MakePartition. */
export function undoPartitionStep(ns: Namespace, request: StepRequest, made: number): void {
  const { step, inode, first, end } = request;
  if (step === STEP_ABSORB) ns.dentries.removeRange(inode, first, end);
  if (step !== STEP_MAKE_PARTITION) return;
  ns.dentries.removeRange(made, 0, HASH_END);
  const at = ns.inodes.load(made);
  if (at >= 0) ns.dropInode(at);
}

// ---------------------------------------------------------------- partitions

function makePartition(ns: Namespace, request: StepRequest): number {
  const { bucket, other, first, end } = request;
  if (bucket >= bucketCount || other === 0 || first >= end || end > HASH_END) return errno.EINVAL;
  if (!ns.host.owns(bucket)) return ESTALE;
  const inode = storePartition(ns, ns.allocateInode(bucket), request);
  return -inode;
}

/** A new partition without entries; its number, or minus an errno. */
export function storePartition(ns: Namespace, inode: number, request: StepRequest): number {
  const { bucket, first, end } = request;
  const stored = storeDirectory(ns, bucket, request, inode);
  if (stored < 0) return stored;
  const at = ns.inodes.load(inode);
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  ns.inodes.set32(at, InodeRecord.flags, flags | FLAG_PARTITION);
  writeRange(ns.meta, inode, { first, end });
  return inode;
}

/** Entries of these hashes, up to so many. */
export function countEntries(
  ns: Namespace,
  directory: number,
  { first, end }: HashRange,
  most: number,
): number {
  let entries = 0;
  const count = (): boolean => ++entries < most;
  if (most > 0)
    ns.dentries.list(directory, Math.max(0, first * COLLISIONS - 1), count, end * COLLISIONS);
  return entries;
}

/** What was moved here belongs to the partition, or to the directory itself, now. */
function absorb(ns: Namespace, request: StepRequest): void {
  const { inode, first, end } = request;
  const at = ns.loadDirectory(inode);
  if (at < 0) return;
  let directories = 0;
  ns.dentries.list(
    inode,
    first * COLLISIONS - 1,
    (_cookie, _inode, mode) => {
      if (mode === S_IFDIR) directories++;
      return true;
    },
    end * COLLISIONS,
  );
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  ns.inodes.setLinkCount(at, ns.inodes.linkCount(at) + directories);
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  if ((flags & FLAG_PARTITION) === 0) removeRange(ns, request);
  else writeRange(ns.meta, inode, { first: rangeOf(ns.meta, inode, flags).first, end });
}

// ---------------------------------------------------------------- tables

function tableOf(ns: Namespace, directory: number): PartitionTable {
  const rows = [{ first: 0, inode: directory }];
  return readTable(ns.meta, directory) ?? { setSeconds: 0, setNanoseconds: 0, rows };
}

/** The rows with the upper half [first, end) of one as another's; undefined: there is no such half. */
function withRange(table: PartitionTable, request: StepRequest): PartitionRow[] | undefined {
  const { first, end, other } = request;
  const next = table.rows.findIndex((row) => row.first >= first);
  const at = next < 0 ? table.rows.length : next;
  const upTo = table.rows[at]?.first ?? HASH_END;
  if (upTo !== end || first >= end || table.rows.length >= PARTITIONS_MAX) return undefined;
  return [...table.rows.slice(0, at), { first, inode: other }, ...table.rows.slice(at)];
}

function withoutRange(table: PartitionTable, request: StepRequest): PartitionRow[] | undefined {
  const { first, other } = request;
  const rows = table.rows.filter((row) => row.first !== first || row.inode !== other);
  return first > 0 && rows.length === table.rows.length - 1 ? rows : undefined;
}

/** Whether the table can take it: 0 or EAGAIN. Of a directory that lies here. */
export function checkRange(ns: Namespace, request: StepRequest): number {
  return withRange(tableOf(ns, request.inode), request) === undefined ? errno.EAGAIN : 0;
}

export function addRange(ns: Namespace, request: StepRequest): void {
  const table = tableOf(ns, request.inode);
  storeRows(ns, request.inode, table, withRange(table, request));
}

export function removeRange(ns: Namespace, request: StepRequest): void {
  const table = tableOf(ns, request.inode);
  storeRows(ns, request.inode, table, withoutRange(table, request));
}

function storeRows(
  ns: Namespace,
  directory: number,
  table: PartitionTable,
  rows: PartitionRow[] | undefined,
): void {
  const at = ns.loadDirectory(directory);
  if (at < 0 || rows === undefined) return;
  const flags = ns.inodes.get32(at, InodeRecord.flags);
  if (rows.length === 1) {
    ns.meta.remove(partitionsKey(directory));
    ns.inodes.set32(at, InodeRecord.flags, flags & ~FLAG_SPLIT);
  } else {
    table.rows = rows;
    writeTable(ns.meta, directory, table);
    ns.inodes.set32(at, InodeRecord.flags, flags | FLAG_SPLIT);
  }
  ns.inodes.linkChanges++;
  ns.inodes.touch(at);
}

// ---------------------------------------------------------------- entries

/** Entries come to a partition that is being made, or to one that takes another's in. */
export const receiveEntries: Execute = (ns, call) => {
  const { words, bytes } = call.memory;
  const { body } = call;
  const partition = ns.inodeField(call, MoveEntriesRequest.inode);
  const { transaction } = MoveEntriesRequest;
  if (partition === 0 || !isU53(words, body + transaction)) return errno.EINVAL;
  const step = ns.participant.stepOf(partition, readU53(words, body + transaction));
  if (step === undefined) return ESTALE;
  const end = body + call.bodyBytes;
  let at = body + MoveEntriesRequest.SIZE;
  let directories = 0;
  for (let i = words[(body + MoveEntriesRequest.count) >>> 2]!; i > 0; i--) {
    const nameBytes = at + DirEntry.SIZE > end ? 0 : readU16(words, at + DirEntry.nameBytes);
    if (nameBytes === 0 || nameBytes > nameBytesMax) return errno.EINVAL;
    const name = at + DirEntry.SIZE;
    if (name + nameBytes > end) return errno.EINVAL;
    if (!isU53(words, at) || !isU53(words, at + DirEntry.cookie)) return errno.EINVAL;
    const cookie = readU53(words, at + DirEntry.cookie);
    const hash = entryHash(Math.floor(cookie / COLLISIONS));
    if (hash < step.first || hash >= step.end) return errno.EINVAL;
    const value = new Uint8Array(Dentry.name + nameBytes);
    // As an entry is stored, an inode is a u64 of little endian, and so it came.
    value.set(bytes.subarray(at + DirEntry.inode, at + DirEntry.inode + 8), Dentry.inode);
    const mode = words[(at + DirEntry.mode) >>> 2]! & S_IFMT;
    value[Dentry.mode] = mode & 0xff;
    value[Dentry.mode + 1] = mode >>> 8;
    value.set(bytes.subarray(name, name + nameBytes), Dentry.name);
    if (ns.dentries.putValue(partition, cookie, value) && mode === S_IFDIR) directories++;
    at = (name + nameBytes + 7) & ~7;
  }
  if (step.step !== STEP_MAKE_PARTITION || directories === 0) return 0;
  const record = ns.loadDirectory(partition);
  if (record < 0) return ESTALE;
  ns.inodes.setLinkCount(record, ns.inodes.linkCount(record) + directories);
  ns.inodes.setCtime(record, ns.host.now());
  ns.inodes.touch(record);
  return 0;
};
