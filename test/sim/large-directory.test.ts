/**
 * One directory of very many entries, which splits all the time while three clients make, remove and rename
 * what is in it, a fourth lists it, connections break and targets are killed. Protects, by a model of all names:
 * each operation answers as it must, a name that is there throughout a listing is listed exactly once and one that is
 * absent throughout never, and in the end exactly what the model has is there, and can be removed.
 *
 * SEALFS_DIRECTORY_ENTRIES: how many are made, 20,000 by default; a million in ci/test-full.sh.
 */
import assert from 'node:assert/strict';
import { FileError } from '../../src/client/answer.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { assertCleanSim } from '../support/fsck.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';
import { assertNothingLeft } from './left-overs.js';

const ENTRIES = Number(process.env['SEALFS_DIRECTORY_ENTRIES'] ?? '20000');
const WORKERS = 3;
const TARGETS = 4;
const BATCH = 500;
/** A million with the product's own threshold; fewer split as often. */
const SPLIT_ENTRIES = Math.max(64, Math.round(ENTRIES / 125));
const PARTITIONS_PER_TARGET = 64;
const DIRECTORY = '/d';
const SEED = 20;

/** Its last change is not over. */
const CHANGING = 0xffffffff;

/**
 * All names that the directory may ever have: `f` and a number is made, `r` and a number is what others are renamed
 * to. Each belongs to one worker, who alone changes it.
 */
class Model {
  readonly #present = new Uint8Array(2 * ENTRIES);
  /** When the last change of each was over, in changes. */
  readonly #changedAt = new Uint32Array(2 * ENTRIES);
  #changes = 0;
  made = 0;

  name(index: number): string {
    return index < ENTRIES ? `f${index}` : `r${index - ENTRIES}`;
  }

  index(name: string): number {
    return Number(name.slice(1)) + (name.startsWith('f') ? 0 : ENTRIES);
  }

  has(index: number): boolean {
    return this.#present[index] === 1;
  }

  get count(): number {
    return this.#present.reduce((sum, one) => sum + one, 0);
  }

  begin(index: number): void {
    this.#changedAt[index] = CHANGING;
  }

  end(index: number, isPresent: boolean): void {
    this.#present[index] = isPresent ? 1 : 0;
    this.#changedAt[index] = ++this.#changes;
  }

  /** What `list` yields, while others change what they like. */
  async compare(list: () => AsyncIterable<string>): Promise<void> {
    const from = this.#changes;
    const seen = new Uint8Array(2 * ENTRIES);
    for await (const name of list()) seen[this.index(name)]!++;
    for (let i = 0; i < seen.length; i++) {
      if (seen[i]! > 1) assert.fail(`${this.name(i)} is listed ${seen[i]} times`);
      if (this.#changedAt[i]! > from || seen[i] === this.#present[i]) continue;
      assert.fail(`${this.name(i)} is ${this.has(i) ? 'there and not' : 'not there and'} listed`);
    }
  }
}

async function* listed({ files }: SimClient): AsyncGenerator<string> {
  const { inode } = await files.stat(DIRECTORY);
  for await (const page of files.pages(DIRECTORY, inode)) {
    for (const { nameBytes } of page) yield Buffer.from(nameBytes).toString();
  }
}

/** Makes its share of the names, and changes what it has made. */
class Worker {
  readonly #client: SimClient;
  readonly #model: Model;
  readonly #random: SimRandom;
  readonly #from: number;
  readonly #to: number;

  constructor(client: SimClient, model: Model, number: number) {
    this.#client = client;
    this.#model = model;
    this.#random = new SimRandom(SEED + number);
    this.#from = Math.floor((ENTRIES * number) / WORKERS);
    this.#to = Math.floor((ENTRIES * (number + 1)) / WORKERS);
  }

