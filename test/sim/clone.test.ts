/**
 * Clones over whole targets: files in one directory and in several, seen by clients that knew the
 * clone before it was one. Protects: what a client believes about where chunks lie is never wrong;
 * the original's end is nobody's; all space comes back.
 */
import assert from 'node:assert/strict';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';

const MIB = 1048576;

function pattern(lengthBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = (seed * 2654435761) | 1;
  for (let i = 0; i < lengthBytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

function same(found: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(found.length, expected.length, what);
  assert.ok(Buffer.from(found).equals(expected), what);
}

async function withCluster(
  seed: number,
  body: (cluster: SimCluster, clients: SimClient[]) => Promise<void>,
): Promise<void> {
  const cluster = buildCluster(seed, { targets: 3, clients: 2 });
  await cluster.run(async (clients) => {
    await clients[0]!.files.ensureRoot();
    await body(cluster, clients);
  });
}

async function usedBytes(client: SimClient): Promise<number> {
  const { totalBytes, freeBytes } = await client.files.statfs();
  return totalBytes - freeBytes;
}

describe('clones on simulated targets', function () {
  this.timeout(60_000);

  it('take no space, and live on when the original is changed and removed', async () => {
    await withCluster(1, async (cluster, [client, other]) => {
      const { files } = client!;
      const data = pattern(7 * MIB + 12_345, 1);
      await files.writeFile('/a', data);
      const used = await usedBytes(client!);
      await files.copyFile('/a', '/b');
      await files.copyFile('/b', '/c');
      assert.equal(await usedBytes(client!), used);
      same(await other!.files.readFile('/b'), data, 'b');
      same(await other!.files.readFile('/c'), data, 'c');
      const c = await files.open('/c', 'r+');
      await c.write(pattern(2 * MIB, 2), 3 * MIB - 77);
      c.close();
      await files.unlink('/a');
      await files.truncate('/b', 2 * MIB);
      await files.truncate('/b', 7 * MIB);
      const expected = data.slice();
      expected.set(pattern(2 * MIB, 2), 3 * MIB - 77);
      same(await other!.files.readFile('/c'), expected, 'c, after');
      await files.unlink('/b');
      same(await client!.files.readFile('/c'), expected, 'c alone');
      await files.unlink('/c');
      await cluster.idle(10_000);
    });
  });

  it('give all space back', async () => {
    const cluster = buildCluster(2, { targets: 3, clients: 1 });
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      const empty = await usedBytes(client!);
      for (let i = 0; i < 4; i++) await files.mkdir(`/d${i}`);
      await files.writeFile('/d0/f', pattern(140 * MIB, 3));
      const used = await usedBytes(client!);
      // Chunk 128 lies with the inode of the layout, which need not be the clone's.
      for (let i = 1; i < 4; i++) await files.copyFile(`/d${i - 1}/f`, `/d${i}/f`);
      const more = (await usedBytes(client!)) - used;
      assert.ok(more <= 3 * MIB, `chunk 0 of each may have to be copied: ${more} bytes`);
      same(await files.readFile('/d3/f'), pattern(140 * MIB, 3), 'the last clone');
      for (let i = 0; i < 4; i++) await files.unlink(`/d${i}/f`);
      const until = client!.scheduler.nowMs() + 60_000;
      while ((await usedBytes(client!)) > empty && client!.scheduler.nowMs() < until);
      assert.equal(await usedBytes(client!), empty);
    });
  });

  it('are found by clients that had the file open before it was a clone', async () => {
    await withCluster(3, async (_cluster, [client, other]) => {
      const { files } = client!;
      const data = pattern(5 * MIB, 4);
      await files.writeFile('/a', data);
      await files.writeFile('/b', 'x');
      const reader = await other!.files.open('/b', 'r');
      const writer = await other!.files.open('/b', 'r+');
      const few = new Uint8Array(10);
      await reader.read(few, 0);
      await files.copyFile('/a', '/b');
      await reader.read(few, 0);
      const part = new Uint8Array(MIB);
      assert.equal(await reader.read(part, 3 * MIB), MIB, 'its size was learnt with chunk 0');
      same(part, data.subarray(3 * MIB, 4 * MIB), 'from the places of the original');
      await writer.write(pattern(100_000, 5), 4 * MIB);
      data.set(pattern(100_000, 5), 4 * MIB);
      same(await files.readFile('/b'), data, 'written where the others look');
      assert.equal(await reader.seek(0, true), 5 * MIB);
      await writer.allocate(3, 2 * MIB, MIB);
      assert.equal(await reader.seek(0, true), 2 * MIB);
    });
  });

  it('of a file that has stripes of its own are copies', async () => {
    await withCluster(4, async (_cluster, [client, other]) => {
      const { files } = client!;
      const data = pattern(4 * MIB, 6);
      await files.writeFile('/a', data);
      await files.writeFile('/b', pattern(6 * MIB, 7));
      const from = await files.open('/a', 'r');
      const to = await files.open('/b', 'r+');
      assert.equal(await from.copyTo(to), 4 * MIB);
      const expected = pattern(6 * MIB, 7);
      expected.set(data);
      same(await other!.files.readFile('/b'), expected, 'b');
    });
  });

  it('of a sparse file are sparse; small files are cloned as well', async () => {
    await withCluster(5, async (_cluster, [client, other]) => {
      const { files } = client!;
      const file = await files.open('/a', 'w');
      await file.write(pattern(100_000, 8), 300 * MIB);
      await file.write(pattern(10, 9), 5 * MIB);
      await files.copyFile('/a', '/b');
      const copy = await other!.files.open('/b');
      assert.equal((await copy.stat()).size, 300 * MIB + 100_000);
      assert.equal(await copy.seek(0, false), 5 * MIB);
      assert.equal(await copy.seek(6 * MIB, false), 300 * MIB);
      await files.writeFile('/s', 'small');
      await files.copyFile('/s', '/t');
      await files.writeFile('/s', 'other');
      assert.equal(new TextDecoder().decode(await other!.files.readFile('/t')), 'small');
      await files.writeFile('/e', '');
      await files.copyFile('/e', '/f');
      assert.equal((await other!.files.stat('/f')).size, 0);
    });
  });
});
