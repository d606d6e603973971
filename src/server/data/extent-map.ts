/**
 * A chunk's extent map: which bytes of the chunk lie where. Pure code: it loads a chunk value
 * (layout: docs/formats/data.md), replaces byte ranges and stores it again, without I/O.
 *
 * Copy-on-write at byte granularity: a write goes to fresh blocks, then its extents take the place
 * of whatever the map had in that range; extents that it covers in part are trimmed or split:
 *
 *   before   [ a a a a a a ][ b b b b ]          a trimmed extent keeps its blocks that still hold
 *   splice         [ n n n n n n ]               live bytes; blocks that no extent of the new map
 *   after    [ a a ][ n n n n n n ][ b ]         touches are free
 *
 * Every extent has a CRC-32C for each block that it touches, of the whole block as it was written,
 * so a trimmed extent is still verifiable. Bytes of a small write that end within the first
 * inlineDataBytes of the chunk lie in the value itself, as extents of device INLINE_DEVICE: so no
 * data ever has to be moved before a commit. An extent of UNWRITTEN_DEVICE has no bytes: they read
 * as zeros, and space for them is promised (allocator.ts).
 */
import { SealfsError } from '../../common/errors.js';
import { ChunkExtent, ChunkHeader, ChunkKind } from '../../protocol/data-format.generated.js';
import {
  blockBytes,
  chunkBytes,
  extentsPerChunkMax,
  inlineDataBytes,
} from '../../protocol/limits.generated.js';

/** Device number of extents whose bytes lie in the value; `block` is then a byte position there. */
export const INLINE_DEVICE = 0xffff;
/** Device number of extents that are promised space and have no data; `block` and `skip` are 0. */
export const UNWRITTEN_DEVICE = 0xfffe;

const HEADER_BYTES = ChunkHeader.SIZE;
const EXTENT_BYTES = ChunkExtent.SIZE;
// Words of header and extents; device and skip share one, device in the low half.
const KIND_WORD = ChunkHeader.kind / 4;
const END_WORD = ChunkHeader.end / 4;
const EXTENT_WORDS = EXTENT_BYTES / 4;
const OFFSET_WORD = ChunkExtent.offset / 4;
const LENGTH_WORD = ChunkExtent.length / 4;
const DEVICE_WORD = ChunkExtent.device / 4;
const BLOCK_WORD = ChunkExtent.block / 4;

/** Room for a map at its limit and one splice of a fragmented write into it. */
export const EXTENTS_CAPACITY = 4 * extentsPerChunkMax;
const CRC_CAPACITY = chunkBytes / blockBytes + 2 * EXTENTS_CAPACITY;
const VALUE_BYTES_MAX =
  HEADER_BYTES + EXTENTS_CAPACITY * EXTENT_BYTES + CRC_CAPACITY * 4 + inlineDataBytes;

// Values are loaded from and stored in this memory, because those of the store are not aligned.
const valueBytes = new Uint8Array(VALUE_BYTES_MAX);
const valueWords = new Uint32Array(valueBytes.buffer);

function corrupt(what: string): never {
  throw new SealfsError('CORRUPT', `a chunk's extent map is damaged: ${what}`);
}

export class ExtentMap {
  /** Extents, ascending and disjoint. */
  count = 0;
  /** Byte after the last written one, in the chunk. */
  end = 0;
  crcCount = 0;
  /** Used bytes of `inline`. */
  inlineBytes = 0;
  /** How many extents are unwritten. */
  unwrittenCount = 0;
  readonly offsets = new Uint32Array(EXTENTS_CAPACITY);
  readonly lengths = new Uint32Array(EXTENTS_CAPACITY);
  readonly devices = new Uint16Array(EXTENTS_CAPACITY);
  /** Bytes of the first block before the extent's own. */
  readonly skips = new Uint16Array(EXTENTS_CAPACITY);
  /** First block; for INLINE_DEVICE the position in `inline`. */
  readonly blocks = new Uint32Array(EXTENTS_CAPACITY);
  /** Index in `crcs` of the first block's CRC; one for each block touched. */
  readonly crcStarts = new Uint32Array(EXTENTS_CAPACITY);
  readonly crcs = new Uint32Array(CRC_CAPACITY);
  readonly inline = new Uint8Array(inlineDataBytes);

