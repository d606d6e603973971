/**
 * The extent map against a model that keeps, for each byte of a chunk, which byte of which block
 * (or of the value) holds it. Protects: trimming, splitting, joining, CRCs that follow their
 * blocks, inline bytes, and that exactly the blocks without live bytes are freed.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ExtentMap, INLINE_DEVICE } from '../../../../src/server/data/extent-map.js';
import { BlockRuns, splice } from '../../../../src/server/data/splice.js';

const CHUNK = 1 << 20;
const BLOCK = 4096;

/** What byte `offset` of the chunk is: -1 a hole, else a number that says where it comes from. */
function sourceOf(map: ExtentMap, offset: number): number {
  const i = map.firstEndingAfter(offset);
  if (i === map.count || map.offsets[i]! > offset) return -1;
  const delta = offset - map.offsets[i]!;
  if (map.devices[i] === INLINE_DEVICE) return 1e15 + map.inline[map.blocks[i]! + delta]!;
  return map.devices[i]! * 1e12 + map.blocks[i]! * BLOCK + map.skips[i]! + delta;
}

/** A block's CRC in this test is a function of its address: so misplaced CRCs show. */
function crcOf(device: number, block: number): number {
  return (device * 0x9e3779b1 + block * 0x85ebca6b) >>> 0;
}

class Model {
  map = new ExtentMap();
  spare = new ExtentMap();
  readonly bytes = new Float64Array(CHUNK).fill(-1);
  readonly used = new Set<number>();
  end = 0;
  nextBlock = 1;
  inlineByte = 0;

  write(start: number, length: number, pieces: number, gap: number): void {
    const patch = new ExtentMap();
    if (start + length <= 8192) {
      const data = new Uint8Array(length).fill(++this.inlineByte & 255);
      patch.appendInline(start, length, data, 0);
      this.bytes.fill(1e15 + (this.inlineByte & 255), start, start + length);
    } else {
      this.#writeBlocks(patch, start, length, pieces, gap);
    }
    this.end = Math.max(this.end, start + length);
    this.#apply(patch, start, start + length);
  }

  cut(from: number): void {
    this.bytes.fill(-1, from);
    this.end = Math.min(this.end, from);
    this.#apply(new ExtentMap(), from, 0xffffffff);
    this.map.end = this.end;
  }

  #writeBlocks(patch: ExtentMap, start: number, length: number, pieces: number, gap: number): void {
    const total = Math.ceil(length / BLOCK);
    const run = Math.max(1, Math.ceil(total / pieces));
    for (let done = 0; done < total; done += run) {
      const blocks = Math.min(run, total - done);
      const first = this.nextBlock;
      this.nextBlock += blocks + gap;
      const crcs = Uint32Array.from({ length: blocks }, (_, i) => crcOf(3, first + i));
      const from = start + done * BLOCK;
      const bytes = Math.min(length - done * BLOCK, blocks * BLOCK);
      patch.append(from, bytes, 3, 0, first, crcs, 0);
      for (let i = 0; i < bytes; i++) this.bytes[from + i] = 3e12 + first * BLOCK + i;
      for (let i = 0; i < blocks; i++) this.used.add(first + i);
    }
  }

  #apply(patch: ExtentMap, start: number, stop: number): void {
    const freed = new BlockRuns();
    splice(this.map, patch, start, stop, this.spare, freed);
    for (let i = 0; i < freed.count; i++) {
      for (let k = 0; k < freed.lengths[i]!; k++) {
        assert.ok(this.used.delete(freed.blocks[i]! + k), 'freed a block that was not in use');
      }
    }
    [this.map, this.spare] = [this.spare, this.map];
  }

  check(): void {
    const reloaded = new ExtentMap();
    reloaded.load(this.map.store().slice());
    assert.equal(reloaded.end, this.end);
    const step = 61; // bytes between samples, and every border
    const samples = new Set<number>([0, CHUNK - 1]);
    for (let at = 0; at < CHUNK; at += step) samples.add(at);
    for (let i = 0; i < reloaded.count; i++) {
      const offset = reloaded.offsets[i]!;
      const end = offset + reloaded.lengths[i]!;
      for (const at of [offset - 1, offset, end - 1, end]) {
        if (at >= 0 && at < CHUNK) samples.add(at);
      }
    }
    for (const at of samples) {
      const expected = this.bytes[at]!;
      const found = sourceOf(reloaded, at);
      // A value of kind 1 has zeros, not holes, between inline bytes.
      if (expected === -1 && found === 1e15) continue;
      assert.equal(found, expected, `byte ${at}`);
    }
    this.#checkBlocks(reloaded);
  }

  #checkBlocks(map: ExtentMap): void {
    const touched = new Set<number>();
    for (let i = 0; i < map.count; i++) {
      for (let k = 0; k < map.blockCount(i); k++) {
        const block = map.blocks[i]! + k;
        touched.add(block);
        assert.equal(map.crcs[map.crcStarts[i]! + k], crcOf(3, block), `CRC of block ${block}`);
      }
    }
    assert.deepEqual([...touched].sort(), [...this.used].sort(), 'blocks in use');
  }
}

