/**
 * Requests about file locks, of all sessions of a target (docs/locks.md). The table (lock-table.ts)
 * decides; here are what it does not know: memory of requests, notices, time.
 *
 *   SetLock ─┬─ the session's first ─> its id is stored ─┐
 *            ├─ grace, not claimed again ─> EINPROGRESS, deferred ── grace over ──┐
 *            └──────────────────────────> table <────────┴───────────────────────┘
 *                                           ├─ status ─────────> answered (deferred: notice)
 *                                           └─ EINPROGRESS ────> answered; granted ─> notice
 *
 * Nothing is stored: after a restart sessions claim again what they held, before anybody else gets a
 * lock (leases/grace.ts). A session whose client is silent loses its locks when somebody wants them.
 */
import { ESTALE, errno } from '../../common/errno.js';
import { LOCK_NONE, LOCK_WRITE } from '../../common/lock-ranges.js';
import type { Scheduler, Timer } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import { bucketOfInode } from '../../placement/inode-number.js';
import { NOTICE_LOCK, NOTICE_LOCK_PROBE } from '../../protocol/leases.js';
import { isU53, readU16, readU53, readU53OrZero, writeU53 } from '../../protocol/u53.js';
import {
  CancelLockRequest,
  LockProbeRequest,
  LockReply,
  Opcode,
  SetLockRequest,
} from '../../protocol/wire.generated.js';
import {
  LOCK_FLAG_FLOCK,
  LOCK_FLAG_RECLAIM,
  LOCK_FLAG_WAIT,
  LOCK_SILENCE_MS,
  PROBE_BLOCKERS_MAX,
  PROBE_HOPS_MAX,
} from '../../protocol/locks.js';
import type { RpcRequest, RpcServer, Session } from '../../transport/rpc-server.js';
import type { Grace } from '../leases/grace.js';
import type { Notices } from '../leases/notices.js';
import { FAMILY_FCNTL, FAMILY_FLOCK, LockTable, SESSION_WAITERS_MAX } from './lock-table.js';
import type { LockRequest } from './lock-table.js';

const SILENCE_CHECK_MS = 1000;
const SILENCE_LATE_MS = 500;

export interface FileLocksHost {
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  /** Answers without a body. */
  answerStatus(request: RpcRequest, status: number): void;
  /** The bucket is of this target. */
  owns(bucket: number): boolean;
}

/** What RpcServer does for this. */
export type LockRpc = Pick<RpcServer, 'beginReply' | 'endReply' | 'resetSession'>;

/** Notices to sessions, and the grace after a start. */
export interface LockNews {
  readonly notices: Pick<Notices, 'send'>;
  readonly grace: Pick<Grace, 'isOver' | 'whenOver' | 'mayReclaim' | 'admit'>;
}

/** Waits for the grace to be over. */
interface Deferred {
  session: Session;
  request: LockRequest;
}

export class FileLocks {
  readonly #host: FileLocksHost;
  readonly #rpc: LockRpc;
  readonly #notices: LockNews['notices'];
  readonly #grace: LockNews['grace'];
  readonly #table: LockTable<Session>;
  /** Inodes of waiters that were told EINPROGRESS, by session and number: notices name them. */
  readonly #inodes = new Map<Session, Map<number, number>>();
  /** Of sessions that may hold locks: when their client was heard last. */
  readonly #heardMs = new Map<Session, number>();
  /** Counts how often a session has lost everything. */
  readonly #generations = new WeakMap<Session, number>();
  /** Silent sessions whose locks somebody has tried to get. */
  readonly #suspects = new Set<Session>();
  #deferred: Deferred[] = [];
  #silence: Timer | undefined;
  #closed = false;
  #granted = 0;
  #deadlocks = 0;

