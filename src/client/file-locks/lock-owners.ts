/**
 * What this client's processes have locked, by owner and file: to release it when they close or die,
 * to claim it again when a target was restarted, to know who waits while holding something.
 *
 * An owner is what the kernel calls one: a process's table of descriptors (fcntl), an open file (flock,
 * and fcntl's locks of open file descriptions). Targets know owners by small numbers that are ours.
 */
import { LockRanges } from '../../common/lock-ranges.js';
import type { LockOperation } from './lock-operation.js';

export const FAMILY_FCNTL = 0;
export const FAMILY_FLOCK = 1;

/** One owner's locks of one file. */
export class HeldLocks {
  readonly owner: LockOwner;
  readonly inode: number;
  readonly ranges = new LockRanges();
  /** The handle that was locked through last: with it go the locks that no Flush has ended. */
  handle = 0;

  constructor(owner: LockOwner, inode: number) {
    this.owner = owner;
    this.inode = inode;
  }
}

export class LockOwner {
  readonly number: number;
  readonly family: number;
  /** The kernel's 64 bits. */
  readonly low: number;
  readonly high: number;
  /** By inode. */
  readonly files = new Map<number, HeldLocks>();
  /** Operations that are not done. */
  readonly operations = new Set<LockOperation>();

  constructor(number: number, family: number, low: number, high: number) {
    this.number = number;
    this.family = family;
    this.low = low;
    this.high = high;
  }

  /** Nothing is held of this file, nor asked for. */
  isQuietAt(inode: number): boolean {
    if (this.files.has(inode)) return false;
    for (const operation of this.operations) {
      if (operation.inode === inode) return false;
    }
    return true;
  }

  hold(inode: number): HeldLocks {
    let held = this.files.get(inode);
    if (held === undefined) {
      held = new HeldLocks(this, inode);
      this.files.set(inode, held);
    }
    return held;
  }
}

export class LockOwners {
  /** By low word: what differs beyond it is in one list. */
  readonly #byName = new Map<number, LockOwner[]>();
  readonly #byNumber = new Map<number, LockOwner>();
  #numbers = 0;

  get count(): number {
    return this.#byNumber.size;
  }

  values(): Iterable<LockOwner> {
    return this.#byNumber.values();
  }

  find(family: number, low: number, high: number): LockOwner | undefined {
    return this.#byName.get(low)?.find((owner) => owner.high === high && owner.family === family);
  }

  byNumber(number: number): LockOwner | undefined {
    return this.#byNumber.get(number);
  }

  take(family: number, low: number, high: number): LockOwner {
    const found = this.find(family, low, high);
    if (found !== undefined) return found;
    const owner = new LockOwner(++this.#numbers, family, low, high);
    this.#byNumber.set(owner.number, owner);
    const list = this.#byName.get(low);
    if (list === undefined) this.#byName.set(low, [owner]);
    else list.push(owner);
    return owner;
  }

  /** Forgets an owner that neither holds nor asks for anything. */
  tidy(owner: LockOwner): void {
    if (owner.files.size > 0 || owner.operations.size > 0) return;
    this.#byNumber.delete(owner.number);
    const list = this.#byName.get(owner.low);
    const at = list?.indexOf(owner) ?? -1;
    if (list === undefined || at < 0) return;
    list.splice(at, 1);
    if (list.length === 0) this.#byName.delete(owner.low);
  }
}
