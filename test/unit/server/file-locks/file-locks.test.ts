/** Requests about locks at a target: the grace after a restart, silent clients, sessions that end meanwhile. */
import assert from 'node:assert/strict';
import { errno, ESTALE } from '../../../../src/common/errno.js';
import { LOCK_NONE, LOCK_WRITE } from '../../../../src/common/lock-ranges.js';
import type { Scheduler } from '../../../../src/common/scheduler.js';
import { encodeSetLock } from '../../../../src/client/file-locks/lock-operation.js';
import { createPlainArena } from '../../../../src/native/arena-memory.js';
import {
  LOCK_FLAG_RECLAIM,
  LOCK_FLAG_WAIT,
  LOCK_SILENCE_MS,
} from '../../../../src/protocol/locks.js';
import { CancelLockRequest, Opcode } from '../../../../src/protocol/wire.generated.js';
import { SESSION_WAITERS_MAX } from '../../../../src/server/file-locks/lock-table.js';
import { FileLocks } from '../../../../src/server/file-locks/file-locks.js';
import type { RpcRequest, Session } from '../../../../src/transport/rpc-server.js';

/** A target's surroundings, by hand. */
class Ground {
  readonly arena = createPlainArena({ messageSlots: 4, bulkSlots: 1 });
  nowMs = 1000;
  timers: { atMs: number; run: () => void }[] = [];
  graceIsOver = true;
  readonly whenOver: (() => void)[] = [];
  /** Sessions that may claim again. */
  readonly awaited = new Set<Session>();
  /** Undefined: the store answers at once. */
  stores: (() => void)[] | undefined;
  readonly notices: { session: Session; waiter: number; status: number }[] = [];
  readonly reset: Session[] = [];
  readonly statuses: number[] = [];
  readonly locks: FileLocks;
  readonly #body = this.arena.messages.take();

  constructor() {
    const scheduler = {
      nowMs: () => this.nowMs,
      requestTurn: () => undefined,
      setTimer: (delayMs: number, run: () => void) => {
        const timer = { atMs: this.nowMs + delayMs, run };
        this.timers.push(timer);
        return { cancel: () => this.timers.splice(this.timers.indexOf(timer), 1) };
      },
    } as unknown as Scheduler;
    const host = {
      arena: this.arena,
      scheduler,
      answerStatus: (_request: RpcRequest, status: number) => this.statuses.push(status),
      owns: () => true,
    };
    const rpc = {
      beginReply: () => this.#body,
      endReply: () => undefined,
      resetSession: (session: Session) => {
        this.reset.push(session);
        this.locks.drop(session);
      },
    };
    const isOver = (): boolean => this.graceIsOver;
    const grace = {
      get isOver(): boolean {
        return isOver();
      },
      whenOver: (then: () => void) => this.whenOver.push(then),
      mayReclaim: (session: Session) => this.awaited.has(session),
      admit: (_session: Session, then: () => void) => {
        if (this.stores === undefined) then();
        else this.stores.push(then);
      },
    };
    const send = (
      session: Session,
      _kind: number,
      _inode: number,
      waiter: number,
      status: number,
    ): number => this.notices.push({ session, waiter, status });
    this.locks = new FileLocks(host, rpc, { notices: { send }, grace });
  }

