/**
 * File locks as a client sees them (docs/locks.md): requests go to the inode's target, which decides;
 * what it granted is remembered here, to be given back at close and at death, and claimed again when the
 * target was restarted.
 *
 *   target restarted, or session lost ─┬─ locks ─> claimed again ─┬─ 0: still held
 *                                      │                          └─ refused: lost, EIO for its handle
 *                                      └─ waiters ─> ask again
 *
 * An unlock is taken off the books when it is sent, and again when it is answered; a lock is entered when
 * it is granted: so nothing is claimed that was given up.
 */
import { errno } from '../../common/errno.js';
import { LOCK_LAST, LOCK_NONE } from '../../common/lock-ranges.js';
import type { Timer } from '../../common/scheduler.js';
import { NOTICE_LOCK, NOTICE_LOCK_PROBE } from '../../protocol/leases.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import type { ClientContext } from '../context.js';
import type { Handle, HandleTable } from '../handles.js';
import { OperationPool } from '../operation.js';
import type { ClientRequest } from '../request.js';
import { GetLockOperation } from './get-lock.js';
import { FAMILY_FCNTL, FAMILY_FLOCK, LockOwners } from './lock-owners.js';
import type { HeldLocks, LockOwner } from './lock-owners.js';
import { LockOperation } from './lock-operation.js';
import { LockFence } from './lock-fence.js';
import { LockProbes } from './lock-probes.js';

/** A lock, an unlock (LOCK_NONE), or a question. Bytes `start` to `last`, both included. */
export interface FileLockRequest {
  family: number;
  /** The kernel's 64 bits for whoever locks. */
  ownerLow: number;
  ownerHigh: number;
  /** LOCK_… */
  kind: number;
  start: number;
  last: number;
  pid: number;
  wait: boolean;
}

const PROBE_TICK_MS = 500;

/** Why an operation is started. */
const ASKED = 0;
const RECLAIM = 1;
const GIVE_BACK = 2;

export class FileLocks {
  readonly #context: ClientContext;
  readonly #handles: HandleTable;
  readonly #owners = new LockOwners();
  readonly #operations: OperationPool<LockOperation>;
  readonly #questions: OperationPool<GetLockOperation>;
  readonly #probes: LockProbes;
  readonly #fence: LockFence;
  /** Those that are not done, by the number that targets know. */
  readonly #active = new Map<number, LockOperation>();
  readonly #byRequest = new Map<ClientRequest, LockOperation>();
  /** Reclaims that are not answered. */
  readonly #reclaiming = new Map<RpcPeer, number>();
  #numbers = 0;
  #tick: Timer | undefined;

