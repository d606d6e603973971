/**
 * Which directories of a target have grown, or shrunk: their entries are counted, up to the threshold, each
 * time so many have come, or gone, that they may have passed it; nothing is stored for that. One that has passed it is
 * split, one half at a time (split.ts), also one with fewer entries that is changed all the time; a partition that
 * has become small is merged into its sibling (merge.ts), as soon as both are small together.
 */
import type { Timer } from '../../common/scheduler.js';
import type { CommitterOwn } from '../committer.js';
import { FLAG_PARTITION, InodeRecord } from '../inode-record.js';
import type { Namespace } from '../namespace.js';
import { merge } from './merge.js';
import { bucketOfHalf, split } from './split.js';
import { countEntries } from './steps.js';
import { rangeOf } from './table.js';

/** Entries of a partition that is split. */
export const SPLIT_ENTRIES = 8000;
/** Entries, as a part of those, that a partition needs to be split for being busy; and two to be merged. */
const SMALL_PART = 1 / 8;
/** Entries put into one partition that make it busy, and within which time: one that is being emptied is not. */
const BUSY_PUTS = 10_000;
const BUSY_MS = 5000;
/** Directories that are watched; more than that are forgotten, and watched anew. */
const WATCHED_MAX = 4096;
/** After a split that another operation was in the way of. */
const RETRY_MS = 50;
/** Small partitions whose siblings were not small are tried again. */
const MERGE_RETRY_MS = 10_000;

/** What has happened in one directory, or partition, since it was counted. */
class Activity {
  put = 0;
  removed = 0;
  /** Since `sinceMs`. */
  allPuts = 0;
  sinceMs = 0;
}

export class Growth {
  readonly #ns: Namespace;
  readonly #committer: CommitterOwn;
  readonly #whenReady: (then: () => void) => void;
  readonly #splitEntries: number;
  readonly #smallEntries: number;
  /** Entries that come, or go, before a directory is counted again. */
  readonly #quantum: number;
  readonly #activities = new Map<number, Activity>();
  /** To be counted when the turn's transaction is over; whether they are busy. */
  readonly #due = new Map<number, boolean>();
  readonly #changing = new Set<number>();
  /** Small partitions that could not be merged. */
  readonly #small = new Set<number>();
  #retry: Timer | undefined;
  #closed = false;
  splits = 0;
  merges = 0;

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
    this.#smallEntries = Math.max(2, Math.floor(splitEntries * SMALL_PART));
    this.#quantum = Math.max(1, Math.floor(splitEntries / 4));
    if (splitEntries === Infinity) return;
    ns.dentries.onChange = (directory, isPut) => {
      this.#changed(directory, isPut);
    };
  }

  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
  }

  #changed(directory: number, isPut: boolean): void {
    let activity = this.#activities.get(directory);
    if (activity === undefined) {
      if (this.#activities.size >= WATCHED_MAX) this.#activities.clear();
      activity = new Activity();
      activity.sinceMs = this.#ns.host.scheduler.nowMs();
      this.#activities.set(directory, activity);
    }
    if (isPut) {
      activity.put++;
      if (++activity.allPuts >= BUSY_PUTS) this.#filled(directory, activity);
    } else activity.removed++;
    if (activity.put < this.#quantum && activity.removed < this.#quantum) return;
    activity.put = 0;
    activity.removed = 0;
    this.#isDue(directory, false);
  }

  /** So many entries were put into it: due if that did not take long. */
  #filled(directory: number, activity: Activity): void {
    const now = this.#ns.host.scheduler.nowMs();
    const isBusy = now - activity.sinceMs <= BUSY_MS;
    activity.allPuts = 0;
    activity.sinceMs = now;
    if (isBusy) this.#isDue(directory, true);
  }

  #isDue(directory: number, isBusy: boolean): void {
    if (this.#due.size === 0) {
      this.#ns.host.scheduler.setTimer(0, () => {
        this.#whenReady(() => {
          this.#look();
        });
      });
    }
    this.#due.set(directory, isBusy || this.#due.get(directory) === true);
  }

  #look(): void {
    const due = [...this.#due];
    this.#due.clear();
    for (const [directory, isBusy] of due) this.#consider(directory, isBusy);
  }

  /** Splits it if it is too large, merges it if it is small. */
  #consider(partition: number, isBusy: boolean): void {
    if (this.#closed || this.#changing.has(partition)) return;
    this.#changing.add(partition);
    const most = isBusy ? this.#smallEntries : this.#splitEntries;
    const found = { bucket: -1, made: 0, isSmall: false };
    this.#committer.enqueueWork(
      () => {
        const entries = this.#count(partition, most);
        found.isSmall = !isBusy && entries < this.#smallEntries && this.#isPartition(partition);
        found.bucket = entries < most ? -1 : (bucketOfHalf(this.#ns, partition) ?? -1);
        // Where it is to lie here its number has to be known beforehand.
        const isHere = found.bucket >= 0 && this.#ns.host.owns(found.bucket);
        found.made = isHere ? this.#ns.allocateInode(found.bucket) : 0;
      },
      () => {
        if (found.bucket >= 0) this.#split(partition, found.bucket, found.made, isBusy);
        else if (found.isSmall) this.#merge(partition);
        else this.#changing.delete(partition);
      },
    );
  }

  /** Its entries, up to so many. */
  #count(partition: number, most: number): number {
    const at = this.#ns.loadDirectory(partition);
    if (at < 0) return -1;
    const flags = this.#ns.inodes.get32(at, InodeRecord.flags);
    return countEntries(this.#ns, partition, rangeOf(this.#ns.meta, partition, flags), most);
  }

  #isPartition(inode: number): boolean {
    return (this.#ns.flagsOf(inode) & FLAG_PARTITION) !== 0;
  }

  #split(partition: number, bucket: number, made: number, isBusy: boolean): void {
    this.#committer.enqueueOwn(split, { partition, bucket, made }, (status) => {
      this.#changing.delete(partition);
      if (status === 0) this.splits++;
      if (status === 0 && isBusy) return;
      // The lower half, or all of it if something was in the way, may be too large still.
      this.#ns.host.scheduler.setTimer(status === 0 ? 0 : RETRY_MS, () => {
        this.#consider(partition, isBusy);
      });
    });
  }

  #merge(partition: number): void {
    const mergeEntries = this.#smallEntries;
    this.#committer.enqueueOwn(merge, { partition, mergeEntries }, (status) => {
      this.#changing.delete(partition);
      if (status === 0) this.merges++;
      else if (this.#small.size < WATCHED_MAX) this.#small.add(partition);
      if (this.#small.size > 0) this.#arm();
    });
  }

  #arm(): void {
    if (this.#retry !== undefined || this.#closed) return;
    this.#retry = this.#ns.host.scheduler.setTimer(MERGE_RETRY_MS, () => {
      this.#retry = undefined;
      const small = [...this.#small];
      this.#small.clear();
      for (const partition of small) this.#consider(partition, false);
    });
  }
}
