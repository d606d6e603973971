/**
 * The lock table against a model that knows bytes and nothing else: each byte of a small file says who
 * has it and how; who waits for whom is found by looking at every pair. Random requests of a few owners
 * of a few sessions; what the table answers, what it grants and what is held afterwards must agree.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import { LOCK_LAST, LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../../../../src/common/lock-ranges.js';
import {
  FAMILY_FCNTL,
  FAMILY_FLOCK,
  LockTable,
} from '../../../../src/server/file-locks/lock-table.js';
import type { LockRequest } from '../../../../src/server/file-locks/lock-table.js';
import { SimRandom } from '../../../../src/transport/sim/sim-random.js';

const BYTES = 12;
const OWNERS = 6;
const INODES = 2;

function requestOf(fields: Partial<LockRequest>): LockRequest {
  return {
    inode: 1,
    family: FAMILY_FCNTL,
    owner: 1,
    kind: LOCK_WRITE,
    start: 0,
    last: LOCK_LAST,
    pid: 7,
    waiter: 1,
    wait: false,
    ...fields,
  };
}

interface ModelWaiter {
  request: LockRequest;
  passes: Set<ModelWaiter>;
}

/** One owner is one number here; the session is owner mod 2. */
class Model {
  /** By inode and family: for each byte, the kind that each owner has. */
  readonly bytes = new Map<string, number[][]>();
  readonly queues = new Map<string, ModelWaiter[]>();

  of(request: LockRequest): { bytes: number[][]; queue: ModelWaiter[] } {
    const key = `${request.inode} ${request.family}`;
    if (!this.bytes.has(key)) {
      const none = (): number[] => new Array<number>(OWNERS).fill(LOCK_NONE);
      this.bytes.set(key, Array.from({ length: BYTES }, none));
      this.queues.set(key, []);
    }
    return { bytes: this.bytes.get(key)!, queue: this.queues.get(key)! };
  }

  static conflict(a: LockRequest, b: LockRequest): boolean {
    if (a.owner === b.owner || a.kind + b.kind < LOCK_READ + LOCK_WRITE) return false;
    for (let i = 0; i < BYTES; i++) {
      if (i >= a.start && i <= a.last && i >= b.start && i <= b.last) return true;
    }
    return false;
  }

  holders(request: LockRequest): Set<number> {
    const found = new Set<number>();
    for (let i = request.start; i <= request.last; i++) {
      this.of(request).bytes[i]!.forEach((kind, owner) => {
        if (owner === request.owner || kind === LOCK_NONE) return;
        if (kind + request.kind >= LOCK_READ + LOCK_WRITE) found.add(owner);
      });
    }
    return found;
  }

  blockers(waiter: ModelWaiter): Set<number> {
    const { request, passes } = waiter;
    const found = this.holders(request);
    for (const earlier of this.of(request).queue) {
      if (earlier === waiter) break;
      if (!passes.has(earlier) && Model.conflict(earlier.request, request)) {
        found.add(earlier.request.owner);
      }
    }
    return found;
  }

  reaches(waiter: ModelWaiter, goal: number, seen = new Set<number>()): boolean {
    for (const owner of this.blockers(waiter)) {
      if (owner === goal) return true;
      if (seen.has(owner)) continue;
      seen.add(owner);
      for (const queue of this.queues.values()) {
        for (const other of queue) {
          if (other.request.owner !== owner || other.request.family !== FAMILY_FCNTL) continue;
          if (this.reaches(other, goal, seen)) return true;
        }
      }
    }
    return false;
  }

  hold(request: LockRequest): void {
    for (let i = request.start; i <= request.last; i++) {
      this.of(request).bytes[i]![request.owner] = request.kind;
    }
  }

  holdsAny(owner: number): boolean {
    return [...this.bytes.values()].some((bytes) => bytes.some((byte) => byte[owner] !== 0));
  }

