/**
 * The manager's part of scrubs. Protects: what is wanted survives the manager, a new pass is one that
 * targets know as new, and the state is that of the slowest target.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '../../../src/common/log.js';
import type { ScrubReport } from '../../../src/common/manager-api.js';
import { ManagerClient } from '../../../src/common/manager-client.js';
import type { Manager } from '../../../src/manager/manager.js';
import { startManager } from '../../../src/manager/manager.js';

const targetIds = ['11111111-2222-4333-8444-555555555551', '11111111-2222-4333-8444-555555555552'];

function report(run: number, state: ScrubReport['state'], damagedExtents = 0): ScrubReport {
  return {
    run,
    state,
    progress: 0.5,
    checkedBytes: 4096,
    checkedExtents: 1,
    damagedExtents,
    skippedExtents: 0,
    startedAt: '',
    finishedAt: '',
    damage: [],
  };
}

describe('scrubs at the manager', () => {
  let directory: string;
  let manager: Manager;
  let client: ManagerClient;

  const start = async (): Promise<void> => {
    manager = await startManager({
      host: '127.0.0.1',
      port: 0,
      storeDirectory: join(directory, 'store'),
      version: '0.0.0',
      log: silentLogger(),
    });
    client = new ManagerClient(`http://127.0.0.1:${manager.port}`);
  };

  const beat = (scrubs: (ScrubReport | undefined)[], counters: Record<string, number> = {}) =>
    client.heartbeat('s1', {
      epoch: 1,
      targets: targetIds.map((targetId, i) => {
        const scrub = scrubs[i];
        const figures = { targetId, totalBytes: 100, freeBytes: 40, counters };
        return scrub === undefined ? figures : { ...figures, scrub };
      }),
    });

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-scrub-'));
    await start();
    const target = { endpoints: ['tcp://127.0.0.1:1'], totalBytes: 100, freeBytes: 50 };
    await client.register({
      serverId: 's1',
      targets: targetIds.map((targetId) => ({ targetId, ...target })),
    });
  });
  afterEach(async () => {
    await manager.close();
    rmSync(directory, { recursive: true });
  });

  it('hands the wish to servers, and tells how far they are', async () => {
    assert.deepEqual(await beat([]), { epoch: 1 });
    assert.equal((await client.scrub()).state, 'idle');
    const { run, state, bytesPerSecond } = await client.startScrub(1_000_000);
    assert.equal(state, 'running');
    const wish = { run, running: true, bytesPerSecond };
    assert.deepEqual((await beat([report(run, 'finished', 2)])).scrub, wish);
    const half = await client.scrub();
    assert.equal(half.state, 'running');
    assert.equal(half.damagedExtents, 2);
    assert.equal((await client.startScrub(2_000_000)).run, run, 'the pass under way goes on');
    await beat([report(run, 'finished', 2), report(run, 'finished')]);
    const done = await client.scrub();
    assert.equal(done.state, 'finished');
    assert.equal(done.checkedBytes, 8192);
    const again = await client.startScrub();
    assert.ok(again.run > run);
    assert.equal(again.damagedExtents, 0, 'figures are of this pass');
    assert.equal(again.targets[0]!.scrub!.damagedExtents, 2, 'and the last one is still shown');
  });

  it('keeps the wish over a restart of the manager', async () => {
    const { run } = await client.startScrub(1_000_000);
    await manager.close();
    await start();
    const wish = { run, running: true, bytesPerSecond: 1_000_000 };
    assert.deepEqual((await beat([])).scrub, wish);
    assert.equal((await client.stopScrub()).state, 'stopped');
    assert.deepEqual((await beat([])).scrub, { ...wish, running: false });
  });

  it('refuses rates that are none', async () => {
    await assert.rejects(client.startScrub(1), { code: 'USAGE', message: /^bytesPerSecond: / });
  });

  it('shows what removed files hold', async () => {
    await beat([], { cutsUnderWay: 2, reclaimWaitingBytes: 4096, reclaimedBytes: 100 });
    const { targets } = (await client.status()).servers[0]!;
    assert.deepEqual(targets[0]!.reclaim, { cuts: 2, waitingBytes: 4096, reclaimedBytes: 100 });
  });
});