const position = fc.oneof(
  fc.integer({ min: 0, max: CHUNK - 1 }),
  fc.integer({ min: 0, max: 20000 }),
  fc.integer({ min: 0, max: 255 }).map((block) => block * BLOCK),
);
const size = fc.oneof(
  fc.integer({ min: 1, max: 9000 }),
  fc.integer({ min: 1, max: 200000 }),
  fc.constantFrom(BLOCK, 2 * BLOCK, 47008, CHUNK),
);
const operation = fc.record({
  cut: fc.integer({ min: 0, max: 9 }).map((dice) => dice === 0),
  start: position,
  size,
  pieces: fc.integer({ min: 1, max: 4 }),
  gap: fc.integer({ min: 0, max: 1 }),
});

describe('ExtentMap', () => {
  it('agrees with a byte model under random writes and cuts', () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 40 }), (operations) => {
        const model = new Model();
        for (const each of operations) {
          if (each.cut) model.cut(each.start);
          else {
            const length = Math.min(each.size, CHUNK - each.start);
            model.write(each.start, length, each.pieces, each.gap);
          }
        }
        model.check();
      }),
      { numRuns: 150 },
    );
  });

  it('joins writes that follow each other in file and on the device', () => {
    const model = new Model();
    for (let i = 0; i < 64; i++) model.write(65536 + i * BLOCK, BLOCK, 1, 0);
    assert.equal(model.map.count, 1);
    model.check();
  });

  it('keeps a small file in the value, byte for byte', () => {
    const map = new ExtentMap();
    map.appendInline(10, 5, Uint8Array.of(1, 2, 3, 4, 5), 0);
    const value = map.store();
    assert.equal(value.length, 8 + 15);
    assert.deepEqual([...value.subarray(8 + 8)], [0, 0, 1, 2, 3, 4, 5]);
  });

  it('does not free a block that a sibling of the same write still needs', () => {
    const model = new Model();
    model.write(100000, 3 * BLOCK, 1, 1);
    model.write(100000 + 1000, 100, 1, 1); // splits inside the first block
    model.write(100000 + 500, 600, 1, 1); // covers the middle: the block stays, head and tail live
    model.check();
    model.write(100000, 500, 1, 1);
    model.check();
    model.write(100000 + 1000, BLOCK, 1, 1);
    model.check();
  });

  it('refuses damaged values', () => {
    const map = new ExtentMap();
    map.append(50000, 10000, 1, 0, 7, Uint32Array.of(1, 2, 3), 0);
    const good = map.store().slice();
    for (const damage of [
      good.subarray(0, 4),
      good.subarray(0, good.length - 1),
      Uint8Array.of(...good, 0),
      Uint8Array.from(good, (byte, i) => (i === 0 ? 9 : byte)),
      Uint8Array.from(good, (byte, i) => (i === 2 ? 200 : byte)),
      Uint8Array.from(good, (byte, i) => (i === 11 ? 0xff : byte)),
      Uint8Array.from(good, (byte, i) => (i === 4 ? 0 : i === 5 ? 1 : i === 6 ? 0 : byte)),
    ]) {
      assert.throws(() => {
        new ExtentMap().load(damage);
      }, /damaged/);
    }
    new ExtentMap().load(good);
  });

  it('refuses inline extents behind the inline bytes, and an end behind the chunk', () => {
    const map = new ExtentMap();
    map.appendInline(0, 5, Uint8Array.of(1, 2, 3, 4, 5), 0);
    map.append(50000, 4096, 1, 0, 7, Uint32Array.of(1), 0);
    const good = map.store().slice();
    for (const at of [8 + 12, 8 + 13, 6]) {
      const damaged = good.slice();
      damaged[at] = 0x7f; // the inline extent's position, or the chunk's end
      assert.throws(() => {
        new ExtentMap().load(damaged);
      }, /damaged/);
    }
  });
});
