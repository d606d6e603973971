/**
 * The server process: what it keeps over restarts, whom it refuses, and how it lives without its
 * manager. Real threads, sockets, LMDB and data files, all small.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/common/log.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import { startManager } from '../../../src/manager/manager.js';
import { readRdmaState } from '../../../src/native/rdma-state.js';
import { isDax } from '../../../src/native/extent.js';
import {
  durabilityLine,
  startServer,
  type SealfsServer,
  type ServerOptions,
} from '../../../src/server/server.js';

const MEBIBYTE = 1024 * 1024;
type Manager = Awaited<ReturnType<typeof startManager>>;

describe('server', function () {
  this.timeout(30_000);
  let root = '';
  let manager: Manager | undefined;
  const servers: SealfsServer[] = [];

  async function manage(store = 'manager', port = 0): Promise<Manager> {
    manager = await startManager({
      host: '127.0.0.1',
      port,
      storeDirectory: join(root, store),
      version: '0.0.0',
      log: silentLogger(),
    });
    return manager;
  }

  async function serve(name: string, change: Partial<ServerOptions> = {}): Promise<SealfsServer> {
    const metaDir = join(root, name);
    mkdirSync(join(metaDir, 'data'), { recursive: true });
    const server = await startServer({
      managerUrl: `http://127.0.0.1:${manager!.port}`,
      metaDir,
      data: [{ path: join(metaDir, 'data'), sizeBytes: 8 * MEBIBYTE }],
      targets: 1,
      host: '127.0.0.1',
      port: 0,
      transport: 'tcp',
      log: silentLogger(),
      onFatal: (reason) => {
        throw new Error(reason);
      },
      ...change,
    });
    servers.push(server);
    return server;
  }

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-server-'));
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
    await manager?.close();
    manager = undefined;
    rmSync(root, { recursive: true });
  });

  it('registers its targets, comes back as itself, and grows by a target', async () => {
    await manage();
    const client = new ManagerClient(`http://127.0.0.1:${manager!.port}`);
    const first = await serve('a', { targets: 2 });
    const before = (await client.servers())[0]!;
    assert.equal(before.serverId, first.serverId);
    assert.equal(before.targets.length, 2);
    assert.ok(before.targets.every((target) => target.totalBytes > 3 * MEBIBYTE));
    await first.close();
    const second = await serve('a', { targets: 2 });
    assert.equal(second.serverId, first.serverId);
    await second.close();
    await serve('a', { targets: 3 });
    const after = await client.servers();
    assert.equal(after.length, 1);
    const ids = after[0]!.targets.map((target) => target.targetId);
    assert.equal(ids.length, 3);
    for (const target of before.targets) assert.ok(ids.includes(target.targetId));
    await servers.pop()!.close();
    await assert.rejects(serve('a', { targets: 1 }), { code: 'USAGE', message: /--targets 3/ });
  });

  it('refuses a directory in use, a port in use, and another cluster’s data', async () => {
    await manage();
    const server = await serve('a');
    await assert.rejects(serve('a'), { code: 'BUSY', message: /another server/ });
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as { port: number };
    await assert.rejects(serve('b', { port }), { code: 'BUSY', message: /port is in use/ });
    blocker.close();
    await server.close();
    await manager!.close();
    await manage('other');
    await assert.rejects(serve('a'), /cluster/);
  });

  it('registers what it listens on; rdma without a device fails and leaves no lock', async function () {
    if (readRdmaState().problems.length === 0) this.skip();
    await manage();
    const insist = serve('a', { transport: 'rdma' });
    await assert.rejects(insist, { code: 'USAGE', message: /no RDMA device; .*rdma link add/ });
    const server = await serve('a', { transport: 'auto', targets: 2 });
    const client = new ManagerClient(`http://127.0.0.1:${manager!.port}`);
    const { targets } = (await client.servers())[0]!;
    const found = targets.map(({ endpoints }) => endpoints.join(' ')).sort();
    assert.deepEqual(found, server.ports.map((port) => `tcp://127.0.0.1:${port}`).sort());
  });

  it('starts with its last map while the manager is away, and registers when it is back', async () => {
    await manage();
    const { port } = manager!;
    const first = await serve('a');
    await first.close();
    await manager!.close();
    const second = await serve('a');
    assert.equal(second.serverId, first.serverId);
    await manage('manager', port);
    const client = new ManagerClient(`http://127.0.0.1:${port}`);
    const end = performance.now() + 10_000;
    let up = false;
    while (!up && performance.now() < end) {
      up = (await client.servers())[0]?.targets[0]?.state === 'up';
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.equal(up, true);
  });

  it('says what is wrong with its files', async () => {
    await manage();
    const server = await serve('a');
    await server.close();
    const data = join(root, 'a', 'data', 'target-0.extents');
    truncateSync(data, 4 * MEBIBYTE);
    await assert.rejects(serve('a', { data: [{ path: join(root, 'a', 'data') }] }), {
      code: 'CORRUPT',
      message: /shorter than its record/,
    });
    const identity = join(root, 'a', 'server.json');
    const text = readFileSync(identity, 'utf8');
    writeFileSync(identity, text.slice(0, 20));
    await assert.rejects(serve('a'), { code: 'CORRUPT' });
  });

  it('a fresh one does not wait for ever for a manager that is not there', async () => {
    await manage();
    await manager!.close();
    await assert.rejects(serve('a', { firstContactMs: 300 }), { code: 'UNAVAILABLE' });
  });
});

describe('the choice of durability', () => {
  it('finds no persistent memory where there is a page cache; a missing folder is an error', () => {
    assert.equal(isDax(tmpdir()), false);
    assert.equal(isDax('/dev/shm'), false);
    assert.throws(() => isDax('/dev/shm/not-there'), { code: 'ENOENT' });
  });

  it('says in the log what was chosen and why', () => {
    assert.match(
      durabilityLine(undefined, true),
      /^durability: commit .*\(DAX\), the default there$/,
    );
    assert.match(durabilityLine(undefined, false), /^durability: fsync .*without DAX, the default/);
    assert.match(durabilityLine('fsync', true), /^durability: fsync .*\(DAX\), as asked$/);
  });
});
