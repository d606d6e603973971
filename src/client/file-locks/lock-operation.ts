/**
 * One lock or unlock on its way:
 *
 *   queued ── no other of this owner and file is on its way ──> sending
 *   sending ─┬─ status ───────────────────────────────────────────────> done
 *      ^     └─ EINPROGRESS ─> waiting ─┬─ notice ─────────────────────> done
 *      │                        │       └─ signal ─> cancelling ─┬─ 0 ─> EINTR
 *      └─ target restarted, ────┘                                └─ ENOENT: its notice is under way
 *         or session lost                                             ─> settling ─ notice ─> done
 *
 * A lock that is granted just when a signal comes is held: the caller gets 0, and the signal. A caller
 * that cannot wait for that (it dies, or the target is away) is answered EINTR at once; what is granted
 * afterwards is given back.
 */
import { errno } from '../../common/errno.js';
import { LOCK_LAST, LOCK_NONE } from '../../common/lock-ranges.js';
import { writeU16, writeU53 } from '../../protocol/u53.js';
import { CancelLockRequest, Opcode, SetLockRequest } from '../../protocol/wire.generated.js';
import { LOCK_FLAG_FLOCK, LOCK_FLAG_RECLAIM, LOCK_FLAG_WAIT } from '../../protocol/locks.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import { CoreOperation } from '../operation.js';
import type { FileLocks } from './file-locks.js';
import { FAMILY_FLOCK } from './lock-owners.js';
import type { LockOwner } from './lock-owners.js';

const STATE_SENDING = 0;
const STATE_WAITING = 1;
const STATE_CANCELLING = 2;
const STATE_SETTLING = 3;
/** Behind another of the same owner and file, so that they are executed in this order. */
const STATE_QUEUED = 4;

const UNSETTLED = -1;

export class LockOperation extends CoreOperation {
  locks!: FileLocks;
  owner!: LockOwner;
  inode = 0;
  handle = 0;
  kind = LOCK_NONE;
  start = 0;
  last = LOCK_LAST;
  pid = 0;
  wait = false;
  /** Claims again what is held: nobody waits for it. */
  reclaims = false;
  /** Somebody has asked for it. */
  isAsked = false;
  /** … and waits for it no more. */
  isAbandoned = false;
  /** Names the request at the target. */
  number = 0;
  target!: RpcPeer;
  /** Random; see LockProbe. */
  token = 0;
  waitingSinceMs = 0;
  /** When SetLock was last called. */
  sentMs = 0;
  probedMs = 0;
  probePauseMs = 0;
  /** Probes that were passed on, by token: when. */
  readonly forwarded = new Map<number, number>();
  #state = STATE_QUEUED;
  /** What a notice has said; it may come before the answer of SetLock. */
  #settled = UNSETTLED;
  /** The target, or the session, began anew while a call was on its way. */
  #overtaken = false;
  #interrupted = false;
  /** What a cancelled waiter is answered. */
  #cancelStatus: number = errno.EINTR;

  prepare(): void {
    this.#state = STATE_QUEUED;
    this.#settled = UNSETTLED;
    this.#overtaken = false;
    this.#interrupted = false;
    this.isAbandoned = false;
    this.#cancelStatus = errno.EINTR;
    this.forwarded.clear();
    this.target = this.context.peerOfInode(this.inode);
  }

  begin(): void {
    this.context.awaitNotices(this.target);
    this.#sendSet();
  }

  get isQueued(): boolean {
    return this.#state === STATE_QUEUED;
  }

  /** Others of this owner and file must not be sent: they might overtake it. */
  get blocksOthers(): boolean {
    return this.#state === STATE_SENDING || this.isAbandoned;
  }

  get isWaiting(): boolean {
    return this.#state === STATE_WAITING;
  }

  #sendSet(): void {
    this.#state = STATE_SENDING;
    this.sentMs = this.context.scheduler.nowMs();
    this.send(this.target, Opcode.SetLock, SetLockRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    if (this.#state === STATE_CANCELLING) {
      words[(body + CancelLockRequest.waiter) >>> 2] = this.number;
      words[(body + CancelLockRequest.reserved) >>> 2] = 0;
      return CancelLockRequest.SIZE;
    }
    const flags =
      (this.owner.family === FAMILY_FLOCK ? LOCK_FLAG_FLOCK : 0) |
      (this.wait ? LOCK_FLAG_WAIT : 0) |
      (this.reclaims ? LOCK_FLAG_RECLAIM : 0);
    encodeSetLock(words, body, this, flags);
    return SetLockRequest.SIZE;
  }

