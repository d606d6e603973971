/**
 * Tries a target's best endpoint now and then while its session is on a lesser one: a connection
 * beside the session's that is closed as soon as it opens.
 *
 *   idle ── start ──> waiting ── hold is over ──> trying ── opened ──> idle, `onWorks`
 *                        ^                          │
 *                        └──── held for longer ── failed, or no answer
 */
import type { Scheduler, Timer } from '../common/scheduler.js';
import type { RpcRoute } from './rpc-route.js';
import type { RpcSink, RpcSwitch } from './rpc-switch.js';

export class RpcTrial {
  readonly #connections: RpcSwitch;
  readonly #scheduler: Scheduler;
  readonly #route: RpcRoute;
  readonly #timeoutMs: number;
  readonly #onWorks: () => void;
  #timer: Timer | null = null;
  #attempt: Attempt | null = null;

  constructor(
    connections: RpcSwitch,
    scheduler: Scheduler,
    route: RpcRoute,
    timeoutMs: number,
    onWorks: () => void,
  ) {
    this.#connections = connections;
    this.#scheduler = scheduler;
    this.#route = route;
    this.#timeoutMs = timeoutMs;
    this.#onWorks = onWorks;
  }

  /** The session is ready. Does nothing when it is on the best endpoint. */
  start(): void {
    if (!this.#route.isFallback) return;
    const waitMs = this.#route.preferredInMs(this.#scheduler.nowMs());
    this.#timer = this.#scheduler.setTimer(waitMs, () => {
      this.#try();
    });
  }

  /** The session has lost its connection, or ends. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    const attempt = this.#attempt;
    this.#attempt = null;
    if (attempt !== null) this.#connections.transport.close(attempt.connection, 'not needed');
  }

  #try(): void {
    const address = this.#route.preferred;
    if (address === undefined) return;
    const attempt = new Attempt(this);
    this.#attempt = attempt;
    try {
      attempt.connection = this.#connections.connect(address, attempt);
    } catch {
      // No connection can be opened just now: as one that failed.
      this.ended(attempt);
      return;
    }
    this.#timer = this.#scheduler.setTimer(this.#timeoutMs, () => {
      this.#connections.transport.close(attempt.connection, 'no answer');
    });
  }

  /** Of Attempt. */
  opened(attempt: Attempt): void {
    if (attempt !== this.#attempt) return;
    this.stop();
    this.#route.preferredWorks();
    this.#onWorks();
  }

  /** Of Attempt. */
  ended(attempt: Attempt): void {
    if (attempt !== this.#attempt) return;
    this.#attempt = null;
    this.#timer?.cancel();
    this.#route.preferredFailed(this.#scheduler.nowMs());
    this.start();
  }
}

class Attempt implements RpcSink {
  connection = 0;
  readonly #trial: RpcTrial;

  constructor(trial: RpcTrial) {
    this.#trial = trial;
  }

  onOpen(): void {
    this.#trial.opened(this);
  }

  onMessage(): void {
    // A server answers; nothing was asked.
  }

  onClose(): void {
    this.#trial.ended(this);
  }
}
