/**
 * What an answer from memory depends on: cells of the marks with their versions (versions.ts), and for how long it may be
 * believed. Pooled with the operation that is answered.
 */
import type { Versions } from './versions.js';

/** Of one answer; native/common/intercept_layout.h has room for one more. */
export const DEPENDENCIES_MAX = 23;

export class Dependencies {
  readonly cells = new Uint32Array(DEPENDENCIES_MAX);
  readonly versions = new Uint32Array(DEPENDENCIES_MAX);
  count = 0;
  validMs = 0;
  /** All that it depends on has been added so far. */
  isWhole = false;

  begin(): void {
    this.count = 0;
    this.validMs = Infinity;
    this.isWhole = true;
  }

  /** This answer cannot be remembered. */
  spoil(): void {
    this.isWhole = false;
  }

  add(cell: number, versions: Versions): void {
    if (this.count === DEPENDENCIES_MAX) {
      this.isWhole = false;
      return;
    }
    this.cells[this.count] = cell;
    this.versions[this.count++] = versions.of(cell);
  }

  limit(forMs: number): void {
    if (forMs < this.validMs) this.validMs = forMs;
  }
}
