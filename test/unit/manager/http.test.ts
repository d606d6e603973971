/**
 * The manager over HTTP: real port, real store. Protects: every answer's form, one clear message
 * for bad input, the watch stream, and that garbage on the port harms nobody else.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/common/log.js';
import type { ClusterMap, RegisterRequest } from '../../../src/common/manager-api.js';
import { maxRequestBytes } from '../../../src/common/manager-api.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import type { Manager } from '../../../src/manager/manager.js';
import { startManager } from '../../../src/manager/manager.js';

const targetId = '11111111-2222-4333-8444-555555555555';
const registration = (port = 7001): RegisterRequest => ({
  serverId: 's1',
  targets: [
    {
      targetId,
      endpoints: [`tcp://127.0.0.1:${port}`],
      totalBytes: 100,
      freeBytes: 50,
      devices: [],
    },
  ],
});

describe('manager over HTTP', () => {
  let directory: string;
  let manager: Manager;
  let client: ManagerClient;
  const start = (port = 0): Promise<Manager> =>
    startManager({
      host: '127.0.0.1',
      port,
      storeDirectory: join(directory, 'store'),
      version: '0.0.0',
      log: silentLogger(),
    });

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-'));
    manager = await start();
    client = new ManagerClient(`http://127.0.0.1:${manager.port}`);
  });

  afterEach(async () => {
    await manager.close();
    rmSync(directory, { recursive: true });
  });

  it('registers, beats, creates, lists, shows and deletes', async () => {
    const reply = await client.register(registration());
    assert.equal(reply.epoch, 1);
    assert.deepEqual(await client.map(), reply.map);
    const counters = { reads: 3, connectionsRdma: 2, connectionsTcp: 1 };
    const heartbeat = await client.heartbeat('s1', {
      epoch: 1,
      targets: [{ targetId, totalBytes: 100, freeBytes: 40, inodes: 7, counters }],
    });
    assert.deepEqual(heartbeat, { epoch: 1 });
    const volume = await client.createVolume('v1');
    assert.deepEqual(await client.volumes(), [volume]);
    assert.deepEqual(await client.volume('v1'), volume);
    const status = await client.status();
    assert.equal(status.freeBytes, 40);
    assert.equal(status.servers[0]!.state, 'up');
    assert.equal(status.servers[0]!.targets[0]!.inodes, 7);
    assert.deepEqual(status.servers[0]!.targets[0]!.connections, { rdma: 2, tcp: 1 });
    assert.deepEqual(await client.deleteVolume('v1'), volume);
    assert.deepEqual(await client.volumes(), []);
  });

  it('turns errors into SealfsError with the code of the manager', async () => {
    await assert.rejects(client.volume('nope'), { code: 'NOT_FOUND', message: /'nope'/ });
    await assert.rejects(client.createVolume('v'), { code: 'UNAVAILABLE', message: /no target/ });
    await assert.rejects(client.createVolume('-x'), {
      code: 'USAGE',
      message: /not a volume name/,
    });
    await assert.rejects(client.heartbeat('s9', { epoch: 0, targets: [] }), { code: 'NOT_FOUND' });
    await client.register(registration());
    await client.createVolume('v');
    await assert.rejects(client.createVolume('v'), { code: 'EXISTS' });
  });

  it('answers bad bodies with 400 and one line that names the field', async () => {
    const target = registration().targets[0]!;
    const cases: [string, string, RegExp][] = [
      ['/v1/volumes', '{"name":', /JSON/],
      ['/v1/volumes', '[]', /expected object/],
      ['/v1/volumes', '{}', /^name: /],
      ['/v1/volumes', '{"name":"a","size":1}', /size/],
      ['/v1/volumes', `{"name":"${'x'.repeat(65)}"}`, /^name: not a volume name/],
      ['/v1/targets/register', '{"serverId":"s","targets":[]}', /^targets: /],
      [
        '/v1/targets/register',
        JSON.stringify({ serverId: 's', targets: [{ ...target, endpoints: ['http://x'] }] }),
        /^targets\[0\]\.endpoints\[0\]: not an endpoint/,
      ],
      [
        '/v1/targets/register',
        JSON.stringify({ serverId: 's', targets: [{ ...target, weight: -1 }] }),
        /^targets\[0\]\.weight: /,
      ],
      [
        '/v1/targets/register',
        JSON.stringify({ serverId: 's', targets: [{ ...target, targetId: '7' }] }),
        /^targets\[0\]\.targetId: not a UUID/,
      ],
      ['/v1/servers/s1/heartbeat', '{"epoch":-1,"targets":[]}', /^epoch: /],
    ];
    for (const [path, body, expected] of cases) {
      const response = await fetch(client.url + path, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      });
      const answer = (await response.json()) as { error: { code: string; message: string } };
      assert.equal(response.status, 400, body);
      assert.equal(answer.error.code, 'USAGE');
      assert.match(answer.error.message, expected);
      assert.doesNotMatch(answer.error.message, /\n/);
    }
    assert.equal((await fetch(`${client.url}/v1/watch?epoch=x`)).status, 400);
    assert.equal((await fetch(`${client.url}/nothing`)).status, 404);
  });

  it('refuses bodies beyond the limit', async () => {
    const response = await fetch(`${client.url}/v1/volumes`, {
      method: 'POST',
      body: `{"name":"${'a'.repeat(maxRequestBytes)}"}`,
      headers: { 'content-type': 'application/json' },
    });
    assert.equal(response.status, 413);
    assert.equal((await client.map()).epoch, 0);
  });

  it('survives garbage on its port', async () => {
    for (let round = 0; round < 20; round++) {
      const socket = connect(manager.port, '127.0.0.1');
      socket.on('error', () => socket.destroy());
      await once(socket, 'connect');
      const prefix = round % 2 === 0 ? '' : 'POST /v1/volumes HTTP/1.1\r\nContent-Length: 9\r\n';
      socket.end(Buffer.concat([Buffer.from(prefix), randomBytes(1 + round * 97)]));
      await once(socket.resume(), 'close');
    }
    assert.equal((await client.status()).epoch, 0);
  });

  it('streams maps to watchers, across a restart', async () => {
    const maps: ClusterMap[] = [];
    const connection: boolean[] = [];
    const stop = new AbortController();
    let arrived: () => void = () => undefined;
    const next = (): Promise<void> =>
      new Promise((resolve) => {
        arrived = resolve;
      });
    const watching = client.watch(
      0,
      (map) => {
        maps.push(map);
        arrived();
      },
      { signal: stop.signal, onConnection: (connected) => connection.push(connected) },
    );
    let waiting = next();
    await client.register(registration());
    await waiting;
    const { port } = manager;
    await manager.close();
    manager = await start(port);
    waiting = next();
    await client.register(registration(7002));
    await waiting;
    stop.abort();
    await watching;
    assert.deepEqual(
      maps.map((map) => map.epoch),
      [1, 2],
    );
    assert.deepEqual(connection, [false, true]);
    assert.equal(maps[1]!.members[0]!.endpoints[0], 'tcp://127.0.0.1:7002');
  });

  it('sends keepalive lines to an idle watcher', async () => {
    const response = await fetch(`${client.url}/v1/watch?epoch=0`);
    const reader = response.body!.getReader();
    const { value } = (await reader.read()) as { value?: Uint8Array };
    assert.equal(Buffer.from(value!).toString(), '{"epoch":0}\n');
    await reader.cancel();
  });

  it('shows the cluster under /metrics', async () => {
    await client.register(registration());
    await client.heartbeat('s1', {
      epoch: 1,
      targets: [{ targetId, totalBytes: 100, freeBytes: 40, counters: { reads: 3 } }],
    });
    const text = await (await fetch(`${client.url}/metrics`)).text();
    assert.match(text, /^sealfs_cluster_epoch 1$/m);
    assert.match(text, /^sealfs_servers\{state="up"\} 1$/m);
    assert.match(text, /^sealfs_target_free_bytes\{.*role="member"\} 40$/m);
    assert.match(text, /^sealfs_target_counter\{.*counter="reads"\} 3$/m);
    assert.match(text, /^sealfs_heartbeats_total 1$/m);
  });

  it('says what is wrong when it cannot start', async () => {
    await assert.rejects(start(), { code: 'BUSY', message: /another manager is using the store/ });
    const options = {
      host: '127.0.0.1',
      port: manager.port,
      version: '0',
      log: silentLogger(),
      storeDirectory: join(directory, 'other'),
    };
    await assert.rejects(startManager(options), { code: 'BUSY', message: /in use/ });
    await assert.rejects(startManager({ ...options, host: '192.0.2.1' }), {
      code: 'USAGE',
      message: /not an address of this machine/,
    });
    writeFileSync(join(directory, 'file'), '');
    const inFile = join(directory, 'file', 'store');
    await assert.rejects(startManager({ ...options, storeDirectory: inFile }), { code: 'USAGE' });
  });
});

describe('ManagerClient', () => {
  it('says clearly that nobody is there', async () => {
    const client = new ManagerClient('127.0.0.1:1');
    assert.equal(client.url, 'http://127.0.0.1:1');
    await assert.rejects(client.map(), {
      code: 'UNAVAILABLE',
      message: 'the manager at http://127.0.0.1:1 cannot be reached: connection refused',
    });
  });

  it('gives up after its timeout', async () => {
    const { createServer } = await import('node:net');
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as { port: number };
    const client = new ManagerClient(`127.0.0.1:${port}`, { timeoutMs: 50 });
    await assert.rejects(client.map(), { code: 'UNAVAILABLE', message: /no answer within 0.05 s/ });
    silent.close();
  });

  it('refuses what is not a URL of a manager', () => {
    for (const url of ['', 'ftp://x', 'http://', 'http://h:99999', 'http://h:1/path', 'a b']) {
      assert.throws(() => new ManagerClient(url), { code: 'USAGE', message: /HOST:PORT/ }, url);
    }
  });
});
