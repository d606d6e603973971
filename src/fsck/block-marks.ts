/**
 * The allocator's bitmaps as they are stored, against those that the extents make: runs of blocks
 * that are marked and unused, or used and not marked.
 */
import { countBits, markWords, REGION_BLOCKS, REGION_BYTES } from '../server/data/block-bitmap.js';
import { regionKey } from '../server/data/keys.js';
import type { Edit } from './findings.js';
import { copyOf, replacement } from './findings.js';

const REGIONS_PER_DEVICE = 2 ** 19;

interface Region {
  device: number;
  region: number;
  stored: Uint32Array | undefined;
  /** Its value is not a bitmap. */
  damaged: Uint8Array | undefined;
  wanted: Uint32Array | undefined;
}

/** Called with blocks [from, to) of a device, and an edit that makes them right. */
export type MarkVisitor = (device: number, from: number, to: number, edit: Edit) => void;

export class BlockMarks {
  readonly #target: number;
  readonly #regions = new Map<number, Region>();

  constructor(target: number) {
    this.#target = target;
  }

  take(device: number, region: number, value: Uint8Array): void {
    const known = this.#region(device, region);
    if (value.length !== REGION_BYTES) known.damaged = copyOf(value);
    else known.stored = new Uint32Array(copyOf(value).buffer as ArrayBuffer);
  }

  use(device: number, from: number, to: number): void {
    for (let at = from; at < to;) {
      const region = Math.floor(at / REGION_BLOCKS);
      const within = at % REGION_BLOCKS;
      const end = Math.min(REGION_BLOCKS, within + to - at);
      const known = this.#region(device, region);
      known.wanted ??= new Uint32Array(REGION_BYTES / 4);
      markWords(known.wanted, within, end, true);
      at += end - within;
    }
  }

  /** Regions whose value is no bitmap, with an edit that writes them anew. */
  damaged(visit: (device: number, region: number, value: Uint8Array, edit: Edit) => void): void {
    for (const { device, region, damaged, wanted } of this.#regions.values()) {
      if (damaged === undefined) continue;
      const bytes = new Uint8Array(REGION_BYTES);
      if (wanted !== undefined) bytes.set(new Uint8Array(wanted.buffer));
      const key = regionKey(device, region).slice();
      visit(device, region, damaged, replacement(this.#target, key, bytes));
    }
  }

  differences(leaked: MarkVisitor, unmarked: MarkVisitor): void {
    const none = new Uint32Array(REGION_BYTES / 4);
    for (const region of this.#regions.values()) {
      if (region.damaged !== undefined) continue;
      const { stored = none, wanted = none } = region;
      this.#runs(region, stored, wanted, false, leaked);
      this.#runs(region, wanted, stored, true, unmarked);
    }
  }

  /** Runs of bits that are in `some` and not in `other`. */
  #runs(
    { device, region }: Region,
    some: Uint32Array,
    other: Uint32Array,
    taken: boolean,
    visit: MarkVisitor,
  ): void {
    let from = -1;
    const end = (to: number): void => {
      const first = region * REGION_BLOCKS;
      const edit = this.#markEdit(device, region, from, to, taken);
      visit(device, first + from, first + to, edit);
      from = -1;
    };
    for (let word = 0; word < some.length; word++) {
      const bits = (some[word]! & ~other[word]!) >>> 0;
      if (countBits(bits) === 0) {
        if (from >= 0) end(word * 32);
        continue;
      }
      for (let bit = 0; bit < 32; bit++) {
        const set = ((bits >>> bit) & 1) === 1;
        if (set && from < 0) from = word * 32 + bit;
        if (!set && from >= 0) end(word * 32 + bit);
      }
    }
    if (from >= 0) end(REGION_BLOCKS);
  }

  #markEdit(device: number, region: number, from: number, to: number, taken: boolean): Edit {
    return {
      target: this.#target,
      key: regionKey(device, region).slice(),
      apply: (value) => {
        const words = new Uint32Array(REGION_BYTES / 4);
        const bytes = new Uint8Array(words.buffer);
        if (value?.length === REGION_BYTES) bytes.set(value);
        markWords(words, from, to, taken);
        return bytes;
      },
    };
  }

  #region(device: number, region: number): Region {
    const key = device * REGIONS_PER_DEVICE + region;
    let known = this.#regions.get(key);
    if (known === undefined) {
      known = { device, region, stored: undefined, damaged: undefined, wanted: undefined };
      this.#regions.set(key, known);
    }
    return known;
  }
}
