/** The client core against real targets, simulated: what a program does on a volume. */
import assert from 'node:assert/strict';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';

const MIB = 1048576;

function pattern(lengthBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = seed | 1;
  for (let i = 0; i < lengthBytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

function rejectsWith(code: string): (error: unknown) => boolean {
  return (error) => (error as { code?: string }).code === code;
}

async function withCluster(
  options: { targets?: number; clients?: number },
  body: (cluster: SimCluster, clients: SimClient[]) => Promise<void>,
): Promise<void> {
  const cluster = buildCluster(42, options);
  await cluster.run(async (clients) => {
    await clients[0]!.files.ensureRoot();
    await body(cluster, clients);
  });
}

describe('client core on simulated targets', function () {
  this.timeout(60_000);

  it('creates, writes, reads, lists, renames and removes', async () => {
    await withCluster({ targets: 2 }, async (_cluster, [client]) => {
      const { files, core } = client!;
      await files.mkdir('/d');
      await files.mkdir('/d/sub');
      await files.writeFile('/d/a', 'hello');
      await files.writeFile('/d/b', pattern(20_000, 1));
      await files.symlink('a', '/d/link');
      assert.deepEqual((await files.readdir('/d')).sort(), ['a', 'b', 'link', 'sub']);
      assert.equal(new TextDecoder().decode(await files.readFile('/d/link')), 'hello');
      assert.deepEqual(await files.readFile('/d/b'), pattern(20_000, 1));
      await files.rename('/d/a', '/d/c');
      await assert.rejects(files.stat('/d/a'), rejectsWith('ENOENT'));
      assert.equal((await files.stat('/d/c')).size, 5);
      await assert.rejects(files.rmdir('/d'), rejectsWith('ENOTEMPTY'));
      await assert.rejects(files.mkdir('/d/sub'), rejectsWith('EEXIST'));
      await files.unlink('/d/c');
      await files.rm('/d', { recursive: true });
      assert.deepEqual(await files.readdir('/'), []);
      assert.equal(core.openHandles, 0);
    });
  });

  it('stripes a large file with exact sizes, at unaligned offsets', async () => {
    await withCluster({ targets: 3, clients: 2 }, async (_cluster, [client, other]) => {
      const data = pattern(3 * MIB + 4711, 7);
      const file = await client!.files.open('/big', 'w');
      // 47,008-byte records cross blocks and chunks.
      for (let at = 0; at < data.length; at += 47_008) {
        await file.write(data.subarray(at, at + 47_008), at);
      }
      await file.sync();
      const seen = await other!.files.stat('/big');
      assert.equal(seen.size, data.length, 'size at once, from another client');
      assert.deepEqual(await other!.files.readFile('/big'), data);
      // A hole, then data far behind.
      await file.write(pattern(10, 3), 6 * MIB + 5);
      assert.equal((await other!.files.stat('/big')).size, 6 * MIB + 15);
      const hole = new Uint8Array(1000).fill(1);
      const reader = await other!.files.open('/big');
      assert.equal(await reader.read(hole, 5 * MIB), 1000);
      assert.ok(
        hole.every((byte) => byte === 0),
        'a hole reads as zeros',
      );
      await file.truncate(100);
      assert.deepEqual(await other!.files.readFile('/big'), data.subarray(0, 100));
      await file.write(pattern(10, 3), 2 * MIB);
      const tail = new Uint8Array(100);
      assert.equal(await reader.read(tail, 2 * MIB - 50), 60);
      assert.ok(
        tail.subarray(0, 50).every((byte) => byte === 0),
        'cut data does not come back',
      );
      file.close();
      reader.close();
    });
  });

  it('keeps a file that is unlinked while open, and drops it at the last close', async () => {
    await withCluster({ targets: 2, clients: 2 }, async (cluster, [client, other]) => {
      const data = pattern(2 * MIB, 9);
      await client!.files.writeFile('/gone', data);
      const file = await client!.files.open('/gone', 'r+');
      await other!.files.unlink('/gone');
      await assert.rejects(other!.files.stat('/gone'), rejectsWith('ENOENT'));
      const back = new Uint8Array(data.length);
      assert.equal(await file.read(back, 0), data.length);
      assert.deepEqual(back, data);
      assert.equal((await file.stat()).linkCount, 0);
      file.close();
      await new Promise<void>((resolve) => cluster.world.schedule(100, resolve));
      await assert.rejects(file.stat(), rejectsWith('ENOENT'));
    });
  });

  it('appends of two clients never overlap, in chunk 0 and beyond', async () => {
    await withCluster({ targets: 2, clients: 2 }, async (_cluster, [client, other]) => {
      const handles = [await client!.files.open('/log', 'a'), await other!.files.open('/log', 'a')];
      const record = 30_000;
      const rounds = 30;
      await Promise.all(
        handles.map(async (handle, index) => {
          for (let i = 0; i < rounds; i++) {
            await handle.write(new Uint8Array(record).fill(1 + index), 0);
          }
        }),
      );
      const content = await client!.files.readFile('/log');
      assert.equal(content.length, 2 * rounds * record);
      const counts = [0, 0, 0];
      for (let at = 0; at < content.length; at += record) {
        const owner = content[at]!;
        counts[owner]!++;
        const whole = content.subarray(at, at + record).every((byte) => byte === owner);
        assert.ok(whole, `record at ${at} is whole`);
      }
      assert.deepEqual(counts, [0, rounds, rounds]);
      for (const handle of handles) handle.close();
    });
  });

  it('mtime follows writes that do not extend, and utimes is not undone', async () => {
    await withCluster({ targets: 2 }, async (cluster, [client]) => {
      const { files } = client!;
      await files.writeFile('/f', pattern(3 * MIB, 1));
      const file = await files.open('/f', 'r+');
      const before = await file.stat();
      await new Promise<void>((resolve) => cluster.world.schedule(50, resolve));
      await file.write(pattern(100, 2), 2 * MIB);
      const after = await file.stat();
      const ms = (s: typeof after): number => s.mtimeSeconds * 1000 + s.mtimeNanoseconds / 1e6;
      assert.ok(ms(after) >= ms(before) + 40, 'mtime is new');
      await file.write(pattern(100, 2), 2 * MIB);
      await files.utimes('/f', 1000, 2000);
      file.close();
      await new Promise<void>((resolve) => cluster.world.schedule(50, resolve));
      assert.equal((await files.stat('/f')).mtimeSeconds, 2000);
    });
  });

  it('goes on when a target is killed and started again', async () => {
    await withCluster({ targets: 2 }, async (cluster, [client]) => {
      const { files } = client!;
      const file = await files.open('/f', 'w+');
      await files.unlink('/f');
      const data = pattern(3 * MIB, 5);
      const writing = file.write(data, 0);
      cluster.world.schedule(1, () => {
        for (const target of cluster.targets) target.kill();
      });
      cluster.world.schedule(500, () => {
        for (const target of cluster.targets) target.start();
      });
      await writing;
      // Longer than a restarted target keeps files that nobody registers again.
      await new Promise<void>((resolve) => cluster.world.schedule(90_000, resolve));
      const back = new Uint8Array(data.length);
      assert.equal(await file.read(back, 0), data.length);
      assert.deepEqual(back, data);
      file.close();
    });
  });

  it('soft clients fail with EIO when a target stays away', async () => {
    const cluster = buildCluster(5, {
      targets: 1,
      client: { mode: 'soft', softTimeoutMs: 2000 },
    });
    await cluster.run(async ([client]) => {
      await client!.files.ensureRoot();
      cluster.targets[0]!.kill();
      await assert.rejects(client!.files.stat('/'), rejectsWith('EIO'));
    });
  });

  it('statfs sums all targets, and the root is dropped only when it is empty', async () => {
    await withCluster({ targets: 3 }, async (_cluster, [client]) => {
      const { files } = client!;
      const totals = await files.statfs();
      const devices = 3 * 65_536 * 4096;
      assert.ok(totals.totalBytes > 0.9 * devices && totals.totalBytes <= devices);
      assert.ok(totals.freeBytes <= totals.totalBytes && totals.freeInodes > 0);
      await files.writeFile('/x', 'x');
      await assert.rejects(files.dropRoot(), rejectsWith('ENOTEMPTY'));
      await files.unlink('/x');
      await files.dropRoot();
      await assert.rejects(files.stat('/'), rejectsWith('ENOENT'));
    });
  });

  it('a client that dies in mkdir or rmdir leaves nothing that is in the way', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const cluster = buildCluster(seed, { targets: 1 + (seed % 2), clients: 2 });
      await cluster.run(async ([client, other]) => {
        await client!.files.ensureRoot();
        if (seed % 4 < 2) await client!.files.mkdir('/d');
        // Never settled if the client dies first.
        void (seed % 4 < 2 ? client!.files.rmdir('/d') : client!.files.mkdir('/d'));
        await new Promise<void>((resolve) => {
          cluster.world.schedule(cluster.world.random.next() * 1.5, resolve);
        });
        client!.kill();
        await new Promise<void>((resolve) => cluster.world.schedule(50, resolve));
        const { files } = other!;
        try {
          assert.ok((await files.stat('/d')).isDirectory());
          await files.rmdir('/d');
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'ENOENT', `seed ${seed}`);
        }
        await files.writeFile('/d', 'the name is free');
        await files.unlink('/d');
        await files.mkdir('/d');
        await files.rmdir('/d');
        assert.deepEqual(await files.readdir('/'), [], `seed ${seed}`);
      });
      cluster.end();
    }
  });
});
