/**
 * Changes of what two other clients hold leases on, attributes, names and whole directories, struck at moments all
 * along their way: while recalls are sent, told to kernels, returned, and the answer leaves. Targets are killed, the
 * holder is killed, stopped for longer than any limit, or cut off. Protects: nobody sees the old after the new, from
 * whatever memory; whoever lives gets its answer; nothing is left (docs/leases.md).
 *
 * Each change runs once without trouble, to learn how long it takes; then once for each moment and a victim, by turns.
 * SEALFS_SIM_SEEDS: from 1,000 on with each victim, at more moments.
 */
import assert from 'node:assert/strict';
import { BucketTable } from '../../src/placement/bucket-table.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimCluster } from './cluster.js';
import { HistoryClient } from './history-client.js';
import { History, check, describePending } from './history.js';
import { KernelHistoryClient } from './kernel-client.js';
import { assertNothingLeft } from './left-overs.js';
import { ModelKernel } from './model-kernel.js';
import { NameSpace } from './name-space.js';
import type { Result } from './name-space.js';
import { Stage, succeeded } from './stage.js';

const isLong = Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') >= 1000;
const MOMENTS = isLong ? 24 : 10;
const HOLDERS = 2;
const AWAY_MS = [20, 300, 3000];
/** Longer than a recall waits. */
const SILENT_MS = 40_000;
/** Nothing is contended after so long, and all may be leased. */
const QUIET_MS = 1500;

interface Act {
  readonly operation: (client: HistoryClient) => Promise<Result>;
  /** Directories that the holders list, and names that they look up, before it and all the time. */
  readonly listed: readonly number[];
  readonly watched: readonly (readonly [number, string])[];
}

const scenes: Record<string, (stage: Stage) => Promise<Act>> = {
  'a file in a directory that they hold as a whole': async ({ p }) => ({
    operation: (client) => client.create(p, 'new'),
    listed: [p],
    watched: [[p, 'new']],
  }),
  'a directory on another target': async (stage) => {
    const name = stage.name(stage.p, 1, 'd');
    return {
      operation: (client) => client.mkdir(stage.p, name),
      listed: [stage.p],
      watched: [
        [stage.p, name],
        [stage.top, 'p'],
      ],
    };
  },
  'the removal of a name': async (stage) => {
    await stage.file(stage.p, 'f');
    return {
      operation: (client) => client.unlink(stage.p, 'f'),
      listed: [stage.p],
      watched: [[stage.p, 'f']],
    };
  },
  'a file that replaces one of another target': async (stage) => {
    await stage.file(stage.p, 'f');
    await stage.file(stage.q, 'g');
    return {
      operation: (client) => client.rename(stage.p, 'f', stage.q, 'g', 0),
      listed: [stage.p, stage.q],
      watched: [
        [stage.p, 'f'],
        [stage.q, 'g'],
      ],
    };
  },
  'a directory that is moved': async (stage) => {
    const name = await stage.directory(stage.p, 2, 'd');
    await stage.file(await stage.inode(stage.p, name), 'f');
    return {
      operation: (client) => client.rename(stage.p, name, stage.q, 'e', 0),
      listed: [stage.p, stage.q],
      watched: [
        [stage.p, name],
        [stage.q, 'e'],
        [stage.top, 'p'],
        [stage.top, 'q'],
      ],
    };
  },
  'a second name': async (stage) => {
    const inode = await stage.file(stage.p, 'f');
    return {
      operation: (client) => client.link(inode, stage.q, 'g'),
      listed: [stage.q],
      watched: [
        [stage.p, 'f'],
        [stage.q, 'g'],
      ],
    };
  },
};

const VICTIMS = ['target 0', 'target 1', 'all targets', 'killed', 'stopped', 'cut off'] as const;

interface Strike {
  /** From the change's call on. */
  readonly afterMs: number;
  readonly victim: (typeof VICTIMS)[number];
  readonly awayMs: number;
}

class Performance {
  readonly #cluster: SimCluster;
  readonly #history: History;
  readonly #table: BucketTable;
  readonly #holders: KernelHistoryClient[];
  readonly #strike: Strike | undefined;
  #holderDied: () => void = () => undefined;
  /** How long the change took. */
  tookMs = 0;

