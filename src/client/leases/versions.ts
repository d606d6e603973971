/**
 * What shows to others, in memory that they read without asking, that something of this client may have changed: a
 * count for each cell of the marks (change-marks.ts), and their sum. Who remembers an answer remembers the counts of
 * what it depends on, read when the answer was true; while these are the same it is true still. Nothing is counted
 * until somebody may read it.
 *
 * Memory: word 0 the sum, word 16 + i cell i (native/common/intercept_layout.h, Versions).
 */
const FIRST_CELL = 16;
/** Room for all cells, and for those of others behind them. */
export const VERSIONS_WORDS = 17_408;

export class Versions {
  #words: Uint32Array | null = null;

  /** Zeroed, of one reader or many; nobody has remembered anything yet. */
  share(words: Uint32Array): void {
    this.#words = words;
  }

  of(cell: number): number {
    return this.#words === null ? 0 : this.#words[FIRST_CELL + cell]!;
  }

  bump(cell: number): void {
    const words = this.#words;
    if (words === null) return;
    // The sum last: who has seen it has seen the cell.
    Atomics.add(words, FIRST_CELL + cell, 1);
    Atomics.add(words, 0, 1);
  }

  bumpAll(): void {
    const words = this.#words;
    if (words === null) return;
    for (let i = FIRST_CELL; i < words.length; i++) Atomics.add(words, i, 1);
    Atomics.add(words, 0, 1);
  }
}
