/**
 * Requests that wait until the kernel has been told to forget an inode's attributes, or more. Three kinds of them: programs'
 * own changes that the kernel did not see (intercept-front.ts), before they are answered; in FuseFront renames, with which
 * the kernel moves what it believes of a name to another, of which perhaps no lease is held; and there, too,
 * opens of inodes whose attributes the kernel may still believe although no lease covers them: the answer to a
 * look-up was on its way to its process when they were recalled, so the notice found nothing to make
 * invalid (docs/internals.md, "Notices"). Once a file is open its name is not asked for any more, so
 * the kernel is told again, and the open goes on when that is written.
 */
import { NOTHING_TOLD, NO_ROOM } from './leases/recalls.js';

interface Waiting<T> {
  operation: T;
  inode: number;
  number: number;
}

export class AfterNotices<T> {
  #waiting: Waiting<T>[] = [];
  #written = 0;
  readonly #forget: (inode: number, operation: T) => number;
  readonly #proceed: (operation: T) => void;

  /** `forget`: as KernelCache.forgetAttributes. `proceed`: now or later. */
  constructor(forget: (inode: number, operation: T) => number, proceed: (operation: T) => void) {
    this.#forget = forget;
    this.#proceed = proceed;
  }

  start(operation: T, inode: number): void {
    const number = this.#forget(inode, operation);
    const isWritten = number > 0 && number <= this.#written;
    if (number === NOTHING_TOLD || isWritten) this.#proceed(operation);
    else this.#waiting.push({ operation, inode, number });
  }

  /** All notices up to this number are written. */
  written(number: number): void {
    this.#written = number;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (one.number === NO_ROOM) this.start(one.operation, one.inode);
      else if (one.number <= number) this.#proceed(one.operation);
      else this.#waiting.push(one);
    }
  }

  /** Nobody waits for this one any more. False: it is not here. */
  remove(operation: T): boolean {
    const at = this.#waiting.findIndex((one) => one.operation === operation);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }
}
