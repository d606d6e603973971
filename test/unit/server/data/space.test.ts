/**
 * Space without data: holes, promised (unwritten) extents, and where data begins. Protects: what is
 * promised is there when it is written, whoever else wants it meanwhile; nothing is promised twice
 * or lost by writes, cuts, compaction, a kill; lseek's answers are exact.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import { SPACE_DROP, SPACE_PROMISE } from '../../../../src/server/data/chunk-changes.js';
import { DataSeek } from '../../../../src/server/data/data-seek.js';
import { ExtentMap } from '../../../../src/server/data/extent-map.js';
import { BUCKET, pattern, TestTarget } from './harness.js';

const CHUNK = 1 << 20;
const BLOCK = 4096;
const ZERO = SPACE_DROP | SPACE_PROMISE;

function free(target: TestTarget): number {
  return target.store.capacity().freeBytes / BLOCK;
}

describe('promised space', () => {
  it('is taken from what is free, reads as zeros, and goes with the data', () => {
    const target = new TestTarget();
    const before = free(target);
    assert.equal(target.changeSpace(0, 0, CHUNK, SPACE_PROMISE), 0);
    assert.equal(free(target), before - 256);
    assert.ok(target.read(0, 0, CHUNK).bytes.every((byte) => byte === 0));
    assert.equal(target.read(0, 100, 5000).bytes.length, 5000);
    assert.equal(target.write(0, 8 * BLOCK, pattern(4 * BLOCK, 1)), 0);
    assert.equal(free(target), before - 256, 'the write took of what it was promised');
    target.checkSpace();
    target.cut(9 * BLOCK);
    assert.equal(free(target), before - 9);
    assert.equal(target.changeSpace(0, 0, CHUNK, SPACE_DROP), 0);
    assert.equal(free(target), before);
    target.flush();
    target.checkSpace();
  });

  it('is there for its bytes, and for no others, when all else is full', () => {
    const target = new TestTarget({ totalBlocks: 2000 });
    assert.equal(target.changeSpace(1, 0, CHUNK, SPACE_PROMISE), 0);
    let filled = 0;
    for (let chunk = 10; target.write(chunk, 0, pattern(CHUNK, chunk)) === 0; chunk++) filled++;
    assert.ok(filled > 4, 'the test fills the device');
    while (target.write(30 + filled, 2 * BLOCK, pattern(BLOCK, 1)) === 0) filled++;
    assert.equal(target.write(1, 0, pattern(CHUNK / 2, 2)), 0);
    assert.equal(
      target.write(1, CHUNK / 2 - BLOCK, pattern(BLOCK, 3)),
      errno.ENOSPC,
      'overwriting',
    );
    assert.equal(target.write(0, BLOCK, pattern(3 * BLOCK, 4)), errno.ENOSPC, 'another chunk');
    assert.equal(target.write(1, CHUNK / 2, pattern(CHUNK / 2, 5)), 0);
    const read = target.read(1, 0, CHUNK).bytes;
    assert.deepEqual(read.subarray(CHUNK / 2), pattern(CHUNK / 2, 5));
    assert.equal(target.allocator.promisedBlocks, 0);
    target.flush();
    target.checkSpace();
  });

  it('is refused when it is not there, and then nothing has changed', () => {
    const target = new TestTarget({ totalBlocks: 600 });
    assert.equal(target.changeSpace(0, 0, CHUNK, SPACE_PROMISE), 0);
    assert.equal(target.changeSpace(1, 0, CHUNK, SPACE_PROMISE), 0);
    assert.equal(target.changeSpace(2, 0, CHUNK, SPACE_PROMISE), errno.ENOSPC);
    assert.equal(target.allocator.promisedBlocks, 512);
    target.checkSpace();
  });

  it('fills holes only, once, and zeroes what is there when asked to', () => {
    const target = new TestTarget();
    const data = pattern(10 * BLOCK, 1);
    assert.equal(target.write(0, 10 * BLOCK, data), 0);
    for (let i = 0; i < 2; i++) {
      assert.equal(target.changeSpace(0, 5 * BLOCK, 25 * BLOCK, SPACE_PROMISE), 0);
      assert.equal(target.allocator.promisedBlocks, 10);
    }
    assert.deepEqual(target.read(0, 10 * BLOCK, data.length).bytes, data);
    assert.equal(target.changeSpace(0, 10 * BLOCK + 100, 15 * BLOCK, ZERO), 0);
    data.fill(0, 100, 5 * BLOCK);
    assert.deepEqual(target.read(0, 10 * BLOCK, data.length).bytes, data);
    assert.equal(target.allocator.promisedBlocks, 15);
    target.checkSpace();
  });

  it('survives a kill, and a rollback changes nothing', () => {
    const target = new TestTarget();
    assert.equal(target.changeSpace(3, 0, CHUNK, SPACE_PROMISE), 0);
    assert.throws(() => {
      target.store.transaction(() => {
        target.store.changes.changeSpace(BUCKET, 77, 4, 0, CHUNK, SPACE_PROMISE);
        throw new Error('undone');
      });
    }, /undone/);
    assert.equal(target.allocator.promisedBlocks, 256);
    target.kill();
    target.start();
    assert.equal(target.allocator.promisedBlocks, 256);
    target.checkSpace();
  });

  it('is kept by compaction, which writes small pieces of it as zeros', () => {
    const target = new TestTarget();
    assert.equal(target.changeSpace(0, 0, CHUNK, SPACE_PROMISE), 0);
    const expected = new Uint8Array(CHUNK);
    for (let i = 0; i < 97; i++) {
      const data = pattern(1000, i);
      const at = 9000 + i * 2500;
      expected.set(data, at);
      assert.equal(target.write(0, at, data), 0);
    }
    target.settle();
    assert.equal(target.store.counters.compactions, 1);
    const map = new ExtentMap();
    map.load([...target.image.values].find(([key]) => key.charCodeAt(2) === 0x43)![1]);
    assert.equal(map.unwrittenCount, 1, 'the long rest is still unwritten');
    assert.equal(target.allocator.promisedBlocks, map.promisedBlocks());
    assert.deepEqual(target.read(0, 0, CHUNK).bytes, expected);
    target.flush();
    target.checkSpace();
  });
});

describe('DataSeek', () => {
  function seekIn(target: TestTarget): (from: number, to: number, hole: boolean) => number {
    const seek = new DataSeek(target.meta);
    return (from, to, hole) => {
      if (hole) seek.hole(77, from, to, () => BUCKET);
      else seek.data(77, from, to, [BUCKET]);
      return seek.found ? seek.byte : -seek.byte;
    };
  }

  it('finds data and holes to the byte, over chunks', () => {
    const target = new TestTarget();
    target.write(0, 0, pattern(CHUNK, 1));
    target.write(1, 0, pattern(50_000, 2));
    target.write(3, 70_001, pattern(20_000, 3));
    target.changeSpace(2, 0, CHUNK, SPACE_PROMISE);
    target.changeSpace(0, 300_001, 400_002, SPACE_DROP);
    const seek = seekIn(target);
    const end = 10 * CHUNK;
    assert.equal(seek(5, end, false), 5);
    assert.equal(seek(5, end, true), 300_001);
    assert.equal(seek(300_001, end, false), 400_002);
    assert.equal(seek(400_002, end, true), CHUNK + 50_000);
    assert.equal(seek(CHUNK + 50_000, end, false), 3 * CHUNK + 70_001);
    assert.equal(seek(3 * CHUNK + 80_000, end, true), 3 * CHUNK + 90_001);
    assert.equal(seek(3 * CHUNK + 90_001, end, false), -end);
    assert.equal(seek(3 * CHUNK + 80_000, 3 * CHUNK + 90_000, true), -(3 * CHUNK + 90_000));
  });

  it('is bounded: it says how far it came', () => {
    const target = new TestTarget({ totalBlocks: 20_000 });
    for (let chunk = 0; chunk < 40; chunk++) {
      assert.equal(target.changeSpace(chunk, 0, CHUNK, SPACE_PROMISE), 0);
    }
    target.write(39, 500_000, pattern(10_000, 1));
    const seek = seekIn(target);
    let from = 0;
    let calls = 0;
    for (let found = -1; found < 0; calls++) {
      found = seek(from, 40 * CHUNK, false);
      from = Math.abs(found);
    }
    assert.equal(from, 39 * CHUNK + 500_000);
    assert.equal(calls, 3);
  });
});
