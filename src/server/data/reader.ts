/**
 * Reads of chunks: the map is planned into segments, whole blocks are read into bulk slots, each
 * block is checked against its CRC, and the checksum of exactly the result is combined.
 *
 * In a slot, block b of its (up to 257) blocks has its expected CRC in word b of the slot's
 * headroom; so one native call checks a whole transfer.
 *
 *   slot   [ headroom: CRC words ][ b0 ][ b1 ][ b2 ] … [ b256 ]
 *   segments (what is sent):            ^^^^^^^^^^^        bytes of an extent inside its blocks
 *
 * A read sees the state of the last commit when it began. The blocks that it reads are not reused
 * before it ends: `oldestSequence` holds the allocator's quarantine.
 */
import { errno } from '../../common/errno.js';
import {
  crc32c,
  crc32cBlocks,
  crc32cCombine,
  crc32cCombineBlocks,
  crc32cExtendZeros,
  crc32cVerifyBlocks,
} from '../../native/crc32c.js';
import { ARENA_ZERO_BYTES } from '../../native/arena-memory.js';
import { blockBytes, inlineDataBytes } from '../../protocol/limits.generated.js';
import type { ChunkRead } from './chunk-read.js';
import { SLOT_BLOCKS } from './data-context.js';
import type { DataContext } from './data-context.js';
import { DeviceIo } from './device.js';
import { ExtentMap, INLINE_DEVICE, UNWRITTEN_DEVICE } from './extent-map.js';
import { chunkKey } from './keys.js';

/** From here on a segment's CRC is combined from its blocks' instead of being computed again. */
const COMBINE_FROM_BYTES = 65536;

/** One transfer of consecutive blocks into one slot. */
class ReadIo extends DeviceIo {
  read: ChunkRead | undefined;
  device = 0;
  block = 0;
  count = 0;
  arenaOffset = 0;
  /** Arena offset of the expected CRCs. */
  words = 0;
  readonly #reader: ChunkReader;

  constructor(reader: ChunkReader) {
    super();
    this.#reader = reader;
  }

  override ended(status: number): void {
    this.#reader.transferred(this, status);
  }
}

export class ChunkReader {
  readonly #context: DataContext;
  readonly #map = new ExtentMap();
  readonly #spare: ReadIo[] = [];
  /** Transfers of the read that is being planned. */
  readonly #planned: ReadIo[] = [];
  #waiting: ChunkRead[] = [];
  #oldest: ChunkRead | undefined;
  #newest: ChunkRead | undefined;

  constructor(context: DataContext) {
    this.#context = context;
  }

