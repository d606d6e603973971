/**
 * Space on a target's devices. A block goes through these states:
 *
 *   free ──allocate──> reserved ──commitAllocated, commit──> used
 *     ^                   │ unreserve                          │ commitFreed, commit
 *     │<──────────────────┘                                    v
 *     └───────releaseUpTo: commit durable, no reader─── quarantined
 *
 * In memory (BlockBitmap) everything but free is taken; in the store (regions of 8,192 blocks) used
 * blocks are, and only they: a crash gives back what was reserved. Regions are written in the
 * transaction that writes the extents, once each (`seal`). The quarantine protects both the map
 * that a power loss would bring back and reads that began before the commit.
 *
 * Promised blocks are a number, not places: as many of the free ones are kept for the bytes of
 * unwritten extents. The number is written in the transaction that changes the maps.
 */
import { SealfsError } from '../../common/errors.js';
import { propertyKey } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import {
  BlockBitmap,
  markWords,
  REGION_BLOCKS,
  REGION_BYTES,
  REGION_WORDS,
} from './block-bitmap.js';
import { regionEndKey, regionKey, regionOfKey } from './keys.js';
import { BlockRuns } from './splice.js';

/** The superblock's place, never given out. */
const RESERVED_BLOCKS = 1;
const REGIONS_PER_DEVICE = 2 ** 19;
/** Space that only compaction may use, so that a full device can still be tidied: a 64th, within. */
const RESERVE_SHARE = 64;
const RESERVE_BLOCKS_MAX = 2048;
/** Property of the store: how many blocks are promised, a double. */
const PROMISED_KEY = propertyKey('promised');

interface DeviceSpace {
  bitmap: BlockBitmap;
  /** Where the next search begins: behind the last run given out. */
  cursor: number;
  /** As of the last commit. */
  usedBlocks: number;
  reserveBlocks: number;
}

/** A region as the open transaction will write it. */
interface DirtyRegion {
  device: number;
  region: number;
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
}

export class Allocator {
  /** Result of `allocate`. */
  allocatedBlock = 0;
  quarantinedBlocks = 0;
  readonly #store: MetaStore;
  readonly #devices = new Map<number, DeviceSpace>();
  readonly #dirty = new Map<number, DirtyRegion>();
  readonly #spareRegions: DirtyRegion[] = [];
  readonly #allocatedHere = new BlockRuns();
  readonly #freedHere = new BlockRuns();
  readonly #quarantine = new Quarantine();
  readonly #promised = new Float64Array(1);
  /** By the open transaction, more or less. */
  #promisedHere = 0;

