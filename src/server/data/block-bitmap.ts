/**
 * Which blocks of one device are taken, in memory: a bitmap cut into regions of 8,192 blocks, as it
 * is persisted. Regions that are wholly free take no memory, and full ones are skipped by their
 * count, so a search touches little. Bit i of word w of a region is its block 32 w + i; set: taken.
 */
export const REGION_BLOCKS = 8192;
export const REGION_WORDS = REGION_BLOCKS / 32;
export const REGION_BYTES = REGION_BLOCKS / 8;

/** Gaps that a search looks at before it is content with the longest so far. */
const GAPS_EXAMINED = 256;

/** Sets or clears bits [from, to) of a region's words; returns how many changed. */
export function markWords(words: Uint32Array, from: number, to: number, taken: boolean): number {
  let changed = 0;
  for (let at = from; at < to;) {
    const bit = at & 31;
    const bits = Math.min(32 - bit, to - at);
    const mask = (bits === 32 ? 0xffffffff : ((1 << bits) - 1) << bit) >>> 0;
    const word = words[at >>> 5]!;
    const wrong = taken ? mask & ~word : mask & word;
    changed += countBits(wrong);
    words[at >>> 5] = taken ? word | mask : word & ~mask;
    at += bits;
  }
  return changed;
}

export function countBits(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return (((n + (n >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
}

export class BlockBitmap {
  readonly totalBlocks: number;
  freeBlocks: number;
  /** Result of `find`: the first block of the run. */
  foundBlock = 0;
  readonly #regions: (Uint32Array | undefined)[];
  readonly #freeInRegion: Uint16Array;

  constructor(totalBlocks: number) {
    this.totalBlocks = totalBlocks;
    this.freeBlocks = totalBlocks;
    const regions = Math.ceil(totalBlocks / REGION_BLOCKS);
    this.#regions = new Array<Uint32Array | undefined>(regions).fill(undefined);
    this.#freeInRegion = new Uint16Array(regions).fill(REGION_BLOCKS);
    if (regions > 0) this.#freeInRegion[regions - 1] = totalBlocks - (regions - 1) * REGION_BLOCKS;
  }

  /**
   * Takes or frees [block, block + count). Returns how many blocks changed: fewer than `count` mean
   * that the caller's books are wrong.
   */
  mark(block: number, count: number, taken: boolean): number {
    let changed = 0;
    for (let at = block; at < block + count;) {
      const region = Math.floor(at / REGION_BLOCKS);
      const from = at % REGION_BLOCKS;
      const to = Math.min(REGION_BLOCKS, from + block + count - at);
      const words = (this.#regions[region] ??= new Uint32Array(REGION_WORDS));
      const here = markWords(words, from, to, taken);
      this.#freeInRegion[region]! += taken ? -here : here;
      changed += here;
      at += to - from;
    }
    this.freeBlocks += taken ? -changed : changed;
    return changed;
  }

  isTaken(block: number): boolean {
    const words = this.#regions[Math.floor(block / REGION_BLOCKS)];
    if (words === undefined) return false;
    const at = block % REGION_BLOCKS;
    return ((words[at >>> 5]! >>> (at & 31)) & 1) === 1;
  }

  /**
   * Looks for `wanted` free blocks in a run, from block `from` on and around the end. Returns the
   * length of the run in `foundBlock`: `wanted`, or less when no such run was met soon; 0: full.
   */
  find(wanted: number, from: number): number {
    const start = from < this.totalBlocks ? from : 0;
    let best = 0;
    let bestBlock = 0;
    let gaps = 0;
    let position = start;
    let limit = this.totalBlocks;
    for (;;) {
      const free = this.#nextFree(position, limit);
      if (free >= limit) {
        if (limit === start || start === 0) break;
        position = 0;
        limit = start;
        continue;
      }
      const used = this.#nextTaken(free, Math.min(free + wanted, this.totalBlocks));
      if (used - free > best) {
        best = used - free;
        bestBlock = free;
      }
      if (best === wanted || ++gaps === GAPS_EXAMINED) break;
      position = used;
      if (position >= limit && (limit === start || start === 0)) break;
    }
    this.foundBlock = bestBlock;
    return best;
  }

  #nextFree(from: number, limit: number): number {
    let at = from;
    while (at < limit) {
      const region = Math.floor(at / REGION_BLOCKS);
      const words = this.#regions[region];
      if (words === undefined) return at;
      if (this.#freeInRegion[region] === 0) {
        at = (region + 1) * REGION_BLOCKS;
        continue;
      }
      const inRegion = at % REGION_BLOCKS;
      const free = (~words[inRegion >>> 5]! & (0xffffffff << (inRegion & 31))) >>> 0;
      if (free !== 0) return Math.min(limit, at - (inRegion & 31) + lowestBit(free));
      at += 32 - (inRegion & 31);
    }
    return limit;
  }

  #nextTaken(from: number, limit: number): number {
    let at = from;
    while (at < limit) {
      const region = Math.floor(at / REGION_BLOCKS);
      const words = this.#regions[region];
      if (words === undefined) {
        at = (region + 1) * REGION_BLOCKS;
        continue;
      }
      const inRegion = at % REGION_BLOCKS;
      const taken = (words[inRegion >>> 5]! & (0xffffffff << (inRegion & 31))) >>> 0;
      if (taken !== 0) return Math.min(limit, at - (inRegion & 31) + lowestBit(taken));
      at += 32 - (inRegion & 31);
    }
    return limit;
  }
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
