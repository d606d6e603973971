/**
 * The core's operations are pooled state machines. Each is an RpcOperation that calls itself
 * again, target after target, until it can answer its request:
 *
 *   pool ── take ──> step 1 ── done ──> step 2 … ── done ──> reply ──> pool
 *
 * An operation gives itself back before it replies (a reply may start the next operation), so
 * after `finish…` nothing of it may be used.
 */
import { errno } from '../common/errno.js';
import { nameBytesMax } from '../protocol/limits.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { ClientContext } from './context.js';
import type { ClientRequest, NameReference } from './request.js';

/** Something in a reply contradicts the protocol: callers see an I/O error. */
export const STATUS_MALFORMED = errno.EIO;

export abstract class CoreOperation extends RpcOperation {
  protected readonly context: ClientContext;
  /** Null while in the pool, and for operations that nobody waits for. */
  request: ClientRequest | null = null;
  /** Where the call that is outstanding was made; for `interrupt`. */
  peer: RpcPeer | null = null;
  readonly #pool: OperationPool<CoreOperation>;

  constructor(context: ClientContext, pool: OperationPool<CoreOperation>) {
    super();
    this.context = context;
    this.#pool = pool;
  }

  /** `done` may be called before this returns. `bodyBytes` bounds what `encode` writes. */
  protected send(peer: RpcPeer, opcode: number, bodyBytes: number): void {
    this.opcode = opcode;
    this.bodyBytes = bodyBytes;
    this.peer = peer;
    peer.call(this);
  }

  /** Back to the pool; returns the request, which is then to be answered. */
  protected release(): ClientRequest | null {
    const request = this.request;
    this.request = null;
    this.peer = null;
    this.#pool.give(this);
    return request;
  }

  protected finishError(status: number): void {
    this.release()?.replyError(status);
  }

  protected finishDone(status: number): void {
    const request = this.release();
    if (status === 0) request?.replyDone();
    else request?.replyError(status);
  }
}

/** Operations of one class, made on demand and kept for ever. */
export class OperationPool<T extends CoreOperation> {
  readonly #all: T[] = [];
  readonly #free: T[] = [];
  readonly #make: (pool: OperationPool<CoreOperation>) => T;

  constructor(make: (pool: OperationPool<CoreOperation>) => T) {
    this.#make = make;
  }

  take(request: ClientRequest | null): T {
    let operation = this.#free.pop();
    if (operation === undefined) {
      operation = this.#make(this);
      this.#all.push(operation);
    }
    operation.request = request;
    return operation;
  }

  give(operation: T): void {
    this.#free.push(operation);
  }

  /** Cancels the calls that are outstanding for this request. */
  interrupt(request: ClientRequest): void {
    for (const operation of this.#all) {
      if (operation.request === request) operation.peer?.cancel(operation);
    }
  }

  get inUse(): number {
    return this.#all.length - this.#free.length;
  }
}

/** 0, or the errno that a name of this length earns. */
export function checkName(name: NameReference): number {
  if (name.lengthBytes === 0) return errno.ENOENT;
  return name.lengthBytes > nameBytesMax ? errno.ENAMETOOLONG : 0;
}
