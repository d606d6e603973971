/** When attributes that were put together from several targets are kept, and when they are lost. */
import assert from 'node:assert/strict';
import { SplitAttributes } from '../../../../src/client/leases/split-attributes.js';
import type { RpcPeer } from '../../../../src/transport/rpc-client.js';

const DIRECTORY = 100;
const PARTITIONS = [201, 302];

class World {
  nowMs = 0;
  clock = 1;
  readonly gathered: number[] = [];
  readonly peers = [1000, 2000, 3000].map((trustedUntilMs) => ({ trustedUntilMs }) as RpcPeer);
  readonly splits = new SplitAttributes({
    nowMs: () => this.nowMs,
    peerOfInode: (inode) => this.peers[Math.floor(inode / 100) - 1]!,
    tick: () => ++this.clock,
  });

  constructor() {
    this.splits.gather = (directory) => this.gathered.push(directory);
  }

  /** As gatherPartitions does it, with all leases granted. */
  gather(): void {
    const losses = this.splits.losses(DIRECTORY);
    this.splits.partitions(DIRECTORY, PARTITIONS);
    this.splits.gathered(DIRECTORY, losses);
  }
}

describe('attributes of directories in partitions', () => {
  it('are worth gathering when they were asked for twice', () => {
    const { splits, gathered } = new World();
    assert.ok(!splits.answered(DIRECTORY, 1));
    assert.deepEqual(gathered, []);
    assert.ok(!splits.answered(DIRECTORY, 1));
    assert.deepEqual(gathered, [DIRECTORY], 'it is worth it');
  });

  it('are lost with any of the leases', () => {
    for (const lost of [DIRECTORY, ...PARTITIONS]) {
      const world = new World();
      const { splits } = world;
      splits.answered(DIRECTORY, 1);
      world.gather();
      assert.ok(!splits.answered(DIRECTORY, 1), 'asked for before');
      assert.ok(splits.answered(DIRECTORY, world.clock));
      assert.equal(splits.directoryOf(PARTITIONS[0]!), DIRECTORY);
      assert.equal(splits.lost(lost), DIRECTORY);
      assert.ok(!splits.answered(DIRECTORY, world.clock));
      assert.equal(splits.lost(999), 0);
    }
  });

  it('are not held if anything was lost while they were gathered', () => {
    const world = new World();
    const { splits } = world;
    splits.answered(DIRECTORY, 1);
    const losses = splits.losses(DIRECTORY);
    splits.partitions(DIRECTORY, PARTITIONS);
    splits.lost(PARTITIONS[1]!);
    splits.gathered(DIRECTORY, losses);
    assert.equal(splits.size, 0);
    assert.ok(!splits.answered(DIRECTORY, world.clock + 1));
  });

  it('are believed as long as each target is trusted, and lost with a session of any', () => {
    const world = new World();
    const { splits, peers } = world;
    assert.equal(splits.trustedUntilMs(DIRECTORY), Infinity);
    splits.answered(DIRECTORY, 1);
    world.gather();
    assert.equal(splits.trustedUntilMs(DIRECTORY), 1000);
    const forgotten: number[] = [];
    splits.lostOf(peers[2]!, (directory) => forgotten.push(directory));
    assert.deepEqual(forgotten, [DIRECTORY]);
    assert.equal(splits.size, 0);
  });
});
