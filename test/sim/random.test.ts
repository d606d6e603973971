/**
 * Random operations of two clients on a simulated cluster whose connections break, whose nodes are
 * cut off from each other and whose targets are killed (or, with synchronous commit, lose power)
 * and start again, checked step by step against a model file system.
 *
 * SEALFS_SIM_SEEDS: how many seeds (default 200); SEALFS_SIM_SEED: just this one, with its trace's
 * hash. The same seed gives the same run.
 */
import assert from 'node:assert/strict';
import type { FileHandle } from '../../src/client/file-handle.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient } from './cluster.js';
import { assertNothingLeft } from './left-overs.js';
import { ModelFileSystem } from './model.js';
import type { Outcome } from './model.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Number(process.env['SEALFS_SIM_SEEDS'] ?? '200');
const steps = 60;
const chunk = 1 << 20;

/** What the client did; an errno becomes an outcome. */
async function outcome(operation: () => Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await operation() };
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === undefined) throw error;
    return { error: code };
  }
}

function bytes(random: SimRandom, length: number): Uint8Array {
  const data = new Uint8Array(length);
  let state = random.word() | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    data[i] = state >>> 16;
  }
  return data;
}

/** One client's random program below its own directory, and the model of it. */
class Player {
  readonly #client: SimClient;
  readonly #random: SimRandom;
  readonly #home: string;
  readonly model = new ModelFileSystem();
  readonly history: string[] = [];