  /** Commits up to this one are seen by every read under way. */
  get oldestSequence(): number {
    return this.#oldest?.sequence ?? Infinity;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  read(read: ChunkRead): void {
    read.arena = this.#context.arena;
    read.reset();
    this.#context.counters.reads++;
    if ((this.#waiting.length === 0 || read.hasOwnSlots) && this.#begin(read)) return;
    if (read.hasOwnSlots) {
      read.done(errno.ENOBUFS);
      return;
    }
    this.#context.counters.slotWaits++;
    this.#waiting.push(read);
  }

  /** Bulk slots may have become free. */
  retry(): void {
    let begun = 0;
    while (begun < this.#waiting.length && this.#begin(this.#waiting[begun]!)) begun++;
    if (begun > 0) this.#waiting = this.#waiting.slice(begun);
  }

  /** False: no bulk slot is free, nothing has happened. */
  #begin(read: ChunkRead): boolean {
    const { store, counters } = this.#context;
    let status = 0;
    try {
      this.#map.load(store.get(chunkKey(read.bucket, read.inode, read.chunk)));
    } catch (error) {
      this.#context.log(`inode ${read.inode} chunk ${read.chunk}: ${String(error)}`);
      status = errno.EIO;
    }
    if (status !== 0) {
      read.done(status);
      return true;
    }
    const end = Math.min(read.offset + read.lengthBytes, this.#map.end);
    read.resultBytes = Math.max(0, end - read.offset);
    if (this.#readInline(read, end)) return true;
    if (!this.#plan(read, end)) {
      this.#dropPlan(read);
      read.reset();
      return false;
    }
    counters.readBytes += read.resultBytes;
    this.#start(read);
    return true;
  }

  /** Small results without device blocks are answered at once. */
  #readInline(read: ChunkRead, end: number): boolean {
    const map = this.#map;
    if (read.resultBytes > inlineDataBytes) return false;
    if (!copyInline(map, read.offset, end, read.small, 0)) return false;
    read.isInline = true;
    read.done(0);
    return true;
  }

  /**
   * The first `lengthBytes` bytes of an inode's first chunk, at most inlineDataBytes, holes as zeros, if none
   * of them lies on a device: true. At once, without a checksum.
   */
  readSmall(
    bucket: number,
    inode: number,
    lengthBytes: number,
    to: Uint8Array,
    toOffset: number,
  ): boolean {
    try {
      this.#map.load(this.#context.store.get(chunkKey(bucket, inode, 0)));
    } catch (error) {
      this.#context.log(`inode ${inode} chunk 0: ${String(error)}`);
      return false;
    }
    if (!copyInline(this.#map, 0, lengthBytes, to, toOffset)) return false;
    this.#context.counters.reads++;
    this.#context.counters.readBytes += lengthBytes;
    return true;
  }

  /** False: a slot is needed and none is free. */
  #plan(read: ChunkRead, end: number): boolean {
    const map = this.#map;
    let position = read.offset;
    for (let i = map.firstEndingAfter(position); position < end; i++) {
      if (i === map.count || map.offsets[i]! >= end) {
        this.#addHole(read, end - position);
        return true;
      }
      const offset = map.offsets[i]!;
      if (offset > position) {
        this.#addHole(read, offset - position);
        position = offset;
      }
      const to = Math.min(end, offset + map.lengths[i]!);
      if (map.devices[i] === UNWRITTEN_DEVICE) this.#addHole(read, to - position);
      else if (!this.#addPart(read, i, position, to)) return false;
      position = to;
    }
    return true;
  }

  #addHole(read: ChunkRead, lengthBytes: number): void {
    for (let left = lengthBytes; left > 0; left -= ARENA_ZERO_BYTES) {
      const length = Math.min(left, ARENA_ZERO_BYTES);
      read.addSegment(this.#context.arena.zeroOffset, length, false);
    }
  }

  /** Bytes [from, to) of extent `i`, over as many slots as it takes. */
  #addPart(read: ChunkRead, i: number, from: number, to: number): boolean {
    const map = this.#map;
    const inline = map.devices[i] === INLINE_DEVICE;
    let position = (inline ? 0 : map.skips[i]!) + from - map.offsets[i]!;
    let left = to - from;
    while (left > 0) {
      if (!this.#haveRoom(read)) return false;
      const within = inline ? 0 : position % blockBytes;
      const room = SLOT_BLOCKS - read.slotBlocks;
      const count = Math.min(room, Math.ceil((within + left) / blockBytes));
      const length = Math.min(left, count * blockBytes - within);
      const slot = read.slots[read.slotCount - 1]!;
      const at = slot + read.slotBlocks * blockBytes;
      if (inline) {
        const start = map.blocks[i]! + position;
        this.#context.arena.bytes.set(map.inline.subarray(start, start + length), at);
        const words = slot - blockBytes + read.slotBlocks * 4;
        crc32cBlocks(this.#context.arena, at, length, words);
      } else {
        this.#addTransfer(read, i, Math.floor(position / blockBytes), count, slot, at);
      }
      read.slotBlocks += count;
      read.addSegment(at + within, length, true);
      position += length;
      left -= length;
    }
    return true;
  }

  #haveRoom(read: ChunkRead): boolean {
    if (read.slotCount > 0 && read.slotBlocks < SLOT_BLOCKS) return true;
    const slot = read.takeSlot(this.#context.arena);
    if (slot === 0) return false;
    read.addSlot(slot);
    return true;
  }

  /** `count` blocks of extent `i` from its block `index` on. */
  #addTransfer(
    read: ChunkRead,
    i: number,
    index: number,
    count: number,
    slot: number,
    at: number,
  ): void {
    const map = this.#map;
    const { words } = this.#context.arena;
    const device = map.devices[i]!;
    const block = map.blocks[i]! + index;
    const wordsAt = slot - blockBytes + read.slotBlocks * 4;
    for (let k = 0; k < count; k++) {
      words[wordsAt / 4 + k] = map.crcs[map.crcStarts[i]! + index + k]!;
    }
    const last = this.#planned[this.#planned.length - 1];
    if (
      last?.device === device &&
      last.block + last.count === block &&
      last.arenaOffset + last.count * blockBytes === at
    ) {
      last.count += count;
      return;
    }
    const io = this.#spare.pop() ?? new ReadIo(this);
    io.read = read;
    io.device = device;
    io.block = block;
    io.count = count;
    io.arenaOffset = at;
    io.words = wordsAt;
    this.#planned.push(io);
  }

  #dropPlan(read: ChunkRead): void {
    for (const io of this.#planned) this.#spare.push(io);
    this.#planned.length = 0;
    read.release();
  }

  #start(read: ChunkRead): void {
    this.#enlist(read);
    // One more than the transfers, so that the read cannot end while they are being submitted.
    read.outstanding = this.#planned.length + 1;
    for (let i = 0; i < this.#planned.length; i++) {
      const io = this.#planned[i]!;
      const device = this.#context.disks.inUse(io.device);
      if (device === undefined) {
        read.status = errno.EIO;
        read.outstanding--;
        this.#spare.push(io);
      } else {
        device.read(io, io.block, io.count, io.arenaOffset);
      }
    }
    this.#planned.length = 0;
    this.#oneLess(read);
  }

  transferred(io: ReadIo, status: number): void {
    const read = io.read!;
    const { arena, counters, disks, log } = this.#context;
    if (status !== 0) {
      disks.fail(io.device, status, `read of ${io.count} blocks at ${io.block}`);
      read.status = errno.EIO;
    } else {
      const bad = crc32cVerifyBlocks(arena, io.arenaOffset, io.count * blockBytes, io.words);
      if (bad >= 0) {
        counters.readChecksumErrors++;
        read.status = errno.EIO;
        log(
          `device ${io.device}: block ${io.block + bad} does not match its CRC ` +
            `(inode ${read.inode} chunk ${read.chunk})`,
        );
      }
    }
    io.read = undefined;
    this.#spare.push(io);
    this.#oneLess(read);
  }

  #oneLess(read: ChunkRead): void {
    if (--read.outstanding > 0) return;
    this.#delist(read);
    if (read.status !== 0) {
      read.release();
    } else {
      this.#markReleases(read);
      if (read.resultBytes > inlineDataBytes) read.checksum = this.#checksum(read);
    }
    read.done(read.status);
  }

  /** The last segment of each slot gives it back. Slots are filled one after the other. */
  #markReleases(read: ChunkRead): void {
    let slot = read.slotCount - 1;
    for (let i = read.segmentCount - 1; i >= 0 && slot >= 0; i--) {
      const first = read.slots[slot]!;
      const offset = read.segmentOffsets[i]!;
      if (offset < first || offset >= first + SLOT_BLOCKS * blockBytes) continue;
      read.segmentReleases[i] = 1;
      slot--;
    }
  }

  #checksum(read: ChunkRead): number {
    const { arena } = this.#context;
    let crc = 0;
    for (let i = 0; i < read.segmentCount; i++) {
      const offset = read.segmentOffsets[i]!;
      const length = read.segmentLengths[i]!;
      if (offset === arena.zeroOffset) {
        crc = crc32cExtendZeros(crc, length);
      } else if (length < COMBINE_FROM_BYTES || offset % blockBytes !== 0) {
        crc = crc32c(arena, offset, length, crc);
      } else {
        crc = crc32cCombine(crc, this.#segmentCrc(read, offset, length), length);
      }
    }
    return crc;
  }

  /** Of a segment that begins at a block: the verified CRCs of its whole blocks, and its tail's. */
  #segmentCrc(read: ChunkRead, offset: number, length: number): number {
    const { arena } = this.#context;
    let slot = 0;
    while (offset < read.slots[slot]! || offset >= read.slots[slot]! + SLOT_BLOCKS * blockBytes) {
      slot++;
    }
    const first = read.slots[slot]!;
    const whole = Math.floor(length / blockBytes);
    const words = first - blockBytes + ((offset - first) / blockBytes) * 4;
    const crc = crc32cCombineBlocks(arena, words, whole);
    const done = whole * blockBytes;
    return done === length ? crc : crc32c(arena, offset + done, length - done, crc);
  }

  #enlist(read: ChunkRead): void {
    read.sequence = this.#context.store.commitSequence;
    read.older = this.#newest;
    read.newer = undefined;
    if (this.#newest === undefined) this.#oldest = read;
    else this.#newest.newer = read;
    this.#newest = read;
  }

  #delist(read: ChunkRead): void {
    if (read.older === undefined) this.#oldest = read.newer;
    else read.older.newer = read.newer;
    if (read.newer === undefined) this.#newest = read.older;
    else read.newer.older = read.older;
    read.older = undefined;
    read.newer = undefined;
  }
}

/**
 * Bytes [offset, end) of a chunk, holes as zeros, to `to` from `toOffset` on. False, and nothing is
 * copied: some lie on a device.
 */
function copyInline(
  map: ExtentMap,
  offset: number,
  end: number,
  to: Uint8Array,
  toOffset: number,
): boolean {
  const first = map.firstEndingAfter(offset);
  for (let i = first; i < map.count && map.offsets[i]! < end; i++) {
    if (map.hasBlocks(i)) return false;
  }
  if (end <= offset) return true;
  to.fill(0, toOffset, toOffset + end - offset);
  for (let i = first; i < map.count && map.offsets[i]! < end; i++) {
    if (map.devices[i] === UNWRITTEN_DEVICE) continue;
    const from = Math.max(offset, map.offsets[i]!);
    const stop = Math.min(end, map.offsets[i]! + map.lengths[i]!);
    const at = map.blocks[i]! + from - map.offsets[i]!;
    to.set(map.inline.subarray(at, at + stop - from), toOffset + from - offset);
  }
  return true;
}
