/**
 * Names that intercepted programs change through shared memory, on a real mount: each call says what it says through
 * the kernel, to each user, and either way shows at once in the other. A failure prints its seed;
 * SEALFS_INTERCEPT_SEED=n runs just that one.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { InterceptedUsers, PATH, USERS } from '../support/intercepted-users.js';

const seed = process.env['SEALFS_INTERCEPT_SEED'] ?? `${randomInt(1_000_000)}`;
const STEPS = process.env['SEALFS_INTERCEPT_STEPS'] ?? '300';
const STRESS_SECONDS = process.env['SEALFS_INTERCEPT_STRESS'] ?? '2';
const CALLS = ['unlink', 'mkdir', 'mknod', 'rmdir', 'rename', 'symlink', 'readlink', 'access'];

describe('names through shared memory', function () {
  this.timeout(60_000);
  let cluster: TestCluster;
  let mount: string;
  let users: InterceptedUsers;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 2 });
    mount = cluster.mount();
    users = new InterceptedUsers(cluster, mount);
  });

  after(async () => {
    await cluster?.stop();
  });

  for (const [number, who] of Object.keys(USERS).entries()) {
    it(`are the kernel's names, and answer as it does: ${who}`, function () {
      if (process.getuid?.() !== 0) this.skip();
      const script = join(packageRoot(), 'test/e2e/intercept-names.py');
      users.assertSame(who, script, `${number}`, seed, STEPS);
      users.count(CALLS);
    });
  }

  it('came through it, all of them', function () {
    if (process.getuid?.() !== 0) this.skip();
    users.assertCounted(CALLS);
  });

  it('are left to the kernel where somebody may stand, or something is mounted', function () {
    if (process.getuid?.() !== 0) this.skip();
    const script = `
      export LC_ALL=C
      shim() { LD_PRELOAD=${users.library} "$@" 2>&1; }
      mkdir stood made; mkfifo ${users.shared}/told
      (cd stood; read -r line < ${users.shared}/told; mkdir in 2>&1; pwd -P 2>&1 > /dev/null || echo gone) &
      exec 9> ${users.shared}/told; shim rmdir stood; echo >&9; exec 9>&-; wait
      mount -t tmpfs none made; shim rmdir made; umount made
      mount -o remount,bind,ro .; shim mkdir new; shim rmdir made; mount -o remount,bind,rw .
      shim rmdir made; ls -d made stood 2> /dev/null; true`;
    const printed = users.run(false, 'root', 'bash', '-c', script).split('\n');
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
    const script = users.share(join(packageRoot(), 'test/e2e/intercept-stress.py'));
    mkdirSync(join(mount, 'stress'));
    const preload = { LD_PRELOAD: users.library };
    const always = { ...preload, SEALFS_INTERCEPT_PATHS: 'always' };
    const workers = [
      { cwd: mount, env: {} },
      { cwd: other, env: {} },
      { cwd: mount, env: preload },
      { cwd: mount, env: always },
      { cwd: other, env: preload },
    ].map(async ({ cwd, env }, number) => {
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
