/** Protects 64-bit fields: every value below 2^53 survives, every other is recognised. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import {
  isI53,
  isU53,
  readI53,
  readU16,
  readU53,
  writeI53,
  writeU16,
  writeU53,
} from '../../../src/protocol/u53.js';

const words = new Uint32Array(4);
const view = new DataView(words.buffer);

describe('53-bit fields', () => {
  it('hold unsigned values as the machine holds a u64', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        writeU53(words, 8, value);
        assert.equal(view.getBigUint64(8, true), BigInt(value));
        assert.equal(readU53(words, 8), value);
        assert.ok(isU53(words, 8));
      }),
    );
  });

  it('hold signed values as the machine holds an i64', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        writeI53(words, 8, value);
        assert.equal(view.getBigInt64(8, true), BigInt(value));
        assert.equal(readI53(words, 8), value);
        assert.ok(isI53(words, 8));
      }),
    );
  });

  it('recognise what a peer may not send', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (value) => {
        view.setBigInt64(8, value, true);
        const safe = value > -(2n ** 53n) && value < 2n ** 53n;
        assert.equal(isI53(words, 8), safe);
        assert.equal(isU53(words, 8), BigInt.asUintN(64, value) < 2n ** 53n);
      }),
    );
    view.setBigInt64(8, -(2n ** 53n), true);
    assert.equal(isI53(words, 8), false);
    view.setBigInt64(8, -(2n ** 53n) + 1n, true);
    assert.equal(isI53(words, 8), true);
  });

  it('16-bit fields leave their neighbour alone', () => {
    words[0] = 0xaaaabbbb;
    writeU16(words, 2, 0x1234);
    assert.equal(words[0], 0x1234bbbb);
    writeU16(words, 0, 0xffff);
    assert.equal(readU16(words, 0), 0xffff);
    assert.equal(readU16(words, 2), 0x1234);
  });
});
