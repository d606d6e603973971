/**
 * Which blocks of a target's devices its chunks use, and how often: runs are collected in any order,
 * then swept once.
 *
 *   chunks    a [------]   b [----------]
 *                   c [-----]
 *   segments    [ 1 ][2 ][1 ][    1     ]
 *
 * A place is device times 2^32 plus block, so that all devices are one line of numbers.
 */
import type { ExtentMap } from '../server/data/extent-map.js';

export const DEVICE_PLACES = 4294967296;

/** Blocks [start, end), used by `users` chunks. */
export interface Segment {
  start: number;
  end: number;
  users: number;
}

export function deviceOf(place: number): number {
  return Math.floor(place / DEVICE_PLACES);
}

export function blockOf(place: number): number {
  return place % DEVICE_PLACES;
}

/** Runs of places, each with the index of its chunk. */
export class BlockUse {
  count = 0;
  #starts = new Float64Array(1024);
  #ends = new Float64Array(1024);
  #chunks = new Uint32Array(1024);

  /** Adds what a chunk's map touches: each block once, however many of its extents touch it. */
  add(map: ExtentMap, chunk: number, accepts: (device: number, end: number) => boolean): void {
    const first = this.count;
    for (let i = 0; i < map.count; i++) {
      if (!map.hasBlocks(i)) continue;
      const blocks = map.blockCount(i);
      if (!accepts(map.devices[i]!, map.blocks[i]! + blocks)) continue;
      const start = map.devices[i]! * DEVICE_PLACES + map.blocks[i]!;
      this.#push(start, start + blocks, chunk);
    }
    if (this.count - first > 1) this.#unite(first);
  }

  /** Segments in order of place. */
  sweep(visit: (segment: Segment) => void): void {
    const starts = this.#starts.slice(0, this.count).sort();
    const ends = this.#ends.slice(0, this.count).sort();
    let users = 0;
    let place = 0;
    for (let i = 0, j = 0; j < this.count;) {
      const next = i < this.count ? Math.min(starts[i]!, ends[j]!) : ends[j]!;
      if (users > 0 && next > place) visit({ start: place, end: next, users });
      place = next;
      for (; i < this.count && starts[i] === place; i++) users++;
      for (; j < this.count && ends[j] === place; j++) users--;
    }
  }

  /** Chunks that use a block of [start, end). */
  chunksIn(start: number, end: number): number[] {
    const found = new Set<number>();
    for (let i = 0; i < this.count; i++) {
      if (this.#starts[i]! < end && this.#ends[i]! > start) found.add(this.#chunks[i]!);
    }
    return [...found];
  }

  /** The runs from `first` on, of one chunk, become disjoint. */
  #unite(first: number): void {
    const order = Array.from({ length: this.count - first }, (_, i) => first + i);
    order.sort((a, b) => this.#starts[a]! - this.#starts[b]!);
    const runs = order.map((i) => [this.#starts[i]!, this.#ends[i]!] as const);
    const chunk = this.#chunks[first]!;
    this.count = first;
    for (const [start, end] of runs) {
      const last = this.count - 1;
      if (last >= first && start <= this.#ends[last]!) {
        this.#ends[last] = Math.max(this.#ends[last]!, end);
      } else {
        this.#push(start, end, chunk);
      }
    }
  }

  #push(start: number, end: number, chunk: number): void {
    if (this.count === this.#starts.length) this.#grow();
    this.#starts[this.count] = start;
    this.#ends[this.count] = end;
    this.#chunks[this.count++] = chunk;
  }

  #grow(): void {
    const length = 2 * this.count;
    const [starts, ends, chunks] = [this.#starts, this.#ends, this.#chunks];
    this.#starts = new Float64Array(length);
    this.#ends = new Float64Array(length);
    this.#chunks = new Uint32Array(length);
    this.#starts.set(starts);
    this.#ends.set(ends);
    this.#chunks.set(chunks);
  }
}
