/**
 * The program as a user runs it. Protects: exit statuses, one line on standard error for each bad
 * input, examples in every --help, precedence of settings, and volumes end to end.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { buildProgram } from '../../../src/cli/program.js';
import { silentLogger } from '../../../src/common/log.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import type { Manager } from '../../../src/manager/manager.js';
import { startManager } from '../../../src/manager/manager.js';
import { readRdmaState } from '../../../src/native/rdma-state.js';

const main = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

function run(args: string[], env: NodeJS.ProcessEnv = {}, cwd?: string): Promise<Result> {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('SEALFS_'));
  const child = spawn(process.execPath, [main, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), ...env },
    ...(cwd === undefined ? {} : { cwd }),
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  return new Promise((resolve) => {
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}

function oneLine(result: Result, status: number, message: RegExp, what: string): void {
  assert.match(result.stderr, /^sealfs: .*\n$/, `${what}: one line, not ${result.stderr}`);
  assert.match(result.stderr, message, what);
  assert.equal(result.status, status, what);
  assert.equal(result.stdout, '', what);
}

describe('sealfs', function () {
  this.timeout(60_000);
  let directory: string;
  let full: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-cli-'));
    full = join(directory, 'full');
    mkdirSync(full);
    writeFileSync(join(full, 'file'), '');
  });
  after(() => {
    rmSync(directory, { recursive: true });
  });

  const nobody = ['--manager', '127.0.0.1:1'];
  const bad: [string[], number, RegExp][] = [
    [[], 2, /a command is missing; sealfs has: up, /],
    [['nosuch'], 2, /'nosuch' is not a command; sealfs has: up, /],
    [['top'], 2, /'top' is not a command/],
    [['fsck', ...nobody], 1, /cannot be reached: connection refused/],
    [['fsck', '--repair', ...nobody], 2, /--repair needs a stopped cluster/],
    [['fsck', '--meta-dir', '/tmp'], 2, /\/tmp is not the metadata directory of a server/],
    [['fsck', '--meta-dir', '/tmp', ...nobody], 2, /--manager for a running one, not both/],
    [['rm'], 2, /missing required argument 'place'; see: sealfs rm --help/],
    [['rm', './x'], 2, /'\.\/x' is not a place in a volume; expected VOLUME:PATH/],
    [['rm', '-r', 'v:/'], 2, /v:\/ is the volume itself; .* sealfs volume delete v --recursive/],
    [['rm', 'v:/a', ...nobody], 1, /cannot be reached: connection refused/],
    [['cp', 'v:/a'], 2, /'v:\/a': where it is to be copied to is missing/],
    [['cp', 'a', 'b'], 2, /none of these is in a volume/],
    [['cp', './nosuch', 'v:/a', ...nobody], 2, /\.\/nosuch: no such file or directory/],
    [['cp', '/etc', 'v:/a', ...nobody], 2, /\/etc is a directory; to copy it, too: -r/],
    [['find', 'v:/', '--name', '[a'], 2, /--name: '\[a': '\[' is not closed/],
    [['find', 'v:/', '--type', 'x'], 2, /--type/],
    [['volume'], 2, /a command is missing; sealfs volume has: create, list, show, delete/],
    [['volume', 'set', 'x'], 2, /'set' is not a command; sealfs volume has/],
    [['volume', 'create'], 2, /missing required argument 'name'; see: sealfs volume create --help/],
    [['volume', 'create', 'a', 'b'], 2, /too many arguments .*; see: sealfs volume create --help/],
    [['volume', 'create', '-- x'], 2, /unknown option|not a volume name/],
    [['volume', 'show', 'a/b', ...nobody], 2, /'a\/b' is not a volume name; expected/],
    [['volume', 'list', ...nobody], 1, /cannot be reached: connection refused/],
    [['volume', 'list', '--manager', 'ftp://x'], 2, /--manager: .*expected http:\/\/HOST:PORT/],
    [['cluster', 'status', '--jsn'], 2, /unknown option '--jsn' \(Did you mean --json\?\)/],
    [['--config', '/nowhere.toml', 'doctor'], 2, /\/nowhere\.toml cannot be read: ENOENT/],
    [['manager'], 2, /--store is missing; say where/],
    [
      ['manager', '--store', 'etcd://h:1'],
      2,
      /etcd is not supported by this version; use lmdb:DIR/,
    ],
    [['manager', '--store', 'dir'], 2, /'dir' is not a store; expected lmdb:DIR/],
    [['manager', '--store', 'lmdb:/proc/none/x'], 2, /\/proc\/none\/x cannot be made: ENOENT/],
    [['manager', '--listen', '7300', '--store', 'lmdb:x'], 2, /'7300' is not an address; expected/],
    [['server'], 2, /--meta-dir is missing/],
    [['server', '--meta-dir', '/tmp'], 2, /--data is missing/],
    [
      ['server', '--meta-dir', '/none', '--data', '/tmp'],
      2,
      /\/none does not exist; make it first/,
    ],
    [['server', '--meta-dir', '/tmp', '--data', '/no/x'], 2, /--data: \/no does not exist/],
    [['server', '--meta-dir', '/tmp', '--data', '/tmp:1Q'], 2, /--data: '1Q' is not a size/],
    [['server', '--targets', '0'], 2, /--targets: '0' is not a whole number from 1 to 64/],
    [['server', '--transport', 'udp'], 2, /--transport: 'udp' is not one of auto, tcp, rdma/],
    [
      ['server', '--bind', '192.0.2.1'],
      2,
      /--bind: 192\.0\.2\.1 is not an address of this machine/,
    ],
    [['mount', 'v', '/tmp', '--bind', 'node1'], 2, /--bind: 'node1' is not an IP address such as/],
    [['bench', 'rpc', '--transport', 'ib'], 2, /--transport: 'ib' is not one of auto, tcp, rdma/],
    [['bench', 'io500', '--dir', '/tmp', '--transport', 'tcp'], 2, /--transport needs --volume/],
    [['server', '--durability', 'never'], 2, /'never' is not one of fsync, commit/],
    [['mount', 'v'], 2, /missing required argument 'mountpoint'/],
    [['mount', 'v', '/none/x', ...nobody], 2, /\/none\/x does not exist; make it first/],
    [['mount', 'v', '/proc', ...nobody], 2, /\/proc is already mounted/],
    [['mount', 'v', '/tmp', '-o', 'sft'], 2, /'sft' is not a mount option; there are/],
    [['umount', '/usr'], 2, /\/usr is not a mount point/],
    [['umount', '/proc'], 2, /\/proc is a mount of proc, not of sealfs/],
    [['up', 'ls'], 2, /a command comes after --: -- ls/],
    [['up', '--data-size', '1K'], 2, /--data-size: '1K' is too small/],
    [['bench', 'io500'], 2, /give --dir PATH/],
  ];
  for (const [args, status, message] of bad) {
    it(`${args.join(' ') || '(nothing)'} fails in one line with status ${status}`, async () => {
      oneLine(await run(args), status, message, args.join(' '));
    });
  }

  it('insists on rdma: without a device one line says what is missing', async function () {
    // A machine with a device runs the Soft-RoCE tests instead.
    if (readRdmaState().problems.length === 0) this.skip();
    const missing = /--transport rdma: this machine has no RDMA device; .*rdma link add rxe0/;
    const empty = mkdtempSync(join(directory, 'mount-'));
    const server = ['server', '--meta-dir', empty, '--data', join(empty, 'data')];
    const commands = [
      [...server, '--listen', '127.0.0.1:0', '--transport', 'rdma'],
      ['mount', 'v', empty, '--transport', 'rdma', ...nobody],
      ['up', '--transport', 'rdma'],
      ['bench', 'rpc', '--transport', 'rdma', '--tiny'],
    ];
    for (const args of commands) oneLine(await run(args), 2, missing, args.join(' '));
  });

  it('refuses mount points that are files or not empty', async () => {
    oneLine(await run(['mount', 'v', full, ...nobody]), 2, /is not empty/, 'full');
    const file = join(full, 'file');
    oneLine(await run(['mount', 'v', file, ...nobody]), 2, /is not a directory/, 'file');
  });

  it('reports the error of a mount in the background as its own', async () => {
    const empty = join(directory, 'empty');
    mkdirSync(empty);
    oneLine(await run(['mount', 'v', empty, ...nobody]), 1, /connection refused/, 'background');
    const log = join(directory, 'no/log');
    const result = await run(['mount', 'v', empty, ...nobody, '--log', log]);
    oneLine(result, 2, /--log: .* cannot be written: ENOENT/, 'log');
  });

  it('refuses a port that is in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as AddressInfo;
    const args = ['manager', '--listen', `127.0.0.1:${port}`];
    const result = await run([...args, '--store', `lmdb:${join(directory, 'port')}`]);
    oneLine(result, 1, /is in use; choose another port/, 'port');
    taken.close();
  });

  it('takes settings from file, variable and command line, in rising order', async () => {
    writeFileSync(join(directory, 'sealfs.toml'), 'manager_url = "http://127.0.0.1:2"\n');
    const env = { SEALFS_MANAGER: '127.0.0.1:3' };
    const list = ['volume', 'list'];
    oneLine(await run(list, {}, directory), 1, /127\.0\.0\.1:2 cannot be reached/, 'file');
    oneLine(await run(list, env, directory), 1, /127\.0\.0\.1:3 cannot be reached/, 'variable');
    oneLine(await run([...list, ...nobody], env, directory), 1, /127\.0\.0\.1:1 cannot/, 'option');
    const wrong = await run(list, { SEALFS_MANAGER: 'x:y' }, directory);
    oneLine(wrong, 2, /SEALFS_MANAGER: 'x:y' is not a manager URL/, 'wrong variable');
    writeFileSync(join(directory, 'bad.toml'), '[server]\ntargets = 1000\n');
    const badFile = await run(['--config', join(directory, 'bad.toml'), 'server']);
    oneLine(badFile, 2, /server\.targets in .*bad\.toml: '1000' is not/, 'wrong file');
  });

  it('prints its version, and help with an example for every command', async () => {
    const version = await run(['--version']);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
    assert.equal(version.status, 0);
    const help = await run(['volume', 'create', '--help']);
    assert.match(help.stdout, /Example:\n {2}sealfs volume create/);
    assert.equal(help.status, 0);
    const check = (command: Command): void => {
      let text = '';
      command.configureOutput({ writeOut: (part) => (text += part) });
      command.outputHelp();
      assert.match(text, /Examples?:\n {2}sealfs/, command.name());
      command.commands.forEach(check);
    };
    check(buildProgram());
  });

  describe('with a manager', () => {
    let manager: Manager;
    let client: ManagerClient;
    let at: string[];

    before(async () => {
      manager = await startManager({
        host: '127.0.0.1',
        port: 0,
        storeDirectory: join(directory, 'store'),
        version: '0.0.0',
        log: silentLogger(),
      });
      client = new ManagerClient(`127.0.0.1:${manager.port}`);
      at = ['--manager', client.url];
    });
    after(async () => {
      await manager.close();
    });

    it('creates, lists and shows volumes', async () => {
      oneLine(await run(['volume', 'create', 'a', ...at]), 1, /no target is registered/, 'none');
      await client.register({
        serverId: 's1',
        targets: [
          {
            targetId: '11111111-2222-4333-8444-555555555555',
            endpoints: ['tcp://127.0.0.1:1'],
            totalBytes: 2 ** 30,
            freeBytes: 2 ** 29,
            devices: [{ path: '/d', state: 'failed', totalBytes: 1, freeBytes: 0 }],
          },
        ],
      });
      const created = await run(['volume', 'create', 'a', '--json', ...at]);
      assert.equal(created.status, 0, created.stderr);
      const volume = JSON.parse(created.stdout) as { name: string; id: number };
      assert.equal(volume.name, 'a');
      oneLine(await run(['volume', 'create', 'a', ...at]), 2, /'a' exists already/, 'again');
      const listed = await run(['volume', 'list', '--json', ...at]);
      assert.deepEqual(JSON.parse(listed.stdout), { volumes: [volume] });
      const shown = await run(['volume', 'show', 'a', ...at]);
      assert.match(shown.stdout, /^VOLUME +ID +ROOT INODE +CREATED\na +1 +\d+ +20/);
      oneLine(await run(['volume', 'show', 'b', ...at]), 2, /there is no volume 'b'/, 'unknown');
      const empty = join(directory, 'for-b');
      mkdirSync(empty);
      oneLine(await run(['mount', 'b', empty, ...at]), 2, /there is no volume 'b'/, 'mount');
    });

    it('shows the state of the cluster', async () => {
      const json = await run(['cluster', 'status', '--json'], { SEALFS_MANAGER: client.url });
      const status = JSON.parse(json.stdout) as Record<string, unknown>;
      assert.equal(status['managerUrl'], client.url);
      assert.equal(status['epoch'], 1);
      // Nobody sends heartbeats here: on a slow machine it is missed by now.
      assert.match((status['servers'] as { state: string }[])[0]!.state, /^(up|suspect)$/);
      const text = await run(['cluster', 'status', ...at]);
      assert.match(text.stdout, /^manager {3}http:/);
      assert.match(text.stdout, /s1 +11111111-.* (up|suspect) +member +1\.00 GiB +512 MiB/);
      assert.match(text.stdout, /1 of 1 failed: \/d/);
    });
  });
});