  constructor(seed: number, strike: Strike | undefined) {
    this.#strike = strike;
    this.#cluster = buildCluster(seed, {
      targets: Stage.TARGETS,
      clients: HOLDERS + 2,
      small: true,
      client: { coherence: 'leases' },
    });
    this.#history = new History(() => this.#cluster.world.nowMs);
    this.#table = BucketTable.build(this.#cluster.map);
    this.#holders = this.#cluster.clients.slice(2).map((client) => {
      const holder = new KernelHistoryClient(client, this.#history, this.#table, []);
      holder.kernel = new ModelKernel(this.#cluster, client, new SimRandom(seed));
      return holder;
    });
  }

  get pending(): string {
    return describePending(this.#history);
  }

  #pause(forMs: number): Promise<void> {
    return new Promise((resolve) => this.#cluster.world.schedule(forMs, resolve));
  }

  #count(name: string): number {
    return this.#cluster.targets.reduce((sum, { target }) => {
      return sum + (target?.report()[name] ?? 0);
    }, 0);
  }

  async run(scene: string): Promise<void> {
    await this.#cluster.run(async ([changer, observer]) => {
      const recorded = [changer!, observer!].map(
        (client) => new HistoryClient(client, this.#history, this.#table, []),
      );
      const stage = await Stage.setUp(recorded[0]!, this.#table);
      const act = await scenes[scene]!(stage);
      await this.#pause(QUIET_MS);
      // The second time from memory: what they hold is held.
      for (const holder of [...this.#holders, ...this.#holders]) await this.#look(act, holder);
      assert.ok(this.#count('leases') > 0, 'nothing is leased');
      await this.#act(act, recorded[0]!);
      await recorded[1]!.lookAtAll(stage.top);
      const fault = check(NameSpace.root(stage.top), this.#history.entries);
      assert.equal(fault, undefined, fault);
      await observer!.files.rm('/top', { recursive: true });
      await assertNothingLeft(this.#cluster, observer!);
    });
    this.#cluster.end();
  }

  async #look({ listed, watched }: Act, holder: KernelHistoryClient): Promise<void> {
    for (const directory of listed) await holder.list(directory);
    for (const [directory, name] of watched) await holder.lookup(directory, name);
  }

  async #act(act: Act, changer: HistoryClient): Promise<void> {
    const { world } = this.#cluster;
    const died = new Promise<void>((resolve) => {
      this.#holderDied = resolve;
    });
    let ended = false;
    const watching = this.#holders.map((holder, i) => {
      const looking = this.#watch(act, holder, () => ended);
      return i === 0 ? Promise.race([looking, died]) : looking;
    });
    const recalls = this.#count('leasesRecalled');
    const fromMs = world.nowMs;
    if (this.#strike !== undefined) {
      const strike = this.#strike;
      world.schedule(strike.afterMs, () => {
        this.#hit(strike);
      });
    }
    succeeded(await act.operation(changer));
    this.tookMs = world.nowMs - fromMs;
    if (this.#strike === undefined) {
      assert.ok(this.#count('leasesRecalled') > recalls, 'something is recalled');
    }
    await this.#pause(100);
    ended = true;
    await Promise.all(watching);
  }

  /** Looks again and again, less and less often. */
  async #watch(act: Act, holder: KernelHistoryClient, ended: () => boolean): Promise<void> {
    for (let pauseMs = 0.2; !ended(); pauseMs *= 1.2) {
      for (const [directory, name] of act.watched) await holder.lookup(directory, name);
      await this.#pause(Math.min(pauseMs, 500));
    }
  }

  /** Of the holders it is the first. */
  #hit({ victim, awayMs }: Strike): void {
    const { network, targets, world } = this.#cluster;
    const { client } = this.#holders[0]!;
    if (victim === 'killed') {
      client.kill();
      this.#holderDied();
    } else if (victim === 'stopped') {
      client.scheduler.stop(SILENT_MS);
    } else if (victim === 'cut off') {
      for (const { name } of targets) {
        network.partition(client.name, name);
        world.schedule(SILENT_MS, () => network.heal(client.name, name));
      }
    } else {
      const struck = victim === 'all targets' ? targets : [targets[Number(victim.at(-1))]!];
      for (const [i, target] of struck.entries()) {
        target.kill();
        target.startAfter(awayMs * (i + 1));
      }
    }
  }
}

/** How long the change took. */
async function perform(scene: string, seed: number, strike?: Strike): Promise<number> {
  const performance = new Performance(seed, strike);
  try {
    await performance.run(scene);
  } catch (error) {
    const { message } = error as Error;
    const struck = strike === undefined ? '' : `, ${strike.victim} after ${strike.afterMs} ms`;
    throw new Error(`${scene}, seed ${seed}${struck}: ${message}\n${performance.pending}`, {
      cause: error,
    });
  }
  return performance.tookMs;
}

describe('changes that recall leases, struck at every moment', function () {
  this.timeout(3_600_000);

  for (const [number, scene] of Object.keys(scenes).entries()) {
    it(scene, async () => {
      const seed = number + 1;
      const tookMs = await perform(scene, seed);
      for (let moment = 0; moment <= MOMENTS; moment++) {
        const turn = moment + number;
        for (const [i, victim] of VICTIMS.entries()) {
          if (!isLong && i !== turn % VICTIMS.length) continue;
          // Some come after the answer.
          const afterMs = (tookMs * moment * 1.1) / MOMENTS;
          await perform(scene, seed, { afterMs, victim, awayMs: AWAY_MS[turn % AWAY_MS.length]! });
        }
      }
    });
  }
});
