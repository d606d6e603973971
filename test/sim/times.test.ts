/**
 * Times of directories that somebody sets as soon as names in them were changed by operations across targets. Such an
 * operation is answered when it is decided; participants do their part later. Protects: what was set stays until
 * the next change, also of a directory in partitions, and the next change shows.
 *
 * SEALFS_SIM_SEEDS (a tenth of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { Answer } from '../../src/client/answer.js';
import { AttributeChange, SET_MTIME } from '../../src/client/attributes.js';
import type { VolumeFiles } from '../../src/client/volume-files.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient } from './cluster.js';
import { describeSeeds } from './seeds.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.1);
const ROUNDS = 12;
/** More than one has changes prepared in it. */
const MOVES = 4;
const FILES = 8;
const CUT_MS = 100;
const LATE_MS = 500;
/** Long before the simulation begins. */
const SET_SECONDS = 1000;

/** Nothing is asked for before, as when a kernel knows the name. */
function setTime({ arena, core }: SimClient, inode: number, seconds: number): Promise<void> {
  const change = new AttributeChange();
  change.valid = SET_MTIME;
  change.mtimeSeconds = seconds;
  return new Promise((resolve, reject) => {
    const answer = new Answer(arena, 0, 0, (status) => {
      if (status === 0) resolve();
      else reject(new Error(`errno ${status}`));
    });
    core.setAttributes(answer, inode, change);
  });
}

async function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 6841);
  const isSplit = random.chance(0.5);
  const cluster = buildCluster(seed, {
    targets: 2 + random.below(2),
    clients: 2,
    ...(isSplit ? { splitEntries: 3 } : {}),
    client: { coherence: 'leases' },
    network: { jitterMs: [0.1, 1, 5][random.below(3)]! },
    faultPoint: ({ name }, point) => {
      if (point === 'coordinator-decided' && random.chance(0.3)) cutOff(name);
    },
  });

  /** Participants hear of the decision late. */
  function cutOff(coordinator: string): void {
    const { world, network, targets } = cluster;
    for (const { name } of targets) {
      if (name === coordinator) continue;
      network.partition(coordinator, name);
      world.schedule(CUT_MS, () => {
        network.heal(coordinator, name);
      });
    }
  }

  const dirs: number[] = [];
  const pause = (forMs: number): Promise<void> =>
    new Promise((resolve) => cluster.world.schedule(forMs, resolve));

  async function round(one: SimClient, other: VolumeFiles, number: number): Promise<void> {
    const { files } = one;
    const [from, to] = [`/d${number % 4}`, `/d${(number + 1) % 4}`];
    const moves = Array.from({ length: MOVES }, (_, i) =>
      files.rename(`${from}/f${(number + i) % FILES}`, `${to}/m${number}-${i}`),
    );
    await Promise.all(moves);
    const setSeconds = SET_SECONDS + number;
    for (const inode of [dirs[number % 4]!, dirs[(number + 1) % 4]!]) {
      await setTime(one, inode, setSeconds);
    }
    for (const afterMs of [0, LATE_MS]) {
      await pause(afterMs);
      for (const who of [files, other]) {
        for (const path of [from, to]) {
          const { mtimeSeconds } = await who.stat(path);
          assert.equal(mtimeSeconds, setSeconds, `${path}, round ${number}, after ${afterMs} ms`);
        }
      }
    }
    for (let i = 0; i < MOVES; i++) {
      await other.rename(`${to}/m${number}-${i}`, `${from}/f${(number + i) % FILES}`);
      for (const path of [from, to]) {
        assert.ok((await files.stat(path)).mtimeSeconds > setSeconds, `${path} was changed`);
      }
    }
  }

  await cluster.run(async ([one, other]) => {
    await one!.files.ensureRoot();
    for (let i = 0; i < 4; i++) {
      await one!.files.mkdir(`/d${i}`);
      dirs.push((await one!.files.stat(`/d${i}`)).inode);
      for (let k = 0; k < FILES; k++) await one!.files.writeFile(`/d${i}/f${k}`, '');
    }
    for (let number = 0; number < ROUNDS; number++) {
      await round(one!, other!.files, number);
    }
  });
  return cluster.world.traceHash;
}

describeSeeds('times of directories', 'are those that were set last', seeds, play);
