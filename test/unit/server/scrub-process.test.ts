/**
 * A scrub from the manager's wish to the listed damage, with real processes' parts: HTTP, heartbeats,
 * worker threads, LMDB, a data file in which a byte is flipped while the server is stopped. Protects:
 * the way that wishes and reports take, and that a server goes on with a pass without being told.
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVolume } from '../../../src/client/files.js';
import { silentLogger } from '../../../src/common/log.js';
import type { ScrubStatus } from '../../../src/common/manager-api.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import { startManager } from '../../../src/manager/manager.js';
import { startServer, type SealfsServer } from '../../../src/server/server.js';

const MEBIBYTE = 1024 * 1024;
const PATIENCE_MS = 20_000;

describe('scrub of a running cluster', function () {
  this.timeout(60_000);
  let root = '';
  let manager: Awaited<ReturnType<typeof startManager>>;
  let client: ManagerClient;
  let server: SealfsServer | undefined;

  async function serve(): Promise<void> {
    const metaDir = join(root, 'server');
    mkdirSync(join(metaDir, 'data'), { recursive: true });
    server = await startServer({
      managerUrl: client.url,
      metaDir,
      data: [{ path: join(metaDir, 'data'), sizeBytes: 16 * MEBIBYTE }],
      targets: 1,
      host: '127.0.0.1',
      port: 0,
      transport: 'tcp',
      log: silentLogger(),
      onFatal: (reason) => {
        throw new Error(reason);
      },
    });
  }

  async function until(
    what: string,
    holds: (status: ScrubStatus) => boolean,
  ): Promise<ScrubStatus> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      const status = await client.scrub();
      if (holds(status)) return status;
      assert.ok(performance.now() < end, `not ${what}: ${JSON.stringify(status)}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'sealfs-scrub-'));
    manager = await startManager({
      host: '127.0.0.1',
      port: 0,
      storeDirectory: join(root, 'manager'),
      version: '0.0.0',
      log: silentLogger(),
    });
    client = new ManagerClient(`http://127.0.0.1:${manager.port}`);
    await serve();
  });
  after(async () => {
    await server?.close();
    await manager.close();
    rmSync(root, { recursive: true });
  });

  it('is clean, then names what was flipped, and is remembered', async () => {
    const volume = await client.createVolume('v');
    const files = await openVolume({ managerUrl: client.url, volume, transport: 'tcp' });
    await files.ensureRoot();
    const marker = Buffer.from('the-byte-that-flips');
    const data = Buffer.alloc(200_000, 'd');
    marker.copy(data, 150_000);
    await files.writeFile('/victim', data);
    await files.writeFile('/bystander', Buffer.alloc(200_000, 'b'));
    const { inode } = await files.stat('/victim');
    assert.equal((await client.scrub()).state, 'idle');
    await client.startScrub();
    const clean = await until('finished', ({ state }) => state === 'finished');
    assert.equal(clean.damagedExtents, 0);
    assert.ok(clean.checkedBytes >= 400_000);
    await files.close();
    await server!.close();
    flip(join(root, 'server/data'), marker);
    await serve();
    // The pass is over: the server does not begin it again by itself.
    const still = await until('reported', ({ targets }) => targets[0]?.scrub !== undefined);
    assert.equal(still.damagedExtents, 0);
    await client.startScrub(100 * MEBIBYTE);
    const found = await until('finished', ({ state }) => state === 'finished');
    assert.equal(found.damagedExtents, 1);
    const [damage] = found.targets[0]!.scrub!.damage;
    assert.equal(damage!.inode, inode);
    assert.equal(damage!.chunk, 0);
    assert.equal(damage!.offset, 150_000 - (150_000 % 4096));
    await server!.close();
    await serve();
    const kept = await until('reported', ({ targets }) => targets[0]?.scrub?.run === found.run);
    assert.deepEqual(kept.targets[0]!.scrub!.damage, [damage]);
  });
});

/** Changes one byte of `marker` in the extent file that has it. */
function flip(dir: string, marker: Buffer): void {
  const found = readdirSync(dir, { recursive: true, withFileTypes: true });
  for (const entry of found) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = readFileSync(path);
    const at = bytes.indexOf(marker);
    if (at < 0) continue;
    bytes[at]! ^= 1;
    writeFileSync(path, bytes);
    return;
  }
  assert.fail('the data is in no extent file');
}
