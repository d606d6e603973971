/**
 * Virtual time for any number of simulated nodes in one process: a heap of events, one seeded
 * generator, and a running hash of all that happens. The same seed gives the same trace, on every
 * machine; no real timer or clock is used.
 */
import { mix32, mixPair } from './sim-random.js';
import { SimRandom } from './sim-random.js';

interface SimEvent {
  atMs: number;
  /** Ties in time are broken by the order of scheduling. */
  order: number;
  /** Null: cancelled. */
  run: (() => void) | null;
}

export interface SimHandle {
  cancel(): void;
}

export class SimWorld {
  readonly seed: number;
  readonly random: SimRandom;
  #nowMs = 0;
  #order = 0;
  readonly #heap: SimEvent[] = [];
  #hashA: number;
  #hashB: number;
  #traced = 0;
  /** Set by a caller that wants to see the trace's lines as they come. */
  onTrace: ((line: string) => void) | undefined = undefined;

  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.random = new SimRandom(this.seed);
    this.#hashA = mix32(this.seed);
    this.#hashB = mix32(~this.seed);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events traced so far. */
  get traceLength(): number {
    return this.#traced;
  }

  /** Of everything traced so far, 16 hex digits. */
  get traceHash(): string {
    const hex = (word: number) => word.toString(16).padStart(8, '0');
    return hex(this.#hashA) + hex(this.#hashB);
  }

  /** Adds an event to the trace: what, and up to three numbers that describe it. */
  trace(what: string, a = 0, b = 0, c = 0): void {
    let word = mixPair(Math.floor(this.#nowMs * 1000), this.#traced++);
    for (let i = 0; i < what.length; i++) word = mixPair(word, what.charCodeAt(i));
    word = mixPair(mixPair(mixPair(word, a), b), c);
    this.#hashA = mixPair(this.#hashA, word);
    this.#hashB = mixPair(this.#hashB, word ^ this.#hashA);
    this.onTrace?.(`${this.#nowMs.toFixed(3)} ${what} ${a} ${b} ${c}`);
  }

  /** Runs `run` after `delayMs` of virtual time. */
  schedule(delayMs: number, run: () => void): SimHandle {
    const event: SimEvent = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run };
    this.#push(event);
    return {
      cancel: () => {
        event.run = null;
      },
    };
  }

  /** Runs the next event; false when there is none. */
  step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined) return false;
      if (event.run === null) continue;
      this.#nowMs = event.atMs;
      event.run();
      return true;
    }
  }

  /**
   * Runs events until `until` holds (checked after each) or `forMs` of virtual time have passed;
   * returns whether it holds.
   */
  run(until: () => boolean, forMs: number): boolean {
    const end = this.#nowMs + forMs;
    while (!until()) {
      const next = this.#peek();
      if (next === undefined || next.atMs > end) {
        this.#nowMs = end;
        return until();
      }
      this.step();
    }
    return true;
  }

  /** As `run`, letting promise reactions happen after each event: for code that uses promises. */
  async runAsync(until: () => boolean, forMs: number): Promise<boolean> {
    const end = this.#nowMs + forMs;
    while (!until()) {
      const next = this.#peek();
      if (next === undefined || next.atMs > end) {
        this.#nowMs = end;
        return until();
      }
      this.step();
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
    return true;
  }

  // A binary heap by (atMs, order).

  #before(a: SimEvent, b: SimEvent): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.push(event) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #peek(): SimEvent | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.run === null) this.#pop();
    return this.#heap[0];
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