  constructor(store: MetaStore) {
    this.#store = store;
    const value = store.get(PROMISED_KEY);
    if (value === undefined) return;
    if (value.length !== 8) throw new SealfsError('CORRUPT', 'the promised space is damaged');
    new Uint8Array(this.#promised.buffer).set(value);
  }

  /** Blocks that unwritten extents are promised, those of the open transaction included. */
  get promisedBlocks(): number {
    return this.#promised[0]! + this.#promisedHere;
  }

  /** Reads the device's regions. `totalBlocks` may have grown since. */
  addDevice(device: number, totalBlocks: number): void {
    const bitmap = new BlockBitmap(totalBlocks);
    const words = new Uint32Array(REGION_WORDS);
    const bytes = new Uint8Array(words.buffer);
    let used = 0;
    this.#store.scan(regionKey(device, 0).slice(), regionEndKey(device).slice(), (key, value) => {
      if (value.length !== REGION_BYTES) {
        throw new SealfsError('CORRUPT', `device ${device}: an allocator region is damaged`);
      }
      bytes.set(value);
      used += loadRegion(bitmap, regionOfKey(key), words);
      return true;
    });
    bitmap.mark(0, RESERVED_BLOCKS, true);
    this.#devices.set(device, {
      bitmap,
      cursor: RESERVED_BLOCKS,
      usedBlocks: used,
      reserveBlocks: Math.min(RESERVE_BLOCKS_MAX, Math.ceil(totalBlocks / RESERVE_SHARE)),
    });
  }

  /**
   * Takes a run of at most `wanted` free blocks, as long as can be had, first of all at
   * `preferredBlock` (0: where the last one ended). Returns its length, its first block in
   * `allocatedBlock`; 0: nothing is free. With `fromReserve` the reserve may be used.
   */
  allocate(device: number, wanted: number, preferredBlock: number, fromReserve: boolean): number {
    const space = this.#devices.get(device);
    if (space === undefined) return 0;
    const { bitmap } = space;
    const available = bitmap.freeBlocks - (fromReserve ? 0 : space.reserveBlocks);
    const most = Math.min(wanted, available);
    if (most <= 0) return 0;
    const preferred = preferredBlock > 0 && !this.#isTaken(bitmap, preferredBlock);
    const length = bitmap.find(most, preferred ? preferredBlock : space.cursor);
    if (length === 0) return 0;
    this.allocatedBlock = bitmap.foundBlock;
    bitmap.mark(bitmap.foundBlock, length, true);
    space.cursor = bitmap.foundBlock + length;
    return length;
  }

  /** Gives back blocks that were allocated and not committed. */
  unreserve(device: number, block: number, count: number): void {
    this.#free(device, block, count);
  }

  /** Inside a transaction: reserved blocks are now used by an extent. */
  commitAllocated(device: number, block: number, count: number): void {
    this.#mark(device, block, count, true);
    this.#allocatedHere.push(device, block, count);
  }

  /** Inside a transaction: no extent uses these blocks any more. */
  commitFreed(device: number, block: number, count: number): void {
    this.#mark(device, block, count, false);
    this.#freedHere.push(device, block, count);
  }

  /** Inside a transaction: unwritten extents are promised so many blocks more (or fewer). */
  commitPromised(delta: number): void {
    this.#promisedHere += delta;
  }

  /** Inside a transaction, last: writes every region that it changed. */
  seal(): void {
    if (this.#promisedHere !== 0) {
      const sum = Float64Array.of(this.promisedBlocks);
      this.#store.put(PROMISED_KEY, new Uint8Array(sum.buffer));
    }
    for (const dirty of this.#dirty.values()) {
      this.#store.put(regionKey(dirty.device, dirty.region), dirty.bytes);
    }
  }

  /** After the commit: `sequence` is its number. */
  committed(sequence: number): void {
    this.#promised[0]! += this.#promisedHere;
    this.#count(this.#allocatedHere, 1);
    this.#count(this.#freedHere, -1);
    const freed = this.#freedHere;
    for (let i = 0; i < freed.count; i++) {
      this.#quarantine.push(freed.devices[i]!, freed.blocks[i]!, freed.lengths[i]!, sequence);
      this.quarantinedBlocks += freed.lengths[i]!;
    }
    this.aborted();
  }

  /** After a rollback: the transaction's changes are forgotten; allocated blocks stay reserved. */
  aborted(): void {
    for (const dirty of this.#dirty.values()) this.#spareRegions.push(dirty);
    this.#dirty.clear();
    this.#promisedHere = 0;
    this.#allocatedHere.clear();
    this.#freedHere.clear();
  }

  /** Frees what commits up to `sequence` quarantined: they are durable and seen by every reader. */
  releaseUpTo(sequence: number): void {
    const quarantine = this.#quarantine;
    while (quarantine.size > 0 && quarantine.sequence <= sequence) {
      this.#free(quarantine.device, quarantine.block, quarantine.length);
      this.quarantinedBlocks -= quarantine.length;
      quarantine.shift();
    }
  }

  /** Blocks that can be given out now, the reserve not counted. */
  allocatableBlocks(device: number): number {
    const space = this.#devices.get(device);
    return space === undefined ? 0 : Math.max(0, space.bitmap.freeBlocks - space.reserveBlocks);
  }

  /** Blocks that no committed extent uses, the reserve not counted. */
  freeBlocks(device: number): number {
    const space = this.#devices.get(device);
    if (space === undefined) return 0;
    const free = space.bitmap.totalBlocks - RESERVED_BLOCKS - space.usedBlocks;
    return Math.max(0, free - space.reserveBlocks);
  }

  /** Blocks that files can use in all. */
  usableBlocks(device: number): number {
    const space = this.#devices.get(device);
    return space === undefined
      ? 0
      : space.bitmap.totalBlocks - RESERVED_BLOCKS - space.reserveBlocks;
  }

  #isTaken(bitmap: BlockBitmap, block: number): boolean {
    return block >= bitmap.totalBlocks || bitmap.isTaken(block);
  }

  #free(device: number, block: number, count: number): void {
    const space = this.#devices.get(device);
    if (space !== undefined && space.bitmap.mark(block, count, false) !== count) {
      throw new SealfsError('CORRUPT', `device ${device}: block ${block} was freed twice`);
    }
  }

  #count(runs: BlockRuns, sign: number): void {
    for (let i = 0; i < runs.count; i++) {
      const space = this.#devices.get(runs.devices[i]!);
      if (space !== undefined) space.usedBlocks += sign * runs.lengths[i]!;
    }
  }

  /** In the regions that the open transaction will write. */
  #mark(device: number, block: number, count: number, taken: boolean): void {
    for (let at = block; at < block + count;) {
      const region = Math.floor(at / REGION_BLOCKS);
      const from = at % REGION_BLOCKS;
      const to = Math.min(REGION_BLOCKS, from + block + count - at);
      const { words } = this.#dirtyRegion(device, region);
      if (markWords(words, from, to, taken) !== to - from) {
        const state = taken ? 'used already' : 'free already';
        throw new SealfsError('CORRUPT', `device ${device}: a block from ${at} on is ${state}`);
      }
      at += to - from;
    }
  }

  #dirtyRegion(device: number, region: number): DirtyRegion {
    const key = device * REGIONS_PER_DEVICE + region;
    let dirty = this.#dirty.get(key);
    if (dirty !== undefined) return dirty;
    dirty = this.#spareRegions.pop() ?? newRegion();
    dirty.device = device;
    dirty.region = region;
    const value = this.#store.get(regionKey(device, region));
    if (value === undefined) dirty.bytes.fill(0);
    else dirty.bytes.set(value);
    this.#dirty.set(key, dirty);
    return dirty;
  }
}

