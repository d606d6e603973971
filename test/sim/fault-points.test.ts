/**
 * Every operation of two phases, struck at every point of it: the target that is there is killed, the
 * others, all of them, or the client, or the targets are cut off from each other. Protects: what was asked
 * for has happened or it has not, alike for whoever looks, at every instant; a client that lives gets its
 * answer; nothing stays locked; in the end nothing is left (docs/transactions.md).
 *
 * Each operation runs once without trouble, to learn which points it passes; then once for each of
 * them and a victim, by turns. SEALFS_SIM_SEEDS: from 1,000 on with each victim, and by turns for another seed.
 */
import assert from 'node:assert/strict';
import { BucketTable } from '../../src/placement/bucket-table.js';
import { faultPoints } from '../../src/server/transactions/fault-points.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster, SimTarget } from './cluster.js';
import { HistoryClient } from './history-client.js';
import { History, check, describePending } from './history.js';
import { assertNothingLeft } from './left-overs.js';
import { EXCHANGE, NameSpace, NOREPLACE } from './name-space.js';
import type { Result } from './name-space.js';
import { Stage, succeeded } from './stage.js';

const isLong = Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') >= 1000;
/** How long a killed target is away: shorter, or longer, than others wait for an answer. */
const AWAY_MS = [20, 3000, 300];
/** Commits and what follows them come after the answer. */
const AFTERWARDS_MS = 30;
const VICTIMS = ['itself', 'others', 'all', 'client', 'network'] as const;
type Victim = (typeof VICTIMS)[number];

interface Act {
  readonly operation: (client: HistoryClient) => Promise<Result>;
  /** Names that a watcher looks at meanwhile. */
  readonly watched: readonly (readonly [number, string])[];
  /** What the operation answers. */
  readonly error?: string;
}

function renaming(
  dir: number,
  name: string,
  toDir: number,
  toName: string,
  flags = 0,
  error?: string,
): Act {
  return {
    operation: (client) => client.rename(dir, name, toDir, toName, flags),
    watched: [
      [dir, name],
      [toDir, toName],
    ],
    ...(error === undefined ? {} : { error }),
  };
}

