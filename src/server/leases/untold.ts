/**
 * Holders that may not have heard of a change when the target stops. A change is in the store before the leases on
 * what it has changed are returned; so the same transaction notes of each holder that it is still to be told, in the
 * value of its key (grace.ts). A target that finds such notes at its start shows nobody what it stores, nor repeats an
 * answer, before those holders have come back or the grace is over.
 *
 *   change ─> noted ── returned, a second later ──> note removed
 *   start: notes found ─> everything is under recall ── all of them have awaited, or the grace is over ──> free
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import type { Session } from '../../transport/rpc-server.js';
import { holderKey, ownRange } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import type { RecallTable } from './recalls.js';

/** The value of the key of a holder that is still to be told; else it is empty. */
const TO_BE_TOLD = Uint8Array.of(1);
const NOTHING = new Uint8Array(0);
const ID_OFFSET = 3;
/** Holders are told of many changes in a row: their notes are removed when that is over. */
const REMOVE_MS = 1000;

export interface UntoldDeps {
  meta: MetaStore;
  scheduler: Scheduler;
  recalls: RecallTable;
  /** Runs `work` in a transaction, then `after`. */
  enqueue(work: () => void, after: () => void): void;
  /** The session has not returned all that was recalled from it. */
  owes(session: Session): boolean;
}

export class Untold {
  readonly #deps: UntoldDeps;
  /** Ids of an earlier process that have not come back. */
  readonly #missing = new Set<string>();
  /** Notes that this process may remove. */
  readonly #noted = new Set<Session>();
  #timer: Timer | undefined;

  constructor(deps: UntoldDeps) {
    this.#deps = deps;
  }

  /** Reads what an earlier process has noted. */
  open(): void {
    const { start, end } = ownRange('holder');
    this.#deps.meta.scan(start, end, (key, value) => {
      if (value.length > 0) this.#missing.add(Buffer.from(key.subarray(ID_OFFSET)).toString('hex'));
      return true;
    });
    if (this.#missing.size > 0) this.#deps.recalls.openAll();
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** Inside the transaction of a change that these have not heard of. */
  note(sessions: readonly Session[]): void {
    for (const session of sessions) {
      this.#deps.meta.put(holderKey(session.idBytes), TO_BE_TOLD);
      this.#noted.add(session);
    }
    this.#arm();
  }

  /** The session believes nothing of before the restart. */
  cameBack(session: Session): void {
    if (!this.#missing.delete(session.id)) return;
    this.#noted.add(session);
    this.#arm();
    if (this.#missing.size === 0) this.#deps.recalls.closeAll();
  }

  /** Who has not come back by now believes nothing any more. */
  graceOver(): void {
    this.#missing.clear();
    this.#deps.recalls.closeAll();
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
      this.#deps.meta.put(holderKey(session.idBytes), NOTHING);
    }
  }
}
