/**
 * Chunks that share blocks. Protects: a clone reads what its source had and keeps it whatever
 * happens to the source; every block is counted for exactly the chunks that use it, so it is freed
 * with the last of them and not before, over rollbacks, kills, losses of power and compaction.
 *
 * A failure of the random test prints its seed; SEALFS_CLONE_SEED=<seed> runs that one alone.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { SPACE_DROP, SPACE_PROMISE } from '../../../../src/server/data/chunk-changes.js';
import { SharedBlocks } from '../../../../src/server/data/shared-blocks.js';
import { BlockRuns } from '../../../../src/server/data/splice.js';
import { MemoryMetaImage, MemoryMetaStore } from '../../../../src/server/memory-meta-store.js';
import { SimRandom } from '../../../../src/transport/sim/sim-random.js';
import { idleScheduler } from '../namespace-harness.js';
import { BUCKET, pattern, sharedBlocks, TestTarget } from './harness.js';

const CHUNK = 1 << 20;
const BLOCK = 4096;

describe('SharedBlocks', () => {
  it('counts each block as a model does, in runs as few as possible', function () {
    this.timeout(60_000);
    const change = fc.record({
      share: fc.boolean(),
      device: fc.nat(1),
      block: fc.integer({ min: 1, max: 60 }),
      count: fc.integer({ min: 1, max: 20 }),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const image = new MemoryMetaImage();
        const store = new MemoryMetaStore({ scheduler: idleScheduler, image });
        const model = new Map<string, number>();
        const shared = new SharedBlocks(store);
        for (const { share, device, block, count } of changes) {
          const free = new BlockRuns();
          const expected: string[] = [];
          store.transaction(() => {
            if (share) shared.share(device, block, count);
            else shared.release(device, block, count, free);
          });
          for (let at = block; at < block + count; at++) {
            const name = `${device}:${at}`;
            const extra = (model.get(name) ?? 0) + (share ? 1 : -1);
            if (extra < 0) expected.push(name);
            if (extra > 0) model.set(name, extra);
            else model.delete(name);
          }
          const freed: string[] = [];
          for (let i = 0; i < free.count; i++) {
            for (let k = 0; k < free.lengths[i]!; k++) {
              freed.push(`${free.devices[i]!}:${free.blocks[i]! + k}`);
            }
          }
          assert.deepEqual(freed, expected, 'freed');
          const sorted = (map: Map<string, number>): string => JSON.stringify([...map].sort());
          assert.equal(sorted(sharedBlocks(image.values)), sorted(model));
        }
        assert.equal(new SharedBlocks(store).any, model.size > 0);
      }),
    );
  });

  it('joins neighbours of the same count', () => {
    const image = new MemoryMetaImage();
    const store = new MemoryMetaStore({ scheduler: idleScheduler, image });
    const shared = new SharedBlocks(store);
    store.transaction(() => {
      shared.share(0, 10, 5);
      shared.share(0, 20, 5);
      shared.share(0, 15, 5);
    });
    assert.equal(image.values.size, 1);
  });
});

describe('clones of chunks', () => {
  function free(target: TestTarget): number {
    return target.store.capacity().freeBytes / BLOCK;
  }

  it('share blocks until one side writes, and outlive their source', () => {
    const target = new TestTarget();
    const empty = free(target);
    const data = pattern(CHUNK, 1);
    target.write(0, 0, data);
    target.write(1, 0, data.subarray(0, 100_000));
    const before = free(target);
    assert.equal(target.clone(77, 78, [0, 1, 2], 0, CHUNK), 0);
    assert.equal(free(target), before, 'a clone takes no space');
    assert.deepEqual(target.read(0, 0, CHUNK, 78).bytes, data);
    assert.equal(target.read(1, 0, CHUNK, 78).bytes.length, 100_000);
    target.checkSpace();
    target.write(0, 300_000, pattern(50_000, 2));
    assert.deepEqual(target.read(0, 0, CHUNK, 78).bytes, data);
    target.checkSpace();
    target.cut(0);
    target.flush();
    target.checkSpace();
    assert.deepEqual(target.read(0, 0, CHUNK, 78).bytes, data);
    target.cut(0, 100, 78);
    target.flush();
    target.checkSpace();
    assert.equal(free(target), empty);
  });

  it('of a part take that part alone, inline bytes included, promises not', () => {
    const target = new TestTarget();
    const data = pattern(200_000, 1);
    target.write(0, 0, data.subarray(0, 5000));
    target.write(0, 100_000, data.subarray(100_000));
    target.changeSpace(0, 0, CHUNK, SPACE_PROMISE);
    data.fill(0, 5000, 100_000);
    const old = pattern(CHUNK, 9);
    target.write(0, 0, old, 78);
    assert.equal(target.clone(77, 78, [0], 3001, 150_003), 0);
    old.set(data.subarray(3001, 150_003), 3001);
    assert.deepEqual(target.read(0, 0, CHUNK, 78).bytes, old);
    target.flush();
    target.checkSpace();
    assert.equal(target.clone(77, 78, [0], 3001, 150_003), 0);
    assert.deepEqual(target.read(0, 0, CHUNK, 78).bytes, old, 'the same again');
    target.checkSpace();
  });

  it('a rollback leaves no count behind', () => {
    const target = new TestTarget();
    target.write(0, 0, pattern(CHUNK, 1));
    assert.throws(() => {
      target.store.transaction(() => {
        target.store.changes.cloneChunk(BUCKET, 77, BUCKET, 78, 0, 0, CHUNK);
        throw new Error('undone');
      });
    }, /undone/);
    assert.equal(target.clone(77, 79, [0], 0, CHUNK), 0);
    target.checkSpace();
    target.cut(0);
    target.cut(0, 100, 79);
    target.checkSpace();
  });

  it('many share runs: a long file costs few', () => {
    const target = new TestTarget({ totalBlocks: 8192 });
    for (let chunk = 0; chunk < 16; chunk++) target.write(chunk, 0, pattern(CHUNK, chunk));
    const chunks = Array.from({ length: 16 }, (_, i) => i);
    assert.equal(target.clone(77, 78, chunks, 0, CHUNK), 0);
    const runs = [...target.image.values.keys()].filter((key) => key.startsWith('\xff\xffR'));
    assert.equal(runs.length, 1);
    target.checkSpace();
  });
});

/** Random operations on the chunks of four files, against their bytes. */
class CloneRun {
  readonly random: SimRandom;
  readonly target: TestTarget;
  state = new Map<string, Uint8Array>();
  history: { sequence: number; state: Map<string, Uint8Array> }[] = [];
  #number = 0;