const scenes: Record<string, (stage: Stage) => Promise<Act>> = {
  mkdir: async (stage) => {
    const name = stage.name(stage.p, 1, 'd');
    return {
      operation: (client) => client.mkdir(stage.p, name),
      watched: [[stage.p, name]],
    };
  },
  rmdir: async (stage) => {
    const name = await stage.directory(stage.p, 1, 'd');
    return {
      operation: (client) => client.rmdir(stage.p, name),
      watched: [[stage.p, name]],
    };
  },
  'rmdir of a directory that is not empty': async (stage) => {
    const name = await stage.directory(stage.p, 1, 'd');
    await stage.file(await stage.inode(stage.p, name), 'f');
    return {
      operation: (client) => client.rmdir(stage.p, name),
      watched: [[stage.p, name]],
      error: 'ENOTEMPTY',
    };
  },
  link: async (stage) => {
    const inode = await stage.file(stage.p, 'f');
    return {
      operation: (client) => client.link(inode, stage.q, 'g'),
      watched: [
        [stage.p, 'f'],
        [stage.q, 'g'],
      ],
    };
  },
  'unlink of one of two links': async (stage) => {
    succeeded(await stage.client.link(await stage.file(stage.p, 'f'), stage.q, 'g'));
    return {
      operation: (client) => client.unlink(stage.q, 'g'),
      watched: [
        [stage.p, 'f'],
        [stage.q, 'g'],
      ],
    };
  },
  'unlink of the last link': async (stage) => {
    await stage.fileFrom(stage.p, stage.q, 'g');
    return {
      operation: (client) => client.unlink(stage.q, 'g'),
      watched: [[stage.q, 'g']],
    };
  },
  'rename of a file': async (stage) => {
    await stage.file(stage.p, 'f');
    return renaming(stage.p, 'f', stage.q, 'f');
  },
  'rename of a file whose inode is on a third target': async (stage) => {
    await stage.fileFrom(stage.r, stage.p, 'f');
    return renaming(stage.p, 'f', stage.q, 'g');
  },
  'rename of a file over a file': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.file(stage.q, 'g');
    return renaming(stage.p, 'f', stage.q, 'g');
  },
  'rename of a file over one of a third target': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.fileFrom(stage.r, stage.q, 'g');
    return renaming(stage.p, 'f', stage.q, 'g');
  },
  'rename within a directory over a file of another target': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.fileFrom(stage.q, stage.p, 'g');
    return renaming(stage.p, 'f', stage.p, 'g');
  },
  'rename of a file over another link to it': async (stage) => {
    succeeded(await stage.client.link(await stage.file(stage.p, 'f'), stage.q, 'g'));
    return renaming(stage.p, 'f', stage.q, 'g');
  },
  'rename of a file over a directory': async (stage) => {
    await stage.file(stage.p, 'f');
    return renaming(stage.p, 'f', stage.q, await stage.directory(stage.q, 2, 'd'), 0, 'EISDIR');
  },
  'rename of a directory': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    await stage.file(await stage.inode(stage.p, name), 'f');
    return renaming(stage.p, name, stage.q, 'e');
  },
  'rename of a directory within its directory': async (stage) =>
    renaming(stage.p, await stage.directory(stage.p, 2, 'd'), stage.p, 'e'),
  'rename of a directory over an empty one': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    await stage.file(await stage.inode(stage.p, name), 'f');
    return renaming(stage.p, name, stage.q, await stage.directory(stage.q, 0, 'e'));
  },
  'rename of a directory over an empty one beside it': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    return renaming(stage.p, name, stage.p, await stage.directory(stage.p, 1, 'e'));
  },
  'rename of a directory over one that is not empty': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    const other = await stage.directory(stage.q, 0, 'e');
    await stage.file(await stage.inode(stage.q, other), 'f');
    return renaming(stage.p, name, stage.q, other, 0, 'ENOTEMPTY');
  },
  'rename of a directory over the one that it is in': async (stage) => {
    const name = await stage.directory(stage.p, 1, 'd');
    const inode = await stage.inode(stage.p, name);
    const below = await stage.directory(inode, 2, 'e');
    return renaming(inode, below, stage.p, name, 0, 'ENOTEMPTY');
  },
  'rename of a directory over a file': async (stage) => {
    await stage.file(stage.q, 'f');
    const name = await stage.directory(stage.p, 2, 'd');
    return renaming(stage.p, name, stage.q, 'f', 0, 'ENOTDIR');
  },
  'rename of a directory into itself': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    const inode = await stage.inode(stage.p, name);
    const below = await stage.inode(inode, await stage.directory(inode, 1, 'e'));
    return renaming(stage.p, name, below, 'x', 0, 'EINVAL');
  },
  'exchange of two files': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.file(stage.q, 'g');
    return renaming(stage.p, 'f', stage.q, 'g', EXCHANGE);
  },
  'exchange of a directory and a file': async (stage) => {
    await stage.file(stage.q, 'g');
    return renaming(stage.p, await stage.directory(stage.p, 2, 'd'), stage.q, 'g', EXCHANGE);
  },
  'exchange of two directories': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    const other = await stage.directory(stage.q, 0, 'e');
    await stage.file(await stage.inode(stage.q, other), 'f');
    return renaming(stage.p, name, stage.q, other, EXCHANGE);
  },
  'exchange with what is not there': async (stage) => {
    await stage.file(stage.p, 'f');
    return renaming(stage.p, 'f', stage.q, 'g', EXCHANGE, 'ENOENT');
  },
  'rename to a name that must not be there, and is not': async (stage) => {
    await stage.file(stage.p, 'f');
    return renaming(stage.p, 'f', stage.q, 'g', NOREPLACE);
  },
  'rename to a name that must not be there, and is': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.file(stage.q, 'g');
    return renaming(stage.p, 'f', stage.q, 'g', NOREPLACE, 'EEXIST');
  },
};

