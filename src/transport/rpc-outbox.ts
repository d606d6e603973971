/**
 * A peer's 64 slots and the messages that carry their requests. Requests are appended to the current
 * message, which is sealed (sent) when it is full, before a request with bulk, and at the turn's
 * end. A sealed message is kept until all its requests are settled. When the connection is lost,
 * those that are not are parked on the heap and sent again, unchanged, on the next one.
 *
 *   slot      free ── place ──> sent ── reply: settle ──────────────────────> free
 *                                ├── abandon ──> quarantined ── reply, loss ──> free
 *                                └── condemn ──> dying ── loss ──────────────> free
 *
 *   message   free ── place ──> current ── seal ──> kept ── last request settled ──> free
 *                                                    └── loss ──> parked ── retransmit ──> kept
 *
 * A quarantined slot's caller has gone (deadline, cancel); the slot is not used until the late
 * answer or the end of the connection, so an old reply never meets a new request. A dying slot's
 * caller waits for the end of the connection, because the transport may still read its memory.
 */
import type { ArenaMemory } from '../native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  REQUEST_RETRANSMISSION,
  RPC_BODY_BYTES_MAX,
  nextSequence,
  roundUp8,
  writeFrameHeader,
  writeRequestHeader,
} from '../protocol/frame.js';
import { messageSlotBytes, noTag, rpcSlots } from '../protocol/limits.generated.js';
import type { RpcOperation } from './rpc-operation.js';
import type { Transport } from './transport.js';

export const SLOT_FREE = 0;
export const SLOT_SENT = 1;
export const SLOT_QUARANTINED = 2;
export const SLOT_DYING = 3;

/** Slots that only urgent calls use: an Await has one for good, what is returned has the others. */
const URGENT_SLOTS = 3;
/** Each kept message holds at least one slot's request; one more is being filled. */
const MESSAGES_MAX = rpcSlots + 1;
const NO_MESSAGE = -1;
/** Of a slot whose request waits on the heap for the next connection. */
const PARKED = -2;

export class RequestOutbox {
  /** By slot; read by the peer. */
  readonly states = new Uint8Array(rpcSlots);
  readonly sequences = new Uint32Array(rpcSlots);
  readonly opcodes = new Uint8Array(rpcSlots);
  readonly operations: (RpcOperation | null)[] = new Array<RpcOperation | null>(rpcSlots).fill(
    null,
  );
  /** 0: no connection; `place` is then not called. */
  connection = 0;

  readonly #transport: Transport;
  readonly #arena: ArenaMemory;
  readonly #words: Uint32Array;
  readonly #slotMessage = new Int8Array(rpcSlots).fill(NO_MESSAGE);
  readonly #freeSlots = new Uint8Array(rpcSlots);
  #freeSlotCount = rpcSlots;
  readonly #messageOffset = new Uint32Array(MESSAGES_MAX);
  readonly #messageBytes = new Uint32Array(MESSAGES_MAX);
  readonly #messageCount = new Uint32Array(MESSAGES_MAX);
  /** Unsettled requests of the message. */
  readonly #messageLive = new Uint32Array(MESSAGES_MAX);
  /** Counts up with each message: requests are parked in this order. */
  readonly #messageOrder = new Float64Array(MESSAGES_MAX);
  readonly #freeMessages: number[] = [];
  #nextOrder = 1;
  /** Requests (without frame header) of messages of an earlier connection, in their order. */
  #parked: Uint8Array[] = [];
  #current = NO_MESSAGE;

  constructor(transport: Transport, arena: ArenaMemory) {
    this.#transport = transport;
    this.#arena = arena;
    this.#words = arena.words;
    for (let i = 0; i < rpcSlots; i++) this.#freeSlots[i] = rpcSlots - 1 - i;
    for (let i = MESSAGES_MAX - 1; i >= 0; i--) this.#freeMessages.push(i);
  }

  get freeSlotCount(): number {
    return this.#freeSlotCount;
  }

  /** There is a slot that such an operation may use. */
  hasSlotFor({ urgent }: RpcOperation): boolean {
    return this.#freeSlotCount > (urgent ? 0 : URGENT_SLOTS);
  }

  /** A message is being filled: `seal` is due at the turn's end. */
  get unsealed(): boolean {
    return this.#current !== NO_MESSAGE;
  }

