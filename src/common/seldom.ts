/**
 * A log for what somebody may cause as often as they like: one line in `intervalMs` at most, with how many were kept
 * back before it.
 */
import type { Scheduler } from './scheduler.js';

const DEFAULT_INTERVAL_MS = 1000;

export class SeldomLog {
  readonly #scheduler: Pick<Scheduler, 'nowMs'>;
  readonly #log: (message: string) => void;
  readonly #intervalMs: number;
  #nextMs = -Infinity;
  #keptBack = 0;

  constructor(
    scheduler: Pick<Scheduler, 'nowMs'>,
    log: (message: string) => void,
    intervalMs = DEFAULT_INTERVAL_MS,
  ) {
    this.#scheduler = scheduler;
    this.#log = log;
    this.#intervalMs = intervalMs;
  }

  say(message: string): void {
    const nowMs = this.#scheduler.nowMs();
    if (nowMs < this.#nextMs) {
      this.#keptBack++;
      return;
    }
    const more = this.#keptBack === 0 ? '' : ` (${this.#keptBack} more of the kind before)`;
    this.#nextMs = nowMs + this.#intervalMs;
    this.#keptBack = 0;
    this.#log(message + more);
  }
}
