/**
 * One intercepted stat that has to ask the server, which is on this host: a program hands its question to the mount
 * process, that to the server, and back. Beside what can be measured of it alone: two context switches (to the mount
 * process and back, native/bench/switches.cc), and one request and reply of this project's own RPC. All in one run, in turns.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVolume } from '../src/client/files.js';
import { ManagerClient } from '../src/common/manager-client.js';
import { runMicroRanks } from './micro-ranks.js';
import { nativeProgram } from './processes.js';
import { alternate, progress, row } from './report.js';
import type { Row } from './report.js';
import { benchRpc } from './rpc.js';
import { SharingMount } from './sharing.js';
import { strangeName } from './strange-names.js';

const SWITCH_ROUNDS = 20_000;
const WARM_UP_FILES = 30_000;
/** Requests of a stat: one; the first ones of a directory are a few more. */
const REQUESTS_MIN = 0.9;

/** Files that another client has made and forgotten, so that nobody on this host knows them. */
async function makeStrangers(manager: string, dir: string, files: number): Promise<void> {
  const volume = (await new ManagerClient(manager).volumes())[0]!;
  const other = await openVolume({ managerUrl: manager, volume });
  try {
    await other.mkdir(dir);
    for (let i = 0; i < files; i++) await other.writeFile(join(dir, strangeName(i)), '');
  } finally {
    await other.close();
  }
}

class Strangers {
  readonly #mount: SharingMount;
  readonly #manager: string;
  #directories = 0;

  constructor(mount: SharingMount, manager: string) {
    this.#mount = mount;
    this.#manager = manager;
  }

  /** Microseconds of one stat, the mean over `files` of them, each a file that is asked for once. */
  async statUs(files: number, environment: NodeJS.ProcessEnv): Promise<number> {
    const name = `strangers-${this.#directories++}`;
    await makeStrangers(this.#manager, `/${name}`, files);
    const dir = join(this.#mount.dir, name);
    const before = await this.#mount.requests();
    const shape = { processes: 1, seconds: 60, files };
    const { rate } = await runMicroRanks({ mode: 'lookup', dir, ...shape, environment });
    const requests = ((await this.#mount.requests()) - before) / files;
    if (requests < REQUESTS_MIN) throw new Error(`only ${requests} requests for each stat`);
    return 1e6 / rate;
  }
}

async function roundTripUs(tiny: boolean): Promise<number> {
  return (await benchRpc(tiny))[0]!.value;
}

function switchesUs(): number {
  const out = execFileSync(nativeProgram('sealfs_switches'), [`${SWITCH_ROUNDS}`]);
  return Number(out.toString());
}

/** Inside `sealfs up`. `environment`: of intercepted programs. */
export async function serverRow(environment: NodeJS.ProcessEnv, tiny: boolean): Promise<Row> {
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set: run under sealfs up');
  progress('a stat that asks the server');
  const scratch = mkdtempSync(join(tmpdir(), 'sealfs-bench-intercept-'));
  const mount = await SharingMount.start(join(scratch, 'mount'), 'leases');
  const strangers = new Strangers(mount, manager);
  try {
    // Until its code is compiled a mount process is several times as slow.
    if (!tiny) await strangers.statUs(WARM_UP_FILES, environment);
    const [stat, trip, switches] = await alternate(tiny ? 1 : 3, [
      () => strangers.statUs(tiny ? 40 : 3000, environment),
      () => roundTripUs(tiny),
      switchesUs,
    ]);
    const baseline = trip! + switches!;
    return row('intercept: stat that asks the server', 'us', stat!, { baseline, maxRatio: 1.5 });
  } finally {
    await mount.stop();
    rmSync(scratch, { recursive: true });
  }
}
