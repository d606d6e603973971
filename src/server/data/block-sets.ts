/** The blocks that an extent map touches, as a set: for changes that are not a write. */
import type { ExtentMap } from './extent-map.js';
import type { BlockRuns } from './splice.js';

/** Of a device and a block: blocks are below 2^32, so sorting these sorts by device, then block. */
const DEVICE = 4294967296;

/** Runs [first, end) of block numbers plus DEVICE times their device, ascending, disjoint. */
function runsOf(map: ExtentMap): number[] {
  const firsts: number[] = [];
  const ends = new Map<number, number>();
  for (let i = 0; i < map.count; i++) {
    if (!map.hasBlocks(i)) continue;
    const first = map.devices[i]! * DEVICE + map.blocks[i]!;
    const end = first + map.blockCount(i);
    if (!ends.has(first)) firsts.push(first);
    ends.set(first, Math.max(end, ends.get(first) ?? 0));
  }
  firsts.sort((a, b) => a - b);
  const runs: number[] = [];
  for (const first of firsts) {
    const end = ends.get(first)!;
    const last = runs.length - 1;
    if (last > 0 && first <= runs[last]!) runs[last] = Math.max(runs[last]!, end);
    else runs.push(first, end);
  }
  return runs;
}

/** Adds to `out` the blocks that `map` touches and `other` does not. */
export function blocksOnlyIn(map: ExtentMap, other: ExtentMap, out: BlockRuns): void {
  const runs = runsOf(map);
  const minus = runsOf(other);
  let k = 0;
  for (let i = 0; i < runs.length; i += 2) {
    let at = runs[i]!;
    const end = runs[i + 1]!;
    while (k < minus.length && minus[k + 1]! <= at) k += 2;
    for (let m = k; at < end; m += 2) {
      const from = m < minus.length ? Math.min(minus[m]!, end) : end;
      if (from > at) out.push(Math.floor(at / DEVICE), at % DEVICE, from - at);
      if (m >= minus.length) break;
      at = Math.max(at, minus[m + 1]!);
    }
  }
}
