/**
 * Batches of the promise API on a simulated cluster whose connections break and whose targets are killed (or, with
 * synchronous commit, lose power) and start again: each item's result is what the ordinary operations would
 * have said, done once, compared with a model step by step. And what they cost, in requests.
 *
 * SEALFS_SIM_BATCH_SEEDS: how many seeds (default 20); SEALFS_SIM_SEED: just this one.
 */
import assert from 'node:assert/strict';
import { FileError, FileStats } from '../../src/client/answer.js';
import type { VolumeFiles } from '../../src/client/volume-files.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { assertCleanSim } from '../support/fsck.js';
import { buildCluster } from './cluster.js';
import type { SimCluster } from './cluster.js';
import { assertNothingLeft } from './left-overs.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Number(process.env['SEALFS_SIM_BATCH_SEEDS'] ?? '20');
const STEPS = 14;
const LENGTHS = [0, 1, 5, 100, 3901, 8192, 8192, 8193, 20_000];
/** Names that no operation can have, and what it says. */
const impossible = new Map([
  ['bad/name', 'EINVAL'],
  ['x'.repeat(300), 'ENAMETOOLONG'],
  ['', 'ENOENT'],
]);

type Node =
  { kind: 'file'; data: Uint8Array } | { kind: 'directory' } | { kind: 'link'; target: string };
/** A value's text, or an errno's name. */
type Result = string;

function content(random: SimRandom): Uint8Array {
  const length = LENGTHS[random.below(LENGTHS.length)]!;
  const first = random.below(256);
  return Uint8Array.from({ length }, (_, i) => (first + i * 7) & 0xff);
}

function textOf(data: Uint8Array): Result {
  return `${data.length} bytes ${Buffer.from(data.subarray(0, 4)).toString('hex')}`;
}

function told(results: readonly (FileError | FileStats | Uint8Array | undefined)[]): Result[] {
  return results.map((result) => {
    if (result instanceof FileError) return result.code;
    if (result instanceof FileStats) return kindOf(result);
    return result === undefined ? 'done' : textOf(result);
  });
}

function kindOf(stats: FileStats): Result {
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'link' : `file of ${stats.size}`;
}

/** One directory, and what the ordinary operations would say of it. */
class Model {
  readonly nodes = new Map<string, Node>();

  #follow(name: string): { name: string; node: Node | undefined } {
    const node = this.nodes.get(name);
    if (node?.kind !== 'link') return { name, node };
    return { name: node.target, node: this.nodes.get(node.target) };
  }

  lstat(name: string): Result {
    const refused = impossible.get(name);
    if (refused !== undefined) return refused;
    const node = this.nodes.get(name);
    if (node === undefined) return 'ENOENT';
    return node.kind === 'file' ? `file of ${node.data.length}` : node.kind;
  }

  read(name: string): Result {
    const refused = impossible.get(name);
    if (refused !== undefined) return refused;
    const { node } = this.#follow(name);
    if (node === undefined) return 'ENOENT';
    return node.kind === 'file' ? textOf(node.data) : 'EISDIR';
  }

  write(name: string, data: Uint8Array, exclusive: boolean): Result {
    const refused = impossible.get(name);
    if (refused !== undefined) return refused;
    if (exclusive && this.nodes.has(name)) return 'EEXIST';
    const found = this.#follow(name);
    if (found.node?.kind === 'directory') return 'EISDIR';
    if (found.node?.kind === 'file') found.node.data = data;
    else this.nodes.set(found.name, { kind: 'file', data });
    return 'done';
  }

  unlink(name: string): Result {
    const refused = impossible.get(name);
    if (refused !== undefined) return refused;
    const node = this.nodes.get(name);
    if (node === undefined) return 'ENOENT';
    if (node.kind === 'directory') return 'EISDIR';
    this.nodes.delete(name);
    return 'done';
  }
}

/** Random batches in `/d`, where some inodes lie on other targets. */
class Player {
  readonly #files: VolumeFiles;
  readonly #random: SimRandom;
  readonly #model = new Model();

  constructor(files: VolumeFiles, seed: number) {
    this.#files = files;
    this.#random = new SimRandom(seed);
  }

