/**
 * Operations that are in each other's way, at the same moment and on different targets: what can go
 * wrong only then. Protects: loops of directories, entries in removed directories, link counts, names
 * that are two things or nothing; and that nobody waits for ever.
 *
 * SEALFS_SIM_SEEDS: a twentieth of it is how many seeds each race has.
 */
import assert from 'node:assert/strict';
import { BucketTable } from '../../src/placement/bucket-table.js';
import { buildCluster } from './cluster.js';
import { HistoryClient } from './history-client.js';
import { History, check, describePending } from './history.js';
import { assertNothingLeft } from './left-overs.js';
import { EXCHANGE, NameSpace, NOREPLACE } from './name-space.js';
import type { Result } from './name-space.js';
import { Stage, succeeded } from './stage.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') / 20);
const firstSeed = Number(process.env['SEALFS_SIM_FIRST'] ?? '1');
/** The operations begin within so long: about what one of them takes, or several of them. */
const SPREAD_MS = [0.6, 3];

type Contender = (client: HistoryClient) => Promise<Result>;

const races: Record<string, (stage: Stage) => Promise<Contender[]>> = {
  'two directories, each into the other': async ({ top, p, q }) => [
    (client) => client.rename(top, 'p', q, 'x', 0),
    (client) => client.rename(top, 'q', p, 'y', 0),
  ],
  'three directories, in a ring': async ({ top, p, q, r }) => [
    (client) => client.rename(top, 'p', q, 'x', 0),
    (client) => client.rename(top, 'q', r, 'x', 0),
    (client) => client.rename(top, 'r', p, 'x', 0),
  ],
  'into what moves below it': async (stage) => {
    const { p, q } = stage;
    const name = await stage.directory(p, 1, 'd');
    const d = await stage.inode(p, name);
    const other = await stage.directory(q, 2, 'e');
    const e = await stage.inode(q, other);
    return [
      (client) => client.rename(p, name, e, 'x', 0),
      (client) => client.rename(q, other, d, 'y', 0),
      (client) => client.rename(p, name, q, other, EXCHANGE),
    ];
  },
  'what is removed, and what is made in it': async (stage) => {
    const { p, q } = stage;
    const name = await stage.directory(p, 1, 'd');
    const d = await stage.inode(p, name);
    await stage.file(q, 'f');
    return [
      (client) => client.rmdir(p, name),
      (client) => client.create(d, 'g'),
      (client) => client.rename(q, 'f', d, 'f', 0),
      (client) => client.mkdir(d, stage.name(d, 2, 'e')),
    ];
  },
  'what is replaced, and what is made in it': async (stage) => {
    const { p, q } = stage;
    const name = await stage.directory(p, 1, 'd');
    const d = await stage.inode(p, name);
    const other = await stage.directory(q, 2, 'e');
    const inode = await stage.file(q, 'f');
    return [
      (client) => client.rename(q, other, p, name, 0),
      (client) => client.link(inode, d, 'f'),
      (client) => client.mkdir(d, stage.name(d, 0, 'e')),
      (client) => client.lookup(p, name),
    ];
  },
  'one file, three new names': async (stage) => {
    const { p, q, r } = stage;
    await stage.file(p, 'f');
    return [
      (client) => client.rename(p, 'f', q, 'g', 0),
      (client) => client.rename(p, 'f', r, 'g', NOREPLACE),
      (client) => client.rename(p, 'f', q, 'h', 0),
      (client) => client.unlink(p, 'f'),
    ];
  },
  'three files, one new name': async (stage) => {
    const { p, q, r } = stage;
    await stage.file(p, 'f');
    await stage.file(q, 'f');
    await stage.fileFrom(p, r, 'f');
    return [
      (client) => client.rename(p, 'f', r, 'g', 0),
      (client) => client.rename(q, 'f', r, 'g', 0),
      (client) => client.rename(r, 'f', r, 'g', NOREPLACE),
      (client) => client.create(r, 'g'),
    ];
  },
  'links and their removal': async (stage) => {
    const { p, q, r } = stage;
    const inode = await stage.file(p, 'f');
    succeeded(await stage.client.link(inode, q, 'f'));
    return [
      (client) => client.unlink(p, 'f'),
      (client) => client.unlink(q, 'f'),
      (client) => client.link(inode, r, 'f'),
      (client) => client.attributes(inode),
    ];
  },
  'exchanges, crosswise': async (stage) => {
    const { p, q, r } = stage;
    await stage.file(p, 'f');
    await stage.file(q, 'f');
    const name = await stage.directory(r, 0, 'd');
    return [
      (client) => client.rename(p, 'f', q, 'f', EXCHANGE),
      (client) => client.rename(q, 'f', r, name, EXCHANGE),
      (client) => client.rename(r, name, p, 'f', EXCHANGE),
      (client) => client.rename(q, 'f', p, 'f', 0),
    ];
  },
  'a name looked for while it is replaced again and again': async (stage) => {
    const { p, q, r } = stage;
    await stage.file(p, 'f');
    await stage.file(q, 'f');
    await stage.file(r, 'f');
    return [
      (client) => client.rename(p, 'f', r, 'f', 0),
      (client) => client.rename(q, 'f', r, 'f', 0),
      (client) => client.lookup(r, 'f'),
      async (client) => {
        for (let i = 0; i < 5; i++) await client.lookup(r, 'f');
        return client.lookup(r, 'f');
      },
    ];
  },
};

async function run(race: string, seed: number): Promise<void> {
  const history = new History();
  try {
    await contend(race, seed, history);
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`seed ${seed}: ${message}\n${describePending(history)}`, { cause: error });
  }
}

async function contend(race: string, seed: number, history: History): Promise<void> {
  const cluster = buildCluster(seed, {
    targets: Stage.TARGETS,
    clients: 5,
    small: true,
    network: { jitterMs: [0.1, 1, 4][seed % 3]! },
  });
  const table = BucketTable.build(cluster.map);
  const { world } = cluster;
  await cluster.run(async (clients) => {
    const recorded = clients.map((client) => new HistoryClient(client, history, table, []));
    const [first, ...others] = recorded;
    const stage = await Stage.setUp(first!, table);
    const contenders = await races[race]!(stage);
    await Promise.all(
      contenders.map(async (contender, i) => {
        // Its connections are there before it begins.
        for (const dir of [stage.p, stage.q, stage.r]) await others[i]!.attributes(dir);
        const delayMs = 5 + world.random.next() * SPREAD_MS[seed % 2]!;
        await new Promise<void>((resolve) => world.schedule(delayMs, resolve));
        await contender(others[i]!);
      }),
    );
    await first!.lookAtAll(stage.top);
    const fault = check(NameSpace.root(stage.top), history.entries);
    assert.equal(fault, undefined, fault);
    await clients[0]!.files.rm('/top', { recursive: true });
    await assertNothingLeft(cluster, clients[0]!);
  });
  cluster.end();
}

describe("operations that are in each other's way", function () {
  this.timeout(3_600_000);

  for (const race of Object.keys(races)) {
    it(race, async () => {
      for (let seed = firstSeed; seed < firstSeed + seeds; seed++) await run(race, seed);
    });
  }
});
