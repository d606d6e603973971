/**
 * What prepared steps hold until their transaction is resolved: entries (a directory and a name's
 * hash), inodes, and rename tokens. Locks live in memory; those of intents are made anew from their
 * records at a start. The table is empty nearly always, and then costs a look at its size.
 *
 * Nobody waits here while holding a lock, so no ring of waiters can form: who holds something and
 * meets a lock gives up what it holds and begins again (coordinator.ts).
 */
import { BLOCKED } from './step.js';

/** What an inode is locked for. */
export const LOCK_LINKS = 1;
/** The directory is about to be removed. */
export const LOCK_REMOVAL = 2;
/** The directory is about to get another parent, or a moved inode another ctime. */
export const LOCK_MOVE = 3;
export const LOCK_ENTRY = 4;
/** Of a volume's root: the right to give directories another parent. */
export const LOCK_TOKEN = 5;
/** Of a partition: its entries from a hash on are being moved; they may be looked at. */
export const LOCK_FREEZE = 6;
/** The directory's table of partitions is about to change, or a partition's range. */
export const LOCK_TABLE = 7;
/** What new entries of the partition inherit is about to change. */
export const LOCK_INHERIT = 8;

export interface Lock {
  readonly kind: number;
  /** The inode; of an entry, its directory. */
  readonly inode: number;
  /** Of an entry's name; of a freeze, the first one that it holds; else 0. */
  readonly hash: number;
  /** Whose it is: compared by identity. */
  readonly owner: LockOwner;
  /** Of locks of a table: they grow. */
  readonly number: number;
  released: boolean;
  /** Called once when it is released. */
  readonly waiters: (() => void)[];
}

export interface LockOwner {
  /** Of a participant: reads wait, too. The coordinator's own see the state before. */
  readonly blocksReads: boolean;
}

/** What an operation has met. */
export interface Blockable {
  blockedBy: Lock | undefined;
}

/** The operation meets this lock: its outcome. */
export function blockedBy(call: Blockable, lock: Lock): number {
  call.blockedBy = lock;
  return BLOCKED;
}

/** `then` when the lock that the operation has met is gone; at once if it is already. */
export function whenReleased(call: Blockable, then: () => void): void {
  const lock = call.blockedBy;
  call.blockedBy = undefined;
  if (lock === undefined || lock.released) then();
  else lock.waiters.push(then);
}

export class LockTable {
  readonly #inodes = new Map<number, Lock>();
  readonly #tokens = new Map<number, Lock>();
  readonly #entries = new Map<number, Map<number, Lock>>();
  readonly #freezes = new Map<number, Lock>();
  #size = 0;
  #next = 1;

  /** Number of the next lock. */
  get next(): number {
    return this.#next;
  }

  get size(): number {
    return this.#size;
  }

  /** The lock that is in the way, or undefined when the owner has it now. */
  acquire(owner: LockOwner, kind: number, inode: number, hash = 0): Lock | undefined {
    const held = this.#find(kind, inode, hash);
    if (held !== undefined) return held.owner === owner ? undefined : held;
    const number = this.#next++;
    const lock = { kind, inode, hash, owner, number, released: false, waiters: [] };
    if (kind === LOCK_ENTRY) {
      const names = this.#entries.get(inode) ?? new Map<number, Lock>();
      this.#entries.set(inode, names.set(hash, lock));
    } else this.#tableOf(kind).set(inode, lock);
    this.#size++;
    return undefined;
  }

  #find(kind: number, inode: number, hash: number): Lock | undefined {
    if (kind === LOCK_ENTRY) return this.#entries.get(inode)?.get(hash);
    return this.#tableOf(kind).get(inode);
  }

  #tableOf(kind: number): Map<number, Lock> {
    if (kind === LOCK_TOKEN) return this.#tokens;
    return kind === LOCK_FREEZE ? this.#freezes : this.#inodes;
  }

  /** Whatever this inode is locked for. */
  inode(inode: number): Lock | undefined {
    return this.#size === 0 ? undefined : this.#inodes.get(inode);
  }

  /** Nothing may be added: the directory is about to be removed, or what it gives to new entries changes. */
  removal(directory: number): Lock | undefined {
    const lock = this.inode(directory);
    return lock?.kind === LOCK_REMOVAL || lock?.kind === LOCK_INHERIT ? lock : undefined;
  }

  /** Entries of the directory are being moved to another partition. */
  freeze(directory: number): Lock | undefined {
    return this.#size === 0 ? undefined : this.#freezes.get(directory);
  }

  /** The name is being moved to another partition. */
  frozen(directory: number, hash: number): Lock | undefined {
    const lock = this.freeze(directory);
    return lock !== undefined && hash >= lock.hash ? lock : undefined;
  }

  /** Of the directory's entries from this hash on: any. */
  entryFrom(directory: number, hash: number): Lock | undefined {
    for (const lock of this.#entries.get(directory)?.values() ?? []) {
      if (lock.hash >= hash) return lock;
    }
    return undefined;
  }

  entry(directory: number, hash: number): Lock | undefined {
    return this.#size === 0 ? undefined : this.#entries.get(directory)?.get(hash);
  }

  /** Of any entry of this directory: the oldest. */
  anyEntry(directory: number): Lock | undefined {
    if (this.#size === 0) return undefined;
    for (const lock of this.#entries.get(directory)?.values() ?? []) return lock;
    return undefined;
  }

  /** How many entries of this directory are locked. */
  entriesOf(directory: number): number {
    return this.#size === 0 ? 0 : (this.#entries.get(directory)?.size ?? 0);
  }

  /** What is about to change its attributes: of a directory that is any of its entries, too. */
  attributes(inode: number): Lock | undefined {
    return this.inode(inode) ?? this.anyEntry(inode);
  }

  /** Releases a lock of this owner, if it has it, and tells those that wait. */
  release(owner: LockOwner, kind: number, inode: number, hash = 0): void {
    const lock = this.#find(kind, inode, hash);
    if (lock?.owner !== owner) return;
    if (kind === LOCK_ENTRY) {
      const names = this.#entries.get(inode)!;
      names.delete(hash);
      if (names.size === 0) this.#entries.delete(inode);
    } else this.#tableOf(kind).delete(inode);
    this.#size--;
    lock.released = true;
    for (const waiter of lock.waiters) waiter();
  }
}
