/**
 * CRC-32C (RFC 3720) over arena memory: the typed face of the addon sealfs_crc. Positions are arena
 * offsets in bytes; a range outside the arena throws RangeError. Works over every ArenaMemory, a
 * plain ArrayBuffer's too. None of these writes to the data or the room behind it: padding with
 * zeros is computed, not stored.
 */
import type { ArenaMemory } from './arena-memory.js';
import { loadAddon } from './load.js';

interface CrcAddon {
  crc(arena: ArrayBuffer, offset: number, lengthBytes: number, before: number): number;
  blocks(arena: ArrayBuffer, offset: number, lengthBytes: number, wordsOffset: number): void;
  verify(arena: ArrayBuffer, offset: number, lengthBytes: number, wordsOffset: number): number;
  combineBlocks(arena: ArrayBuffer, wordsOffset: number, count: number): number;
  combine(crcA: number, crcB: number, lengthBytesB: number): number;
  extendZeros(crc: number, lengthBytes: number): number;
}

const addon = loadAddon<CrcAddon>('sealfs_crc');

/** CRC of [offset, offset + lengthBytes); `before` is the CRC of the bytes before them. */
export function crc32c(
  arena: ArenaMemory,
  offset: number,
  lengthBytes: number,
  before = 0,
): number {
  return addon.crc(arena.buffer, offset, lengthBytes, before);
}

/** CRC of bytes outside an arena (superblocks, tests); makes no copy. */
export function crc32cOf(bytes: Uint8Array): number {
  return addon.crc(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length, 0);
}

/**
 * One CRC for every started 4 KiB of the range, the last one as if padded with zeros to 4 KiB,
 * stored as u32 words from byte `wordsOffset` on (a multiple of 4).
 */
export function crc32cBlocks(
  arena: ArenaMemory,
  offset: number,
  lengthBytes: number,
  wordsOffset: number,
): void {
  addon.blocks(arena.buffer, offset, lengthBytes, wordsOffset);
}

/** Index of the first block whose CRC is not the stored one (as by crc32cBlocks), or -1. */
export function crc32cVerifyBlocks(
  arena: ArenaMemory,
  offset: number,
  lengthBytes: number,
  wordsOffset: number,
): number {
  return addon.verify(arena.buffer, offset, lengthBytes, wordsOffset);
}

/** CRC of `count` whole 4 KiB blocks laid end to end, from their CRCs at `wordsOffset`. */
export function crc32cCombineBlocks(
  arena: ArenaMemory,
  wordsOffset: number,
  count: number,
): number {
  return addon.combineBlocks(arena.buffer, wordsOffset, count);
}

/** CRC of A followed by B. */
export function crc32cCombine(crcA: number, crcB: number, lengthBytesB: number): number {
  return addon.combine(crcA, crcB, lengthBytesB);
}

/** CRC of the bytes of `crc` followed by `lengthBytes` zeros. */
export function crc32cExtendZeros(crc: number, lengthBytes: number): number {
  return addon.extendZeros(crc, lengthBytes);
}
