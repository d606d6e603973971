/**
 * A directory in which several clients make and remove entries at the same time, while one after the other changes
 * its mode: what each is told of its permissions alone, without a request as a rule, is never older than a change
 * that had been acknowledged, and its times, asked for as a whole, never older than an entry that had been made.
 * Targets are killed, connections break, clients are stopped and cut off.
 *
 * SEALFS_SIM_SEEDS (one in sixteen of it), SEALFS_SIM_FIRST, SEALFS_SIM_SEED as in random.test.ts.
 */
import assert from 'node:assert/strict';
import { Answer } from '../../src/client/answer.js';
import type { FileStats } from '../../src/client/answer.js';
import { AttributeChange, S_IFREG, SET_MODE } from '../../src/client/attributes.js';
import { NameReference } from '../../src/client/request.js';
import type { ClientRequest } from '../../src/client/request.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';
import { describeSeeds } from './seeds.js';
import { Trouble } from './trouble.js';

const seeds = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') * 0.06);
const STEPS = 20;
const CHANGES = 12;
const STRIKES = 5;
const STOPS_MS = [3000, 13_000, 40_000];
/** Inherited by partitions: such a change is a transaction. */
const S_ISGID = 0o2000;

/** Answers without a request, in all runs: none would mean that nothing was tested. */
let answered = 0;

/** A change of the mode to `version`, or what was seen of it. */
interface Seen {
  beganMs: number;
  endedMs: number;
  version: number;
}

class Play {
  readonly cluster: SimCluster;
  readonly random: SimRandom;
  readonly changes: Seen[] = [];
  readonly reads: Seen[] = [];
  dir = 0;
  /** Its partitions come and go. */
  isSplit = false;
  /** Of the last call that was answered. */
  status = 0;
  /** The latest time of birth that somebody was told of. */
  bornMs = 0;

  constructor(cluster: SimCluster, random: SimRandom) {
    this.cluster = cluster;
    this.random = random;
  }

  get nowMs(): number {
    return this.cluster.world.nowMs;
  }

  pause(maxMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.cluster.world.schedule(this.random.next() * maxMs, resolve);
    });
  }

  call(client: SimClient, start: (request: Answer) => void): Promise<FileStats | undefined> {
    return new Promise((resolve) => {
      const answer = new Answer(client.arena, 0, 0, (status) => {
        this.status = status;
        resolve(status === 0 ? answer.stats : undefined);
      });
      start(answer);
    });
  }

  async change(client: SimClient, version: number): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_MODE;
    change.mode = version | (version % 3 === 0 ? S_ISGID : 0);
    const seen = { beganMs: this.nowMs, endedMs: Infinity, version };
    this.changes.push(seen);
    const done = await this.call(client, (request) => {
      client.core.setAttributes(request, this.dir, change);
    });
    assert.ok(done !== undefined, `a change of the mode has failed: ${this.status}`);
    seen.endedMs = this.nowMs;
  }

  async read(client: SimClient, permissionsOnly: boolean): Promise<void> {
    const beganMs = this.nowMs;
    const { bornMs } = this;
    const stats = await this.call(client, (request) => {
      request.permissionsOnly = permissionsOnly;
      client.core.getAttributes(request, this.dir);
    });
    assert.ok(stats !== undefined, 'the directory is not there');
    this.reads.push({ beganMs, endedMs: this.nowMs, version: stats.mode & 0o777 });
    if (permissionsOnly || this.isSplit) return;
    assert.ok(timeMs(stats) >= bornMs, 'the time of an earlier entry');
  }

  async work(client: SimClient): Promise<void> {
    const { random } = this;
    const bytes = new TextEncoder().encode(`n${random.below(6)}`);
    const name = new NameReference().set(bytes, 0, bytes.length);
    if (random.chance(0.4)) {
      await this.call(client, (request: ClientRequest) => {
        client.core.unlink(request, this.dir, name);
      });
      return;
    }
    const made = await this.call(client, (request) => {
      client.core.makeNode(request, this.dir, name, S_IFREG | 0o644, 0);
    });
    // What is removed already when the answer is repeated has the time of the repetition.
    if (made?.linkCount === 1) this.bornMs = Math.max(this.bornMs, timeMs(made));
  }

  async worker(client: SimClient, pauseMs: number): Promise<void> {
    for (let step = 0; step < STEPS; step++) {
      if (this.random.chance(0.4)) await this.work(client);
      else await this.read(client, this.random.chance(0.8));
      await this.pause(pauseMs);
    }
  }

  /** Nothing older than what was acknowledged before, nothing that nobody had asked for, never back. */
  check(): void {
    for (const { beganMs, endedMs, version } of this.reads) {
      for (const change of this.changes) {
        const isOld = change.endedMs < beganMs && change.version > version;
        assert.ok(!isOld, `at ${beganMs}: ${version}, after ${change.version} was acknowledged`);
        const isEarly = change.version === version && change.beganMs > endedMs;
        assert.ok(!isEarly, `at ${endedMs}: ${version}, before it was asked for`);
      }
      for (const other of this.reads) {
        const isBack = other.endedMs < beganMs && other.version > version;
        assert.ok(!isBack, `at ${beganMs}: ${version}, after ${other.version} was seen`);
      }
    }
  }
}

