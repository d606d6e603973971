/**
 * A manager process killed with SIGKILL comes back with everything that it had answered. Protects:
 * commit before answer, the store's lock being let go by the kernel, a clean end on SIGTERM.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ManagerClient } from '../../../src/common/manager-client.js';

const main = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));

describe('manager process', function () {
  this.timeout(30_000);
  let directory: string;
  let child: ChildProcess;
  let client: ManagerClient;

  const start = async (): Promise<void> => {
    const args = ['manager', '--listen', '127.0.0.1:0', '--store', `lmdb:${join(directory, 's')}`];
    child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    for await (const data of child.stderr! as AsyncIterable<Buffer>) {
      text += data.toString();
      const url = /manager at (http:\S+)/.exec(text)?.[1];
      if (url !== undefined) {
        client = new ManagerClient(url);
        return;
      }
    }
    throw new Error(`the manager did not start: ${text}`);
  };

  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    const exit = once(child, 'exit');
    child.kill(signal);
    return (await exit)[0] as number | null;
  };

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'sealfs-manager-restart-'));
  });
  after(async () => {
    if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
    rmSync(directory, { recursive: true });
  });

  it('keeps what it has answered through SIGKILL in the middle of changes', async () => {
    await start();
    const { clusterId } = await client.register({
      serverId: 's1',
      targets: [
        {
          targetId: '11111111-2222-4333-8444-555555555555',
          endpoints: ['tcp://127.0.0.1:1'],
          totalBytes: 1,
          freeBytes: 1,
        },
      ],
    });
    const acknowledged: string[] = [];
    for (let round = 0; round < 3; round++) {
      const creating = Array.from({ length: 40 }, async (_, n) => {
        const name = `v-${round}-${n}`;
        try {
          await client.createVolume(name);
          acknowledged.push(name);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'UNAVAILABLE');
        }
      });
      while (acknowledged.length < round * 10 + 5) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      await end('SIGKILL');
      await Promise.all(creating);
      await start();
      const map = await client.map();
      assert.equal(map.clusterId, clusterId);
      assert.equal(map.members.length, 1);
      const volumes = await client.volumes();
      const names = new Set(volumes.map((volume) => volume.name));
      for (const name of acknowledged) assert.ok(names.has(name), `${name} is lost`);
      assert.equal(new Set(volumes.map((volume) => volume.id)).size, volumes.length);
    }
  });

  it('ends cleanly on SIGTERM, also with a watcher connected', async () => {
    const stop = new AbortController();
    const watching = client.watch(0, () => undefined, { signal: stop.signal });
    await client.map();
    assert.equal(await end('SIGTERM'), 0);
    stop.abort();
    await watching;
  });
});
