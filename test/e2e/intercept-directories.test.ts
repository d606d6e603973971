/**
 * Directories that intercepted programs read through shared memory, on real mounts. Protects: a listing costs no READDIR of
 * the kernel, and is the kernel's, at whatever point one goes on where the other has stopped. A failure prints its
 * seed; SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { CountedMount } from '../support/counted-mount.js';
import { answeredCalls, preloaded } from '../support/preload.js';

const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;
const SECONDS = process.env['SEALFS_INTERCEPT_STRESS'] ?? '2';
/** In partitions, beyond so many entries of one. */
const SPLIT_ENTRIES = 2500;
const MANY = 6000;
/** Of `ls -f`: in a page of 64 KiB with attributes, and one of 256 KiB without. */
const ENTRIES = 2000;
const PAGES = 2;
/** In a report: pages that were left to the kernel for that. */
const SHARED_OFFSET = /"readdir":\{"shim":\d+,"4202":\d+/;
const script = join(packageRoot(), 'test/e2e/intercept-directories.py');
/** errno(3) of a mount whose process has gone: ENOTCONN, ECONNABORTED; EIO of a request that was under way. */
const deadMount = /^(107|103|5)$/;

/** Reads a directory of its own in a signal handler, again and again, while another is read. */
const interrupted = `
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>
static DIR *outer, *inner;
static long outer_count, inner_count, handled;
static long count(DIR *directory) {
  long entries = 0;
  rewinddir(directory);
  while (readdir(directory) != NULL) entries++;
  return entries;
}
static void handle(int signal) {
  if (count(inner) != inner_count) _exit(2);
  handled++;
}
int main(int argc, char **argv) {
  outer = opendir(argv[1]);
  inner = opendir(argv[2]);
  outer_count = count(outer);
  inner_count = count(inner);
  signal(SIGALRM, handle);
  struct itimerval every = {{0, 700}, {0, 700}};
  setitimer(ITIMER_REAL, &every, NULL);
  for (int i = 0; i < 300 || handled < 50; i++) {
    if (count(outer) != outer_count) _exit(3);
  }
  setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
  printf("%ld %ld\\n", outer_count, inner_count);
  return 0;
}`;

function fill(directory: string, files: number): void {
  mkdirSync(directory);
  for (let i = 0; i < files; i++) writeFileSync(join(directory, `file-${i}`), '');
}

describe('directories through shared memory', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  let many: string;
  let report: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 2, targets: 1, splitEntries: SPLIT_ENTRIES });
    mount = cluster.mount();
    many = join(mount, 'many');
    report = join(cluster.dir, 'report');
    fill(many, MANY);
  });

  after(async () => {
    await cluster?.stop();
  });

  /** What it prints; through shared memory, or the kernel. */
  function run(intercepted: boolean, command: string, ...args: string[]): string {
    rmSync(report, { force: true });
    const environment = intercepted ? preloaded(report) : {};
    const { status, stdout, stderr } = spawnSync(command, args, {
      cwd: mount,
      env: { ...process.env, LC_ALL: 'C', ...environment },
      encoding: 'utf8',
      timeout: 50_000,
    });
    assert.equal(status, 0, `${command} ${args.join(' ')} (seed ${seed}): ${stdout}${stderr}`);
    return stdout;
  }

  for (const what of [
    'entries',
    'places',
    'changes',
    'offsets',
    'fork',
    'ends',
    'threads',
    'times',
  ])
    it(`give what libc gives: ${what}`, () => {
      const args = [script, what, many, ...(what === 'places' ? [seed] : [])];
      // What is asked for here holds everywhere.
      assert.equal(run(false, 'python3', ...args), 'ok\n');
      assert.equal(run(true, 'python3', ...args), 'ok\n');
      assert.ok(answeredCalls(report, 'readdir') > 0);
      // Whose offset a child has, the kernel reads.
      if (what === 'fork') assert.match(readFileSync(report, 'utf8'), SHARED_OFFSET);
    });

  it('cost no request of the kernel, and as few of the servers', async () => {
    const directory = join(cluster.dir, 'counted');
    const counted = await CountedMount.start(cluster.url, directory);
    try {
      const listed = join(directory, 'listed');
      fill(join(mount, 'listed'), ENTRIES);
      const before = await counted.counts();
      const lines = run(true, 'ls', '-f', listed).trim().split('\n');
      const after = await counted.counts();
      assert.equal(new Set(lines).size, ENTRIES + 2);
      for (const operation of ['ReadDir', 'ReadDirPlus']) {
        assert.equal(after.operations[operation], before.operations[operation], operation);
      }
      assert.equal(answeredCalls(report, 'readdir'), PAGES);
      // Look-up of the directory, its attributes, access time.
      assert.ok(after.requests - before.requests <= PAGES + 4, `${after.requests}`);
      // What a listing has brought is not asked for again by who looks at each name.
      const cost = await counted.cost(() => run(true, 'ls', '-l', listed));
      assert.ok(cost < ENTRIES / 10, `${cost} requests`);
    } finally {
      await counted.stop();
    }
  });

  it('are read in signal handlers, too', () => {
    const program = join(cluster.dir, 'interrupted');
    const gcc = ['-x', 'c', '-Wno-unused', '-o', program, '-'];
    const compiled = spawnSync('gcc', gcc, { input: interrupted, encoding: 'utf8' });
    assert.equal(compiled.status, 0, compiled.stderr);
    fill(join(mount, 'inner'), 100);
    assert.equal(run(true, program, many, join(mount, 'inner')), `${MANY + 2} 102\n`);
    assert.ok(answeredCalls(report, 'readdir') > 300);
  });

  it('are the same to programs that walk trees', () => {
    const tree = join(mount, 'tree');
    const make = `
      mkdir -p a/b/c d/e; for i in $(seq 300); do echo $i > a/file-$i; echo $i > d/e/other-$i; done
      ln -s ../a d/link; mkfifo d/pipe; touch d/e/$(printf 'x%.0s' $(seq 255)) .hidden`;
    mkdirSync(tree);
    run(false, 'sh', '-c', `cd tree; ${make}`);
    const scan = `
import os
def walk(path):
    for entry in sorted(os.scandir(path), key=lambda e: e.name):
        print(entry.path, entry.inode(), entry.is_dir(follow_symlinks=False), entry.is_symlink())
        if entry.is_dir(follow_symlinks=False): walk(entry.path)
walk("tree")
print(sorted(os.listdir(os.open("tree/a", os.O_RDONLY | os.O_DIRECTORY))))`;
    for (const command of [
      ['ls', '-lRai', '--time-style=full-iso', 'tree'],
      ['sh', '-c', 'find tree -printf "%p %y %i %s %n\\n" | sort'],
      ['du', '-ab', 'tree'],
      ['python3', '-c', scan],
    ]) {
      const [program = '', ...args] = command;
      assert.deepEqual(
        run(true, program, ...args)
          .split('\n')
          .sort(),
        run(false, program, ...args)
          .split('\n')
          .sort(),
      );
      run(true, program, ...args);
      assert.ok(answeredCalls(report, 'readdir') > 0, program);
    }
    run(
      true,
      'sh',
      '-c',
      'cp -a tree copy && diff -r tree/a copy/a && diff -r tree/d/e copy/d/e && rm -r tree',
    );
    run(true, 'python3', '-c', 'import shutil; shutil.rmtree("copy")');
    assert.equal(run(true, 'ls', '-f', mount).includes('tree'), false);
    assert.equal(run(false, 'ls', '-A', mount).includes('copy'), false);
  });

  it('show once what stays, while others make and remove names there', async () => {
    const other = cluster.mount('other');
    const path = join(mount, 'busy');
    fill(path, 3000);
    const watch = spawn('python3', [script, 'watch', path, 'file-'], {
      env: { ...process.env, ...preloaded(report) },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [watch.stdout, watch.stderr]) {
      stream.on('data', (data: Buffer) => (said += data.toString()));
    }
    const busy = [path, path, join(other, 'busy')];
    const churn = busy.map(async (directory, i) => {
      const child = spawn('python3', [script, 'churn', directory, `churn-${i}-`, SECONDS], {
        env: { ...process.env, ...(i === 0 ? {} : preloaded()) },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    });
    await Promise.all(churn);
    watch.stdin.end('end\n');
    assert.deepEqual(await once(watch, 'close'), [0, null], said);
    assert.equal(said, 'ok\n');
  });

  it('end with an error, not a wait, when the mount process dies in the middle', async () => {
    const path = cluster.mount('dying');
    const child = spawn('python3', [script, 'wait', join(path, 'many')], {
      env: { ...process.env, ...preloaded(report) },
      stdio: ['pipe', 'pipe', 'inherit'],
      timeout: 40_000,
      killSignal: 'SIGKILL',
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const line = async (): Promise<string> => ((await lines.next()) as { value: string }).value;
    assert.equal(await line(), 'began');
    process.kill(cluster.mountPid(path), 'SIGKILL');
    child.stdin.write('go\n');
    const [count, status] = (await line()).split(' ');
    // What was read of it before is given.
    assert.ok(Number(count) > 100 && Number(count) < MANY, count);
    assert.match(status!, deadMount);
    assert.match(await line(), deadMount);
    child.stdin.end();
    await once(child, 'exit');
    cluster.abandonMount(path);
  });
});
