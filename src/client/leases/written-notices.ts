/**
 * Notices to the kernel that are written, on their way to who waits for them. Where the kernel was not made to forget
 * names, because something is mounted below one of them, they wait until it has stopped believing any:
 *
 *   written(n) ─┬─ names kept for t ms ──> … t ms ──┐
 *               └───────────────────────────────────┴──> onWritten(n)
 *
 * No names are told to it meanwhile, so that happens once for each time that something is mounted.
 */
import type { Scheduler } from '../../common/scheduler.js';
import type { KernelValidity } from './kernel-validity.js';

export class WrittenNotices {
  readonly #validity: Pick<KernelValidity, 'keepsNamesMs'>;
  readonly #scheduler: Scheduler;
  readonly #onWritten: (number: number) => void;
  #number = 0;
  #isWaiting = false;

  constructor(
    validity: Pick<KernelValidity, 'keepsNamesMs'>,
    scheduler: Scheduler,
    onWritten: (number: number) => void,
  ) {
    this.#validity = validity;
    this.#scheduler = scheduler;
    this.#onWritten = onWritten;
  }

  /** Of the session: all up to this number. */
  written(number: number): void {
    this.#number = number;
    if (!this.#isWaiting) this.#proceed();
  }

  #proceed(): void {
    const waitMs = this.#validity.keepsNamesMs;
    this.#isWaiting = waitMs > 0;
    if (!this.#isWaiting) {
      this.#onWritten(this.#number);
      return;
    }
    this.#scheduler.setTimer(waitMs, () => {
      this.#proceed();
    });
  }
}
