/**
 * Names that intercepted programs change through shared memory, on a real mount: each call says what it says through
 * the kernel, to each user, and either way shows at once in the other. A failure prints its seed;
 * SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { preloadLibrary } from '../../src/native/preload.js';
import { TestCluster } from '../support/cluster.js';
import { answeredCalls, preloaded } from '../support/preload.js';

const names = join(packageRoot(), 'test/e2e/intercept-names.py');
const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;
/** Programs of the system, which all users may run. */
const PATH = '/usr/bin:/bin:/usr/sbin:/sbin';
const STEPS = process.env['SEALFS_INTERCEPT_STEPS'] ?? '300';
const STRESS_SECONDS = process.env['SEALFS_INTERCEPT_STRESS'] ?? '2';
/** Of intercept-names.py. */
const USERS: Record<string, string[]> = {
  root: ['env'],
  'a user': ['setpriv', '--reuid=1000', '--regid=1000', '--groups=4242'],
  'the owner of files': ['setpriv', '--reuid=1001', '--regid=99', '--clear-groups'],
  'a root without rights': ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--clear-groups'],
};

describe('names through shared memory', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  /** For all users: the library, the script, reports. */
  let shared: string;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    mount = cluster.mount();
    shared = join(cluster.dir, 'shared');
    chmodSync(cluster.dir, 0o755);
    mkdirSync(shared);
    chmodSync(shared, 0o777);
    copyFileSync(preloadLibrary(), join(shared, 'preload.so'));
    copyFileSync(names, join(shared, 'names.py'));
  });

  after(async () => {
    await cluster?.stop();
  });

  function run(intercepted: boolean, command: string, ...args: string[]): string {
    const reports = join(shared, 'report');
    writeFileSync(reports, '');
    // Who becomes another user goes on with it.
    chmodSync(reports, 0o666);
    const preload = { ...preloaded(reports), LD_PRELOAD: join(shared, 'preload.so') };
    const ended = spawnSync(command, args, {
      cwd: mount,
      env: { ...process.env, PATH, ...(intercepted ? preload : {}) },
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(ended.status, 0, `${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  }

  /** Calls of this kind in the last `run` that were answered through shared memory. */
  function answered(call: string): number {
    return answeredCalls(join(shared, 'report'), call);
  }

  for (const [number, [who, become]] of Object.entries(USERS).entries()) {
    it(`are the kernel's names, and answer as it does: ${who}`, function () {
      if (process.getuid?.() !== 0) this.skip();
      const script = join(shared, 'names.py');
      const outcome = (intercepted: boolean): string[] => {
        const directory = `${intercepted ? 'lanes' : 'kernel'}-${number}`;
        run(false, 'python3', script, 'prepare', directory);
        const [command = '', ...args] = [...become, 'python3', script, directory, seed, STEPS];
        return run(intercepted, command, ...args).split('\n');
      };
      const expected = outcome(false);
      const lines = outcome(true);
      for (const [i, line] of lines.entries()) assert.equal(line, expected[i], `seed ${seed}`);
      assert.equal(lines.length, expected.length);
      for (const call of ['unlink', 'mkdir', 'rmdir', 'rename', 'symlink', 'readlink', 'access']) {
        assert.ok(answered(call) > 0, `${call}, seed ${seed}`);
      }
    });
  }

  it('are left to the kernel where somebody may stand, or something is mounted', function () {
    if (process.getuid?.() !== 0) this.skip();
    const script = `
      export LC_ALL=C
      shim() { LD_PRELOAD=${shared}/preload.so "$@" 2>&1; }
      mkdir stood made; mkfifo ${shared}/told
      (cd stood; read -r line < ${shared}/told; mkdir in 2>&1; pwd -P 2>&1 > /dev/null || echo gone) &
      exec 9> ${shared}/told; shim rmdir stood; echo >&9; exec 9>&-; wait
      mount -t tmpfs none made; shim rmdir made; umount made
      mount -o remount,bind,ro .; shim mkdir new; shim rmdir made; mount -o remount,bind,rw .
      shim rmdir made; ls -d made stood 2> /dev/null; true`;
    const printed = run(false, 'bash', '-c', script).split('\n');
    assert.match(printed[0]!, /^mkdir: .* No such file or directory$/);
    assert.match(printed[1]!, /gone|No such file/);
    const rest = printed
      .filter((line) => /rmdir: |new/.test(line))
      .map((line) => line.split(': ')[2]);
    const readOnly = 'Read-only file system';
    assert.deepEqual(rest, ['Device or resource busy', readOnly, readOnly]);
    assert.ok(!printed.includes('made') && !printed.includes('stood'));
  });

  it('are changed by many at once, here and on another mount, and never wait for each other', async () => {
    const other = cluster.mount('other');
    copyFileSync(join(packageRoot(), 'test/e2e/intercept-stress.py'), join(shared, 'stress.py'));
    mkdirSync(join(mount, 'stress'));
    const preload = { LD_PRELOAD: join(shared, 'preload.so') };
    const always = { ...preload, SEALFS_INTERCEPT_PATHS: 'always' };
    const workers = [
      { cwd: mount, env: {} },
      { cwd: other, env: {} },
      { cwd: mount, env: preload },
      { cwd: mount, env: always },
      { cwd: other, env: preload },
    ].map(async ({ cwd, env }, number) => {
      const script = join(shared, 'stress.py');
      const child = spawn('python3', [script, `w${number}`, STRESS_SECONDS], {
        cwd,
        env: { ...process.env, PATH, ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
      }
      const code = await new Promise((resolve) => child.once('exit', resolve));
      assert.equal(code, 0, said);
    });
    await Promise.all(workers);
    const left = readdirSync(join(mount, 'stress')).sort();
    assert.deepEqual(readdirSync(join(other, 'stress')).sort(), left);
    assert.ok(left.every((name) => !name.startsWith('w')));
  });
});
