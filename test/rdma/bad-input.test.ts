/**
 * What a person gets who asks for rdma where it cannot be had: one line that says what is missing and
 * what mends it, exit status 2 where the command is wrong, and nothing left behind. Also `auto`, which
 * goes on over tcp, and comes to it when the rdma path breaks in mid-run.
 *
 * Takes the machine's devices away, so it runs last of what runs in one guest.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { selfCommand } from '../../src/cli/lifetime.js';
import { RdmaCluster, runProgram, sealfs, until } from './cluster.js';
import type { MountedVolume, Outcome } from './cluster.js';
import { addDevice, clientAddress, inMachine, rdmaDevices, removeDevice } from './hosts.js';
import { scaled, serverAddress } from './hosts.js';
import { run } from './shell.js';
import { ModelLoad } from './model-load.js';

/** One line on standard error, exit status as given, nothing on standard output. */
function assertRefused(outcome: Outcome, pattern: RegExp, status = 2): void {
  assert.match(outcome.stderr, pattern);
  assert.match(outcome.stderr, /^sealfs: [^\n]+\n$/, 'one line');
  assert.equal(outcome.status, status);
}

(inMachine ? describe : describe.skip)('rdma that is not to be had', function () {
  this.timeout(scaled(40_000));
  let folder: string;
  let cluster: RdmaCluster;
  let mount: MountedVolume;

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sealfs-rdma-bad-'));
    cluster = await RdmaCluster.start({ servers: 1, transport: 'auto' });
    mount = await cluster.mount('auto', { transport: 'auto' });
  });

  after(async () => {
    for (const host of [0, 1] as const) {
      if (!rdmaDevices().includes(`rxe${host}`)) await addDevice(host);
    }
    await cluster?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  let servers = 0;
  function serverArgs(listen: string, transport = 'rdma'): string[] {
    const place = join(folder, `server-${servers++}`);
    mkdirSync(place);
    const args = ['server', '--manager', cluster.url, '--listen', listen, '--meta-dir', place];
    return args.concat(['--data', `${place}:64M`, '--transport', transport]);
  }

  async function carriers(): Promise<[rdma: number, tcp: number]> {
    const [rdma] = await cluster.counter('connectionsRdma');
    const [tcp] = await cluster.counter('connectionsTcp');
    return [rdma!, tcp!];
  }

  it('auto takes rdma where both ends have it, and registers both endpoints', async () => {
    const [target] = await cluster.targets();
    assert.deepEqual(
      target!.endpoints.map((endpoint) => endpoint.split('://')[0]),
      ['rdma', 'tcp'],
    );
    await until('a connection over rdma', async () => (await carriers())[0] === 1);
    assert.equal((await carriers())[1], 0);
  });

  it('a port in use', async () => {
    const outcome = await sealfs(serverArgs(`${serverAddress}:7400`));
    assertRefused(outcome, /cannot listen on 10\.77\.0\.2:7400: the port is in use/, 1);
  });

  it('an address that no RDMA device has', async () => {
    const outcome = await sealfs(serverArgs('127.0.0.1:0'));
    assertRefused(outcome, /no RDMA device has the address 127\.0\.0\.1; listen on 10\.77\.0\./);
  });

  it('too little memory that may be locked', async () => {
    const [program, script] = selfCommand();
    const limit = ['--memlock=65536:65536', '--'];
    const drop = ['--bounding-set', '-ipc_lock', '--inh-caps', '-ipc_lock', 'prlimit', ...limit];
    const args = [...drop, program, script, ...serverArgs(`${serverAddress}:0`)];
    const outcome = await runProgram('setpriv', args);
    assertRefused(
      outcome,
      /locked memory is limited to 64\.0 KiB, .* are needed; ulimit -l unlimited/,
    );
  });

  it('auto goes over to tcp when the rdma device vanishes in mid-run, and says so', async () => {
    const load = new ModelLoad(mount.path, 'fallback', 3, 31);
    try {
      await load.progress(5, scaled(20_000));
      await removeDevice(0);
      await load.progress(5, scaled(40_000));
    } finally {
      await load.stop();
    }
    assert.ok((await load.verify(mount.path)) > 0);
    await until('a connection over tcp', async () => (await carriers())[1] >= 1);
    const lines = cluster.log('auto').split('\n');
    const said = lines.filter(
      (line) => /rdma.*tcp|tcp.*rdma/.test(line) && !/transport:/.test(line),
    );
    assert.equal(said.length, 1, lines.join('\n'));
  });

  it('no device at the client', async () => {
    await removeDevice(1);
    assert.deepEqual(rdmaDevices(), []);
    const place = join(folder, 'mnt');
    mkdirSync(place);
    const args = ['mount', 'default', place, '--manager', cluster.url, '--transport', 'rdma'];
    const outcome = await sealfs([...args, '--bind', clientAddress]);
    assertRefused(outcome, /--transport rdma: this machine has no RDMA device; .*rdma link add/);
  });

  it('no device at the server: rdma is refused, auto serves over tcp', async () => {
    const outcome = await sealfs(serverArgs(`${serverAddress}:0`));
    assertRefused(outcome, /--transport rdma: this machine has no RDMA device/);
    await cluster.killServer(0);
    await cluster.startServer(0);
    assert.match(cluster.log('server-0'), /transport: tcp \(this machine has no RDMA device\)/);
    const load = new ModelLoad(mount.path, 'tcp', 2, 32);
    await load.progress(5, scaled(30_000));
    await load.stop();
  });

  it('a device whose interface has no address has no RoCE GID', async () => {
    await run('ip', 'link', 'add', 'bare', 'type', 'veth', 'peer', 'name', 'bare-peer');
    await run('ip', 'link', 'set', 'bare', 'addrgenmode', 'none', 'up');
    await run('ip', 'link', 'set', 'bare-peer', 'addrgenmode', 'none', 'up');
    await run('rdma', 'link', 'add', 'rxe9', 'type', 'rxe', 'netdev', 'bare');
    try {
      const outcome = await sealfs(serverArgs(`${serverAddress}:0`));
      assertRefused(
        outcome,
        /device rxe9 has no RoCE GID: .*; ip address add ADDRESS\/24 dev bare/,
      );
    } finally {
      await run('ip', 'link', 'delete', 'bare');
    }
  });

  it('when devices are there again auto comes back to rdma by itself', async () => {
    for (const host of [0, 1] as const) await addDevice(host);
    await cluster.killServer(0);
    await cluster.startServer(0);
    const load = new ModelLoad(mount.path, 'back', 2, 33);
    await load.progress(5, scaled(30_000));
    await until('a connection over rdma', async () => (await carriers())[0] >= 1, 60_000);
    await load.progress(5, scaled(30_000));
    await load.stop();
    assert.ok((await load.verify(mount.path)) > 0);
  });
});
