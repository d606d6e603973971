/**
 * fsck of a simulated cluster while clients change it as fast as they can: each read is another moment.
 * Protects: nothing that is only being changed is reported, and what is wrong is.
 */
import assert from 'node:assert/strict';
import type { VolumeFiles } from '../../../src/client/volume-files.js';
import { checkCluster } from '../../../src/fsck/check.js';
import type { FsckCluster, StoreReader } from '../../../src/fsck/store-reader.js';
import { inodeKey } from '../../../src/server/keys.js';
import { buildCluster } from '../../sim/cluster.js';
import type { SimCluster, SimTarget } from '../../sim/cluster.js';
import { fsckOf, linesOf } from '../../support/fsck.js';
import { pattern } from './content.js';

/** More with SEALFS_SIM_SEEDS from 1,000 on. */
const SEEDS = Number(process.env['SEALFS_SIM_SEEDS'] ?? 200) >= 1000 ? 20 : 3;
const PAIRS_A_REQUEST = 5;
const MIB = 1048576;

/** As by Inventory requests: a few pairs at a time, each answer a moment later. */
class SlowStore implements StoreReader {
  readonly #target: SimTarget;
  readonly #pause: (ms: number) => Promise<void>;

  constructor(target: SimTarget, pause: (ms: number) => Promise<void>) {
    this.#target = target;
    this.#pause = pause;
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    const limit = Buffer.from(end).toString('latin1');
    for (let from = Buffer.from(start).toString('latin1'); ;) {
      await this.#pause(0.3);
      const { keys, values } = this.#target.image;
      const cursor = keys.seek(from);
      for (let pairs = 0; pairs < PAIRS_A_REQUEST; pairs++) {
        const key = cursor.next();
        if (key === undefined || key >= limit) return;
        visit(Buffer.from(key, 'latin1'), values.get(key)!);
        from = `${key}\0`;
      }
    }
  }

  async version(): Promise<number> {
    return this.#target.target!.meta.commitSequence;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    await this.#pause(0.1);
    return this.#target.image.values.get(Buffer.from(key).toString('latin1'))?.slice();
  }
}

function running(cluster: SimCluster): FsckCluster {
  const pause = (ms: number): Promise<void> => {
    return new Promise((resolve) => cluster.world.schedule(ms, resolve));
  };
  const still = fsckOf(cluster, false);
  const targets = still.targets.map((target, index) => ({
    ...target,
    reader: new SlowStore(cluster.targets[index]!, pause),
  }));
  // What is under way is known of, not waited for: the real pause only saves looks.
  return { ...still, targets, running: true, pause: () => pause(20) };
}

/** One client's share of the trouble: names come, move and go; files grow and shrink. */
async function change(files: VolumeFiles, home: string, rounds: () => boolean): Promise<void> {
  await files.mkdir(home);
  await files.mkdir(`${home}/x`);
  await files.mkdir(`${home}/y`);
  await files.mkdir(`${home}/grown`);
  for (let round = 0; rounds(); round++) {
    const name = `f${round % 5}`;
    await files.writeFile(`${home}/x/${name}`, pattern(20_000 + round * 999, round));
    await files.link(`${home}/x/${name}`, `${home}/y/l-${name}`);
    await files.rename(`${home}/x/${name}`, `${home}/y/${name}`);
    await files.mkdir(`${home}/x/d`);
    await files.rename(`${home}/x/d`, `${home}/y/d`);
    await files.setXattr(`${home}/y/${name}`, 'user.round', pattern(round % 90, round));
    if (round % 4 === 0) await files.writeFile(`${home}/big`, pattern(2 * MIB + round, round));
    if (round % 4 === 1) await files.copyFile(`${home}/big`, `${home}/clone`);
    if (round % 4 === 2) await files.unlink(`${home}/big`);
    if (round % 4 === 3) await files.unlink(`${home}/clone`);
    await files.unlink(`${home}/y/l-${name}`);
    await files.unlink(`${home}/y/${name}`);
    await files.rmdir(`${home}/y/d`);
    await files.writeFile(`${home}/grown/k${round}`, 'x');
    await files.mkdir(`${home}/grown/d${round}`);
  }
}

describe('fsck of a cluster that runs', function () {
  this.timeout(120_000);

  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`finds nothing that is only being changed (seed ${seed})`, async () => {
      const cluster = buildCluster(seed, { targets: 3, clients: 2, splitEntries: 4 });
      let checking = true;
      await cluster.run(async ([first, second]) => {
        await first!.files.ensureRoot();
        const check = async (): Promise<void> => {
          for (let times = 0; times < 3; times++) {
            const { findings } = await checkCluster(running(cluster));
            assert.deepEqual(linesOf(findings), [], `check ${times}`);
          }
        };
        const checked = check().finally(() => (checking = false));
        await Promise.all([
          checked,
          change(first!.files, '/one', () => checking),
          change(second!.files, '/two', () => checking),
        ]);
      });
    });
  }

  it('finds what is wrong', async () => {
    const cluster = buildCluster(4, { targets: 3, clients: 1 });
    let checking = true;
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      await files.writeFile('/victim', 'x');
      const { inode } = await files.stat('/victim');
      for (const target of cluster.targets) {
        const key = Buffer.from(inodeKey(inode)).toString('latin1');
        if (target.image.values.has(key)) target.image.set(key, undefined);
      }
      const check = checkCluster(running(cluster)).finally(() => (checking = false));
      const [amid] = await Promise.all([check, change(files, '/one', () => checking)]);
      // Sums are only believed of a target at rest.
      const kinds = new Set(amid.findings.map(({ kind }) => kind));
      kinds.delete('inode-count');
      assert.deepEqual([...kinds].sort(), ['dangling-entry', 'stray-chunk']);
      const { findings } = await checkCluster(running(cluster));
      assert.deepEqual(findings.map(({ kind }) => kind).sort(), [
        'dangling-entry',
        'inode-count',
        'stray-chunk',
      ]);
    });
  });
});
