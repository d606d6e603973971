/**
 * The core's operations are pooled state machines. Each is an RpcOperation that calls itself
 * again, target after target, until it can answer its request:
 *
 *   pool ── take ──> step 1 ── done ──> step 2 … ── done ──> reply ──> pool
 *
 * An operation gives itself back before it replies (a reply may start the next operation), so
 * after `finish…` nothing of it may be used.
 */
import { EREMCHG, errno, ESTALE } from '../common/errno.js';
import { nameBytesMax } from '../protocol/limits.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { ClientContext } from './context.js';
import { TableFetch } from './partition-tables.js';
import { OwnChange } from './leases/change-marks.js';
import type { ClientRequest, NameCopy, NameReference } from './request.js';

/** Something in a reply contradicts the protocol: callers see an I/O error. */
export const STATUS_MALFORMED = errno.EIO;

/** Each is due to another split of the directory, or to damage. */
const REROUTES_MAX = 64;
/** A partition that is no more; or what the request names besides the directory. */
const STALE_MAX = 4;

export abstract class CoreOperation extends RpcOperation {
  protected readonly context: ClientContext;
  /** Null while in the pool, and for operations that nobody waits for. */
  request: ClientRequest | null = null;
  /** What this operation itself changes, and must not be answered by what was known before. */
  protected readonly change: OwnChange;
  /** Where the call that is outstanding was made; for `interrupt`. */
  peer: RpcPeer | null = null;
  readonly #pool: OperationPool<CoreOperation>;
  #fetch: TableFetch | null = null;
  #isFetching = false;
  #reroutes = 0;
  #stale = 0;

  constructor(context: ClientContext, pool: OperationPool<CoreOperation>) {
    super();
    this.context = context;
    this.change = new OwnChange(context.leases.marks);
    this.#pool = pool;
  }

  /** `done` may be called before this returns. `bodyBytes` bounds what `encode` writes. */
  protected send(peer: RpcPeer, opcode: number, bodyBytes: number): void {
    this.opcode = opcode;
    this.bodyBytes = bodyBytes;
    this.peer = peer;
    peer.call(this);
  }

  /** Sends the request again, to wherever its name belongs now; of operations that `reroutes`. */
  protected sendAgain(): void {
    throw new Error('this operation is about no name');
  }

  /** Inode of the partition that this name belongs to, where the request goes now: a change is marked there. */
  protected homeOf(directory: number, name: NameCopy): number {
    const home = this.context.partitions.home(directory, name);
    if (home !== directory) this.change.movedTo(home, name.hash44());
    return home;
  }

  /**
   * Whether the answer says that the name, or the cookie, belongs to another partition of `directory` than
   * `home`, which was asked, and so the request is sent again: at once if that is known by now (`known`),
   * else when the directory's table has come.
   */
  protected reroutes(status: number, directory: number, home: number, known: number): boolean {
    const isStale = status === ESTALE && home !== directory;
    if (status !== EREMCHG && !isStale) return false;
    if (this.#reroutes++ >= REROUTES_MAX) return false;
    if (isStale && this.#stale++ >= STALE_MAX) return false;
    this.peer = null;
    if (known !== home) this.sendAgain();
    else {
      this.#fetch ??= new TableFetch(this.context, (failure) => {
        this.#fetched(failure);
      });
      this.#isFetching = true;
      this.#fetch.start(directory);
    }
    return true;
  }

  #fetched(status: number): void {
    this.#isFetching = false;
    if (status === 0) {
      this.sendAgain();
      return;
    }
    // The directory is gone, or nobody waits any more: as if that were the answer.
    this.#reroutes = REROUTES_MAX;
    this.done(status, 0, 0, 0);
  }

  /** Nobody waits for the answer any more: `done` with EINTR. */
  cancel(): void {
    if (this.#isFetching) this.#fetch?.cancel();
    else this.peer?.cancel(this);
  }

  /** What it changes is changed, or (with an error) not, or perhaps (without an answer). */
  protected endChange(status: number, peer: RpcPeer | null): void {
    if (!this.change.isActive) return;
    const abandoned = peer !== null && isUnanswered(status);
    this.context.leases.endChange(this.change, peer, abandoned);
  }

  /** Back to the pool; returns the request, which is then to be answered. */
  protected release(): ClientRequest | null {
    const request = this.request;
    this.endChange(0, null);
    this.request = null;
    this.peer = null;
    this.#reroutes = 0;
    this.#stale = 0;
    this.#pool.give(this);
    return request;
  }

  protected finishError(status: number): void {
    this.endChange(status, this.peer);
    this.release()?.replyError(status);
  }

  protected finishDone(status: number): void {
    this.endChange(status, this.peer);
    const request = this.release();
    if (status === 0) request?.replyDone();
    else request?.replyError(status);
  }
}

/** Statuses that an operation ends with here: the target may not have been asked, or be at it still. */
export function isUnanswered(status: number): boolean {
  return (
    status === errno.EINTR ||
    status === errno.ETIMEDOUT ||
    status === errno.EIO ||
    status === errno.ENOTCONN
  );
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
      if (operation.request === request) operation.cancel();
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
