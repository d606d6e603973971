/**
 * Recalls under way: objects that somebody has changed while others held leases on some of them. Until each of
 * them has returned what it held, the change is not answered, and whoever reads or changes any of its objects
 * waits: who saw a part of the change could tell somebody who still believes another part's old state.
 */
import { NOTICE_DIRECTORY, NOTICE_ENTRY, NOTICE_INODE } from '../../protocol/leases.js';
import type { Lock, LockOwner } from '../transactions/locks.js';

const owner: LockOwner = { blocksReads: true };

/** What operations meet as a lock: they wait for it in the same way. */
export class Recall implements Lock {
  /** NOTICE_… */
  readonly kind: number;
  readonly inode: number;
  readonly hash: number;
  readonly owner = owner;
  readonly number = 0;
  /** The recalls of all changes that this one's objects belong to: they are over together. */
  group: Recall[] = [this];
  /** Numbers of the sessions that have not returned it. */
  readonly holders = new Set<number>();
  released = false;
  readonly waiters: (() => void)[] = [];

  constructor(kind: number, inode: number, hash: number) {
    this.kind = kind;
    this.inode = inode;
    this.hash = hash;
  }
}

function isOfEntries({ kind }: Recall): boolean {
  return kind === NOTICE_ENTRY || kind === NOTICE_DIRECTORY;
}

export class RecallTable {
  /** By inode, for an entry its directory's: few, and nearly always none. */
  readonly #byInode = new Map<number, Recall[]>();
  #everything: Recall | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(kind: number, inode: number, hash: number): Recall | undefined {
    if (this.#size === 0) return undefined;
    return this.#byInode.get(inode)?.find((one) => one.kind === kind && one.hash === hash);
  }

  /** The one under way, or a new one. */
  open(kind: number, inode: number, hash: number): Recall {
    const known = this.find(kind, inode, hash);
    if (known !== undefined) return known;
    const recall = new Recall(kind, inode, hash);
    const others = this.#byInode.get(inode);
    if (others === undefined) this.#byInode.set(inode, [recall]);
    else others.push(recall);
    this.#size++;
    return recall;
  }

  /** They are of one change. */
  join(recalls: readonly Recall[]): void {
    const [first] = recalls;
    for (const { group } of recalls) {
      if (first === undefined || group === first.group) continue;
      for (const each of group) {
        first.group.push(each);
        each.group = first.group;
      }
    }
  }

  /** Everybody has returned everything of the group. */
  close(recall: Recall): void {
    for (const each of recall.group) this.#close(each);
    // Now that all are out of the way: whoever goes on may begin recalls of the same objects.
    for (const each of recall.group) release(each);
  }

  #close(recall: Recall): void {
    const others = this.#byInode.get(recall.inode)!;
    if (others.length === 1) this.#byInode.delete(recall.inode);
    else others.splice(others.indexOf(recall), 1);
    this.#size--;
    recall.released = true;
  }

  /** What answers of any kind wait for, those that are given for the second time too. */
  get everything(): Recall | undefined {
    return this.#everything;
  }

  /** After a restart: nobody is to see anything until `closeAll`. */
  openAll(): void {
    this.#everything = new Recall(NOTICE_INODE, 0, 0);
    this.#size++;
  }

  closeAll(): void {
    const recall = this.#everything;
    if (recall === undefined) return;
    this.#everything = undefined;
    this.#size--;
    recall.released = true;
    release(recall);
  }

  /** All of this inode, and of entries of this directory. */
  of(inode: number): Recall[] {
    return [...(this.#byInode.get(inode) ?? [])];
  }

  /** What answers about this inode's record wait for. */
  inode(inode: number): Recall | undefined {
    return this.#everything ?? this.find(NOTICE_INODE, inode, 0);
  }

  /** What answers about this name wait for. */
  entry(directory: number, hash: number): Recall | undefined {
    if (this.#size === 0) return undefined;
    return (
      this.#everything ??
      this.find(NOTICE_ENTRY, directory, hash) ??
      this.find(NOTICE_DIRECTORY, directory, 0)
    );
  }

  /** What a listing waits for. */
  anyEntry(directory: number): Recall | undefined {
    if (this.#size === 0) return undefined;
    return this.#everything ?? this.#byInode.get(directory)?.find(isOfEntries);
  }
}

function release({ waiters }: Recall): void {
  for (const waiter of waiters) waiter();
}