  clear(): void {
    this.count = 0;
    this.end = 0;
    this.crcCount = 0;
    this.inlineBytes = 0;
    this.unwrittenCount = 0;
  }

  /** Whether extent `i` lies on a device: neither inline nor unwritten. */
  hasBlocks(i: number): boolean {
    return this.devices[i]! < UNWRITTEN_DEVICE;
  }

  /** Blocks of the device that extent `i` touches; 0 for one that has none. */
  blockCount(i: number): number {
    if (!this.hasBlocks(i)) return 0;
    return Math.ceil((this.skips[i]! + this.lengths[i]!) / blockBytes);
  }

  /** Blocks that the unwritten extents are promised: for each of them what its bytes would fill. */
  promisedBlocks(): number {
    if (this.unwrittenCount === 0) return 0;
    let blocks = 0;
    for (let i = 0; i < this.count; i++) {
      if (this.devices[i] === UNWRITTEN_DEVICE) blocks += Math.ceil(this.lengths[i]! / blockBytes);
    }
    return blocks;
  }

  /** Bytes of [from, to) that are unwritten. */
  unwrittenBytes(from: number, to: number): number {
    if (this.unwrittenCount === 0) return 0;
    let bytes = 0;
    for (let i = this.firstEndingAfter(from); i < this.count && this.offsets[i]! < to; i++) {
      if (this.devices[i] !== UNWRITTEN_DEVICE) continue;
      const end = Math.min(to, this.offsets[i]! + this.lengths[i]!);
      bytes += end - Math.max(from, this.offsets[i]!);
    }
    return bytes;
  }

  /** Index of the first extent that ends after `offset`; `count` if there is none. */
  firstEndingAfter(offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.offsets[middle]! + this.lengths[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** First byte from `from` on that has been written; -1: none. */
  firstData(from: number): number {
    for (let i = this.firstEndingAfter(from); i < this.count; i++) {
      if (this.devices[i] !== UNWRITTEN_DEVICE) return Math.max(from, this.offsets[i]!);
    }
    return -1;
  }

  /** First byte from `from` on that has not; chunkBytes: none. */
  firstHole(from: number): number {
    let at = from;
    for (let i = this.firstEndingAfter(from); i < this.count; i++) {
      if (this.offsets[i]! > at || this.devices[i] === UNWRITTEN_DEVICE) return at;
      at = this.offsets[i]! + this.lengths[i]!;
    }
    return at;
  }

  /**
   * Adds an extent behind all others, joined with the last one where it goes on right behind it on
   * the device. Its CRCs are those of `crcs` from `crcIndex` on, one for each block touched.
   */
  append(
    offset: number,
    length: number,
    device: number,
    skip: number,
    block: number,
    crcs: Uint32Array,
    crcIndex: number,
  ): void {
    const blocks = Math.ceil((skip + length) / blockBytes);
    if (this.crcCount + blocks > CRC_CAPACITY) corrupt('too many blocks');
    for (let i = 0; i < blocks; i++) this.crcs[this.crcCount + i] = crcs[crcIndex + i]!;
    const last = this.count - 1;
    if (skip === 0 && last >= 0 && this.#goesOn(last, offset, device, block)) {
      this.lengths[last]! += length;
    } else {
      this.#add(offset, length, device, skip, block);
    }
    this.crcCount += blocks;
    this.end = Math.max(this.end, offset + length);
  }

  /** The same for bytes that lie in the value; they are copied. */
  appendInline(offset: number, length: number, bytes: Uint8Array, at: number): void {
    if (this.inlineBytes + length > inlineDataBytes) corrupt('too many inline bytes');
    copyBytes(bytes, at, this.inline, this.inlineBytes, length);
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.devices[last] === INLINE_DEVICE &&
      this.offsets[last]! + this.lengths[last]! === offset
    ) {
      this.lengths[last]! += length;
    } else {
      this.#add(offset, length, INLINE_DEVICE, 0, this.inlineBytes);
    }
    this.inlineBytes += length;
    this.end = Math.max(this.end, offset + length);
  }

  /** The same for bytes that are only promised space. */
  appendUnwritten(offset: number, length: number): void {
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.devices[last] === UNWRITTEN_DEVICE &&
      this.offsets[last]! + this.lengths[last]! === offset
    ) {
      this.lengths[last]! += length;
    } else {
      this.#add(offset, length, UNWRITTEN_DEVICE, 0, 0);
    }
    this.end = Math.max(this.end, offset + length);
  }

