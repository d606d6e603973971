/**
 * Reads all blocks of a chunk from its devices and compares them with their CRCs, a transfer at a
 * time, in the background: it takes a bulk slot only while enough of them are free.
 *
 *   load the map ─> for each extent: read its blocks into a slot ─> compare ─> next ─> done
 *                        ^──────── the chunk was changed meanwhile: from the start ───┘
 *
 * Nothing keeps a commit from changing the chunk, and its old blocks from being used again, while it is
 * read. So a block that does not match counts only if the chunk's value is still the same after it.
 * A medium's error is reported as damage; it takes no device out of use, which a client's read does.
 */
import { errnoName } from '../../common/errno.js';
import { crc32cVerifyBlocks } from '../../native/crc32c.js';
import { blockBytes, chunkBytes } from '../../protocol/limits.generated.js';
import type { ChunkPlace } from './chunk-walk.js';
import type { DataContext } from './data-context.js';
import { CallbackIo } from './device.js';
import { ExtentMap } from './extent-map.js';
import { chunkKey } from './keys.js';

const BLOCKS_PER_TRANSFER = chunkBytes / blockBytes;
/** One in so many of the arena's bulk slots stays free for others. */
const SLOTS_KEPT_SHARE = 4;
/** When too few slots are free. */
const SLOT_WAIT_MS = 5;
/** A chunk that is changed so often while it is read has data that was just written. */
const ATTEMPTS_MAX = 3;

/** What was found of one chunk. */
export interface VerifierSink {
  /**
   * An extent that is not what was written. `offset`: of its first damaged block's bytes, in the
   * chunk. `device` -1: the chunk's record is damaged.
   */
  damaged(
    place: ChunkPlace,
    offset: number,
    lengthBytes: number,
    device: number,
    block: number,
    reason: string,
  ): void;
  /** The chunk is done: bytes that were read, extents that were looked at, and those that could not be. */
  verified(readBytes: number, extents: number, skipped: number): void;
}

interface FoundDamage {
  extent: number;
  offset: number;
  block: number;
  reason: string;
}

export type VerifierContext = Pick<DataContext, 'arena' | 'scheduler' | 'store' | 'disks'>;

/** One chunk at a time. */
export class ChunkVerifier {
  readonly #context: VerifierContext;
  readonly #sink: VerifierSink;
  readonly #map = new ExtentMap();
  readonly #io: CallbackIo;
  #place: ChunkPlace = { bucket: 0, inode: 0, chunk: 0 };
  /** As it was loaded. */
  #value: Uint8Array | undefined;
  #found: FoundDamage[] = [];
  #attempts = 0;
  /** The transfer: blocks [#index, #index + #count) of extent #extent, into #slot. */
  #extent = 0;
  #index = 0;
  #count = 0;
  #slot = 0;
  #readBytes = 0;
  #skipped = 0;
  #closed = false;

  constructor(context: VerifierContext, sink: VerifierSink) {
    this.#context = context;
    this.#sink = sink;
    this.#io = new CallbackIo((status) => {
      this.#transferred(status);
    });
  }

  /** `verified` of the sink follows, perhaps before this returns. */
  verify(place: ChunkPlace): void {
    this.#place = place;
    this.#attempts = 0;
    this.#readBytes = 0;
    this.#begin();
  }

  /** A transfer under way ends, nothing follows it. */
  close(): void {
    this.#closed = true;
  }

  #begin(): void {
    const { bucket, inode, chunk } = this.#place;
    this.#found = [];
    this.#skipped = 0;
    this.#extent = 0;
    this.#index = 0;
    const value = this.#context.store.get(chunkKey(bucket, inode, chunk));
    this.#value = value?.slice();
    try {
      this.#map.load(value);
    } catch (error) {
      this.#map.clear();
      const reason = error instanceof Error ? error.message : String(error);
      this.#sink.damaged(this.#place, 0, 0, -1, 0, reason);
    }
    this.#next();
  }

  #next(): void {
    const map = this.#map;
    const { disks } = this.#context;
    for (; this.#extent < map.count; this.#extent++, this.#index = 0) {
      const left = map.blockCount(this.#extent) - this.#index;
      if (left <= 0) continue;
      const device = disks.inUse(map.devices[this.#extent]!);
      if (device === undefined) {
        this.#skipped++;
        continue;
      }
      if (!this.#takeSlot()) return;
      this.#count = Math.min(left, BLOCKS_PER_TRANSFER);
      device.read(this.#io, map.blocks[this.#extent]! + this.#index, this.#count, this.#slot);
      return;
    }
    this.#end();
  }

  /** False: none may be taken now; it is tried again later. */
  #takeSlot(): boolean {
    const { arena, scheduler } = this.#context;
    const { bulk } = arena;
    this.#slot = bulk.available > bulk.capacity / SLOTS_KEPT_SHARE ? bulk.take() : 0;
    if (this.#slot !== 0) return true;
    scheduler.setTimer(SLOT_WAIT_MS, () => {
      if (!this.#closed) this.#next();
    });
    return false;
  }

  #transferred(status: number): void {
    const { arena } = this.#context;
    if (!this.#closed) {
      this.#readBytes += this.#count * blockBytes;
      if (status !== 0) this.#note(this.#index, `cannot be read: ${errnoName(status)}`);
      else this.#compare();
    }
    arena.bulk.give(this.#slot);
    this.#slot = 0;
    if (this.#closed) return;
    this.#index += this.#count;
    this.#next();
  }

  /** The CRCs that are expected lie in the slot's headroom. */
  #compare(): void {
    const { arena } = this.#context;
    const map = this.#map;
    const words = this.#slot - blockBytes;
    const first = map.crcStarts[this.#extent]! + this.#index;
    for (let i = 0; i < this.#count; i++) arena.words[words / 4 + i] = map.crcs[first + i]!;
    const bad = crc32cVerifyBlocks(arena, this.#slot, this.#count * blockBytes, words);
    if (bad >= 0) this.#note(this.#index + bad, 'does not match its CRC');
  }

  /** Of each extent the first damage is kept. `index`: of the block in the extent. */
  #note(index: number, reason: string): void {
    const map = this.#map;
    const extent = this.#extent;
    if (this.#found.at(-1)?.extent === extent) return;
    const within = Math.max(0, index * blockBytes - map.skips[extent]!);
    const offset = map.offsets[extent]! + within;
    this.#found.push({ extent, offset, block: map.blocks[extent]! + index, reason });
  }

  #end(): void {
    const map = this.#map;
    if (this.#found.length > 0) {
      if (!this.#isUnchanged()) {
        if (++this.#attempts < ATTEMPTS_MAX) {
          this.#begin();
          return;
        }
        this.#found = [];
      }
      for (const { extent, offset, block, reason } of this.#found) {
        const length = map.lengths[extent]!;
        const device = map.devices[extent]!;
        this.#sink.damaged(this.#place, offset, length, device, block, reason);
      }
    }
    let extents = 0;
    for (let i = 0; i < map.count; i++) if (map.hasBlocks(i)) extents++;
    this.#sink.verified(this.#readBytes, extents - this.#skipped, this.#skipped);
  }

  #isUnchanged(): boolean {
    const { bucket, inode, chunk } = this.#place;
    const now = this.#context.store.get(chunkKey(bucket, inode, chunk));
    const before = this.#value;
    if (now === undefined || before?.length !== now.length) return false;
    for (let i = 0; i < now.length; i++) if (now[i] !== before[i]) return false;
    return true;
  }
}