  override done(status: number): void {
    if (this.#state === STATE_CANCELLING) this.#cancelled(status);
    else this.#answered(status);
  }

  #answered(status: number): void {
    const isOvertaken = this.#overtaken && !this.reclaims;
    this.#overtaken = false;
    if (isOvertaken && (status === 0 || status === errno.EINPROGRESS)) {
      // It may be the answer of before; asking twice does no harm.
      this.#settled = UNSETTLED;
      this.#sendSet();
    } else if (status !== errno.EINPROGRESS) {
      this.#finish(status);
    } else if (this.#settled !== UNSETTLED) {
      this.#finish(this.#settled);
    } else {
      this.#state = STATE_WAITING;
      this.waitingSinceMs = this.context.scheduler.nowMs();
      this.locks.waits(this);
      if (this.#interrupted) this.#cancel();
    }
  }

  /** The target's notice. */
  settle(status: number): void {
    if (this.#state === STATE_WAITING || this.#state === STATE_SETTLING) this.#finish(status);
    else this.#settled = status;
  }

  #cancel(): void {
    this.#state = STATE_CANCELLING;
    this.#overtaken = false;
    this.send(this.target, Opcode.CancelLock, CancelLockRequest.SIZE);
  }

  #cancelled(status: number): void {
    const isOver = status === errno.ENOENT && !this.#overtaken;
    if (isOver && this.#settled === UNSETTLED) this.#state = STATE_SETTLING;
    else if (isOver) this.#finish(this.#settled);
    else if (status === errno.ENOENT) this.#finish(this.#cancelStatus);
    else this.#finish(status === 0 ? this.#cancelStatus : status);
  }

  /** It stands in a ring of waiters. */
  breakRing(): void {
    if (this.#state !== STATE_WAITING) return;
    this.#cancelStatus = errno.EDEADLK;
    this.#cancel();
  }

  /** The caller has a signal. */
  interrupt(): void {
    if (!this.wait || this.kind === LOCK_NONE) return;
    this.#interrupted = true;
    if (this.#state === STATE_WAITING) this.#cancel();
    if (this.target.state !== 'ready' || this.#state === STATE_QUEUED) this.abandon();
  }

  /** The caller is answered now; `locks` sees to it that it holds nothing of this. */
  abandon(): void {
    const { request } = this;
    if (request === null) return;
    this.#interrupted = true;
    this.isAbandoned = this.kind !== LOCK_NONE;
    this.request = null;
    if (this.#state === STATE_WAITING) this.#cancel();
    this.locks.abandoned(request);
    if (this.#state === STATE_QUEUED && this.isAbandoned) this.#finish(errno.EINTR);
  }

  /** The target knows nothing of before: it was restarted, or has closed the session. */
  targetForgot(): void {
    if (this.#state === STATE_WAITING) this.#sendSet();
    else if (this.#state === STATE_SETTLING) this.#finish(this.#cancelStatus);
    else if (this.#state !== STATE_QUEUED) this.#overtaken = true;
  }

  #finish(status: number): void {
    this.locks.finished(this, status);
  }

  /** Of FileLocks: back to the pool, and the answer. */
  conclude(status: number): void {
    this.finishDone(status);
  }
}

export interface LockFields {
  inode: number;
  owner: { number: number };
  start: number;
  last: number;
  number: number;
  pid: number;
  kind: number;
}

export function encodeSetLock(
  words: Uint32Array,
  body: number,
  lock: LockFields,
  flags: number,
): void {
  writeU53(words, body + SetLockRequest.inode, lock.inode);
  writeU53(words, body + SetLockRequest.owner, lock.owner.number);
  writeU53(words, body + SetLockRequest.start, lock.start);
  writeU53(words, body + SetLockRequest.last, lock.last);
  words[(body + SetLockRequest.waiter) >>> 2] = lock.number;
  words[(body + SetLockRequest.pid) >>> 2] = lock.pid;
  writeU16(words, body + SetLockRequest.kind, lock.kind);
  writeU16(words, body + SetLockRequest.flags, flags);
  words[(body + SetLockRequest.reserved) >>> 2] = 0;
}
