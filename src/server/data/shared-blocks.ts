/**
 * Which blocks more than one chunk uses, and how many: the counts behind clones. Kept in the store
 * as runs of blocks that are used equally often (docs/formats/data.md, "Clones"); blocks in no run
 * have one user, or none.
 *
 *   runs before      [  1  ][   2   ]           a number: users beyond the first
 *   share  . . . . . . . . [ +1 ][ +1 ]         a gap becomes a run of 1
 *   after            [  1  ][ 3 ][ 2 ][ 1 ]
 *
 * Everything is inside the transaction of the chunk values. A run's key has its end, so that the run
 * that holds a block is the first one above it.
 */
import { SealfsError } from '../../common/errors.js';
import { SharedRun } from '../../protocol/data-format.generated.js';
import type { MetaStore } from '../meta-store-api.js';
import { endOfSharedKey, sharedEndKey, sharedKey } from './keys.js';
import type { BlockRuns } from './splice.js';

interface Run {
  start: number;
  end: number;
  extra: number;
}

export class SharedBlocks {
  readonly #store: MetaStore;
  readonly #value = new Uint32Array(SharedRun.SIZE / 4);
  readonly #bytes = new Uint8Array(this.#value.buffer);
  /** Runs that the change at hand meets, and what they become. */
  readonly #met: Run[] = [];
  readonly #made: Run[] = [];
  #any = false;

  constructor(store: MetaStore) {
    this.#store = store;
    store.scan(sharedKey(0, 0).slice(), sharedEndKey(0xffff).slice(), () => {
      this.#any = true;
      return false;
    });
  }

  /** False: no block is shared, there is nothing to look up. */
  get any(): boolean {
    return this.#any;
  }

  /** One chunk more uses these blocks. */
  share(device: number, block: number, count: number): void {
    this.#any = true;
    this.#change(device, block, count, 1, undefined);
  }

  /** One chunk less: those that nobody uses any more are added to `free`. */
  release(device: number, block: number, count: number, free: BlockRuns): void {
    if (this.#any) this.#change(device, block, count, -1, free);
    else free.push(device, block, count);
  }

  #change(
    device: number,
    block: number,
    count: number,
    delta: number,
    free: BlockRuns | undefined,
  ): void {
    const stop = block + count;
    this.#meet(device, block, stop);
    this.#made.length = 0;
    let at = block;
    for (const run of this.#met) {
      if (run.start >= stop) {
        this.#gap(device, at, stop, free);
        at = stop;
      }
      this.#make(run.start, Math.min(run.end, block), run.extra);
      const from = Math.max(run.start, block);
      const to = Math.min(run.end, stop);
      if (from < to) {
        this.#gap(device, at, from, free);
        this.#make(from, to, run.extra + delta);
        at = to;
      }
      this.#make(Math.max(run.start, stop), run.end, run.extra);
    }
    this.#gap(device, at, stop, free);
    this.#save(device);
  }

  /** The runs that overlap [block, stop) or touch it: neighbours may become one. */
  #meet(device: number, block: number, stop: number): void {
    const met = this.#met;
    met.length = 0;
    this.#store.scan(sharedKey(device, block), sharedEndKey(device), (key, value) => {
      if (value.length !== SharedRun.SIZE) {
        throw new SealfsError('CORRUPT', `device ${device}: a run of shared blocks is damaged`);
      }
      this.#bytes.set(value);
      const start = this.#value[SharedRun.start / 4]!;
      if (start > stop) return false;
      met.push({ start, end: endOfSharedKey(key), extra: this.#value[SharedRun.extra / 4]! });
      return true;
    });
  }

  /** Blocks [from, to) that had one user: now two, or none. */
  #gap(device: number, from: number, to: number, free: BlockRuns | undefined): void {
    if (from >= to) return;
    if (free === undefined) this.#make(from, to, 1);
    else free.push(device, from, to - from);
  }

  #make(start: number, end: number, extra: number): void {
    if (start >= end || extra === 0) return;
    const last = this.#made[this.#made.length - 1];
    if (last?.end === start && last.extra === extra) last.end = end;
    else this.#made.push({ start, end, extra });
  }

  /** `met` goes, `made` comes; what is in both stays untouched. */
  #save(device: number): void {
    for (const { end } of this.#met) {
      if (!this.#made.some((run) => run.end === end)) this.#store.remove(sharedKey(device, end));
    }
    for (const { start, end, extra } of this.#made) {
      const same = this.#met.some(
        (run) => run.end === end && run.start === start && run.extra === extra,
      );
      if (same) continue;
      this.#value[SharedRun.start / 4] = start;
      this.#value[SharedRun.extra / 4] = extra;
      this.#store.put(sharedKey(device, end), this.#bytes);
    }
  }
}