function timeMs(stats: FileStats): number {
  return stats.mtimeSeconds * 1000 + stats.mtimeNanoseconds / 1e6;
}

function disturb({ cluster, random }: Play, workers: readonly SimClient[]): void {
  const victim = workers[random.below(workers.length)]!;
  const forMs = STOPS_MS[random.below(STOPS_MS.length)]!;
  cluster.world.schedule(random.below(1000), () => {
    victim.scheduler.stop(forMs);
  });
}

async function playAll(play: Play, workers: SimClient[]): Promise<void> {
  const { cluster, random } = play;
  const pauseMs = [2, 50, 1500][random.below(3)]!;
  const trouble = random.chance(0.5)
    ? new Trouble(cluster, random.word(), false, 1000, STRIKES)
    : undefined;
  if (random.chance(0.3)) disturb(play, workers);
  const changer = async (): Promise<void> => {
    for (let version = 1; version <= CHANGES; version++) {
      await play.change(workers[random.below(workers.length)]!, version);
      await play.pause(pauseMs * 4);
    }
  };
  const twice = [...workers, ...workers];
  await Promise.all([changer(), ...twice.map((client) => play.worker(client, pauseMs))]);
  trouble?.stop();
  for (const client of workers) await play.read(client, true);
  play.check();
  for (const { core } of workers) answered += core.leases.permissionsAnswered;
}

async function run(seed: number): Promise<string> {
  const random = new SimRandom(seed * 7919);
  const cluster = buildCluster(seed, {
    targets: 1 + random.below(3),
    clients: 3 + random.below(2),
    small: true,
    ...(seed % 2 === 0 ? {} : { splitEntries: 2 }),
    client: { coherence: 'leases' },
    network: { breakRate: random.chance(0.3) ? 0.01 : 0, jitterMs: [0.1, 1, 5][random.below(3)]! },
  });
  try {
    await cluster.run(async ([first, ...workers]) => {
      await first!.files.ensureRoot();
      await first!.files.mkdir('/shared');
      const play = new Play(cluster, random);
      play.isSplit = seed % 2 !== 0;
      play.dir = (await first!.files.stat('/shared')).inode;
      await play.change(first!, 0);
      await playAll(play, workers);
    });
  } catch (error) {
    throw new Error(`SEALFS_SIM_SEED=${seed}: ${(error as Error).message}`, { cause: error });
  }
  return cluster.world.traceHash;
}

describeSeeds('permissions of a directory that is shared', 'are as they were set last', seeds, run);

describe('permissions of a directory that is shared, in all runs', () => {
  it('were answered from what clients remember', () => {
    assert.ok(answered > 10 * Math.min(seeds, 10), `${answered} answers`);
  });
});
