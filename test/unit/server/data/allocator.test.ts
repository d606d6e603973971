/**
 * Space: the bitmap's searches against a simple model, and the allocator's books across commit,
 * rollback, quarantine and restart.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Allocator } from '../../../../src/server/data/allocator.js';
import { BlockBitmap, countBits, markWords } from '../../../../src/server/data/block-bitmap.js';
import { regionKey } from '../../../../src/server/data/keys.js';
import { MemoryMetaStore } from '../../../../src/server/memory-meta-store.js';
import { SimScheduler } from '../../../../src/transport/sim/sim-scheduler.js';
import { SimWorld } from '../../../../src/transport/sim/sim-world.js';

function newStore(): MemoryMetaStore {
  return new MemoryMetaStore({ scheduler: new SimScheduler(new SimWorld(1), 'store') });
}

describe('BlockBitmap', () => {
  it('counts and marks bits', () => {
    for (const word of [0, 1, 0x80000000, 0xffffffff, 0x12345678]) {
      const bits = [...word.toString(2)].filter((digit) => digit === '1').length;
      assert.equal(countBits(word), bits);
    }
    const words = new Uint32Array(4);
    assert.equal(markWords(words, 5, 100, true), 95);
    assert.equal(markWords(words, 0, 32, true), 5);
    assert.equal(markWords(words, 31, 33, false), 2);
    assert.deepEqual([...words], [0x7fffffff, 0xfffffffe, 0xffffffff, 0xf]);
  });

  it('finds what a plain array finds', () => {
    const blocks = 20_000; // over two regions and a part
    const step = fc.record({
      block: fc.nat(blocks - 1),
      count: fc.integer({ min: 1, max: 6000 }),
      take: fc.boolean(),
    });
    const search = fc.record({ wanted: fc.integer({ min: 1, max: 300 }), from: fc.nat(blocks) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.array(search), (steps, searches) => {
        const bitmap = new BlockBitmap(blocks);
        const model = new Uint8Array(blocks);
        for (const { block, count, take } of steps) {
          const end = Math.min(blocks, block + count);
          model.fill(take ? 1 : 0, block, end);
          bitmap.mark(block, end - block, take);
        }
        assert.equal(bitmap.freeBlocks, model.filter((taken) => taken === 0).length);
        for (const { wanted, from } of searches) {
          const length = bitmap.find(wanted, from);
          assert.ok(length <= wanted);
          const run = model.subarray(bitmap.foundBlock, bitmap.foundBlock + length);
          assert.ok(run.every((taken) => taken === 0));
          if (length < wanted) assert.equal(length, longestRun(model, wanted));
        }
      }),
      { numRuns: 60 },
    );
  });
});

/** At most `most`. */
function longestRun(model: Uint8Array, most: number): number {
  let best = 0;
  for (let i = 0, run = 0; i < model.length; i++) {
    run = model[i] === 0 ? run + 1 : 0;
    best = Math.max(best, run);
  }
  return Math.min(best, most);
}

describe('Allocator', () => {
  const commit = (store: MemoryMetaStore, allocator: Allocator, body: () => void): void => {
    store.transaction(() => {
      body();
      allocator.seal();
    });
    allocator.committed(store.commitSequence);
  };

  it('gives out space in order, and again only after the quarantine', () => {
    const store = newStore();
    const allocator = new Allocator(store);
    allocator.addDevice(2, 1024);
    assert.equal(allocator.allocate(2, 100, 0, false), 100);
    const first = allocator.allocatedBlock;
    assert.equal(first, 1);
    assert.equal(allocator.allocate(2, 100, 0, false), 100);
    assert.equal(allocator.allocatedBlock, 101);
    commit(store, allocator, () => {
      allocator.commitAllocated(2, 1, 200);
    });
    const free = allocator.freeBlocks(2);
    commit(store, allocator, () => {
      allocator.commitFreed(2, 1, 50);
    });
    assert.equal(allocator.freeBlocks(2), free + 50);
    assert.equal(allocator.allocatableBlocks(2), free);
    allocator.releaseUpTo(store.commitSequence - 1);
    assert.equal(allocator.allocatableBlocks(2), free);
    allocator.releaseUpTo(store.commitSequence);
    assert.equal(allocator.allocatableBlocks(2), free + 50);
    assert.equal(allocator.quarantinedBlocks, 0);
  });

  it('refuses regions that say the superblock or blocks behind the end are in use', () => {
    for (const block of [0, 1000, 1023, 1024]) {
      const store = newStore();
      const value = new Uint8Array(1024);
      value[block >>> 3] = 1 << (block & 7);
      store.transaction(() => {
        store.put(regionKey(0, 0), value);
      });
      assert.throws(() => {
        new Allocator(store).addDevice(0, 1000);
      }, /in use/);
    }
  });

  it('keeps a reserve that only compaction may use', () => {
    const allocator = new Allocator(newStore());
    allocator.addDevice(0, 6400);
    assert.equal(allocator.usableBlocks(0), 6400 - 1 - 100);
    let taken = 0;
    for (let run = 1; run > 0; taken += run) run = allocator.allocate(0, 1000, 0, false);
    assert.equal(taken, 6299);
    assert.equal(allocator.allocate(0, 1000, 0, true), 100);
  });

  it('forgets a rolled-back transaction and loads what was committed', () => {
    const store = newStore();
    const allocator = new Allocator(store);
    allocator.addDevice(0, 30_000);
    assert.equal(allocator.allocate(0, 20_000, 0, false), 20_000);
    commit(store, allocator, () => {
      allocator.commitAllocated(0, 1, 20_000);
    });
    assert.throws(() => {
      store.transaction(() => {
        allocator.commitFreed(0, 1, 10_000);
        allocator.seal();
        throw new Error('no');
      });
    });
    allocator.aborted();
    const again = new Allocator(store);
    again.addDevice(0, 30_000);
    assert.equal(again.freeBlocks(0), allocator.freeBlocks(0));
    assert.equal(again.allocate(0, 100, 0, false), 100);
    assert.equal(again.allocatedBlock, 20_001);
    assert.equal(again.allocate(0, 100, 5, false), 100);
    assert.ok(again.allocatedBlock > 20_000, 'a preferred block that is taken is not given out');
  });

  it('refuses books that do not balance', () => {
    const store = newStore();
    const allocator = new Allocator(store);
    allocator.addDevice(0, 1024);
    allocator.allocate(0, 10, 0, false);
    assert.throws(() => {
      store.transaction(() => {
        allocator.commitFreed(0, 1, 10);
      });
    }, /free already/);
    allocator.aborted();
    commit(store, allocator, () => {
      allocator.commitAllocated(0, 1, 10);
    });
    assert.throws(() => {
      store.transaction(() => {
        allocator.commitAllocated(0, 5, 1);
      });
    }, /used already/);
    allocator.aborted();
    assert.throws(() => {
      allocator.unreserve(0, 500, 1);
    }, /freed twice/);
  });
});
