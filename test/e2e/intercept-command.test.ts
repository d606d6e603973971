/**
 * Interception by the command line, on a real mount. Protects: ranks of `sealfs bench io500 --intercept` do go past the
 * kernel, every phase finds what the others wrote that way, and the result says how it was measured; and
 * `sealfs intercept --report` tells counts, times and reasons, and who said nothing.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readReport, reportRows } from '../../src/cli/intercept-report.js';
import type { ProgramReport } from '../../src/cli/intercept-report.js';
import { reasonAgainstPreload } from '../../src/cli/preloadable.js';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster, program } from '../support/cluster.js';

const both = join(packageRoot(), 'test/e2e/intercept-both.py');
const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;

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

describe('interception by the command line', function () {
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

  it('runs every phase of the IO500, and beside the kernel’s way', () => {
    const { out, stdout } = io500('--compare', mount, '--json');
    const { a, b } = JSON.parse(stdout) as { a: RunJson; b: RunJson };
    assert.deepEqual([a.intercepted, b.intercepted], [true, false]);
    assert.deepEqual([a.phases.length, b.phases.length], [12, 12]);
    assert.match(readFileSync(join(out, 'a/result.txt'), 'utf8'), /^intercepted +=/m);
    assert.doesNotMatch(readFileSync(join(out, 'b/result.txt'), 'utf8'), /intercepted/);
    // Two ranks, not four.
    const programs = readReport(readFileSync(reports, 'utf8')).programs;
    assert.equal(programs.length, 2);
    const rows = reportRows(programs);
    const answered = (call: string): number =>
      Number(rows.find(([name]) => name === call)?.[1] ?? '0');
    // 16 transfers and 20 records of each rank, at least.
    assert.ok(answered('write') >= 72 && answered('read') >= 72, JSON.stringify(rows));
  });

  it('reaches the ranks of another program through mpirun', () => {
    // In the place of the official one: each rank writes a file, and the first one the result.
    const binary = join(cluster.dir, 'io500');
    const script = `#!/bin/sh
      set -e
      out=$(sed -n 's/^resultdir = //p' "$1")
      data=$(sed -n 's/^datadir = //p' "$1")
      dd if=/dev/zero of="$data/of-rank-$OMPI_COMM_WORLD_RANK" bs=64k count=4 status=none
      [ "$OMPI_COMM_WORLD_RANK" = 0 ] || exit 0
      echo 'IO500 version stand-in' > "$out/result_summary.txt"
      echo '[SCORE ] Bandwidth 1.0 GiB/s : IOPS 1.0 kiops : TOTAL 1.0' >> "$out/result_summary.txt"`;
    writeFileSync(binary, script, { mode: 0o755 });
    const mpirun = 'mpirun --oversubscribe --mca plm isolated';
    const { stdout } = io500('--io500-binary', binary, '--mpirun', mpirun, '--json');
    assert.equal((JSON.parse(stdout) as RunJson).intercepted, true);
    const rows = reportRows(readReport(readFileSync(reports, 'utf8')).programs);
    assert.deepEqual(rows.find(([call]) => call === 'write')?.slice(0, 3), ['write', '8', '0']);
  });

  it('keeps a file one file, whichever transfers and paths are left to the kernel', () => {
    // As users run it: not every call that could goes through a lane (SEALFS_INTERCEPT_PATHS), but some of each kind.
    mkdirSync(join(mount, 'both'));
    const words = ['intercept', '--', 'python3', both, 'both', seed, '250'];
    const ended = spawnSync(process.execPath, [program, ...words], {
      cwd: mount,
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(ended.status, 0, `SEALFS_INTERCEPT_SEED=${seed}: ${ended.stdout}${ended.stderr}`);
  });

  function report(script: string, ...options: string[]): { stdout: string; stderr: string } {
    const words = ['intercept', '--report', ...options, '--', 'sh', '-c', script];
    const ended = spawnSync(process.execPath, [program, ...words], {
      cwd: mount,
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(ended.status, 0, ended.stderr);
    return ended;
  }

  it('reports counts and times of both ways, and why', () => {
    const script = `
      dd if=/dev/zero of=counted bs=1000 count=7 status=none
      dd if=/dev/zero of=direct bs=4096 count=3 oflag=direct status=none
      python3 -c 'import os
if os.fork() == 0: os._exit(0)
os.wait(); os.pwrite(os.open("forked", os.O_CREAT | os.O_WRONLY), b"x", 0)
os.execvp("true", ["true"])'`;
    const { programs, silent } = JSON.parse(report(script, '--json').stdout) as {
      programs: ProgramReport[];
      silent: object[];
    };
    // The child of the fork has not written what its parent had; what executes another has not lost it.
    const row = reportRows(programs).find(([call]) => call === 'write')!;
    // The first one of each of the three files is too small to introduce the file for.
    assert.deepEqual(row.slice(0, 3), ['write', '6', '5']);
    assert.ok(Number(row[3]) > 0 && Number(row[4]) > 0, row.join());
    assert.match(row[5]!, /\b2 opened for O_DIRECT/);
    assert.match(row[5]!, /\b3 the first small transfer/);
    const opens = reportRows(programs).find(([call]) => call === 'open')!;
    assert.deepEqual(opens.slice(0, 3), ['open', '0', '3']);
    assert.deepEqual(silent, []);
    const { stderr } = report('cat counted > /dev/null');
    assert.match(stderr, /µs each/);
    assert.match(stderr, /\bread\b.*\b[1-9]/);
    assert.match(
      report("python3 -c \"open('counted').read(); import os; os.stat('counted')\"").stderr,
      /\bstat\b/,
    );
  });

  it('names programs that said nothing, and why', () => {
    const { stderr } = report(`sh -c 'kill -9 $$'; true`);
    assert.match(stderr, /^sealfs: killed, or still running.*\/(da)?sh \(\d+\)$/m);
    // Of Debian's libc-bin: it must work where no library does.
    const fixed = '/sbin/ldconfig';
    if (reasonAgainstPreload(fixed) === '') return;
    assert.match(report(`${fixed} --version`).stderr, /ldconfig was not intercepted: it is linked/);
    assert.match(report('true').stderr, /^sealfs: nothing was intercepted/m);
    const plain = spawnSync(process.execPath, [
      ...[program, 'intercept', '--report', '--', fixed, '--version'],
    ]);
    assert.match(plain.stderr.toString(), /^sealfs: \S+ cannot be intercepted: it is linked stat/);
  });
});
