/**
 * A client process and a cluster whose targets it cannot reach. Protects: one clear error at once
 * where no target ever can be.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVolume } from '../../../src/client/files.js';
import { silentLogger } from '../../../src/common/log.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import type { Manager } from '../../../src/manager/manager.js';
import { startManager } from '../../../src/manager/manager.js';

const targetId = '11111111-1111-4111-8111-111111111111';

describe('client and endpoints', function () {
  this.timeout(20_000);
  let directory: string;
  let manager: Manager;

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-client-endpoints-'));
    manager = await startManager({
      host: '127.0.0.1',
      port: 0,
      storeDirectory: join(directory, 'store'),
      version: '0.0.0',
      log: silentLogger(),
    });
  });
  afterEach(async () => {
    await manager.close();
    rmSync(directory, { recursive: true });
  });

  it('refuses a cluster whose targets lack its transport, in one line', async () => {
    const managerUrl = `http://127.0.0.1:${manager.port}`;
    const client = new ManagerClient(managerUrl);
    const target = { targetId, endpoints: ['rdma://10.0.0.1:7400'], totalBytes: 1, freeBytes: 1 };
    await client.register({ serverId: 's', targets: [target] });
    const volume = await client.createVolume('v');
    await assert.rejects(openVolume({ managerUrl, volume, transport: 'tcp' }), {
      code: 'UNSUPPORTED',
      message: /^target 1111.* no tcp endpoint \(rdma:\/\/10\.0\.0\.1:7400\): start its server/,
    });
  });
});
