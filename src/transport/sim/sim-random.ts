/** A small seeded generator (sfc32) and integer mixing for the simulator. */

/** A bijection of 32-bit words with full avalanche. */
export function mix32(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x21f0aaad);
  h = Math.imul(h ^ (h >>> 15), 0x735a2d97);
  return (h ^ (h >>> 15)) >>> 0;
}

export function mixPair(a: number, b: number): number {
  return mix32(mix32((a + 0x9e3779b9) | 0) ^ Math.imul(b | 0, 0x85ebca6b));
}

export class SimRandom {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = mix32(seed);
    this.#b = mix32(seed + 1);
    this.#c = mix32(seed + 2);
    for (let i = 0; i < 12; i++) this.word();
  }

  /** A uniform u32. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    return this.word() / 4294967296;
  }

  /** An integer in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.next() < probability;
  }
}
