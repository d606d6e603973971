/**
 * Interception beside FUSE: the same ranks on the same mount, with the preload library and without, in turns. And
 * what the library costs a program that does nothing. Runs under `sealfs up`.
 *
 * open+close, create and unlink are the kernel's in both (docs/intercept.md, "What is missing"): their rows show
 * what the library costs them.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { nativeFolder } from '../src/native/load.js';
import { runMicroRanks } from './micro-ranks.js';
import type { MicroMode } from './micro-ranks.js';
import { alternate, row } from './report.js';
import type { Row } from './report.js';

const mebibyte = 2 ** 20;

interface Measure {
  mode: MicroMode;
  name: string;
  unit: string;
  /** Of the table. */
  minRatio: number;
}

const measures: Measure[] = [
  { mode: 'stat', name: 'stat', unit: 'op/s', minRatio: 3 },
  { mode: 'open-close', name: 'open+close', unit: 'op/s', minRatio: 3 },
  { mode: 'create-close', name: 'create', unit: 'op/s', minRatio: 3 },
  { mode: 'small-read', name: '4 KiB read', unit: 'op/s', minRatio: 3 },
  { mode: 'small-write', name: '4 KiB write', unit: 'op/s', minRatio: 3 },
  { mode: 'seq-read', name: '1 MiB read', unit: 'MiB/s', minRatio: 1.3 },
  { mode: 'seq-write', name: '1 MiB write', unit: 'MiB/s', minRatio: 1.3 },
];

interface Sizes {
  seconds: number;
  files: number;
  mebibytes: number;
  rounds: number;
  starts: number;
}

const full: Sizes = { seconds: 3, files: 1000, mebibytes: 64, rounds: 3, starts: 101 };
const instant: Sizes = { seconds: 0.1, files: 20, mebibytes: 2, rounds: 1, starts: 3 };

export async function benchInterceptInside(tiny: boolean): Promise<Row[]> {
  const mount = process.env['SEALFS_MOUNT'];
  if (mount === undefined) throw new Error('SEALFS_MOUNT is not set: run under sealfs up');
  const sizes = tiny ? instant : full;
  const environment = { LD_PRELOAD: join(nativeFolder(), 'libsealfs_intercept.so') };
  const rows: Row[] = [];
  for (const processes of [2, 4]) {
    for (const measure of measures) {
      const rate = (env: NodeJS.ProcessEnv) => () =>
        rateOf(measure.mode, mount, processes, sizes, env);
      const [intercepted, plain] = await alternate(sizes.rounds, [rate(environment), rate({})]);
      const scale = measure.unit === 'MiB/s' ? mebibyte : 1;
      const name = `intercept: ${measure.name}, ${processes} processes`;
      const aim = { baseline: plain! / scale, minRatio: measure.minRatio };
      rows.push(row(name, measure.unit, intercepted! / scale, aim));
    }
  }
  const [loaded, bare] = await alternate(sizes.rounds, [
    () => startMs(sizes.starts, environment),
    () => startMs(sizes.starts, {}),
  ]);
  rows.push(row('intercept: more for the start of /bin/true', 'ms', loaded! - bare!, { max: 5 }));
  return rows;
}

async function rateOf(
  mode: MicroMode,
  dir: string,
  processes: number,
  sizes: Sizes,
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const { seconds, files } = sizes;
  const bytes = sizes.mebibytes * mebibyte;
  return (await runMicroRanks({ mode, dir, processes, seconds, files, bytes, environment })).rate;
}

/** Of one start, the mean of many. */
function startMs(starts: number, environment: NodeJS.ProcessEnv): number {
  const began = performance.now();
  for (let i = 0; i < starts; i++) {
    spawnSync('/bin/true', { env: { ...process.env, ...environment } });
  }
  return (performance.now() - began) / starts;
}