  set(request: LockRequest): number {
    const { bytes, queue } = this.of(request);
    const mine = bytes.map((byte) => byte[request.owner]!);
    const asked = mine.slice(request.start, request.last + 1);
    if (request.kind === LOCK_NONE) {
      this.hold(request);
      return 0;
    }
    const isConversion = request.family === FAMILY_FLOCK && mine[0] !== LOCK_NONE;
    if (isConversion && mine[0] !== request.kind) this.hold({ ...request, kind: LOCK_NONE });
    const covered = asked.every((kind) => kind >= request.kind);
    const earlier = queue.filter((one) => Model.conflict(one.request, request));
    const passes = new Set(
      request.family === FAMILY_FLOCK || !this.holdsAny(request.owner)
        ? []
        : earlier.filter((one) => this.reaches(one, request.owner)),
    );
    const first = isConversion || covered || passes.size === earlier.length;
    if (first && this.holders(request).size === 0) {
      this.hold(request);
      return 0;
    }
    if (!request.wait) return errno.EAGAIN;
    const waiter = { request, passes: isConversion ? new Set<ModelWaiter>() : passes };
    queue.push(waiter);
    if (request.family === FAMILY_FCNTL && this.reaches(waiter, request.owner)) {
      queue.pop();
      return errno.EDEADLK;
    }
    return errno.EINPROGRESS;
  }

  /** Grants what can be granted; returns the waiters' numbers in order. */
  settle(): number[] {
    const granted: number[] = [];
    for (let found = true; found;) {
      found = false;
      for (const queue of this.queues.values()) {
        const at = queue.findIndex((waiter) => this.blockers(waiter).size === 0);
        if (at < 0) continue;
        const [{ request }] = queue.splice(at, 1) as [ModelWaiter];
        this.hold(request);
        granted.push(request.waiter);
        found = true;
      }
    }
    return granted;
  }

  cancel(waiter: number): boolean {
    for (const queue of this.queues.values()) {
      const at = queue.findIndex(({ request }) => request.waiter === waiter);
      if (at >= 0) return queue.splice(at, 1).length > 0;
    }
    return false;
  }
}

/** Whether owner `owner`, asked of by somebody else, is seen to hold what the model says. */
function compare(table: LockTable<string>, model: Model, what: string): void {
  for (let inode = 1; inode <= INODES; inode++) {
    for (const family of [FAMILY_FCNTL, FAMILY_FLOCK]) {
      for (let byte = 0; byte < BYTES; byte++) {
        for (const kind of [LOCK_READ, LOCK_WRITE]) {
          const asked = requestOf({ inode, family, kind, start: byte, last: byte, owner: 99 });
          const found = table.conflict('s9', asked);
          const expected = model.holders({ ...asked, owner: 99 }).size > 0;
          assert.equal(found !== undefined, expected, `${what}: inode ${inode} byte ${byte}`);
        }
      }
    }
  }
}

function runSeed(seed: number): void {
  const random = new SimRandom(seed);
  const model = new Model();
  const granted: number[] = [];
  const table = new LockTable<string>((_session, waiter) => granted.push(waiter));
  const waiting = new Map<number, number>();
  const pick = (count: number): number => Math.floor(random.next() * count);
  let number = 0;
  for (let step = 0; step < 120; step++) {
    const owner = pick(OWNERS);
    const session = `s${owner % 2}`;
    const family = pick(4) === 0 ? FAMILY_FLOCK : FAMILY_FCNTL;
    const [a, b] = [pick(BYTES), pick(BYTES)];
    const request = requestOf({
      inode: 1 + pick(INODES),
      family,
      owner,
      kind: pick(3),
      start: family === FAMILY_FLOCK ? 0 : Math.min(a, b),
      last: family === FAMILY_FLOCK ? BYTES - 1 : Math.max(a, b),
      waiter: ++number,
      wait: pick(3) > 0,
    });
    const what = `seed ${seed} step ${step} ${JSON.stringify(request)}`;
    granted.length = 0;
    const waits = [...waiting].find(([, who]) => who === owner);
    if (waits !== undefined) {
      // It is blocked in a call: a signal may end that, nothing else.
      assert.equal(table.cancel(session, waits[0]), model.cancel(waits[0]), what);
      waiting.delete(waits[0]);
    } else {
      const status = table.set(session, request);
      assert.equal(status, model.set(request), what);
      if (status === errno.EINPROGRESS) waiting.set(number, owner);
    }
    const expected = model.settle();
    assert.deepEqual([...granted].sort(), [...expected].sort(), what);
    for (const one of granted) waiting.delete(one);
    assert.equal(table.waiters, waiting.size, what);
    compare(table, model, what);
  }
  for (const session of ['s0', 's1']) table.dropSession(session);
  assert.equal(table.ranges + table.waiters, 0, `seed ${seed}: something is left`);
}

