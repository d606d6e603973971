/** The operations of a peer that wait for a slot: a FIFO linked through the operations themselves. */
import type { RpcOperation } from './rpc-operation.js';

export class OperationQueue {
  head: RpcOperation | null = null;
  length = 0;
  #tail: RpcOperation | null = null;

  push(operation: RpcOperation): void {
    operation.rpcNext = null;
    operation.rpcPrevious = this.#tail;
    if (this.#tail === null) this.head = operation;
    else this.#tail.rpcNext = operation;
    this.#tail = operation;
    this.length++;
  }

  /** Before all others. */
  pushFirst(operation: RpcOperation): void {
    operation.rpcPrevious = null;
    operation.rpcNext = this.head;
    if (this.head === null) this.#tail = operation;
    else this.head.rpcPrevious = operation;
    this.head = operation;
    this.length++;
  }

  remove(operation: RpcOperation): void {
    const { rpcNext, rpcPrevious } = operation;
    if (rpcPrevious === null) this.head = rpcNext;
    else rpcPrevious.rpcNext = rpcNext;
    if (rpcNext === null) this.#tail = rpcPrevious;
    else rpcNext.rpcPrevious = rpcPrevious;
    operation.rpcNext = null;
    operation.rpcPrevious = null;
    this.length--;
  }
}
