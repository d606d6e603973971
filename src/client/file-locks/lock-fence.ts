/**
 * Data goes to other targets than locks do: a client that is cut off, or was stopped, might write under
 * a lock that is another's by now. So reads and writes through a handle with locks are held back while the
 * lock's target has not been heard for as long as it would wait before it gives the lock away:
 *
 *   locks trusted ──> through
 *   not heard for LEASE_TRUST_MS ──> held back ─┬─ heard again, locks claimed ─> through
 *                                               └─ locks lost ────────────────> EIO
 */
import { errno } from '../../common/errno.js';
import { LEASE_TRUST_MS } from '../../protocol/leases.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import type { ClientContext } from '../context.js';
import type { Handle, HandleTable } from '../handles.js';
import type { ClientRequest } from '../request.js';

/** How soon what is held back looks again. */
const LOOK_MS = 50;

interface HeldBack {
  request: ClientRequest;
  handle: number;
  run: () => void;
}

export class LockFence {
  readonly #context: ClientContext;
  readonly #handles: HandleTable;
  readonly #isReclaiming: (peer: RpcPeer) => boolean;
  /** When a request was sent by whose answer the target knew us; beside its Awaits. */
  readonly #confirmedMs = new Map<RpcPeer, number>();
  #waiting: HeldBack[] = [];
  #looking = false;

  constructor(
    context: ClientContext,
    handles: HandleTable,
    isReclaiming: (peer: RpcPeer) => boolean,
  ) {
    this.#context = context;
    this.#handles = handles;
    this.#isReclaiming = isReclaiming;
  }

  /** The target has answered what was sent then, in this session. */
  confirmed(peer: RpcPeer, sentMs: number): void {
    if (sentMs > (this.#confirmedMs.get(peer) ?? -Infinity)) this.#confirmedMs.set(peer, sentMs);
  }

  /** The session is another. */
  forget(peer: RpcPeer): void {
    this.#confirmedMs.delete(peer);
  }

  /** Asked before each read and write of a handle that has locks. */
  isClosed(handle: Handle): boolean {
    const peer = this.#context.peerOfInode(handle.inode);
    if (this.#isReclaiming(peer)) return true;
    const now = this.#context.scheduler.nowMs();
    if (now <= peer.trustedUntilMs) return false;
    return now - (this.#confirmedMs.get(peer) ?? -Infinity) > LEASE_TRUST_MS;
  }

  /** `run` is called when the fence is open, or the locks are lost. */
  holdBack(request: ClientRequest, handle: number, run: () => void): void {
    this.#waiting.push({ request, handle, run });
    this.#look();
  }

  interrupt(request: ClientRequest): void {
    const at = this.#waiting.findIndex((held) => held.request === request);
    if (at < 0) return;
    this.#waiting.splice(at, 1);
    request.replyError(errno.EINTR);
  }

  #look(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#context.scheduler.setTimer(LOOK_MS, () => {
      this.#looking = false;
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const held of waiting) {
        const handle = this.#handles.get(held.handle);
        const stays = handle?.hasLocks === true && !handle.locksLost && this.isClosed(handle);
        if (stays) this.#waiting.push(held);
        else held.run();
      }
      if (this.#waiting.length > 0) this.#look();
    });
  }
}
