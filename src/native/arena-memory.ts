/**
 * The TypeScript face of an arena: one block of memory cut into message slots and bulk slots,
 * addressed by byte offset. The free stacks lie in the arena itself (control area), so that native
 * engines of the same thread take and give slots without a call. Layout: docs/internals.md.
 */
import {
  bulkHeadroomBytes,
  bulkSlotBytes,
  messageSlotBytes,
} from '../protocol/limits.generated.js';

export const ARENA_CONTROL_BYTES = 65536;
export const ARENA_ZERO_OFFSET = 65536;
export const ARENA_ZERO_BYTES = 65536;
export const ARENA_SLOTS_OFFSET = 131072;
export const MESSAGE_FREE_OFFSET = 0;
export const BULK_FREE_OFFSET = 32768;
/** Entries that fit in one free stack behind its count. */
export const SLOTS_MAX = 8191;
export const BULK_STRIDE_BYTES = bulkSlotBytes + 2 * bulkHeadroomBytes;

/** One receive area, where a socket engine reads into. */
export const RECEIVE_AREA_BYTES = 1048576;

export interface ArenaShape {
  messageSlots: number;
  bulkSlots: number;
  /** One for each tcp transport over this arena; 64 at most. */
  receiveAreas?: number;
  /** Room behind all else for memory that other processes have, too; native arenas alone. 64 at most. */
  shares?: number;
}

export function arenaBytes(shape: ArenaShape): number {
  return (
    ARENA_SLOTS_OFFSET +
    shape.messageSlots * messageSlotBytes +
    shape.bulkSlots * BULK_STRIDE_BYTES +
    (shape.receiveAreas ?? 0) * RECEIVE_AREA_BYTES
  );
}

/** A LIFO of slots; its state is in arena memory, shared with native code of the same thread. */
export class SlotPool {
  readonly payloadBytes: number;
  readonly capacity: number;
  readonly #stack: Uint32Array;
  readonly #first: number;
  readonly #stride: number;
  readonly #headroom: number;

  /** `first` is the arena offset of slot 0; payloads begin `headroom` bytes into each slot. */
  constructor(
    stack: Uint32Array,
    first: number,
    stride: number,
    headroom: number,
    payloadBytes: number,
    capacity: number,
  ) {
    this.#stack = stack;
    this.#first = first;
    this.#stride = stride;
    this.#headroom = headroom;
    this.payloadBytes = payloadBytes;
    this.capacity = capacity;
  }

  get available(): number {
    return this.#stack[0]!;
  }

  /** Fills the stack with all slots; once, when the arena is made. */
  reset(): void {
    for (let i = 0; i < this.capacity; i++) this.#stack[1 + i] = this.capacity - 1 - i;
    this.#stack[0] = this.capacity;
  }

  /** Arena offset of a free slot's payload, owned by the caller until `give`; 0 when none is free. */
  take(): number {
    const count = this.#stack[0]!;
    if (count === 0) return 0;
    this.#stack[0] = count - 1;
    return this.#first + this.#stack[count]! * this.#stride + this.#headroom;
  }

  /** Gives back the slot that holds `offset`. */
  give(offset: number): void {
    const slot = Math.floor((offset - this.#first) / this.#stride);
    const count = this.#stack[0]!;
    if (slot < 0 || slot >= this.capacity || count >= this.capacity) {
      throw new RangeError(`slot pool: offset ${offset} is not an outstanding slot`);
    }
    this.#stack[1 + count] = slot;
    this.#stack[0] = count + 1;
  }
}

export class ArenaMemory {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly ints: Int32Array;
  readonly messages: SlotPool;
  readonly bulk: SlotPool;
  readonly zeroOffset = ARENA_ZERO_OFFSET;

  /** Over zeroed memory of `arenaBytes(shape)` bytes. */
  constructor(buffer: ArrayBuffer, shape: ArenaShape) {
    if (shape.messageSlots > SLOTS_MAX || shape.bulkSlots > SLOTS_MAX) {
      throw new RangeError(`an arena has at most ${SLOTS_MAX} slots of a kind`);
    }
    if (buffer.byteLength < arenaBytes(shape) || arenaBytes(shape) >= 2 ** 32) {
      throw new RangeError('the arena does not fit its shape');
    }
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
    this.ints = new Int32Array(buffer, 0, buffer.byteLength >> 2);
    this.messages = new SlotPool(
      new Uint32Array(buffer, MESSAGE_FREE_OFFSET, 1 + SLOTS_MAX),
      ARENA_SLOTS_OFFSET,
      messageSlotBytes,
      0,
      messageSlotBytes,
      shape.messageSlots,
    );
    this.bulk = new SlotPool(
      new Uint32Array(buffer, BULK_FREE_OFFSET, 1 + SLOTS_MAX),
      ARENA_SLOTS_OFFSET + shape.messageSlots * messageSlotBytes,
      BULK_STRIDE_BYTES,
      bulkHeadroomBytes,
      bulkSlotBytes,
      shape.bulkSlots,
    );
    this.messages.reset();
    this.bulk.reset();
  }
}

/** An arena over ordinary memory: for the simulator and for tests. */
export function createPlainArena(shape: ArenaShape): ArenaMemory {
  return new ArenaMemory(new ArrayBuffer(arenaBytes(shape)), shape);
}
