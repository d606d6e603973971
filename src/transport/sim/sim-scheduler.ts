/**
 * A simulated node's `Scheduler`: virtual time, timers and turns. What reaches a node within a
 * moment (frames, timers, requested turns) is handled in one turn, then the turn-end hooks run,
 * as on the real reactor. `kill` is the node's crash: nothing of it runs any more.
 */
import type { Scheduler, Timer, WallClock } from '../../common/scheduler.js';
import type { SimWorld } from './sim-world.js';

/** A turn begins up to this long after its first event, at random, and takes what came by then. */
const TURN_DELAY_MS = 0.05;
/** Wall clock at virtual time 0: 2024-01-01T00:00:00Z. */
const WALL_CLOCK_SECONDS = 1_704_067_200;

interface Hook {
  order: number;
  run: () => void;
}

export class SimScheduler implements Scheduler {
  readonly name: string;
  readonly #world: SimWorld;
  readonly #hooks: Hook[] = [];
  readonly #clock: WallClock = { seconds: 0, nanoseconds: 0 };
  #inbox: (() => void)[] = [];
  #turnScheduled = false;
  #phase: 'outside' | 'events' | 'hooks' = 'outside';
  #alive = true;
  #stoppedUntilMs = 0;
  #turns = 0;

  constructor(world: SimWorld, name: string) {
    this.#world = world;
    this.name = name;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get turns(): number {
    return this.#turns;
  }

  nowMs(): number {
    return this.#world.nowMs;
  }

  wallClock(): WallClock {
    return this.#clock;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    let cancelled = false;
    this.#world.schedule(delayMs, () => {
      this.deliver(() => {
        if (!cancelled) callback();
      });
    });
    return {
      cancel: () => {
        cancelled = true;
      },
    };
  }

  onTurnEnd(order: number, hook: () => void): void {
    this.#hooks.push({ order, run: hook });
    // Stable: hooks of the same order run as they were registered.
    this.#hooks.sort((a, b) => a.order - b.order);
  }

  requestTurn(): void {
    // The events of a turn are followed by the hooks anyway.
    if (this.#phase !== 'events') this.#scheduleTurn();
  }

  random(): number {
    return this.#world.random.next();
  }

  /** Has `event` handled in this node's next turn. */
  deliver(event: () => void): void {
    if (!this.#alive) return;
    this.#inbox.push(event);
    this.#scheduleTurn();
  }

  /** SIGSTOP, and SIGCONT after a while: nothing of it runs meanwhile, what comes waits. */
  stop(forMs: number): void {
    this.#stoppedUntilMs = this.#world.nowMs + forMs;
  }

  kill(): void {
    this.#alive = false;
    this.#inbox = [];
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled || !this.#alive) return;
    this.#turnScheduled = true;
    this.#world.schedule(this.#world.random.next() * TURN_DELAY_MS, () => {
      this.#turnScheduled = false;
      const stoppedMs = this.#stoppedUntilMs - this.#world.nowMs;
      if (stoppedMs > 0) this.#world.schedule(stoppedMs, () => this.#scheduleTurn());
      else if (this.#alive) this.#turn();
    });
  }

  #turn(): void {
    const now = this.#world.nowMs;
    this.#clock.seconds = WALL_CLOCK_SECONDS + Math.floor(now / 1000);
    this.#clock.nanoseconds = Math.floor((now % 1000) * 1e6);
    this.#turns++;
    const events = this.#inbox;
    this.#inbox = [];
    this.#phase = 'events';
    for (const event of events) {
      if (!this.#alive) break;
      event();
    }
    this.#phase = 'hooks';
    for (const hook of this.#hooks) {
      if (!this.#alive) break;
      hook.run();
    }
    this.#phase = 'outside';
  }
}
