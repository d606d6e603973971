/**
 * The leases of one target: granted with replies, recalled before a change by somebody else is
 * acknowledged (docs/leases.md).
 *
 *   change executed ─> touched ─┬─ nobody else holds any of it ──────────────────> answered
 *                               └─ Recall ─> notices ─> Returned, or session reset ─> answered
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import {
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PAGES,
  RECALL_LIMIT_MS,
  RECALL_OVERDUE_MS,
} from '../../protocol/leases.js';
import type { Session } from '../../transport/rpc-server.js';
import { HeldLease, LeaseTable, SESSIONS_MAX } from './lease-table.js';
import type { Notices } from './notices.js';
import type { Recall, RecallTable } from './recalls.js';
import type { Touched } from './touched.js';

const LEASES_MAX = 1_000_000;
/** Objects that were recalled lately, by hash: an old one in the same place is forgotten. */
const CONTENDED_SLOTS = 4096;
/** A contended object gets no lease for so long. */
const CONTENDED_MS = 1000;
const LIMIT_CHECK_MS = 1000;

interface Outstanding {
  recall: Recall;
  sinceMs: number;
}

/** A session that may hold leases. */
class Holder {
  readonly session: Session;
  readonly index: number;
  /** By number of the notice. */
  readonly outstanding = new Map<number, Outstanding>();

  constructor(session: Session, index: number) {
    this.session = session;
    this.index = index;
  }
}

export interface LeasesDeps {
  scheduler: Scheduler;
  notices: Notices;
  /** Of the name space. */
  touched: Touched;
  recalls: RecallTable;
  /** The session has not answered in time: it loses all that it holds. `drop` follows. */
  reset(session: Session, reason: string): void;
  leasesMax?: number;
}

export class Leases {
  readonly touched: Touched;
  readonly recalls: RecallTable;
  readonly #deps: LeasesDeps;
  readonly #table: LeaseTable;
  readonly #holders = new Map<Session, Holder>();
  readonly #byIndex: (Holder | undefined)[] = [];
  readonly #contendedUntil = new Float64Array(CONTENDED_SLOTS);
  readonly #contendedInode = new Float64Array(CONTENDED_SLOTS);
  readonly #victim = new HeldLease();
  #limit: Timer | undefined;
  #closed = false;
  #granted = 0;
  #recalled = 0;
  #resets = 0;

  constructor(deps: LeasesDeps) {
    this.#deps = deps;
    this.touched = deps.touched;
    this.recalls = deps.recalls;
    this.#table = new LeaseTable(deps.leasesMax ?? LEASES_MAX);
  }

  close(): void {
    this.#closed = true;
    this.#limit?.cancel();
  }

  /** Counters by name. */
  report(): Record<string, number> {
    return {
      leases: this.#table.size,
      leaseBytes: this.#table.bytes,
      leaseHolders: this.#holders.size,
      leasesGranted: this.#granted,
      leasesRecalled: this.#recalled,
      leaseResets: this.#resets,
    };
  }