/** Entries of a partition that is split, in scenes that say so by their name. */
const SPLIT_ENTRIES = 8;
const splitScenes: typeof scenes = {
  'split of a directory': async (stage) => {
    const names = await stage.fill(stage.p, SPLIT_ENTRIES - 1, 0, 1);
    return {
      operation: (client) => client.create(stage.p, 'last'),
      watched: ['last', ...names].map((name) => [stage.p, name]),
    };
  },
  'split of a directory with directories': async (stage) => {
    await stage.fill(stage.p, SPLIT_ENTRIES - 3, 0.5, 1);
    const first = await stage.directory(stage.p, 1, 'd');
    const second = await stage.directory(stage.p, 2, 'e');
    return {
      operation: (client) => client.mkdir(stage.p, stage.name(stage.p, 2, 'm')),
      watched: [
        [stage.p, first],
        [stage.p, second],
        [stage.top, 'p'],
      ],
    };
  },
  'split of a partition': async (stage) => {
    // All of the second quarter from the end: what is split off goes to a third target at last.
    const names = await stage.fill(stage.p, SPLIT_ENTRIES, 0.5, 0.75);
    await stage.settle(stage.p);
    const [more] = await stage.fill(stage.p, 1, 0.5, 0.75, 'more');
    const [last] = stage.names(1, 0.5, 0.75, 'last');
    return {
      operation: (client) => client.create(stage.p, last!),
      watched: [last!, more!, ...names].map((name) => [stage.p, name]),
    };
  },
  'split while an entry is renamed': async (stage) => {
    const [moved] = await stage.fill(stage.p, SPLIT_ENTRIES - 1, 0.5, 1);
    return {
      operation: async (client) => {
        const [created, renamed] = await Promise.all([
          client.create(stage.p, 'last'),
          client.rename(stage.p, moved!, stage.q, 'g', 0),
        ]);
        return created.error === undefined ? renamed : created;
      },
      watched: [
        [stage.p, 'last'],
        [stage.p, moved!],
        [stage.q, 'g'],
      ],
    };
  },
  'merge of a partition': async (stage) => {
    const low = await stage.fill(stage.p, 4, 0, 0.5, 'low');
    const high = await stage.fill(stage.p, 5, 0.5, 1, 'high');
    return stage.emptied(stage.p, low, high);
  },
  'merge of two partitions of other targets': async (stage) => {
    const low = await stage.fill(stage.p, 5, 0.5, 0.625, 'low');
    const high = await stage.fill(stage.p, 5, 0.625, 0.75, 'high');
    return stage.emptied(stage.p, low, high);
  },
  'split directory: rmdir': async (stage) => {
    const name = await stage.directory(stage.p, 1, 'd');
    const inode = await stage.inode(stage.p, name);
    const names = await stage.fill(inode, SPLIT_ENTRIES, 0, 1);
    await stage.settle(inode);
    for (const one of names) succeeded(await stage.client.unlink(inode, one));
    return {
      operation: (client) => client.rmdir(stage.p, name),
      watched: [[stage.p, name]],
    };
  },
  'split directory: rmdir of one that is not empty': async (stage) => {
    const name = await stage.directory(stage.p, 1, 'd');
    const inode = await stage.inode(stage.p, name);
    const names = await stage.fill(inode, SPLIT_ENTRIES, 0.5, 1);
    await stage.settle(inode);
    for (const one of names.slice(1)) succeeded(await stage.client.unlink(inode, one));
    return {
      operation: (client) => client.rmdir(stage.p, name),
      watched: [[stage.p, name]],
      error: 'ENOTEMPTY',
    };
  },
  'split directory: chmod': async (stage) => {
    await stage.fill(stage.p, SPLIT_ENTRIES, 0, 1);
    await stage.settle(stage.p);
    return {
      operation: (client) => client.chmod(stage.p, 0o2750),
      watched: [[stage.top, 'p']],
    };
  },
  'split directory: rename of a directory within it': async (stage) => {
    const names = await stage.fill(stage.p, SPLIT_ENTRIES, 0, 1);
    await stage.settle(stage.p);
    const [low] = stage.names(1, 0, 0.5, 'low');
    const [high] = stage.names(1, 0.5, 1, 'high');
    succeeded(await stage.client.mkdir(stage.p, low!));
    return renaming(stage.p, low!, stage.p, names.includes(high!) ? 'other' : high!);
  },
};
Object.assign(scenes, splitScenes);

