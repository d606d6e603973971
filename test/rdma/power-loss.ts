/**
 * One life of the machine in the power-loss test (ci/rdma/power-loss.sh boots it and cuts the power):
 * starts manager, server and clients over what earlier lives left, checks everything that was ever
 * acknowledged, then changes things until the power goes.
 *
 *   node power-loss.js ROUND ROUNDS SEED META DATA DURABILITY
 *
 * Lives 1 to ROUNDS end by the line 'power off', printed at a random moment under load; the next one
 * only checks. DURABILITY is what the server must have: commit by itself (`default`) or as asked.
 * Several workers share a client. Each appends a line to a journal in $SEALFS_MACHINE_OUT, outside the
 * machine, after each acknowledged step and before its next one begins.
 *
 * All is one process with the server's targets in threads, because processes start slowly here and
 * a power cut knows no processes.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { openVolume, type OpenVolume } from '../../src/client/files.js';
import { createLogger } from '../../src/common/log.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import { startManager } from '../../src/manager/manager.js';
import { startServer } from '../../src/server/server.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { perform, PowerScript, verify } from './power-script.js';

const CLIENTS = 3;
/** Spread over the clients. */
const WORKERS = 12;
const TARGETS = 2;
const DATA_BYTES = 512 * 1024 * 1024;
const VOLUME = 'v';
const MANAGER_PORT = 7300;
const SERVER_PORT = 7400;
/**
 * The power goes after a random number of acknowledged steps and a random time more: the host may be
 * busy, and a number of milliseconds would be hardly any steps then.
 */
const LOAD_STEPS_MIN = 30;
const LOAD_STEPS_MAX = 800;
const LOAD_MORE_MS_MAX = 50;

interface Life {
  round: number;
  rounds: number;
  seed: number;
  meta: string;
  data: string;
  durability: string;
  out: string;
}

interface Running {
  open(): Promise<OpenVolume>;
  close(): Promise<void>;
}

async function startCluster(life: Life): Promise<Running> {
  const { round, meta, data, durability, out } = life;
  for (const folder of [meta, data]) mkdirSync(folder, { recursive: true });
  const logFile = join(out, `server-${round}.log`);
  const log = createLogger('server', { file: logFile });
  const manager = await startManager({
    host: '127.0.0.1',
    port: MANAGER_PORT,
    storeDirectory: join(meta, 'manager'),
    version: '0.0.0',
    log,
  });
  const managerUrl = `http://127.0.0.1:${MANAGER_PORT}`;
  const server = await startServer({
    managerUrl,
    metaDir: meta,
    data: [{ path: data, sizeBytes: DATA_BYTES }],
    targets: TARGETS,
    host: '127.0.0.1',
    port: SERVER_PORT,
    transport: 'tcp',
    ...(durability === 'commit' ? { durability } : {}),
    log,
  });
  const chosen = durability === 'commit' ? /without DAX, as asked/ : /\(DAX\), the default there/;
  const logged = readFileSync(logFile, 'utf8');
  assert.match(logged, /durability: commit/);
  assert.match(logged, chosen);
  const client = new ManagerClient(managerUrl);
  const first = (await client.volumes()).length === 0;
  assert.equal(first, round === 1, 'the volume is gone');
  const volume = first ? await client.createVolume(VOLUME) : await client.volume(VOLUME);
  return {
    open: () => openVolume({ managerUrl, volume, transport: 'tcp' }),
    async close() {
      await server.close();
      await manager.close();
      // pino's levels: 40 is a warning.
      const complaints = readFileSync(logFile, 'utf8')
        .split('\n')
        .filter((line) => /"level":[456]0/.test(line));
      assert.deepEqual(complaints, []);
    },
  };
}

function homeOf(round: number, worker: number): string {
  return `/r${round}w${worker}`;
}

function seedOf(life: Life, round: number, worker: number): number {
  return life.seed * 1009 + round * 31 + worker;
}

function journalOf(life: Life, round: number, worker: number): string {
  return join(life.out, `journal-${round}-${worker}`);
}

/** Everything that earlier lives have acknowledged. */
async function check(life: Life, volume: OpenVolume): Promise<void> {
  let acknowledged = 0;
  const underWay = new Map<string, number>();
  for (let round = 1; round < life.round; round++) {
    for (let worker = 0; worker < WORKERS; worker++) {
      const journal = journalOf(life, round, worker);
      const lines = existsSync(journal) ? readFileSync(journal, 'utf8').split('\n').length - 1 : 0;
      // The first line is the worker's directory.
      if (lines === 0) continue;
      const home = homeOf(round, worker);
      const state = await verify(volume, home, seedOf(life, round, worker), lines - 1);
      acknowledged += lines;
      underWay.set(state, (underWay.get(state) ?? 0) + 1);
    }
  }
  const states = [...underWay].map(([state, count]) => `${count} ${state}`).join(', ');
  console.log(
    `life ${life.round}: ${acknowledged} acknowledged changes are there; ` +
      `of those under way at power cuts: ${states === '' ? 'none' : states}`,
  );
}

/** Counts acknowledged steps and has the machine ended at some time after some of them. */
class PowerSwitch {
  #left: number;
  readonly #line: string;
  readonly #moreMs: number;

  constructor({ round, seed }: Life) {
    const random = new SimRandom(seed * 1013 + round);
    this.#left = LOAD_STEPS_MIN + random.below(LOAD_STEPS_MAX - LOAD_STEPS_MIN);
    this.#moreMs = random.below(LOAD_MORE_MS_MAX);
    this.#line = `life ${round}: power off ${this.#moreMs} ms after ${this.#left} changes`;
  }

  acknowledged(): void {
    if (--this.#left !== 0) return;
    setTimeout(() => {
      console.log(this.#line);
    }, this.#moreMs);
  }
}

/** Changes things until the power goes. */
async function load(
  life: Life,
  worker: number,
  volume: OpenVolume,
  power: PowerSwitch,
): Promise<never> {
  const home = homeOf(life.round, worker);
  const script = new PowerScript(home, seedOf(life, life.round, worker));
  const journal = await open(journalOf(life, life.round, worker), 'wx');
  await volume.mkdir(home);
  await journal.write(`${home}\n`);
  for (;;) {
    const step = script.next();
    await perform(volume, step);
    await journal.write(`${step.kind} ${step.path} ${step.to}\n`);
    script.apply(step);
    power.acknowledged();
  }
}

async function main(life: Life): Promise<void> {
  const cluster = await startCluster(life);
  const volumes: OpenVolume[] = [];
  for (let i = 0; i < CLIENTS; i++) volumes.push(await cluster.open());
  if (life.round === 1) await volumes[0]!.ensureRoot();
  await check(life, volumes[0]!);
  if (life.round > life.rounds) {
    for (const volume of volumes) await volume.close();
    await cluster.close();
    return;
  }
  const power = new PowerSwitch(life);
  const workers: Promise<never>[] = [];
  for (let i = 0; i < WORKERS; i++) workers.push(load(life, i, volumes[i % CLIENTS]!, power));
  await Promise.all(workers);
}

const [round, rounds, seed, meta, data, durability] = process.argv.slice(2);
const out = process.env['SEALFS_MACHINE_OUT'];
if (durability === undefined || out === undefined) throw new Error('for ci/rdma/power-loss.sh');
// The machine counts this line's status: a failure must end the process, whatever threads there are.
main({
  round: Number(round),
  rounds: Number(rounds),
  seed: Number(seed),
  meta: meta!,
  data: data!,
  durability,
  out,
}).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
