/**
 * Opens of inodes whose attributes the kernel may still believe although no lease covers them: the answer to a
 * look-up was on its way to its process when they were recalled, so the notice found nothing to make
 * invalid (docs/internals.md, "Notices"). Once a file is open its name is not asked for any more, so
 * the kernel is told again, and the open goes on when that is written.
 */
import type { FuseOperation } from './fuse-operation.js';
import { NOTHING_TOLD, NO_ROOM } from './leases/recalls.js';

interface Waiting {
  operation: FuseOperation;
  inode: number;
  number: number;
}

export class AfterNotices {
  #waiting: Waiting[] = [];
  readonly #forget: (inode: number) => number;
  readonly #proceed: (operation: FuseOperation) => void;

  /** `forget`: KernelCache.forgetAttributes. `proceed`: with the open, now or later. */
  constructor(forget: (inode: number) => number, proceed: (operation: FuseOperation) => void) {
    this.#forget = forget;
    this.#proceed = proceed;
  }

  start(operation: FuseOperation, inode: number): void {
    const number = this.#forget(inode);
    if (number === NOTHING_TOLD) this.#proceed(operation);
    else this.#waiting.push({ operation, inode, number });
  }

  /** All notices up to this number are written. */
  written(number: number): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) {
      if (one.number === NO_ROOM) this.start(one.operation, one.inode);
      else if (one.number <= number) this.#proceed(one.operation);
      else this.#waiting.push(one);
    }
  }

  /** Nobody waits for this open any more. False: it is not here. */
  remove(operation: FuseOperation): boolean {
    const at = this.#waiting.findIndex((one) => one.operation === operation);
    if (at >= 0) this.#waiting.splice(at, 1);
    return at >= 0;
  }
}
