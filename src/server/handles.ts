/**
 * Which inodes are open, by whom: a session registers an inode at its first open and releases it at
 * its last close, whatever the number of handles in between. Kept in memory alone; after a restart
 * clients register again. What it decides is when a file that has no name any more may go.
 */
import type { Session } from '../transport/rpc-server.js';

export class HandleTable {
  /** By inode: how many sessions have it open. */
  readonly #totals = new Map<number, number>();
  readonly #sessions = new Map<Session, Set<number>>();

  get inodes(): number {
    return this.#totals.size;
  }

  isOpen(inode: number): boolean {
    return this.#totals.has(inode);
  }

  isOpenByOthers(session: Session, inode: number): boolean {
    const total = this.#totals.get(inode) ?? 0;
    return total > (this.#sessions.get(session)?.has(inode) === true ? 1 : 0);
  }

  /** Idempotent. */
  open(session: Session, inode: number): void {
    let inodes = this.#sessions.get(session);
    if (inodes === undefined) {
      inodes = new Set();
      this.#sessions.set(session, inodes);
    }
    if (inodes.has(inode)) return;
    inodes.add(inode);
    this.#totals.set(inode, (this.#totals.get(inode) ?? 0) + 1);
  }

  /** Idempotent. True: nobody has it open now. */
  release(session: Session, inode: number): boolean {
    const found = this.#sessions.get(session)?.delete(inode) ?? false;
    return found ? this.#subtract(inode) : !this.#totals.has(inode);
  }

  /** A session has ended; `closed` gets each inode that nobody has open now. */
  drop(session: Session, closed: (inode: number) => void): void {
    const inodes = this.#sessions.get(session);
    if (inodes === undefined) return;
    this.#sessions.delete(session);
    for (const inode of inodes) {
      if (this.#subtract(inode)) closed(inode);
    }
  }

  #subtract(inode: number): boolean {
    const rest = (this.#totals.get(inode) ?? 0) - 1;
    if (rest > 0) {
      this.#totals.set(inode, rest);
      return false;
    }
    this.#totals.delete(inode);
    return true;
  }
}
