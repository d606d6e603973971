/**
 * Histories under leases: several clients, each behind a kernel that remembers names and attributes for as long
 * as it is told to, look and change in the same few directories, while targets are killed, connections
 * break, clients die, are stopped for longer than any limit, and are cut off. Protects: nobody ever sees what is
 * old, whether a target, a client's memory or a kernel's answered; and nobody waits for ever.
 *
 * The same by programs that remember paths (remembering-client.ts).
 *
 * SEALFS_SIM_SEEDS (three tenths of it, and half as many), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient } from './cluster.js';
import { HistoryClient, HistoryPlayer } from './history-client.js';
import type { Place } from './history-client.js';
import { playHistory } from './history-scene.js';
import type { Scene } from './history-scene.js';
import { KernelHistoryClient } from './kernel-client.js';
import { ModelKernel } from './model-kernel.js';
import { RememberingHistoryClient } from './remembering-client.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.3);
const STEPS = 120;
const STRIKES = 8;
/** Longer than a recall waits (docs/leases.md), and shorter. */
const STOPS_MS = [3000, 13_000, 40_000];

/** Answers without a request, in all runs: none would mean that nothing was tested. */
let answered = 0;
/** The same by what programs remember. */
let remembered = 0;

type MakeClient = (scene: Scene, client: SimClient) => HistoryClient;

function withKernel({ cluster, random, history, table }: Scene, client: SimClient): HistoryClient {
  const recorded = new KernelHistoryClient(client, history, table);
  const kernel = new ModelKernel(cluster, client, new SimRandom(random.word()));
  recorded.kernel = kernel;
  // Something is mounted on the volume, and unmounted again.
  if (random.chance(0.3)) {
    const fromMs = random.below(3000);
    cluster.world.schedule(fromMs, () => (kernel.isCovered = true));
    cluster.world.schedule(fromMs + random.below(30_000), () => (kernel.isCovered = false));
  }
  return recorded;
}

function remembering({ cluster, history, table }: Scene, client: SimClient): HistoryClient {
  const recorded = new RememberingHistoryClient(client, history, table);
  recorded.start(cluster);
  return recorded;
}

function playersOf(
  scene: Scene,
  workers: SimClient[],
  looks: number,
  make: MakeClient,
): HistoryPlayer[] {
  const { cluster, random, shared } = scene;
  const recent: Place[] = [];
  return workers.map((client) => {
    const recorded = make(scene, client);
    const player = new HistoryPlayer(
      cluster,
      recorded,
      new SimRandom(random.word()),
      shared,
      recent,
    );
    player.looks = looks;
    return player;
  });
}

/** A client is stopped, or cut off from a target, while the others go on. */
function disturb({ cluster, random }: Scene, workers: SimClient[]): void {
  const victim = workers[random.below(workers.length)]!;
  const forMs = STOPS_MS[random.below(STOPS_MS.length)]!;
  const target = cluster.targets[random.below(cluster.targets.length)]!;
  const stops = random.chance(0.5);
  cluster.world.schedule(random.below(4000), () => {
    if (stops) victim.scheduler.stop(forMs);
    else {
      cluster.network.partition(victim.name, target.name);
      cluster.world.schedule(forMs, () => {
        cluster.network.heal(victim.name, target.name);
      });
    }
  });
}

async function playAll(scene: Scene, workers: SimClient[], make: MakeClient): Promise<void> {
  const { cluster, random, history, table, shared } = scene;
  const players = playersOf(scene, workers, [0.3, 0.7, 0.9][random.below(3)]!, make);
  // Long enough that what was contended is leased again.
  const pauseMs = [2, 50, 1500][random.below(3)]!;
  const trouble = random.chance(0.5)
    ? new Trouble(cluster, random.word(), false, 2000, STRIKES)
    : undefined;
  if (random.chance(0.5)) disturb(scene, workers);
  if (random.chance(0.3)) {
    const victim = players[random.below(players.length)]!;
    cluster.world.schedule(random.below(5000), () => {
      victim.kill();
    });
  }
  const steps = Math.ceil(STEPS / players.length);
  await Promise.all(players.map((player) => player.play(steps, pauseMs)));
  trouble?.stop();
  for (const { recorded } of players) {
    if (recorded instanceof KernelHistoryClient) answered += recorded.kernel.answered;
    if (recorded instanceof RememberingHistoryClient) remembered += recorded.answered;
  }
  for (const { core } of workers) answered += core.leases.attributesAnswered;
  const observer = new HistoryClient(cluster.addClient(), history, table);
  await observer.lookAtAll(shared[0]!);
}

function play(seed: number, make: MakeClient): Promise<string> {
  const random = new SimRandom(seed * 6151);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 3 + random.below(2),
    small: true,
    // Directories are split, merged, and in one piece again.
    ...(seed % 2 === 0 ? {} : { splitEntries: 2 }),
    client: { coherence: 'leases', leaseNamesMax: [8, 65_536][random.below(2)]! },
    network: { breakRate: random.chance(0.3) ? 0.01 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  return playHistory(seed, cluster, random, (scene, workers) => playAll(scene, workers, make));
}

describeSeeds('histories under leases', 'are linearizable', seeds, (seed) =>
  play(seed, withKernel),
);
describeSeeds(
  'histories under leases of programs that remember',
  'are linearizable',
  Math.ceil(seeds / 2),
  (seed) => play(seed, remembering),
);

describe('histories under leases, all of them', () => {
  it('were answered from what clients and kernels remember', () => {
    assert.ok(answered > 10 * Math.min(seeds, 10), `${answered} answers`);
    assert.ok(remembered > 10 * Math.min(seeds / 2, 10), `${remembered} remembered`);
  });
});
