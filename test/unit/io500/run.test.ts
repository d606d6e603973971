/** Real ranks on a directory of this machine, with tiny counts. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open, readdir, rename, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Command } from 'commander';
import { SealfsError } from '../../../src/common/errors.js';
import type { BenchmarkOptions } from '../../../io500/benchmark.js';
import { registerIo500, type Io500Deps } from '../../../io500/cli.js';
import { defaultConfig, type Io500Config } from '../../../io500/config.js';
import type { Phase, PhaseName } from '../../../io500/phases.js';
import { findRankBinary } from '../../../io500/rank-process.js';
import { runBenchmarks, type RunRequest } from '../../../io500/run.js';
import { preloadFor } from '../../../src/cli/bench.js';
import { preloadLibrary } from '../../../src/native/preload.js';

const silent = { write: (): boolean => true };

/** Counts that are reached long before the stonewall, so that they are the same on any machine. */
function tinyConfig(changes: Partial<Io500Config> = {}): Io500Config {
  const config = defaultConfig('smoke');
  return {
    ...config,
    run: { ...config.run, 'ior-rnd4K-easy-read': false },
    stonewallSeconds: 20,
    transferBytes: 65536,
    blockBytes: 40 * 65536,
    segmentCount: 50,
    mdtestEasyFiles: 120,
    mdtestHardFiles: 150,
    ...changes,
  };
}

