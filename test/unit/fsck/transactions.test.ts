/**
 * Operations across targets, looked at between every two steps: whatever is prepared, decided or done
 * then, fsck of the targets as they would be after a kill at that moment finds nothing. Protects both:
 * fsck's reading of prepared steps, and that no state between is damage.
 */
import assert from 'node:assert/strict';
import type { VolumeFiles } from '../../../src/client/volume-files.js';
import { checkCluster } from '../../../src/fsck/check.js';
import type { FsckCluster } from '../../../src/fsck/store-reader.js';
import { buildCluster } from '../../sim/cluster.js';
import { fsckOf, linesOf } from '../../support/fsck.js';

const SAMPLE_MS = 0.15;
const EXCHANGE = 2;

async function operations(files: VolumeFiles): Promise<void> {
  const folders = ['/p', '/q', '/r', '/s'];
  for (const folder of folders) await files.mkdir(folder);
  for (const [index, folder] of folders.entries()) {
    const next = folders[(index + 1) % folders.length]!;
    const after = folders[(index + 2) % folders.length]!;
    await files.writeFile(`${folder}/f`, 'content');
    await files.link(`${folder}/f`, `${next}/linked-${index}`);
    await files.mkdir(`${folder}/d`);
    await files.mkdir(`${folder}/d/inner`);
    await files.rename(`${folder}/d`, `${after}/moved-${index}`);
    await files.rename(`${next}/linked-${index}`, `${after}/over-${index}`);
    await files.writeFile(`${next}/victim-${index}`, 'victim');
    await files.rename(`${after}/over-${index}`, `${next}/victim-${index}`);
    await files.mkdir(`${next}/other-${index}`);
    await files.rename(`${after}/moved-${index}`, `${next}/other-${index}`, EXCHANGE);
    await files.unlink(`${folder}/f`);
    await files.rmdir(`${after}/moved-${index}`);
  }
}

/** A directory splits again and again while there are files and directories in it, and goes. */
async function growth(files: VolumeFiles): Promise<void> {
  await files.mkdir('/grown');
  for (let i = 0; i < 40; i++) await files.writeFile(`/grown/f${i}`, 'content');
  for (let i = 0; i < 12; i++) await files.mkdir(`/grown/d${i}`);
  await files.link('/grown/f0', '/grown/linked');
  await files.rename('/grown/d1', '/grown/renamed');
  await files.rename('/grown/f2', '/grown/d2/f2');
  await files.chmod('/grown', 0o2755);
  for (let i = 3; i < 40; i++) await files.unlink(`/grown/f${i}`);
  await files.rm('/grown', { recursive: true });
}

describe('fsck amid operations across targets', function () {
  this.timeout(60_000);

  it('finds nothing at any moment', () => atAnyMoment(operations, undefined));

  it('nor while a directory is split', () => atAnyMoment(growth, 8));

  async function atAnyMoment(
    work: (files: VolumeFiles) => Promise<void>,
    splitEntries: number | undefined,
  ): Promise<void> {
    const cluster = buildCluster(7, {
      targets: 4,
      clients: 1,
      ...(splitEntries === undefined ? {} : { splitEntries }),
    });
    const snapshots: FsckCluster[] = [];
    let commits = 0;
    let ended = false;
    const sample = (): void => {
      const now = cluster.targets.reduce((sum, each) => sum + each.image.undo.length, 0);
      if (now !== commits) snapshots.push(fsckOf(cluster, false));
      commits = now;
      if (!ended) cluster.world.schedule(SAMPLE_MS, sample);
    };
    cluster.world.schedule(SAMPLE_MS, sample);
    await cluster.run(async ([client]) => {
      await client!.files.ensureRoot();
      await work(client!.files);
      ended = true;
    });
    if (splitEntries !== undefined) {
      const merges = cluster.targets.map((each) => each.target!.report()['directoryMerges']!);
      assert.ok(
        merges.some((count) => count > 0),
        'it is merged again',
      );
    }
    let underWay = 0;
    for (const [index, snapshot] of snapshots.entries()) {
      const { findings, counts } = await checkCluster(snapshot);
      if (counts.openTransactions > 0) underWay++;
      assert.deepEqual(linesOf(findings), [], `moment ${index} of ${snapshots.length}`);
    }
    assert.ok(underWay > 50, `${underWay} of ${snapshots.length} moments had prepared steps`);
  }
});
