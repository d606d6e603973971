/** What fsck takes for a value is what targets write. */
import assert from 'node:assert/strict';
import { cutProblem } from '../../../src/fsck/values.js';
import { makeInode } from '../../../src/placement/inode-number.js';
import { IntentCodec } from '../../../src/server/cut-job.js';

describe('values that fsck reads', () => {
  it('cut intents, of this version and of earlier ones', () => {
    const inode = makeInode(7, 9);
    const cut = { inode, fromByte: 5, layout: 0, bytes: 1000, oneChunk: true };
    const value = Uint8Array.from(new IntentCodec().encode(cut));
    assert.equal(cutProblem(value), '');
    assert.equal(cutProblem(value.subarray(0, 24)), '');
    for (const length of [0, 16, 39]) {
      assert.equal(cutProblem(value.subarray(0, length)), `has ${length} bytes`);
    }
    assert.equal(cutProblem(new Uint8Array(48)), 'has 48 bytes');
    assert.equal(cutProblem(new Uint8Array(40)), 'names no place');
  });
});
