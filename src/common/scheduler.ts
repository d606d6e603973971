/**
 * A thread's turns, clock, timers and randomness, injected everywhere so that a whole cluster can
 * run in one process under a seed. The real one is `Reactor` (src/native/reactor.ts), the
 * simulated one `SimScheduler` (src/transport/sim/).
 */
export interface Scheduler {
  /** Monotonic milliseconds, with a fraction. */
  nowMs(): number;
  /** Wall clock at the start of this turn. The same object each time: copy what you keep. */
  wallClock(): WallClock;
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Registers `hook` for the end of every turn, for ever; hooks run in ascending `order`. */
  onTurnEnd(order: number, hook: () => void): void;
  /** Outside a turn: has one happen soon, so that the hooks run. Cheap to call repeatedly. */
  requestTurn(): void;
  /** In [0, 1). */
  random(): number;
}

export interface WallClock {
  /** Since 1970-01-01T00:00:00Z. */
  seconds: number;
  nanoseconds: number;
}

export interface Timer {
  cancel(): void;
}

/** Orders of the turn-end hooks: what is committed is then answered, what is answered then sent. */
export const TURN_COMMIT = 100;
export const TURN_FLUSH = 200;
export const TURN_SUBMIT = 300;