describe('the lock table', () => {
  it('agrees with a model of bytes', () => {
    for (let seed = 1; seed <= 150; seed++) runSeed(seed);
  });

  const grants: number[] = [];
  let table = new LockTable<string>(() => undefined);
  const set = (fields: Partial<LockRequest>, session = 'a'): number =>
    table.set(session, requestOf(fields));

  beforeEach(() => {
    grants.length = 0;
    table = new LockTable<string>((_session, waiter) => grants.push(waiter));
  });

  it('lets a reader wait behind a writer that waits', () => {
    assert.equal(set({ kind: LOCK_READ }), 0);
    assert.equal(set({ owner: 2, waiter: 2, wait: true }), errno.EINPROGRESS);
    assert.equal(set({ owner: 3, kind: LOCK_READ }), errno.EAGAIN);
    assert.equal(set({ owner: 3, kind: LOCK_READ, waiter: 3, wait: true }), errno.EINPROGRESS);
    assert.equal(set({ kind: LOCK_NONE }), 0);
    assert.deepEqual(grants, [2]);
    set({ owner: 2, kind: LOCK_NONE });
    assert.deepEqual(grants, [2, 3]);
  });

  it('grants an upgrade before the writers that wait for it', () => {
    set({ kind: LOCK_READ });
    set({ owner: 2, waiter: 2, wait: true });
    assert.equal(set({ waiter: 3, wait: true }), 0);
  });

  it('answers EDEADLK to the second of two upgrades, and across inodes', () => {
    set({ kind: LOCK_READ });
    set({ owner: 2, kind: LOCK_READ });
    assert.equal(set({ waiter: 3, wait: true }), errno.EINPROGRESS);
    assert.equal(set({ owner: 2, waiter: 4, wait: true }), errno.EDEADLK);
    set({ owner: 5, inode: 2 });
    set({ owner: 6, inode: 3 }, 'b');
    assert.equal(set({ owner: 5, inode: 3, waiter: 5, wait: true }), errno.EINPROGRESS);
    assert.equal(set({ owner: 6, inode: 2, waiter: 6, wait: true }, 'b'), errno.EDEADLK);
  });

  it('takes the old lock away before a flock is converted', () => {
    const family = FAMILY_FLOCK;
    set({ family, kind: LOCK_READ });
    set({ family, owner: 2, kind: LOCK_READ });
    assert.equal(set({ family, waiter: 3, wait: true }), errno.EINPROGRESS);
    assert.equal(set({ family, owner: 3, kind: LOCK_READ }), errno.EAGAIN, 'behind the first');
    assert.equal(set({ family, owner: 2 }), 0, 'the first has no shared lock any more');
    set({ family, owner: 2, kind: LOCK_NONE });
    assert.deepEqual(grants, [3]);
  });

  it('frees what a session had, for those who wait', () => {
    set({}, 'a');
    set({ waiter: 9, wait: true }, 'b');
    assert.deepEqual([...table.contended()], ['a']);
    table.dropSession('a');
    assert.deepEqual(grants, [9]);
    assert.deepEqual([...table.holders()], ['b']);
  });
});

describe('a long queue of locks', () => {
  it('is searched for rings in a moment, though each of those waiting holds something', function () {
    this.timeout(20_000);
    const table = new LockTable<string>(() => undefined);
    const all = 800;
    for (let owner = 1; owner <= all; owner++) {
      const own = { owner, inode: 1, start: owner, last: owner };
      assert.equal(table.set(`${owner % 2}`, requestOf(own)), 0);
    }
    assert.equal(table.set('0', requestOf({ owner: all + 1, inode: 2 })), 0);
    for (let owner = 1; owner <= all; owner++) {
      const wanted = requestOf({ owner, inode: 2, waiter: owner, wait: true });
      assert.equal(table.set(`${owner % 2}`, wanted), errno.EINPROGRESS);
    }
    // The last in the queue holds what the one who is waited for wants.
    const ring = { owner: all + 1, inode: 1, start: all, last: all, waiter: all + 1, wait: true };
    assert.equal(table.set('0', requestOf(ring)), errno.EDEADLK);
  });
});
