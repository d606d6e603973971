/**
 * A thread's turns, the real ones: one native poller (native/core) harvests every source and calls
 * `#nativeTurn` once; each source's handler takes its records, then the turn-end hooks run, then
 * the poller has every source submit. Work that begins outside (a timer, a promise) runs as a turn
 * of its own, without a harvest, and ends the same way.
 *
 *   native:  harvest all ─> [ handlers ─> hooks ] ─> submit all ─> poll or sleep
 *   timer, requestTurn:     [ body     ─> hooks ] ─> kick: submit all, poll a while
 */
import { coreAddon, type NativeHandle, type NativePoller } from './core.js';
import { TurnState } from './core-layout.generated.js';
import type { Scheduler, Timer, WallClock } from '../common/scheduler.js';

const TURN_WANTED = TurnState.turnWanted / 4;
const COUNTS = TurnState.SIZE / 4;
const WALL_SECONDS = TurnState.wallSeconds / 8;
const WALL_NANOSECONDS = TurnState.wallNanoseconds / 8;

export interface ReactorOptions {
  /** Longest polling before sleep, in microseconds, with nothing outstanding. Default 50. */
  spinUs?: number;
  /** The same while an engine has operations outstanding. Default 200. */
  spinWaitingUs?: number;
}

export interface ReactorCounters {
  /** Calls of JavaScript by the native poller. */
  turns: number;
  records: number;
  /** Harvests that found nothing. */
  polls: number;
  sleeps: number;
  /** Polling that found something before its limit. */
  spinHits: number;
  spinNanoseconds: number;
}

interface Hook {
  order: number;
  run: () => void;
}

function nothing(): void {
  // The handler of a number without a source.
}

export class Reactor implements Scheduler {
  readonly #poller: NativePoller;
  readonly #words: Uint32Array;
  readonly #doubles: Float64Array;
  readonly #handlers: ((count: number) => void)[] = [];
  readonly #hooks: Hook[] = [];
  readonly #wall: WallClock = { seconds: 0, nanoseconds: 0 };
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #requestedTurn = () => {
    this.#requested = false;
    this.#ownTurn(nothing);
  };
  #inTurn = false;
  #inHooks = false;
  #requested = false;
  #closed = false;

  constructor(options: ReactorOptions = {}) {
    const addon = coreAddon();
    this.#poller = new addon.Poller(() => this.#nativeTurn());
    const state = this.#poller.state;
    this.#words = new Uint32Array(state);
    this.#doubles = new Float64Array(state, 0, TurnState.SIZE / 8);
    if (options.spinUs !== undefined || options.spinWaitingUs !== undefined) {
      this.#poller.setSpin(options.spinUs ?? 50, options.spinWaitingUs ?? 200);
    }
  }

  /** True inside a turn: what is queued now leaves at its end by itself. */
  get inTurn(): boolean {
    return this.#inTurn;
  }

  /**
   * Adds an engine; `onHarvest` is called once in every turn in which it has records. Returns the
   * number for `removeSource`. The poller shares ownership of the engine.
   */
  addSource(source: NativeHandle, onHarvest: (count: number) => void): number {
    const number = this.#poller.add(source);
    this.#handlers[number] = onHarvest;
    return number;
  }

  removeSource(number: number): void {
    this.#poller.remove(number);
    this.#handlers[number] = nothing;
  }

  nowMs(): number {
    return performance.now();
  }

  wallClock(): WallClock {
    if (!this.#inTurn) this.#poller.stamp();
    this.#wall.seconds = this.#doubles[WALL_SECONDS]!;
    this.#wall.nanoseconds = this.#doubles[WALL_NANOSECONDS]!;
    return this.#wall;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timeout = setTimeout(() => {
      this.#timers.delete(timeout);
      this.#ownTurn(callback);
    }, delayMs);
    this.#timers.add(timeout);
    return {
      cancel: () => {
        this.#timers.delete(timeout);
        clearTimeout(timeout);
      },
    };
  }

  onTurnEnd(order: number, run: () => void): void {
    this.#hooks.push({ order, run });
    this.#hooks.sort((a, b) => a.order - b.order);
  }

  requestTurn(): void {
    if (this.#inTurn) {
      // A hook that asks wants hooks before it to run again: soon, but after submissions.
      if (this.#inHooks) this.#words[TURN_WANTED] = 1;
      return;
    }
    if (this.#requested || this.#closed) return;
    this.#requested = true;
    queueMicrotask(this.#requestedTurn);
  }

  random(): number {
    return Math.random();
  }

  get counters(): ReactorCounters {
    const at = (field: number) => this.#doubles[field / 8]!;
    return {
      turns: at(TurnState.turns),
      records: at(TurnState.records),
      polls: at(TurnState.polls),
      sleeps: at(TurnState.sleeps),
      spinHits: at(TurnState.spinHits),
      spinNanoseconds: at(TurnState.spinNanoseconds),
    };
  }

  /** Whether the reactor keeps the process alive; it does from the start. */
  setRef(keepAlive: boolean): void {
    this.#poller.setRef(keepAlive);
  }

  /** Drops all sources and timers; no handler, hook or timer runs afterwards. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const timeout of this.#timers) clearTimeout(timeout);
    this.#timers.clear();
    this.#poller.close();
  }

  #nativeTurn(): void {
    this.#inTurn = true;
    try {
      const handlers = this.#handlers;
      for (let i = 0; i < handlers.length && !this.#closed; i++) {
        const count = this.#words[COUNTS + i]!;
        if (count > 0) handlers[i]!(count);
      }
      this.#runHooks();
    } finally {
      this.#inTurn = false;
      this.#inHooks = false;
    }
  }

  #ownTurn(body: () => void): void {
    if (this.#closed) return;
    this.#poller.stamp();
    this.#inTurn = true;
    try {
      body();
      this.#runHooks();
    } finally {
      this.#inTurn = false;
      this.#inHooks = false;
      this.#poller.kick();
    }
  }

  #runHooks(): void {
    this.#inHooks = true;
    const hooks = this.#hooks;
    for (let i = 0; i < hooks.length && !this.#closed; i++) hooks[i]!.run();
  }
}