interface Strike {
  /** Which of the points that are passed, from 0 on. */
  readonly at: number;
  readonly victim: Victim;
  readonly awayMs: number;
}

/** One scene on a cluster of its own, perhaps struck. */
class Performance {
  readonly #scene: string;
  readonly #strike: Strike | undefined;
  /** Killed targets lose power, too, with `--durability commit`. */
  readonly #power: boolean;
  readonly #cluster: SimCluster;
  readonly #history: History;
  readonly #table: BucketTable;
  /** Passed during the operation: target and name. */
  readonly points: string[] = [];
  #acting = false;
  #struck = false;
  #clientDied: () => void = () => undefined;

  constructor(scene: string, seed: number, strike: Strike | undefined, fromStart: boolean) {
    this.#scene = scene;
    this.#acting = fromStart;
    this.#strike = strike;
    this.#power = seed % 2 === 0;
    this.#cluster = buildCluster(seed, {
      targets: Stage.TARGETS,
      clients: 3,
      small: true,
      durability: this.#power ? 'commit' : 'fsync',
      ...(scene in splitScenes ? { splitEntries: SPLIT_ENTRIES } : {}),
      faultPoint: (target, name) => {
        this.#pass(target, name);
      },
    });
    this.#history = new History(() => this.#cluster.world.nowMs);
    this.#table = BucketTable.build(this.#cluster.map);
  }

  #pass(target: SimTarget, name: string): void {
    if (!this.#acting) return;
    this.points.push(`${target.name} ${name}`);
    const strike = this.#strike;
    if (this.#struck || strike?.at !== this.points.length - 1) return;
    this.#struck = true;
    if (strike.victim === 'client') {
      this.#cluster.clients[0]!.kill();
      this.#clientDied();
    }
    if (strike.victim === 'network') this.#cut(strike.awayMs);
    for (const [i, one] of this.#cluster.targets.entries()) {
      const isHere = one === target;
      const falls = strike.victim === 'all' || strike.victim === (isHere ? 'itself' : 'others');
      if (!falls || !one.running) continue;
      if (this.#power) one.losePower();
      else one.kill();
      // Not all at once: who is back first must not tell what only the others know better.
      one.startAfter(strike.awayMs * (1 + ((i + strike.at) % Stage.TARGETS)));
    }
  }

  /** Clients reach all targets, targets do not reach each other. */
  #cut(forMs: number): void {
    const { world, network, targets } = this.#cluster;
    for (const [i, { name }] of targets.entries()) {
      for (const other of targets.slice(i + 1)) {
        network.partition(name, other.name);
        world.schedule(forMs, () => {
          network.heal(name, other.name);
        });
      }
    }
  }

  /** Operations without an answer. */
  get pending(): string {
    return describePending(this.#history);
  }

  #recorded(client: SimClient): HistoryClient {
    return new HistoryClient(client, this.#history, this.#table, []);
  }

  #pause(forMs: number): Promise<void> {
    return new Promise((resolve) => this.#cluster.world.schedule(forMs, resolve));
  }

  async run(): Promise<void> {
    await this.#cluster.run(async ([client, watcher, observer]) => {
      const stage = await Stage.setUp(this.#recorded(client!), this.#table);
      const { top } = stage;
      await this.#act(await scenes[this.#scene]!(stage), stage.client, this.#recorded(watcher!));
      await this.#recorded(observer!).lookAtAll(top);
      const fault = check(NameSpace.root(top), this.#history.entries);
      assert.equal(fault, undefined, fault);
      await observer!.files.rm('/top', { recursive: true });
      await assertNothingLeft(this.#cluster, observer!);
    });
    this.#cluster.end();
  }

  async #act(act: Act, client: HistoryClient, watcher: HistoryClient): Promise<void> {
    const died = new Promise<undefined>((resolve) => {
      this.#clientDied = () => {
        resolve(undefined);
      };
    });
    this.#acting = true;
    let ended = false;
    const watching = this.#watch(act, watcher, () => ended);
    const result = await Promise.race([act.operation(client), died]);
    if (result !== undefined) assert.equal(result.error, act.error);
    // What follows the answer is passed, and struck, as well.
    await this.#pause(AFTERWARDS_MS);
    // What is refused may be so at once.
    assert.ok(this.points.length > 0 || act.error !== undefined, 'it is of two phases');
    ended = true;
    await watching;
    this.#acting = false;
    const expected = this.#strike !== undefined;
    assert.equal(this.#struck, expected, 'a seed passes the same points each time');
  }

  /** Looks again and again, less and less often, at the names that the operation is about. */
  async #watch({ watched }: Act, watcher: HistoryClient, ended: () => boolean): Promise<void> {
    for (let pauseMs = 0.1; !ended(); pauseMs *= 1.2) {
      for (const [dir, name] of watched) await watcher.lookup(dir, name);
      await this.#pause(Math.min(pauseMs, 200));
    }
  }
}

