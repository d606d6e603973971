/**
 * How often names of a directory were looked up, by hash: whether whoever lists it asks for more than names. A
 * collision costs attributes that nobody wants.
 */
import { mixInode } from '../placement/hash.js';

const CELLS = 1024;
const SALT = 41;

export class LookupCounts {
  readonly #counts = new Uint32Array(CELLS);

  add(directory: number): void {
    this.#counts[mixInode(directory, SALT) & (CELLS - 1)]!++;
  }

  of(directory: number): number {
    return this.#counts[mixInode(directory, SALT) & (CELLS - 1)]!;
  }
}
