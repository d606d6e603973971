/**
 * Histories: several clients create, link, rename and remove in the same few directories, which are
 * on different targets, while targets are killed (or lose power), connections break, nodes are
 * cut off and clients die. Protects: whatever they saw, the operations can have happened one after
 * the other (history.ts); another client sees the end of it; nothing stays locked, nothing is left.
 *
 * SEALFS_SIM_SEEDS (two fifths of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { BucketTable } from '../../src/placement/bucket-table.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster, SimTarget } from './cluster.js';
import { HistoryClient, HistoryPlayer, NAMES } from './history-client.js';
import type { Place } from './history-client.js';
import { History, check, describePending } from './history.js';
import { assertNothingLeft } from './left-overs.js';
import { NameSpace } from './name-space.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.4);
const OPERATIONS = 70;
const STRIKES = 12;
const POINT_STRIKES = 4;

interface Scene {
  cluster: SimCluster;
  random: SimRandom;
  history: History;
  table: BucketTable;
  initial: NameSpace;
  /** A directory, one in it, and one in that. */
  shared: number[];
}

/** Three directories, one in the other, on as many targets as there are. */
async function setUp(
  cluster: SimCluster,
  random: SimRandom,
  history: History,
  client: SimClient,
): Promise<Scene> {
  await client.files.ensureRoot();
  await client.files.mkdir('/top');
  const table = BucketTable.build(cluster.map);
  const top = (await client.files.stat('/top')).inode;
  const worker = new HistoryClient(client, new History(), table);
  const shared = [top];
  let initial = NameSpace.root(top);
  while (shared.length < 3) {
    const dir = shared.at(-1)!;
    const used = new Set(shared.map((inode) => worker.targetOf(inode)));
    for (const name of NAMES) {
      const made = await worker.mkdir(dir, name);
      const fresh = !used.has(worker.targetOf(made.inode!));
      if (!fresh && name !== NAMES.at(-1)) {
        await worker.rmdir(dir, name);
        continue;
      }
      initial = initial.after({ op: 'mkdir', dir, name }, made, 0)!;
      shared.push(made.inode!);
      break;
    }
  }
  return { cluster, random, history, table, initial, shared };
}

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

async function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7907);
  const power = random.chance(0.25);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 3 + random.below(3),
    durability: power ? 'commit' : 'fsync',
    small: true,
    persistentMemory: power && seed % 2 === 0,
    faultPoint: strikeAtPoints(new SimRandom(random.word()), power),
    network: { breakRate: random.chance(0.5) ? 0.02 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  const history = new History(() => cluster.world.nowMs);
  try {
    await cluster.run(async ([first, ...workers]) => {
      const scene = await setUp(cluster, random, history, first!);
      await playAll(scene, workers, power);
      const fault = check(scene.initial, history.entries);
      assert.equal(fault, undefined, fault);
      await first!.files.rm('/top', { recursive: true });
      await assertNothingLeft(cluster, first!);
    });
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`SEALFS_SIM_SEED=${seed}: ${message}\n${describePending(history)}`, {
      cause: error,
    });
  }
  return cluster.world.traceHash;
}

describeSeeds('histories of several clients', 'are linearizable and leave nothing', seeds, play);