  constructor(context: ClientContext, handles: HandleTable) {
    this.#context = context;
    this.#handles = handles;
    this.#operations = new OperationPool((pool) => {
      const operation = new LockOperation(context, pool);
      operation.locks = this;
      return operation;
    });
    this.#questions = new OperationPool((pool) => new GetLockOperation(context, pool));
    this.#probes = new LockProbes(context, this.#owners);
    this.#fence = new LockFence(context, handles, (peer) => this.isReclaiming(peer));
    context.notices.on(NOTICE_LOCK, ({ hash, status }) => {
      this.#active.get(hash)?.settle(status);
    });
    context.notices.on(NOTICE_LOCK_PROBE, ({ inode, hash, status }) => {
      this.#probes.arrived(inode, hash, status);
    });
  }

  /** Owners that hold or wait for something. */
  get owners(): number {
    return this.#owners.count;
  }

  /** 0; EAGAIN: another's is in the way; with `wait`: EDEADLK, EINTR. EIO: a lock was lost. */
  lock(request: ClientRequest, handleNumber: number, asked: FileLockRequest): void {
    const handle = this.#handles.get(handleNumber);
    if (handle === undefined) {
      request.replyError(errno.EBADF);
      return;
    }
    if (handle.locksLost) {
      handle.locksLost = false;
      request.replyError(errno.EIO);
      return;
    }
    const { family, ownerLow, ownerHigh } = asked;
    if (asked.kind === LOCK_NONE) {
      const known = this.#owners.find(family, ownerLow, ownerHigh);
      if (known?.isQuietAt(handle.inode) !== false) {
        request.replyDone();
        return;
      }
    }
    const owner = this.#owners.take(family, ownerLow, ownerHigh);
    this.#start(request, owner, handle.inode, handleNumber, asked);
  }

  /** What stands in the way of such a lock. */
  getLock(request: ClientRequest, handleNumber: number, asked: FileLockRequest): void {
    const handle = this.#handles.get(handleNumber);
    if (handle === undefined) {
      request.replyError(errno.EBADF);
      return;
    }
    const { family, ownerLow, ownerHigh, kind, start, last } = asked;
    // 0 is nobody's number: all locks are others'.
    const number = this.#owners.find(family, ownerLow, ownerHigh)?.number ?? 0;
    const operation = this.#questions.take(request);
    operation.start(handle.inode, family, { number }, kind, start, last);
  }

  /** close(2): the process's fcntl locks of the file go, whichever descriptor they were set by. */
  flush(request: ClientRequest, handleNumber: number, ownerLow: number, ownerHigh: number): void {
    const inode = this.#handles.get(handleNumber)?.inode ?? 0;
    const owner = this.#owners.find(FAMILY_FCNTL, ownerLow, ownerHigh);
    if (owner === undefined || owner.isQuietAt(inode)) request.replyDone();
    else this.#unlock(request, owner, inode, handleNumber);
  }

  /** The last close of an open file: what was locked through it, and no Flush has ended, goes. */
  handleClosed(handleNumber: number): void {
    if (this.#owners.count === 0) return;
    for (const operation of [...this.#active.values()]) {
      if (operation.handle === handleNumber && operation.request !== null) operation.abandon();
    }
    for (const held of this.#heldOf((one) => one.handle === handleNumber)) {
      this.#unlock(null, held.owner, held.inode, 0);
    }
  }

  /**
   * Before a read or a write through this handle. True: it is held back, and `run` called later.
   * False: go on.
   */
  holdsBack(request: ClientRequest, handle: Handle, run: () => void): boolean {
    if (handle.locksLost || !this.#fence.isClosed(handle)) return false;
    if (this.#heldOf((held) => held.handle === handle.number).length === 0) {
      handle.hasLocks = false;
      return false;
    }
    this.#fence.holdBack(request, handle.number, run);
    return true;
  }

  #heldOf(wanted: (held: HeldLocks) => boolean): HeldLocks[] {
    const found: HeldLocks[] = [];
    for (const owner of this.#owners.values()) {
      for (const held of owner.files.values()) {
        if (wanted(held)) found.push(held);
      }
    }
    return found;
  }

  // ---------------------------------------------------------------- operations

  #start(
    request: ClientRequest | null,
    owner: LockOwner,
    inode: number,
    handle: number,
    asked: Pick<FileLockRequest, 'kind' | 'start' | 'last' | 'pid' | 'wait'>,
    purpose = ASKED,
  ): void {
    const operation = this.#operations.take(request);
    operation.owner = owner;
    operation.inode = inode;
    operation.handle = handle;
    operation.kind = asked.kind;
    operation.start = asked.start;
    operation.last = asked.last;
    operation.pid = asked.pid;
    operation.wait = asked.wait;
    operation.reclaims = purpose === RECLAIM;
    // Whatever else is asked of the target waits for the end of its grace, and that for what is claimed.
    operation.urgent = operation.reclaims;
    operation.isAsked = request !== null;
    this.#numbers = (this.#numbers + 1) >>> 0;
    operation.number = this.#numbers;
    owner.operations.add(operation);
    this.#active.set(operation.number, operation);
    if (request !== null) this.#byRequest.set(request, operation);
    operation.prepare();
    // What restores a state comes before what wants to change it.
    if (purpose !== ASKED || !this.#isBlocked(operation)) this.#begin(operation);
  }

  #begin(operation: LockOperation): void {
    if (operation.kind === LOCK_NONE) this.#apply(operation);
    operation.begin();
  }

  /** Requests on their way may arrive in another order, if a connection is lost. */
  #isBlocked(operation: LockOperation): boolean {
    const { owner, inode } = operation;
    for (const other of owner.operations) {
      if (other === operation) return false;
      if (other.inode === inode && (other.blocksOthers || other.isQueued)) return true;
    }
    return false;
  }

  /** Something of this owner has been answered. */
  #beginQueued(owner: LockOwner): void {
    for (const operation of owner.operations) {
      if (operation.isQueued && !this.#isBlocked(operation)) this.#begin(operation);
    }
  }

  #unlock(request: ClientRequest | null, owner: LockOwner, inode: number, handle: number): void {
    const all = { kind: LOCK_NONE, start: 0, last: LOCK_LAST, pid: 0, wait: false };
    this.#start(request, owner, inode, handle, all);
  }

  /** Enters into the books what the target has done. */
  #apply(operation: LockOperation): void {
    const { owner, inode, start, last, kind, pid } = operation;
    const known = owner.files.get(inode);
    if (kind === LOCK_NONE && known === undefined) return;
    const held = known ?? owner.hold(inode);
    if (operation.handle !== 0) held.handle = operation.handle;
    held.ranges.set(start, last, kind, pid);
    if (held.ranges.count === 0) owner.files.delete(inode);
    else this.#markHandle(held);
  }

  #markHandle(held: HeldLocks): void {
    const handle = this.#handles.get(held.handle);
    if (handle?.inode !== held.inode) return;
    handle.hasLocks = true;
    if (handle.file !== null) handle.file.inKernel = true;
  }

  /** Of LockOperation: it waits, at its target. */
  waits(operation: LockOperation): void {
    this.#beginQueued(operation.owner);
    if (operation.owner.family === FAMILY_FLOCK) return;
    this.#probes.begin(operation);
    this.#startTick();
  }

  #startTick(): void {
    if (this.#tick !== undefined) return;
    this.#tick = this.#context.scheduler.setTimer(PROBE_TICK_MS, () => {
      this.#tick = undefined;
      let waiting = false;
      for (const operation of this.#active.values()) {
        if (operation.isWaiting && this.#probes.tick(operation)) waiting = true;
      }
      if (waiting) this.#startTick();
    });
  }

  /** Of LockOperation: its outcome. */
  finished(operation: LockOperation, status: number): void {
    const { owner, request } = operation;
    this.#active.delete(operation.number);
    owner.operations.delete(operation);
    if (request !== null) this.#byRequest.delete(request);
    if (status === 0) this.#fence.confirmed(operation.target, operation.sentMs);
    if (operation.reclaims) this.#reclaimed(operation, status);
    else if (status === 0 && operation.isAbandoned) this.#giveBack(operation);
    else if (status === 0) this.#apply(operation);
    else this.#failed(operation, status);
    const wasQueued = operation.isQueued;
    this.#owners.tidy(owner);
    operation.conclude(status);
    if (!wasQueued) this.#beginQueued(owner);
  }

  #failed(operation: LockOperation, status: number): void {
    const { owner, inode, kind } = operation;
    const held = owner.files.get(inode);
    // A flock that is converted is gone before the other is asked for.
    const isConverted = owner.family === FAMILY_FLOCK && held?.ranges.kinds[0] !== kind;
    if (isConverted && !operation.isQueued) owner.files.delete(inode);
    // The connection's errors leave open what the target has done.
    const isUnknown = status === errno.EIO || status === errno.ETIMEDOUT;
    if (isUnknown && operation.isAsked) this.#giveBack(operation);
  }

  /** Nobody wants what was granted: the owner has again what it had before. */
  #giveBack(operation: LockOperation): void {
    const { owner, inode, start, last, handle } = operation;
    const ranges = owner.files.get(inode)?.ranges;
    let next = start;
    const set = (from: number, to: number, kind: number, pid: number): void => {
      const lock = { kind, start: from, last: to, pid, wait: false };
      this.#start(null, owner, inode, handle, lock, GIVE_BACK);
    };
    const first = ranges?.indexOf(start) ?? 0;
    const pieces: [number, number, number, number][] = [];
    for (
      let i = first;
      ranges !== undefined && i < ranges.count && ranges.starts[i]! <= last;
      i++
    ) {
      const from = Math.max(start, ranges.starts[i]!);
      const to = Math.min(last, ranges.lasts[i]!);
      if (from > next) pieces.push([next, from - 1, LOCK_NONE, 0]);
      pieces.push([from, to, ranges.kinds[i]!, ranges.pids[i]!]);
      next = to + 1;
    }
    if (next <= last) pieces.push([next, last, LOCK_NONE, 0]);
    for (const piece of pieces) set(...piece);
  }

  // ---------------------------------------------------------------- signals

  /** The caller of a lock that is waited for has a signal. */
  signal(request: ClientRequest): void {
    this.#byRequest.get(request)?.interrupt();
  }

  /** Nobody waits for the answer any more. */
  interrupt(request: ClientRequest): void {
    this.#byRequest.get(request)?.abandon();
    this.#questions.interrupt(request);
    this.#fence.interrupt(request);
  }

  /** Of LockOperation: its request is answered now. */
  abandoned(request: ClientRequest): void {
    this.#byRequest.delete(request);
    request.replyError(errno.EINTR);
  }

  // ---------------------------------------------------------------- restarts

  /** The target was restarted, or has closed the session: it knows of no lock of ours. */
  targetForgot(peer: RpcPeer): void {
    this.#fence.forget(peer);
    const isThere = (inode: number): boolean => this.#context.peerOfInode(inode) === peer;
    for (const held of this.#heldOf(({ inode }) => isThere(inode))) this.#reclaim(peer, held);
    for (const operation of [...this.#active.values()]) {
      if (operation.target === peer && !operation.reclaims) operation.targetForgot();
    }
  }

  /**
   * Locks are being claimed again: the target must not be asked for notices yet, by which it knows
   * that this client has claimed all that it will.
   */
  isReclaiming(peer: RpcPeer): boolean {
    return this.#reclaiming.has(peer);
  }

  #reclaim(peer: RpcPeer, held: HeldLocks): void {
    const { starts, lasts, kinds, pids, count } = held.ranges;
    this.#reclaiming.set(peer, (this.#reclaiming.get(peer) ?? 0) + count);
    for (let i = 0; i < count; i++) {
      const lock = {
        kind: kinds[i]!,
        start: starts[i]!,
        last: lasts[i]!,
        pid: pids[i]!,
        wait: false,
      };
      this.#start(null, held.owner, held.inode, held.handle, lock, RECLAIM);
    }
  }

  #reclaimed(operation: LockOperation, status: number): void {
    const { owner, inode, target } = operation;
    const held = owner.files.get(inode);
    if (status !== 0 && held !== undefined) this.#lose(held, target);
    const left = this.#reclaiming.get(target)! - 1;
    if (left > 0) {
      this.#reclaiming.set(target, left);
      return;
    }
    this.#reclaiming.delete(target);
    this.#context.recalls.ready(target);
  }

  /** Somebody else may have had it meanwhile: whoever works under it must hear of that. */
  #lose(held: HeldLocks, peer: RpcPeer): void {
    const { owner, inode } = held;
    owner.files.delete(inode);
    const handle = this.#handles.get(held.handle);
    if (handle?.inode === inode) handle.locksLost = true;
    this.#context.options.log(
      `locks: target ${peer.targetId} has closed our session: locks of inode ${inode} are lost`,
    );
    // What was claimed of it before this.
    this.#unlock(null, owner, inode, 0);
  }
}
