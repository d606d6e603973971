/** Real programs on the mount do what they do on a local directory. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';

function run(cwd: string, command: string): string {
  return execFileSync('bash', ['-c', `set -euo pipefail; ${command}`], {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
    maxBuffer: 1 << 26,
  });
}

describe('programs on a mount', function () {
  this.timeout(180_000);
  let cluster: TestCluster;
  let root: string;
  let local: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, dataSize: '1G' });
    root = cluster.mount('mnt', 'attr=1,entry=1');
    local = join(cluster.dir, 'local');
    mkdirSync(local);
  });

  after(async () => {
    await cluster?.stop();
  });

  it('git clones, commits, collects garbage and finds its store whole', () => {
    const source = join(local, 'source');
    run(
      local,
      'git init -q source && cd source && git config user.email a@b && git config user.name n',
    );
    run(
      source,
      `cp -r "${packageRoot()}/src" "${packageRoot()}/docs" . && git add . && git commit -qm one`,
    );
    run(root, `git clone -q --no-hardlinks "${source}" clone`);
    const clone = join(root, 'clone');
    run(clone, 'git config user.email a@b && git config user.name n && echo x >> new && git add .');
    run(clone, 'git commit -qm two && git gc -q && git fsck --strict && git status --porcelain');
    run(root, `rm clone/new && diff -r --exclude .git "${source}" clone`);
    assert.equal(run(clone, 'git checkout -q . && cat new'), 'x\n');
  });

  it('tar unpacks a big tree that compares equal', () => {
    run(local, `tar cf tree.tar -C "${packageRoot()}/node_modules" typescript eslint fastify zod`);
    run(local, 'mkdir tree && tar xf tree.tar -C tree');
    run(root, `mkdir tree && tar xf "${local}/tree.tar" -C tree`);
    run(root, `diff -r "${local}/tree" tree`);
    run(root, `tar df "${local}/tree.tar" -C tree`);
  });

  it('rsync -a copies both ways and then has nothing to do', () => {
    run(root, `rsync -a "${local}/tree/" synced/`);
    assert.equal(run(root, `rsync -ain "${local}/tree/" synced/ | grep -v '^$' || true`), '');
    run(root, `rsync -a synced/ "${local}/back/" && diff -r "${local}/tree" "${local}/back"`);
    run(root, 'rm -rf synced tree');
  });

  for (const mode of ['delete', 'wal']) {
    it(`SQLite works in journal mode ${mode}`, () => {
      const script =
        `PRAGMA journal_mode=${mode}; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);` +
        `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<20000)` +
        `INSERT INTO t SELECT i, hex(i*7919) || 'text' FROM n;` +
        `UPDATE t SET b = b || a WHERE a % 3 = 0; DELETE FROM t WHERE a % 7 = 0;` +
        `CREATE INDEX tb ON t(b); PRAGMA integrity_check;`;
      const here = run(
        root,
        `sqlite3 ${mode}.db "${script}"; sqlite3 ${mode}.db .dump | sha256sum`,
      );
      const there = run(
        local,
        `sqlite3 ${mode}.db "${script}"; sqlite3 ${mode}.db .dump | sha256sum`,
      );
      assert.match(here, /ok/);
      assert.equal(here, there);
    });
  }
});
