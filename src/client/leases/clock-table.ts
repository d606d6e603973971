/**
 * A bounded hash table of slot numbers, whose records are columns (typed arrays) of a subclass: nothing is
 * allocated for a record. It grows by doubling up to its limit; beyond that a clock hand takes the slot of a
 * record that has not been used since the hand's last round.
 *
 *   heads[hash] ──> slot ── next ──> slot ── next ──> NONE
 */
export const NONE = -1;
const FIRST_CAPACITY = 256;

export abstract class ClockTable {
  readonly #limit: number;
  #capacity = 0;
  #size = 0;
  #heads = new Int32Array(0);
  #next = new Int32Array(0);
  #hashes = new Uint32Array(0);
  /** 0: the slot is free. */
  #used = new Uint8Array(0);
  #referenced = new Uint8Array(0);
  /** Free slots, chained by `next`. */
  #free = NONE;
  #hand = 0;

  /** `limit`: a power of two. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get size(): number {
    return this.#size;
  }

  /** Slots in use or not are below this. */
  get capacity(): number {
    return this.#capacity;
  }

  /** Columns of this length from now on, with what they hold. */
  protected abstract resized(capacity: number): void;

  /** The record in this slot goes, for want of room. */
  protected evicted(_slot: number): void {
    // Nothing else knows of it.
  }

  isUsed(slot: number): boolean {
    return this.#used[slot] !== 0;
  }

  /** The first slot whose record may have this hash. */
  protected first(hash: number): number {
    if (this.#capacity === 0) return NONE;
    return this.#heads[hash & (this.#capacity - 1)]!;
  }

  protected next(slot: number): number {
    return this.#next[slot]!;
  }

  /** The clock hand passes it once more. */
  protected refer(slot: number): void {
    this.#referenced[slot] = 1;
  }

  /** A slot for a new record with this hash; its columns hold what was there before. */
  protected take(hash: number): number {
    if (this.#free === NONE) {
      if (this.#capacity < this.#limit) this.#grow();
      else this.#evict();
    }
    const slot = this.#free;
    this.#free = this.#next[slot]!;
    this.#used[slot] = 1;
    this.#referenced[slot] = 1;
    this.#hashes[slot] = hash;
    this.#size++;
    this.#link(slot);
    return slot;
  }

  #link(slot: number): void {
    const head = this.#hashes[slot]! & (this.#capacity - 1);
    this.#next[slot] = this.#heads[head]!;
    this.#heads[head] = slot;
  }

  /** The record is forgotten. */
  protected give(slot: number): void {
    const head = this.#hashes[slot]! & (this.#capacity - 1);
    let at = this.#heads[head]!;
    if (at === slot) this.#heads[head] = this.#next[slot]!;
    else {
      while (this.#next[at] !== slot) at = this.#next[at]!;
      this.#next[at] = this.#next[slot]!;
    }
    this.#used[slot] = 0;
    this.#next[slot] = this.#free;
    this.#free = slot;
    this.#size--;
  }

  #grow(): void {
    const from = this.#capacity;
    const capacity = from === 0 ? Math.min(FIRST_CAPACITY, this.#limit) : from * 2;
    this.#capacity = capacity;
    this.#next = grown(this.#next, new Int32Array(capacity));
    this.#hashes = grown(this.#hashes, new Uint32Array(capacity));
    this.#used = grown(this.#used, new Uint8Array(capacity));
    this.#referenced = grown(this.#referenced, new Uint8Array(capacity));
    this.#heads = new Int32Array(capacity).fill(NONE);
    for (let slot = 0; slot < from; slot++) this.#link(slot);
    for (let slot = capacity - 1; slot >= from; slot--) {
      this.#next[slot] = this.#free;
      this.#free = slot;
    }
    this.resized(capacity);
  }

  #evict(): void {
    for (;;) {
      const slot = this.#hand;
      this.#hand = (slot + 1) & (this.#capacity - 1);
      if (this.#used[slot] === 0) continue;
      if (this.#referenced[slot] === 0) {
        this.evicted(slot);
        this.give(slot);
        return;
      }
      this.#referenced[slot] = 0;
    }
  }
}

/** `larger` with what `column` holds at its beginning. */
export function grown<T extends Int32Array | Uint32Array | Float64Array | Uint8Array>(
  column: T,
  larger: T,
): T {
  larger.set(column);
  return larger;
}
