/**
 * Real device files, with each engine: opening and its refusals, and a chunk store on them, through
 * the thread's reactor. Protects the way from DeviceIo to the kernel and back.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errno } from '../../../../src/common/errno.js';
import { NativeArena } from '../../../../src/native/arena.js';
import { Reactor } from '../../../../src/native/reactor.js';
import { Allocator } from '../../../../src/server/data/allocator.js';
import { ChunkStore } from '../../../../src/server/data/chunk-store.js';
import { DiskManager } from '../../../../src/server/data/disk-manager.js';
import { DiskEngine } from '../../../../src/server/data/extent-device.js';
import {
  openDevices,
  parseDeviceSpec,
  syncDeviceFiles,
} from '../../../../src/server/data/open-devices.js';
import { MemoryMetaImage, MemoryMetaStore } from '../../../../src/server/memory-meta-store.js';
import { pattern, TestRead, TestWrite } from './harness.js';

const MIB = 1 << 20;
const identity = { targetId: 'target-1', clusterId: 'cluster-1' };

class RealTarget {
  readonly reactor = new Reactor();
  readonly arena = new NativeArena({ messageSlots: 16, bulkSlots: 24 });
  readonly logged: string[] = [];
  readonly meta: MemoryMetaStore;
  readonly engine: DiskEngine;
  readonly disks: DiskManager;
  readonly store: ChunkStore;

  constructor(specs: string[], image: MemoryMetaImage, engine: 'auto' | 'threads' = 'auto') {
    const log = (message: string): void => void this.logged.push(message);
    const { arena, reactor } = this;
    this.meta = new MemoryMetaStore({ scheduler: reactor, image });
    this.engine = new DiskEngine(arena, reactor, { engine });
    this.disks = new DiskManager({ log });
    const allocator = new Allocator(this.meta);
    try {
      openDevices({
        specs: specs.map(parseDeviceSpec),
        identity,
        store: this.meta,
        engine: this.engine,
        disks: this.disks,
        allocator,
        log,
      });
    } catch (error) {
      this.close();
      throw error;
    }
    this.store = new ChunkStore({
      arena,
      scheduler: reactor,
      store: this.meta,
      disks: this.disks,
      allocator,
      log,
    });
  }

  close(): void {
    this.disks.close();
    this.engine.close();
    this.reactor.close();
  }

  async write(chunk: number, bytes: Uint8Array): Promise<number> {
    const write = new TestWrite();
    const slot = this.arena.bulk.take();
    this.arena.bytes.set(bytes, slot);
    Object.assign(write, { bucket: 5, inode: 9, chunk, lengthBytes: bytes.length });
    Object.assign(write, { dataOffset: slot, ownsSlot: true });
    const status = await new Promise<number>((resolve) => {
      write.onWritten = resolve;
      this.store.beginWrite(write);
    });
    if (status === 0) {
      this.store.transaction(() => {
        assert.equal(this.store.commitWrite(write), 0);
      });
    }
    return status;
  }

  async read(chunk: number): Promise<TestRead> {
    const read = new TestRead();
    Object.assign(read, { bucket: 5, inode: 9, chunk, lengthBytes: MIB });
    await new Promise<number>((resolve) => {
      read.onDone = resolve;
      this.store.read(read);
    });
    return read;
  }

  flush(): Promise<Error | undefined> {
    return new Promise((resolve) => {
      this.meta.flush(resolve);
    });
  }
}

describe('ExtentDevice', () => {
  let folder = '';
  let image = new MemoryMetaImage();
  const open: RealTarget[] = [];
  const start = (specs: string[], engine: 'auto' | 'threads' = 'auto'): RealTarget => {
    const target = new RealTarget(specs, image, engine);
    open.push(target);
    return target;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sealfs-extent-'));
    image = new MemoryMetaImage();
  });
  afterEach(() => {
    for (const target of open.splice(0)) target.close();
    rmSync(folder, { recursive: true });
  });

  for (const engine of ['auto', 'threads'] as const) {
    it(`stores and finds data again after a restart (engine: ${engine})`, async () => {
      const path = join(folder, 'data');
      const first = start([`${path}:64M`], engine);
      const expected = engine === 'auto' ? /^(io_uring|threads)/ : /^threads \(asked for\), /;
      assert.match(first.disks.reports()[0]!.mode, expected);
      const writes = Array.from({ length: 20 }, (_, i) => first.write(i, pattern(300_000 + i, i)));
      assert.deepEqual(new Set(await Promise.all(writes)), new Set([0]));
      assert.equal(await first.flush(), undefined);
      open.splice(0)[0]!.close();
      syncDeviceFiles([parseDeviceSpec(path)]);
      const second = start([path], engine);
      for (let i = 0; i < 20; i++) {
        assert.deepEqual((await second.read(i)).bytes, pattern(300_000 + i, i));
      }
    });
  }

  it('answers EIO for a flipped byte in the file, and only there', async () => {
    const path = join(folder, 'data');
    const target = start([`${path}:16M`]);
    await target.write(0, pattern(100_000, 0));
    await target.write(1, pattern(100_000, 1));
    const fd = openSync(path, 'r+');
    writeSync(fd, Uint8Array.of(0xff, 0x00, 0xff), 0, 3, 4096 + 50_000);
    assert.equal((await target.read(0)).result, errno.EIO);
    assert.equal((await target.read(1)).result, 0);
    assert.equal(target.store.counters.readChecksumErrors, 1);
  });

  it('takes a file that was cut short under it out of use', async () => {
    const path = join(folder, 'data');
    const target = start([`${path}:16M`]);
    await target.write(0, pattern(MIB, 0));
    truncateSync(path, 8192);
    assert.equal((await target.read(0)).result, errno.EIO);
    assert.equal(target.disks.reports()[0]!.state, 'failed');
    assert.equal(await target.write(1, pattern(MIB, 1)), errno.EIO);
    assert.deepEqual(target.store.capacity(), { totalBytes: 0, freeBytes: 0 });
  });

  it('refuses a file that is shorter than its record', () => {
    const path = join(folder, 'data');
    start([`${path}:16M`]).close();
    open.length = 0;
    truncateSync(path, 8 * MIB);
    assert.throws(() => start([path]), /shorter than its record: 8.00 MiB instead of 16.0 MiB/);
  });

  it('grows a file when a larger size is asked for, and keeps it', async () => {
    const path = join(folder, 'data');
    const first = start([`${path}:8M`]);
    await first.write(0, pattern(MIB, 7));
    const before = first.store.capacity();
    open.splice(0)[0]!.close();
    const second = start([`${path}:32M`]);
    assert.ok(second.store.capacity().totalBytes >= before.totalBytes + 23 * MIB);
    const after = second.store.capacity();
    assert.deepEqual((await second.read(0)).bytes, pattern(MIB, 7));
    open.splice(0)[0]!.close();
    assert.deepEqual(start([`${path}:8M`]).store.capacity(), after);
  });

  it('goes on without a device that is missing at the start', async () => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    const first = start([`${a}:16M`, `${b}:16M`]);
    await first.write(0, pattern(MIB, 0));
    await first.write(1, pattern(MIB, 1));
    open.splice(0)[0]!.close();
    rmSync(b);
    const second = start([a, `${b}:16M`]);
    const results = [(await second.read(0)).result, (await second.read(1)).result];
    assert.deepEqual(results.sort(), [0, errno.EIO]);
    assert.match(second.logged.join('\n'), /taken out of use: it is missing/);
    open.splice(0)[0]!.close();
    rmSync(a);
    assert.throws(() => start([a, b]), /none of this target's data devices is there/);
  });

  it('refuses what is not its own', () => {
    const path = join(folder, 'data');
    writeFileSync(path, Buffer.alloc(2 * MIB, 'x'));
    assert.throws(() => start([path]), /holds something that is not a sealfs device/);
    const other = join(folder, 'other');
    start([`${other}:4M`]);
    assert.throws(() => start([other]), /another process or target uses it/);
    open.splice(0)[0]!.close();
    image = new MemoryMetaImage();
    identity.targetId = 'target-2';
    try {
      assert.throws(() => start([other]), /belongs to target target-1 of cluster cluster-1/);
    } finally {
      identity.targetId = 'target-1';
    }
    const fd = openSync(other, 'r+');
    writeSync(fd, Uint8Array.of(1), 0, 1, 300);
    assert.throws(() => start([other]), /superblock is damaged/);
  });

  it('says what is wrong with a --data argument', () => {
    assert.throws(() => start([join(folder, 'new')]), /does not exist; to make it, say how large/);
    assert.throws(() => start([join(folder, 'no/new:1G')]), /the folder of .* does not exist/);
    assert.throws(() => parseDeviceSpec('/x:12Q'), /not a size/);
    assert.throws(() => parseDeviceSpec('/x:4K'), /too small/);
    assert.throws(() => parseDeviceSpec(':4G'), /no path/);
    assert.throws(() => start([`${join(folder, 'huge')}:15T`]), /its file system has .* free/);
    assert.throws(() => parseDeviceSpec('/x:17T'), /at most 16 TiB/);
    assert.deepEqual(parseDeviceSpec('/a:b/c'), { path: '/a:b/c', sizeBytes: undefined });
  });
});
