/**
 * `sealfs bench io500 --intercept` on a real mount. Protects: its ranks do go past the kernel, every phase finds what the
 * others wrote that way, and the result says how it was measured.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseReport, reportRows } from '../../src/cli/intercept-report.js';
import { TestCluster, program } from '../support/cluster.js';

/** Counts that are reached long before the stonewall. */
const tiny = `
[debug]
stonewall-time = 10
[ior-easy]
transferSize = 64k
blockSize = 1m
[ior-hard]
segmentCount = 20
[mdtest-easy]
n = 30
[mdtest-hard]
n = 120
[ior-rnd4K-easy-read]
run = FALSE
`;

interface RunJson {
  intercepted: boolean;
  phases: object[];
}

describe('io500 past the kernel', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  let reports: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 1 });
    mount = cluster.mount();
    reports = join(cluster.dir, 'report');
    writeFileSync(join(cluster.dir, 'tiny.ini'), tiny);
  });

  after(async () => {
    await cluster?.stop();
  });

  function io500(...words: string[]): { out: string; stdout: string } {
    rmSync(reports, { force: true });
    const out = join(cluster.dir, 'out');
    const all = ['bench', 'io500', '--dir', mount, '--np', '2', '--out', out, '--intercept'];
    const ended = spawnSync(
      process.execPath,
      [program, ...all, '--config', join(cluster.dir, 'tiny.ini'), ...words],
      {
        encoding: 'utf8',
        timeout: 50_000,
        env: { ...process.env, SEALFS_INTERCEPT_REPORT: reports },
      },
    );
    assert.equal(ended.status, 0, ended.stderr);
    return { out, stdout: ended.stdout };
  }

  it('runs every phase, and beside the kernel’s way', () => {
    const { out, stdout } = io500('--compare', mount, '--json');
    const { a, b } = JSON.parse(stdout) as { a: RunJson; b: RunJson };
    assert.deepEqual([a.intercepted, b.intercepted], [true, false]);
    assert.deepEqual([a.phases.length, b.phases.length], [12, 12]);
    assert.match(readFileSync(join(out, 'a/result.txt'), 'utf8'), /^intercepted +=/m);
    assert.doesNotMatch(readFileSync(join(out, 'b/result.txt'), 'utf8'), /intercepted/);
    // Two ranks, not four.
    const programs = parseReport(readFileSync(reports, 'utf8'));
    assert.equal(programs.length, 2);
    const rows = reportRows(programs);
    const answered = (call: string): number =>
      Number(rows.find(([name]) => name === call)?.[1] ?? '0');
    // 16 transfers and 20 records of each rank, at least.
    assert.ok(answered('write') >= 72 && answered('read') >= 72, JSON.stringify(rows));
  });
});
