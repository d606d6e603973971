/**
 * Extended attributes and inheritance under broken connections and killed targets: each change once,
 * whole or not at all, as a Map has it.
 */
import assert from 'node:assert/strict';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';

const FIRST_SEED = Number(process.env['SEALFS_SIM_SEED'] ?? 1);
const SEEDS = process.env['SEALFS_SIM_SEED'] === undefined ? 8 : 1;
const STEPS = 60;
const CREATE = 1;
const DEFAULT = 'system.posix_acl_default';

function value(lengthBytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (i * 7 + seed) & 0xff);
}

/** Version 2: owner rwx, one named user rwx, group rx, mask rwx, others none. */
function acl(): Uint8Array {
  const entries = [
    [1, 7, 0xffffffff],
    [2, 7, 1000],
    [4, 5, 0xffffffff],
    [16, 7, 0xffffffff],
    [32, 0, 0xffffffff],
  ] as const;
  const bytes = Buffer.alloc(4 + 8 * entries.length);
  bytes.writeUInt32LE(2);
  entries.forEach(([tag, permissions, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i);
    bytes.writeUInt16LE(permissions, 6 + 8 * i);
    bytes.writeUInt32LE(id, 8 + 8 * i);
  });
  return new Uint8Array(bytes);
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** One random step on the file, and the same on the model. */
async function step(
  client: SimClient,
  path: string,
  model: Map<string, Uint8Array>,
  random: () => number,
): Promise<void> {
  const name = `user.${Math.floor(random() * 5)}`;
  const kind = Math.floor(random() * 5);
  const { files } = client;
  if (kind === 0) {
    const length = [0, 10, 8192, 8193, 40_000][Math.floor(random() * 5)]!;
    const bytes = value(length, Math.floor(random() * 256));
    await files.setXattr(path, name, bytes);
    model.set(name, bytes);
  } else if (kind === 1) {
    // Executed twice it would fail the second time.
    const bytes = value(20, 1);
    const expected = model.has(name) ? 'EEXIST' : 'ok';
    assert.equal(await codeOf(files.setXattr(path, name, bytes, CREATE)), expected);
    if (expected === 'ok') model.set(name, bytes);
  } else if (kind === 2) {
    const expected = model.delete(name) ? 'ok' : 'ENODATA';
    assert.equal(await codeOf(files.removeXattr(path, name)), expected);
  } else if (kind === 3) {
    assert.deepEqual(await files.listXattrs(path), [...model.keys()].sort());
  } else {
    const expected = model.get(name);
    if (expected !== undefined) assert.deepEqual(await files.getXattr(path, name), expected);
    else assert.equal(await codeOf(files.getXattr(path, name)), 'ENODATA');
  }
}

/** Every target is killed at some moment of what goes on. */
function restartSoon(cluster: SimCluster): void {
  for (const target of cluster.targets) {
    cluster.world.schedule(cluster.world.random.next() * 5, () => {
      target.kill();
      target.start();
    });
  }
}

describe('extended attributes on simulated targets', function () {
  this.timeout(60_000);

  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    it(`are changed exactly once while connections break and a target restarts (seed ${seed})`, async () => {
      const cluster = buildCluster(seed, {
        targets: 2,
        clients: 2,
        network: { delayMs: 0.2, jitterMs: 1, breakRate: 0.02 },
      });
      await cluster.run(async ([client, other]) => {
        await client!.files.ensureRoot();
        await client!.files.writeFile('/f', 'data');
        const model = new Map<string, Uint8Array>();
        for (let i = 0; i < STEPS; i++) {
          if (i % 20 === 10) restartSoon(cluster);
          await step(i % 2 === 0 ? client! : other!, '/f', model, () =>
            cluster.world.random.next(),
          );
        }
        for (const each of model.keys()) {
          assert.deepEqual(await other!.files.getXattr('/f', each), model.get(each));
        }
        await client!.files.unlink('/f');
      });
    });
  }

  it('default access control lists reach directories on other targets', async () => {
    const cluster = buildCluster(5, { targets: 3, clients: 2 });
    await cluster.run(async ([client, other]) => {
      await client!.files.ensureRoot();
      await client!.files.mkdir('/d');
      await client!.files.setXattr('/d', DEFAULT, acl());
      // The other client knows nothing of the list: it is told when it makes the entry.
      for (let i = 0; i < 6; i++) {
        const { files } = i % 2 === 0 ? other! : client!;
        await files.mkdir(`/d/${i}`, { mode: 0o777 });
        assert.deepEqual(await files.getXattr(`/d/${i}`, DEFAULT), acl());
        assert.equal((await files.stat(`/d/${i}`)).mode & 0o7777, 0o770);
        await files.mkdir(`/d/${i}/deeper`, { mode: 0o700 });
        assert.deepEqual(await files.listXattrs(`/d/${i}/deeper`), [
          'system.posix_acl_access',
          DEFAULT,
        ]);
      }
      await client!.files.removeXattr('/d', DEFAULT);
      await other!.files.mkdir('/d/plain');
      assert.deepEqual(await other!.files.listXattrs('/d/plain'), []);
    });
  });
});
