/**
 * Bounds background work to so many bytes a second: a bucket that fills with time and may be
 * overdrawn by the last piece taken out of it, which the next one then waits for.
 *
 *   fills at the rate, up to a tenth of a second's ──> work while it is above 0, each piece takes its bytes
 *   below 0: `waitMs` until it is above again
 */
import type { Scheduler } from '../common/scheduler.js';

/** What may be done at once after a pause. */
const BURST_MS = 100;
/** Timers below this are not worth a wake-up. */
const WAIT_MIN_MS = 5;

export class Pace {
  readonly #scheduler: Scheduler;
  #bytesPerSecond: number;
  #available: number;
  #filledAtMs: number;

  constructor(scheduler: Scheduler, bytesPerSecond: number) {
    this.#scheduler = scheduler;
    this.#bytesPerSecond = bytesPerSecond;
    this.#available = (bytesPerSecond / 1000) * BURST_MS;
    this.#filledAtMs = scheduler.nowMs();
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond;
  }

  set bytesPerSecond(rate: number) {
    this.#fill();
    this.#bytesPerSecond = rate;
  }

  /** How long the next piece has to wait; 0: it may begin. */
  waitMs(): number {
    this.#fill();
    if (this.#available > 0) return 0;
    return Math.max(WAIT_MIN_MS, (1 - this.#available) / (this.#bytesPerSecond / 1000));
  }

  spend(bytes: number): void {
    this.#available -= bytes;
  }

  #fill(): void {
    const now = this.#scheduler.nowMs();
    const perMs = this.#bytesPerSecond / 1000;
    const grown = (now - this.#filledAtMs) * perMs;
    this.#available = Math.min(perMs * BURST_MS, this.#available + grown);
    this.#filledAtMs = now;
  }
}
