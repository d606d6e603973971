/**
 * The chunk store's promises one by one; chunk-store-model.test.ts tries them all at random.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import { ExtentMap } from '../../../../src/server/data/extent-map.js';
import { chunkKey } from '../../../../src/server/data/keys.js';
import { BUCKET, pattern, TestRead, TestTarget, TestWrite } from './harness.js';

const CHUNK = 1 << 20;

function mapOf(target: TestTarget, chunk: number): ExtentMap {
  const map = new ExtentMap();
  map.load(target.meta.get(chunkKey(BUCKET, 77, chunk)));
  return map;
}

describe('ChunkStore', () => {
  it('reads back whole chunks, parts of them, and nothing where nothing is', () => {
    const target = new TestTarget();
    const data = pattern(CHUNK, 1);
    assert.equal(target.write(3, 0, data), 0);
    assert.deepEqual(target.read(3, 0, CHUNK).bytes, data);
    assert.deepEqual(target.read(3, 5000, 100_000).bytes, data.subarray(5000, 105_000));
    assert.deepEqual(target.read(3, CHUNK - 10, 10).bytes, data.subarray(CHUNK - 10));
    assert.equal(target.read(4, 0, CHUNK).bytes.length, 0);
    target.flush();
    target.checkSpace();
  });

  it('keeps small chunks in the store and needs no device for them', () => {
    const target = new TestTarget();
    assert.equal(target.write(0, 0, pattern(3901, 2)), 0);
    assert.equal(target.write(0, 5000, pattern(3192, 3)), 0);
    const read = target.read(0, 0, CHUNK);
    assert.equal(read.bytes.length, 8192);
    assert.deepEqual(read.bytes.subarray(0, 3901), pattern(3901, 2));
    assert.deepEqual(read.bytes.subarray(3901, 5000), new Uint8Array(1099));
    assert.deepEqual(read.bytes.subarray(5000), pattern(3192, 3));
    assert.deepEqual(target.devices[0]!.counters, { reads: 0, writes: 0, syncs: 0 });
  });

  it('grows an inline chunk without moving its bytes', () => {
    const target = new TestTarget();
    target.write(0, 0, pattern(6000, 4));
    target.write(0, 5000, pattern(300_000, 5));
    target.write(0, 100, pattern(50, 6));
    const { bytes } = target.read(0, 0, CHUNK);
    assert.equal(bytes.length, 305_000);
    assert.deepEqual(bytes.subarray(0, 100), pattern(6000, 4).subarray(0, 100));
    assert.deepEqual(bytes.subarray(100, 150), pattern(50, 6));
    assert.deepEqual(bytes.subarray(150, 5000), pattern(6000, 4).subarray(150, 5000));
    assert.deepEqual(bytes.subarray(5000), pattern(300_000, 5));
    target.flush();
    target.checkSpace();
  });

  it('reads holes as zeros, with the right checksum', () => {
    const target = new TestTarget();
    target.write(0, 900_000, pattern(10_000, 7));
    const { bytes } = target.read(0, 0, CHUNK);
    assert.equal(bytes.length, 910_000);
    assert.ok(bytes.subarray(0, 900_000).every((byte) => byte === 0));
    assert.deepEqual(bytes.subarray(900_000), pattern(10_000, 7));
  });

  it('shows a write only once it is committed; an abandoned one leaves no trace', () => {
    const target = new TestTarget();
    const write = new TestWrite();
    const before = target.allocator.allocatableBlocks(0);
    target.begin(write, 0, 0, pattern(50_000, 8));
    target.run(() => write.result === 0);
    assert.equal(target.read(0, 0, CHUNK).bytes.length, 0);
    target.store.abandonWrite(write);
    assert.equal(target.allocator.allocatableBlocks(0), before);
    assert.equal(target.read(0, 0, CHUNK).bytes.length, 0);
    target.checkSpace();
  });

  it('a transaction that throws leaves its writes to be committed again', () => {
    const target = new TestTarget();
    const write = new TestWrite();
    target.begin(write, 0, 0, pattern(50_000, 9));
    target.run(() => write.result === 0);
    assert.throws(() => {
      target.store.transaction(() => {
        target.store.commitWrite(write);
        throw new Error('the namespace said no');
      });
    }, /said no/);
    target.checkSpace();
    target.commit(write);
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, pattern(50_000, 9));
    target.checkSpace();
  });

  it('a power loss brings back the last flush, with its data, however much was written since', () => {
    const target = new TestTarget({ totalBlocks: 1500 });
    target.write(0, 0, pattern(CHUNK, 10));
    target.flush();
    // With 1,500 blocks five chunks fit: none of these may go where the first one lies.
    for (let i = 0; i < 3; i++) assert.equal(target.write(0, 0, pattern(CHUNK, 100 + i)), 0);
    assert.equal(target.meta.durableSequence, 1);
    target.powerLoss();
    target.start();
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, pattern(CHUNK, 10));
    target.checkSpace();
  });

  it('does not reuse blocks that a read under way still needs, however long it takes', () => {
    const target = new TestTarget({ totalBlocks: 1500 });
    target.write(0, 0, pattern(CHUNK, 1));
    const read = new TestRead();
    target.devices[0]!.holdReads();
    target.beginRead(read, 0, 0, CHUNK);
    // With 1,500 blocks five chunks fit: without the read, the sixth would go where it reads.
    const writes = Array.from({ length: 6 }, () => new TestWrite());
    writes.forEach((write, i) => {
      write.onWritten = () => {
        target.commit(write);
      };
      target.begin(write, 0, 0, pattern(CHUNK, 100 + i));
      target.flush(false);
    });
    assert.equal(writes.filter((write) => write.result === 0).length, 4);
    target.devices[0]!.releaseReads();
    target.run(() => read.result >= 0);
    assert.deepEqual(read.bytes, pattern(CHUNK, 1));
    target.run(() => writes.every((write) => write.result === 0), 'the rest of the writes');
    target.flush();
    assert.equal(target.allocator.quarantinedBlocks, 0);
  });

  it('waits for freed blocks to become durable, and says ENOSPC only when there are none', () => {
    const target = new TestTarget({ totalBlocks: 1024 }); // three chunks fit
    for (let i = 0; i < 12; i++) assert.equal(target.write(0, 0, pattern(CHUNK, i)), 0);
    assert.ok(target.store.counters.spaceWaits > 0 || target.meta.durableSequence > 0);
    assert.equal(target.write(1, 0, pattern(CHUNK, 50)), 0);
    assert.equal(target.write(2, 0, pattern(CHUNK, 51)), 0);
    assert.equal(target.write(3, 0, pattern(CHUNK, 52)), errno.ENOSPC);
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, pattern(CHUNK, 11));
    target.flush();
    target.checkSpace();
    assert.equal(target.cut(0), 0);
    target.flush();
    assert.equal(target.store.capacity().freeBytes, target.store.capacity().totalBytes);
    assert.equal(target.write(3, 0, pattern(CHUNK, 53)), 0);
  });

  it('queues when bulk slots run out, and loses none', () => {
    const target = new TestTarget({ bulkSlots: 8, maxDelayMs: 1 }); // four for compaction
    for (let i = 0; i < 3; i++) target.write(i, 0, pattern(CHUNK, i));
    const reads = Array.from({ length: 20 }, () => new TestRead());
    reads.forEach((read, i) => {
      target.beginRead(read, i % 3, 0, CHUNK);
    });
    target.run(() => reads.every((read) => read.result === 0));
    reads.forEach((read, i) => {
      assert.deepEqual(read.bytes, pattern(CHUNK, i % 3));
    });
    assert.ok(target.store.counters.slotWaits > 0);
    target.settle();
  });

  it('answers EIO for a flipped bit, on reads of that block only, logged and counted', () => {
    const target = new TestTarget();
    target.write(0, 0, pattern(200_000, 11));
    const map = mapOf(target, 0);
    target.disks[0]!.corrupt(map.blocks[0]! + 20, 17);
    assert.equal(target.read(0, 0, CHUNK).result, errno.EIO);
    assert.equal(target.read(0, 20 * 4096, 1).result, errno.EIO);
    assert.deepEqual(target.read(0, 0, 80_000).bytes, pattern(200_000, 11).subarray(0, 80_000));
    assert.equal(target.store.counters.readChecksumErrors, 2);
    assert.match(target.logged.join('\n'), /does not match its CRC \(inode 77 chunk 0\)/);
    target.settle();
  });

  it('refuses data that does not match its checksums', () => {
    const target = new TestTarget();
    const { arena } = target;
    const write = new TestWrite();
    write.lengthBytes = 50_000;
    write.dataOffset = arena.bulk.take();
    write.ownsSlot = true;
    write.checksumsOffset = arena.messages.take();
    arena.bytes.fill(1, write.checksumsOffset, write.checksumsOffset + 100);
    target.store.beginWrite(write);
    assert.equal(write.result, errno.EIO);
    assert.equal(target.store.counters.arrivalChecksumErrors, 1);
    target.settle();
  });

  it('takes a device that fails out of use; writes go to another, its chunks answer EIO', () => {
    const target = new TestTarget({ devices: 2 });
    for (let chunk = 0; chunk < 4; chunk++) target.write(chunk, 0, pattern(100_000, chunk));
    target.devices[1]!.injectFault('read');
    target.devices[1]!.injectFault('write');
    const total = target.store.capacity().totalBytes;
    for (let chunk = 4; chunk < 8; chunk++) {
      assert.equal(target.write(chunk, 0, pattern(100_000, chunk)), 0);
    }
    assert.equal(target.store.capacity().totalBytes, total / 2);
    assert.deepEqual(
      target.manager.reports().map((report) => report.state),
      ['in use', 'failed'],
    );
    const results = [0, 1, 2, 3].map((chunk) => target.read(chunk, 0, CHUNK).result);
    assert.deepEqual(results.sort(), [0, 0, errno.EIO, errno.EIO]);
    for (let chunk = 4; chunk < 8; chunk++) {
      assert.deepEqual(target.read(chunk, 0, CHUNK).bytes, pattern(100_000, chunk));
    }
    assert.equal(target.cut(0), 0);
    assert.match(target.logged.join('\n'), /device 1 \(memory:1\) is taken out of use/);
    assert.equal(target.logged.filter((line) => line.includes('taken out')).length, 1);
  });

  it('syncs the devices before the metadata', () => {
    const target = new TestTarget({ devices: 2 });
    target.write(0, 0, pattern(100_000, 1));
    assert.equal(target.disks[0]!.unsynced.size + target.disks[1]!.unsynced.size, 25);
    target.flush();
    assert.equal(target.disks[0]!.unsynced.size + target.disks[1]!.unsynced.size, 0);
    // Both, as nobody knows what an earlier process wrote; afterwards only where there were writes.
    assert.deepEqual(
      [target.devices[0]!.counters.syncs, target.devices[1]!.counters.syncs],
      [1, 1],
    );
    target.write(1, 0, pattern(100, 1));
    target.flush();
    assert.deepEqual(
      [target.devices[0]!.counters.syncs, target.devices[1]!.counters.syncs],
      [1, 1],
    );
  });

  it('a failed sync fails that flush', () => {
    const target = new TestTarget({ devices: 2 });
    for (let chunk = 0; chunk < 2; chunk++) target.write(chunk, 0, pattern(100_000, 1));
    target.devices[0]!.injectFault('sync');
    const results: (Error | undefined)[] = [];
    target.meta.flush((error) => results.push(error));
    target.run(() => results.length === 1);
    assert.match(String(results[0]), /EIO/);
    target.meta.flush((error) => results.push(error));
    target.run(() => results.length === 2);
    assert.equal(results[1], undefined);
  });

  it('cuts across chunks, a limited number at a time', () => {
    const target = new TestTarget();
    for (let chunk = 0; chunk < 10; chunk++) target.write(chunk, 0, pattern(20_000, chunk));
    assert.equal(target.cut(2 * CHUNK + 5000, 3), 1);
    assert.equal(target.cut(2 * CHUNK + 5000, 3), 1);
    assert.equal(target.cut(2 * CHUNK + 5000, 3), 0);
    assert.deepEqual(target.read(1, 0, CHUNK).bytes, pattern(20_000, 1));
    assert.deepEqual(target.read(2, 0, CHUNK).bytes, pattern(20_000, 2).subarray(0, 5000));
    for (let chunk = 3; chunk < 10; chunk++) {
      assert.equal(target.read(chunk, 0, CHUNK).bytes.length, 0);
    }
    target.flush();
    target.checkSpace();
  });

  it('compacts a fragmented chunk in the background', () => {
    const target = new TestTarget({ totalBlocks: 16384 });
    const expected = new Uint8Array(CHUNK);
    const put = (offset: number, length: number, number: number): void => {
      const bytes = pattern(length, number);
      expected.set(bytes, offset);
      target.write(0, offset, bytes);
    };
    put(0, CHUNK, 0);
    for (let i = 0; i < 100; i++) put(10_000 + i * 10_000, 700, i + 1);
    assert.ok(mapOf(target, 0).count >= 192);
    target.world.run(() => false, 1000);
    assert.ok(mapOf(target, 0).count < 10);
    assert.equal(target.store.counters.compactions, 1);
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, expected);
    target.flush();
    target.checkSpace();
  });

  it('gives up a compaction that a commit overtakes, and tries it again', () => {
    const target = new TestTarget({ totalBlocks: 16384 });
    target.write(0, 0, pattern(CHUNK, 0));
    for (let i = 0; i < 100; i++) target.write(0, 10_000 + i * 10_000, pattern(700, i + 1));
    target.devices[0]!.holdReads();
    target.run(() => target.devices[0]!.counters.reads > 0, 'the compaction');
    target.write(0, 500_000, pattern(3000, 999));
    target.devices[0]!.releaseReads();
    target.world.run(() => false, 1000);
    assert.ok(mapOf(target, 0).count < 10);
    assert.deepEqual(target.read(0, 500_000, 3000).bytes, pattern(3000, 999));
    target.flush();
    target.checkSpace();
  });

  it('compacts on a full device with blocks that are about to become durable', () => {
    const target = new TestTarget({ totalBlocks: 1024, flushDelayMs: 20 });
    target.write(0, 0, pattern(CHUNK, 0));
    for (let i = 0; i < 100; i++) target.write(0, 10_000 + i * 10_000, pattern(700, i + 1));
    const expected = target.read(0, 0, CHUNK).bytes;
    const readsSoFar = target.devices[0]!.counters.reads;
    for (let chunk = 1; target.allocator.allocatableBlocks(0) > 0; chunk++) {
      const bytes = Math.min(CHUNK, target.allocator.allocatableBlocks(0) * 4096);
      assert.equal(target.write(chunk, 0, pattern(bytes, chunk)), 0);
    }
    target.devices[0]!.holdReads();
    target.run(() => target.devices[0]!.counters.reads > readsSoFar, 'the compaction');
    target.cut(CHUNK);
    target.devices[0]!.releaseReads();
    target.world.run(() => false, 5);
    assert.ok(target.allocator.quarantinedBlocks > 0);
    target.world.run(() => false, 1000);
    assert.equal(target.store.counters.compactions, 1);
    assert.doesNotMatch(target.logged.join('\n'), /failed/);
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, expected);
  });

  it('never lets a map pass its limit: writes wait for the compaction', () => {
    const target = new TestTarget({ totalBlocks: 32768, maxDelayMs: 2 });
    const expected = new Uint8Array(CHUNK);
    let most = 0;
    for (let round = 0; round < 60; round++) {
      const writes = Array.from({ length: 6 }, () => new TestWrite());
      writes.forEach((write, i) => {
        const at = 9000 + (((round * 6 + i) * 2741) % 1_000_000);
        const bytes = pattern(100 + i, round * 6 + i);
        write.onWritten = (status) => {
          assert.equal(status, 0);
          target.commit(write);
          expected.set(bytes, at);
          most = Math.max(most, mapOf(target, 0).count);
        };
        target.begin(write, 0, at, bytes);
      });
      target.run(() => writes.every((write) => write.result >= 0));
    }
    assert.ok(most <= 256, `the map grew to ${most} extents`);
    assert.ok(target.store.counters.compactions > 0);
    const { bytes } = target.read(0, 0, CHUNK);
    assert.deepEqual(bytes, expected.subarray(0, bytes.length));
    target.flush();
    target.checkSpace();
  });
});
