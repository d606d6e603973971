/**
 * What a kernel may believe of what it was answered under leases, and how it is made to forget. What was
 * said is remembered by hash, as the time until which it may be believed: a recall of something else need not
 * trouble the kernel. Names are told to it only where it can be made to forget them, all at once.
 */
import { mixInode } from '../../placement/hash.js';
import type { KernelCache } from './recalls.js';
import { NO_ROOM, NOTHING_TOLD } from './recalls.js';

/** What the FUSE session offers: notices with numbers, 0: no room (src/native/fuse.ts). */
export interface KernelNotices {
  notifyInode(inode: number): number;
  notifyEpoch(): number;
  /** Something is mounted on the volume: notifyEpoch does nothing. */
  readonly isCovered: boolean;
}

const CELLS = 16_384;
const SALT = 31;
/** An answer may be on its way to the kernel for so long. */
const SLACK_MS = 2000;
/** How often it is asked whether anything is mounted on the volume still. */
const COVER_CHECK_MS = 500;

function cellOf(inode: number): number {
  return mixInode(inode, SALT) & (CELLS - 1);
}

export class KernelValidity implements KernelCache {
  readonly #nowMs: () => number;
  #notices: KernelNotices | null = null;
  #namesWork = false;
  /** Until when the kernel may believe names of directories, attributes of inodes. */
  readonly #namesUntil = new Float64Array(CELLS);
  readonly #attributesUntil = new Float64Array(CELLS);
  /** By cell: the inode that `forgetChanged` told of, its notice, and whether nothing was said of the cell since. */
  readonly #toldInode = new Float64Array(CELLS);
  readonly #toldNumber = new Float64Array(CELLS);
  /** By cell of a directory: how often all names had been forgotten when one of its was last told. */
  readonly #namesEpoch = new Float64Array(CELLS);
  #epochs = 0;
  /** The notice of the last time. */
  #epochNumber = NOTHING_TOLD;
  /** Until when the kernel may believe any name. */
  #anyNameUntil = 0;
  /** Something is mounted on the volume: names are not told; those that were are kept until then. */
  #isCovered = false;
  #keptUntil = 0;
  #coverCheckedMs = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** The mount works. `namesWork`: the kernel forgets all names when it is told to. */
  ready(notices: KernelNotices, namesWork: boolean): void {
    this.#notices = notices;
    this.#namesWork = namesWork;
  }

  /** The mount has gone: there is nobody to tell. */
  ended(): void {
    this.#notices = null;
  }

  /** For how long a name in `directory` that is answered now is to be believed. */
  nameMs(directory: number, leasedMs: number): number {
    if (!this.#namesWork || leasedMs <= 0 || this.#staysCovered()) return 0;
    this.tellsName(directory, leasedMs);
    return leasedMs;
  }

  #staysCovered(): boolean {
    if (!this.#isCovered) return false;
    const now = this.#nowMs();
    if (now - this.#coverCheckedMs >= COVER_CHECK_MS) {
      this.#coverCheckedMs = now;
      this.#isCovered = this.#notices?.isCovered ?? false;
    }
    return this.#isCovered;
  }

  /** Of the session: all names were not forgotten, for the sake of what is mounted below one of them. */
  namesKept(): void {
    this.#isCovered = true;
    this.#keptUntil = this.#anyNameUntil + SLACK_MS;
  }

  /** For how long the kernel goes on believing names that it was to forget, in ms. */
  get keepsNamesMs(): number {
    return Math.max(0, this.#keptUntil - this.#nowMs());
  }

  /**
   * The kernel moves what it believes of a name of `from` to `to` (the other way round, too, if they are `exchanged`),
   * where leases cover it for `heldMs`. Where that is not enough it is made to forget all names: the notice's number.
   */
  namesMoved(from: number, to: number, exchanged: boolean, heldMs: number): number {
    if (!this.#namesWork) return NOTHING_TOLD;
    const of = cellOf(from);
    const other = cellOf(to);
    const moved = this.#namesUntil[of]!;
    const until = exchanged ? Math.max(moved, this.#namesUntil[other]!) : moved;
    if (until + SLACK_MS <= this.#nowMs()) return NOTHING_TOLD;
    if (until > this.#nowMs() + heldMs) return this.forgetAllNames();
    this.#takeOver(other, of);
    if (exchanged) this.#takeOver(of, other);
    return NOTHING_TOLD;
  }

  /** Names of `from` count as names of `cell`, too. */
  #takeOver(cell: number, from: number): void {
    for (const known of [this.#namesUntil, this.#namesEpoch]) {
      known[cell] = Math.max(known[cell]!, known[from]!);
    }
  }

  /** Of KernelCache. */
  tellsName(home: number, forMs: number): void {
    if (!this.#namesWork || forMs <= 0 || this.#isCovered) return;
    this.#note(this.#namesUntil, home, forMs);
    this.#namesEpoch[cellOf(home)] = this.#epochs;
    this.#anyNameUntil = Math.max(this.#anyNameUntil, this.#nowMs() + forMs);
  }

  attributesMs(inode: number, leasedMs: number): number {
    if (leasedMs <= 0 || this.#notices === null) return 0;
    this.#note(this.#attributesUntil, inode, leasedMs);
    this.#toldInode[cellOf(inode)] = 0;
    return leasedMs;
  }

  #note(until: Float64Array, inode: number, forMs: number): void {
    const cell = cellOf(inode);
    const end = this.#nowMs() + forMs;
    if (until[cell]! < end) until[cell] = end;
  }

  #mayBelieve(until: Float64Array, inode: number): boolean {
    return until[cellOf(inode)]! + SLACK_MS > this.#nowMs();
  }

  forgetAttributes(inode: number): number {
    if (this.#notices === null || !this.#mayBelieve(this.#attributesUntil, inode)) {
      return NOTHING_TOLD;
    }
    return this.#notices.notifyInode(inode) || NO_ROOM;
  }

  /**
   * The same after a change of ours that the kernel did not see, of an inode that it has open: what was told since the
   * last answer about it is not told again. The number of that notice is returned once more.
   */
  forgetChanged(inode: number): number {
    const cell = cellOf(inode);
    if (this.#toldInode[cell] === inode) return this.#toldNumber[cell]!;
    const number = this.forgetAttributes(inode);
    if (number > 0) {
      this.#toldInode[cell] = inode;
      this.#toldNumber[cell] = number;
    }
    return number;
  }

  forgetNames(directory: number): number {
    return this.#mayBelieve(this.#namesUntil, directory) ? this.forgetAllNames() : NOTHING_TOLD;
  }

  /**
   * The same after a change of ours that the kernel did not see: where no name of the directory was told since all
   * were forgotten the last time, that notice counts once more. (An answer that was asked for before a notice is not
   * believed after it: FUSE_NOTIFY_INC_EPOCH.)
   */
  forgetChangedNames(directory: number): number {
    const isForgotten = this.#namesEpoch[cellOf(directory)]! < this.#epochs;
    return isForgotten ? this.#epochNumber : this.forgetNames(directory);
  }

  forgetAllNames(): number {
    if (this.#notices === null || !this.#namesWork) return NOTHING_TOLD;
    const number = this.#notices.notifyEpoch() || NO_ROOM;
    if (number === NO_ROOM) return number;
    this.#epochs++;
    this.#epochNumber = number;
    return number;
  }
}
