/**
 * A chunk store over memory devices and a memory metadata store, in a simulated node: what a target
 * has, without network and namespace. It can be killed and started again from what it leaves.
 */
import assert from 'node:assert/strict';
import { createPlainArena } from '../../../../src/native/arena-memory.js';
import type { ArenaMemory } from '../../../../src/native/arena-memory.js';
import { crc32c, crc32cBlocks } from '../../../../src/native/crc32c.js';
import { Allocator } from '../../../../src/server/data/allocator.js';
import { ChunkRead } from '../../../../src/server/data/chunk-read.js';
import { ChunkStore } from '../../../../src/server/data/chunk-store.js';
import { ChunkWrite } from '../../../../src/server/data/chunk-write.js';
import { DiskManager } from '../../../../src/server/data/disk-manager.js';
import { ExtentMap } from '../../../../src/server/data/extent-map.js';
import { MemoryBlockDevice, MemoryDisk } from '../../../../src/server/data/memory-device.js';
import { MemoryMetaImage, MemoryMetaStore } from '../../../../src/server/memory-meta-store.js';
import { SimScheduler } from '../../../../src/transport/sim/sim-scheduler.js';
import { SimWorld } from '../../../../src/transport/sim/sim-world.js';

export const BUCKET = 5;
/** Milliseconds of virtual time that anything may take. */
const PATIENCE_MS = 60_000;

export class TestWrite extends ChunkWrite {
  result = -1;
  onWritten: ((status: number) => void) | undefined;

  override written(status: number): void {
    this.result = status;
    this.onWritten?.(status);
  }
}

export class TestRead extends ChunkRead {
  result = -1;
  bytes = new Uint8Array(0);
  onDone: ((status: number) => void) | undefined;

  override done(status: number): void {
    this.result = status;
    if (status === 0) this.#take();
    this.onDone?.(status);
  }

  /** Copies the result out, checks its checksum and gives its slots back. */
  #take(): void {
    const arena = this.arena!;
    this.bytes = new Uint8Array(this.resultBytes);
    if (this.resultBytes <= 8192) {
      const at = arena.messages.take();
      this.copyTo(at);
      this.bytes.set(arena.bytes.subarray(at, at + this.resultBytes));
      assert.equal(this.checksum, crc32c(arena, at, this.resultBytes), 'checksum');
      arena.messages.give(at);
      return;
    }
    let at = 0;
    let crc = 0;
    let released = 0;
    for (let i = 0; i < this.segmentCount; i++) {
      const offset = this.segmentOffsets[i]!;
      const length = this.segmentLengths[i]!;
      this.bytes.set(arena.bytes.subarray(offset, offset + length), at);
      crc = crc32c(arena, offset, length, crc);
      at += length;
      if (this.segmentReleases[i] === 1) {
        arena.bulk.give(offset);
        released++;
      }
    }
    assert.equal(at, this.resultBytes, 'segments');
    assert.equal(released, this.slotCount, 'every slot is released by one segment');
    assert.equal(this.checksum, crc, 'checksum');
    this.handedOn();
  }
}

export interface TestTargetOptions {
  seed?: number;
  devices?: number;
  totalBlocks?: number;
  bulkSlots?: number;
  maxDelayMs?: number;
  flushIntervalMs?: number;
  flushDelayMs?: number;
}

export class TestTarget {
  readonly world: SimWorld;
  readonly disks: MemoryDisk[] = [];
  readonly image = new MemoryMetaImage();
  readonly logged: string[] = [];
  readonly #options: Required<TestTargetOptions>;
  scheduler!: SimScheduler;
  arena!: ArenaMemory;
  meta!: MemoryMetaStore;
  manager!: DiskManager;
  allocator!: Allocator;
  devices: MemoryBlockDevice[] = [];
  store!: ChunkStore;
  #slotsAtStart = 0;

