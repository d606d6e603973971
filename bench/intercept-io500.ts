/**
 * The IO500's phases on one mount, by ranks that bypass the kernel and by ranks that do not, phase by phase in turns, and
 * the score of each.
 */
import { defaultConfig } from '../io500/config.js';
import type { Io500Config } from '../io500/config.js';
import { findRankBinary } from '../io500/rank-process.js';
import { runBenchmarks } from '../io500/run.js';
import { progress, row } from './report.js';
import type { Row } from './report.js';

/** Counts that are reached in an instant. */
function instantConfig(): Io500Config {
  const config = defaultConfig('smoke');
  return {
    ...config,
    run: { ...config.run, 'ior-rnd4K-easy-read': false },
    transferBytes: 65_536,
    blockBytes: 2 ** 20,
    segmentCount: 20,
    mdtestEasyFiles: 30,
    mdtestHardFiles: 120,
  };
}

/** Of `np` ranks on `dir`, which is on a mount; `preload`: the library of those that are intercepted. */
export async function io500Row(
  dir: string,
  np: number,
  preload: string,
  tiny: boolean,
): Promise<Row> {
  progress(`IO500, ${np} ranks`);
  const common = {
    dir,
    np,
    scale: 'smoke' as const,
    config: tiny ? instantConfig() : defaultConfig('smoke'),
    rankBinary: findRankBinary(),
    version: 'sealfs',
    resultDir: undefined,
    keep: false,
  };
  const [intercepted, plain] = await runBenchmarks({
    targets: [
      { label: 'intercepted', options: { ...common, preload } },
      { label: 'FUSE', options: common },
    ],
    progress: { write: (): boolean => true },
  });
  return row(`intercept: IO500 smoke total, ${np} processes`, '', intercepted!.score.total, {
    baseline: plain!.score.total,
    minRatio: 2,
  });
}
