/** Access control lists as acl(5) has them: what is one, what mode it shows, what it hands down. */
import assert from 'node:assert/strict';
import {
  aclOfMode,
  inheritAcl,
  isAcl,
  isEmptyAcl,
  modeOfAcl,
} from '../../../src/protocol/posix-acl.js';

const tags = { u: 1, user: 2, g: 4, group: 8, m: 16, o: 32 } as const;
type Entry = [keyof typeof tags, number, number?];

function acl(...entries: Entry[]): Uint8Array {
  const buffer = Buffer.alloc(4 + 8 * entries.length);
  buffer.writeUInt32LE(2);
  entries.forEach(([tag, permissions, id], i) => {
    buffer.writeUInt16LE(tags[tag], 4 + 8 * i);
    buffer.writeUInt16LE(permissions, 6 + 8 * i);
    buffer.writeUInt32LE(id ?? 0xffffffff, 8 + 8 * i);
  });
  return new Uint8Array(buffer);
}

const minimal = acl(['u', 7], ['g', 5], ['o', 1]);
const extended = acl(['u', 7], ['user', 6, 1000], ['g', 5], ['group', 7, 7], ['m', 6], ['o', 4]);

describe('access control lists', () => {
  it('are recognized, and what only looks like one is not', () => {
    assert.ok(isAcl(minimal));
    assert.ok(isAcl(extended));
    assert.ok(isAcl(acl(['u', 7], ['g', 5], ['m', 7], ['o', 1])));
    const wrong = {
      'no version': new Uint8Array(3),
      'another version': minimal.map((byte, i) => (i === 0 ? 1 : byte)),
      'half an entry': minimal.slice(0, -4),
      'no owner': acl(['g', 5], ['o', 1]),
      'no group': acl(['u', 5], ['o', 1]),
      'no others': acl(['u', 5], ['g', 1]),
      'two owners': acl(['u', 5], ['u', 5], ['g', 1], ['o', 1]),
      'a named entry without mask': acl(['u', 7], ['user', 6, 1], ['g', 5], ['o', 1]),
      'two masks': acl(['u', 7], ['g', 5], ['m', 7], ['m', 7], ['o', 1]),
      'out of order': acl(['u', 7], ['g', 5], ['user', 6, 1], ['m', 7], ['o', 1]),
      'unknown permissions': acl(['u', 8], ['g', 5], ['o', 1]),
      'too long': acl(
        ['u', 7],
        ...Array.from({ length: 520 }, (_, i): Entry => ['user', 4, i]),
        ['g', 5],
        ['m', 7],
        ['o', 1],
      ),
    };
    for (const [why, bytes] of Object.entries(wrong)) assert.ok(!isAcl(bytes), why);
    assert.ok(isEmptyAcl(acl()));
    assert.ok(!isEmptyAcl(minimal));
  });

  it('show a mode, the mask in the place of the group', () => {
    assert.deepEqual(modeOfAcl(minimal), { permissions: 0o751, equivalent: true });
    assert.deepEqual(modeOfAcl(extended), { permissions: 0o764, equivalent: false });
    const masked = acl(['u', 7], ['g', 5], ['m', 1], ['o', 1]);
    assert.deepEqual(modeOfAcl(masked), { permissions: 0o711, equivalent: false });
  });

  it('follow chmod in a copy', () => {
    const before = extended.slice();
    const changed = aclOfMode(extended, 0o100640);
    assert.deepEqual(extended, before);
    const expected: Entry[] = [
      ['u', 6],
      ['user', 6, 1000],
      ['g', 5],
      ['group', 7, 7],
      ['m', 4],
    ];
    assert.deepEqual(changed, acl(...expected, ['o', 0]));
    assert.deepEqual(aclOfMode(minimal, 0o624), acl(['u', 6], ['g', 2], ['o', 4]));
  });

  it('are handed down as far as the asked mode permits', () => {
    const file = inheritAcl(extended, 0o100666);
    assert.equal(file.mode, 0o100664);
    const expected: Entry[] = [
      ['u', 6],
      ['user', 6, 1000],
      ['g', 5],
      ['group', 7, 7],
      ['m', 6],
    ];
    assert.deepEqual(file.access, acl(...expected, ['o', 4]));
    assert.deepEqual(file.copy, extended);
    const plain = inheritAcl(minimal, 0o042777);
    assert.equal(plain.mode, 0o042751);
    assert.equal(plain.access, null);
    assert.deepEqual(plain.copy, minimal);
  });
});
