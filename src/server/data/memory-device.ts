/**
 * A block device in memory, for unit tests and the simulator: deterministic, with latency, errors,
 * flipped bits, and the two ways in which a machine can stop. Blocks live in pages that are made
 * when they are first written, so a large device costs nothing.
 *
 * Writes since the last sync are remembered with what they replaced: `powerLoss` puts some of them
 * back, chosen by the scheduler's randomness, as a disk with a volatile cache may.
 */
import { errno } from '../../common/errno.js';
import type { Scheduler } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import { blockBytes } from '../../protocol/limits.generated.js';
import type { BlockDevice, DeviceIo } from './device.js';

export interface MemoryDeviceOptions {
  number: number;
  totalBlocks: number;
  /** Each I/O ends after a delay drawn from [0, maxDelayMs). */
  maxDelayMs?: number;
}

/** What survives the process: hand it to the next MemoryBlockDevice. */
export class MemoryDisk {
  readonly blocks = new Map<number, Uint8Array>();
  /** Blocks written since the last sync, as they were at it. */
  readonly unsynced = new Map<number, Uint8Array | undefined>();

  /** What a target does with its devices before it opens its store: see syncDeviceFiles. */
  sync(): void {
    this.unsynced.clear();
  }

  powerLoss(random: () => number): void {
    for (const [block, before] of this.unsynced) {
      if (random() < 0.5) continue;
      if (before === undefined) this.blocks.delete(block);
      else this.blocks.set(block, before);
    }
    this.unsynced.clear();
  }

  /** Flips one bit, as a dying medium does. */
  corrupt(block: number, byte: number, mask = 1): void {
    const bytes = new Uint8Array(this.blocks.get(block) ?? new Uint8Array(blockBytes));
    bytes[byte]! ^= mask;
    this.blocks.set(block, bytes);
  }
}

export class MemoryBlockDevice implements BlockDevice {
  readonly number: number;
  readonly name: string;
  readonly mode = 'memory';
  readonly totalBlocks: number;
  readonly disk: MemoryDisk;
  /** Injected errors: the next `count` operations of a kind end with this errno. */
  readonly #faults = { read: [0, 0], write: [0, 0], sync: [0, 0] };
  readonly #arena: ArenaMemory;
  readonly #scheduler: Scheduler;
  readonly #maxDelayMs: number;
  /** Operations that ended in order of submission, when there is no delay. */
  #pending: (() => void)[] = [];
  #closed = false;
  /** While it is an array, reads that would end stay in it, as if the medium were very slow. */
  #heldReads: (() => void)[] | undefined;
  outstanding = 0;
  readonly counters = { reads: 0, writes: 0, syncs: 0 };

  constructor(
    arena: ArenaMemory,
    scheduler: Scheduler,
    options: MemoryDeviceOptions,
    disk: MemoryDisk = new MemoryDisk(),
  ) {
    this.#arena = arena;
    this.#scheduler = scheduler;
    this.number = options.number;
    this.name = `memory:${options.number}`;
    this.totalBlocks = options.totalBlocks;
    this.#maxDelayMs = options.maxDelayMs ?? 0;
    this.disk = disk;
  }

  /** Lets the next `count` operations of this kind fail. */
  injectFault(kind: 'read' | 'write' | 'sync', status: number = errno.EIO, count = Infinity): void {
    this.#faults[kind] = [status, count];
  }

  holdReads(): void {
    this.#heldReads ??= [];
  }

  releaseReads(): void {
    const held = this.#heldReads ?? [];
    this.#heldReads = undefined;
    for (const finish of held) this.#scheduler.setTimer(0, finish);
  }

  read(io: DeviceIo, block: number, count: number, arenaOffset: number): void {
    this.counters.reads++;
    this.#start(io, 'read', () => {
      if (block + count > this.totalBlocks) return errno.EIO;
      for (let i = 0; i < count; i++) {
        const bytes = this.disk.blocks.get(block + i);
        const at = arenaOffset + i * blockBytes;
        if (bytes === undefined) this.#arena.bytes.fill(0, at, at + blockBytes);
        else this.#arena.bytes.set(bytes, at);
      }
      return 0;
    });
  }

  write(io: DeviceIo, block: number, count: number, arenaOffset: number): void {
    this.counters.writes++;
    this.#start(io, 'write', () => {
      if (block + count > this.totalBlocks) return errno.EIO;
      const { blocks, unsynced } = this.disk;
      for (let i = 0; i < count; i++) {
        const at = arenaOffset + i * blockBytes;
        if (!unsynced.has(block + i)) unsynced.set(block + i, blocks.get(block + i));
        blocks.set(block + i, this.#arena.bytes.slice(at, at + blockBytes));
      }
      return 0;
    });
  }

  sync(io: DeviceIo): void {
    this.counters.syncs++;
    this.#start(io, 'sync', () => {
      this.disk.sync();
      return 0;
    });
  }

  /** Nothing of this device ends any more: the process is gone. */
  close(): void {
    this.#closed = true;
    this.#pending = [];
  }

  #start(io: DeviceIo, kind: 'read' | 'write' | 'sync', effect: () => number): void {
    this.outstanding++;
    const finish = (): void => {
      if (this.#closed) return;
      if (kind === 'read' && this.#heldReads !== undefined) {
        this.#heldReads.push(finish);
        return;
      }
      this.outstanding--;
      const fault = this.#faults[kind];
      if (fault[1]! > 0) {
        fault[1]!--;
        io.ended(fault[0]!);
      } else {
        io.ended(effect());
      }
    };
    const delayMs = this.#maxDelayMs * this.#scheduler.random();
    if (this.#maxDelayMs > 0) {
      this.#scheduler.setTimer(delayMs, finish);
      return;
    }
    this.#pending.push(finish);
    if (this.#pending.length === 1) this.#scheduler.setTimer(0, () => this.#finishAll());
  }

  #finishAll(): void {
    const pending = this.#pending;
    this.#pending = [];
    for (const finish of pending) finish();
  }
}