  /** The request of this slot has not left yet, so nobody can have answered it. */
  isUnsent(slot: number): boolean {
    return this.#slotMessage[slot]! < 0 || this.#slotMessage[slot] === this.#current;
  }

  /**
   * Gives the operation a slot and encodes it. False, and nothing done, when no RPC slot or no
   * message slot is free.
   */
  place(operation: RpcOperation, mapEpoch: number): boolean {
    if (!this.hasSlotFor(operation) || this.#parked.length !== 0) return false;
    const room = ENTRY_HEADER_BYTES + roundUp8(operation.bodyBytes);
    const hasBulk = operation.bulkBytes !== 0;
    let current = this.#current;
    if (
      current !== NO_MESSAGE &&
      (hasBulk || this.#messageBytes[current]! + room > messageSlotBytes)
    ) {
      this.seal();
      current = NO_MESSAGE;
    }
    if (current === NO_MESSAGE) {
      current = this.#beginMessage();
      if (current === NO_MESSAGE) return false;
    }
    const slot = this.#freeSlots[--this.#freeSlotCount]!;
    const sequence = nextSequence(this.sequences[slot]!);
    const entry = this.#messageOffset[current]! + this.#messageBytes[current]!;
    const bodyBytes = operation.encode(entry + ENTRY_HEADER_BYTES);
    if (bodyBytes > operation.bodyBytes) {
      throw new RangeError(`rpc: body of ${bodyBytes} bytes, ${operation.bodyBytes} announced`);
    }
    const entryBytes = ENTRY_HEADER_BYTES + roundUp8(bodyBytes);
    this.#pad(entry + ENTRY_HEADER_BYTES + bodyBytes, entry + entryBytes);
    const opcode = operation.opcode;
    writeRequestHeader(this.#words, entry, entryBytes, opcode, 0, slot, sequence, mapEpoch);
    this.#messageBytes[current]! += entryBytes;
    this.#messageCount[current]!++;
    this.#messageLive[current]!++;
    this.#slotMessage[slot] = current;
    this.states[slot] = SLOT_SENT;
    this.sequences[slot] = sequence;
    this.opcodes[slot] = opcode;
    this.operations[slot] = operation;
    operation.rpcState = slot;
    this.#announceLanding(operation, slot);
    if (hasBulk) this.seal();
    return true;
  }

  #pad(from: number, to: number): void {
    const bytes = this.#arena.bytes;
    for (let i = from; i < to; i++) bytes[i] = 0;
  }

  #announceLanding(operation: RpcOperation, slot: number): void {
    if (operation.landingBytes === 0 || this.connection === 0) return;
    const { landingOffset, landingBytes } = operation;
    this.#transport.setLanding(this.connection, slot, landingOffset, landingBytes);
  }

  #beginMessage(): number {
    const offset = this.#arena.messages.take();
    if (offset === 0) return NO_MESSAGE;
    const message = this.#freeMessages.pop()!;
    this.#messageOffset[message] = offset;
    this.#messageBytes[message] = FRAME_HEADER_BYTES;
    this.#messageCount[message] = 0;
    this.#messageLive[message] = 0;
    this.#messageOrder[message] = this.#nextOrder++;
    this.#current = message;
    return message;
  }

  /** Sends the current message, if there is one; the transport's `flush` is the caller's. */
  seal(): void {
    const message = this.#current;
    if (message === NO_MESSAGE) return;
    this.#current = NO_MESSAGE;
    this.#send(message);
  }

  #send(message: number): void {
    const offset = this.#messageOffset[message]!;
    const bytes = this.#messageBytes[message]!;
    const count = this.#messageCount[message]!;
    writeFrameHeader(this.#words, offset, bytes, noTag, count, 0);
    if (this.connection === 0) return;
    if (count === 1) {
      const slot = this.#words[(offset + FRAME_HEADER_BYTES + 4) >>> 2]! & 0xffff;
      const operation = this.operations[slot]!;
      if (operation !== null && operation.bulkBytes !== 0) {
        this.#transport.addBulk(operation.bulkOffset, operation.bulkBytes, false);
      }
    }
    this.#transport.send(this.connection, offset, bytes, false);
  }

