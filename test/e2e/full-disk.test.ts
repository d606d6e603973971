/**
 * A volume that is full, on mounts, through the kernel and through shared memory. Protects: whoever
 * is refused is told ENOSPC, what was acknowledged is there for everybody, names still change, and what is cut off
 * or removed is room again; fsck finds nothing. A failure prints its seed; SEALFS_FULL_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { assertClean } from '../support/fsck.js';
import { answeredCalls, preloaded } from '../support/preload.js';

const script = join(packageRoot(), 'test/e2e/full-disk.py');
const seed = process.env['SEALFS_FULL_SEED'] ?? `${randomInt(1_000_000)}`;

describe('a full volume, on mounts', function () {
  this.timeout(120_000);
  let cluster: TestCluster;
  let mount: string;
  let other: string;
  let report: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 1, dataSize: '64M' });
    mount = cluster.mount();
    other = cluster.mount('other');
    report = join(cluster.dir, 'report');
  });

  after(async () => {
    await cluster?.stop();
  });

  async function fill(environment: NodeJS.ProcessEnv): Promise<void> {
    const env = { ...process.env, ...environment };
    await promisify(execFile)('python3', [script, mount, other, seed], { env, timeout: 90_000 });
  }

  it('through the kernel', () => fill({}));

  it('through shared memory', async () => {
    await fill(preloaded(report));
    for (const call of ['write', 'read', 'ftruncate', 'unlink', 'rename']) {
      assert.ok(answeredCalls(report, call) > 0, call);
    }
  });

  it('and fsck finds nothing', async () => {
    for (const path of [mount, other]) cluster.unmount(path);
    await cluster.killServer(0, 'SIGTERM');
    await assertClean([join(cluster.dir, 'meta-0')]);
  });
});
