/** Patterns of names: what the shell matches, no more and no less. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globPattern } from '../../../src/cli/glob.js';

const names = [
  'a',
  'b',
  'ab',
  'a.log',
  '.log',
  'x-1',
  'x-10',
  '[a]',
  'a*',
  '^',
  '!',
  'ä',
  'a\nb',
  'a]',
];
const patterns = [
  '*',
  '?',
  'a*',
  '*.log',
  'x-?',
  '[ab]',
  '[!a]',
  '[a-b]*',
  '\\*',
  'a\\*',
  '[[]a]',
  '+',
  'a.log',
];

describe('patterns of names', () => {
  it('match as in the shell', () => {
    // The shell says which of the names match, one line of 0 and 1 for each pattern.
    const script = 'p=$1; shift; for n; do case $n in $p) printf 1;; *) printf 0;; esac; done';
    for (const pattern of patterns) {
      const env = { ...process.env, LC_ALL: 'C.UTF-8' };
      const expected = spawnSync('bash', ['-c', script, 'bash', pattern, ...names], { env });
      const matches = globPattern('--name', pattern);
      const got = names.map((name) => (matches.test(name) ? '1' : '0')).join('');
      assert.equal(got, expected.stdout.toString(), pattern);
    }
  });

  it('say what is wrong with one that is none', () => {
    for (const pattern of ['[a', '[', '[z-a]']) {
      assert.throws(() => globPattern('--name', pattern), /^UsageError: --name: '/, pattern);
    }
  });
});
