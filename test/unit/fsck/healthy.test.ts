/** A cluster that has only been used is clean: nothing that sealfs does looks like damage. */
import assert from 'node:assert/strict';
import { assertCleanSim } from '../../support/fsck.js';
import { buildCluster } from '../../sim/cluster.js';
import { fill } from './content.js';

describe('fsck of a healthy cluster', function () {
  this.timeout(60_000);

  it('finds nothing after files, links, attributes, clones, holes and deletions', async () => {
    const cluster = buildCluster(1, { targets: 3, clients: 1 });
    await cluster.run(async ([client]) => {
      await fill(client!.files);
    });
    await cluster.idle(5000);
    const { counts } = await assertCleanSim(cluster);
    assert.ok(counts.inodes > 20 && counts.entries > 20, JSON.stringify(counts));
    assert.ok(counts.chunks > 10 && counts.usedBlocks > 800, JSON.stringify(counts));
    assert.ok(counts.verifiedBytes > 4096 * 800, JSON.stringify(counts));
  });

  it('finds nothing after targets were killed and lost power under load', async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const cluster = buildCluster(seed, {
        targets: 3,
        clients: 1,
        durability: seed % 2 === 0 ? 'commit' : 'fsync',
      });
      for (let round = 0; round < 8; round++) {
        const victim = cluster.targets[round % 3]!;
        cluster.world.schedule(20 + 30 * round, () => {
          if (seed % 2 === 0) victim.losePower();
          else victim.kill();
        });
        cluster.world.schedule(25 + 30 * round, () => {
          victim.start();
        });
      }
      await cluster.run(async ([client]) => fill(client!.files));
      await cluster.idle(70_000);
      await assertCleanSim(cluster);
    }
  });
});
