/**
 * The checkpoint file beside LMDB's data.mdb: the meta page of a snapshot whose pages are all on
 * the device, in one of two alternating slots, so that a torn write leaves the other. After a
 * power loss (another boot id) the newest valid slot's page is put back before LMDB opens: the
 * environment is then, whole, in the state of that snapshot. Byte tables: docs/formats/metadata.md.
 *
 * The offsets inside LMDB's meta page are those of its data format version 2 on a 64-bit machine
 * (struct MDB_page_header and MDB_meta of the lmdb package's mdb.c). They are verified against
 * LMDB's own answer each time an environment is opened (meta-store.ts).
 */
import { crc32 } from 'node:zlib';
import { closeSync, fdatasyncSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

export const META_PAGE_BYTES = 4096;
export const CHECKPOINT_SLOT_BYTES = 8192;
export const CHECKPOINT_FILE_BYTES = 2 * CHECKPOINT_SLOT_BYTES;

const MAGIC = 0x4b434653; // 'SFCK', little endian
const VERSION = 1;

/** Offsets in a slot. */
const SLOT = {
  magic: 0, // u32
  version: 4, // u32
  generation: 8, // u64, counts checkpoints
  bootId: 16, // 36 bytes of text, NUL-padded to 40
  allocatedBytes: 56, // u64, of data.mdb: blocks are allocated up to here
  crc: 64, // u32, CRC-32 of the slot's first 4,096 + 128 bytes with this field zero
  page: 128, // 4,096 bytes: the meta page
} as const;
const CRC_BYTES = SLOT.page + META_PAGE_BYTES;
/** Of a slot, what is ever written; the rest is zeros for ever. */
export const CHECKPOINT_BYTES = CRC_BYTES;

/** Offsets in a meta page. */
const META = {
  magic: 24, // u32, 0xBEEFC0DE
  freeTree: 48, // MDB_db of free pages: pad u32, flags u16, depth u16, then five u64
  mainTree: 96, // MDB_db of the data
  lastPage: 144, // u64
  transactionId: 152, // u64
} as const;
const TREE = { branchPages: 8, leafPages: 16, overflowPages: 24 } as const;
const LMDB_MAGIC = 0xbeefc0de;

export interface Checkpoint {
  generation: number;
  bootId: string;
  allocatedBytes: number;
  metaPage: Buffer;
}

/** What LMDB's meta page says; counts are pages. */
export interface MetaPageFacts {
  transactionId: number;
  lastPage: number;
  /** Pages that hold data or the trees over it; the rest up to lastPage is free. */
  usedPages: number;
}

/** Undefined when this is not a meta page. */
export function readMetaPage(page: Buffer): MetaPageFacts | undefined {
  if (page.readUInt32LE(META.magic) !== LMDB_MAGIC) return undefined;
  let usedPages = 2;
  for (const tree of [META.freeTree, META.mainTree]) {
    for (const field of [TREE.branchPages, TREE.leafPages, TREE.overflowPages]) {
      usedPages += Number(page.readBigUInt64LE(tree + field));
    }
  }
  const transactionId = Number(page.readBigUInt64LE(META.transactionId));
  const lastPage = Number(page.readBigUInt64LE(META.lastPage));
  if (!Number.isSafeInteger(transactionId + lastPage + usedPages)) return undefined;
  return { transactionId, lastPage, usedPages };
}

/** A slot's bytes, complete with CRC; into `slot` (zeroed once, a whole slot) where it is given. */
export function encodeCheckpoint(
  checkpoint: Checkpoint,
  slot: Buffer = Buffer.alloc(CHECKPOINT_SLOT_BYTES),
): Buffer {
  slot.writeUInt32LE(MAGIC, SLOT.magic);
  slot.writeUInt32LE(VERSION, SLOT.version);
  slot.writeBigUInt64LE(BigInt(checkpoint.generation), SLOT.generation);
  slot.write(checkpoint.bootId, SLOT.bootId, 36, 'latin1');
  slot.writeBigUInt64LE(BigInt(checkpoint.allocatedBytes), SLOT.allocatedBytes);
  checkpoint.metaPage.copy(slot, SLOT.page);
  slot.writeUInt32LE(0, SLOT.crc);
  slot.writeUInt32LE(crc32(slot.subarray(0, CRC_BYTES)), SLOT.crc);
  return slot;
}

/** Undefined when the slot is torn, foreign or empty, or holds no meta page. */
export function decodeCheckpoint(slot: Buffer): Checkpoint | undefined {
  if (slot.length < CRC_BYTES) return undefined;
  if (slot.readUInt32LE(SLOT.magic) !== MAGIC) return undefined;
  if (slot.readUInt32LE(SLOT.version) !== VERSION) return undefined;
  const copy = Buffer.from(slot.subarray(0, CRC_BYTES));
  copy.writeUInt32LE(0, SLOT.crc);
  if (crc32(copy) !== slot.readUInt32LE(SLOT.crc)) return undefined;
  const generation = Number(slot.readBigUInt64LE(SLOT.generation));
  const allocatedBytes = Number(slot.readBigUInt64LE(SLOT.allocatedBytes));
  if (!Number.isSafeInteger(generation) || !Number.isSafeInteger(allocatedBytes)) return undefined;
  const metaPage = copy.subarray(SLOT.page);
  if (readMetaPage(metaPage) === undefined) return undefined;
  return {
    generation,
    bootId: slot.toString('latin1', SLOT.bootId, SLOT.bootId + 36).replace(/\0+$/, ''),
    allocatedBytes,
    metaPage,
  };
}

/** The newest valid slot of a checkpoint file's bytes. */
export function newestCheckpoint(file: Buffer): Checkpoint | undefined {
  const first = decodeCheckpoint(file.subarray(0, CHECKPOINT_SLOT_BYTES));
  const second = decodeCheckpoint(file.subarray(CHECKPOINT_SLOT_BYTES));
  if (first === undefined || second === undefined) return first ?? second;
  return first.generation > second.generation ? first : second;
}

/** Where in the file the checkpoint of this generation lies. */
export function slotOffset(generation: number): number {
  return (generation % 2) * CHECKPOINT_SLOT_BYTES;
}

/** The file's first version, whole or not there at all. */
export function createCheckpointFile(path: string, checkpoint: Checkpoint): void {
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w');
  try {
    writeSync(fd, Buffer.alloc(CHECKPOINT_FILE_BYTES), 0, CHECKPOINT_FILE_BYTES, 0);
    const slot = encodeCheckpoint(checkpoint);
    writeSync(fd, slot, 0, slot.length, slotOffset(checkpoint.generation));
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  syncFolder(dirname(path));
}

/** Makes names in a folder durable. */
export function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Puts the checkpoint's meta page back into data.mdb, durably. A snapshot's page stands at its
 * transaction's parity; the other place gets the same tree with a lower transaction id, so that
 * LMDB picks this one.
 */
export function restoreMetaPage(dataPath: string, checkpoint: Checkpoint): void {
  const facts = readMetaPage(checkpoint.metaPage);
  if (facts === undefined) throw new Error('the checkpoint holds no meta page');
  const place = facts.transactionId % 2;
  const other = Buffer.from(checkpoint.metaPage);
  other.writeBigUInt64LE(BigInt(1 - place), 0); // its page number
  other.writeBigUInt64LE(BigInt(Math.max(0, facts.transactionId - 1)), META.transactionId);
  const fd = openSync(dataPath, 'r+');
  try {
    writeSync(fd, checkpoint.metaPage, 0, META_PAGE_BYTES, place * META_PAGE_BYTES);
    writeSync(fd, other, 0, META_PAGE_BYTES, (1 - place) * META_PAGE_BYTES);
    fdatasyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The newer of the two meta pages of an open environment; the file and the map are one memory. */
export function readCurrentMetaPage(fd: number, into: Buffer): MetaPageFacts | undefined {
  if (readSync(fd, into, 0, 2 * META_PAGE_BYTES, 0) !== 2 * META_PAGE_BYTES) return undefined;
  const first = readMetaPage(into.subarray(0, META_PAGE_BYTES));
  const second = readMetaPage(into.subarray(META_PAGE_BYTES));
  if (first === undefined || second === undefined) return first ?? second;
  return first.transactionId > second.transactionId ? first : second;
}
