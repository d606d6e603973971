/** Protects the real arena: its memory, its pools, and that it comes and goes with threads. */
import assert from 'node:assert/strict';
import { Worker } from 'node:worker_threads';
import { NativeArena } from '../../../src/native/arena.js';
import { ARENA_ZERO_BYTES, arenaBytes } from '../../../src/native/arena-memory.js';

describe('native arena', () => {
  const shape = { messageSlots: 8, bulkSlots: 2, receiveAreas: 1 };

  it('shows one block of zeroed memory with all slots free', () => {
    const arena = new NativeArena(shape);
    assert.ok(arena.buffer.byteLength >= arenaBytes(shape));
    assert.ok(arena.fd > 2);
    assert.equal(arena.messages.available, 8);
    assert.equal(arena.bulk.available, 2);
    const zeros = arena.bytes.subarray(arena.zeroOffset, arena.zeroOffset + ARENA_ZERO_BYTES);
    assert.ok(zeros.every((byte) => byte === 0));
  });

  it('lends each slot once and takes it back by any offset inside', () => {
    const arena = new NativeArena(shape);
    const slots = Array.from({ length: 8 }, () => arena.messages.take());
    assert.equal(new Set(slots).size, 8);
    assert.equal(arena.messages.take(), 0);
    for (const slot of slots) arena.messages.give(slot + 77);
    assert.equal(arena.messages.available, 8);
    assert.throws(() => arena.messages.give(slots[0]!), RangeError);
  });

  it('refuses more than offsets can name', () => {
    assert.throws(() => new NativeArena({ messageSlots: 8000, bulkSlots: 8000 }), /4 GiB/);
    assert.throws(() => new NativeArena({ messageSlots: 9000, bulkSlots: 1 }), /too many slots/);
  });

  it('belongs to one thread each, and ends with it', async () => {
    const url = new URL('./core-worker.js', import.meta.url);
    const codes = await Promise.all(
      ['finish', 'exit', 'terminate'].map(
        (end) =>
          new Promise<number>((resolve, reject) => {
            const worker = new Worker(url, { workerData: end });
            worker.once('message', () => {
              if (end === 'terminate') void worker.terminate();
            });
            worker.once('error', reject);
            worker.once('exit', resolve);
          }),
      ),
    );
    assert.deepEqual(codes, [0, 3, 1]);
  });
});
