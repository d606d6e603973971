/** Where histories are played: a few directories that stand on different targets; and how they are judged. */
import assert from 'node:assert/strict';
import { BucketTable } from '../../src/placement/bucket-table.js';
import type { SimRandom } from '../../src/transport/sim/sim-random.js';
import type { SimClient, SimCluster } from './cluster.js';
import { HistoryClient, NAMES } from './history-client.js';
import { History, check, describePending } from './history.js';
import { assertNothingLeft } from './left-overs.js';
import { NameSpace } from './name-space.js';

export interface Scene {
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

/**
 * Plays on `cluster`, whose first client sets the scene and clears it, and judges what was seen. Resolves to the
 * trace's hash; what it rejects with names the seed.
 */
export async function playHistory(
  seed: number,
  cluster: SimCluster,
  random: SimRandom,
  play: (scene: Scene, clients: SimClient[]) => Promise<void>,
): Promise<string> {
  const history = new History(() => cluster.world.nowMs);
  try {
    await cluster.run(async ([first, ...clients]) => {
      const scene = await setUp(cluster, random, history, first!);
      await play(scene, clients);
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
  cluster.end();
  return cluster.world.traceHash;
}
