/** Directory records from the wire: whatever bytes come, the cursor stays inside them. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { EntryCursor } from '../../../src/client/listing-page.js';
import { writeU16, writeU53 } from '../../../src/protocol/u53.js';
import { Attributes, DirEntry } from '../../../src/protocol/wire.generated.js';

interface Entry {
  inode: number;
  cookie: number;
  name: Uint8Array;
  withAttributes: boolean;
}

function pack(entries: Entry[]): Uint8Array {
  const bytes = new Uint8Array(65_536);
  const words = new Uint32Array(bytes.buffer);
  let at = 0;
  for (const entry of entries) {
    writeU53(words, at + DirEntry.inode, entry.inode);
    writeU53(words, at + DirEntry.cookie, entry.cookie);
    writeU16(words, at + DirEntry.nameBytes, entry.name.length);
    writeU16(words, at + DirEntry.hasAttributes, entry.withAttributes ? 1 : 0);
    const name = at + DirEntry.SIZE + (entry.withAttributes ? Attributes.SIZE : 0);
    bytes.set(entry.name, name);
    at = (name + entry.name.length + 7) & ~7;
  }
  return bytes.subarray(0, at);
}

describe('directory entry cursor', () => {
  it('returns what was packed', () => {
    const entry = fc.record({
      inode: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
      cookie: fc.integer({ min: 1, max: 2 ** 52 }),
      name: fc.uint8Array({ minLength: 1, maxLength: 255 }),
      withAttributes: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 50 }), (entries) => {
        const bytes = pack(entries);
        const cursor = new EntryCursor();
        cursor.start(new Uint32Array(bytes.buffer), 0, bytes.length);
        for (const each of entries) {
          assert.ok(cursor.next());
          assert.equal(cursor.inode, each.inode);
          assert.equal(cursor.cookie, each.cookie);
          const name = bytes.subarray(cursor.nameOffset, cursor.nameOffset + cursor.nameBytes);
          assert.deepEqual([...name], [...each.name]);
          assert.equal(cursor.attributesOffset !== 0, each.withAttributes);
        }
        assert.ok(!cursor.next());
        assert.ok(!cursor.malformed);
      }),
    );
  });

  it('stays inside any garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (garbage) => {
        const length = garbage.length & ~7;
        const words = new Uint32Array(2048);
        new Uint8Array(words.buffer).set(garbage.subarray(0, length));
        const cursor = new EntryCursor();
        cursor.start(words, 0, length);
        let steps = 0;
        while (cursor.next()) {
          assert.ok(cursor.nameOffset + cursor.nameBytes <= length);
          assert.ok(++steps <= length / DirEntry.SIZE);
        }
      }),
    );
  });
});
