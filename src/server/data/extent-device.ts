/**
 * Real devices: files or block devices driven by the native engine (src/native/extent.ts), of which
 * a target has one. Completions come in the thread's turns; each carries the index of the DeviceIo
 * that waits for it.
 */
import { errno } from '../../common/errno.js';
import type { NativeArena } from '../../native/arena.js';
import type { NativeHandle } from '../../native/core.js';
import {
  DiskOpcode,
  ExtentEngine,
  type ExtentEngineOptions,
  type ExtentFile,
} from '../../native/extent.js';
import type { Reactor } from '../../native/reactor.js';
import { blockBytes } from '../../protocol/limits.generated.js';
import type { DeviceIo, BlockDevice } from './device.js';

export class DiskEngine {
  readonly engine: ExtentEngine;
  readonly #reactor: Reactor;
  readonly #source: number;
  /** Waiting operations by tag, and the bytes that each must transfer. */
  readonly #ios: (DeviceIo | undefined)[] = [];
  readonly #expected: number[] = [];
  readonly #freeTags: number[] = [];

  constructor(arena: NativeArena, reactor: Reactor, options: ExtentEngineOptions = {}) {
    this.#reactor = reactor;
    this.engine = new ExtentEngine(arena.handle, options);
    this.#source = reactor.addSource(this.engine.source() as NativeHandle, (count) => {
      this.#harvested(count);
    });
  }

  /** Operations that have not ended. */
  get outstanding(): number {
    return this.#ios.length - this.#freeTags.length;
  }

  start(
    io: DeviceIo,
    opcode: number,
    file: number,
    arenaOffset: number,
    lengthBytes: number,
    block: number,
  ): void {
    const tag = this.#freeTags.pop() ?? this.#ios.length;
    this.#ios[tag] = io;
    this.#expected[tag] = lengthBytes;
    this.engine.push(opcode, file, arenaOffset, lengthBytes, block, tag);
    if (!this.#reactor.inTurn) this.#reactor.requestTurn();
  }

  /** When nothing is outstanding. */
  close(): void {
    this.#reactor.removeSource(this.#source);
    this.engine.destroy();
  }

  #harvested(count: number): void {
    for (let i = 0; i < count; i++) {
      const tag = this.engine.completionTag(i);
      const result = this.engine.completionResult(i);
      const io = this.#ios[tag]!;
      const expected = this.#expected[tag]!;
      this.#ios[tag] = undefined;
      this.#freeTags.push(tag);
      // Fewer bytes than asked: the file has become shorter than its record.
      io.ended(result < 0 ? -result : result < expected ? errno.EIO : 0);
    }
  }
}

export class ExtentDevice implements BlockDevice {
  readonly number: number;
  readonly name: string;
  readonly mode: string;
  readonly totalBlocks: number;
  readonly #engine: DiskEngine;
  readonly #file: number;

  constructor(
    engine: DiskEngine,
    file: ExtentFile,
    number: number,
    name: string,
    totalBlocks: number,
  ) {
    this.#engine = engine;
    this.#file = file.file;
    this.number = number;
    this.name = name;
    this.totalBlocks = totalBlocks;
    const cache = file.direct ? 'O_DIRECT' : 'page cache: the file system has no O_DIRECT';
    this.mode = `${engine.engine.mode}, ${cache}`;
  }

  read(io: DeviceIo, block: number, count: number, arenaOffset: number): void {
    this.#engine.start(io, DiskOpcode.Read, this.#file, arenaOffset, count * blockBytes, block);
  }

  write(io: DeviceIo, block: number, count: number, arenaOffset: number): void {
    this.#engine.start(io, DiskOpcode.Write, this.#file, arenaOffset, count * blockBytes, block);
  }

  sync(io: DeviceIo): void {
    this.#engine.start(io, DiskOpcode.Sync, this.#file, 0, 0, 0);
  }

  close(): void {
    this.#engine.engine.closeFile(this.#file);
  }
}
