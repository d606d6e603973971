/** Sizes as people write them. Protects: the meaning of every suffix, and one clear error. */
import assert from 'node:assert/strict';
import { formatBytes, parseSize } from '../../../src/common/sizes.js';

describe('parseSize', () => {
  const good: [string, number][] = [
    ['0', 0],
    ['4096', 4096],
    ['1B', 1],
    ['1k', 1024],
    ['512MiB', 512 * 2 ** 20],
    ['10G', 10 * 2 ** 30],
    ['10 GiB', 10 * 2 ** 30],
    ['2GB', 2e9],
    ['1.5T', 1.5 * 2 ** 40],
    ['7P', 7 * 2 ** 50],
  ];
  for (const [text, bytes] of good) {
    it(`reads ${text}`, () => {
      assert.equal(parseSize(text, '--size'), bytes);
    });
  }

  for (const text of ['', 'G', '-1', '1X', '1e3', '0x10', '10GG', '1,5G', 'ten', '1 2', 'NaN']) {
    it(`refuses '${text}'`, () => {
      assert.throws(() => parseSize(text, '--size'), {
        code: 'USAGE',
        message:
          `--size: '${text}' is not a size; ` +
          'expected a number of bytes such as 4096, 512MiB or 10G',
      });
    });
  }

  it('refuses what a number cannot hold exactly', () => {
    assert.throws(() => parseSize('8P', '--size'), { code: 'USAGE', message: /too large/ });
    assert.throws(() => parseSize('9'.repeat(400), '--size'), { message: /too large/ });
  });
});

describe('formatBytes', () => {
  const cases: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1023, '1.00 KiB'],
    [1536, '1.50 KiB'],
    [10 * 2 ** 20, '10.0 MiB'],
    [999 * 2 ** 20, '999 MiB'],
    [1023.9 * 2 ** 20, '1.00 GiB'],
    [2 ** 50, '1.00 PiB'],
    [2 ** 53, '8.00 PiB'],
  ];
  for (const [bytes, text] of cases) {
    it(`writes ${bytes} as ${text}`, () => {
      assert.equal(formatBytes(bytes), text);
    });
  }
});
