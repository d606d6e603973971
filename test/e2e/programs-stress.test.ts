/**
 * stress-ng's file system stressors on the mount, with its own verification. Each does a fixed number of
 * its operations, more under SEALFS_PROGRAM_ROUNDS; what it calls a failure fails the test.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ground, needs, rounds, startProgram } from './programs-ground.js';
import type { Ground } from './programs-ground.js';

/** Stressor, operations (of very different cost), further arguments. */
const stressors: [string, number, ...string[]][] = [
  ['access', 20],
  ['aio', 200],
  ['chdir', 50, '--chdir-dirs', '64'],
  ['chmod', 15],
  ['chown', 100],
  ['copy-file', 2, '--copy-file-bytes', '128M'],
  ['dentry', 200, '--dentries', '100'],
  ['dir', 200, '--dir-dirs', '64'],
  ['dirdeep', 100, '--dirdeep-inodes', '200', '--dirdeep-files', '2'],
  ['dirmany', 300],
  ['fallocate', 5, '--fallocate-bytes', '8M'],
  ['fcntl', 100],
  ['filename', 100, '--filename-opts', 'posix'],
  ['flock', 200],
  ['fstat', 500],
  ['getdent', 100],
  ['hdd', 300, '--hdd-bytes', '16M', '--hdd-opts', 'wr-rnd,rd-rnd,fsync'],
  ['io-uring', 500],
  ['iomix', 200, '--iomix-bytes', '8M'],
  ['lockf', 200],
  ['lockofd', 200],
  ['mknod', 30],
  ['mmap', 1, '--mmap-file', '--mmap-bytes', '256K'],
  ['msync', 50, '--msync-bytes', '1M'],
  ['open', 300, '--open-max', '200'],
  ['readahead', 200, '--readahead-bytes', '2M'],
  ['rename', 150],
  ['seek', 100, '--seek-size', '2M'],
  ['sendfile', 100],
  ['sync-file', 20, '--sync-file-bytes', '4M'],
  ['touch', 300],
  ['utime', 300],
];

/** One operation of these is thousands of calls, so they are for long runs. */
const heavy: typeof stressors = [
  ['fpunch', 1],
  ['link', 1],
  ['symlink', 1],
  ['xattr', 1],
];

describe('stress-ng on a mount', function () {
  this.timeout(30_000 + rounds * 30_000);
  let place: Ground;
  let root: string;

  before(async () => {
    needs('stress-ng');
    place = await ground();
    root = join(place.mount, 'stress');
    mkdirSync(root);
  });

  for (const [name, count, ...more] of rounds > 1 ? [...stressors, ...heavy] : stressors) {
    it(name, async () => {
      // By an absolute path its io-uring fails on any file system.
      const args = [
        '--verify',
        '--temp-path',
        '.',
        '--timeout',
        `${8 + 2 * rounds}`,
        '--seed',
        '1',
      ];
      // In a long run four of them at a time.
      args.push(`--${name}`, rounds > 1 ? '4' : '1', `--${name}-ops`, `${count * rounds}`, ...more);
      const { status, out, err } = await startProgram('stress-ng', args, {
        cwd: root,
        timeoutMs: 25_000 + rounds * 25_000,
      }).ended;
      const said = `${out}${err}`;
      assert.equal(
        status,
        0,
        `stress-ng ${args.join(' ')}: status ${status}\n${said.slice(-3000)}`,
      );
      assert.match(said, /successful run completed/);
      assert.doesNotMatch(said, /fail:|skipped: [1-9]/);
      assert.deepEqual(readdirSync(root), []);
    });
  }
});
