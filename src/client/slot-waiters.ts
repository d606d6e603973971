/** Bulk slots for promise code: whoever finds none waits in line until another is done. */
import type { SlotPool } from '../native/arena-memory.js';

/** Slots that are left to others of the same arena. */
const RESERVE = 2;

export class SlotWaiters {
  readonly #pool: SlotPool;
  readonly #waiting: (() => void)[] = [];

  constructor(pool: SlotPool) {
    this.#pool = pool;
  }

  /** Lends `body` a slot's payload until its promise is settled. */
  async use<T>(body: (offset: number) => Promise<T>): Promise<T> {
    let offset = this.#take();
    while (offset === 0) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
      offset = this.#take();
    }
    try {
      return await body(offset);
    } finally {
      this.#pool.give(offset);
      this.#waiting.shift()?.();
    }
  }

  #take(): number {
    return this.#pool.available > RESERVE ? this.#pool.take() : 0;
  }
}
