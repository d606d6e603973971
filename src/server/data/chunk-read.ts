/**
 * A read of bytes within one chunk. A pooled record: its owner extends it, fills the inputs, and
 * gets the result in `done`: segments of arena memory that are sent as they are (holes are segments
 * of the arena's zeros).
 *
 * Results of at most inlineDataBytes may lie outside the arena: take them with `copyTo`, inside
 * `done` or later. Larger ones are sent from the segments; each bulk slot among them then belongs
 * to the caller, to be given back after its last segment (`segmentReleases`).
 */
import type { ArenaMemory } from '../../native/arena-memory.js';
import { crc32c } from '../../native/crc32c.js';
import { inlineDataBytes } from '../../protocol/limits.generated.js';

const SEGMENTS = 16;

export abstract class ChunkRead {
  // ---- inputs
  bucket = 0;
  inode = 0;
  chunk = 0;
  /** In the chunk. */
  offset = 0;
  lengthBytes = 0;

  // ---- result, valid from done(0) on
  /** Less than lengthBytes only where the chunk's data ends: the rest is zeros. */
  resultBytes = 0;
  segmentCount = 0;
  segmentOffsets: Uint32Array = new Uint32Array(SEGMENTS);
  segmentLengths: Uint32Array = new Uint32Array(SEGMENTS);
  /** 1: the bulk slot that holds this segment is given back after it. */
  segmentReleases = new Uint8Array(SEGMENTS);
  /** CRC-32C of exactly the result's bytes; of a small result only after copyTo. */
  checksum = 0;

  // ---- the chunk store's
  /** The result lies in `small`, not in segments. */
  isInline = false;
  outstanding = 0;
  status = 0;
  slots: Uint32Array = new Uint32Array(4);
  slotCount = 0;
  /** Blocks used of the last slot. */
  slotBlocks = 0;
  /** The commit that this read sees; its neighbours among the reads under way, by age. */
  sequence = 0;
  older: ChunkRead | undefined;
  newer: ChunkRead | undefined;
  arena: ArenaMemory | undefined;
  #small: Uint8Array | undefined;

  get small(): Uint8Array {
    return (this.#small ??= new Uint8Array(inlineDataBytes));
  }

  /** 0, or EIO: a device or a checksum failed. May be called from inside `read`. */
  abstract done(status: number): void;

  /** It has slots of its own (see takeSlot): it does not wait for any, but fails without. */
  get hasOwnSlots(): boolean {
    return false;
  }

  /** Taking a slot: from the arena's pool, unless a subclass has slots of its own. 0: none. */
  takeSlot(arena: ArenaMemory): number {
    return arena.bulk.take();
  }

  giveSlot(arena: ArenaMemory, slot: number): void {
    arena.bulk.give(slot);
  }

  /**
   * Copies a result of at most inlineDataBytes to arena memory, sets `checksum` and gives the slots
   * back; the record may then be used again.
   */
  copyTo(arenaOffset: number): void {
    const arena = this.arena!;
    if (this.isInline) {
      arena.bytes.set(this.small.subarray(0, this.resultBytes), arenaOffset);
    } else {
      let at = arenaOffset;
      for (let i = 0; i < this.segmentCount; i++) {
        const from = this.segmentOffsets[i]!;
        const length = this.segmentLengths[i]!;
        arena.bytes.copyWithin(at, from, from + length);
        at += length;
      }
    }
    this.checksum = crc32c(arena, arenaOffset, this.resultBytes);
    this.release();
  }

  /** Gives the slots back unused: nobody wants the result any more. */
  release(): void {
    for (let i = 0; i < this.slotCount; i++) this.giveSlot(this.arena!, this.slots[i]!);
    this.slotCount = 0;
    this.segmentCount = 0;
  }

  /** After the segments, with their slots, were handed on: forgets them. */
  handedOn(): void {
    this.slotCount = 0;
    this.segmentCount = 0;
  }

  addSlot(slot: number): void {
    if (this.slotCount === this.slots.length) this.slots = grown(this.slots);
    this.slots[this.slotCount++] = slot;
    this.slotBlocks = 0;
  }

  /** Adds a segment, joined with the last one where it goes on behind it. */
  addSegment(offset: number, length: number, joins: boolean): void {
    const last = this.segmentCount - 1;
    if (joins && last >= 0 && this.segmentOffsets[last]! + this.segmentLengths[last]! === offset) {
      this.segmentLengths[last]! += length;
      return;
    }
    if (this.segmentCount === this.segmentOffsets.length) {
      this.segmentOffsets = grown(this.segmentOffsets);
      this.segmentLengths = grown(this.segmentLengths);
      const releases = new Uint8Array(this.segmentOffsets.length);
      releases.set(this.segmentReleases);
      this.segmentReleases = releases;
    }
    this.segmentOffsets[this.segmentCount] = offset;
    this.segmentLengths[this.segmentCount] = length;
    this.segmentReleases[this.segmentCount] = 0;
    this.segmentCount++;
  }

  reset(): void {
    this.segmentCount = 0;
    this.slotCount = 0;
    this.slotBlocks = 0;
    this.resultBytes = 0;
    this.checksum = 0;
    this.status = 0;
    this.outstanding = 0;
    this.isInline = false;
  }
}

function grown(array: Uint32Array): Uint32Array {
  const larger = new Uint32Array(array.length * 2);
  larger.set(array);
  return larger;
}
