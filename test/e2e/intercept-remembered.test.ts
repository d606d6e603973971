/**
 * What a program remembers of paths (docs/intercept.md, "Remembered paths"), on real mounts: it is what the kernel says
 * at that moment, whoever has changed it, and it ends with what it depends on. A failure prints its seed;
 * SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, renameSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { packageRoot } from '../../src/native/load.js';
import { preloadLibrary } from '../../src/native/preload.js';
import { TestCluster } from '../support/cluster.js';
import { preloaded } from '../support/preload.js';

const seed = Number(process.env['SEALFS_INTERCEPT_SEED'] ?? randomInt(1_000_000));
const STEPS = process.env['SEALFS_INTERCEPT_STEPS'] ?? '200';
/** Programs of the system, which all users may run. */
const PATH = '/usr/bin:/bin:/usr/sbin:/sbin';
const ENOENT = '2';
const EACCES = '13';
/** Looks until something is remembered, and some more. */
const LOOKS = 6;

/** A program that says of one path what it is, as often as it is asked. */
class Asker {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor(script: string, path: string, become: string[] = [], environment = {}) {
    const [command = '', ...args] = [...become, 'python3', script, 'ask', path];
    this.#child = spawn(command, args, {
      env: { ...process.env, PATH, ...preloaded(), ...environment },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** Its mode and size, or an errno. */
  async ask(): Promise<string> {
    this.#child.stdin.write('\n');
    return ((await this.#lines.next()) as { value: string }).value;
  }

  /** The same often enough that it is remembered. */
  async askOften(): Promise<string> {
    for (let i = 1; i < LOOKS; i++) await this.ask();
    return this.ask();
  }

  async end(): Promise<void> {
    this.#child.stdin.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }
}

describe('remembered paths', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  let other: string;
  let script: string;
  let asker: Asker | undefined;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    mount = cluster.mount();
    other = cluster.mount('other');
    chmodSync(cluster.dir, 0o755);
    script = join(cluster.dir, 'remembered.py');
    copyFileSync(join(packageRoot(), 'test/e2e/intercept-remembered.py'), script);
  });

  afterEach(async () => {
    await asker?.end();
    asker = undefined;
  });

  after(async () => {
    await cluster?.stop();
  });

  for (const [how, environment] of Object.entries({
    'at once': preloaded(),
    'after the third look': { LD_PRELOAD: preloaded()['LD_PRELOAD']! },
  })) {
    it(`are what the kernel says, whoever has changed them: remembered ${how}`, () => {
      const paths = [join(mount, how), join(other, how)];
      mkdirSync(paths[0]!);
      const { status, stdout, stderr } = spawnSync(
        'python3',
        [script, ...paths, `${seed}`, STEPS],
        { env: { ...process.env, ...environment }, encoding: 'utf8', timeout: 50_000 },
      );
      assert.equal(status, 0, `seed ${seed}: ${stdout}${stderr}`);
    });
  }

  it('are told without the mount process, and not longer than a few seconds', async () => {
    const path = join(mount, 'stopped');
    writeFileSync(path, 'four', { mode: 0o644 });
    asker = new Asker(script, path);
    assert.equal(await asker.askOften(), '644 4');
    const pid = cluster.mountPid(mount);
    process.kill(pid, 'SIGSTOP');
    try {
      assert.equal(await asker.ask(), '644 4', 'nobody is there to be asked');
      // Its lease is recalled in vain, for longer than the answer is believed.
      chmodSync(join(other, 'stopped'), 0o600);
      const answer = asker.ask();
      const early = await Promise.race([answer, new Promise((done) => setTimeout(done, 500))]);
      assert.equal(early, undefined, 'it asks');
      process.kill(pid, 'SIGCONT');
      assert.equal(await answer, '600 4');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });

  it('end when a directory on the way is closed, or moved', async function () {
    if (process.getuid?.() !== 0) this.skip();
    const path = join(mount, 'way/in/file');
    mkdirSync(join(mount, 'way/in'), { recursive: true });
    writeFileSync(path, 'x', { mode: 0o644 });
    const user = ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups'];
    // A copy that the user may read.
    const library = join(cluster.dir, 'preload.so');
    copyFileSync(preloadLibrary(), library);
    asker = new Asker(script, path, user, { LD_PRELOAD: library });
    for (const root of [mount, other]) {
      assert.equal(await asker.askOften(), '644 1');
      chmodSync(join(root, 'way'), 0o700);
      assert.equal(await asker.askOften(), EACCES);
      chmodSync(join(root, 'way'), 0o755);
      assert.equal(await asker.askOften(), '644 1');
      renameSync(join(root, 'way/in'), join(root, 'way/out'));
      assert.equal(await asker.askOften(), ENOENT);
      renameSync(join(root, 'way/out'), join(root, 'way/in'));
    }
  });

  it('end when something is mounted on the way', async function () {
    if (process.getuid?.() !== 0) this.skip();
    const path = join(mount, 'covered/file');
    mkdirSync(join(mount, 'covered'));
    writeFileSync(path, 'x', { mode: 0o644 });
    asker = new Asker(script, path);
    assert.equal(await asker.askOften(), '644 1');
    const run = (...[command = '', ...args]: string[]): void => {
      assert.equal(spawnSync(command, args).status, 0, command);
    };
    run('mount', '-t', 'tmpfs', 'none', join(mount, 'covered'));
    try {
      // The thread that waits for mounts to change has to be woken first.
      while ((await asker.ask()) !== ENOENT);
      assert.equal(await asker.askOften(), ENOENT);
    } finally {
      run('umount', join(mount, 'covered'));
    }
    assert.equal(await asker.askOften(), '644 1');
  });

  it('are not told behind a directory that was moved, or another root', function () {
    if (process.getuid?.() !== 0) this.skip();
    const script = `
import os
home, path = "${cluster.dir}/above", "${cluster.dir}/above/m/in"
os.mkdir(home); os.mkdir(home + "/m")
os.system("mount --bind ${mount} " + home + "/m")
open(path, "w").close()
def known(): return [os.path.exists(path) for _ in range(6)]
assert all(known())
os.rename(home, home + "2")
assert not any(known()), "moved"
os.rename(home + "2", home)
assert all(known())
os.chroot("${cluster.dir}")
assert not any(known()), "another root"
os.chroot(".")
print("ok")`;
    const env = { ...process.env, PATH, ...preloaded() };
    const ended = spawnSync('python3', ['-c', script], { env, encoding: 'utf8' });
    spawnSync('umount', [join(cluster.dir, 'above/m')]);
    assert.equal(ended.stdout, 'ok\n', ended.stderr);
  });

  it('are those of the mount that is there now', async () => {
    const path = cluster.mount('again');
    writeFileSync(join(path, 'here'), 'x', { mode: 0o644 });
    asker = new Asker(script, join(path, 'here'));
    assert.equal(await asker.askOften(), '644 1');
    cluster.unmount(path);
    writeFileSync(join(path, 'here'), 'local', { mode: 0o640 });
    assert.equal(await asker.askOften(), '640 5');
    spawnSync('rm', [join(path, 'here')]);
    cluster.mount('again');
    assert.equal(await asker.askOften(), '644 1');
    cluster.unmount(path);
    rmdirSync(path);
  });
});
