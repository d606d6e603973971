/**
 * The chunk store under random load, against a model that keeps every chunk's bytes: writes of all
 * sizes in flight together, reads, cuts, rollbacks, abandoned writes, on small devices with random
 * delays, so that space is reused all the time; and the process killed or the power lost at random.
 *
 *   a read sees a state between its begin and its end, whole     blocks are not reused under it
 *   after a kill: the last commit; after a power loss: the last flush, with intact data
 *   at the end: stored maps and stored bitmaps agree block by block
 *
 * A failure prints its seed; SEALFS_DATA_SEED=<seed> runs that one alone.
 */
import assert from 'node:assert/strict';
import { errno } from '../../../../src/common/errno.js';
import { SPACE_DROP } from '../../../../src/server/data/chunk-changes.js';
import { SimRandom } from '../../../../src/transport/sim/sim-random.js';
import { pattern, TestRead, TestTarget, TestWrite } from './harness.js';

const CHUNK = 1 << 20;
const CHUNKS = 4;
const SEEDS = Number(process.env['SEALFS_DATA_SEEDS'] ?? 12);
const STEPS = 250;

type State = ReadonlyMap<number, Uint8Array>;

class ModelRun {
  readonly random: SimRandom;
  readonly target: TestTarget;
  /** The committed state, and those of commits that are not durable yet, oldest first. */
  state: State = new Map();
  history: { sequence: number; state: State }[] = [];
  readonly counts = { writes: 0, reads: 0, changes: 0, noSpace: 0, kills: 0, losses: 0 };
  #writing: TestWrite[] = [];
  #reading = 0;
  #number = 0;
  #epoch = 0;

  constructor(seed: number) {
    this.random = new SimRandom(seed * 7 + 3);
    const roomy = this.random.chance(0.3);
    this.target = new TestTarget({
      seed,
      devices: 1 + this.random.below(2),
      totalBlocks: roomy ? 8192 : 1500,
      maxDelayMs: this.random.chance(0.5) ? 3 : 0.2,
      flushIntervalMs: this.random.chance(0.5) ? 20 : 0,
      bulkSlots: 24,
    });
    this.#record();
  }

  run(): void {
    for (let step = 0; step < STEPS; step++) {
      this.#step();
      if (this.random.chance(0.6)) this.target.world.run(() => false, this.random.next() * 2);
    }
    this.#drain();
    this.#checkAll();
    this.target.flush();
    this.target.checkSpace();
  }

