/**
 * Which member holds each of the 65,536 buckets, by weighted rendezvous hashing: each (member,
 * bucket) pair draws a uniform h in (0, 1), and the member with the greatest -weight / ln(h) wins.
 * So shares are proportional to weights, and a member that comes or goes moves only the buckets
 * that it wins or held. Everybody computes the same table from the same map.
 *
 * Speed: the winner has the least -ln(h) / weight. As -ln(h) >= 1 - h, a pair whose (1 - h) / weight
 * is not below the least seen cannot win, which spares nearly all logarithms.
 */
import { bucketCount } from '../protocol/limits.generated.js';
import { hashText, mix32, mixPair } from './hash.js';
import { MEMBERS_MAX } from './cluster-map.js';
import type { ClusterMap, Target } from './cluster-map.js';

const TWO_32 = 4294967296;
/** Whoever is in one process with the same map shares its table. */
const tables = new WeakMap<ClusterMap, BucketTable>();

export class BucketTable {
  readonly map: ClusterMap;
  /** Index into `map.members` of each bucket's member. */
  readonly owners: Uint16Array;

  private constructor(map: ClusterMap, owners: Uint16Array) {
    this.map = map;
    this.owners = owners;
  }

  /** Throws RangeError when no member has a weight above 0. */
  static build(map: ClusterMap): BucketTable {
    let table = tables.get(map);
    if (table === undefined) {
      table = new BucketTable(map, rendezvous(map.members));
      tables.set(map, table);
    }
    return table;
  }

  /** Index into `map.members` of the member that holds this bucket. */
  memberOfBucket(bucket: number): number {
    return this.owners[bucket]!;
  }

  targetOfBucket(bucket: number): Target {
    return this.map.members[this.owners[bucket]!]!;
  }

  /** How many buckets each member holds, by member index. */
  shares(): Uint32Array {
    const shares = new Uint32Array(this.map.members.length);
    for (const owner of this.owners) shares[owner]!++;
    return shares;
  }
}

function rendezvous(members: readonly Target[]): Uint16Array {
  if (members.length > MEMBERS_MAX) throw new RangeError(`at most ${MEMBERS_MAX} members`);
  // Ties (about one in 2^32 draws) go to the least targetId, whatever the map's order.
  const order = members
    .map((_, index) => index)
    .filter((index) => members[index]!.weight > 0)
    .sort((a, b) => (members[a]!.targetId < members[b]!.targetId ? -1 : 1));
  if (order.length === 0) throw new RangeError('no member of the cluster map has a weight above 0');

  const owners = new Uint16Array(bucketCount);
  const least = new Float64Array(bucketCount).fill(Infinity);
  const salts = new Uint32Array(bucketCount);
  for (let bucket = 0; bucket < bucketCount; bucket++) salts[bucket] = mix32(bucket + 1);
  for (const index of order) drawMember(members[index]!, index, salts, owners, least);
  return owners;
}

/** One member's draws for all buckets: takes those where it beats the least so far. */
function drawMember(
  member: Target,
  index: number,
  salts: Uint32Array,
  owners: Uint16Array,
  least: Float64Array,
): void {
  const seedA = hashText(member.targetId, 0x5ea1f5);
  const seedB = hashText(member.targetId, 0xb0cce7);
  const inverse = 1 / member.weight;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const h = (mixPair(seedA ^ salts[bucket]!, seedB) + 0.5) / TWO_32;
    if ((1 - h) * inverse >= least[bucket]!) continue;
    const score = -Math.log(h) * inverse;
    if (score >= least[bucket]!) continue;
    least[bucket] = score;
    owners[bucket] = index;
  }
}
