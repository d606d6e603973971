/** Inventory: every pair of a target's store comes, once, in bounded answers; sessions' names never do. */
import assert from 'node:assert/strict';
import { errno } from '../../../src/common/errno.js';
import { InventoryPair, InventoryReply, Opcode } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { linkTargetKey } from '../../../src/server/keys.js';
import { body } from './namespace-harness.js';
import { TargetCluster, type Answer } from './target-harness.js';

interface Ask {
  key: Buffer;
  maxPairs?: number;
  maxBytes?: number;
  landing?: boolean;
}

function ask(cluster: TargetCluster, { key, maxPairs, maxBytes, landing }: Ask): Answer {
  const fields = { keyBytes: key.length, maxPairs: maxPairs ?? 8192, maxBytes: maxBytes ?? 8192 };
  const head = body(Wire.InventoryRequest, fields);
  const bytes = Buffer.concat([head, key, Buffer.alloc(-key.length & 7)]);
  return cluster.call(cluster.nodes[0]!, Opcode.Inventory, bytes, undefined, landing === true);
}

interface Pairs {
  pairs: [string, Buffer][];
  omitted: number;
  end: boolean;
}

function pairsOf({ status, body: reply, bulk }: Answer): Pairs {
  assert.equal(status, 0);
  const inlineBytes = reply.readUInt32LE(InventoryReply.inlineBytes);
  const packed = inlineBytes > 0 ? reply.subarray(InventoryReply.SIZE) : bulk;
  const pairs: [string, Buffer][] = [];
  let omitted = 0;
  for (let at = 0, i = 0; i < reply.readUInt32LE(InventoryReply.pairCount); i++) {
    const key = at + InventoryPair.SIZE;
    const value = key + packed.readUInt16LE(at + InventoryPair.keyBytes);
    const end = value + packed.readUInt32LE(at + InventoryPair.valueBytes);
    omitted += packed.readUInt16LE(at + InventoryPair.omitted);
    pairs.push([packed.toString('latin1', key, value), packed.subarray(value, end)]);
    at = (end + 7) & ~7;
  }
  return { pairs, omitted, end: reply.readUInt32LE(InventoryReply.end) === 1 };
}

function walk(cluster: TargetCluster, how: Omit<Ask, 'key'>): Pairs['pairs'] {
  const all: Pairs['pairs'] = [];
  let key = Buffer.from([0]);
  for (;;) {
    const { pairs, end } = pairsOf(ask(cluster, { key, ...how }));
    all.push(...pairs);
    if (end) return all;
    key = Buffer.from(`${all.at(-1)![0]}\0`, 'latin1');
  }
}

describe('Inventory', () => {
  it('tells every pair but those of sessions, in small answers and in large ones', () => {
    const c = new TargetCluster();
    const root = c.root();
    for (let i = 0; i < 40; i++) c.create(root, `file-${i}`);
    const { values } = c.nodes[0]!.image;
    const kept = [...values].filter(([key]) => !key.startsWith('\xff\xffS'));
    assert.ok(kept.length < values.size, 'there is a session');
    const expected = kept.sort(([a], [b]) => (a < b ? -1 : 1));
    for (const how of [
      { maxPairs: 7 },
      { maxBytes: 1000 },
      { maxBytes: 1 << 20, landing: true },
      { maxBytes: 1 << 20, landing: true, maxPairs: 11 },
    ]) {
      const found = walk(c, how);
      assert.deepEqual(
        found.map(([key]) => key),
        expected.map(([key]) => key),
      );
      for (const [i, [, value]] of found.entries()) {
        assert.ok(value.equals(expected[i]![1]), `value ${i}`);
      }
    }
  });

  it('takes a bulk slot for what is larger, gives it back, and leaves out what none holds', () => {
    const c = new TargetCluster();
    const [medium, huge] = [5, 6].map((inode) => Buffer.from(linkTargetKey(inode)));
    c.nodes[0]!.image.set(medium!.toString('latin1'), Buffer.alloc(100_000, 1));
    c.nodes[0]!.image.set(huge!.toString('latin1'), Buffer.alloc(2 ** 20, 2));
    assert.equal(ask(c, { key: medium!, maxPairs: 1 }).status, errno.EAGAIN);
    for (let i = 0; i < 40; i++) {
      const how = { maxPairs: 1, maxBytes: 1 << 20, landing: true };
      const [found] = pairsOf(ask(c, { key: medium!, ...how })).pairs;
      assert.equal(found![1].length, 100_000);
      const { pairs, omitted } = pairsOf(ask(c, { key: huge!, ...how }));
      assert.deepEqual(
        [pairs[0]![0], pairs[0]![1].length, omitted],
        [huge!.toString('latin1'), 0, 1],
      );
    }
  });

  it('refuses keys that are none', () => {
    const c = new TargetCluster();
    assert.equal(ask(c, { key: Buffer.alloc(0) }).status, errno.EINVAL);
    assert.equal(ask(c, { key: Buffer.alloc(600) }).status, errno.EINVAL);
    const short = body(Wire.InventoryRequest, { keyBytes: 9, maxPairs: 1, maxBytes: 1 });
    assert.equal(c.call(c.nodes[0]!, Opcode.Inventory, short).status, errno.EINVAL);
    assert.equal(c.call(c.nodes[0]!, Opcode.Inventory, Buffer.alloc(8)).status, errno.EINVAL);
  });
});
