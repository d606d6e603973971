/**
 * Databases on the mount under kill -9: of themselves, and of the servers below them. What they said
 * was committed is there afterwards, and their own checks find nothing.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { sleep, until } from '../support/cluster.js';
import { ground, needs, rounds } from './programs-ground.js';
import type { Ground } from './programs-ground.js';
import { Postgres, sumOfHistory } from './programs-postgres.js';
import { SqliteWriter, checkDatabase, createDatabase } from './programs-sqlite.js';

const journalModes = ['delete', 'persist', 'wal', ...(rounds > 1 ? ['truncate'] : [])];

/** kill -9 of one server; it is away for a moment, then it comes back. */
async function bounceServer(place: Ground, index: number): Promise<void> {
  await place.cluster.killServer(index);
  await sleep(200);
  place.cluster.startServer(index);
}

describe('SQLite on a mount', function () {
  this.timeout(60_000 + rounds * 30_000);
  let place: Ground;
  let root: string;

  before(async () => {
    needs('sqlite3', 'stdbuf');
    place = await ground();
    root = join(place.mount, 'sqlite');
    mkdirSync(root);
  });

  for (const mode of journalModes) {
    it(`in journal mode ${mode} loses nothing when its writer is killed`, async () => {
      const path = join(root, `writer-${mode}.db`);
      await createDatabase(path, mode);
      let committed = 0;
      let recovered = 0;
      for (let round = 0; round < 3 + 3 * rounds; round++) {
        const writer = new SqliteWriter(path, committed + 1);
        const goal = committed + 1 + ((round * 7) % 20);
        await until('rows', () => writer.committed >= goal || writer.failed !== undefined);
        // Between two looks at its output it is somewhere inside a transaction.
        await sleep((round * 3) % 11);
        const last = await writer.kill();
        if (existsSync(`${path}-journal`) || existsSync(`${path}-wal`)) recovered++;
        committed = await checkDatabase(path, last);
      }
      assert.ok(recovered > 0, 'no kill left a journal behind');
    });
  }

  it('loses nothing when servers are killed under its writers, who notice nothing', async () => {
    const modes = ['delete', 'wal'];
    const paths = modes.map((mode) => join(root, `server-${mode}.db`));
    for (const [i, mode] of modes.entries()) await createDatabase(paths[i]!, mode);
    const writers = paths.map((path) => new SqliteWriter(path, 1));
    for (let round = 0; round < 1 + rounds; round++) {
      const before = writers.map((writer) => writer.committed);
      await until('rows', () => writers.every((w, i) => w.committed > before[i]! + 10));
      await bounceServer(place, round % 2);
      const during = writers.map((writer) => writer.committed);
      await until('rows after a kill', () =>
        writers.every((w, i) => w.committed > during[i]! + 10),
      );
    }
    for (const [i, writer] of writers.entries()) {
      assert.equal(writer.failed, undefined);
      const last = await writer.kill();
      // Seen by a client that never wrote it, and by one that did.
      const elsewhere = join(place.other, 'sqlite', `server-${modes[i]!}.db`);
      if (modes[i] === 'delete') await checkDatabase(elsewhere, last);
      await checkDatabase(paths[i]!, last);
    }
  });
});

describe('PostgreSQL on a mount', function () {
  this.timeout(120_000 + rounds * 60_000);
  let place: Ground;
  let postgres: Postgres;

  before(async () => {
    place = await ground();
    postgres = await Postgres.create(join(place.mount, 'postgres'), place.cluster.dir);
  });

  after(async () => {
    await postgres?.kill();
  });

  it('initialises a cluster and takes transactions', async () => {
    await postgres.start();
    await postgres.command('pgbench', '-i', '-q', '-s', `${rounds}`);
    const done = await postgres.bench(rounds);
    assert.equal(done.status, 0, done.err);
    assert.ok(done.transactions > 0);
    assert.equal(await sumOfHistory(postgres), done.transactions);
  });

  it('recovers from kill -9 with every transaction that it had acknowledged', async () => {
    for (let round = 0; round < rounds; round++) {
      const before = await sumOfHistory(postgres);
      const load = postgres.bench(60);
      await until('transactions', async () => (await sumOfHistory(postgres)) > before + 50);
      await postgres.kill();
      const { transactions } = await load;
      await postgres.start();
      assert.match(postgres.log(), /database system was not properly shut down/);
      const after = await sumOfHistory(postgres);
      assert.ok(transactions > 0);
      assert.ok(after >= before + transactions, `${before} + ${transactions} became ${after}`);
      await postgres.command(
        'pg_amcheck',
        '--install-missing',
        '--heapallindexed',
        '-t',
        'pgbench_*',
        'postgres',
      );
    }
  });

  it('goes on over the death of a server', async () => {
    const before = await sumOfHistory(postgres);
    const load = postgres.bench(2 + 2 * rounds);
    for (let round = 0; round < rounds; round++) {
      await sleep(500);
      await bounceServer(place, round % 2);
    }
    const { status, transactions, err } = await load;
    assert.equal(status, 0, err);
    assert.equal(await sumOfHistory(postgres), before + transactions);
  });

  it('stops, and finds every page whole', async () => {
    await postgres.stop();
    const checked = await postgres.command('pg_checksums', '--check', '-D', postgres.directory);
    assert.match(checked, /Bad checksums: +0/);
  });
});
