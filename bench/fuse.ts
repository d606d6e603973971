/**
 * The mount beside its limits: stat and create+close from 4 processes against the same FUSE addon
 * answering from a JavaScript Map, and 1 MiB sequential transfers against the data bench. Kernel
 * caching of attributes and entries is off on both, so that every call is a request. Also the
 * memory of an idle server and of a mount. Runs under `sealfs up`.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../src/native/load.js';
import { benchDataInside } from './data.js';
import { runMicroRanks } from './micro-ranks.js';
import type { MicroMode } from './micro-ranks.js';
import {
  benchProgram,
  cpuSeconds,
  memoryWithoutArenaBytes,
  processesMatching,
  startChild,
  stopChild,
} from './processes.js';
import { alternate, row } from './report.js';
import type { Row } from './report.js';

const mebibyte = 2 ** 20;
const sealfs = join(packageRoot(), 'bin/sealfs.js');

/** Operations or bytes per second of 4 processes. */
async function rate(mode: MicroMode, dir: string, seconds: number, size: object): Promise<number> {
  return (await runMicroRanks({ mode, dir, processes: 4, seconds, ...size })).rate;
}

/** Medians of stat and create+close through the mount and through the baseline, in turns. */
async function metadataRates(mountpoint: string, scratch: string, tiny: boolean) {
  const baseline = join(scratch, 'map');
  mkdirSync(baseline);
  const { child } = await startChild(benchProgram('fuse-map'), [baseline]);
  const seconds = tiny ? 0.2 : 2;
  const stat = (dir: string) => () => rate('stat', dir, seconds, { files: 500 });
  const create = (dir: string) => () => rate('create-close', dir, seconds, {});
  try {
    const dirs = [mountpoint, baseline];
    return await alternate(tiny ? 1 : 5, [...dirs.map(stat), ...dirs.map(create)]);
  } finally {
    await stopChild(child);
  }
}

/** Processor time that each process uses over `ms` milliseconds in which nobody asks for anything. */
async function idlePercent(pids: number[], ms: number): Promise<number[]> {
  const before = pids.map(cpuSeconds);
  await new Promise((resolve) => setTimeout(resolve, ms));
  return pids.map((pid, i) => ((cpuSeconds(pid) - before[i]!) / (ms / 1000)) * 100);
}

/** Rates of the data bench in the same run: MiB/s. */
export interface DataLimits {
  write: number;
  read: number;
}

export function dataLimits(rows: Row[]): DataLimits {
  const value = (name: string): number => rows.find((r) => r.name.startsWith(name))!.value;
  return { write: value('data: 1 MiB write'), read: value('data: 1 MiB read') };
}

/** Inside `sealfs up --servers 1 --targets 1 -- …`. */
export async function benchFuseInside(tiny: boolean, limits?: DataLimits): Promise<Row[]> {
  const seconds = tiny ? 0.2 : 4;
  const size = { bytes: (tiny ? 4 : 192) * mebibyte };
  const data = limits ?? dataLimits(await benchDataInside(tiny));
  const scratch = mkdtempSync(join(tmpdir(), 'sealfs-bench-fuse-'));
  const mountpoint = join(scratch, 'mount');
  mkdirSync(mountpoint);
  const options = ['-o', 'attr=0,entry=0'];
  execFileSync(process.execPath, [sealfs, 'mount', 'default', mountpoint, ...options]);
  try {
    const [stat, statLimit, create, createLimit] = await metadataRates(mountpoint, scratch, tiny);
    const write = (await rate('seq-write', mountpoint, seconds, size)) / mebibyte;
    const read = (await rate('seq-read', mountpoint, seconds, size)) / mebibyte;
    const [server] = processesMatching(/main\.js server /);
    const [mount] = processesMatching(new RegExp(`main\\.js mount .*${mountpoint}`));
    const [serverIdle, mountIdle] = await idlePercent([server!, mount!], tiny ? 100 : 4000);
    const megabytes = (pid: number): number => memoryWithoutArenaBytes(pid) / 1e6;
    const half = { minRatio: 0.5 };
    return [
      row('FUSE: stat, 4 processes', 'ops/s', stat!, { baseline: statLimit!, ...half }),
      row('FUSE: create+close, 4 processes', 'ops/s', create!, { baseline: createLimit!, ...half }),
      row('FUSE: 1 MiB write', 'MiB/s', write, { baseline: data.write, minRatio: 0.6 }),
      row('FUSE: 1 MiB read', 'MiB/s', read, { baseline: data.read, minRatio: 0.6 }),
      row('processor use of an idle server', '% of a core', serverIdle!, { max: 1 }),
      row('processor use of an idle mount', '% of a core', mountIdle!, { max: 1 }),
      row('memory of a server, arena and map not counted', 'MB', megabytes(server!), { max: 150 }),
      row('memory of a mount, arena not counted', 'MB', megabytes(mount!), { max: 150 }),
    ];
  } finally {
    execFileSync(process.execPath, [sealfs, 'umount', mountpoint]);
    rmSync(scratch, { recursive: true });
  }
}
