/**
 * Replacing a byte range of an extent map, and finding the blocks that this frees. See
 * extent-map.ts for the picture.
 */
import { blockBytes } from '../../protocol/limits.generated.js';
import type { ExtentMap } from './extent-map.js';

/** Runs of blocks on devices: a growable list without objects. */
export class BlockRuns {
  count = 0;
  devices = new Uint16Array(64);
  blocks = new Uint32Array(64);
  lengths = new Uint32Array(64);

  clear(): void {
    this.count = 0;
  }

  /** Adds a run, joined with the last one where it goes on behind it. */
  push(device: number, block: number, length: number): void {
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.devices[last] === device &&
      this.blocks[last]! + this.lengths[last]! === block
    ) {
      this.lengths[last]! += length;
      return;
    }
    if (this.count === this.blocks.length) this.#grow();
    this.devices[this.count] = device;
    this.blocks[this.count] = block;
    this.lengths[this.count] = length;
    this.count++;
  }

  contains(device: number, block: number): boolean {
    for (let i = 0; i < this.count; i++) {
      const first = this.blocks[i]!;
      if (this.devices[i] === device && block >= first && block < first + this.lengths[i]!) {
        return true;
      }
    }
    return false;
  }

  #grow(): void {
    const size = this.blocks.length * 2;
    const devices = new Uint16Array(size);
    const blocks = new Uint32Array(size);
    const lengths = new Uint32Array(size);
    devices.set(this.devices);
    blocks.set(this.blocks);
    lengths.set(this.lengths);
    this.devices = devices;
    this.blocks = blocks;
    this.lengths = lengths;
  }
}

/**
 * Makes `out` = `base` with bytes [start, stop) replaced by `patch`, whose extents lie in that
 * range, and adds to `freed` the blocks that `base` used and `out` does not. The three maps are
 * different objects. `out.end` is the greater of both ends.
 */
export function splice(
  base: ExtentMap,
  patch: ExtentMap,
  start: number,
  stop: number,
  out: ExtentMap,
  freed: BlockRuns,
): void {
  out.clear();
  const first = base.firstEndingAfter(start);
  for (let i = 0; i < first; i++) appendWhole(out, base, i);
  if (first < base.count && base.offsets[first]! < start) {
    out.appendPart(base, first, base.offsets[first]!, start);
  }
  for (let i = 0; i < patch.count; i++) appendWhole(out, patch, i);
  let after = first;
  while (after < base.count && base.offsets[after]! < stop) {
    const end = base.offsets[after]! + base.lengths[after]!;
    if (end > stop) out.appendPart(base, after, stop, end);
    after++;
  }
  for (let i = after; i < base.count; i++) appendWhole(out, base, i);
  out.end = Math.max(base.end, patch.end);
  for (let i = first; i < after; i++) collectFreed(base, i, start, stop, out, freed);
}

/** Makes `out` = `base` with every hole in [start, stop) unwritten: promised space. */
export function fillHoles(base: ExtentMap, start: number, stop: number, out: ExtentMap): void {
  out.clear();
  let at = start;
  for (let i = 0; i < base.count; i++) {
    const offset = base.offsets[i]!;
    const hole = Math.min(offset, stop) - at;
    if (hole > 0) out.appendUnwritten(at, hole);
    appendWhole(out, base, i);
    at = Math.max(at, offset + base.lengths[i]!);
  }
  if (at < stop) out.appendUnwritten(at, stop - at);
  out.end = Math.max(base.end, out.end);
}

function appendWhole(out: ExtentMap, source: ExtentMap, i: number): void {
  const offset = source.offsets[i]!;
  out.appendPart(source, i, offset, offset + source.lengths[i]!);
}

/**
 * The blocks of extent `i` that its bytes in [start, stop) touch are free, unless a sibling (a part
 * of the same write, split off earlier) or a trimmed part still has bytes there: possible only in
 * the first and the last of them.
 */
function collectFreed(
  base: ExtentMap,
  i: number,
  start: number,
  stop: number,
  out: ExtentMap,
  freed: BlockRuns,
): void {
  if (!base.hasBlocks(i)) return;
  const device = base.devices[i]!;
  const offset = base.offsets[i]!;
  const from = base.skips[i]! + Math.max(0, start - offset);
  const to = base.skips[i]! + Math.min(base.lengths[i]!, stop - offset);
  const firstBlock = base.blocks[i]! + Math.floor(from / blockBytes);
  const lastBlock = base.blocks[i]! + Math.floor((to - 1) / blockBytes);
  freeUnlessTouched(device, firstBlock, out, freed);
  if (lastBlock - firstBlock > 1) freed.push(device, firstBlock + 1, lastBlock - firstBlock - 1);
  if (lastBlock > firstBlock) freeUnlessTouched(device, lastBlock, out, freed);
}

function freeUnlessTouched(device: number, block: number, out: ExtentMap, freed: BlockRuns): void {
  if (out.touches(device, block) || freed.contains(device, block)) return;
  freed.push(device, block, 1);
}
