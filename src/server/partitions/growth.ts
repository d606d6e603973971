/**
 * Which directories of a target have grown: their entries are counted, up to the threshold, each time
 * so many have come that they may have passed it; nothing is stored for that. One that has passed it is
 * split, one half at a time (split.ts).
 */
import type { Namespace } from '../namespace.js';
import { COLLISIONS } from '../keys.js';
import { InodeRecord } from '../inode-record.js';
import type { CommitterOwn } from '../committer.js';
import { bucketOfHalf, split, type Split } from './split.js';
import { rangeOf } from './table.js';

/** Entries of a partition that is split. */
export const SPLIT_ENTRIES = 8000;
/** Directories that are watched; more than that are forgotten, and watched anew. */
const WATCHED_MAX = 4096;
/** After a split that another operation was in the way of. */
const RETRY_MS = 50;

export class Growth {
  readonly #ns: Namespace;
  readonly #committer: CommitterOwn;
  readonly #whenReady: (then: () => void) => void;
  readonly #splitEntries: number;
  /** Entries that come before a directory is counted again. */
  readonly #quantum: number;
  readonly #added = new Map<number, number>();
  /** To be counted when the turn's transaction is over. */
  readonly #due = new Set<number>();
  readonly #splitting = new Set<number>();
  #closed = false;
  splits = 0;

  /** `whenReady`: after a start nothing is split before it is known who holds leases. */
  constructor(
    ns: Namespace,
    committer: CommitterOwn,
    splitEntries: number,
    whenReady: (then: () => void) => void,
  ) {
    this.#whenReady = whenReady;
    this.#ns = ns;
    this.#committer = committer;
    this.#splitEntries = splitEntries;
    this.#quantum = Math.max(1, Math.floor(splitEntries / 4));
    if (splitEntries === Infinity) return;
    ns.dentries.onChange = (directory, isPut) => {
      if (isPut) this.#put(directory);
    };
  }

  close(): void {
    this.#closed = true;
  }

  #put(directory: number): void {
    const added = (this.#added.get(directory) ?? 0) + 1;
    if (added < this.#quantum) {
      if (this.#added.size >= WATCHED_MAX) this.#added.clear();
      this.#added.set(directory, added);
      return;
    }
    this.#added.delete(directory);
    if (this.#due.size === 0) {
      this.#ns.host.scheduler.setTimer(0, () => {
        this.#whenReady(() => {
          this.#look();
        });
      });
    }
    this.#due.add(directory);
  }

  #look(): void {
    const due = [...this.#due];
    this.#due.clear();
    for (const directory of due) this.#consider(directory);
  }

  /** Splits it if it is too large. */
  #consider(partition: number): void {
    if (this.#closed || this.#splitting.has(partition)) return;
    this.#splitting.add(partition);
    const found = { bucket: -1, made: 0 };
    this.#committer.enqueueWork(
      () => {
        found.bucket = this.#isLarge(partition) ? (bucketOfHalf(this.#ns, partition) ?? -1) : -1;
        // Where it is to lie here its number has to be known beforehand.
        const isHere = found.bucket >= 0 && this.#ns.host.owns(found.bucket);
        found.made = isHere ? this.#ns.allocateInode(found.bucket) : 0;
      },
      () => {
        if (found.bucket < 0) this.#splitting.delete(partition);
        else this.#split({ partition, ...found });
      },
    );
  }

  #isLarge(partition: number): boolean {
    const at = this.#ns.loadDirectory(partition);
    if (at < 0) return false;
    const flags = this.#ns.inodes.get32(at, InodeRecord.flags);
    const { end } = rangeOf(this.#ns.meta, partition, flags);
    let entries = 0;
    this.#ns.dentries.list(partition, 0, () => ++entries < this.#splitEntries, end * COLLISIONS);
    return entries >= this.#splitEntries;
  }

  #split(one: Split): void {
    this.#committer.enqueueOwn(split, one, (status) => {
      this.#splitting.delete(one.partition);
      if (status === 0) this.splits++;
      // The lower half, or all of it if something was in the way, may be too large still.
      this.#ns.host.scheduler.setTimer(status === 0 ? 0 : RETRY_MS, () => {
        this.#consider(one.partition);
      });
    });
  }
}