  constructor(client: SimClient, home: string, seed: number) {
    this.#client = client;
    this.#home = home;
    this.#random = new SimRandom(seed);
    this.model.mkdir(home);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random.below(choices.length)]!;
  }

  #directory(): string {
    return this.#home + this.#pick(['', '', '/d0', '/d1', '/d0/d0']);
  }

  #file(): string {
    return `${this.#directory()}/f${this.#random.below(4)}`;
  }

  #offset(): number {
    return this.#pick([0, 0, 1, 100, 4095, 8192, 47_008, chunk - 7, chunk, 2 * chunk + 4097]);
  }

  #length(): number {
    return this.#pick([0, 1, 100, 3901, 4096, 8192, 8193, 47_008, 300_000]);
  }

  /** Runs one random operation on the client and on the model, and compares. */
  async step(): Promise<void> {
    const { model, history } = this;
    const [what, real, expected] = this.#choose();
    history.push(what);
    const got = await outcome(real);
    assert.deepEqual(got, model.outcome(expected), what);
  }

  #choose(): [string, () => Promise<unknown>, () => unknown] {
    const kind = this.#random.below(16);
    if (kind < 5) return this.#chooseData();
    if (kind < 12) return this.#chooseName();
    return this.#chooseLook();
  }

  #chooseData(): [string, () => Promise<unknown>, () => unknown] {
    const { files } = this.#client;
    const { model } = this;
    const path = this.#file();
    const offset = this.#offset();
    const data = bytes(this.#random, this.#length());
    switch (this.#random.below(8)) {
      case 6:
      case 7: {
        // Two of one directory: the same file is another matter (the kernel's).
        const other = this.#file();
        if (this.#isSame(path, other)) return this.#chooseData();
        const same = this.#random.chance(0.6);
        const to = same ? offset : this.#offset();
        const length = same ? 4 * chunk : this.#length();
        return [
          `copy ${path} ${offset} ${other} ${to} ${length}`,
          () => this.#copy(path, offset, other, to, length),
          () => model.copy(path, offset, other, to, length),
        ];
      }
      case 4: {
        const mode = this.#pick([0, 1, 3, 16, 17]);
        return [
          `allocate ${path} ${mode} ${offset} ${data.length}`,
          () => this.#allocate(path, mode, offset, data.length),
          () => model.allocate(path, mode, offset, data.length),
        ];
      }
      case 5:
        return [`seek ${path}`, () => this.#seek(path), () => model.read(path).length];
      case 0:
        return [
          `truncate ${path} ${offset}`,
          () => files.truncate(path, offset),
          () => model.truncate(path, offset),
        ];
      case 1:
        return [
          `append ${path} ${data.length}`,
          () => this.#append(path, data),
          () => model.append(path, data),
        ];
      default:
        return [
          `write ${path} ${offset} ${data.length}`,
          () => this.#write(path, offset, data),
          () => (data.length === 0 ? (model.read(path), 0) : model.write(path, offset, data)),
        ];
    }
  }

  async #write(path: string, offset: number, data: Uint8Array): Promise<number> {
    const file = await this.#client.files.open(path, 'r+');
    try {
      await file.write(data, offset);
      if (this.#random.chance(0.2)) await file.sync();
    } finally {
      file.close();
    }
    return data.length;
  }

  async #copy(
    path: string,
    offset: number,
    other: string,
    to: number,
    length: number,
  ): Promise<number> {
    const from = await this.#client.files.open(path, 'r');
    try {
      const target = await this.#client.files.open(other, 'r+');
      try {
        return await from.copyTo(target, offset, to, length);
      } finally {
        target.close();
      }
    } finally {
      from.close();
    }
  }

  async #allocate(path: string, mode: number, offset: number, length: number): Promise<void> {
    const file = await this.#client.files.open(path, 'r+');
    try {
      await file.allocate(mode, offset, length);
    } finally {
      file.close();
    }
  }

  /** Walks over data and holes: holes are zeros, and the walk ends at the file's end. */
  async #seek(path: string): Promise<number> {
    const file = await this.#client.files.open(path, 'r');
    try {
      const data = await file.readAll();
      let at = 0;
      while (at < data.length) {
        const from = await seekOr(file, at, false, data.length);
        assert.ok(
          data.subarray(at, from).every((byte) => byte === 0),
          `${path}: no hole at ${at}`,
        );
        if (from === data.length) break;
        at = await seekOr(file, from, true, -1);
        assert.ok(at > from && at <= data.length, `${path}: a hole at ${at}, data at ${from}`);
      }
      return data.length;
    } finally {
      file.close();
    }
  }

  async #append(path: string, data: Uint8Array): Promise<number> {
    const { files } = this.#client;
    await files.lstat(path);
    const file = await files.open(path, 'a');
    try {
      await file.write(data, 0);
    } finally {
      file.close();
    }
    return data.length;
  }

  #chooseName(): [string, () => Promise<unknown>, () => unknown] {
    const { files } = this.#client;
    const { model } = this;
    const path = this.#file();
    const dir = this.#directory();
    const sub = `${dir}/d${this.#random.below(2)}`;
    const other = this.#file();
    switch (this.#random.below(11)) {
      case 0:
      case 1:
        return [`create ${path}`, () => this.#create(path), () => model.create(path)];
      case 2:
      case 3:
        return [`mkdir ${sub}`, () => files.mkdir(sub), () => model.mkdir(sub)];
      case 4: {
        const victim = this.#pick([sub, path]);
        return [`rmdir ${victim}`, () => files.rmdir(victim), () => model.rmdir(victim)];
      }
      case 5: {
        const victim = this.#pick([path, path, sub]);
        return [`unlink ${victim}`, () => files.unlink(victim), () => model.unlink(victim)];
      }
      case 6:
      case 7:
        return this.#rename(path, this.#pick([other, other, other, sub]));
      case 8:
      case 9:
        return this.#rename(
          sub,
          this.#pick([`${this.#directory()}/d${this.#random.below(2)}`, path]),
        );
      default:
        return [
          `link ${path} ${other}`,
          () => files.link(path, other),
          () => model.link(path, other),
        ];
    }
  }

  /**
   * Files and directories, to any place: also into themselves. What is called d… stays a directory and
   * f… a file, since only the kernel of a mount refuses to open the one as the other.
   */
  #rename(from: string, to: string): [string, () => Promise<unknown>, () => unknown] {
    const { files } = this.#client;
    const flags = this.#pick([0, 0, 0, 1, 2]);
    const [oldKind, newKind] = [from, to].map((path) => path.at(-2));
    const mixes = oldKind !== newKind && (flags === 2 || !this.#exists(to));
    if (mixes) return this.#rename(from, `${this.#directory()}/${oldKind}${this.#random.below(2)}`);
    return [
      `rename ${from} ${to} ${flags}`,
      () => files.rename(from, to, flags),
      () => this.model.rename(from, to, flags),
    ];
  }

  #isSame(path: string, other: string): boolean {
    const same = this.model.outcome(() => this.model.isSame(path, other));
    return path === other || ('value' in same && same.value === true);
  }

  #exists(path: string): boolean {
    return 'value' in this.model.outcome(() => this.model.stat(path));
  }

  async #create(path: string): Promise<void> {
    const file = await this.#client.files.open(path, 'wx');
    file.close();
  }

  #chooseLook(): [string, () => Promise<unknown>, () => unknown] {
    const { files } = this.#client;
    const { model } = this;
    const path = this.#file();
    const dir = this.#directory();
    switch (this.#random.below(4)) {
      case 0:
        return [`readdir ${dir}`, () => this.#list(dir), () => model.readdir(dir)];
      case 1:
        return [`stat ${path}`, () => lookAt(this.#client, path), () => model.stat(path)];
      case 2: {
        const mode = this.#pick([0o600, 0o644, 0o755]);
        return [`chmod ${path}`, () => files.chmod(path, mode), () => model.chmod(path, mode)];
      }
      default:
        return [`read ${path}`, () => files.readFile(path), () => model.read(path)];
    }
  }

  async #list(path: string): Promise<string[]> {
    return (await this.#client.files.readdir(path)).sort();
  }
}

/** `without` when there is none. */
async function seekOr(
  file: FileHandle,
  from: number,
  hole: boolean,
  without: number,
): Promise<number> {
  try {
    return await file.seek(from, hole);
  } catch (error) {
    if ((error as { code?: string }).code !== 'ENXIO') throw error;
    return without;
  }
}

async function lookAt(client: SimClient, path: string): Promise<unknown> {
  const stats = await client.files.lstat(path);
  const kind = stats.isDirectory() ? 'dir' : stats.isSymbolicLink() ? 'symlink' : 'file';
  const size = kind === 'dir' ? 0 : stats.size;
  return { kind, size, mode: stats.mode & 0o7777, links: stats.linkCount };
}

/** Everything the model holds is there, and nothing else, seen from another client. */
async function compareAll(client: SimClient, model: ModelFileSystem, home: string): Promise<void> {
  for (const path of [home, ...model.paths()]) {
    const expected = model.stat(path);
    assert.deepEqual(await lookAt(client, path), expected, path);
    if (expected.kind === 'file') {
      assert.deepEqual(await client.files.readFile(path), model.read(path), path);
    } else if (expected.kind === 'dir') {
      assert.deepEqual((await client.files.readdir(path)).sort(), model.readdir(path), path);
    }
  }
}

async function play(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7919);
  const power = random.chance(0.25);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 2,
    durability: power ? 'commit' : 'fsync',
    persistentMemory: power && seed % 2 === 0,
    network: { breakRate: random.chance(0.7) ? 0.02 : 0 },
    deviceDelayMs: random.below(20) / 10,
    ...(seed % 3 === 0 ? {} : { splitEntries: 3 }),
  });
  const players: Player[] = [];
  try {
    await cluster.run(async (clients) => {
      await clients[0]!.files.ensureRoot();
      clients.forEach((client, i) => players.push(new Player(client, `/home${i}`, seed * 31 + i)));
      for (const i of players.keys()) await clients[i]!.files.mkdir(`/home${i}`);
      const trouble = new Trouble(cluster, seed * 17, power);
      await Promise.all(
        players.map(async (player) => {
          for (let step = 0; step < steps; step++) await player.step();
        }),
      );
      trouble.stop();
      for (const [i, player] of players.entries()) {
        await compareAll(clients[1 - i]!, player.model, `/home${i}`);
      }
      if (seed % 4 !== 0) return;
      for (const i of players.keys()) await clients[1]!.files.rm(`/home${i}`, { recursive: true });
      await assertNothingLeft(cluster, clients[0]!);
    });
  } catch (error) {
    const last = players
      .map((player) => player.history.slice(-8).join('\n    '))
      .join('\n  --\n    ');
    throw new Error(`SEALFS_SIM_SEED=${seed}: ${(error as Error).message}\n    ${last}`, {
      cause: error,
    });
  }
  cluster.end();
  return cluster.world.traceHash;
}

describeSeeds('random operations on a simulated cluster', 'agree with the model', seeds, play);
