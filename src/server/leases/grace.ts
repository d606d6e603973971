/**
 * Sessions that hold what lives in memory alone, leases and locks: their ids stand in the store before
 * they are given any. After a restart nothing is changed before each of them has come back (it
 * has dropped its leases then, and claims its locks), or the grace is over.
 *
 *   first Await ─> id stored ─> may hold ─> session ends or is reset ─> id removed
 *   start: ids found ─> grace ─┬─ all have awaited ──> over
 *                              └─ RECALL_LIMIT_MS ───> over: those that did not come hold nothing
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import { RECALL_LIMIT_MS } from '../../protocol/leases.js';
import type { Session } from '../../transport/rpc-server.js';
import { holderKey, ownRange } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';

const ID_OFFSET = 3;
const NOTHING = new Uint8Array(0);

export interface GraceDeps {
  meta: MetaStore;
  scheduler: Scheduler;
  /** Runs `work` in a transaction, then `after`. */
  enqueue(work: () => void, after: () => void): void;
  log(message: string): void;
}

export class Grace {
  readonly #deps: GraceDeps;
  /** Ids that stand in the store. */
  readonly #stored = new Set<string>();
  readonly #awaited = new Set<string>();
  readonly #waiters: (() => void)[] = [];
  #timer: Timer | undefined;
  #over = true;

  constructor(deps: GraceDeps) {
    this.#deps = deps;
  }

  /** Reads who held something in an earlier process. */
  open(): void {
    const { start, end } = ownRange('holder');
    this.#deps.meta.scan(start, end, (key) => {
      this.#stored.add(Buffer.from(key.subarray(ID_OFFSET)).toString('hex'));
      return true;
    });
    for (const id of this.#stored) this.#awaited.add(id);
    if (this.#awaited.size === 0) return;
    this.#over = false;
    this.#timer = this.#deps.scheduler.setTimer(RECALL_LIMIT_MS, () => {
      this.#expire();
    });
  }

  close(): void {
    this.#timer?.cancel();
  }

  /** False: nothing may be changed yet, no lock given but to who claims it. */
  get isOver(): boolean {
    return this.#over;
  }

  /** Sessions that have not come back. */
  get missing(): number {
    return this.#awaited.size;
  }

  /** Held something before the restart and has not come back: it may claim its locks. */
  mayReclaim(session: Session): boolean {
    return this.#awaited.has(session.id);
  }

  whenOver(then: () => void): void {
    if (this.#over) then();
    else this.#waiters.push(then);
  }

  /** The session has claimed what it may claim, and holds nothing else of an earlier process. */
  cameBack(session: Session): void {
    if (this.#awaited.delete(session.id) && this.#awaited.size === 0) this.#end();
  }

  /** `then` when the session may be given leases and locks. */
  admit(session: Session, then: () => void): void {
    if (this.#stored.has(session.id)) {
      then();
      return;
    }
    this.#deps.enqueue(
      () => {
        this.#deps.meta.put(holderKey(session.idBytes), NOTHING);
      },
      () => {
        this.#stored.add(session.id);
        then();
      },
    );
  }

  /** The session has ended, or was reset: it holds nothing. */
  drop(id: string): void {
    if (!this.#stored.delete(id)) return;
    this.#deps.enqueue(
      () => {
        this.#deps.meta.remove(holderKey(Buffer.from(id, 'hex')));
      },
      () => undefined,
    );
  }

  #expire(): void {
    const gone = [...this.#awaited];
    this.#deps.log(`${gone.length} sessions that held leases or locks did not come back`);
    this.#awaited.clear();
    this.#end();
    for (const id of gone) this.drop(id);
  }

  #end(): void {
    this.#over = true;
    this.#timer?.cancel();
    for (const waiter of this.#waiters.splice(0)) waiter();
    this.#deps.scheduler.requestTurn();
  }
}
