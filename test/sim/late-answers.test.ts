/**
 * What was made, and removed by somebody else before its maker had the answer: it was made all the
 * same. The answer comes from a target's record of the request, or from the second of two requests.
 */
import assert from 'node:assert/strict';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';

const SEEDS = 24;

const makes: Record<string, (client: SimClient) => Promise<void>> = {
  create: async ({ files }) => {
    (await files.open('/d/f', 'wx')).close();
  },
  mkdir: ({ files }) => files.mkdir('/d/f'),
  symlink: ({ files }) => files.symlink('target', '/d/f'),
  link: ({ files }) => files.link('/existing', '/d/f'),
};

async function remove({ files }: SimClient): Promise<boolean> {
  try {
    if ((await files.lstat('/d/f')).isDirectory()) await files.rmdir('/d/f');
    else await files.unlink('/d/f');
    return true;
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'ENOENT');
    return false;
  }
}

/** The maker is cut off while it makes; whether another had removed it before it had its answer. */
async function race(
  cluster: SimCluster,
  [maker, other]: SimClient[],
  make: (client: SimClient) => Promise<void>,
): Promise<boolean> {
  const { world, network, targets } = cluster;
  let answered = false;
  const making = make(maker!).then(() => {
    answered = true;
  });
  await new Promise<void>((resolve) => world.schedule(world.random.next() * 4, resolve));
  for (const { name } of targets) network.partition(maker!.name, name);
  let removed = false;
  for (let i = 0; i < 5 && !removed; i++) removed = await remove(other!);
  // A second name of the same file; with it, the file is gone.
  if (removed) await other!.files.rm('/existing', { force: true });
  const isLate = removed && !answered;
  for (const { name } of targets) {
    network.breakBetween(maker!.name, name);
    network.heal(maker!.name, name);
  }
  await making;
  return isLate;
}

describe('late answers', function () {
  this.timeout(60_000);

  for (const [what, make] of Object.entries(makes)) {
    it(`${what}: it was made, although it is gone`, async () => {
      let late = 0;
      for (let seed = 1; seed <= SEEDS; seed++) {
        const cluster = buildCluster(seed, { targets: 2, clients: 2, small: true });
        await cluster.run(async (clients) => {
          const { files } = clients[0]!;
          await files.ensureRoot();
          await files.mkdir('/d');
          await files.writeFile('/existing', '');
          await clients[1]!.files.stat('/d');
          if (await race(cluster, clients, make)) late++;
        });
      }
      assert.ok(late > 0, 'it was removed before the answer');
    });
  }
});