  /** Adds [from, to) of extent `i` of another map: a copy, with the blocks that it still touches. */
  appendPart(source: ExtentMap, i: number, from: number, to: number): void {
    const delta = from - source.offsets[i]!;
    const device = source.devices[i]!;
    if (device === UNWRITTEN_DEVICE) {
      this.appendUnwritten(from, to - from);
      return;
    }
    if (device === INLINE_DEVICE) {
      this.appendInline(from, to - from, source.inline, source.blocks[i]! + delta);
      return;
    }
    const position = source.skips[i]! + delta;
    const block = Math.floor(position / blockBytes);
    this.append(
      from,
      to - from,
      device,
      position % blockBytes,
      source.blocks[i]! + block,
      source.crcs,
      source.crcStarts[i]! + block,
    );
  }

  /** Adds what this map has written in [from, to) to `out`, behind all that is there. */
  appendWritten(from: number, to: number, out: ExtentMap): void {
    for (let i = this.firstEndingAfter(from); i < this.count && this.offsets[i]! < to; i++) {
      if (this.devices[i] === UNWRITTEN_DEVICE) continue;
      const end = Math.min(to, this.offsets[i]! + this.lengths[i]!);
      out.appendPart(this, i, Math.max(from, this.offsets[i]!), end);
    }
  }

  /** Whether any extent of the map touches this block. */
  touches(device: number, block: number): boolean {
    for (let i = 0; i < this.count; i++) {
      if (this.devices[i] !== device) continue;
      const first = this.blocks[i]!;
      if (block >= first && block < first + this.blockCount(i)) return true;
    }
    return false;
  }

  /** Reads a chunk value; undefined: an empty map. Throws SealfsError CORRUPT. */
  load(value: Uint8Array | undefined): void {
    this.clear();
    if (value === undefined) return;
    if (value.length < HEADER_BYTES || value.length > VALUE_BYTES_MAX) corrupt('its length');
    valueBytes.set(value);
    const kind = valueBytes[ChunkHeader.kind]!;
    const end = valueWords[END_WORD]!;
    if (kind === ChunkKind.Inline) {
      if (HEADER_BYTES + end !== value.length || end > inlineDataBytes) corrupt('inline length');
      if (end > 0) this.appendInline(0, end, valueBytes, HEADER_BYTES);
      return;
    }
    if (kind !== ChunkKind.Extents) corrupt(`kind ${kind}`);
    this.#loadExtents(valueWords[KIND_WORD]! >>> 16, value.length);
    if (this.end > end || end > chunkBytes) corrupt('its end');
    this.end = end;
  }

  /** The chunk value; valid until the next load or store of any map. */
  store(): Uint8Array {
    if (this.#allInline()) return this.#storeInline();
    valueWords[KIND_WORD] = ChunkKind.Extents | (this.count << 16);
    valueWords[END_WORD] = this.end;
    let word = HEADER_BYTES / 4;
    for (let i = 0; i < this.count; i++, word += EXTENT_WORDS) {
      valueWords[word + OFFSET_WORD] = this.offsets[i]!;
      valueWords[word + LENGTH_WORD] = this.lengths[i]!;
      valueWords[word + DEVICE_WORD] = this.devices[i]! | (this.skips[i]! << 16);
      valueWords[word + BLOCK_WORD] = this.blocks[i]!;
    }
    for (let i = 0; i < this.crcCount; i++) valueWords[word + i] = this.crcs[i]!;
    const at = (word + this.crcCount) * 4;
    copyBytes(this.inline, 0, valueBytes, at, this.inlineBytes);
    return valueBytes.subarray(0, at + this.inlineBytes);
  }

  #goesOn(last: number, offset: number, device: number, block: number): boolean {
    if (device >= UNWRITTEN_DEVICE || this.devices[last] !== device) return false;
    if (this.offsets[last]! + this.lengths[last]! !== offset) return false;
    const bytes = this.skips[last]! + this.lengths[last]!;
    return bytes % blockBytes === 0 && this.blocks[last]! + bytes / blockBytes === block;
  }

