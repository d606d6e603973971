/**
 * Directories that grow: small thresholds, so that they split all the time. Protects: whatever is in a
 * directory is found, listed once, counted and removed, in however many partitions it lies
 * (docs/directories.md).
 */
import assert from 'node:assert/strict';
import { buildCluster } from './cluster.js';
import { assertNothingLeft } from './left-overs.js';

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `f${i}`).sort();

describe('directories that grow', function () {
  this.timeout(60_000);

  for (const targets of [1, 2, 3]) {
    it(`keep what is in them, on ${targets} targets`, async () => {
      const cluster = buildCluster(7, { targets, clients: 2, splitEntries: 8 });
      await cluster.run(async ([first, second]) => {
        await first!.files.ensureRoot();
        await first!.files.mkdir('/d');
        const all = names(150);
        for (const name of all) await first!.files.writeFile(`/d/${name}`, name);
        await new Promise<void>((resolve) => cluster.world.schedule(1000, resolve));
        const splits = cluster.targets.map((t) => t.target!.report()['directorySplits']!);
        assert.ok(splits.reduce((a, b) => a + b) >= 8, `splits: ${splits.join()}`);
        for (const client of [first!, second!]) {
          assert.deepEqual((await client.files.readdir('/d')).sort(), all);
          for (const name of all) {
            assert.equal(Buffer.from(await client.files.readFile(`/d/${name}`)).toString(), name);
          }
        }
        await second!.files.mkdir('/d/sub');
        assert.equal((await first!.files.lstat('/d')).linkCount, 3);
        await assert.rejects(second!.files.rmdir('/d'), { code: 'ENOTEMPTY' });
        await second!.files.rename('/d/sub', '/d/other');
        await second!.files.rename('/d/f1', '/d/other/f1');
        await second!.files.rmdir('/d/other').catch((e: unknown) => {
          assert.equal((e as { code: string }).code, 'ENOTEMPTY');
        });
        await second!.files.unlink('/d/other/f1');
        await second!.files.rmdir('/d/other');
        for (const name of all) if (name !== 'f1') await second!.files.unlink(`/d/${name}`);
        // Partitions whose siblings were not small yet are tried again.
        await new Promise<void>((resolve) => cluster.world.schedule(60_000, resolve));
        const count = (name: string): number =>
          cluster.targets.reduce((sum, { target }) => sum + target!.report()[name]!, 0);
        assert.equal(count('directoryMerges'), count('directorySplits'), 'in one piece again');
        await first!.files.writeFile('/d/again', 'x');
        assert.deepEqual(await second!.files.readdir('/d'), ['again']);
        await second!.files.unlink('/d/again');
        await first!.files.rmdir('/d');
        await assertNothingLeft(cluster, first!);
      });
    });
  }
});

describe('batches in a directory that has grown', function () {
  this.timeout(60_000);

  it('ask for each name where it is', async () => {
    const cluster = buildCluster(5, { targets: 3, clients: 2, splitEntries: 8 });
    await cluster.run(async ([first, second]) => {
      await first!.files.ensureRoot();
      await first!.files.mkdir('/d');
      const all = names(120);
      const data = Buffer.from('content');
      const written = all.map((name) => ({ name, data }));
      await first!.files.writeFiles('/d', written.slice(0, 60));
      await first!.files.writeFiles('/d', written.slice(60));
      await first!.files.mkdir('/d/sub');
      for (const { files } of [first!, second!, second!]) {
        const stats = await files.lstatMany('/d', all);
        for (const one of stats) assert.ok('size' in one && one.size === data.length);
        const [sub] = await files.lstatMany('/', ['d']);
        assert.ok(sub !== undefined && 'linkCount' in sub && sub.linkCount === 3);
        for (const one of await files.readFiles('/d', all)) {
          assert.deepEqual(Buffer.from(one as Uint8Array), data);
        }
      }
      for (const one of await second!.files.unlinkMany('/d', all)) assert.equal(one, undefined);
      await first!.files.rm('/d', { recursive: true });
      await assertNothingLeft(cluster, first!);
    });
  });
});

describe('a directory that is busy', function () {
  this.timeout(60_000);
  /** The product's; a busy directory is split from an eighth of it on. */
  const SPLIT_ENTRIES = 8000;
  const BATCH = 500;
  /** A round makes and removes a batch: 10,000 new entries in all. */
  const ROUNDS = 20;

  /** Splits, after so many entries were made and then others came and went, with a pause after each round. */
  async function splitsOf(entries: number, pauseMs: number): Promise<number> {
    const cluster = buildCluster(3, { targets: 2, splitEntries: SPLIT_ENTRIES });
    const wait = (ms: number): Promise<void> =>
      new Promise((resolve) => cluster.world.schedule(ms, resolve));
    return cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      await files.mkdir('/d');
      const all = names(entries);
      for (let i = 0; i < entries; i += BATCH) {
        assert.ok((await files.createMany('/d', all.slice(i, i + BATCH))).every(isUndefined));
        await wait(pauseMs);
      }
      const others = Array.from({ length: BATCH }, (_, i) => `other${i}`);
      for (let i = 0; i < ROUNDS; i++) {
        assert.ok((await files.createMany('/d', others)).every(isUndefined));
        assert.ok((await files.unlinkMany('/d', others)).every(isUndefined));
        await wait(pauseMs);
      }
      await wait(1000);
      assert.deepEqual((await files.readdir('/d')).sort(), all);
      return cluster.targets.reduce((sum, { target }) => {
        return sum + target!.report()['directorySplits']!;
      }, 0);
    });
  }

  it('is split with an eighth of the entries of one that is not', async () => {
    assert.equal(await splitsOf(SPLIT_ENTRIES / 8 + BATCH, 0), 1);
  });

  it('is not split while it is small', async () => {
    assert.equal(await splitsOf(SPLIT_ENTRIES / 8 - BATCH - 1, 0), 0);
  });

  it('is not split when the same changes take more than five seconds', async () => {
    assert.equal(await splitsOf(SPLIT_ENTRIES / 8 + BATCH, 600), 0);
  });
});

function isUndefined(value: unknown): boolean {
  return value === undefined;
}

describe('a directory whose partitions are merged', function () {
  this.timeout(60_000);

  /** Emptied by one client while another changes, again and again, what its entries inherit. */
  async function play(seed: number): Promise<void> {
    const cluster = buildCluster(seed, { targets: 3, clients: 2, splitEntries: 4 });
    await cluster.run(async ([first, second]) => {
      await first!.files.ensureRoot();
      await first!.files.mkdir('/d');
      const all = names(60);
      for (const name of all) await first!.files.writeFile(`/d/${name}`, '');
      let emptied = false;
      const empty = async (): Promise<void> => {
        for (const name of all) await first!.files.unlink(`/d/${name}`);
        emptied = true;
      };
      const change = async (): Promise<void> => {
        for (let mode = 0o755; !emptied; mode ^= 0o2000) await second!.files.chmod('/d', mode);
      };
      await Promise.all([empty(), change()]);
      await first!.files.rmdir('/d');
      await assertNothingLeft(cluster, first!);
    });
  }

  it('lets itself be changed', async () => {
    for (let seed = 1; seed <= 10; seed++) await play(seed);
  });
});
