/**
 * Protects placement: everybody computes the same table (values are pinned: a change of a hash would
 * lose every file of an existing cluster), shares follow weights, and a change of membership moves
 * no more than it must.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { SealfsError, UsageError } from '../../../src/common/errors.js';
import { BucketTable } from '../../../src/placement/bucket-table.js';
import { parseClusterMap, targetAddress } from '../../../src/placement/cluster-map.js';
import type { ClusterMap } from '../../../src/placement/cluster-map.js';
import { formatEndpoint, parseEndpoint } from '../../../src/placement/endpoint.js';
import { mix32, mixPair, nameHash44 } from '../../../src/placement/hash.js';
import {
  bucketOfInode,
  directoryBucket,
  isInode,
  makeInode,
  sequenceOfInode,
  stripeBucket,
} from '../../../src/placement/inode-number.js';
import { bucketCount, stripeBuckets } from '../../../src/protocol/limits.generated.js';

function mapOf(weights: number[], epoch = 1): ClusterMap {
  const members = weights.map((weight, i) => ({
    targetId: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
    serverId: `s${i >> 1}`,
    weight,
    endpoints: [`tcp://10.0.0.${i}:4711`],
  }));
  return { clusterId: 'c', epoch, members };
}

const text = new TextEncoder();

function hashOf(name: string): number {
  const bytes = text.encode(name);
  return nameHash44(bytes, 0, bytes.length);
}

describe('bucket table', () => {
  it('shares buckets by weight, within a few percent', () => {
    for (const weights of [
      [1, 1],
      [1, 1, 1, 1, 1, 1, 1, 1],
      [1, 2, 5],
      [0.5, 1e6, 1e6, 0],
    ]) {
      const shares = BucketTable.build(mapOf(weights)).shares();
      const sum = weights.reduce((a, b) => a + b);
      weights.forEach((weight, i) => {
        const expected = (bucketCount * weight) / sum;
        const slack = 5 * Math.sqrt(expected) + 1;
        assert.ok(
          Math.abs(shares[i]! - expected) <= slack,
          `weights ${weights.join()}: ${shares[i]} of ${expected}`,
        );
      });
    }
  });

  it('moves only to a member that joins, and only from one that leaves', () => {
    const weight = fc.constantFrom(0.25, 1, 1, 1, 2, 7.5);
    fc.assert(
      fc.property(fc.array(weight, { minLength: 2, maxLength: 9 }), (weights) => {
        const all = BucketTable.build(mapOf(weights));
        const fewer = BucketTable.build(mapOf(weights.slice(0, -1)));
        const last = weights.length - 1;
        for (let bucket = 0; bucket < bucketCount; bucket++) {
          const owner = all.owners[bucket]!;
          if (owner !== last) assert.equal(fewer.owners[bucket], owner);
        }
      }),
      { numRuns: 12 },
    );
  });

  it("gives a grown member buckets and takes it none, whatever the map's order", () => {
    const before = mapOf([1, 1, 1, 1]);
    const after = mapOf([1, 1, 1.5, 1]);
    after.members.reverse();
    const a = BucketTable.build(before);
    const b = BucketTable.build(after);
    const grown = before.members[2]!.targetId;
    let moved = 0;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const from = a.targetOfBucket(bucket).targetId;
      const to = b.targetOfBucket(bucket).targetId;
      if (from === to) continue;
      assert.equal(to, grown);
      moved++;
    }
    assert.ok(moved > bucketCount * 0.06 && moved < bucketCount * 0.11, `${moved} moved`);
  });

  it('is the table of all versions of this program', () => {
    const table = BucketTable.build(mapOf([1, 1, 1, 2]));
    let hash = 0;
    for (const owner of table.owners) hash = mixPair(hash, owner);
    assert.equal(hash, PINNED_TABLE);
  });

  it('refuses a map without a member that takes part', () => {
    assert.throws(() => BucketTable.build(mapOf([])), RangeError);
    assert.throws(() => BucketTable.build(mapOf([0, 0])), RangeError);
  });
});

describe('hashes', () => {
  it('are those of all versions of this program', () => {
    assert.equal(mix32(1), PINNED_MIX);
    assert.equal(hashOf('hello'), PINNED_NAME);
    assert.equal(stripeBucket(makeInode(5, 2000000), 3), PINNED_STRIPE);
    assert.equal(directoryBucket(makeInode(5, 2000000), hashOf('dir'), 0), PINNED_DIRECTORY);
  });

  it('of similar names are spread and do not collide', () => {
    const seen = new Set<number>();
    const bins = new Uint32Array(64);
    const highBins = new Uint32Array(64);
    for (let i = 0; i < 200_000; i++) {
      const hash = hashOf(`file.mdtest.${i % 97}.${i}`);
      assert.ok(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 44);
      seen.add(hash);
      bins[hash % 64]!++;
      highBins[Math.floor(hash / 2 ** 38)]!++;
    }
    // Of 2^44 values, 200,000 give 0.001 collisions.
    assert.equal(seen.size, 200_000);
    for (const bin of [...bins, ...highBins])
      assert.ok(Math.abs(bin - 3125) < 400, `bin of ${bin}`);
    assert.notEqual(hashOf(''), hashOf('\0'));
  });

  it('read only the bytes of the name', () => {
    const bytes = text.encode('xxhelloyy');
    assert.equal(nameHash44(bytes, 2, 5), hashOf('hello'));
  });
});

describe('inode numbers', () => {
  it('are made of bucket and sequence and fit a double', () => {
    fc.assert(
      fc.property(fc.nat(bucketCount - 1), fc.integer({ min: 1, max: 2 ** 37 - 1 }), (b, s) => {
        const inode = makeInode(b, s);
        assert.ok(Number.isSafeInteger(inode) && isInode(inode));
        assert.equal(bucketOfInode(inode), b);
        assert.equal(sequenceOfInode(inode), s);
      }),
    );
    assert.ok(!isInode(0) && !isInode(2 ** 53) && !isInode(2 ** 37));
  });

  it('send chunk 0 home and spread the others over few buckets', () => {
    const inode = makeInode(77, 5_000_000);
    assert.equal(stripeBucket(inode, 0), 77);
    const buckets = new Set<number>();
    for (let chunk = 0; chunk < 5000; chunk++) buckets.add(stripeBucket(inode, chunk));
    assert.ok(buckets.size <= stripeBuckets && buckets.size > stripeBuckets - 3);
    const parent = makeInode(1, 1);
    const directories = new Set<number>();
    for (let i = 0; i < 1000; i++) directories.add(directoryBucket(parent, hashOf(`d${i}`), 0));
    assert.ok(directories.size > 980);
    assert.notEqual(directoryBucket(parent, 1, 0), directoryBucket(parent, 1, 1));
  });
});

describe('cluster map', () => {
  it('is taken from JSON', () => {
    const map = mapOf([1, 2]);
    assert.deepEqual(parseClusterMap(JSON.parse(JSON.stringify(map))), map);
    const member = map.members[1]!;
    const tcp = { kind: 'tcp', host: '10.0.0.1', port: 4711 };
    assert.deepEqual(targetAddress(member, ['tcp']).endpoints, [tcp]);
    assert.deepEqual(targetAddress(member, ['rdma', 'tcp']).endpoints, [tcp]);
    const rdma = { ...tcp, kind: 'rdma', port: 4712 };
    const both = { ...member, endpoints: ['tcp://10.0.0.1:4711', 'rdma://10.0.0.1:4712'] };
    assert.deepEqual(targetAddress(both, ['rdma', 'tcp']).endpoints, [rdma, tcp]);
    const none = targetAddress(member, ['rdma']);
    assert.deepEqual(none.endpoints, []);
    assert.match(none.unreachable!, /no rdma endpoint \(tcp:.*--transport auto/);
  });

  it('is refused with the name of the wrong field', () => {
    const wrong = (change: (map: Record<string, unknown>) => void): RegExp | string => {
      const map = JSON.parse(JSON.stringify(mapOf([1, 1]))) as Record<string, unknown>;
      change(map);
      try {
        parseClusterMap(map);
        return 'accepted';
      } catch (error) {
        assert.ok(error instanceof SealfsError && error.code === 'CORRUPT');
        return error.message;
      }
    };
    const member = (map: Record<string, unknown>) =>
      (map['members'] as Record<string, unknown>[])[1]!;
    assert.match(String(wrong((map) => (map['epoch'] = -1))), /epoch/);
    assert.match(String(wrong((map) => (member(map)['weight'] = -1))), /members\.1\.weight/);
    assert.match(String(wrong((map) => (member(map)['endpoints'] = ['x']))), /endpoints\.0/);
    const first = '00000000-0000-4000-8000-000000000000';
    assert.match(String(wrong((map) => (member(map)['targetId'] = first))), /twice/);
    assert.throws(() => parseClusterMap(null), SealfsError);
  });
});

describe('endpoints', () => {
  it('are read and written', () => {
    for (const endpoint of ['tcp://node1:4711', 'rdma://10.0.0.1:1', 'tcp://[fe80::1]:65535']) {
      assert.equal(formatEndpoint(parseEndpoint(endpoint)), endpoint);
    }
    assert.equal(parseEndpoint('tcp://[::1]:80').host, '::1');
    for (const bad of ['tcp://x', 'http://x:1', 'tcp://x:0', 'tcp://x:65536', 'tcp://:1', 'x:1']) {
      assert.throws(() => parseEndpoint(bad), UsageError, bad);
    }
  });
});

const PINNED_TABLE = 2441266727;
const PINNED_MIX = 1753845952;
const PINNED_NAME = 15897760944495;
const PINNED_STRIPE = 25540;
const PINNED_DIRECTORY = 32434;
