/**
 * A client's session as its target keeps it: for each of the 64 slots the last sequence number,
 * the request that is being executed, and the record of the last mutation's reply. The records are
 * one value that the service saves in the same transaction as the changes (`dirty`), so that a
 * retransmission gets the first answer even from a target that was restarted.
 */
import { ReplyRecord } from '../protocol/wire.generated.js';
import { rpcSlots } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import type { ReplyOutlet } from './rpc-reply-writer.js';
import type { RpcRequest } from './rpc-request.js';

export const SESSION_RECORD_BYTES = rpcSlots * ReplyRecord.SIZE;

const RECORD_WORDS = ReplyRecord.SIZE / 4;

export interface SessionIdentity {
  /** 32 hex digits, chosen by the client. */
  id: string;
  /** host:pid, for people. */
  clientName: string;
  kind: 'client' | 'target';
}

export class Session {
  readonly id: string;
  /** The id's 16 bytes: part of the record's key. */
  readonly idBytes: Uint8Array;
  readonly clientName: string;
  readonly kind: 'client' | 'target';
  /** Of RpcServer alone: the newest connection, where answers go; null when there is none. */
  outlet: ReplyOutlet | null = null;
  /** Set by `record`; whoever saves `records` clears it. */
  dirty = false;
  /** The service's own state of this session (open handles); untouched here. */
  context: unknown = undefined;
  /** rpcSlots ReplyRecords: the value to save. The same memory each time. */
  readonly records: Uint8Array;

  /**
   * Of RpcServer alone: the last sequence number that arrived in this process (0: none), and the
   * request in execution, of each slot. Saved records do not count as arrived: a slot may have gone
   * far beyond its last mutation.
   */
  readonly lastSequence = new Uint32Array(rpcSlots);
  readonly executing: (RpcRequest | null)[] = new Array<RpcRequest | null>(rpcSlots).fill(null);
  executingCount = 0;
  /**
   * It holds nothing of before, and its client may not know: it is told at each handshake until something
   * arrives behind one, since the answer of a handshake may be lost.
   */
  unannounced = true;
  /** Scheduler's milliseconds when the connection was lost. */
  disconnectedMs = 0;

  readonly #words: Uint32Array;
  readonly #volatileSequence = new Uint32Array(rpcSlots);
  readonly #volatileStatus = new Uint16Array(rpcSlots);
  readonly #volatileOpcode = new Uint8Array(rpcSlots);

  /** `saved`: what an earlier incarnation stored; copied. */
  constructor(identity: SessionIdentity, saved: Uint8Array | undefined) {
    this.id = identity.id;
    this.idBytes = Uint8Array.from(Buffer.from(identity.id, 'hex'));
    this.clientName = identity.clientName;
    this.kind = identity.kind;
    this.records = new Uint8Array(SESSION_RECORD_BYTES);
    this.#words = new Uint32Array(this.records.buffer);
    if (saved?.length !== SESSION_RECORD_BYTES) return;
    this.records.set(saved);
  }

  get connected(): boolean {
    return this.outlet !== null;
  }

  /**
   * Remembers the reply of a mutation, for ever: call it inside the transaction of the change and
   * save `records` there. If that transaction is aborted, call it again with the error's status
   * before the reply. Ignored when the slot has gone on to a newer request. `result0` and
   * `result1`: what the reply cannot be rebuilt without (see ReplyRecord), below 2^53.
   */
  record(
    slot: number,
    sequence: number,
    opcode: number,
    status: number,
    result0: number,
    result1: number,
  ): void {
    if (this.lastSequence[slot] !== sequence) return;
    const at = slot * RECORD_WORDS;
    this.#words[at] = sequence;
    this.#words[at + 1] = status | (opcode << 16);
    writeU53(this.#words, slot * ReplyRecord.SIZE + ReplyRecord.result0, result0);
    writeU53(this.#words, slot * ReplyRecord.SIZE + ReplyRecord.result1, result1);
    this.dirty = true;
  }

  /**
   * Remembers the reply of a request whose effect is lost with this process (Open, Release): not
   * saved, so a restarted target executes a retransmission, as it must.
   */
  recordVolatile(slot: number, sequence: number, opcode: number, status: number): void {
    if (this.lastSequence[slot] !== sequence) return;
    this.#volatileSequence[slot] = sequence;
    this.#volatileStatus[slot] = status;
    this.#volatileOpcode[slot] = opcode;
  }

  /** Fills the request's record fields from memory; false when its sequence has no record. */
  recall(request: RpcRequest): boolean {
    const slot = request.slot;
    const at = slot * RECORD_WORDS;
    if (this.#words[at] === request.sequence) {
      const word = this.#words[at + 1]!;
      request.recordStatus = word & 0xffff;
      request.recordOpcode = (word >>> 16) & 0xff;
      request.recordResult0 = readU53(this.#words, slot * ReplyRecord.SIZE + ReplyRecord.result0);
      request.recordResult1 = readU53(this.#words, slot * ReplyRecord.SIZE + ReplyRecord.result1);
      return true;
    }
    if (this.#volatileSequence[slot] !== request.sequence) return false;
    request.recordStatus = this.#volatileStatus[slot]!;
    request.recordOpcode = this.#volatileOpcode[slot]!;
    request.recordResult0 = 0;
    request.recordResult1 = 0;
    return true;
  }
}
