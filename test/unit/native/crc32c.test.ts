/** The JavaScript face of CRC-32C: arguments arrive right, ranges are checked. The arithmetic is
 * tested in native/tests/crc32c_test.cc. */
import assert from 'node:assert/strict';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import {
  crc32c,
  crc32cBlocks,
  crc32cCombine,
  crc32cCombineBlocks,
  crc32cExtendZeros,
  crc32cOf,
  crc32cVerifyBlocks,
} from '../../../src/native/crc32c.js';

describe('crc32c', () => {
  const arena = createPlainArena({ messageSlots: 2, bulkSlots: 1 });
  const at = arena.bulk.take();
  const words = arena.messages.take();
  for (let i = 0; i < 50_000; i++) arena.bytes[at + i] = (i * 31) ^ (i >> 8);

  it('knows the check value', () => {
    assert.equal(crc32cOf(Buffer.from('123456789')), 0xe3069283);
    assert.equal(crc32cOf(new Uint8Array(32)), 0x8a9136aa);
  });

  it('continues, combines and extends', () => {
    const whole = crc32c(arena, at, 50_000);
    const head = crc32c(arena, at, 12_345);
    assert.equal(crc32c(arena, at + 12_345, 50_000 - 12_345, head), whole);
    const tail = crc32c(arena, at + 12_345, 50_000 - 12_345);
    assert.equal(crc32cCombine(head, tail, 50_000 - 12_345), whole);
    const padded = Buffer.alloc(60_000);
    padded.set(arena.bytes.subarray(at, at + 50_000));
    assert.equal(crc32cExtendZeros(whole, 10_000), crc32cOf(padded));
  });

  it('makes and verifies one CRC a block, the last zero-padded, without touching the data', () => {
    arena.bytes.fill(0xab, at + 50_000, at + 53_248);
    crc32cBlocks(arena, at, 50_000, words);
    assert.equal(arena.words[words / 4], crc32c(arena, at, 4096));
    assert.equal(crc32cVerifyBlocks(arena, at, 50_000, words), -1);
    assert.equal(arena.bytes[at + 50_000], 0xab);
    const whole = crc32c(arena, at, 12 * 4096);
    assert.equal(crc32cCombineBlocks(arena, words, 12), whole);
    arena.bytes[at + 49_999]! ^= 1;
    assert.equal(crc32cVerifyBlocks(arena, at, 50_000, words), 12);
    arena.bytes[at + 49_999]! ^= 1;
  });

  it('refuses ranges outside the arena', () => {
    const end = arena.buffer.byteLength;
    assert.throws(() => crc32c(arena, end - 10, 11), RangeError);
    assert.throws(() => crc32c(arena, -1, 1), RangeError);
    assert.throws(() => crc32c(arena, 0.5, Number.NaN), RangeError);
    assert.throws(() => {
      crc32cBlocks(arena, at, 8192, end - 4);
    }, RangeError);
    assert.throws(() => crc32cVerifyBlocks(arena, at, 4096, words + 2), RangeError);
  });
});
