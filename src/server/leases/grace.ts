/**
 * Sessions that hold what lives in memory alone, leases and locks: their ids stand in the store before
 * they are given any. After a restart nothing is changed before each of them has come back (it
 * has dropped its leases then, and claims its locks), or was absent for RECALL_LIMIT_MS.
 *
 *   first Await ─> id stored ─> may hold ─> session ends or is reset ─> id removed
 *   start: ids found ─> grace ─┬─ awaits, or ends ──────────────────> came back
 *                              └─ absent for RECALL_LIMIT_MS in all ─> holds nothing
 *
 * How long a session has been absent is stored with its id, from tick to tick, until it is heard: so the grace
 * ends for a target, too, that is killed again and again before the time is over.
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import { RECALL_LIMIT_MS } from '../../protocol/leases.js';
import type { Session } from '../../transport/rpc-server.js';
import { holderKey, ownRange } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import { absenceMs, holderValue, isToBeTold } from './holder-value.js';

const ID_OFFSET = 3;
/**
 * Absences grow by this with each tick, however late it comes: a target that stood still, or was slow, has not
 * listened meanwhile.
 */
const TICK_MS = 500;

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
  /** Ids that are about to. */
  readonly #admitting = new Set<string>();
  /** Those that have not come back, and how long each was absent from earlier processes. */
  readonly #awaited = new Map<string, number>();
  /** Of those: have shaken hands with this process. */
  readonly #heard = new Set<string>();
  /** Of those: may not know of changes that were made before the restart. */
  readonly #untold = new Set<string>();
  /** Absence from this process. */
  #elapsedMs = 0;
  readonly #waiters: (() => void)[] = [];
  #whenTold: (() => void) | undefined;
  #timer: Timer | undefined;
  #over = true;

  constructor(deps: GraceDeps) {
    this.#deps = deps;
  }

  /** Reads who held something in an earlier process. */
  open(): void {
    const { start, end } = ownRange('holder');
    this.#deps.meta.scan(start, end, (key, value) => {
      const id = Buffer.from(key.subarray(ID_OFFSET)).toString('hex');
      this.#stored.add(id);
      this.#awaited.set(id, absenceMs(value));
      if (isToBeTold(value)) this.#untold.add(id);
      return true;
    });
    if (this.#awaited.size === 0) return;
    this.#over = false;
    this.#arm();
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

  /** Somebody may not know of changes that were made before the restart: `then` is called when that is over. */
  mustTell(then: () => void): boolean {
    if (this.#untold.size === 0) return false;
    this.#whenTold = then;
    return true;
  }

  /** The session is there: what it was absent from earlier processes counts no more, should it go again. */
  heard(session: Session): void {
    const { id } = session;
    const absentMs = this.#awaited.get(id);
    if (absentMs === undefined || this.#heard.has(id)) return;
    this.#heard.add(id);
    this.#awaited.set(id, 0);
    if (absentMs + this.#elapsedMs > 0) this.#store([[id, 0]]);
  }

  /**
   * The session has claimed what it may claim, and holds nothing else of an earlier process. True: the store
   * says that it is to be told.
   */
  cameBack(session: Session): boolean {
    const wasUntold = this.#untold.has(session.id);
    this.#settle(session.id);
    return wasUntold;
  }

  /**
   * `then` when the session may be given leases and locks; it is called, too, for one that has ended or was
   * reset meanwhile.
   */
  admit(session: Session, then: () => void): void {
    if (this.#stored.has(session.id)) {
      then();
      return;
    }
    const { id, idBytes } = session;
    this.#admitting.add(id);
    this.#deps.enqueue(
      () => {
        this.#deps.meta.put(holderKey(idBytes), holderValue(0, false));
      },
      () => {
        if (this.#admitting.delete(id)) this.#stored.add(id);
        then();
      },
    );
  }

  /** The session has ended, or was reset: it holds nothing. */
  drop(id: string): void {
    this.#settle(id);
    const isAdmitting = this.#admitting.delete(id);
    if (!this.#stored.delete(id) && !isAdmitting) return;
    this.#deps.enqueue(
      () => {
        this.#deps.meta.remove(holderKey(Buffer.from(id, 'hex')));
      },
      () => undefined,
    );
  }

  #arm(): void {
    this.#timer = this.#deps.scheduler.setTimer(TICK_MS, () => {
      this.#tick();
    });
  }

  #tick(): void {
    this.#elapsedMs += TICK_MS;
    const gone: string[] = [];
    const absent: [string, number][] = [];
    for (const [id, earlierMs] of this.#awaited) {
      const ms = earlierMs + this.#elapsedMs;
      if (ms >= RECALL_LIMIT_MS) gone.push(id);
      else if (!this.#heard.has(id)) absent.push([id, ms]);
    }
    this.#store(absent);
    if (gone.length > 0) {
      this.#deps.log(`${gone.length} sessions that held leases or locks did not come back`);
      for (const id of gone) this.drop(id);
    }
    if (!this.#over) this.#arm();
  }

  /** At once: until the grace is over nothing else is committed. */
  #store(absences: readonly (readonly [string, number])[]): void {
    if (absences.length === 0) return;
    const { meta } = this.#deps;
    try {
      meta.transaction(() => {
        for (const [id, ms] of absences) {
          const value = holderValue(ms, this.#untold.has(id));
          meta.put(holderKey(Buffer.from(id, 'hex')), value);
        }
      });
    } catch (error) {
      // Without room: the next process gives them more time than they need.
      this.#deps.log(`absences are not stored: ${(error as Error).message}`);
    }
  }

  /** The session is not waited for any more. */
  #settle(id: string): void {
    if (this.#untold.delete(id) && this.#untold.size === 0) this.#whenTold?.();
    if (this.#awaited.delete(id) && this.#awaited.size === 0) this.#end();
  }

  #end(): void {
    this.#over = true;
    this.#timer?.cancel();
    for (const waiter of this.#waiters.splice(0)) waiter();
    this.#deps.scheduler.requestTurn();
  }
}
