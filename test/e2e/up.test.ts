/**
 * `sealfs up` on this machine. Protects: CMD's exit status and environment, that everything goes
 * away (also when `up` is killed), that --dir brings the same cluster back, volumes being deleted
 * with what is in them, and unmounting while servers are gone.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findMount } from '../../src/cli/mount-table.js';
import { until } from '../support/cluster.js';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const size = ['--data-size', '64M'];

function sealfs(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 60_000 });
}

/** Processes whose arguments hold `text`, other than this one. */
function processes(text: string): number[] {
  const found = spawnSync('pgrep', ['-f', '--', text], { encoding: 'utf8' });
  return found.stdout.trim().split('\n').filter(Boolean).map(Number);
}

describe('sealfs up', function () {
  this.timeout(120_000);
  let directory: string;

  before(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'sealfs-up-test-')));
  });
  after(() => {
    rmSync(directory, { recursive: true, force: true });
  });

  interface Running {
    child: ChildProcess;
    managerUrl: string;
    directory: string;
  }

  /** `up --json` without a command, once it is up. */
  async function start(...args: string[]): Promise<Running> {
    const stdio = ['ignore', 'pipe', 'inherit'] as const;
    const child = spawn(process.execPath, [main, 'up', '--json', ...args], { stdio: [...stdio] });
    let text = '';
    for await (const data of child.stdout as AsyncIterable<Buffer>) {
      text += data.toString();
      if (text.endsWith('\n')) break;
    }
    const report = JSON.parse(text) as { managerUrl: string; directory: string };
    return { child, ...report };
  }

  async function stop({ child }: Running, signal: NodeJS.Signals): Promise<number | null> {
    const ended = once(child, 'exit');
    child.kill(signal);
    return (await ended)[0] as number | null;
  }

  it('runs a command on a mount and exits with its status, leaving nothing', () => {
    const script = 'echo text > "$SEALFS_MOUNT/f" && cat "$SEALFS_MOUNT/f" && pwd && exit 7';
    const run = spawnSync(process.execPath, [main, 'up', ...size, '--', 'sh', '-c', script], {
      encoding: 'utf8',
      cwd: directory,
      env: { ...process.env, TMPDIR: directory },
    });
    assert.equal(run.status, 7, run.stderr);
    assert.equal(run.stdout, `text\n${directory}\n`);
    assert.equal(run.stderr, '');
    assert.deepEqual(processes(`${directory}/sealfs-up-`), []);
    assert.deepEqual(spawnSync('ls', [directory], { encoding: 'utf8' }).stdout, '');
  });

  it('says so when there is no such command', () => {
    const run = sealfs('up', ...size, '--', 'no-such-command');
    assert.equal(run.status, 127);
    assert.match(run.stderr, /^sealfs: no-such-command: there is no such command\n$/);
  });

  it('brings the same cluster back, mounts where it is told, keeps the data', async () => {
    const dir = join(directory, 'kept');
    const mount = join(directory, 'mnt');
    mkdirSync(mount);
    const shape = ['--dir', dir, '--servers', '2', '--mount', mount];
    const first = await start(...shape, ...size);
    assert.equal(findMount(mount)?.fsType, 'fuse.sealfs');
    spawnSync('sh', ['-c', `mkdir -p ${mount}/a/b && echo kept > ${mount}/a/b/f`]);
    assert.equal(await stop(first, 'SIGINT'), 0);
    assert.equal(findMount(mount), undefined);
    const other = sealfs('up', '--dir', dir, '--servers', '3');
    assert.equal(other.status, 2);
    assert.match(other.stderr, /has 2, not 3/);
    const second = await start('--dir', dir, '--mount', mount);
    assert.equal(readFileSync(join(mount, 'a/b/f'), 'utf8'), 'kept\n');
    const twice = sealfs('up', '--dir', dir);
    assert.equal(twice.status, 1);
    assert.match(twice.stderr, /another manager is using the store/);
    assert.equal(await stop(second, 'SIGTERM'), 0);
    assert.deepEqual(processes(dir), []);
  });

  it('takes its processes and its mount along when it is killed', async () => {
    const mount = join(directory, 'mnt2');
    mkdirSync(mount);
    const up = await start('--dir', join(directory, 'killed'), '--mount', mount, ...size);
    await stop(up, 'SIGKILL');
    await until('the processes to end', () => processes(up.directory).length === 0);
    await until('the mount to go', () => findMount(mount) === undefined);
  });

  it('deletes volumes, and unmounts while the servers are gone', async () => {
    const mount = join(directory, 'mnt3');
    mkdirSync(mount);
    const up = await start('--dir', join(directory, 'gone'), ...size);
    const at = ['--manager', up.managerUrl];
    assert.equal(sealfs('volume', 'create', 'v', ...at).status, 0);
    assert.equal(sealfs('mount', 'v', mount, ...at).status, 0);
    spawnSync('sh', ['-c', `mkdir -p ${mount}/a/b && touch ${mount}/a/b/f ${mount}/g`]);
    const refused = sealfs('volume', 'delete', 'v', ...at);
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /^sealfs: volume 'v' is not empty; .*--recursive\n$/);
    const user = spawn('sleep', ['60'], { cwd: mount });
    const busy = sealfs('umount', mount);
    assert.equal(busy.status, 1);
    assert.match(busy.stderr, /is in use; close what uses it/);
    user.kill();
    await once(user, 'exit');
    assert.equal(sealfs('umount', mount).status, 0);
    assert.deepEqual(processes(`mount v ${mount}`), []);
    assert.equal(sealfs('volume', 'delete', 'v', '--recursive', ...at).status, 0);
    assert.equal(sealfs('volume', 'show', 'v', ...at).status, 2);

    assert.equal(sealfs('mount', 'default', mount, '-o', 'attr=0', ...at).status, 0);
    const [server] = processes(`server .*${up.directory}`);
    const ended = once(up.child, 'exit');
    process.kill(server!, 'SIGKILL');
    assert.equal((await ended)[0], 1, 'up reports the death of a server');
    const caller = spawn('ls', ['-l', mount], { stdio: 'ignore' });
    const returned = once(caller, 'exit');
    assert.equal(sealfs('umount', mount).status, 0);
    await returned;
    assert.equal(findMount(mount), undefined);
    assert.ok(existsSync(mount));
  });
});