  /** The slot is free again; its operation, if it still has one, is the caller's to finish. */
  settle(slot: number): void {
    this.states[slot] = SLOT_FREE;
    this.operations[slot] = null;
    this.#freeSlots[this.#freeSlotCount++] = slot;
    const message = this.#slotMessage[slot]!;
    this.#slotMessage[slot] = NO_MESSAGE;
    if (message < 0) return;
    const live = this.#messageLive[message]! - 1;
    this.#messageLive[message] = live;
    if (live === 0 && message !== this.#current) this.#release(message);
  }

  #release(message: number): void {
    this.#arena.messages.give(this.#messageOffset[message]!);
    this.#freeMessages.push(message);
  }

  /** The caller of this sent request has gone; its memory is no longer referred to. */
  abandon(slot: number): void {
    const operation = this.operations[slot]!;
    if (operation.landingBytes !== 0 && this.connection !== 0) {
      this.#transport.cancelLanding(this.connection, slot);
    }
    this.states[slot] = SLOT_QUARANTINED;
    this.operations[slot] = null;
  }

  /**
   * The connection is gone, and with it every late answer: quarantined slots are free again, and
   * what is unanswered is parked on the heap, so that a target that is away holds no message slot
   * that others need (a handshake, for one).
   */
  connectionLost(): void {
    this.connection = 0;
    this.seal();
    for (let slot = 0; slot < rpcSlots; slot++) {
      if (this.states[slot] === SLOT_QUARANTINED) this.settle(slot);
    }
    const messages: number[] = [];
    for (let slot = 0; slot < rpcSlots; slot++) {
      const message = this.#slotMessage[slot]!;
      if (message >= 0 && !messages.includes(message)) messages.push(message);
    }
    messages.sort((a, b) => this.#messageOrder[a]! - this.#messageOrder[b]!);
    const unparked = this.#parked;
    this.#parked = [];
    for (const message of messages) {
      const offset = this.#messageOffset[message]!;
      const end = offset + this.#messageBytes[message]!;
      this.#parked.push(this.#arena.bytes.slice(offset + FRAME_HEADER_BYTES, end));
      for (let slot = 0; slot < rpcSlots; slot++) {
        if (this.#slotMessage[slot] === message) this.#slotMessage[slot] = PARKED;
      }
      this.#release(message);
    }
    this.#parked.push(...unparked);
  }

  /** Requests of an earlier connection still wait to be sent again; nothing new goes before them. */
  get hasParked(): boolean {
    return this.#parked.length !== 0;
  }

  isParked(slot: number): boolean {
    return this.#slotMessage[slot] === PARKED;
  }

  /** Sends parked requests again, in the first order, as far as message slots go. */
  retransmit(): void {
    let done = 0;
    while (done < this.#parked.length && this.#unpark(this.#parked[done]!)) done++;
    this.#parked.splice(0, done);
  }

  /** Sends what is still wanted of a parked message; false when no message slot is free. */
  #unpark(parked: Uint8Array): boolean {
    const from = new Uint32Array(parked.buffer);
    const message = this.#beginMessage();
    if (message === NO_MESSAGE) return false;
    this.#current = NO_MESSAGE;
    const base = this.#messageOffset[message]!;
    let bytes = FRAME_HEADER_BYTES;
    for (let entry = 0; entry < parked.length;) {
      const at = entry >>> 2;
      const entryBytes = from[at]! & 0xffff;
      const slot = from[at + 1]! & 0xffff;
      if (this.#slotMessage[slot] === PARKED && this.sequences[slot] === from[at + 2]) {
        this.#arena.bytes.set(parked.subarray(entry, entry + entryBytes), base + bytes);
        this.#words[(base + bytes) >>> 2]! |= REQUEST_RETRANSMISSION << 24;
        this.#slotMessage[slot] = message;
        this.#messageCount[message]!++;
        this.#messageLive[message]!++;
        this.#announceLanding(this.operations[slot]!, slot);
        bytes += entryBytes;
      }
      entry += entryBytes;
    }
    this.#messageBytes[message] = bytes;
    if (this.#messageCount[message] === 0) this.#release(message);
    else this.#send(message);
    return true;
  }
}

/** Throws RangeError for an operation that no message can hold: a programming error. */
export function checkOperation(operation: RpcOperation): void {
  if (operation.bodyBytes > RPC_BODY_BYTES_MAX) {
    throw new RangeError(`rpc: body of ${operation.bodyBytes} bytes`);
  }
}
