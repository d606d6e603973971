/** At most so many of the same kind of work at a time; whoever came last is let in first. */
export class Limiter {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  /**
   * Runs `work` when there is room for it. The last one waiting goes first, so that whoever walks a tree goes
   * down before it goes on, and what waits is bounded by the tree's depth, not by its width.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
    try {
      return await work();
    } finally {
      const next = this.#waiting.pop();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
