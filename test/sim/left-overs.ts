/** After everything is removed: no target has an inode, an orphan, or an operation half done. */
import assert from 'node:assert/strict';
import type { SimClient, SimCluster } from './cluster.js';

/**
 * What is done in the background is done by then: a target that was restarted keeps files without a name
 * for a minute, for those who may have them open.
 */
const PATIENCE_MS = 90_000;
const STEP_MS = 50;
/** Summed over all targets: the root directory's inode alone. */
const nothing = {
  inodes: 1,
  orphans: 0,
  intents: 0,
  transactionsUnderWay: 0,
  transactionsUndone: 0,
  locks: 0,
};
const keys = Object.keys(nothing) as (keyof typeof nothing)[];

type LeftOvers = Record<keyof typeof nothing, number>;

function leftOvers(cluster: SimCluster): LeftOvers {
  const left = { ...nothing, inodes: 0 };
  for (const { target } of cluster.targets) {
    const report = { ...target?.report(), locks: target?.namespace.locks.size ?? 0 };
    for (const key of keys) left[key] += (report as Record<string, number>)[key]!;
  }
  return left;
}

/** All but the root directory is gone; waits for what is under way. */
export async function assertNothingLeft(cluster: SimCluster, client: SimClient): Promise<void> {
  assert.deepEqual(await client.files.readdir('/'), [], 'nothing has a name');
  const end = cluster.world.nowMs + PATIENCE_MS;
  const isClean = (): boolean => {
    const left = leftOvers(cluster);
    return keys.every((key) => left[key] === nothing[key]);
  };
  while (!isClean() && cluster.world.nowMs < end) {
    await new Promise<void>((resolve) => cluster.world.schedule(STEP_MS, resolve));
  }
  assert.deepEqual(leftOvers(cluster), nothing, 'nothing is kept');
}
