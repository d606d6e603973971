/**
 * Listings on mounts under leases. Protects: `ls` of a small directory is one request, `ls -l` of a large one
 * costs its pages and nothing for each name, in one piece or in partitions; and what another mount changes in the
 * middle of it is seen at once.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { TestCluster, sleep, until } from '../support/cluster.js';
import { CountedMount } from '../support/counted-mount.js';

const SPLIT_ENTRIES = 140;
/** Files of a directory that is not. */
const LONG = 120;
/** Between two looks at what was changed lately. */
const QUIET_MS = 300;
/** Entries of a page, at least: a kernel before 6.16 asks for 4 KiB at a time. */
const PAGE_ENTRIES = 15;

function list(dir: string): string[] {
  const run = spawnSync('ls', ['-l', dir], { encoding: 'utf8', timeout: 60_000 });
  assert.equal(run.status, 0, run.stderr);
  return run.stdout.trim().split('\n').slice(1);
}

describe('listings under leases', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: CountedMount | undefined;
  let maker: string;
  let reader: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 1, splitEntries: SPLIT_ENTRIES });
    maker = cluster.mount('maker');
    reader = join(cluster.dir, 'reader');
    mount = await CountedMount.start(cluster.url, reader);
  });

  after(async () => {
    await mount?.stop();
    await cluster?.stop();
  });

  function make(dir: string, files: number): void {
    fs.mkdirSync(join(maker, dir));
    for (let i = 0; i < files; i++) fs.writeFileSync(join(maker, dir, `f${i}`), '');
  }

  /** What its maker has recalled is leased again, and the last split is over: looking at it costs nothing. */
  async function settle(dir: string): Promise<void> {
    let free = 0;
    await until(`${dir} to be held`, async () => {
      await sleep(QUIET_MS);
      const cost = await mount!.cost(() => fs.statSync(join(reader, dir)));
      free = cost === 0 ? free + 1 : 0;
      return free === 2;
    });
  }

  it('cost one request for a directory of 100 entries, opening and closing included', async () => {
    make('small', 100);
    await settle('small');
    const requests = await mount!.cost(() => {
      assert.equal(fs.readdirSync(join(reader, 'small')).length, 100);
    });
    assert.equal(requests, 1);
  });

  it('cost their pages alone where each name is looked at', async () => {
    const files = LONG;
    make('long', files);
    await settle('long');
    const cost = await mount!.cost(() => {
      assert.equal(list(join(reader, 'long')).length, files);
    });
    assert.ok(cost <= 2 + files / PAGE_ENTRIES, `${cost} requests`);
    const absent = await mount!.cost(() => {
      assert.equal(fs.existsSync(join(reader, 'long/absent')), false);
    });
    assert.equal(absent, 0, 'all names are held');
  });

  it('cost little in a directory that has been split, and show what another mount changes', async () => {
    const files = SPLIT_ENTRIES * 2;
    make('split', files);
    await settle('split');
    const cost = await mount!.cost(() => {
      assert.equal(list(join(reader, 'split')).length, files);
    });
    // Files that were made before the first split lie elsewhere than their names, half of them at most.
    assert.ok(cost <= 30 + files / PAGE_ENTRIES + SPLIT_ENTRIES / 2, `${cost} requests`);
    for (let i = 0; i < 10; i++) {
      const name = join('split', `f${i * 25}`);
      fs.truncateSync(join(maker, name), i + 1);
      assert.equal(fs.statSync(join(reader, name)).size, i + 1);
      fs.renameSync(join(maker, name), join(maker, `split/moved-${i}`));
      assert.equal(fs.existsSync(join(reader, name)), false);
      assert.equal(fs.statSync(join(reader, `split/moved-${i}`)).size, i + 1);
    }
  });

  it('show what another mount changes in the middle of one', () => {
    const dir = fs.opendirSync(join(reader, 'long'), { bufferSize: 1 });
    try {
      const seen: string[] = [];
      for (let entry = dir.readSync(); entry !== null; entry = dir.readSync()) {
        const { name } = entry;
        const path = join(reader, 'long', name);
        assert.equal(fs.statSync(path).size, 0);
        seen.push(name);
        if (seen.length % 25 !== 1) continue;
        fs.truncateSync(join(maker, 'long', name), 7);
        assert.equal(fs.statSync(path).size, 7, `${seen.length}: ${name}`);
        fs.unlinkSync(join(maker, 'long', name));
        assert.equal(fs.existsSync(path), false, `${seen.length}: ${name}`);
        fs.writeFileSync(join(maker, 'long', `new-${name}`), 'abc');
        assert.equal(fs.statSync(join(reader, 'long', `new-${name}`)).size, 3);
        fs.truncateSync(join(maker, 'long', `new-${name}`), 0);
      }
      const early = seen.filter((name) => !name.startsWith('new-'));
      assert.equal(new Set(early).size, LONG);
    } finally {
      dir.closeSync();
    }
  });
});