  /** The status, -1 if there is none yet. */
  set(session: Session, waiter: number, kind: number, flags = 0): number {
    const lock = {
      inode: 5,
      owner: { number: 1 },
      start: 0,
      last: 9,
      number: waiter,
      pid: 1,
      kind,
    };
    encodeSetLock(this.arena.words, this.#body, lock, flags);
    return this.#ask(session, Opcode.SetLock);
  }

  cancel(session: Session, waiter: number): number {
    this.arena.words[(this.#body + CancelLockRequest.waiter) >>> 2] = waiter;
    return this.#ask(session, Opcode.CancelLock);
  }

  #ask(session: Session, opcode: number): number {
    this.statuses.length = 0;
    const request = { session, opcode, body: this.#body, slot: 0, sequence: 1 };
    this.locks.onRequest(request as unknown as RpcRequest);
    return this.statuses[0] ?? -1;
  }

  endGrace(): void {
    this.graceIsOver = true;
    for (const then of this.whenOver.splice(0)) then();
  }

  /** Timers that are due fire, `lateMs` late. */
  pass(forMs: number, lateMs = 0): void {
    const endMs = this.nowMs + forMs;
    for (;;) {
      const at = this.timers.findIndex((timer) => timer.atMs + lateMs <= endMs);
      if (at < 0) break;
      const [timer] = this.timers.splice(at, 1);
      this.nowMs = Math.max(this.nowMs, timer!.atMs + lateMs);
      timer!.run();
    }
    this.nowMs = endMs;
  }
}

function session(): Session {
  return { recordVolatile: () => undefined } as unknown as Session;
}

describe("a target's file locks", () => {
  it('are given in the grace to who claims them, to others afterwards', () => {
    const ground = new Ground();
    const [before, other] = [session(), session()];
    ground.graceIsOver = false;
    ground.awaited.add(before);
    assert.equal(ground.set(other, 1, LOCK_WRITE), errno.EINPROGRESS);
    assert.equal(ground.set(other, 2, LOCK_WRITE, LOCK_FLAG_RECLAIM), ESTALE);
    assert.equal(ground.set(before, 1, LOCK_WRITE, LOCK_FLAG_RECLAIM), 0);
    ground.endGrace();
    assert.deepEqual(ground.notices, [{ session: other, waiter: 1, status: errno.EAGAIN }]);
    ground.awaited.clear();
    assert.equal(ground.set(before, 2, LOCK_WRITE, LOCK_FLAG_RECLAIM), ESTALE);
  });

  it('are waited for in the grace by no more requests than at other times', () => {
    const ground = new Ground();
    const [greedy, other] = [session(), session()];
    ground.graceIsOver = false;
    for (let waiter = 1; waiter <= SESSION_WAITERS_MAX; waiter++) {
      assert.equal(ground.set(greedy, waiter, LOCK_WRITE, LOCK_FLAG_WAIT), errno.EINPROGRESS);
    }
    assert.equal(ground.set(greedy, 0xffff_ffff, LOCK_WRITE, LOCK_FLAG_WAIT), errno.ENOLCK);
    assert.equal(ground.set(greedy, 1, LOCK_WRITE, LOCK_FLAG_WAIT), errno.EINPROGRESS, 'again');
    assert.equal(ground.set(other, 1, LOCK_WRITE, LOCK_FLAG_WAIT), errno.EINPROGRESS);
  });

  it('are not unlocked in the grace before they are locked', () => {
    const ground = new Ground();
    const one = session();
    ground.graceIsOver = false;
    assert.equal(ground.set(one, 1, LOCK_WRITE), errno.EINPROGRESS);
    assert.equal(ground.set(one, 2, LOCK_NONE), errno.EINPROGRESS);
    ground.endGrace();
    assert.deepEqual(
      ground.notices.map(({ waiter, status }) => [waiter, status]),
      [
        [1, 0],
        [2, 0],
      ],
    );
    assert.equal(ground.locks.report()['fileLocks'], 0);
  });

  it('can be given up in the grace', () => {
    const ground = new Ground();
    const one = session();
    ground.graceIsOver = false;
    assert.equal(ground.set(one, 1, LOCK_WRITE, LOCK_FLAG_WAIT), errno.EINPROGRESS);
    assert.equal(ground.cancel(one, 1), 0);
    assert.equal(ground.cancel(one, 1), errno.ENOENT);
    ground.endGrace();
    assert.deepEqual(ground.notices, []);
  });

  it('are not given to a session that ended while its id was being stored', () => {
    const ground = new Ground();
    const [one, other] = [session(), session()];
    ground.stores = [];
    assert.equal(ground.set(one, 1, LOCK_WRITE), -1);
    ground.locks.drop(one);
    for (const stored of ground.stores.splice(0)) stored();
    assert.deepEqual(ground.statuses, [errno.EINPROGRESS], 'it asks again');
    ground.stores = undefined;
    assert.equal(ground.set(other, 1, LOCK_WRITE), 0);
  });

  it('are taken from a silent client for who waits, and for who only tries', () => {
    for (const flags of [LOCK_FLAG_WAIT, 0]) {
      const ground = new Ground();
      const [silent, other] = [session(), session()];
      ground.set(silent, 1, LOCK_WRITE);
      ground.pass(LOCK_SILENCE_MS - 2000);
      ground.set(other, 1, LOCK_WRITE, flags);
      ground.pass(1500);
      assert.deepEqual(ground.reset, []);
      ground.pass(1000);
      ground.set(other, 2, LOCK_WRITE, flags);
      ground.pass(1500);
      assert.deepEqual(ground.reset, [silent]);
      assert.equal(ground.locks.report()['fileLocks'], flags === 0 ? 0 : 1);
    }
  });

  it('stay with clients that could not be heard because the target stood still', () => {
    const ground = new Ground();
    const [holder, other] = [session(), session()];
    ground.set(holder, 1, LOCK_WRITE);
    ground.set(other, 1, LOCK_WRITE, LOCK_FLAG_WAIT);
    ground.pass(30_000, 25_000);
    assert.deepEqual(ground.reset, []);
    ground.locks.heard(holder);
    ground.pass(5000);
    assert.deepEqual(ground.reset, []);
  });
});