  constructor(host: FileLocksHost, rpc: LockRpc, news: LockNews) {
    this.#host = host;
    this.#rpc = rpc;
    this.#notices = news.notices;
    this.#grace = news.grace;
    this.#table = new LockTable((session, waiter) => {
      this.#settled(session, waiter, 0);
    });
  }

  close(): void {
    this.#closed = true;
    this.#silence?.cancel();
  }

  /** Counters by name. */
  report(): Record<string, number> {
    return {
      fileLocks: this.#table.ranges,
      fileLockWaiters: this.#table.waiters + this.#deferred.length,
      fileLocksGranted: this.#granted,
      fileLockDeadlocks: this.#deadlocks,
    };
  }

  /** The session's client is alive. */
  heard(session: Session): void {
    if (this.#heardMs.has(session)) this.#heardMs.set(session, this.#host.scheduler.nowMs());
  }

  /** The session has ended, or was reset. */
  drop(session: Session): void {
    this.#inodes.delete(session);
    this.#heardMs.delete(session);
    this.#suspects.delete(session);
    this.#generations.set(session, (this.#generations.get(session) ?? 0) + 1);
    this.#deferred = this.#deferred.filter((deferred) => deferred.session !== session);
    this.#table.dropSession(session);
  }

  /** False: no request about locks. */
  onRequest(request: RpcRequest): boolean {
    switch (request.opcode) {
      case Opcode.SetLock:
        this.#setLock(request);
        return true;
      case Opcode.GetLock:
        this.#getLock(request);
        return true;
      case Opcode.CancelLock:
        this.#cancel(request);
        return true;
      case Opcode.LockProbe:
        this.#probe(request);
        return true;
      default:
        return false;
    }
  }

  // ---------------------------------------------------------------- locking

  #setLock(request: RpcRequest): void {
    const asked = this.#read(request);
    if (asked === undefined) {
      this.#host.answerStatus(request, errno.EINVAL);
    } else if (!this.#host.owns(bucketOfInode(asked.inode))) {
      this.#host.answerStatus(request, ESTALE);
    } else {
      const { words } = this.#host.arena;
      const isReclaim = (this.#flagsOf(words, request.body) & LOCK_FLAG_RECLAIM) !== 0;
      this.#execute(request.session, asked, isReclaim, (status) => {
        const { session, slot, sequence, opcode } = request;
        session.recordVolatile(slot, sequence, opcode, status);
        this.#host.answerStatus(request, status);
      });
    }
  }

  /** `done` gets the status, perhaps at once. */
  #execute(
    session: Session,
    asked: LockRequest,
    isReclaim: boolean,
    done: (status: number) => void,
  ): void {
    this.heard(session);
    if (isReclaim) {
      if (!this.#grace.mayReclaim(session)) done(ESTALE);
      else this.#admitted(session, done, () => this.#reclaim(session, asked));
    } else if (this.#mustDefer(session, asked)) {
      done(this.#defer(session, asked));
    } else if (asked.kind === LOCK_NONE) {
      done(this.#table.set(session, asked));
    } else {
      this.#admitted(session, done, () => this.#set(session, asked));
    }
  }

  /** Runs `body` when the store says that the session may hold locks; it may be closed by then. */
  #admitted(session: Session, done: (status: number) => void, body: () => number): void {
    if (this.#heardMs.has(session)) {
      done(body());
      return;
    }
    const generation = this.#generations.get(session);
    this.#grace.admit(session, () => {
      // A session that was reset meanwhile asks again for what it waits for.
      if (this.#generations.get(session) !== generation) {
        done(errno.EINPROGRESS);
        return;
      }
      this.#heardMs.set(session, this.#host.scheduler.nowMs());
      done(body());
    });
  }

  #defer(session: Session, asked: LockRequest): number {
    const known = this.#inodes.get(session);
    const isKnown = known?.has(asked.waiter) === true;
    if (!isKnown && (known?.size ?? 0) >= SESSION_WAITERS_MAX) return errno.ENOLCK;
    if (this.#deferred.length === 0) {
      this.#grace.whenOver(() => {
        this.#executeDeferred();
      });
    }
    if (!isKnown) this.#deferred.push({ session, request: asked });
    this.#remember(session, asked);
    return errno.EINPROGRESS;
  }

  /** Unlocking is always allowed, but not before a lock that the same owner asked for earlier. */
  #mustDefer(session: Session, asked: LockRequest): boolean {
    if (asked.kind !== LOCK_NONE && !this.#grace.isOver) return true;
    return this.#deferred.some(({ session: other, request }) => {
      return other === session && request.owner === asked.owner && request.inode === asked.inode;
    });
  }

  #reclaim(session: Session, asked: LockRequest): number {
    const status = this.#table.set(session, { ...asked, wait: false });
    return status === errno.EAGAIN ? ESTALE : status;
  }

  #set(session: Session, asked: LockRequest): number {
    const status = this.#table.set(session, asked);
    if (status === errno.EAGAIN) this.#suspect(session, asked);
    if (status === errno.EINPROGRESS) {
      this.#remember(session, asked);
      this.#watchSilence();
    } else if (status === errno.EDEADLK) {
      this.#deadlocks++;
    } else if (status === 0 && asked.kind !== LOCK_NONE) {
      this.#granted++;
    }
    return status;
  }

  /** They can be cancelled until the moment when they are executed. */
  #executeDeferred(): void {
    for (const session of new Set(this.#deferred.map((deferred) => deferred.session))) {
      const isOf = (deferred: Deferred): boolean => deferred.session === session;
      const ignore = (): void => undefined;
      this.#admitted(session, ignore, () => {
        const mine = this.#deferred.filter(isOf);
        this.#deferred = this.#deferred.filter((deferred) => !isOf(deferred));
        for (const { request } of mine) {
          const status = this.#set(session, request);
          if (status !== errno.EINPROGRESS) this.#settled(session, request.waiter, status);
        }
        return 0;
      });
    }
  }

  #remember(session: Session, asked: LockRequest): void {
    let inodes = this.#inodes.get(session);
    if (inodes === undefined) {
      inodes = new Map();
      this.#inodes.set(session, inodes);
    }
    inodes.set(asked.waiter, asked.inode);
  }

  #settled(session: Session, waiter: number, status: number): void {
    const inode = this.#inodes.get(session)?.get(waiter) ?? 0;
    this.#inodes.get(session)?.delete(waiter);
    if (status === 0) this.#granted++;
    this.#notices.send(session, NOTICE_LOCK, inode, waiter, status);
  }

  #cancel(request: RpcRequest): void {
    const { session } = request;
    const waiter = this.#host.arena.words[(request.body + CancelLockRequest.waiter) >>> 2]!;
    const at = this.#deferred.findIndex((deferred) => {
      return deferred.session === session && deferred.request.waiter === waiter;
    });
    if (at >= 0) this.#deferred.splice(at, 1);
    const isOut = at >= 0 || this.#table.cancel(session, waiter);
    if (isOut) this.#inodes.get(session)?.delete(waiter);
    const status = isOut ? 0 : errno.ENOENT;
    session.recordVolatile(request.slot, request.sequence, request.opcode, status);
    this.#host.answerStatus(request, status);
  }

  #getLock(request: RpcRequest): void {
    const asked = this.#read(request);
    if (asked === undefined || asked.kind === LOCK_NONE) {
      this.#host.answerStatus(request, errno.EINVAL);
      return;
    }
    if (!this.#host.owns(bucketOfInode(asked.inode))) {
      this.#host.answerStatus(request, ESTALE);
      return;
    }
    const { session } = request;
    this.#suspect(session, asked);
    const found = this.#table.conflict(session, asked);
    const reply = this.#rpc.beginReply(request, LockReply.SIZE);
    const { words } = this.#host.arena;
    writeU53(words, reply + LockReply.start, found?.start ?? 0);
    writeU53(words, reply + LockReply.last, found?.last ?? 0);
    words[(reply + LockReply.kind) >>> 2] = found?.kind ?? LOCK_NONE;
    words[(reply + LockReply.pid) >>> 2] = found?.pid ?? 0;
    this.#rpc.endReply(request, 0, LockReply.SIZE);
  }

  /** Undefined: it makes no sense. */
  #read(request: RpcRequest): LockRequest | undefined {
    const { words } = this.#host.arena;
    const { body } = request;
    for (const field of [SetLockRequest.owner, SetLockRequest.start, SetLockRequest.last]) {
      if (!isU53(words, body + field)) return undefined;
    }
    const inode = readU53OrZero(words, body + SetLockRequest.inode);
    const start = readU53(words, body + SetLockRequest.start);
    const last = readU53(words, body + SetLockRequest.last);
    const kind = readU16(words, body + SetLockRequest.kind);
    if (inode === 0 || last < start || kind > LOCK_WRITE) return undefined;
    const flags = this.#flagsOf(words, body);
    return {
      inode,
      family: (flags & LOCK_FLAG_FLOCK) === 0 ? FAMILY_FCNTL : FAMILY_FLOCK,
      owner: readU53(words, body + SetLockRequest.owner),
      kind,
      start,
      last,
      pid: words[(body + SetLockRequest.pid) >>> 2]!,
      waiter: words[(body + SetLockRequest.waiter) >>> 2]!,
      wait: (flags & LOCK_FLAG_WAIT) !== 0,
    };
  }

  #flagsOf(words: Uint32Array, body: number): number {
    return readU16(words, body + SetLockRequest.flags);
  }

  // ---------------------------------------------------------------- rings over several targets

  /** Whoever is in the waiter's way is told, through its client, which knows where it waits itself. */
  #probe(request: RpcRequest): void {
    const { words } = this.#host.arena;
    const { body, session } = request;
    const token = readU53OrZero(words, body + LockProbeRequest.token);
    const waiter = words[(body + LockProbeRequest.waiter) >>> 2]!;
    const hops = words[(body + LockProbeRequest.hops) >>> 2]!;
    if (token !== 0 && hops < PROBE_HOPS_MAX) {
      for (const blocker of this.#table.blockersOf(session, waiter, PROBE_BLOCKERS_MAX)) {
        this.#notices.send(blocker.session, NOTICE_LOCK_PROBE, token, blocker.owner, hops);
      }
    }
    this.#host.answerStatus(request, 0);
  }

  // ---------------------------------------------------------------- clients that are silent

  #isSilent(session: Session): boolean {
    const now = this.#host.scheduler.nowMs();
    return now - (this.#heardMs.get(session) ?? now) >= LOCK_SILENCE_MS;
  }

  /** Whoever only tries gets the lock of a silent client, too, but not at once: see below. */
  #suspect(session: Session, asked: LockRequest): void {
    for (const other of this.#table.sessionsAgainst(session, asked)) {
      if (!this.#isSilent(other)) continue;
      this.#suspects.add(other);
      this.#watchSilence();
    }
  }

  /**
   * Silent clients lose what somebody wants. Judged by this timer alone: when it fires late it was this target that
   * stood still, and what its clients have sent meanwhile is still to be read.
   */
  #watchSilence(): void {
    if (this.#silence !== undefined || this.#closed) return;
    const { scheduler } = this.#host;
    const dueMs = scheduler.nowMs() + SILENCE_CHECK_MS;
    this.#silence = scheduler.setTimer(SILENCE_CHECK_MS, () => {
      this.#silence = undefined;
      const isLate = scheduler.nowMs() - dueMs > SILENCE_LATE_MS;
      if (!isLate) {
        for (const session of new Set([...this.#table.contended(), ...this.#suspects])) {
          if (!this.#isSilent(session)) continue;
          this.#rpc.resetSession(session, 'somebody waits for its locks, and it is silent');
        }
        this.#suspects.clear();
      }
      if (isLate || this.#table.waiters > 0) this.#watchSilence();
      scheduler.requestTurn();
    });
  }
}