  /** The session may be granted leases from now on. */
  admit(session: Session): void {
    if (this.#holders.has(session)) return;
    let index = 1;
    while (this.#byIndex[index] !== undefined) index++;
    if (index > SESSIONS_MAX) return;
    const holder = new Holder(session, index);
    this.#holders.set(session, holder);
    this.#byIndex[index] = holder;
    this.touched.enabled = true;
  }

  /** The session has ended, or was reset: what it held is held no more. */
  drop(session: Session): void {
    const holder = this.#holders.get(session);
    if (holder === undefined) return;
    this.#holders.delete(session);
    this.#byIndex[holder.index] = undefined;
    this.#table.removeSession(holder.index);
    for (const { recall } of holder.outstanding.values()) this.#returnedBy(recall, holder.index);
    holder.outstanding.clear();
    this.touched.enabled = this.#holders.size > 0;
  }

  // ---------------------------------------------------------------- grants

  isHolder(session: Session): boolean {
    return this.#holders.has(session);
  }

  /** The session here of a client, by the number that it has at all targets; 0: of none. */
  holderOf(client: number): Session | undefined {
    if (client === 0) return undefined;
    for (const session of this.#holders.keys()) if (session.client === client) return session;
    return undefined;
  }

  isHeld(session: Session, kind: number, inode: number, hash: number): boolean {
    const holder = this.#holders.get(session);
    return holder !== undefined && this.#table.has(holder.index, kind, inode, hash);
  }

  /** Whether the session has the lease now. */
  grant(session: Session, kind: number, inode: number, hash: number): boolean {
    const holder = this.#holders.get(session);
    if (holder === undefined || this.recalls.find(kind, inode, hash) !== undefined) return false;
    if (this.#table.has(holder.index, kind, inode, hash)) return true;
    if (this.#isContended(kind, inode, hash)) return false;
    if (this.#table.isFull) this.#makeRoom();
    if (this.#table.isFull) return false;
    this.#table.add(holder.index, kind, inode, hash);
    this.#granted++;
    return true;
  }

  #makeRoom(): void {
    const victim = this.#victim;
    if (!this.#table.next(victim)) return;
    const { session, kind, inode, hash } = victim;
    this.#recall(this.#byIndex[session]!, kind, inode, hash);
  }

  // ---------------------------------------------------------------- recalls

  /**
   * The session (undefined: the target itself) has changed what stands in `touched`: what others
   * hold of it is recalled. Returns the recalls that the answer has to wait for, undefined: none.
   */
  conflicts(session: Session | undefined): Recall[] | undefined {
    const { count, kinds, inodes, hashes } = this.touched;
    if (count === 0 || this.#holders.size === 0) return undefined;
    const own = session === undefined ? undefined : this.#holders.get(session);
    let met: Recall[] | undefined;
    for (let i = 0; i < count; i++) {
      met = this.#conflict(own, kinds[i]!, inodes[i]!, hashes[i]!, met);
      if (kinds[i] === NOTICE_ENTRY) {
        met = this.#conflict(own, NOTICE_DIRECTORY, inodes[i]!, 0, met);
      } else if (kinds[i] === NOTICE_INODE) {
        met = this.#conflict(own, NOTICE_PAGES, inodes[i]!, 0, met);
      }
    }
    if (met === undefined) return undefined;
    // Nobody sees any part of the change meanwhile, leased or not.
    for (let i = 0; i < count; i++) {
      met = add(met, this.recalls.open(kinds[i]!, inodes[i]!, hashes[i]!));
    }
    this.recalls.join(met);
    return met;
  }

  /** What others than the session hold of this is recalled: what is to be waited for. */
  recallOthers(session: Session, kind: number, inode: number, hash: number): Recall | undefined {
    if (this.#holders.size === 0) return undefined;
    return this.#conflict(this.#holders.get(session), kind, inode, hash, undefined)?.[0];
  }

  #conflict(
    own: Holder | undefined,
    kind: number,
    inode: number,
    hash: number,
    met: Recall[] | undefined,
  ): Recall[] | undefined {
    const table = this.#table;
    let others = table.holdersAtMost(kind, inode, hash);
    if (others > 0 && own !== undefined && table.has(own.index, kind, inode, hash)) others--;
    if (others > 0) {
      for (const holder of this.#holders.values()) {
        if (holder === own || !table.has(holder.index, kind, inode, hash)) continue;
        this.#recall(holder, kind, inode, hash);
      }
    }
    const recall = this.recalls.find(kind, inode, hash);
    return recall === undefined ? met : add(met, recall);
  }

  /**
   * Everything that is held of this inode, or of entries of this directory, is recalled: names with one notice
   * for each who holds any.
   */
  recallAll(inode: number): Recall[] {
    if (this.#table.size > 0) {
      for (const { session, kind, hash } of this.#table.ofInode(inode)) {
        const isName = kind === NOTICE_ENTRY;
        if (isName) this.#table.remove(session, kind, inode, hash);
        this.#recall(this.#byIndex[session]!, isName ? NOTICE_DIRECTORY : kind, inode, 0);
      }
    }
    return this.recalls.of(inode);
  }

  /** The lease leaves the table at once: nothing is granted on the object before it is returned. */
  #recall(holder: Holder, kind: number, inode: number, hash: number): void {
    const { notices, scheduler } = this.#deps;
    this.#table.remove(holder.index, kind, inode, hash);
    const recall = this.recalls.open(kind, inode, hash);
    if (recall.holders.has(holder.index)) return;
    recall.holders.add(holder.index);
    const number = notices.send(holder.session, kind, inode, hash, 0);
    holder.outstanding.set(number, { recall, sinceMs: scheduler.nowMs() });
    this.#recalled++;
    const slot = contendedSlot(kind, inode, hash);
    this.#contendedInode[slot] = inode;
    this.#contendedUntil[slot] = scheduler.nowMs() + CONTENDED_MS;
    this.#arm();
  }

  /** The sessions that have not returned these. */
  holdersOf(recalls: readonly Recall[]): Session[] {
    const indexes = new Set<number>();
    for (const { holders } of recalls) for (const index of holders) indexes.add(index);
    return [...indexes].map((index) => this.#byIndex[index]!.session);
  }

  /** The session has not returned all that was recalled from it. */
  owes(session: Session): boolean {
    return (this.#holders.get(session)?.outstanding.size ?? 0) > 0;
  }

  /** It has owed one for so long that it must not believe anything for longer. */
  isOverdue(session: Session): boolean {
    const [first] = this.#holders.get(session)?.outstanding.values() ?? [];
    if (first === undefined) return false;
    return this.#deps.scheduler.nowMs() - first.sinceMs >= RECALL_OVERDUE_MS;
  }

  /** The session has forgotten what this notice recalled. */
  returned(session: Session, number: number): void {
    const holder = this.#holders.get(session);
    const outstanding = holder?.outstanding.get(number);
    if (holder === undefined || outstanding === undefined) return;
    holder.outstanding.delete(number);
    this.#returnedBy(outstanding.recall, holder.index);
  }

  #returnedBy(recall: Recall, index: number): void {
    recall.holders.delete(index);
    if (recall.released) return;
    for (const { holders } of recall.group) if (holders.size > 0) return;
    this.recalls.close(recall);
    this.#deps.scheduler.requestTurn();
  }

  #isContended(kind: number, inode: number, hash: number): boolean {
    const slot = contendedSlot(kind, inode, hash);
    return (
      this.#contendedInode[slot] === inode &&
      this.#contendedUntil[slot]! > this.#deps.scheduler.nowMs()
    );
  }

  /** Sessions that do not answer lose what they hold. */
  #arm(): void {
    if (this.#limit !== undefined || this.#closed) return;
    this.#limit = this.#deps.scheduler.setTimer(LIMIT_CHECK_MS, () => {
      this.#limit = undefined;
      const oldest = this.#deps.scheduler.nowMs() - RECALL_LIMIT_MS;
      let waiting = false;
      for (const holder of [...this.#holders.values()]) {
        // Numbers grow: the first is the oldest.
        const [first] = holder.outstanding.values();
        if (first === undefined) continue;
        waiting = true;
        if (first.sinceMs > oldest) continue;
        this.#resets++;
        this.#deps.reset(holder.session, 'it has not answered the recall of a lease in time');
      }
      if (waiting) this.#arm();
    });
  }
}

function add(met: Recall[] | undefined, recall: Recall): Recall[] {
  if (met === undefined) return [recall];
  if (!met.includes(recall)) met.push(recall);
  return met;
}

function contendedSlot(kind: number, inode: number, hash: number): number {
  const mixed = Math.imul(inode | 0, 0x9e3779b1) ^ Math.imul((hash | 0) + kind, 0x85ebca6b);
  return (mixed ^ (mixed >>> 15)) & (CONTENDED_SLOTS - 1);
}
