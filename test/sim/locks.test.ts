/**
 * File locks under kills, cuts and restarts. Each worker is one owner: it locks ranges of a few files, holds
 * them, sometimes two at once in any order (rings over several targets), gives up some waits. A checker
 * knows at each moment who believes to hold what: two may never hold what conflicts, but for a
 * client that was cut off for so long that its lock was taken from it, and that must be told so.
 */
import assert from 'node:assert/strict';
import { LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../../src/common/lock-ranges.js';
import { FileError } from '../../src/client/answer.js';
import type { FileLockRequest } from '../../src/client/file-locks/file-locks.js';
import type { ClientRequest } from '../../src/client/request.js';
import { LEASE_TRUST_MS } from '../../src/protocol/leases.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { buildCluster } from './cluster.js';
import type { SimClient, SimCluster } from './cluster.js';
import { describeSeeds } from './seeds.js';

/** SEALFS_SIM_SEEDS as in random.test.ts: a twelfth of it. */
const SEEDS = Math.ceil(Number(process.env['SEALFS_SIM_SEEDS'] ?? '200') / 12);
const TARGETS = 2;
const CLIENTS = 3;
const WORKERS = 4;
const FILES = ['/p/a', '/q/b', '/r/c', '/s/d'];
const ROUNDS = 10;
const BYTES = 8;
const STRIKES = 15;

interface Holding {
  worker: Worker;
  path: string;
  start: number;
  last: number;
  kind: number;
}

/** Who believes to hold what. */
class Ledger {
  readonly cluster: SimCluster;
  readonly holdings = new Set<Holding>();
  /** Since when a client has been cut off from some target. */
  readonly cutSinceMs = new Map<SimClient, number>();
  readonly dead = new Set<SimClient>();
  readonly #mayLose = new Set<SimClient>();
  readonly #deaths = new Map<SimClient, () => void>();
  granted = 0;
  lost = 0;
  rings = 0;

  constructor(cluster: SimCluster) {
    this.cluster = cluster;
  }

  wasCutOff(client: SimClient): boolean {
    const since = this.cutSinceMs.get(client) ?? Infinity;
    return this.cluster.world.nowMs - since >= LEASE_TRUST_MS;
  }

  /** A client that was cut off for long may hear of lost locks for a while. */
  allowLost(client: SimClient): void {
    this.#mayLose.add(client);
  }

  lostAllowed(client: SimClient): boolean {
    return this.#mayLose.has(client) || this.wasCutOff(client);
  }

  kill(client: SimClient): void {
    this.dead.add(client);
    client.kill();
    this.#deaths.get(client)?.();
  }

  /** Never, unless the client is killed: its calls are never settled then. */
  death(client: SimClient): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#deaths.get(client);
      this.#deaths.set(client, () => {
        before?.();
        resolve();
      });
    });
  }

  add(holding: Holding): void {
    for (const other of [...this.holdings]) {
      const isOther = other.worker !== holding.worker && other.path === holding.path;
      const meets = other.start <= holding.last && other.last >= holding.start;
      const conflicts = other.kind === LOCK_WRITE || holding.kind === LOCK_WRITE;
      if (!isOther || !meets || !conflicts) continue;
      const { client } = other.worker;
      assert.ok(
        this.dead.has(client) || this.lostAllowed(client),
        `seed ${this.cluster.world.seed}: ${holding.worker.name} and ${other.worker.name} both ` +
          `hold ${holding.path} at ${this.cluster.world.nowMs}`,
      );
      this.holdings.delete(other);
      if (!this.dead.has(client)) this.lost++;
    }
    this.holdings.add(holding);
    this.granted++;
  }
}

class Worker {
  readonly client: SimClient;
  readonly name: string;
  readonly #number: number;
  readonly #ledger: Ledger;
  readonly #random: SimRandom;
  readonly #handles = new Map<string, number>();
  readonly #held: Holding[] = [];

