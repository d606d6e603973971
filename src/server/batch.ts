/**
 * A batch: the mutations that one transaction executes, with copies of their bodies (a request's
 * body is gone when its handler returns) and room for their replies (nothing may be answered before
 * the commit). Batches and mutations are pooled; nothing is allocated for an operation.
 *
 *   filling ── turn's end ──> executing ──> committed ── (durability commit: flushed) ──> answered
 */
import type { RpcRequest } from '../transport/rpc-server.js';
import type { Recall } from './leases/recalls.js';
import { Call, type Namespace, type WireMemory } from './namespace.js';

const INITIAL_BYTES = 64 * 1024;
/** No reply of a mutation is longer. */
export const REPLY_ROOM = 112;

/** Memory that is filled from the front and emptied at once. */
export class GrowingMemory implements WireMemory {
  bytes = new Uint8Array(INITIAL_BYTES);
  words = new Uint32Array(this.bytes.buffer);
  #used = 0;

  /** Offset of `lengthBytes` bytes, a multiple of 8. Offsets stay; the arrays may be replaced. */
  take(lengthBytes: number): number {
    const at = this.#used;
    this.#used = (at + lengthBytes + 7) & ~7;
    if (this.#used > this.bytes.length) this.#grow();
    return at;
  }

  clear(): void {
    this.#used = 0;
  }

  #grow(): void {
    const { bytes } = this;
    let length = bytes.length;
    while (length < this.#used) length *= 2;
    this.bytes = new Uint8Array(length);
    this.bytes.set(bytes);
    this.words = new Uint32Array(this.bytes.buffer);
  }
}

/** Executes one kind of mutation, inside the transaction: 0 or an errno. */
export type Execute = (ns: Namespace, call: Call, mutation: Mutation) => number;

export class Mutation extends Call {
  /** Undefined: the target's own, nobody waits for a reply. */
  request: RpcRequest | undefined;
  execute!: Execute;
  opcode = 0;
  status = 0;
  /** Not 0: changes this file's size, so it waits while the file's data is being cut. */
  sizeInode = 0;
  /** Frees space: may spend the reserve of a full disk. */
  frees = false;
  /** Was put off; executed in a later batch. */
  deferred = false;
  /** Below 0: why it was put off (transactions/step.ts). */
  outcome = 0;
  /** How often it was begun anew. */
  attempts = 0;
  /** It waits for locks below this number only; 0: for none yet. */
  locksBefore = 0;
  /** What of it others hold leases on: it is answered when they have returned them. */
  recalls: Recall[] | undefined;
  /** Leases that its reply grants: LEASE_… bits, and on what (leases/grants.ts). */
  leases = 0;
  leaseInode = 0;
  leaseParent = 0;
  leaseHash = 0;
  /** Operations that it stands for. */
  weight = 1;
  /** What a transaction of the target's own is told at its end. */
  own: ((status: number) => void) | undefined = undefined;
  /** Of the data side: the write that this commits. */
  context: unknown = undefined;
}

export class Batch {
  readonly mutations: Mutation[] = [];
  readonly bodies = new GrowingMemory();
  readonly replies = new GrowingMemory();

  clear(): void {
    this.mutations.length = 0;
    this.bodies.clear();
    this.replies.clear();
  }
}

/** Memory of one body that outlives its batch. */
export function keepBody(mutation: Mutation): void {
  const bytes = new Uint8Array((mutation.bodyBytes + 7) & ~7);
  const { memory, body } = mutation;
  bytes.set(memory.bytes.subarray(body, body + mutation.bodyBytes));
  mutation.memory = { bytes, words: new Uint32Array(bytes.buffer) };
  mutation.body = 0;
}

/** The same for a reply that waits. */
export function keepReply(mutation: Mutation): void {
  const bytes = new Uint8Array(REPLY_ROOM);
  const { out, reply } = mutation;
  bytes.set(out.bytes.subarray(reply, reply + mutation.replyBytes));
  mutation.out = { bytes, words: new Uint32Array(bytes.buffer) };
  mutation.reply = 0;
}