  constructor(seed: number) {
    this.random = new SimRandom(seed * 13 + 5);
    this.target = new TestTarget({ seed, devices: 1 + this.random.below(2), totalBlocks: 4000 });
    this.#record();
  }

  run(): void {
    for (let step = 0; step < 120; step++) {
      this.#step();
      this.target.checkSpace();
    }
    this.#check();
    for (const inode of [77, 78, 79, 80]) this.target.cut(0, 100, inode);
    this.target.flush();
    this.target.checkSpace();
    assert.equal(sharedBlocks(this.target.image.values).size, 0);
    const { freeBytes, totalBytes } = this.target.store.capacity();
    assert.equal(freeBytes, totalBytes);
  }

  #step(): void {
    const inode = 77 + this.random.below(4);
    const chunk = this.random.below(2);
    const whole = this.random.chance(0.4);
    const from = whole ? 0 : this.random.below(CHUNK - 1);
    const to = whole ? CHUNK : Math.min(CHUNK, from + 1 + this.random.below(300_000));
    const dice = this.random.below(100);
    if (dice < 40) this.#clone(77 + this.random.below(4), inode, chunk, from, to);
    else if (dice < 75) this.#write(inode, chunk);
    else if (dice < 85) {
      const how = this.random.chance(0.5) ? SPACE_DROP : SPACE_DROP | SPACE_PROMISE;
      if (this.target.changeSpace(chunk, from, to, how, inode) !== 0) return;
      this.#change(inode, chunk, (bytes) => bytes.fill(0, from, to));
    } else if (dice < 91) {
      this.target.cut(from, 100, inode);
      this.#change(inode, 0, (bytes) => bytes.fill(0, from));
      this.#change(inode, 1, (bytes) => bytes.fill(0));
    } else if (dice < 94) this.target.flush(false);
    else if (dice < 96) this.target.settle();
    else this.#crash();
  }

  #clone(source: number, inode: number, chunk: number, from: number, to: number): void {
    if (source === inode) return;
    assert.equal(this.target.clone(source, inode, [chunk], from, to), 0);
    const bytes = this.#bytes(source, chunk);
    this.#change(inode, chunk, (mine) => {
      mine.set(bytes.subarray(from, to), from);
    });
  }

  #write(inode: number, chunk: number): void {
    const offset = this.random.chance(0.3) ? 0 : this.random.below(CHUNK - 1);
    const length = Math.min(CHUNK - offset, 1 + this.random.below(200_000));
    const bytes = pattern(length, ++this.#number);
    if (this.target.write(chunk, offset, bytes, inode) !== 0) return;
    this.#change(inode, chunk, (mine) => {
      mine.set(bytes, offset);
    });
  }

  #crash(): void {
    const durable = this.target.meta.durableSequence;
    if (this.random.chance(0.5)) this.target.kill();
    else {
      this.target.powerLoss();
      this.state = this.history.filter((each) => each.sequence <= durable).pop()!.state;
    }
    this.target.start();
    this.history = [{ sequence: 0, state: this.state }];
    this.#check();
  }

  #bytes(inode: number, chunk: number): Uint8Array {
    return this.state.get(`${inode}:${chunk}`) ?? new Uint8Array(CHUNK);
  }

  #change(inode: number, chunk: number, change: (bytes: Uint8Array) => void): void {
    const bytes = this.#bytes(inode, chunk).slice();
    change(bytes);
    this.state = new Map(this.state).set(`${inode}:${chunk}`, bytes);
    this.#record();
  }

  #record(): void {
    this.history.push({ sequence: this.target.meta.commitSequence, state: this.state });
    const durable = this.target.meta.durableSequence;
    const last = this.history.findLastIndex((each) => each.sequence <= durable);
    if (last > 0) this.history.splice(0, last);
  }

  #check(): void {
    for (const inode of [77, 78, 79, 80]) {
      for (const chunk of [0, 1]) {
        const read = this.target.read(chunk, 0, CHUNK, inode);
        assert.equal(read.result, 0);
        const found = new Uint8Array(CHUNK);
        found.set(read.bytes);
        assert.ok(Buffer.from(found).equals(this.#bytes(inode, chunk)), `${inode}:${chunk}`);
      }
    }
  }
}

describe('clones against a model', function () {
  this.timeout(120_000);
  const only = process.env['SEALFS_CLONE_SEED'];
  const seeds = only === undefined ? [1, 2, 3, 4, 5, 6, 7, 8] : [Number(only)];
  for (const seed of seeds) {
    it(`seed ${seed}`, () => {
      new CloneRun(seed).run();
    });
  }
});