  async begin(): Promise<void> {
    const files = this.#files;
    await files.mkdir('/d');
    await files.mkdir('/other');
    await files.mkdir('/d/directory');
    this.#model.nodes.set('directory', { kind: 'directory' });
    for (const i of [0, 1, 2]) {
      await files.writeFile(`/other/h${i}`, `h${i}`);
      await files.link(`/other/h${i}`, `/d/h${i}`);
      this.#model.nodes.set(`h${i}`, { kind: 'file', data: new TextEncoder().encode(`h${i}`) });
      await files.symlink(`n${i}`, `/d/l${i}`);
      this.#model.nodes.set(`l${i}`, { kind: 'link', target: `n${i}` });
    }
  }

  /** Distinct names; a link's target is not among them, since what is done twice has no order. */
  #names(): string[] {
    const all = ['directory', ...impossible.keys()];
    for (let i = 0; i < 3; i++) all.push(this.#random.chance(0.5) ? `l${i}` : `n${i}`, `h${i}`);
    for (let i = 3; i < 30; i++) all.push(`n${i}`);
    return all.filter(() => this.#random.chance(0.5));
  }

  async step(): Promise<void> {
    const files = this.#files;
    const model = this.#model;
    const names = this.#names();
    switch (this.#random.below(6)) {
      case 0:
        await this.#compare('lstat', files.lstatMany('/d', names), names, (name) => {
          return model.lstat(name);
        });
        return;
      case 1:
        await this.#compare('read', files.readFiles('/d', names), names, (name) => {
          return model.read(name);
        });
        return;
      case 2:
        await this.#compare('unlink', files.unlinkMany('/d', names), names, (name) => {
          return model.unlink(name);
        });
        return;
      case 3:
        await this.#compare('create', files.createMany('/d', names), names, (name) => {
          return model.write(name, new Uint8Array(0), true);
        });
        return;
      default:
        await this.#write(names, this.#random.chance(0.3) ? 'wx' : 'w');
    }
  }

  async #write(names: string[], flag: 'w' | 'wx'): Promise<void> {
    const datas = names.map(() => content(this.#random));
    const made = names.map((name, i) => ({ name, data: datas[i]! }));
    await this.#compare(flag, this.#files.writeFiles('/d', made, { flag }), names, (name, i) => {
      return this.#model.write(name, datas[i]!, flag === 'wx');
    });
  }

  async #compare(
    what: string,
    results: Promise<readonly (FileError | FileStats | Uint8Array | undefined)[]>,
    names: string[],
    expected: (name: string, i: number) => Result,
  ): Promise<void> {
    const got = told(await results).map((result, i) => `${what} ${names[i]!}: ${result}`);
    assert.deepEqual(
      got,
      names.map((name, i) => `${what} ${name}: ${expected(name, i)}`),
    );
  }

  /** All is as the model says, and can be removed. */
  async end(): Promise<void> {
    const files = this.#files;
    const names = [...this.#model.nodes.keys()].sort();
    assert.deepEqual((await files.readdir('/d')).sort(), names);
    await this.#compare('read', files.readFiles('/d', names), names, (name) => {
      return this.#model.read(name);
    });
    let removed = 0;
    await files.removeTree('/', (count) => {
      removed = count;
    });
    assert.equal(removed, names.length + 5);
  }
}

async function play(seed: number): Promise<string> {
  const power = seed % 3 === 0;
  const cluster = buildCluster(seed, {
    targets: 1 + (seed % 3),
    network: { breakRate: 0.01 },
    durability: power ? 'commit' : 'fsync',
    ...(seed % 2 === 0 ? {} : { splitEntries: 6 }),
  });
  await cluster.run(async ([client]) => {
    const { files } = client!;
    await files.ensureRoot();
    const player = new Player(files, seed);
    await player.begin();
    const trouble = new Trouble(cluster, seed, power, 400);
    for (let i = 0; i < STEPS; i++) await player.step();
    trouble.stop();
    await cluster.idle(1500);
    await assertCleanSim(cluster);
    await player.end();
    await assertNothingLeft(cluster, client!);
  });
  cluster.end();
  return String(cluster.world.traceHash);
}