  constructor(options: TestTargetOptions = {}) {
    this.#options = {
      seed: 1,
      devices: 1,
      totalBlocks: 8192,
      bulkSlots: 12,
      maxDelayMs: 0,
      flushIntervalMs: 0,
      flushDelayMs: 0,
      ...options,
    };
    this.world = new SimWorld(this.#options.seed);
    for (let i = 0; i < this.#options.devices; i++) this.disks.push(new MemoryDisk());
    this.start();
  }

  start(): void {
    const { totalBlocks, bulkSlots, maxDelayMs, flushIntervalMs, flushDelayMs } = this.#options;
    const scheduler = new SimScheduler(this.world, 'target');
    const arena = createPlainArena({ messageSlots: 8, bulkSlots });
    for (const disk of this.disks) disk.sync();
    const log = (message: string): void => void this.logged.push(message);
    this.scheduler = scheduler;
    this.arena = arena;
    this.meta = new MemoryMetaStore({
      scheduler,
      image: this.image,
      flushIntervalMs,
      flushDelayMs,
    });
    this.manager = new DiskManager({ log });
    this.allocator = new Allocator(this.meta);
    this.devices = this.disks.map((disk, number) => {
      const options = { number, totalBlocks, maxDelayMs };
      return new MemoryBlockDevice(arena, scheduler, options, disk);
    });
    for (const device of this.devices) {
      this.manager.add(device);
      this.allocator.addDevice(device.number, totalBlocks);
    }
    this.store = new ChunkStore({
      arena,
      scheduler,
      store: this.meta,
      disks: this.manager,
      allocator: this.allocator,
      log,
    });
    this.#slotsAtStart = arena.bulk.available;
  }

  kill(): void {
    this.scheduler.kill();
    this.meta.kill();
    for (const device of this.devices) device.close();
  }

  powerLoss(): void {
    this.kill();
    for (const disk of this.disks) disk.powerLoss(() => this.world.random.next());
    this.image.powerLoss();
  }

  run(until: () => boolean, what = 'it'): void {
    assert.ok(this.world.run(until, PATIENCE_MS), `${what} did not happen`);
  }

  /** Begins a write of `bytes`; data of more than 8 KiB comes in a slot, as from a transport. */
  begin(write: TestWrite, chunk: number, offset: number, bytes: Uint8Array, inode = 77): void {
    const { arena } = this;
    const large = bytes.length > 8192;
    const at = large ? arena.bulk.take() : arena.messages.take();
    assert.notEqual(at, 0, 'the test has no slot for its data');
    arena.bytes.set(bytes, at);
    const words = arena.messages.take();
    crc32cBlocks(arena, at, bytes.length, words);
    write.bucket = BUCKET;
    write.inode = inode;
    write.chunk = chunk;
    write.offset = offset;
    write.lengthBytes = bytes.length;
    write.dataOffset = at;
    write.ownsSlot = large;
    write.checksumsOffset = words;
    write.result = -1;
    this.store.beginWrite(write);
    arena.bytes.fill(0xee, words, words + 4096);
    arena.messages.give(words);
    if (!large) {
      arena.bytes.fill(0xee, at, at + bytes.length);
      arena.messages.give(at);
    }
  }

  /** Writes and commits; returns the status. */
  write(chunk: number, offset: number, bytes: Uint8Array, inode = 77): number {
    const write = new TestWrite();
    this.begin(write, chunk, offset, bytes, inode);
    this.run(() => write.result >= 0, 'the write');
    if (write.result === 0) this.commit(write);
    return write.result;
  }

  commit(...writes: TestWrite[]): void {
    this.store.transaction(() => {
      for (const write of writes) assert.equal(this.store.commitWrite(write), 0);
    });
  }

  beginRead(read: TestRead, chunk: number, offset: number, lengthBytes: number, inode = 77): void {
    read.bucket = BUCKET;
    read.inode = inode;
    read.chunk = chunk;
    read.offset = offset;
    read.lengthBytes = lengthBytes;
    read.result = -1;
    this.store.read(read);
  }

  read(chunk: number, offset: number, lengthBytes: number, inode = 77): TestRead {
    const read = new TestRead();
    this.beginRead(read, chunk, offset, lengthBytes, inode);
    this.run(() => read.result >= 0, 'the read');
    return read;
  }

  cut(fromByte: number, limit = 100, inode = 77): number {
    let left = 0;
    this.store.transaction(() => {
      left = this.store.changes.cut(inode, fromByte, [BUCKET], limit);
    });
    return left;
  }

  /** Bytes [from, to) of these chunks of `inode` become those of `source`; returns the status. */
  clone(source: number, inode: number, chunks: number[], from: number, to: number): number {
    let status = 0;
    this.store.transaction(() => {
      for (const chunk of chunks) {
        status ||= this.store.changes.cloneChunk(BUCKET, source, BUCKET, inode, chunk, from, to);
      }
      this.store.changes.endClones();
    });
    return status;
  }

  /** Returns the status. */
  changeSpace(chunk: number, from: number, to: number, how: number, inode = 77): number {
    let status = -1;
    this.store.transaction(() => {
      status = this.store.changes.changeSpace(BUCKET, inode, chunk, from, to, how);
    });
    return status;
  }

  flush(settles = true): void {
    let flushed = false;
    this.meta.flush((error) => {
      assert.equal(error, undefined);
      flushed = true;
    });
    this.run(() => flushed, 'the flush');
    if (settles) this.settle();
  }

  /** Lets everything under way end. */
  settle(): void {
    this.scheduler.requestTurn();
    this.world.run(() => false, 200);
    assert.ok(this.store.idle, 'something still waits');
    assert.equal(this.arena.bulk.available, this.#slotsAtStart, 'bulk slots leak');
  }

  /**
   * Blocks that the stored maps use must be exactly those that the stored bitmaps have, and used as
   * often as the stored runs say.
   */
  checkSpace(): void {
    const mapped = new Map<string, Set<string>>();
    const map = new ExtentMap();
    let promised = 0;
    for (const [key, value] of this.image.values) {
      if (key.charCodeAt(2) !== 0x43) continue;
      map.load(value);
      promised += map.promisedBlocks();
      for (let i = 0; i < map.count; i++) {
        for (let k = 0; k < map.blockCount(i); k++) {
          const block = `${map.devices[i]!}:${map.blocks[i]! + k}`;
          const users = mapped.get(block) ?? new Set();
          mapped.set(block, users.add(key));
        }
      }
    }
    this.#checkShared(mapped);
    const marked = new Set<string>();
    for (const [key, value] of this.image.values) {
      if (!key.startsWith('\xff\xffA')) continue;
      const device = key.charCodeAt(3) * 256 + key.charCodeAt(4);
      const region = key.charCodeAt(7) * 256 + key.charCodeAt(8);
      value.forEach((byte, i) => {
        for (let bit = 0; bit < 8; bit++) {
          if ((byte >> bit) & 1) marked.add(`${device}:${region * 8192 + i * 8 + bit}`);
        }
      });
    }
    assert.deepEqual([...mapped.keys()].sort(), [...marked].sort(), 'space in use');
    assert.equal(this.allocator.promisedBlocks, promised, 'promised space');
    const { freeBytes } = this.store.capacity();
    const usable = this.manager.healthy.reduce(
      (sum, device) => sum + this.allocator.usableBlocks(device.number),
      0,
    );
    if (this.manager.healthy.length === this.disks.length) {
      assert.equal(freeBytes / 4096, Math.max(0, usable - marked.size - promised), 'free space');
    }
  }

  #checkShared(mapped: ReadonlyMap<string, ReadonlySet<string>>): void {
    const expected = [...mapped].filter(([, users]) => users.size > 1);
    const counts = expected.map(([block, users]): [string, number] => [block, users.size - 1]);
    const found = [...sharedBlocks(this.image.values)];
    assert.deepEqual(found.sort(byName), counts.sort(byName), 'shared blocks');
  }
}

function byName([a]: [string, number], [b]: [string, number]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Runs of shared blocks, by block: chunks beyond the first. */
export function sharedBlocks(values: ReadonlyMap<string, Uint8Array>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [key, value] of values) {
    if (!key.startsWith('\xff\xffR')) continue;
    const bytes = Buffer.from(key, 'latin1');
    const run = Buffer.from(value);
    const extra = run.readUInt32LE(4);
    assert.ok(extra > 0, 'a run that is not shared');
    for (let block = run.readUInt32LE(0); block < bytes.readUInt32BE(5); block++) {
      const name = `${bytes.readUInt16BE(3)}:${block}`;
      assert.ok(!counts.has(name), `${name} is in two runs`);
      counts.set(name, extra);
    }
  }
  return counts;
}

/** Bytes that differ from those of every other number. */
export function pattern(length: number, number: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let word = (number * 0x9e3779b1 + 1) >>> 0;
  for (let i = 0; i < length; i++) {
    if ((i & 63) === 0) word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    bytes[i] = (word >>> 24) + i;
  }
  return bytes;
}
