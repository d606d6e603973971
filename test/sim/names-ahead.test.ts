/**
 * Numbered names that several clients make in one directory, some of them the very same ones, while others look and
 * remove, targets are killed and connections break. Protects: that the absence of the next names is asked for ahead
 * (names-ahead.ts) shows nobody what is not so.
 *
 * SEALFS_SIM_SEEDS (a tenth of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient } from './cluster.js';
import { playHistory } from './history-scene.js';
import type { Scene } from './history-scene.js';
import { KernelHistoryClient } from './kernel-client.js';
import { ModelKernel } from './model-kernel.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.1);
const STEPS = 40;
const NUMBERS = 60;

/** In all runs: look-ups before a create that cost no request. */
let absentAnswered = 0;

/** Counts up from somewhere; now and then looks at, or removes, what another may have made. */
async function count(
  recorded: KernelHistoryClient,
  random: SimRandom,
  dir: number,
  pause: () => Promise<void>,
): Promise<void> {
  let next = random.below(2) * 10;
  for (let step = 0; step < STEPS; step++) {
    if (random.chance(0.3)) await pause();
    const some = `f${random.below(NUMBERS)}`;
    const kind = random.next();
    if (kind < 0.1) await recorded.lookup(dir, some);
    else if (kind < 0.2) await recorded.unlink(dir, some);
    else if (kind < 0.23) next = random.below(NUMBERS);
    else await recorded.create(dir, `f${next++}`);
  }
}

async function playAll(
  { cluster, random, history, table, shared }: Scene,
  workers: SimClient[],
): Promise<void> {
  const trouble = random.chance(0.5)
    ? new Trouble(cluster, random.word(), false, 2000, 4)
    : undefined;
  // Long enough that what was contended is leased again.
  const pauseMs = [2, 50, 1500][random.below(3)]!;
  await Promise.all(
    workers.map((client) => {
      const recorded = new KernelHistoryClient(client, history, table);
      const own = new SimRandom(random.word());
      recorded.kernel = new ModelKernel(cluster, client, new SimRandom(random.word()));
      const pause = (): Promise<void> =>
        new Promise((resolve) => cluster.world.schedule(own.next() * pauseMs, resolve));
      return count(recorded, own, shared[0]!, pause);
    }),
  );
  trouble?.stop();
  for (const { core } of workers) absentAnswered += core.leases.absentAnswered;
}

function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7043);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 3 + random.below(2),
    small: true,
    // Some directories are split while their next names are asked for.
    ...(seed % 2 === 0 ? {} : { splitEntries: 8 }),
    client: { coherence: 'leases' },
    network: { breakRate: random.chance(0.3) ? 0.01 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  return playHistory(seed, cluster, random, playAll);
}

describeSeeds('histories of numbered names', 'are linearizable', seeds, play);

describe('histories of numbered names, all of them', () => {
  it('were answered ahead of their creates', () => {
    assert.ok(absentAnswered > 10 * Math.min(seeds, 10), `${absentAnswered} look-ups`);
  });
});