  constructor(ledger: Ledger, client: SimClient, number: number, seed: number) {
    this.#ledger = ledger;
    this.client = client;
    this.name = `${client.name}.${number}`;
    this.#number = number;
    this.#random = new SimRandom(seed);
  }

  async run(): Promise<void> {
    const { files } = this.client;
    for (const path of FILES) {
      const { inode } = await files.stat(path);
      const answer = await files.call('open', path, (request) => {
        files.core.open(request, inode, false);
      });
      this.#handles.set(path, answer.handle);
    }
    for (let round = 0; round < ROUNDS; round++) {
      const locks = this.#random.chance(0.4) ? 2 : 1;
      for (let i = 0; i < locks; i++) {
        await this.#lock();
        await this.#sleep(this.#random.below(30));
      }
      await this.#sleep(this.#random.below(this.#random.chance(0.1) ? 4000 : 60));
      while (this.#held.length > 0) await this.#unlock(this.#held[0]!);
    }
    for (const handle of this.#handles.values()) files.core.closeHandle(handle);
  }

  async #lock(): Promise<void> {
    const path = FILES[this.#random.below(FILES.length)]!;
    const [a, b] = [this.#random.below(BYTES), this.#random.below(BYTES)];
    const holding = {
      worker: this,
      path,
      start: Math.min(a, b),
      last: Math.max(a, b),
      kind: this.#random.chance(0.5) ? LOCK_READ : LOCK_WRITE,
    };
    // A second lock of the same file would replace a part of the first.
    if (this.#held.some((other) => other.path === path)) return;
    const wait = this.#random.chance(0.7);
    const patienceMs = this.#random.chance(0.2) ? 1 + this.#random.below(200) : 0;
    const code = await this.#ask(holding, holding.kind, wait, patienceMs);
    if (code === '') {
      this.#held.push(holding);
      this.#ledger.add(holding);
    } else if (code === 'EDEADLK') {
      assert.ok(this.#held.length > 0, `${this.name} is in a ring and holds nothing`);
      this.#ledger.rings++;
    } else if (code === 'EIO') {
      this.#tellLost();
    } else {
      assert.ok(code === (wait ? 'EINTR' : 'EAGAIN'), `${this.name}: ${code}`);
      assert.ok(!wait || patienceMs > 0, `${this.name}: EINTR without a signal`);
    }
  }

  async #unlock(holding: Holding): Promise<void> {
    this.#held.splice(this.#held.indexOf(holding), 1);
    const wasTaken = !this.#ledger.holdings.delete(holding);
    const code = await this.#ask(holding, LOCK_NONE, false, 0);
    if (code === 'EIO') this.#tellLost();
    else assert.equal(code, '', `${this.name}: unlocking`);
    // Who unlocks while it is cut off may not be told; see lock-events.test.ts for the others.
    assert.ok(!wasTaken || this.#ledger.lostAllowed(this.client), `${this.name} lost a lock`);
  }

  /** It is a right that a client has only when it was cut off. */
  #tellLost(): void {
    assert.ok(this.#ledger.lostAllowed(this.client), `${this.name} lost a lock`);
  }

  /** '' or the error's code. */
  async #ask(holding: Holding, kind: number, wait: boolean, patienceMs: number): Promise<string> {
    const { core } = this.client.files;
    const handle = this.#handles.get(holding.path)!;
    const { start, last } = holding;
    const asked: FileLockRequest = {
      family: 0,
      ownerLow: this.#number,
      ownerHigh: 1,
      kind,
      start,
      last,
      pid: this.#number,
      wait,
    };
    let waiting: ClientRequest | undefined;
    if (patienceMs > 0) {
      this.#ledger.cluster.world.schedule(patienceMs, () => {
        if (waiting !== undefined && !this.#ledger.dead.has(this.client)) core.signal(waiting);
      });
    }
    try {
      await this.client.files.call('fcntl', holding.path, (request) => {
        waiting = request;
        core.lock(request, handle, asked);
      });
      return '';
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      return error.code;
    } finally {
      waiting = undefined;
    }
  }

  #sleep(forMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#ledger.cluster.world.schedule(forMs, resolve);
    });
  }
}

