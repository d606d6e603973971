/**
 * One directory on real mounts that splits while it is filled, listed, and emptied. Protects: what is there
 * throughout is listed exactly once whatever splits meanwhile; telldir and seekdir find their place; the other
 * mount sees what this one does; nothing is left, and fsck finds nothing, running or stopped.
 *
 * SEALFS_SIM_SEEDS from 1,000 on: more files.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sealfs, sleep } from '../support/cluster.js';
import { assertClean } from '../support/fsck.js';

const isLong = Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') >= 1000;
const SPLIT_ENTRIES = isLong ? 2000 : 250;
const FILES = isLong ? 30_000 : 2500;
/** Files that are there from the beginning; a listing meets each once. */
const EARLY = 200;
const SERVERS = 2;
/** Between two listings: who fills it needs the cores as well. */
const PAUSE_MS = 30;

describe('a directory that grows, on mounts', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let mounts: string[];
  let dir: string;
  let other: string;

  before(async () => {
    cluster = await TestCluster.start({
      servers: SERVERS,
      targets: 2,
      splitEntries: SPLIT_ENTRIES,
    });
    mounts = [cluster.mount(), cluster.mount('other')];
    [dir, other] = mounts.map((mount) => join(mount, 'grown')) as [string, string];
    fs.mkdirSync(dir);
  });

  after(async () => {
    await cluster?.stop();
  });

  it('is listed once and whole while it splits', async () => {
    for (let i = 0; i < EARLY; i++) fs.writeFileSync(join(dir, `early-${i}`), '');
    const script = `seq -f f%.0f 0 ${FILES - 1} | xargs touch`;
    const filling = spawn('bash', ['-c', script], { cwd: dir, stdio: 'inherit' });
    let listings = 0;
    let ended = false;
    const filled = once(filling, 'exit').finally(() => (ended = true));
    while (!ended) {
      const names = await fs.promises.readdir(other);
      assert.equal(new Set(names).size, names.length, 'no name twice');
      assert.equal(names.filter((name) => name.startsWith('early-')).length, EARLY);
      listings++;
      await sleep(PAUSE_MS);
    }
    assert.deepEqual(await filled, [0, null]);
    assert.ok(listings > 2, `${listings} listings meanwhile`);
    const names = fs.readdirSync(other);
    assert.equal(names.length, EARLY + FILES);
    assert.equal(new Set(names).size, names.length);
    assert.equal(fs.existsSync(join(other, 'f0')), true);
    assert.equal(fs.existsSync(join(other, `f${FILES}`)), false);
  });

  it('is a directory as any other', () => {
    const before = fs.statSync(other).mtimeMs;
    fs.mkdirSync(join(dir, 'sub'));
    assert.equal(fs.statSync(dir).nlink, 3);
    assert.ok(fs.statSync(dir).mtimeMs >= before);
    fs.chmodSync(dir, 0o2770);
    fs.chownSync(dir, 0, 4321);
    for (let i = 0; i < 40; i++) {
      fs.writeFileSync(join(other, `grouped-${i}`), '');
      assert.equal(fs.statSync(join(dir, `grouped-${i}`)).gid, 4321);
    }
    fs.renameSync(join(dir, 'f1'), join(dir, 'sub', 'f1'));
    fs.linkSync(join(dir, 'f2'), join(dir, 'sub', 'linked'));
    assert.equal(fs.statSync(join(dir, 'f2')).nlink, 2);
    fs.renameSync(join(dir, 'sub'), join(dir, 'renamed'));
    fs.utimesSync(dir, 1_000_000_000, 1_000_000_000);
    assert.equal(fs.statSync(dir).mtimeMs, 1_000_000_000_000);
    fs.rmSync(join(dir, 'renamed'), { recursive: true });
    assert.ok(fs.statSync(dir).mtimeMs > 1_500_000_000_000);
    assert.throws(() => fs.rmdirSync(dir), { code: 'ENOTEMPTY' });
    const fd = fs.openSync(dir, 'r');
    fs.fsyncSync(fd);
    fs.closeSync(fd);
    const checked = sealfs('fsck', '--manager', cluster.url, '--json');
    assert.equal(checked.status, 0, checked.stdout + checked.stderr);
    const { counts } = JSON.parse(checked.stdout) as { counts: Record<string, number> };
    // The partitions have inodes, and no names.
    const partitions = counts['inodes']! - counts['entries']! - 1;
    assert.ok(partitions >= 7, `${partitions} partitions: ${checked.stdout}`);
  });

  it('is emptied and removed', async () => {
    fs.rmSync(dir, { recursive: true });
    assert.equal(fs.existsSync(other), false);
    for (const mount of mounts) cluster.unmount(mount);
    const metaDirs = Array.from({ length: SERVERS }, (_, i) => join(cluster.dir, `meta-${i}`));
    for (let i = 0; i < SERVERS; i++) await cluster.killServer(i, 'SIGTERM');
    const { counts } = await assertClean(metaDirs);
    assert.equal(counts.entries, 0);
  });
});