  #step(): void {
    const dice = this.random.below(100);
    if (dice < 55) this.#write();
    else if (dice < 85) this.#read();
    else if (dice < 88) this.#cut();
    else if (dice < 90) this.#changeSpace();
    else if (dice < 92) this.#crash();
    else if (dice < 96) this.target.meta.flush(() => undefined);
    else this.#rollBack();
  }

  #write(): void {
    // Each write in flight may hold a slot, and the test needs one to bring data in.
    if (this.#writing.length >= 6) return;
    const chunk = this.random.below(CHUNKS);
    const offset = this.#offset();
    const bytes = pattern(Math.min(this.#size(), CHUNK - offset), ++this.#number);
    if (bytes.length > 8192 && this.target.arena.bulk.available < 2) return;
    const write = new TestWrite();
    const epoch = this.#epoch;
    write.onWritten = (status) => {
      if (epoch !== this.#epoch) assert.fail('a killed process called back');
      this.#writing = this.#writing.filter((each) => each !== write);
      this.counts.writes++;
      if (status === errno.ENOSPC) {
        this.counts.noSpace++;
        return;
      }
      assert.equal(status, 0);
      if (this.random.chance(0.05)) {
        this.target.store.abandonWrite(write);
        return;
      }
      this.target.commit(write);
      this.#change(chunk, (before) => {
        const after = new Uint8Array(Math.max(before.length, offset + bytes.length));
        after.set(before);
        after.set(bytes, offset);
        return after;
      });
    };
    this.#writing.push(write);
    this.target.begin(write, chunk, offset, bytes);
  }

  #read(): void {
    const chunk = this.random.below(CHUNKS);
    const offset = this.random.chance(0.5) ? 0 : this.random.below(CHUNK);
    const length = this.random.chance(0.5) ? CHUNK - offset : 1 + this.random.below(CHUNK - offset);
    const possible = [this.#bytesOf(chunk, offset, length)];
    const watch = (): void => {
      possible.push(this.#bytesOf(chunk, offset, length));
    };
    const read = new TestRead();
    const epoch = this.#epoch;
    this.#reading++;
    this.#watchers.add(watch);
    read.onDone = (status) => {
      if (epoch !== this.#epoch) return;
      this.#reading--;
      this.counts.reads++;
      this.#watchers.delete(watch);
      assert.equal(status, 0, `read of chunk ${chunk}`);
      const found = read.bytes;
      assert.ok(
        possible.some((bytes) => sameBytes(found, bytes)),
        `chunk ${chunk} at ${offset}: ${found.length} bytes are of no state during the read`,
      );
    };
    this.target.beginRead(read, chunk, offset, length);
  }

  readonly #watchers = new Set<() => void>();

  #cut(): void {
    const from = this.random.below(CHUNKS * CHUNK);
    while (this.target.cut(from, 1 + this.random.below(3)) > 0);
    const after = new Map(this.state);
    for (const [chunk, bytes] of this.state) {
      const within = from - chunk * CHUNK;
      if (within <= 0) after.delete(chunk);
      else if (within < bytes.length) after.set(chunk, bytes.slice(0, within));
    }
    this.state = after;
    this.#record();
  }

  /** A promise changes no byte; a hole, or a range that is zeroed, reads as zeros. */
  #changeSpace(): void {
    const chunk = this.random.below(CHUNKS);
    const from = this.#offset();
    const to = Math.min(CHUNK, from + 1 + this.random.below(300_000));
    const how = 1 + this.random.below(3);
    const status = this.target.changeSpace(chunk, from, to, how);
    if (status !== 0) {
      assert.equal(status, errno.ENOSPC);
      assert.notEqual(how, SPACE_DROP, 'a hole needs no space');
      return;
    }
    this.counts.changes++;
    this.#change(chunk, (before) => {
      const after = before.slice();
      if ((how & SPACE_DROP) !== 0) after.fill(0, from, to);
      return after;
    });
  }

  #rollBack(): void {
    assert.throws(() => {
      this.target.store.transaction(() => {
        this.target.store.changes.cut(77, 0, [5], 10);
        throw new Error('rolled back');
      });
    }, /rolled back/);
  }

  #crash(): void {
    this.#epoch++;
    this.#writing = [];
    this.#reading = 0;
    this.#watchers.clear();
    if (this.random.chance(0.5)) {
      this.counts.kills++;
      this.target.kill();
    } else {
      this.counts.losses++;
      const durable = this.target.meta.durableSequence;
      this.target.powerLoss();
      this.state = this.history.filter((each) => each.sequence <= durable).pop()!.state;
    }
    this.target.start();
    this.history = [{ sequence: 0, state: this.state }];
    this.#checkAll();
    this.target.checkSpace();
  }

  #drain(): void {
    this.target.run(() => this.#writing.length === 0 && this.#reading === 0, 'the end');
    this.target.settle();
  }

  #checkAll(): void {
    for (let chunk = 0; chunk < CHUNKS; chunk++) {
      const found = this.target.read(chunk, 0, CHUNK);
      assert.equal(found.result, 0, `chunk ${chunk}: ${this.target.logged.join('; ')}`);
      const expected = this.#bytesOf(chunk, 0, CHUNK);
      const same = sameBytes(found.bytes, expected);
      assert.ok(same, `chunk ${chunk}: ${found.bytes.length} bytes, ${expected.length} expected`);
    }
  }

  #bytesOf(chunk: number, offset: number, length: number): Buffer {
    const bytes = this.state.get(chunk) ?? new Uint8Array(0);
    return Buffer.from(bytes.subarray(offset, offset + length));
  }

  #change(chunk: number, change: (before: Uint8Array) => Uint8Array): void {
    const after = new Map(this.state);
    after.set(chunk, change(this.state.get(chunk) ?? new Uint8Array(0)));
    this.state = after;
    this.#record();
  }

  #record(): void {
    this.history.push({ sequence: this.target.meta.commitSequence, state: this.state });
    const durable = this.target.meta.durableSequence;
    const last = this.history.findLastIndex((each) => each.sequence <= durable);
    if (last > 0) this.history.splice(0, last);
    for (const watch of this.#watchers) watch();
  }

  #offset(): number {
    const dice = this.random.below(4);
    if (dice === 0) return 0;
    if (dice === 1) return this.random.below(10_000);
    if (dice === 2) return this.random.below(256) * 4096;
    return this.random.below(CHUNK - 1);
  }

  #size(): number {
    const dice = this.random.below(6);
    if (dice === 0) return CHUNK;
    if (dice === 1) return 47008;
    if (dice === 2) return 1 + this.random.below(300_000);
    return 1 + this.random.below(9000);
  }
}

/** A read is short where the chunk's data ends; the rest is zeros, as after a cut into a hole. */
function sameBytes(found: Uint8Array, expected: Buffer): boolean {
  const both = Math.min(found.length, expected.length);
  if (!expected.subarray(0, both).equals(found.subarray(0, both))) return false;
  // Promised space behind the data makes a read longer.
  return isZero(expected.subarray(both)) && isZero(found.subarray(both));
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

describe('ChunkStore against a model', function () {
  this.timeout(120_000);
  const only = process.env['SEALFS_DATA_SEED'];
  const seeds =
    only === undefined ? Array.from({ length: SEEDS }, (_, i) => i + 1) : [Number(only)];
  for (const seed of seeds) {
    it(`seed ${seed}`, () => {
      const run = new ModelRun(seed);
      run.run();
      assert.ok(run.counts.writes > 20 && run.counts.reads > 10, JSON.stringify(run.counts));
    });
  }
});