  async run(): Promise<void> {
    for (let at = this.#from; at < this.#to; at += BATCH) {
      const end = Math.min(at + BATCH, this.#to);
      await this.#make(Array.from({ length: end - at }, (_, i) => at + i));
      await this.#remove(this.#some(end, BATCH / 5));
      await this.#look(this.#some(end, BATCH / 10));
      for (let i = 0; i < 2; i++) await this.#rename(this.#some(end, 2));
      await this.#make(this.#some(end, BATCH / 20).filter((index) => index < ENTRIES));
      this.#model.made += end - at;
    }
  }

  /** Different names of this worker, of those that it has come to; of both kinds. */
  #some(end: number, count: number): number[] {
    const found = new Set<number>();
    for (let i = 0; i < count; i++) {
      const index = this.#from + this.#random.below(end - this.#from);
      found.add(this.#random.chance(0.9) ? index : index + ENTRIES);
    }
    return [...found];
  }

  async #change(
    indices: readonly number[],
    refusal: (index: number) => string,
    isPresent: boolean,
    ask: (names: string[]) => Promise<(FileError | undefined)[]>,
  ): Promise<void> {
    const expected = indices.map((index) => refusal(index));
    for (const index of indices) this.#model.begin(index);
    const results = await ask(indices.map((index) => this.#model.name(index)));
    const codes = results.map((result) => result?.code ?? '');
    assert.deepEqual(codes, expected);
    for (const index of indices) this.#model.end(index, isPresent);
  }

  #make(indices: readonly number[]): Promise<void> {
    const refusal = (index: number): string => (this.#model.has(index) ? 'EEXIST' : '');
    return this.#change(indices, refusal, true, (names) => {
      return this.#client.files.createMany(DIRECTORY, names);
    });
  }

  #remove(indices: readonly number[]): Promise<void> {
    const refusal = (index: number): string => (this.#model.has(index) ? '' : 'ENOENT');
    return this.#change(indices, refusal, false, (names) => {
      return this.#client.files.unlinkMany(DIRECTORY, names);
    });
  }

  /** Whatever has the new name is replaced. */
  async #rename([from, to]: readonly number[]): Promise<void> {
    const model = this.#model;
    if (from === undefined || to === undefined || !model.has(from)) return;
    model.begin(from);
    model.begin(to);
    const path = (index: number): string => `${DIRECTORY}/${model.name(index)}`;
    await this.#client.files.rename(path(from), path(to));
    model.end(from, false);
    model.end(to, true);
  }

  async #look(indices: readonly number[]): Promise<void> {
    const names = indices.map((index) => this.#model.name(index));
    const found = await this.#client.files.lstatMany(DIRECTORY, names);
    for (const [i, one] of found.entries()) {
      const isThere = !(one instanceof FileError);
      if (!isThere) assert.equal(one.code, 'ENOENT');
      assert.equal(isThere, this.#model.has(indices[i]!), names[i]);
    }
  }
}

/** One listing at each tenth of the way, a target that dies at each third. */
async function watch(cluster: SimCluster, lister: SimClient, model: Model): Promise<number> {
  let listings = 0;
  let deaths = 0;
  while (model.made < ENTRIES) {
    await model.compare(() => listed(lister));
    listings++;
    const next = Math.min(model.made + ENTRIES / 10, ENTRIES);
    while (model.made < next) {
      if (model.made > (ENTRIES * (deaths + 1)) / 3) {
        const target = cluster.targets[deaths++]!;
        target.kill();
        target.startAfter(100);
      }
      await new Promise<void>((resolve) => cluster.world.schedule(5, resolve));
    }
    // No target loses power here: what the stores would need for that is too much to keep.
    for (const { image } of cluster.targets) image.undo = [];
  }
  cluster.network.breakRate = 0;
  return listings;
}

describe('a directory of very many entries', function () {
  this.timeout(1_200_000);

  it(`is as the model of ${ENTRIES} says while it splits and after it`, async () => {
    const cluster = buildCluster(SEED, {
      targets: TARGETS,
      clients: WORKERS + 1,
      client: { coherence: 'leases' },
      splitEntries: SPLIT_ENTRIES,
      partitionsPerTarget: PARTITIONS_PER_TARGET,
      network: { breakRate: 0.0005 },
    });
    await cluster.run(async (clients) => {
      const [first] = clients;
      const lister = clients[WORKERS]!;
      await first!.files.ensureRoot();
      await first!.files.mkdir(DIRECTORY);
      const model = new Model();
      const workers = clients
        .slice(0, WORKERS)
        .map((client, number) => new Worker(client, model, number));
      const [listings] = await Promise.all([
        watch(cluster, lister, model),
        ...workers.map((worker) => worker.run()),
      ]);
      assert.ok(listings > 4, `${listings} listings meanwhile`);
      await model.compare(() => listed(first!));
      const { counts } = await assertCleanSim(cluster);
      assert.equal(counts.entries, model.count + 1);
      const partitions = counts.inodes - counts.entries - 1;
      assert.ok(partitions > 60, `${partitions} partitions`);
      await lister.files.rm(DIRECTORY, { recursive: true });
      await assertNothingLeft(cluster, first!);
    });
  });
});
