/**
 * Holders that may not have heard of a change when the target stops. A change is in the store before the leases on
 * what it has changed are returned; so the same transaction notes of each holder that it is still to be told, in the
 * value of its key. A target that finds such notes at its start (grace.ts) shows nobody what it stores, nor repeats an
 * answer, before those holders have come back, or hold nothing any more.
 *
 *   change ─> noted ── returned, a second later ──> note removed
 *   start: notes found ─> everything is under recall ── all of them have come back, or are given up ──> free
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import type { Session } from '../../transport/rpc-server.js';
import { holderKey } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import { holderValue } from './holder-value.js';

/** Holders are told of many changes in a row: their notes are removed when that is over. */
const REMOVE_MS = 1000;

export interface UntoldDeps {
  meta: MetaStore;
  scheduler: Scheduler;
  /** Runs `work` in a transaction, then `after`. */
  enqueue(work: () => void, after: () => void): void;
  /** The session has not returned all that was recalled from it. */
  owes(session: Session): boolean;
}

export class Untold {
  readonly #deps: UntoldDeps;
  /** Sessions whose notes are to be removed one day. */
  readonly #noted = new Set<Session>();
  #timer: Timer | undefined;

  constructor(deps: UntoldDeps) {
    this.#deps = deps;
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Inside the transaction of a change that these have not heard of. */
  note(sessions: readonly Session[]): void {
    for (const session of sessions) {
      this.#deps.meta.put(holderKey(session.idBytes), holderValue(0, true));
      this.#noted.add(session);
    }
    this.#arm();
  }

  /** What an earlier process has noted of it is over. */
  cameBack(session: Session): void {
    this.#noted.add(session);
    this.#arm();
  }

  /** The session has ended, or was reset: its key is removed. */
  drop(session: Session): void {
    this.#noted.delete(session);
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#noted.size === 0) return;
    this.#timer = this.#deps.scheduler.setTimer(REMOVE_MS, () => {
      this.#timer = undefined;
      this.#deps.enqueue(
        () => {
          this.#remove();
        },
        () => {
          this.#arm();
        },
      );
    });
  }

  /** Inside a transaction. One that is undone leaves notes that nobody needs, until the session's next. */
  #remove(): void {
    for (const session of this.#noted) {
      if (this.#deps.owes(session)) continue;
      this.#noted.delete(session);
      this.#deps.meta.put(holderKey(session.idBytes), holderValue(0, false));
    }
  }
}
