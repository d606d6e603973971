/**
 * One target of several loses power and forgets what was not flushed, the others do not: operations
 * across targets are then done on one side only (docs/transactions.md, "Power"). Protects: fsck names what
 * that leaves, and repairs all of it without losing what is still there.
 */
import assert from 'node:assert/strict';
import type { VolumeFiles } from '../../../src/client/volume-files.js';
import { planRepair } from '../../../src/fsck/repair.js';
import { buildCluster } from '../../sim/cluster.js';
import { fsckOf, linesOf } from '../../support/fsck.js';

const TARGETS = 4;

async function flushed(files: VolumeFiles): Promise<void> {
  await files.ensureRoot();
  for (const folder of ['/p', '/q', '/r', '/s']) {
    await files.mkdir(folder);
    await files.mkdir(`${folder}/d`);
    await files.writeFile(`${folder}/f`, 'content');
    const file = await files.open(`${folder}/g`, 'w');
    await file.write(new Uint8Array(3_000_000).fill(7), 0);
    await file.sync();
    file.close();
  }
}

async function notFlushed(files: VolumeFiles): Promise<void> {
  await files.rename('/p/d', '/q/moved');
  await files.rename('/q/f', '/r/moved');
  await files.link('/r/f', '/s/linked');
  await files.mkdir('/s/made');
  await files.writeFile('/s/made/inside', 'content');
  await files.rmdir('/r/d');
  await files.unlink('/s/g');
  await files.copyFile('/p/g', '/q/clone');
}

describe('fsck after the loss of power of one target', function () {
  this.timeout(60_000);

  for (let victim = 0; victim < TARGETS; victim++) {
    it(`of target ${victim} repairs what was done on one side only`, async () => {
      const cluster = buildCluster(11, { targets: TARGETS, clients: 1 });
      await cluster.run(async ([client]) => {
        await flushed(client!.files);
        await notFlushed(client!.files);
      });
      cluster.clients[0]!.kill();
      cluster.targets[victim]!.losePower();
      const { first, remaining, changes } = await planRepair(fsckOf(cluster, false));
      assert.ok(first.findings.length > 0 && changes.flat().length > 0, 'the loss is seen');
      const unmended = first.findings.filter(({ repair }) => repair === '');
      assert.deepEqual(linesOf(unmended), []);
      assert.deepEqual(linesOf(remaining), []);
    });
  }
});