  #add(offset: number, length: number, device: number, skip: number, block: number): void {
    const i = this.count;
    if (i === EXTENTS_CAPACITY) corrupt('too many extents');
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.devices[i] = device;
    this.skips[i] = skip;
    this.blocks[i] = block;
    this.crcStarts[i] = this.crcCount;
    this.count = i + 1;
    if (device === UNWRITTEN_DEVICE) this.unwrittenCount++;
  }

  #loadExtents(count: number, valueLength: number): void {
    const first = HEADER_BYTES / 4;
    let crcWord = first + count * EXTENT_WORDS;
    let inlineAt = 0;
    if (crcWord * 4 > valueLength) corrupt('extent count');
    for (let i = 0, before = 0; i < count; i++) {
      const word = first + i * EXTENT_WORDS;
      const offset = valueWords[word + OFFSET_WORD]!;
      const length = valueWords[word + LENGTH_WORD]!;
      const device = valueWords[word + DEVICE_WORD]! & 0xffff;
      const skip = valueWords[word + DEVICE_WORD]! >>> 16;
      if (offset < before || length === 0 || offset + length > chunkBytes || skip >= blockBytes) {
        corrupt(`extent ${i}`);
      }
      before = offset + length;
      const block = valueWords[word + BLOCK_WORD]!;
      if (device === UNWRITTEN_DEVICE && skip + block !== 0) corrupt(`unwritten extent ${i}`);
      this.#add(offset, length, device, skip, block);
      this.crcCount += this.blockCount(i);
      if (device === INLINE_DEVICE) inlineAt += length;
    }
    this.end = count === 0 ? 0 : this.offsets[count - 1]! + this.lengths[count - 1]!;
    if ((crcWord + this.crcCount) * 4 + inlineAt !== valueLength) corrupt('its length');
    if (inlineAt > inlineDataBytes || this.crcCount > CRC_CAPACITY) corrupt('its size');
    for (let i = 0; i < this.crcCount; i++) this.crcs[i] = valueWords[crcWord++]!;
    copyBytes(valueBytes, crcWord * 4, this.inline, 0, inlineAt);
    this.inlineBytes = inlineAt;
    for (let i = 0; i < count; i++) {
      if (this.devices[i] !== INLINE_DEVICE) continue;
      if (this.blocks[i]! + this.lengths[i]! > inlineAt) corrupt(`inline extent ${i}`);
    }
  }

  #allInline(): boolean {
    if (this.end > inlineDataBytes) return false;
    for (let i = 0; i < this.count; i++) if (this.devices[i] !== INLINE_DEVICE) return false;
    return true;
  }

  #storeInline(): Uint8Array {
    valueWords[KIND_WORD] = ChunkKind.Inline;
    valueWords[END_WORD] = this.end;
    valueBytes.fill(0, HEADER_BYTES, HEADER_BYTES + this.end);
    for (let i = 0; i < this.count; i++) {
      const to = HEADER_BYTES + this.offsets[i]!;
      copyBytes(this.inline, this.blocks[i]!, valueBytes, to, this.lengths[i]!);
    }
    return valueBytes.subarray(0, HEADER_BYTES + this.end);
  }
}

/** Small copies are loops: a subarray and a call cost more. */
function copyBytes(
  from: Uint8Array,
  fromAt: number,
  to: Uint8Array,
  toAt: number,
  length: number,
): void {
  if (length > 64) {
    to.set(from.subarray(fromAt, fromAt + length), toAt);
    return;
  }
  for (let i = 0; i < length; i++) to[toAt + i] = from[fromAt + i]!;
}
