/**
 * What leases save: requests and time of a mount that works where nobody else is in the way, beside the same
 * with coherence=timeout and no time (attr=0, entry=0), in turns; and what they cost: how long a change waits for
 * the recall of a lease that another client holds, beside a round trip. Runs under `sealfs up`.
 */
import { mkdir, open, rm } from 'node:fs/promises';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import type { ChildProcess } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openVolume } from '../src/client/files.js';
import type { OpenVolume } from '../src/client/files.js';
import { ManagerClient } from '../src/common/manager-client.js';
import { NOTICE_INODE } from '../src/protocol/leases.js';
import { LeaseTable } from '../src/server/leases/lease-table.js';
import { runMicroRanks } from './micro-ranks.js';
import { benchProgram, startChild, stopChild } from './processes.js';
import { alternate, progress, row } from './report.js';
import { directoryRows } from './sharing-directory.js';
import type { Row } from './report.js';

const MILLION = 1_000_000;
/** A directory is delegated as long as it is in one piece: up to 8,000 entries, or fewer in a great hurry. */
const DELEGATED_FILES = 5000;

/** A mount of its own in a process of its own, whose requests can be counted. */
export class SharingMount {
  readonly dir: string;
  readonly #child: ChildProcess;

  private constructor(dir: string, child: ChildProcess) {
    this.dir = dir;
    this.#child = child;
  }

  static async start(dir: string, coherence: string): Promise<SharingMount> {
    mkdirSync(dir);
    const { child } = await startChild(benchProgram('sharing-mount'), [dir, coherence]);
    return new SharingMount(dir, child);
  }

  /** Calls to targets since the mount began, without Release, which nobody waits for. */
  async requests(): Promise<number> {
    const answer = new Promise<string>((resolve) => {
      this.#child.stdout!.once('data', (data: Buffer) => {
        resolve(data.toString());
      });
    });
    this.#child.stdin!.write('?\n');
    const counted = JSON.parse(await answer) as { requests: number; releases: number };
    return counted.requests - counted.releases;
  }

  stop(): Promise<void> {
    return stopChild(this.#child);
  }
}

/** Calls to targets for each file that is created, and closed, in a directory that nobody else uses; no Release. */
async function requestsPerCreate(mount: SharingMount, files: number): Promise<number> {
  const dir = join(mount.dir, 'own');
  await mkdir(dir);
  const before = await mount.requests();
  for (let i = 0; i < files; i++) await (await open(join(dir, `file-${i}`), 'wx')).close();
  const requests = (await mount.requests()) - before;
  await rm(dir, { recursive: true });
  return requests / files;
}

function percentile99(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * 0.99)]!;
}

async function timesOf(count: number, run: (i: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const began = performance.now();
    await run(i);
    times.push(performance.now() - began);
  }
  return times;
}

/** p99 in milliseconds: a chmod that recalls a lease of `holder`, and a round trip. */
async function recallTimes(
  holder: OpenVolume,
  changer: OpenVolume,
  plain: OpenVolume,
  files: number,
): Promise<[number, number]> {
  const name = (i: number): string => `/recalled-${i}`;
  for (let i = 0; i < files; i++) await changer.writeFile(name(i), '');
  // Made lately, each by one who held it alone: leased at once to who looks.
  for (let i = 0; i < files; i++) await holder.stat(name(i));
  // Another file each time: what was learnt within two milliseconds is not asked for again.
  const trip = percentile99(await timesOf(files, (i) => plain.stat(name(i))));
  const recall = percentile99(await timesOf(files, (i) => changer.chmod(name(i), 0o600)));
  for (let i = 0; i < files; i++) await changer.unlink(name(i));
  return [recall, trip];
}

function bytesPerLease(leases: number): number {
  const table = new LeaseTable(leases);
  for (let i = 0; i < leases; i++) table.add(1 + (i % 8), NOTICE_INODE, i + 1, 0);
  return table.bytes / table.size;
}

async function recallRow(manager: string, tiny: boolean): Promise<Row> {
  const volume = (await new ManagerClient(manager).volumes())[0]!;
  const connect = (coherence: 'leases' | 'timeout'): Promise<OpenVolume> =>
    openVolume({ managerUrl: manager, volume, coherence });
  const clients = [
    await connect('leases'),
    await connect('leases'),
    await connect('timeout'),
  ] as const;
  try {
    progress('recalls');
    const [recall, trip] = await recallTimes(...clients, tiny ? 20 : 500);
    return row('recall of a lease by another client, p99', 'ms', recall, {
      baseline: trip,
      maxRatio: 4,
    });
  } finally {
    for (const client of clients) await client.close();
  }
}

/** Inside `sealfs up --servers 2 --targets 2 -- …`. */
export async function benchSharingInside(tiny: boolean): Promise<Row[]> {
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set');
  const scratch = mkdtempSync(join(tmpdir(), 'sealfs-bench-sharing-'));
  const mounts: SharingMount[] = [];
  try {
    for (const name of ['leases', 'timeout', 'leases-too']) {
      const coherence = name === 'timeout' ? name : 'leases';
      mounts.push(await SharingMount.start(join(scratch, name), coherence));
    }
    const [leased, timed, other] = mounts as [SharingMount, SharingMount, SharingMount];
    progress('requests of a create');
    const perCreate = await requestsPerCreate(leased, tiny ? 200 : DELEGATED_FILES);
    const seconds = tiny ? 0.2 : 2;
    const rate =
      (mode: 'stat' | 'create-close', { dir }: SharingMount) =>
      async () =>
        (await runMicroRanks({ mode, dir, processes: 2, seconds, files: 500 })).rate;
    progress('create and stat, with leases and without, in turns');
    const [create, createTimed, stat, statTimed] = await alternate(tiny ? 1 : 5, [
      rate('create-close', leased),
      rate('create-close', timed),
      rate('stat', leased),
      rate('stat', timed),
    ]);
    return [
      // The first ones make the directory known.
      row('requests of a create, own directory, Release apart', 'requests', perCreate, {
        max: tiny ? 1.1 : 1.01,
      }),
      row('create+close, own directories, leases', 'ops/s', create!, {
        baseline: createTimed!,
        minRatio: 1.5,
      }),
      row('stat of what was looked up, leases', 'ops/s', stat!, {
        baseline: statTimed!,
        minRatio: 5,
      }),
      await recallRow(manager, tiny),
      ...(await directoryRows([leased.dir, other.dir], timed.dir, tiny, async () => {
        return (await leased.requests()) + (await other.requests());
      })),
      row('memory of a lease at its target', 'bytes', bytesPerLease(MILLION), { max: 64 }),
    ];
  } finally {
    for (const mount of mounts) await mount.stop();
    rmSync(scratch, { recursive: true });
  }
}
