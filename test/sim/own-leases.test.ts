/**
 * An operation across targets as one client's own change: it keeps the leases that it holds at each of them, and
 * others lose theirs. Protects: a rename to another target costs its exchanges, not two recalls from who asked for it.
 */
import assert from 'node:assert/strict';
import type { VolumeFiles } from '../../src/client/volume-files.js';
import { buildCluster } from './cluster.js';
import type { SimCluster } from './cluster.js';

const OPERATIONS = 20;

function count(cluster: SimCluster, name: string): number {
  return cluster.targets.reduce((sum, { target }) => sum + (target!.report()[name] ?? 0), 0);
}

/** Renames to and fro between two directories, links, and removes; which directories lie apart is up to their numbers. */
async function changeNames(files: VolumeFiles): Promise<void> {
  for (let i = 0; i < OPERATIONS; i++) {
    const [from, to] = [`/d${i % 4}`, `/d${(i + 1) % 4}`];
    await files.writeFile(`${from}/f${i}`, 'content');
    await files.writeFile(`${to}/g${i}`, 'other content');
    await files.rename(`${from}/f${i}`, `${to}/f${i}`);
    await files.rename(`${to}/f${i}`, `${from}/g${i}`);
    await files.rename(`${from}/g${i}`, `${to}/g${i}`);
    await files.link(`${to}/g${i}`, `${from}/h${i}`);
    assert.equal((await files.stat(`${from}/h${i}`)).linkCount, 2);
    await files.unlink(`${to}/g${i}`);
    assert.equal((await files.stat(`${from}/h${i}`)).linkCount, 1);
  }
}

describe('operations across targets', () => {
  it('recall nothing from the client that asked for them', async () => {
    const cluster = buildCluster(11, { targets: 2, clients: 2, client: { coherence: 'leases' } });
    await cluster.run(async ([own, other]) => {
      await own!.files.ensureRoot();
      for (let i = 0; i < 4; i++) await own!.files.mkdir(`/d${i}`);
      await changeNames(own!.files);
      assert.ok(count(cluster, 'transactionsCommitted') > OPERATIONS, 'some are across targets');
      assert.equal(count(cluster, 'leasesRecalled'), 0);
      // Who else looks is told.
      for (let i = 0; i < OPERATIONS; i++) await other!.files.stat(`/d${i % 4}/h${i}`);
      for (let i = 0; i < OPERATIONS; i++) {
        await own!.files.rename(`/d${i % 4}/h${i}`, `/d${(i + 1) % 4}/moved${i}`);
        await assert.rejects(other!.files.stat(`/d${i % 4}/h${i}`), { code: 'ENOENT' });
        assert.ok((await other!.files.stat(`/d${(i + 1) % 4}/moved${i}`)).isFile());
      }
      assert.ok(count(cluster, 'leasesRecalled') > 0);
    });
  });
});
