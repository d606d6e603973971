/**
 * Processes killed with SIGKILL under load: nothing acknowledged is lost, under `hard` the load goes on
 * without an error, and fsck finds nothing, neither meanwhile nor in what killed servers leave.
 * SEALFS_KILL_ROUNDS kills each kind of process that many times.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sealfs, sleep, until } from '../support/cluster.js';
import { assertKilledClean } from '../support/fsck.js';
import { verifyLoad } from '../support/load.js';

const rounds = Number(process.env['SEALFS_KILL_ROUNDS'] ?? '2');
const loadScript = fileURLToPath(new URL('../support/load.js', import.meta.url));

interface Load {
  journal: string;
  tag: string;
  ended: Promise<string>;
}

/** Starts a load; `ended` resolves to its error output, empty when it succeeded. */
function startLoad(cluster: TestCluster, mount: string, tag: string, seconds: number): Load {
  const journal = join(cluster.dir, `journal-${tag}`);
  const args = [loadScript, mount, journal, tag, `${seconds}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  const ended = new Promise<string>((resolve) => {
    child.once('exit', (status) => resolve(status === 0 ? '' : err || `status ${status}`));
  });
  return { journal, tag, ended };
}

/** Tells the load to end, and returns its error output. */
function finish(load: Load): Promise<string> {
  writeFileSync(`${load.journal}.stop`, '');
  return load.ended;
}

function acknowledged(load: Load): number {
  if (!existsSync(load.journal)) return 0;
  return readFileSync(load.journal, 'utf8').split('\n').length - 1;
}

describe('kill -9 under load', function () {
  this.timeout(60_000 + rounds * 40_000);
  let cluster: TestCluster;
  let mount: string;

  beforeEach(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 1, dataSize: '6G' });
    mount = cluster.mount();
  });

  afterEach(async () => {
    await cluster?.stop();
  });

  it('of a server loses nothing, and the load goes on without an error', async () => {
    const loads = ['a', 'b'].map((tag) => startLoad(cluster, mount, tag, 300));
    for (let round = 0; round < rounds; round++) {
      await sleep(1000 + 200 * round);
      await cluster.killServer(round % 2);
      await sleep(300);
      cluster.startServer(round % 2);
      const before = loads.map(acknowledged);
      await until('the load to go on', () =>
        loads.every((l, i) => acknowledged(l) > before[i]! + 3),
      );
    }
    const meanwhile = sealfs('fsck', '--manager', cluster.url);
    assert.equal(meanwhile.status, 0, meanwhile.stdout + meanwhile.stderr);
    for (const load of loads) {
      assert.equal(await finish(load), '');
      assert.ok(verifyLoad(mount, load.journal, load.tag) > 10);
    }
    const fresh = cluster.mount('fresh');
    for (const load of loads) verifyLoad(fresh, load.journal, load.tag);
    await assertKilledClean(cluster);
  });

  it('of all servers at once loses nothing', async () => {
    const load = startLoad(cluster, mount, 'all', 6);
    await sleep(2000);
    await Promise.all([cluster.killServer(0), cluster.killServer(1)]);
    cluster.startServer(0);
    cluster.startServer(1);
    assert.equal(await load.ended, '');
    assert.ok(verifyLoad(mount, load.journal, 'all') > 10);
    await assertKilledClean(cluster);
  });

  it('of the manager is not noticed by the load, nor is its restart', async () => {
    const load = startLoad(cluster, mount, 'm', 300);
    for (let round = 0; round < rounds; round++) {
      await sleep(700);
      await cluster.killManager();
      const before = acknowledged(load);
      await until('the load to go on without a manager', () => acknowledged(load) > before + 3);
      await cluster.startManager();
    }
    assert.equal(await finish(load), '');
    assert.ok(verifyLoad(mount, load.journal, 'm') > 10);
    await until('the servers to be up again', () => cluster.targetsUp() === 2);
    const volumes = sealfs('volume', 'list', '--json', '--manager', cluster.url);
    assert.match(volumes.stdout, /"default"/);
  });

  it('of clients leaves what they acknowledged, for the next mounts', async () => {
    const paths = Array.from({ length: rounds }, (_, i) => cluster.mount(`victim-${i}`));
    // Their directories: nobody has to wait for a lease of one that is dead.
    const loads = paths.map((path, i) => startLoad(cluster, path, `c${i}`, 60));
    for (const [i, path] of paths.entries()) {
      const load = loads[i]!;
      await until('some files', () => acknowledged(load) > 20);
      process.kill(cluster.mountPid(path), 'SIGKILL');
      assert.notEqual(await load.ended, '');
      cluster.abandonMount(path);
    }
    for (const [i, path] of paths.entries()) {
      const again = cluster.mount(`victim-${i}`);
      assert.equal(again, path);
      assert.ok(verifyLoad(again, loads[i]!.journal, `c${i}`) > 20);
    }
    await assertKilledClean(cluster);
  });

  it('SIGTERM ends a server cleanly, and a start finds everything', async () => {
    const load = startLoad(cluster, mount, 't', 4);
    await sleep(1500);
    assert.equal(await cluster.killServer(0, 'SIGTERM'), 0);
    cluster.startServer(0);
    assert.equal(await load.ended, '');
    assert.ok(verifyLoad(mount, load.journal, 't') > 10);
  });
});
