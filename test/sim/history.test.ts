/**
 * Histories: several clients create, link, rename and remove in the same few directories, which are
 * on different targets, while targets are killed (or lose power), connections break, nodes are
 * cut off and clients die. Protects: whatever they saw, the operations can have happened one after
 * the other (history.ts); another client sees the end of it; nothing stays locked, nothing is left.
 *
 * SEALFS_SIM_SEEDS (two fifths of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimTarget } from './cluster.js';
import { HistoryClient, HistoryPlayer } from './history-client.js';
import type { Place } from './history-client.js';
import { playHistory } from './history-scene.js';
import type { Scene } from './history-scene.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.4);
const OPERATIONS = 70;
const STRIKES = 12;
const POINT_STRIKES = 4;

/** Plays until all have ended or died; then somebody else looks. */
async function playAll(scene: Scene, workers: SimClient[], power: boolean): Promise<void> {
  const { cluster, random, history, table, shared } = scene;
  const recent: Place[] = [];
  const players = workers.map((client) => {
    const recorded = new HistoryClient(client, history, table);
    return new HistoryPlayer(cluster, recorded, new SimRandom(random.word()), shared, recent);
  });
  const pauseMs = [0.2, 2, 20][random.below(3)]!;
  const trouble = new Trouble(cluster, random.word(), power, 40, STRIKES);
  if (random.chance(0.4)) {
    const victim = players[random.below(players.length)]!;
    cluster.world.schedule(random.below(100), () => {
      victim.kill();
    });
  }
  const steps = Math.ceil(OPERATIONS / players.length);
  await Promise.all(players.map((player) => player.play(steps, pauseMs)));
  trouble.stop();
  const observer = new HistoryClient(cluster.addClient(), history, table);
  await observer.lookAtAll(shared[0]!);
}

/** In every other history some targets are struck in the middle of what they do. */
function strikeAtPoints(random: SimRandom, power: boolean): (target: SimTarget) => void {
  let strikes = random.chance(0.5) ? POINT_STRIKES : 0;
  return (target) => {
    if (strikes === 0 || !random.chance(0.05)) return;
    strikes--;
    if (power) target.losePower();
    else target.kill();
    target.startAfter(1 + random.below(300));
  };
}

function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7907);
  const power = random.chance(0.25);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 3 + random.below(3),
    durability: power ? 'commit' : 'fsync',
    small: true,
    persistentMemory: power && seed % 2 === 0,
    ...(seed % 2 === 0 ? {} : { splitEntries: 2 }),
    faultPoint: strikeAtPoints(new SimRandom(random.word()), power),
    network: { breakRate: random.chance(0.5) ? 0.02 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  return playHistory(seed, cluster, random, (scene, workers) => playAll(scene, workers, power));
}

describeSeeds('histories of several clients', 'are linearizable and leave nothing', seeds, play);
