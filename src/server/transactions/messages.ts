/** What targets ask each other about transactions: the calls, made anew for each (they are rare). */
import type { ArenaMemory } from '../../native/arena-memory.js';
import {
  InodeRequest,
  Opcode,
  ResolveRequest,
  TransactionStatusRequest,
} from '../../protocol/wire.generated.js';
import { writeU16, writeU53 } from '../../protocol/u53.js';
import { RpcOperation } from '../../transport/rpc-client.js';
import { encodeStep, type StepRequest } from './step.js';

/** `answered` is called once; the body is valid until it returns. */
abstract class PeerOperation extends RpcOperation {
  answered: (status: number, body: number, bodyBytes: number) => void = () => undefined;
  protected readonly arena: ArenaMemory;

  constructor(arena: ArenaMemory, opcode: number, bodyBytes: number) {
    super();
    this.arena = arena;
    this.opcode = opcode;
    this.bodyBytes = bodyBytes;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    this.answered(status, body, bodyBytes);
  }
}

export class PrepareOperation extends PeerOperation {
  readonly #transaction: number;
  readonly #coordinator: Uint8Array;
  readonly #step: StepRequest;

  constructor(arena: ArenaMemory, transaction: number, coordinator: Uint8Array, step: StepRequest) {
    super(arena, Opcode.Prepare, step.bytes + coordinator.length);
    this.#transaction = transaction;
    this.#coordinator = coordinator;
    this.#step = step;
  }

  override encode(body: number): number {
    return encodeStep(this.arena, body, this.#transaction, this.#coordinator, this.#step);
  }
}

export class ResolveOperation extends PeerOperation {
  readonly #transaction: number;
  readonly #coordinator: Uint8Array;
  readonly #commit: boolean;

  constructor(arena: ArenaMemory, transaction: number, coordinator: Uint8Array, commit: boolean) {
    super(arena, Opcode.Resolve, ResolveRequest.SIZE + coordinator.length);
    this.#transaction = transaction;
    this.#coordinator = coordinator;
    this.#commit = commit;
  }

  override encode(body: number): number {
    const { words, bytes } = this.arena;
    writeU53(words, body + ResolveRequest.transaction, this.#transaction);
    words[(body + ResolveRequest.commit) >>> 2] = this.#commit ? 1 : 0;
    writeU16(words, body + ResolveRequest.coordinatorBytes, this.#coordinator.length);
    writeU16(words, body + ResolveRequest.reserved, 0);
    bytes.set(this.#coordinator, body + ResolveRequest.SIZE);
    return ResolveRequest.SIZE + this.#coordinator.length;
  }
}

/** TransactionStatus and GetParent: a number is all there is to ask. */
export class NumberOperation extends PeerOperation {
  readonly #number: number;

  constructor(arena: ArenaMemory, opcode: number, number: number) {
    super(arena, opcode, InodeRequest.SIZE);
    this.#number = number;
  }

  override encode(body: number): number {
    writeU53(this.arena.words, body, this.#number);
    return InodeRequest.SIZE;
  }
}

if (TransactionStatusRequest.SIZE !== InodeRequest.SIZE) throw new Error('messages: layout');
