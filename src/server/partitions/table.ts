/**
 * What is stored of partitions (docs/directories.md): a directory that has grown has a table, the hash
 * at which each partition begins and its inode, in the order of hashes, itself first; a partition has its
 * range. Both under the partitions key (byte tables: docs/formats/metadata.md), and only where the
 * record's flags say so: what has never grown costs a look at them.
 */
import { COLLISIONS, COOKIE_LIMIT, partitionsKey } from '../keys.js';
import { byteU64, FLAG_PARTITION, FLAG_SPLIT, InodeRecord } from '../inode-record.js';
import type { MetaStore } from '../meta-store-api.js';

/** Hashes of names are below. */
export const HASH_END = COOKIE_LIMIT / COLLISIONS;
/** They only grow beyond. */
export const PARTITIONS_MAX = 512;

const HEADER_BYTES = 16;
const ROW_BYTES = 16;
const RANGE_BYTES = 16;

/** [first, end) of hashes. */
export interface HashRange {
  readonly first: number;
  readonly end: number;
}

/** A partition of a directory; its range ends where the next one begins. */
export interface PartitionRow {
  readonly first: number;
  readonly inode: number;
}

export interface PartitionTable {
  /** The latest mtime of all partitions when somebody set the directory's times: only what is later counts since then. */
  setSeconds: number;
  setNanoseconds: number;
  /** At least one, the directory itself, at hash 0. */
  rows: PartitionRow[];
}

const whole: HashRange = { first: 0, end: HASH_END };

/** Undefined where there is none, or it is damaged. */
export function readTable(meta: MetaStore, directory: number): PartitionTable | undefined {
  const value = meta.get(partitionsKey(directory));
  return value === undefined ? undefined : parseTable(value, directory);
}

export function parseTable(value: Uint8Array, directory: number): PartitionTable | undefined {
  if (value.length < HEADER_BYTES + ROW_BYTES || value.length % ROW_BYTES !== 0) return undefined;
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  const count = view.getUint32(12, true);
  if (value.length !== HEADER_BYTES + count * ROW_BYTES) return undefined;
  const rows: PartitionRow[] = [];
  for (let at = HEADER_BYTES; at < value.length; at += ROW_BYTES) {
    rows.push({ first: byteU64(value, at), inode: byteU64(value, at + 8) });
  }
  const isOrdered = rows.every((row, i) => row.first > (rows[i - 1]?.first ?? -1));
  const begins = rows[0]!.first === 0 && rows[0]!.inode === directory;
  if (!begins || !isOrdered || rows.at(-1)!.first >= HASH_END) return undefined;
  return {
    setSeconds: Number(view.getBigInt64(0, true)),
    setNanoseconds: view.getUint32(8, true),
    rows,
  };
}

export function packTable(table: PartitionTable): Uint8Array {
  const { rows } = table;
  const value = new Uint8Array(HEADER_BYTES + rows.length * ROW_BYTES);
  const view = new DataView(value.buffer);
  view.setBigInt64(0, BigInt(table.setSeconds), true);
  view.setUint32(8, table.setNanoseconds, true);
  view.setUint32(12, rows.length, true);
  for (const [i, { first, inode }] of rows.entries()) {
    view.setBigUint64(HEADER_BYTES + i * ROW_BYTES, BigInt(first), true);
    view.setBigUint64(HEADER_BYTES + i * ROW_BYTES + 8, BigInt(inode), true);
  }
  return value;
}

/** Inside a transaction. */
export function writeTable(meta: MetaStore, directory: number, table: PartitionTable): void {
  meta.put(partitionsKey(directory), packTable(table));
}

export function parseRange(value: Uint8Array): HashRange | undefined {
  if (value.length !== RANGE_BYTES) return undefined;
  const range = { first: byteU64(value, 0), end: byteU64(value, 8) };
  return range.first < range.end && range.end <= HASH_END ? range : undefined;
}

export function packRange({ first, end }: HashRange): Uint8Array {
  const value = new Uint8Array(RANGE_BYTES);
  const view = new DataView(value.buffer);
  view.setBigUint64(0, BigInt(first), true);
  view.setBigUint64(8, BigInt(end), true);
  return value;
}

/** Inside a transaction. */
export function writeRange(meta: MetaStore, partition: number, range: HashRange): void {
  meta.put(partitionsKey(partition), packRange(range));
}

/** The hashes that a directory, or a partition, with these flags holds itself. */
export function rangeOf(meta: MetaStore, inode: number, flags: number): HashRange {
  if ((flags & FLAG_PARTITION) !== 0) {
    const value = meta.get(partitionsKey(inode));
    return (value === undefined ? undefined : parseRange(value)) ?? whole;
  }
  if ((flags & FLAG_SPLIT) === 0) return whole;
  const value = meta.get(partitionsKey(inode));
  // Of the table only where the second row begins.
  if (value === undefined || value.length < HEADER_BYTES + 2 * ROW_BYTES) return whole;
  return { first: 0, end: byteU64(value, HEADER_BYTES + ROW_BYTES) };
}

/** Flags of a record in unaligned memory. */
export function flagsOf(record: Uint8Array): number {
  const at = InodeRecord.flags;
  return record[at]! | (record[at + 1]! << 8);
}

/** What is between a directory and one partition of many: nothing for what has not grown. */
export function isDivided(flags: number): boolean {
  return (flags & (FLAG_SPLIT | FLAG_PARTITION)) !== 0;
}

/** The hash that a listing from behind this cookie begins with. */
export function hashAfter(cookie: number): number {
  return Math.min(Math.floor((cookie + 1) / COLLISIONS), HASH_END - 1);
}