/** `fromStart`: what is done before the scene's operation counts, too. */
async function perform(
  scene: string,
  seed: number,
  strike?: Strike,
  fromStart = false,
): Promise<string[]> {
  const performance = new Performance(scene, seed, strike, fromStart);
  try {
    await performance.run();
  } catch (error) {
    const points = performance.points.map((point, i) => {
      const isStruck = strike?.at === i;
      return isStruck ? `${point}: killed ${strike.victim} for ${strike.awayMs} ms` : point;
    });
    const { message } = error as Error;
    throw new Error(
      `${scene}, seed ${seed}: ${message}\n${points.join('\n')}\n${performance.pending}`,
      { cause: error },
    );
  }
  return performance.points;
}

/** Points of a target's first transactions: what is new then is given out. */
const FIRST_POINTS = 12;

describe('operations across targets, killed at every point', function () {
  this.timeout(3_600_000);
  /** Target and name, of all scenes. */
  const allPoints = new Set<string>();

  for (const [number, scene] of Object.keys(scenes).entries()) {
    it(scene, async () => {
      const first = 1 + (number % 2);
      for (const seed of isLong ? [first, 3 - first] : [first]) {
        const points = await perform(scene, seed);
        for (const point of points) allPoints.add(point);
        for (const at of points.keys()) {
          const turn = at + number + seed;
          const isEach = isLong && seed === first;
          const victims = isEach ? VICTIMS : [VICTIMS[turn % VICTIMS.length]!];
          for (const [i, victim] of victims.entries()) {
            const awayMs = AWAY_MS[(turn + i) % AWAY_MS.length]!;
            await perform(scene, seed, { at, victim, awayMs });
          }
        }
      }
    });
  }

  it('every point is passed by one of them', () => {
    const passed = new Set([...allPoints].map((point) => point.split(' ')[1]));
    assert.deepEqual([...passed].sort(), [...faultPoints].sort());
  });

  it('the first ones of new targets', async () => {
    for (const seed of [1, 2]) {
      const points = await perform('mkdir', seed, undefined, true);
      for (const at of points.slice(0, isLong ? points.length : FIRST_POINTS).keys()) {
        for (const victim of ['itself', 'all'] as const) {
          await perform('mkdir', seed, { at, victim, awayMs: AWAY_MS[at % AWAY_MS.length]! }, true);
        }
      }
    }
  });
});
