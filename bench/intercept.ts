/**
 * Interception beside FUSE: the same ranks on the same mount, with the preload library and without, in turns. And
 * what the library costs a program that does nothing, what a stat costs that has to ask the server, and the IO500 both
 * ways. And what the core does without either (intercept-core.ts). Runs under `sealfs up`.
 *
 * What is the kernel's in both (docs/intercept.md, "Entry points") shows what the library costs it.
 */
import { spawnSync } from 'node:child_process';
import { withPreload } from '../src/common/preload.js';
import { preloadLibrary } from '../src/native/preload.js';
import { coreRate } from './intercept-core.js';
import { io500Row } from './intercept-io500.js';
import { serverRow } from './intercept-server.js';
import { runMicroRanks } from './micro-ranks.js';
import type { MicroMode } from './micro-ranks.js';
import { alternate, progress, row } from './report.js';
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
  { mode: 'unlink', name: 'unlink', unit: 'op/s', minRatio: 3 },
  { mode: 'small-read', name: '4 KiB read', unit: 'op/s', minRatio: 3 },
  { mode: 'small-write', name: '4 KiB write', unit: 'op/s', minRatio: 3 },
  { mode: 'seq-read', name: '1 MiB read', unit: 'MiB/s', minRatio: 1.3 },
  { mode: 'seq-write', name: '1 MiB write', unit: 'MiB/s', minRatio: 1.3 },
];

interface Sizes {
  seconds: number;
  files: number;
  /** Of unlink, which ends with them. */
  removed: number;
  mebibytes: number;
  rounds: number;
  starts: number;
}

const full: Sizes = {
  seconds: 3,
  files: 1000,
  removed: 8000,
  mebibytes: 64,
  rounds: 3,
  starts: 101,
};
const instant: Sizes = { seconds: 0.1, files: 20, removed: 20, mebibytes: 2, rounds: 1, starts: 3 };

export async function benchInterceptInside(tiny: boolean): Promise<Row[]> {
  const mount = process.env['SEALFS_MOUNT'];
  if (mount === undefined) throw new Error('SEALFS_MOUNT is not set: run under sealfs up');
  const sizes = tiny ? instant : full;
  const library = preloadLibrary();
  const environment = { LD_PRELOAD: withPreload(library) };
  const rows: Row[] = [];
  for (const processes of [2, 4]) {
    for (const measure of measures) {
      progress(`${measure.name}, ${processes} processes`);
      const rate = (env: NodeJS.ProcessEnv) => () =>
        rateOf(measure.mode, mount, processes, sizes, env);
      const [intercepted, plain, core] = await alternate(sizes.rounds, [
        rate(environment),
        rate({}),
        async () => (await coreRate(measure.mode, processes, sizes)) ?? 0,
      ]);
      const scale = measure.unit === 'MiB/s' ? mebibyte : 1;
      const name = `intercept: ${measure.name}, ${processes} processes`;
      const aim = { baseline: plain! / scale, minRatio: measure.minRatio };
      rows.push(row(name, measure.unit, intercepted! / scale, aim));
      if (core! === 0) continue;
      // What is left of the reach where nothing but the client's core is in between.
      const bound = `${name}, by the core alone`;
      rows.push(row(bound, measure.unit, core! / scale, { baseline: plain! / scale }));
    }
  }
  rows.push(await serverRow(environment, tiny));
  for (const processes of tiny ? [2] : [2, 4])
    rows.push(await io500Row(mount, processes, library, tiny));
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
  const { seconds } = sizes;
  const files = mode === 'unlink' ? sizes.removed : sizes.files;
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
