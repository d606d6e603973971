/**
 * The file locks of one target: who holds which bytes of which inode, and who waits, in which order.
 * Pure bookkeeping in memory: time, network and grace are the business of file-locks.ts.
 *
 *   set ──┬─ nobody in the way ──────────────> held ── set(none), session's end ──> gone
 *         ├─ in the way, not to wait ─> EAGAIN   ^
 *         ├─ a ring of waiters ───────> EDEADLK  │ whoever was in the way has gone
 *         └─ in the way ──> queue of the inode ──┴── cancel, session's end ──> gone
 *
 * In the way of a request are locks of others that conflict with it, and requests that conflict with it
 * and came before it: so writers are not starved by readers. A request does not wait for one that itself
 * waits, directly or not, for the asking owner: an upgrade comes before the writers that its
 * own read lock keeps waiting.
 *
 * Owners are numbers that their session chose. flock and fcntl locks do not see each other; open file
 * descriptions are owners like any other of the fcntl family.
 */
import { errno } from '../../common/errno.js';
import { LOCK_LAST, LOCK_NONE, LockRanges, kindsConflict } from '../../common/lock-ranges.js';

export const FAMILY_FCNTL = 0;
export const FAMILY_FLOCK = 1;

/** Ranges that one session may hold, and requests that it may have waiting; beyond them ENOLCK. */
export const SESSION_RANGES_MAX = 65_536;
export const SESSION_WAITERS_MAX = 16_384;
/** Owners that one search for a ring looks at; more are taken for none. */
const SEARCH_OWNERS_MAX = 16_384;

/** What a request asks for; `last` is included. Not kept. */
export interface LockRequest {
  inode: number;
  family: number;
  owner: number;
  /** LOCK_… */
  kind: number;
  start: number;
  last: number;
  pid: number;
  /** Of the session's choice, different from those that wait; names the request while it waits. */
  waiter: number;
  wait: boolean;
}

/** A lock that is in the way. */
export interface LockConflict {
  kind: number;
  start: number;
  last: number;
  /** 0: of another session, whose numbers mean nothing here. */
  pid: number;
}

class Owner<S> {
  readonly session: SessionLocks<S>;
  readonly number: number;
  /** Where it holds something. */
  readonly lists = new Set<LockList<S>>();
  readonly waiting = new Set<Waiter<S>>();

  constructor(session: SessionLocks<S>, number: number) {
    this.session = session;
    this.number = number;
  }
}

interface Waiter<S> {
  readonly list: LockList<S>;
  readonly owner: Owner<S>;
  readonly number: number;
  readonly kind: number;
  readonly start: number;
  readonly last: number;
  readonly pid: number;
  /** Earlier ones that it does not wait for. */
  readonly passes: ReadonlySet<Waiter<S>>;
}

/** One family's locks of one inode. */
class LockList<S> {
  readonly inode: number;
  readonly family: number;
  readonly held = new Map<Owner<S>, LockRanges>();
  readonly queue: Waiter<S>[] = [];

  constructor(inode: number, family: number) {
    this.inode = inode;
    this.family = family;
  }
}

class SessionLocks<S> {
  readonly session: S;
  readonly owners = new Map<number, Owner<S>>();
  readonly waiters = new Map<number, Waiter<S>>();
  ranges = 0;

  constructor(session: S) {
    this.session = session;
  }
}

/** Whoever stands in a waiter's way. */
export interface Blocker<S> {
  session: S;
  owner: number;
}

type Asked = Pick<LockRequest, 'kind' | 'start' | 'last'>;

function overlap(a: Asked, b: Asked): boolean {
  return a.start <= b.last && b.start <= a.last && kindsConflict(a.kind, b.kind);
}

/** `S`: sessions, told apart by identity. */
export class LockTable<S> {
  /** By family, then inode. */
  readonly #lists = [new Map<number, LockList<S>>(), new Map<number, LockList<S>>()];
  readonly #sessions = new Map<S, SessionLocks<S>>();
  readonly #granted: (session: S, waiter: number) => void;
  #ranges = 0;
  #waiters = 0;

  /** `granted` gets each request that waited and holds its lock now; it must not call back. */
  constructor(granted: (session: S, waiter: number) => void) {
    this.#granted = granted;
  }

  get ranges(): number {
    return this.#ranges;
  }

  get waiters(): number {
    return this.#waiters;
  }

