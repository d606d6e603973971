/**
 * Rings of waiters over several targets. Each target sees who waits for whom at itself; where the
 * others wait their own clients know. So a waiter that holds something sends a probe along the ring:
 *
 *   waiter P ─ LockProbe ─> target: who is in P's way? ─ notice ─> client of Q: where does Q wait?
 *      ^                                                             │
 *      └──────────── notice: P is in the way of … ─ target <─ LockProbe ─┘
 *
 * When it comes back, P gets EDEADLK. All who were passed had waited for PROBE_AFTER_MS, and it was under
 * way for less: so there was a moment at which all of them waited, and none of them could let go. Of the
 * probes of one ring only the one with the greatest token is passed on all the way: one waiter is
 * refused, not all.
 */
import {
  PROBE_AFTER_MS,
  PROBE_HOPS_MAX,
  PROBE_PAUSE_MAX_MS,
  PROBE_VALID_MS,
} from '../../protocol/locks.js';
import { writeU53 } from '../../protocol/u53.js';
import { LockProbeRequest, Opcode } from '../../protocol/wire.generated.js';
import type { ClientContext } from '../context.js';
import { CoreOperation, OperationPool } from '../operation.js';
import type { LockOperation } from './lock-operation.js';
import { FAMILY_FCNTL } from './lock-owners.js';
import type { LockOwners } from './lock-owners.js';

const TWO_32 = 4294967296;
/** 53 bits, less those of one u32. */
const HIGH_WORDS = 0x200000;
/** Tokens that a waiter remembers to have passed on. */
const FORWARDED_MAX = 64;

class ProbeOperation extends CoreOperation {
  token = 0;
  waiter = 0;
  hops = 0;

  start(to: LockOperation, token: number, hops: number): void {
    this.token = token;
    this.waiter = to.number;
    this.hops = hops;
    this.send(to.target, Opcode.LockProbe, LockProbeRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    writeU53(words, body + LockProbeRequest.token, this.token);
    words[(body + LockProbeRequest.waiter) >>> 2] = this.waiter;
    words[(body + LockProbeRequest.hops) >>> 2] = this.hops;
    return LockProbeRequest.SIZE;
  }

  override done(): void {
    this.release();
  }
}

export class LockProbes {
  readonly #context: ClientContext;
  readonly #owners: LockOwners;
  readonly #operations: OperationPool<ProbeOperation>;

  constructor(context: ClientContext, owners: LockOwners) {
    this.#context = context;
    this.#owners = owners;
    this.#operations = new OperationPool((pool) => new ProbeOperation(context, pool));
  }

  /** The operation waits from now on. */
  begin(operation: LockOperation): void {
    const { scheduler } = this.#context;
    const high = Math.floor(scheduler.random() * HIGH_WORDS);
    operation.token = high * TWO_32 + Math.floor(scheduler.random() * TWO_32) + 1;
    operation.probedMs = scheduler.nowMs();
    operation.probePauseMs = PROBE_AFTER_MS;
  }

  /** Called now and then while it waits. False: it is no concern of this. */
  tick(operation: LockOperation): boolean {
    if (operation.owner.family !== FAMILY_FCNTL) return false;
    const now = this.#context.scheduler.nowMs();
    if (this.#sendsOwn(operation) && now - operation.probedMs >= operation.probePauseMs) {
      operation.probedMs = now;
      operation.probePauseMs = Math.min(2 * operation.probePauseMs, PROBE_PAUSE_MAX_MS);
      this.#operations.take(null).start(operation, operation.token, 0);
    }
    return true;
  }

  /**
   * Each ring has somebody who holds something. Who holds nothing may stand in it, since others wait behind it,
   * but leaves it to them to find out: of a thousand in one queue nobody asks.
   */
  #sendsOwn({ owner }: LockOperation): boolean {
    return owner.files.size > 0;
  }

  /** A target's notice: somebody waits for this owner. */
  arrived(token: number, ownerNumber: number, hops: number): void {
    const owner = this.#owners.byNumber(ownerNumber);
    if (owner === undefined || owner.family !== FAMILY_FCNTL) return;
    const now = this.#context.scheduler.nowMs();
    for (const operation of owner.operations) {
      if (!operation.isWaiting || now - operation.waitingSinceMs < PROBE_AFTER_MS) continue;
      if (operation.token === token) {
        if (now - operation.probedMs < PROBE_VALID_MS) operation.breakRing();
      } else if ((token > operation.token || !this.#sendsOwn(operation)) && hops < PROBE_HOPS_MAX) {
        this.#forward(operation, token, hops + 1, now);
      }
    }
  }

  #forward(operation: LockOperation, token: number, hops: number, now: number): void {
    const { forwarded } = operation;
    if (now - (forwarded.get(token) ?? -Infinity) < PROBE_VALID_MS / 2) return;
    if (forwarded.size >= FORWARDED_MAX) forwarded.clear();
    forwarded.set(token, now);
    this.#operations.take(null).start(operation, token, hops);
  }
}
