/**
 * The counts of shared blocks as they are stored, against how many chunks use them.
 *
 *   stored     [ extra 1  ]     [ 2 ]
 *   used by     2 2 2 2 2 1 1 1  1 1      chunks
 *   differs               ^      ^^^
 */
import { SharedRun } from '../protocol/data-format.generated.js';
import { sharedKey } from '../server/data/keys.js';
import type { Segment } from './block-use.js';
import { blockOf, DEVICE_PLACES, deviceOf } from './block-use.js';
import type { Edit } from './findings.js';
import { copyOf, removal, replacement } from './findings.js';
import { viewOf } from './values.js';

/** Blocks [start, end) of places, with how many users beyond the first are stored, and are there. */
export interface Difference {
  start: number;
  end: number;
  stored: number;
  used: number;
}

interface Run {
  start: number;
  end: number;
  extra: number;
}

export class SharedRuns {
  readonly #target: number;
  /** In order of place, disjoint. */
  readonly #stored: Run[] = [];
  readonly #used: Run[] = [];
  readonly damaged: { key: Uint8Array; value: Uint8Array }[] = [];

  constructor(target: number) {
    this.#target = target;
  }

  /** Keys come in their order. */
  take(device: number, endBlock: number, key: Uint8Array, value: Uint8Array): void {
    if (value.length === SharedRun.SIZE) {
      const view = viewOf(value);
      const start = device * DEVICE_PLACES + view.getUint32(SharedRun.start, true);
      const extra = view.getUint32(SharedRun.extra, true);
      const end = device * DEVICE_PLACES + endBlock;
      const before = this.#stored[this.#stored.length - 1]?.end ?? 0;
      if (start >= before && start < end && extra > 0) {
        this.#stored.push({ start, end, extra });
        return;
      }
    }
    this.damaged.push({ key: copyOf(key), value: copyOf(value) });
  }

  /** Segments come in their order. */
  use({ start, end, users }: Segment): void {
    if (users > 1) append(this.#used, { start, end, extra: users - 1 });
  }

  differences(): Difference[] {
    const found: Difference[] = [];
    this.#compare((start, end, stored, used) => {
      if (stored === used) return;
      const last = found[found.length - 1];
      if (last?.end === start && last.stored === stored && last.used === used) last.end = end;
      else found.push({ start, end, stored, used });
    });
    return found;
  }

  /** What makes the counts those of use, but for places where `keeps` says that they stay. */
  edits(keeps: (start: number) => boolean): Edit[] {
    const wanted: Run[] = [];
    this.#compare((start, end, stored, used) => {
      const extra = keeps(start) ? stored : used;
      if (extra > 0) append(wanted, { start, end, extra });
    });
    const edits = this.damaged.map(({ key }) => removal(this.#target, key));
    const stays = new Set(wanted.map(runText));
    const there = new Set(this.#stored.map(runText));
    for (const run of this.#stored) {
      if (!stays.has(runText(run))) edits.push(removal(this.#target, runKey(run)));
    }
    for (const run of wanted) {
      if (there.has(runText(run))) continue;
      const value = new Uint8Array(SharedRun.SIZE);
      viewOf(value).setUint32(SharedRun.start, blockOf(run.start), true);
      viewOf(value).setUint32(SharedRun.extra, run.extra, true);
      edits.push(replacement(this.#target, runKey(run), value));
    }
    return edits;
  }

  /** Visits the places of both lists, cut where either changes. */
  #compare(visit: (start: number, end: number, stored: number, used: number) => void): void {
    const cuts = new Set<number>();
    for (const { start, end } of [...this.#stored, ...this.#used]) cuts.add(start).add(end);
    const places = [...cuts].sort((a, b) => a - b);
    let i = 0;
    let j = 0;
    for (let k = 0; k + 1 < places.length; k++) {
      const start = places[k]!;
      while (i < this.#stored.length && this.#stored[i]!.end <= start) i++;
      while (j < this.#used.length && this.#used[j]!.end <= start) j++;
      const stored = extraAt(this.#stored[i], start);
      const used = extraAt(this.#used[j], start);
      if (stored + used > 0) visit(start, places[k + 1]!, stored, used);
    }
  }
}

function extraAt(run: Run | undefined, place: number): number {
  return run !== undefined && run.start <= place ? run.extra : 0;
}

/** Joined with the last run where it goes on behind it: as the target keeps them. */
function append(runs: Run[], run: Run): void {
  const last = runs[runs.length - 1];
  if (last?.end === run.start && last.extra === run.extra) last.end = run.end;
  else runs.push(run);
}

function runText({ start, end, extra }: Run): string {
  return `${start} ${end} ${extra}`;
}

/** By its end, of its device: an end is never the next device's first block. */
function runKey(run: Run): Uint8Array {
  return sharedKey(deviceOf(run.start), run.end - deviceOf(run.start) * DEVICE_PLACES).slice();
}