/**
 * Three clients make, remove and rename the same few files at once, across targets. Each file that was made is
 * removed once or still there at the end: nothing is done twice, lost, or left half done.
 */
async function contend(seed: number): Promise<string> {
  const cluster = buildCluster(seed, {
    targets: 3,
    clients: 3,
    network: { breakRate: 0.005 },
    // More than the root has, which stays split.
    ...(seed % 2 === 0 ? {} : { splitEntries: 4 }),
  });
  const random = new SimRandom(seed);
  const directories = ['/d0', '/d1', '/d2'];
  const names = Array.from({ length: 6 }, (_, i) => `f${i}`);
  let made = 0;
  let removed = 0;
  let renamed = 0;
  const done = (results: (FileError | undefined)[], refusals: string[]): number => {
    for (const result of results) {
      assert.ok(result === undefined || refusals.includes(result.code), result?.message);
    }
    return results.filter((result) => result === undefined).length;
  };
  const act = async (files: VolumeFiles): Promise<void> => {
    for (let i = 0; i < 12; i++) {
      const directory = directories[random.below(3)]!;
      const some = names.filter(() => random.chance(0.6));
      const kind = random.below(4);
      if (kind === 0) {
        const results = await files.createMany(directory, some);
        made += done(results, ['EEXIST']);
      } else if (kind === 1) {
        const results = await files.unlinkMany(directory, some);
        removed += done(results, ['ENOENT']);
      } else if (kind === 2) {
        const from = `${directory}/${names[random.below(6)]!}`;
        const to = `${directories[random.below(3)]!}/${names[random.below(6)]!}`;
        try {
          await files.rename(from, to, 1);
          renamed++;
        } catch (error) {
          done([error as FileError], ['ENOENT', 'EEXIST']);
        }
      } else {
        for (const result of await files.lstatMany(directory, some)) {
          assert.ok(result instanceof FileStats || result.code === 'ENOENT');
        }
      }
    }
  };
  await cluster.run(async (clients) => {
    const { files } = clients[0]!;
    await files.ensureRoot();
    for (const directory of directories) await files.mkdir(directory);
    const trouble = new Trouble(cluster, seed, false, 400);
    await Promise.all(clients.map((client) => act(client.files)));
    trouble.stop();
    await cluster.idle(2000);
    await assertCleanSim(cluster);
    let left = 0;
    for (const directory of directories) left += (await files.readdir(directory)).length;
    assert.equal(removed + left, made, `seed ${seed}, ${renamed} renamed`);
    await files.removeTree('/');
    await assertNothingLeft(cluster, clients[1]!);
  });
  cluster.end();
  return String(cluster.world.traceHash);
}

describeSeeds('batches of several clients', 'are done once each', Math.ceil(seeds / 2), contend);

describeSeeds('random batches', 'agree with the model', seeds, play);