interface Plan {
  breaks: boolean;
  kills: boolean;
  cuts: boolean;
  deaths: boolean;
}

/** Kills and cuts until `stop`. */
function trouble(ledger: Ledger, random: SimRandom, plan: Plan, stopped: () => boolean): void {
  const { cluster } = ledger;
  const { world, network, targets, clients } = cluster;
  const strike = (): void => {
    const target = targets[random.below(targets.length)]!;
    const client = clients[random.below(clients.length)]!;
    const isLong = random.chance(0.3);
    if (plan.kills && random.chance(0.5)) {
      if (target.running) {
        target.kill();
        target.startAfter(1 + random.below(isLong ? 6000 : 300));
      }
    } else if (plan.cuts && !ledger.cutSinceMs.has(client) && !ledger.dead.has(client)) {
      network.partition(client.name, target.name);
      ledger.cutSinceMs.set(client, world.nowMs);
      world.schedule(1 + random.below(isLong ? 30_000 : 500), () => {
        network.heal(client.name, target.name);
        if (ledger.wasCutOff(client)) ledger.allowLost(client);
        ledger.cutSinceMs.delete(client);
      });
    } else if (plan.deaths && ledger.dead.size === 0 && random.chance(0.3)) {
      ledger.kill(client);
    }
  };
  // A target that is killed again and again while it waits for a dead client never gets further.
  let strikes = STRIKES;
  const next = (): void => {
    world.schedule(50 + random.below(2000), () => {
      if (stopped() || strikes-- === 0) return;
      strike();
      next();
    });
  };
  next();
}

async function play(seed: number, plan: Plan): Promise<string> {
  const cluster = buildCluster(seed, { targets: TARGETS, clients: CLIENTS, small: true });
  const ledger = new Ledger(cluster);
  const random = new SimRandom(seed + 1);
  let stopped = false;
  await cluster.run(async ([first]) => {
    await first!.files.ensureRoot();
    // New directories lie on different targets, and files with them.
    for (const path of FILES) {
      await first!.files.mkdir(path.slice(0, 2));
      await first!.files.writeFile(path, 'x');
    }
  });
  await cluster.run(async (clients) => {
    trouble(ledger, random, plan, () => stopped);
    // Answers get lost, and are asked for again.
    cluster.network.breakRate = plan.breaks ? 0.01 : 0;
    const runs = clients.flatMap((client, at) =>
      Array.from({ length: WORKERS }, (_, i) => {
        const worker = new Worker(ledger, client, i + 1, seed * 100 + at * 10 + i);
        return Promise.race([worker.run(), ledger.death(client)]);
      }),
    );
    await Promise.all(runs);
    stopped = true;
    cluster.network.breakRate = 0;
  });
  assert.ok(ledger.granted > 0, `seed ${seed}: nothing was locked`);
  for (const target of cluster.targets) if (!target.running) target.start();
  // The longest cut, restart and session without a client.
  await cluster.idle(250_000);
  for (const client of cluster.clients) {
    if (!ledger.dead.has(client)) assert.equal(client.core.lockOwners, 0, `seed ${seed}`);
  }
  for (const { name, target } of cluster.targets) {
    const { fileLocks, fileLockWaiters } = target!.report();
    assert.deepEqual([fileLocks, fileLockWaiters], [0, 0], `seed ${seed}: left at ${name}`);
  }
  cluster.end();
  return cluster.world.traceHash;
}

describe('file locks of several clients', () => {
  describeSeeds('in peace', 'exclude each other', SEEDS, (seed) =>
    play(seed, { breaks: false, kills: false, cuts: false, deaths: false }),
  );
  describeSeeds('with targets that restart', 'exclude each other', SEEDS, (seed) =>
    play(seed, { breaks: true, kills: true, cuts: false, deaths: false }),
  );
  describeSeeds('with clients cut off and killed', 'exclude each other', SEEDS, (seed) =>
    play(seed, { breaks: true, kills: true, cuts: true, deaths: true }),
  );
});