describe('io500 run', function () {
  this.timeout(60_000);
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'sealfs-io500-test-'))));
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  function options(changes: Partial<BenchmarkOptions> = {}): BenchmarkOptions {
    return {
      dir,
      np: 2,
      scale: 'smoke',
      config: tinyConfig(),
      rankBinary: findRankBinary(),
      version: 'sealfs-test',
      resultDir: undefined,
      keep: false,
      ...changes,
    };
  }

  function request(
    changes: Partial<BenchmarkOptions> = {},
    afterPhase?: RunRequest['afterPhase'],
  ): RunRequest {
    return {
      targets: [{ label: '', options: options(changes) }],
      progress: silent,
      ...(afterPhase === undefined ? {} : { afterPhase }),
    };
  }

  /** Runs with damage done after a phase; the run must fail in another one, leaving nothing. */
  async function failsIn(
    phase: PhaseName,
    pattern: RegExp,
    after: PhaseName,
    damage: (dataDir: string) => Promise<void>,
  ): Promise<void> {
    const hook = async (done: Phase, dataDir: string): Promise<void> => {
      if (done.name === after) await damage(dataDir);
    };
    await assert.rejects(runBenchmarks(request({}, hook)), (error: unknown) => {
      assert(error instanceof SealfsError);
      assert.match(error.message, new RegExp(`^io500: ${phase} `));
      assert.match(error.message, pattern);
      return true;
    });
    assert.deepEqual(readdirSync(dir), [], 'the data is removed');
  }

  for (const np of [1, 2, 3]) {
    it(`runs every phase with ${np} ranks and cleans up`, async () => {
      const config = tinyConfig({ stonewallSeconds: 0.2 });
      config.run['ior-rnd4K-easy-read'] = true;
      const [run] = await runBenchmarks(request({ np, config }));
      const counts = Object.fromEntries(
        run!.phases.map((result) => [result.phase.name, result.operations]),
      );
      assert.equal(run!.phases.length, 13);
      for (const result of run!.phases) {
        assert(result.score > 0, result.phase.name);
        assert.equal(result.ranks.length, np);
      }
      // Readers use the counts of the writers, and wear-out makes these equal on all ranks.
      for (const [read, written] of [
        ['ior-easy-read', 'ior-easy-write'],
        ['ior-hard-read', 'ior-hard-write'],
        ['mdtest-easy-stat', 'mdtest-easy-write'],
        ['mdtest-easy-delete', 'mdtest-easy-write'],
        ['mdtest-hard-stat', 'mdtest-hard-write'],
        ['mdtest-hard-read', 'mdtest-hard-write'],
        ['mdtest-hard-delete', 'mdtest-hard-write'],
      ] as const) {
        assert.equal(counts[read], counts[written], read);
        assert.equal(counts[written]! % np, 0, written);
      }
      assert(run!.score.total > 0);
      assert(run!.invalid.some((reason) => reason.includes('less than 300 s')));
      assert.deepEqual(readdirSync(dir), []);
    });
  }

  it('spreads mdtest-hard over several directories when told to', async () => {
    const seen = new Set<string>();
    const config = tinyConfig({ filesPerDir: 40 });
    await runBenchmarks(
      request({ config }, async (phase, dataDir) => {
        if (phase.name !== 'mdtest-hard-write') return;
        const tree = join(dataDir, 'mdtest-hard/test-dir.0-0');
        for (const name of await readdir(tree)) seen.add(name);
      }),
    );
    const expected = [0, 1, 2, 3].map((i) => `mdtest_tree.${i}`);
    assert.deepEqual([...seen].sort(), expected);
  });

  it('stops writing at the stonewall, and lets slower ranks catch up', async () => {
    const config = tinyConfig({ mdtestEasyFiles: 1e9, stonewallSeconds: 0.1 });
    for (const name of Object.keys(config.run) as PhaseName[]) config.run[name] = false;
    config.run['mdtest-easy-write'] = true;
    const [run] = await runBenchmarks(request({ config, np: 3 }));
    const [result] = run!.phases;
    const walls = result!.ranks.map((rank) => rank.stonewallOperations!);
    for (const rank of result!.ranks) {
      assert(rank.stonewallSeconds! >= 0.1 && rank.stonewallSeconds! < 5);
      assert.equal(rank.operations, Math.max(...walls));
    }
    assert(result!.stonewallRate! > 0);
    assert.equal(run!.score.total, 0, 'phases that were not run score nothing');
  });

  it('finds a flipped byte in a file of ior-easy', () =>
    failsIn('ior-easy-read', /verification failed: .*wrong byte at 70000 /, 'find', (data) =>
      flip(join(data, 'ior-easy/ior_file_easy.00000001'), 70000),
    ));

  it('finds records of ior-hard in the place of others', () =>
    failsIn('ior-hard-read', /verification failed/, 'find', async (data) => {
      const file = await open(join(data, 'ior-hard/file'), 'r+');
      const record = Buffer.alloc(47008);
      await file.read(record, 0, 47008, 0);
      await file.write(record, 0, 47008, 2 * 47008);
      await file.close();
    }));

  it('finds a file of ior-easy that is cut short', () =>
    failsIn('ior-easy-read', /ends at 65536/, 'find', (data) =>
      truncate(join(data, 'ior-easy/ior_file_easy.00000000'), 65536),
    ));

  it('finds a flipped last byte in a small file', () =>
    failsIn('mdtest-hard-read', /file\.mdtest\.1\.7 .*3900/, 'find', (data) =>
      flip(join(data, 'mdtest-hard/test-dir.0-0/mdtest_tree.0/file.mdtest.1.7'), 3900),
    ));

  it('finds small files that changed places', () =>
    failsIn('mdtest-hard-read', /verification failed/, 'find', async (data) => {
      const name = (i: number): string =>
        join(data, `mdtest-hard/test-dir.0-0/mdtest_tree.0/file.mdtest.0.${i}`);
      await rename(name(1), name(9999));
      await rename(name(2), name(1));
      await rename(name(9999), name(2));
    }));

  it('finds a lost file', () =>
    failsIn('mdtest-easy-stat', /ENOENT|No such file/, 'find', (data) =>
      unlink(join(data, 'mdtest-easy/test-dir.0-0/mdtest_tree.0.0/file.mdtest.0.3')),
    ));

  it('finds an empty file that is not empty', () =>
    failsIn('mdtest-easy-stat', /1 bytes long, not 0/, 'find', (data) =>
      writeFile(join(data, 'mdtest-easy/test-dir.0-0/mdtest_tree.0.0/file.mdtest.0.3'), 'x'),
    ));

  it('notices when find does not see what was created', () =>
    failsIn('find', /saw .* there are /, 'mdtest-hard-write', (data) =>
      unlink(join(data, 'mdtest-hard/test-dir.0-0/mdtest_tree.0/file.mdtest.0.101')),
    ));

  it('fails when a rank dies, and stops the others', async () => {
    // Rank 1 gives up in the middle of its first phase.
    const fake = join(dir, 'rank.sh');
    const script = `#!/bin/sh
      [ "$2" = 1 ] || exec ${findRankBinary()} "$@"
      echo "hello 1"; read line; echo ready; read line; echo "gave up" >&2; exit 3`;
    writeFileSync(fake, script, { mode: 0o755 });
    await assert.rejects(
      runBenchmarks(request({ rankBinary: fake })),
      /^SealfsError: io500: ior-easy-write failed on rank 1: it exited with status 3: gave up$/,
    );
    assert.deepEqual(readdirSync(dir), ['rank.sh']);
  });

  it('is interrupted in the middle of a phase', async () => {
    const controller = new AbortController();
    const config = tinyConfig({ mdtestEasyFiles: 1e9 });
    const running = runBenchmarks({
      ...request({ config }, async () => void setTimeout(() => controller.abort(), 50)),
      signal: controller.signal,
    });
    await assert.rejects(running, /io500: interrupted/);
    assert.deepEqual(readdirSync(dir), []);
  });

  it('measures two directories in turns', async () => {
    const order: string[] = [];
    const other = mkdtempSync(join(tmpdir(), 'sealfs-io500-other-'));
    try {
      const runs = await runBenchmarks({
        targets: [
          { label: 'A', options: options() },
          { label: 'B', options: options({ dir: other }) },
        ],
        progress: silent,
        afterPhase: async (phase, dataDir) => {
          order.push(`${dataDir.startsWith(other) ? 'B' : 'A'} ${phase.name}`);
        },
      });
      assert.equal(runs.length, 2);
      assert.equal(runs[0]!.dir, dir);
      assert.equal(runs[1]!.dir, other);
      assert.equal(order.length, 24);
      assert.deepEqual(order.slice(0, 4), [
        'A ior-easy-write',
        'B ior-easy-write',
        'B mdtest-easy-write',
        'A mdtest-easy-write',
      ]);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  describe('from the command line', () => {
    let printed: string;
    let progress: string;

    async function sealfs(words: string[], more: Partial<Io500Deps> = {}): Promise<void> {
      printed = '';
      progress = '';
      const bench = new Command('bench').exitOverride();
      const stderr = { write: (text: string): void => void (progress += text) };
      const stdout = { write: (text: string): void => void (printed += text) };
      registerIo500(bench, { version: 'sealfs-test', stdout, stderr, ...more });
      await bench.parseAsync(['io500', ...words], { from: 'user' });
    }

    function ini(): string {
      const path = join(dir, 'run.ini');
      writeFileSync(
        path,
        '[debug]\nstonewall-time = 1\n[ior-easy]\ntransferSize = 64k\nblockSize = 1m\n' +
          '[ior-hard]\nsegmentCount = 20\n[mdtest-easy]\nn = 30\n[mdtest-hard]\nn = 120\n' +
          '[ior-rnd4K-easy-read]\nrun = FALSE\n',
      );
      return path;
    }

    it('prints JSON and writes the result files', async () => {
      const out = join(dir, 'out');
      await sealfs(['--dir', dir, '--np', '2', '--config', ini(), '--out', out, '--json']);
      const json = JSON.parse(printed) as { phases: object[]; scale: string; resultDir: string };
      assert.equal(json.phases.length, 12);
      assert.equal(json.scale, 'full');
      assert.equal(json.resultDir, out);
      assert.equal(progress.trim().split('\n').length, 12);
      assert.match(progress, /^\[ 1\/12\] ior-easy-write /);
      for (const name of ['result_summary.txt', 'result.txt', 'config.ini', 'find.csv']) {
        assert.match(readFileSync(join(out, name), 'utf8'), /unofficial/, name);
      }
    });

    it('compares two directories', async () => {
      const out = join(dir, 'out');
      const words = ['--dir', dir, '--compare', dir, '--np', '1', '--config', ini()];
      await sealfs([...words, '--out', out]);
      assert.match(printed, /mdtest-hard-read .* kIOPS /);
      assert(existsSync(join(out, 'a/result.txt')) && existsSync(join(out, 'b/result.txt')));
    });

    it('mounts a volume for the run and unmounts it, also after a failure', async () => {
      const asked: object[] = [];
      let unmounted = 0;
      const mountVolume = async (
        volume: object,
      ): Promise<{
        path: string;
        unmount: () => Promise<void>;
      }> => {
        asked.push(volume);
        return { path: join(dir, 'absent'), unmount: async () => void unmounted++ };
      };
      const words = ['--volume', 'v', '--manager', 'http://m:1'];
      words.push('--transport', 'rdma', '--bind', '10.0.0.1');
      await assert.rejects(sealfs(words, { mountVolume }), /absent cannot be used/);
      const request = { manager: 'http://m:1', volume: 'v', transport: 'rdma', bind: '10.0.0.1' };
      assert.deepEqual(asked, [request]);
      assert.equal(unmounted, 1);
    });

    it('refuses bad input with one line', async () => {
      for (const [words, pattern] of [
        [['--dir', dir, '--np', '0'], /--np must be/],
        [['--dir', dir, '--np', '1.5'], /--np must be/],
        [['--dir', dir, '--scale', 'big'], /--scale must be one of smoke, laptop, full/],
        [['--dir', join(dir, 'absent')], /absent cannot be used: ENOENT/],
        [['--dir', findRankBinary()], /is not a directory/],
        [['--dir', '/proc'], /\/proc is not writable/],
        [[], /what to measure/],
        [['--dir', dir, '--volume', 'v'], /exclude each other/],
        [['--dir', dir, '--config', join(dir, 'absent.ini')], /--config: ENOENT/],
        [['--dir', dir, '--io500-binary', join(dir, 'absent')], /is not a program/],
        [['--dir', dir, '--intercept'], /no mount process answers/],
      ] as [string[], RegExp][]) {
        await assert.rejects(sealfs(words, { preloadFor }), (error: unknown) => {
          assert(error instanceof SealfsError, String(error));
          assert.equal(error.code, 'USAGE');
          assert.match(error.message, pattern);
          assert(!error.message.includes('\n'));
          return true;
        });
      }
    });

    it('runs the official program and reads its files', async () => {
      const binary = join(dir, 'io500');
      const mpirun = join(dir, 'mpirun');
      // mpirun -np N PROGRAM INI: a stand-in that runs it once and checks what it is given.
      writeFileSync(mpirun, '#!/bin/sh\n[ "$1" = --x ] && shift; shift 2; exec "$@"\n', {
        mode: 0o755,
      });
      const script = `#!/bin/sh
        out=$(sed -n 's/^resultdir = //p' "$1")
        data=$(sed -n 's/^datadir = //p' "$1")
        [ -d "$data" ] || exit 9
        echo "$LD_PRELOAD" > "$out/preload"
        cat > "$out/result_summary.txt" <<'EOF'
IO500 version io500-sc26 (standard)
[RESULT]       ior-easy-write        2.250000 GiB/s : time 300.100 seconds
[      ]            timestamp        0.000000 kIOPS : time 0.001 seconds
[RESULT]    mdtest-easy-write       12.500000 kIOPS : time 301.000 seconds [INVALID]
[SCORE ] Bandwidth 2.250000 GiB/s : IOPS 12.500000 kiops : TOTAL 5.303301 [INVALID]
EOF
`;
      writeFileSync(binary, script, { mode: 0o755 });
      const out = join(dir, 'out');
      const words = ['--dir', dir, '--np', '2', '--io500-binary', binary, '--json'];
      await sealfs([...words, '--mpirun', `${mpirun} --x`, '--scale', 'smoke', '--out', out]);
      const json = JSON.parse(printed) as {
        unofficial: boolean;
        version: string;
        score: { total: number };
        phases: { name: string; score: number; valid: boolean }[];
      };
      assert.equal(json.unofficial, false);
      assert.equal(json.version, 'io500-sc26 (standard)');
      assert.equal(json.score.total, 5.303301);
      assert.deepEqual(
        json.phases.map((phase) => [phase.name, phase.score, phase.valid]),
        [
          ['ior-easy-write', 2.25, true],
          ['mdtest-easy-write', 12.5, false],
        ],
      );
      assert(!readdirSync(dir).some((name) => name.startsWith('io500-official-')));
      assert.equal(
        readFileSync(join(out, 'preload'), 'utf8').trim(),
        process.env['LD_PRELOAD'] ?? '',
      );

      // The launcher's own environment need not reach its ranks.
      writeFileSync(mpirun, '#!/bin/sh\nshift 2; exec env -i PATH="$PATH" "$@"\n');
      await sealfs([...words, '--mpirun', mpirun, '--out', out, '--intercept'], {
        preloadFor: () => preloadLibrary(),
      });
      assert.match(readFileSync(join(out, 'preload'), 'utf8'), /libsealfs_intercept\.so/);
      assert.equal((JSON.parse(printed) as { intercepted: boolean }).intercepted, true);
    });
  });
});

describe('sealfs_rank by itself', function () {
  this.timeout(30_000);
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'sealfs-io500-test-'))));
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  for (const mode of ['stat', 'create-close', 'seq-write', 'seq-read']) {
    it(`measures ${mode} with several processes`, async () => {
      const words = ['--processes', '2', '--seconds', '0.1', '--bytes', '4194304', '--count', '50'];
      const { stdout } = await promisify(execFile)(findRankBinary(), [
        mode,
        '--dir',
        dir,
        ...words,
      ]);
      const result = JSON.parse(stdout) as Record<string, number | string>;
      assert.equal(result['mode'], mode);
      assert.equal(result['processes'], 2);
      assert((result['operations'] as number) > 0 && (result['operations'] as number) <= 100);
      assert((result['rate'] as number) > 0);
      assert.equal(result['unit'], mode.startsWith('seq') ? 'bytes/s' : 'operations/s');
      assert.deepEqual(readdirSync(dir), []);
    });
  }

  it('refuses what it does not know', async () => {
    const run = promisify(execFile);
    await assert.rejects(run(findRankBinary(), ['jump', '--dir', dir]), /unknown mode 'jump'/);
    await assert.rejects(run(findRankBinary(), ['stat']), /--dir DIR is missing/);
    await assert.rejects(run(findRankBinary(), ['stat', '--dir', dir, '--seconds', '0']), /--seco/);
    await assert.rejects(run(findRankBinary(), ['stat', '--dir', dir, '--count', '-1']), /--count/);
  });
});

/** Inverts the lowest bit of one byte. */
async function flip(path: string, position: number): Promise<void> {
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, position);
  byte[0] = byte[0]! ^ 1;
  await file.write(byte, 0, 1, position);
  await file.close();
}