describe('batches', () => {
  function requests(cluster: SimCluster, opcode: string): number[] {
    return cluster.targets.map(({ target }) => target!.report()[`requests${opcode}`] ?? 0);
  }

  it('cost one request for a hundred names of a directory', async () => {
    const cluster = buildCluster(5, { targets: 3 });
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      await files.mkdir('/d');
      const names = Array.from({ length: 1000 }, (_, i) => `file ${i}`);
      const made = await files.writeFiles(
        '/d',
        names.map((name) => ({ name, data: `content of ${name}` })),
      );
      assert.deepEqual(new Set(made), new Set([undefined]));
      const found = await files.lstatMany('/d', names);
      assert.ok(found.every((one) => one instanceof FileStats && one.isFile()));
      const read = await files.readFiles('/d', names);
      assert.deepEqual(
        read.map((data) => Buffer.from(data as Uint8Array).toString()),
        names.map((name) => `content of ${name}`),
      );
      const unlinked = await files.unlinkMany('/d', names);
      assert.deepEqual(new Set(unlinked), new Set([undefined]));
      for (const opcode of ['BatchWrite', 'BatchLookup', 'BatchRead', 'BatchUnlink']) {
        assert.deepEqual(requests(cluster, opcode).sort(), [0, 0, 10], opcode);
      }
      for (const opcode of ['Create', 'Write', 'Read', 'Unlink', 'Open']) {
        assert.deepEqual(requests(cluster, opcode), [0, 0, 0], opcode);
      }
    });
  });

  it('ask each target once for the attributes of inodes that lie elsewhere', async () => {
    const cluster = buildCluster(6, { targets: 3 });
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      const names = Array.from({ length: 60 }, (_, i) => `directory ${i}`);
      for (const name of names) await files.mkdir(`/${name}`);
      const before = requests(cluster, 'GetAttr');
      const found = await files.lstatMany('/', names);
      assert.ok(found.every((one) => one instanceof FileStats && one.isDirectory()));
      assert.deepEqual(requests(cluster, 'BatchLookup').sort(), [0, 0, 1]);
      // The root's own target has told of its own at once.
      assert.deepEqual(requests(cluster, 'BatchGetAttr').sort(), [0, 1, 1]);
      // What the directory's path costs.
      const sum = (counts: number[]): number => counts.reduce((all, count) => all + count, 0);
      assert.equal(sum(requests(cluster, 'GetAttr')), sum(before) + 1);
    });
  });

  it('go to each partition of a directory that has grown', async () => {
    const cluster = buildCluster(9, { targets: 3, clients: 2, splitEntries: 100 });
    await cluster.run(async ([client, other]) => {
      const { files } = client!;
      await files.ensureRoot();
      await files.mkdir('/d');
      const names = Array.from({ length: 1000 }, (_, i) => `file ${i}`);
      const content = new TextEncoder().encode('text');
      const made = names.map((name) => ({ name, data: content }));
      assert.deepEqual(new Set(await files.writeFiles('/d', made)), new Set([undefined]));
      await cluster.idle(20_000);
      const sum = (opcode: string): number =>
        requests(cluster, opcode).reduce((all, count) => all + count, 0);
      const singles = sum('Lookup');
      // This client has not heard of the partitions: one look-up tells it.
      const found = await other!.files.lstatMany('/d', names);
      assert.ok(found.every((one) => one instanceof FileStats && one.size === 4));
      assert.ok(requests(cluster, 'BatchLookup').every((count) => count > 0));
      assert.ok(sum('BatchLookup') <= 10 + 12, `${sum('BatchLookup')} batches`);
      assert.ok(sum('Lookup') - singles <= 8, `${sum('Lookup') - singles} look-ups`);
      const unlinked = await other!.files.unlinkMany('/d', names);
      assert.deepEqual(new Set(unlinked), new Set([undefined]));
      assert.deepEqual(await files.readdir('/d'), []);
    });
  });

  it('see what this client has written beyond the first chunk of an open file', async () => {
    const cluster = buildCluster(7, { targets: 2 });
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      const file = await files.open('/f', 'w+');
      await file.write(new Uint8Array(3 * 2 ** 20), 0);
      await cluster.idle(50);
      await file.write(new Uint8Array(10), 2 ** 20);
      const [many] = await files.lstatMany('/', ['f']);
      const one = await files.lstat('/f');
      assert.deepEqual(many, one);
      // Emptied by a batch: the open handle must not believe its old size.
      await files.truncate('/f', 5);
      assert.deepEqual(await files.writeFiles('/', [{ name: 'f', data: 'new' }]), [undefined]);
      assert.equal(Buffer.from(await file.readAll()).toString(), 'new');
      file.close();
    });
  });

  it('empty a directory of more entries than a page, deep trees too', async () => {
    const cluster = buildCluster(8, { targets: 2 });
    await cluster.run(async ([client]) => {
      const { files } = client!;
      await files.ensureRoot();
      for (const directory of ['/a', '/a/b', '/a/b/c', '/e']) {
        await files.mkdir(directory);
        const names = Array.from({ length: directory === '/e' ? 3000 : 7 }, (_, i) => `n${i}`);
        await files.createMany(directory, names);
      }
      await files.rm('/a', { recursive: true });
      await files.rm('/e', { recursive: true });
      await assertNothingLeft(cluster, client!);
    });
  });
});