function newRegion(): DirtyRegion {
  const words = new Uint32Array(REGION_WORDS);
  return { device: 0, region: 0, words, bytes: new Uint8Array(words.buffer) };
}

/** Marks a persisted region's taken blocks; returns their number. */
function loadRegion(bitmap: BlockBitmap, region: number, words: Uint32Array): number {
  const first = region * REGION_BLOCKS;
  let used = 0;
  for (let i = 0; i < REGION_WORDS; i++) {
    const word = words[i]!;
    if (word === 0) continue;
    // Also bits in a last word that is only in part the device's: their books would never add up.
    if (first + i * 32 + 32 - Math.clz32(word) > bitmap.totalBlocks) {
      throw new SealfsError('CORRUPT', `blocks behind the device's end are in use`);
    }
    if (first + i === 0 && (word & 1) !== 0) {
      throw new SealfsError('CORRUPT', 'the block of the superblock is in use');
    }
    if (word === 0xffffffff) {
      used += bitmap.mark(first + i * 32, 32, true);
      continue;
    }
    for (let bit = 0; bit < 32; bit++) {
      if ((word >>> bit) & 1) used += bitmap.mark(first + i * 32 + bit, 1, true);
    }
  }
  return used;
}

/** First in, first out: runs of freed blocks with the number of the commit that freed them. */
class Quarantine {
  size = 0;
  #head = 0;
  #entries = new Float64Array(4 * 256);

  get device(): number {
    return this.#entries[this.#head * 4]!;
  }
  get block(): number {
    return this.#entries[this.#head * 4 + 1]!;
  }
  get length(): number {
    return this.#entries[this.#head * 4 + 2]!;
  }
  get sequence(): number {
    return this.#entries[this.#head * 4 + 3]!;
  }

  push(device: number, block: number, length: number, sequence: number): void {
    const capacity = this.#entries.length / 4;
    if (this.size === capacity) this.#grow();
    const at = ((this.#head + this.size) % (this.#entries.length / 4)) * 4;
    this.#entries[at] = device;
    this.#entries[at + 1] = block;
    this.#entries[at + 2] = length;
    this.#entries[at + 3] = sequence;
    this.size++;
  }

  shift(): void {
    this.#head = (this.#head + 1) % (this.#entries.length / 4);
    this.size--;
  }

  #grow(): void {
    const old = this.#entries;
    const grown = new Float64Array(old.length * 2);
    grown.set(old.subarray(this.#head * 4));
    grown.set(old.subarray(0, this.#head * 4), old.length - this.#head * 4);
    this.#entries = grown;
    this.#head = 0;
  }
}
