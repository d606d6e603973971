/**
 * Attributes of a directory in partitions under leases: some clients, each behind a kernel that remembers, ask for them
 * again and again while others make and remove subdirectories, which changes the link count, partitions split and
 * merge, and now and then a target is killed or a client stopped. Protects: what a client puts together from leases
 * of several targets is never older than what has returned.
 *
 * SEALFS_SIM_SEEDS (a tenth of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient } from './cluster.js';
import type { HistoryClient } from './history-client.js';
import { playHistory } from './history-scene.js';
import type { Scene } from './history-scene.js';
import { KernelHistoryClient } from './kernel-client.js';
import { ModelKernel } from './model-kernel.js';
import { describeSeeds } from './seeds.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.1);
const CHANGES = 12;
const LOOKS = 60;
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'] as const;

/** Directories that were held as a whole, in all runs. */
let held = 0;

function pause({ cluster }: Scene, forMs: number): Promise<void> {
  return new Promise((resolve) => cluster.world.schedule(forMs, resolve));
}

async function change(scene: Scene, client: HistoryClient, dir: number): Promise<void> {
  const random = new SimRandom(scene.random.word());
  for (let i = 0; i < CHANGES; i++) {
    const name = NAMES[random.below(NAMES.length)]!;
    if (random.chance(0.6)) await client.mkdir(dir, name);
    else await client.rmdir(dir, name);
    await pause(scene, random.next() * 3000);
  }
}

async function watch(scene: Scene, client: HistoryClient, dir: number): Promise<void> {
  const random = new SimRandom(scene.random.word());
  for (let i = 0; i < LOOKS; i++) {
    await client.attributes(dir);
    held += client.client.core.leases.splitDirectories;
    if (random.chance(0.1)) await client.lookup(dir, NAMES[random.below(NAMES.length)]!);
    await pause(scene, random.next() * 500);
  }
}

async function playAll(scene: Scene, clients: SimClient[]): Promise<void> {
  const { cluster, random, history, table, shared } = scene;
  const dir = shared[0]!;
  const players = clients.map((client) => {
    const recorded = new KernelHistoryClient(client, history, table, NAMES);
    recorded.kernel = new ModelKernel(cluster, client, new SimRandom(random.word()));
    return recorded;
  });
  // In partitions from the beginning on.
  for (const name of NAMES.slice(4)) await players[0]!.mkdir(dir, name);
  await pause(scene, 2000);
  const target = cluster.targets[random.below(cluster.targets.length)]!;
  if (random.chance(0.3)) {
    cluster.world.schedule(random.below(15_000), () => {
      target.kill();
      target.startAfter(1 + random.below(3000));
    });
  }
  if (random.chance(0.3)) {
    const victim = clients[random.below(clients.length)]!;
    cluster.world.schedule(random.below(15_000), () => {
      victim.scheduler.stop([3000, 13_000][random.below(2)]!);
    });
  }
  const changers = random.chance(0.5) ? 1 : 2;
  await Promise.all(
    players.map((player, i) => (i < changers ? change : watch)(scene, player, dir)),
  );
}

function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7723);
  const cluster = buildCluster(seed, {
    targets: 2 + random.below(2),
    clients: 4 + random.below(2),
    small: true,
    splitEntries: 3,
    client: { coherence: 'leases' },
    network: { breakRate: random.chance(0.2) ? 0.01 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  return playHistory(seed, cluster, random, playAll);
}

describeSeeds('attributes of directories in partitions', 'are linearizable', seeds, play);

describe('attributes of directories in partitions, all of them', () => {
  it('were held under leases of all partitions', () => {
    assert.ok(held > 20 * Math.min(seeds, 10), `${held} times`);
  });
});