  /** 0: held (or given up); EINPROGRESS: waits; EAGAIN, EDEADLK, ENOLCK. */
  set(session: S, request: LockRequest): number {
    const list = this.#listOf(request.family, request.inode);
    const owner = this.#ownerOf(session, request.owner);
    const status = this.#set(list, owner, request);
    this.#tidy(list, owner);
    return status;
  }

  #set(list: LockList<S>, owner: Owner<S>, request: LockRequest): number {
    const { kind, start, last, pid } = request;
    if (kind === LOCK_NONE) {
      this.#give(list, owner, start, last);
      return 0;
    }
    // Asked for again by a client that has not seen the first answer.
    if (owner.session.waiters.has(request.waiter)) return errno.EINPROGRESS;
    const mine = list.held.get(owner);
    const isConversion = list.family === FAMILY_FLOCK && mine !== undefined;
    // flock(2): the old lock is gone before the new one is asked for.
    if (isConversion && mine.kinds[0] !== kind) this.#drop(list, owner);
    const isCovered = mine?.covers(start, last, kind) === true;
    const mayPass = isConversion || isCovered;
    const passes = mayPass ? [] : this.#passed(list, owner, request);
    const comesFirst = mayPass || passes.length === this.#earlier(list, owner, request).length;
    let status = 0;
    if (comesFirst && !this.#heldAgainst(list, owner, request)) {
      if (owner.session.ranges + 2 > SESSION_RANGES_MAX) status = errno.ENOLCK;
      else this.#hold(list, owner, start, last, kind, pid);
    } else if (!request.wait) {
      status = errno.EAGAIN;
    } else {
      status = this.#enqueue(list, owner, request, passes);
    }
    // What a conversion gave up, or a weaker lock let go, may be another's now.
    this.#pump(list);
    return status;
  }

  #enqueue(
    list: LockList<S>,
    owner: Owner<S>,
    request: LockRequest,
    passes: readonly Waiter<S>[],
  ): number {
    const { waiters } = owner.session;
    if (waiters.size >= SESSION_WAITERS_MAX) return errno.ENOLCK;
    const { kind, start, last, pid } = request;
    const waiter: Waiter<S> = {
      list,
      owner,
      number: request.waiter,
      kind,
      start,
      last,
      pid,
      passes: new Set(passes),
    };
    list.queue.push(waiter);
    if (list.family === FAMILY_FCNTL && this.#closesRing(waiter)) {
      list.queue.pop();
      return errno.EDEADLK;
    }
    owner.waiting.add(waiter);
    waiters.set(waiter.number, waiter);
    this.#waiters++;
    return errno.EINPROGRESS;
  }

  /** The first lock in the way of such a request. */
  conflict(session: S, request: LockRequest): LockConflict | undefined {
    const list = this.#lists[request.family]?.get(request.inode);
    if (list === undefined) return undefined;
    let found: LockConflict | undefined;
    for (const [holder, ranges] of list.held) {
      const isOwn = holder.session.session === session;
      if (isOwn && holder.number === request.owner) continue;
      const at = ranges.conflict(request.start, request.last, request.kind);
      if (at < 0 || (found !== undefined && found.start <= ranges.starts[at]!)) continue;
      found = {
        kind: ranges.kinds[at]!,
        start: ranges.starts[at]!,
        last: ranges.lasts[at]!,
        pid: isOwn ? ranges.pids[at]! : 0,
      };
    }
    return found;
  }

  /** True: it was still waiting, and does no longer. */
  cancel(session: S, waiterNumber: number): boolean {
    const waiter = this.#sessions.get(session)?.waiters.get(waiterNumber);
    if (waiter === undefined) return false;
    this.#removeWaiter(waiter);
    this.#pump(waiter.list);
    this.#tidy(waiter.list, waiter.owner);
    return true;
  }

  /** All that the session held or waited for is free. */
  dropSession(session: S): void {
    const locks = this.#sessions.get(session);
    if (locks === undefined) return;
    const touched = new Set<LockList<S>>();
    for (const waiter of [...locks.waiters.values()]) {
      this.#removeWaiter(waiter);
      touched.add(waiter.list);
    }
    for (const owner of [...locks.owners.values()]) {
      for (const list of [...owner.lists]) {
        this.#drop(list, owner);
        touched.add(list);
      }
    }
    this.#sessions.delete(session);
    for (const list of touched) {
      this.#pump(list);
      this.#tidyList(list);
    }
  }

  /** Who stands in the way of a waiter, holders first, at most `limit`; none: it does not wait. */
  blockersOf(session: S, waiterNumber: number, limit: number): Blocker<S>[] {
    const waiter = this.#sessions.get(session)?.waiters.get(waiterNumber);
    if (waiter === undefined) return [];
    const found: Blocker<S>[] = [];
    for (const owner of this.#blockers(waiter)) {
      found.push({ session: owner.session.session, owner: owner.number });
      if (found.length === limit) break;
    }
    return found;
  }

  /** The sessions whose locks are in the way of such a request. */
  sessionsAgainst(session: S, request: LockRequest): Set<S> {
    const sessions = new Set<S>();
    const list = this.#lists[request.family]?.get(request.inode);
    for (const [holder, ranges] of list?.held ?? []) {
      const other = holder.session.session;
      if (other === session) continue;
      if (ranges.conflict(request.start, request.last, request.kind) >= 0) sessions.add(other);
    }
    return sessions;
  }

  /** Each session that holds something. */
  *holders(): Iterable<S> {
    for (const [session, locks] of this.#sessions) {
      if (locks.ranges > 0) yield session;
    }
  }

  /** Holders whose locks somebody of another session waits for. */
  contended(): Set<S> {
    const sessions = new Set<S>();
    for (const lists of this.#lists) {
      for (const list of lists.values()) {
        for (const waiter of list.queue) {
          for (const [holder, ranges] of list.held) {
            if (holder.session === waiter.owner.session) continue;
            const { start, last, kind } = waiter;
            if (ranges.conflict(start, last, kind) >= 0) sessions.add(holder.session.session);
          }
        }
      }
    }
    return sessions;
  }

  // ---------------------------------------------------------------- who waits for whom

  #heldAgainst(list: LockList<S>, owner: Owner<S>, asked: Asked): boolean {
    for (const [holder, ranges] of list.held) {
      if (holder !== owner && ranges.conflict(asked.start, asked.last, asked.kind) >= 0)
        return true;
    }
    return false;
  }

  /** Requests of others that wait already and conflict with this one. */
  #earlier(list: LockList<S>, owner: Owner<S>, asked: Asked): Waiter<S>[] {
    return list.queue.filter((waiter) => waiter.owner !== owner && overlap(waiter, asked));
  }

  /** Those of them that wait for this owner. */
  #passed(list: LockList<S>, owner: Owner<S>, asked: Asked): Waiter<S>[] {
    if (list.family === FAMILY_FLOCK || owner.lists.size === 0) return [];
    const waiting = this.#waitersFor(owner);
    if (waiting.size === 0) return [];
    return this.#earlier(list, owner, asked).filter((waiter) => waiting.has(waiter));
  }

  /** Owners that keep a waiter waiting: holders, then those before it in the queue. */
  *#blockers(waiter: Waiter<S>): Generator<Owner<S>, undefined> {
    const { list, owner } = waiter;
    for (const [holder, ranges] of list.held) {
      const isOther = holder !== owner;
      if (isOther && ranges.conflict(waiter.start, waiter.last, waiter.kind) >= 0) yield holder;
    }
    for (const earlier of list.queue) {
      if (earlier === waiter) return undefined;
      if (earlier.owner === owner || waiter.passes.has(earlier)) continue;
      if (overlap(earlier, waiter)) yield earlier.owner;
    }
    return undefined;
  }

  #closesRing(waiter: Waiter<S>): boolean {
    // Nobody waits for an owner that holds nothing.
    return waiter.owner.lists.size > 0 && this.#waitersFor(waiter.owner).has(waiter);
  }

  /**
   * All who wait for `goal`, directly or through others that wait. Looked for from its side: nearly always nobody
   * does, however long the queue is in which it stands itself.
   */
  #waitersFor(goal: Owner<S>): Set<Waiter<S>> {
    const found = new Set<Waiter<S>>();
    const owners = new Set([goal]);
    // Those that are added meanwhile are visited, too.
    for (const owner of owners) {
      if (owners.size > SEARCH_OWNERS_MAX) break;
      for (const list of owner.lists) {
        if (list.family !== FAMILY_FCNTL) continue;
        const ranges = list.held.get(owner)!;
        for (const waiter of list.queue) {
          if (waiter.owner === owner || found.has(waiter)) continue;
          if (ranges.conflict(waiter.start, waiter.last, waiter.kind) < 0) continue;
          found.add(waiter);
          owners.add(waiter.owner);
        }
      }
      for (const own of owner.waiting) this.#addBehind(own, found, owners);
    }
    return found;
  }

  /** Those that wait because `own` came before them. */
  #addBehind(own: Waiter<S>, found: Set<Waiter<S>>, owners: Set<Owner<S>>): void {
    if (own.list.family !== FAMILY_FCNTL) return;
    const { queue } = own.list;
    for (let i = queue.indexOf(own) + 1; i < queue.length; i++) {
      const waiter = queue[i]!;
      if (waiter.owner === own.owner || found.has(waiter) || waiter.passes.has(own)) continue;
      if (!overlap(own, waiter)) continue;
      found.add(waiter);
      owners.add(waiter.owner);
    }
  }

  // ---------------------------------------------------------------- changes

  /** Grants, in their order, what nobody is in the way of any more. */
  #pump(list: LockList<S>): void {
    let again = list.queue.length > 0;
    while (again) {
      again = false;
      for (let i = 0; i < list.queue.length; i++) {
        const waiter = list.queue[i]!;
        if (this.#isBlocked(waiter)) continue;
        this.#removeWaiter(waiter);
        const { owner, start, last, kind, pid } = waiter;
        // A grant that makes an owner's own lock weaker may let earlier ones through.
        if (this.#hold(list, owner, start, last, kind, pid)) again = true;
        this.#granted(owner.session.session, waiter.number);
        i--;
      }
    }
  }

  #isBlocked(waiter: Waiter<S>): boolean {
    return this.#blockers(waiter).next().done !== true;
  }

  #hold(
    list: LockList<S>,
    owner: Owner<S>,
    start: number,
    last: number,
    kind: number,
    pid: number,
  ): boolean {
    let ranges = list.held.get(owner);
    if (ranges === undefined) {
      ranges = new LockRanges();
      list.held.set(owner, ranges);
      owner.lists.add(list);
    }
    return this.#change(owner, ranges, start, last, kind, pid);
  }

  #change(
    owner: Owner<S>,
    ranges: LockRanges,
    start: number,
    last: number,
    kind: number,
    pid: number,
  ): boolean {
    const before = ranges.count;
    const weakened = ranges.set(start, last, kind, pid);
    this.#ranges += ranges.count - before;
    owner.session.ranges += ranges.count - before;
    return weakened;
  }

  #give(list: LockList<S>, owner: Owner<S>, start: number, last: number): void {
    const ranges = list.held.get(owner);
    if (ranges === undefined) return;
    const weakened = this.#change(owner, ranges, start, last, LOCK_NONE, 0);
    if (ranges.count === 0) {
      list.held.delete(owner);
      owner.lists.delete(list);
    }
    if (weakened) this.#pump(list);
  }

  /** Without granting anything. */
  #drop(list: LockList<S>, owner: Owner<S>): void {
    const ranges = list.held.get(owner);
    if (ranges === undefined) return;
    this.#change(owner, ranges, 0, LOCK_LAST, LOCK_NONE, 0);
    list.held.delete(owner);
    owner.lists.delete(list);
  }

  #removeWaiter(waiter: Waiter<S>): void {
    const { list, owner } = waiter;
    list.queue.splice(list.queue.indexOf(waiter), 1);
    owner.waiting.delete(waiter);
    owner.session.waiters.delete(waiter.number);
    this.#waiters--;
  }

  // ---------------------------------------------------------------- finding and forgetting

  #listOf(family: number, inode: number): LockList<S> {
    const lists = this.#lists[family]!;
    let list = lists.get(inode);
    if (list === undefined) {
      list = new LockList(inode, family);
      lists.set(inode, list);
    }
    return list;
  }

  #ownerOf(session: S, number: number): Owner<S> {
    let locks = this.#sessions.get(session);
    if (locks === undefined) {
      locks = new SessionLocks(session);
      this.#sessions.set(session, locks);
    }
    let owner = locks.owners.get(number);
    if (owner === undefined) {
      owner = new Owner(locks, number);
      locks.owners.set(number, owner);
    }
    return owner;
  }

  #tidy(list: LockList<S>, owner: Owner<S>): void {
    this.#tidyList(list);
    if (owner.lists.size > 0 || owner.waiting.size > 0) return;
    const { session } = owner;
    session.owners.delete(owner.number);
    if (session.owners.size === 0) this.#sessions.delete(session.session);
  }

  #tidyList(list: LockList<S>): void {
    if (list.held.size > 0 || list.queue.length > 0) return;
    this.#lists[list.family]!.delete(list.inode);
  }
}
