/** The table of leases against a Map, over random operations. */
import assert from 'node:assert/strict';
import { HeldLease, LeaseTable } from '../../../../src/server/leases/lease-table.js';
import { SimRandom } from '../../../../src/transport/sim/sim-random.js';

interface Key {
  session: number;
  kind: number;
  inode: number;
  hash: number;
}

function randomKey(random: SimRandom): Key {
  return {
    session: 1 + random.below(20),
    kind: 1 + random.below(3),
    inode: random.below(40) * 2 ** 40 + random.below(60),
    hash: random.chance(0.5) ? 0 : random.below(4) * 2 ** 40 + random.below(7),
  };
}

function text(key: Key): string {
  return `${key.session} ${key.kind} ${key.inode} ${key.hash}`;
}

function agree(seed: number): void {
  const random = new SimRandom(seed);
  const table = new LeaseTable(1e6);
  const model = new Map<string, Key>();
  for (let step = 0; step < 6000; step++) {
    const key = randomKey(random);
    const { session, kind, inode, hash } = key;
    if (random.chance(0.6)) {
      table.add(session, kind, inode, hash);
      model.set(text(key), key);
    } else if (random.chance(0.99)) {
      assert.equal(table.remove(session, kind, inode, hash), model.delete(text(key)));
    } else {
      table.removeSession(session);
      for (const [name, held] of model) if (held.session === session) model.delete(name);
    }
    assert.equal(table.size, model.size);
    const other = randomKey(random);
    const held = model.has(text(other));
    assert.equal(table.has(other.session, other.kind, other.inode, other.hash), held);
    if (held) assert.ok(table.holdersAtMost(other.kind, other.inode, other.hash) > 0);
  }
  const found = new HeldLease();
  const seen = new Set<string>();
  for (let i = 0; i < model.size; i++) {
    assert.ok(table.next(found));
    seen.add(text(found));
  }
  assert.deepEqual(seen, new Set(model.keys()), 'the hand comes to each');
  for (const { session, kind, inode, hash } of model.values()) {
    assert.ok(table.remove(session, kind, inode, hash));
  }
  assert.equal(table.next(found), false);
}

describe('lease table', () => {
  for (let seed = 1; seed <= 5; seed++) {
    it(`does what a map does (seed ${seed})`, () => {
      agree(seed);
    });
  }

  it('takes at most 64 bytes for each of a million leases', () => {
    const table = new LeaseTable(1e6);
    for (let i = 0; i < 1e6; i++) table.add(1 + (i % 7), 1, 2 ** 40 + i, 0);
    assert.ok(table.isFull);
    assert.ok(table.bytes / table.size <= 64, `${table.bytes / table.size} bytes`);
  });
});
