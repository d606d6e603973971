/**
 * `sealfs bench io500`: options, and which of the three ways to run them. The mount of a volume is
 * handed in, because the benchmark itself knows directories only.
 */
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { SealfsError, UsageError } from '../src/common/errors.js';
import type { BenchmarkOptions } from './benchmark.js';
import { defaultConfig, readConfig, scaleNames, type Io500Config, type Scale } from './config.js';
import { runOfficial } from './official.js';
import type { ProgressSink } from './progress.js';
import { findRankBinary } from './rank-process.js';
import { comparisonToJson, formatComparison, formatReport, toJson } from './report.js';
import { runBenchmarks } from './run.js';
import { compactTime } from './time.js';

export interface TemporaryMount {
  path: string;
  unmount(): Promise<void>;
}

export interface Io500Deps {
  /** The program's version, for the result files. */
  version: string;
  /** Mounts a volume for the time of the run. Without it only directories can be measured. */
  mountVolume?: (request: {
    manager: string | undefined;
    volume: string;
    transport: string | undefined;
    bind: string | undefined;
  }) => Promise<TemporaryMount>;
  /**
   * For --intercept: the library that ranks on this directory are started with. Throws where it could do nothing.
   * Without it only the kernel's way can be measured.
   */
  preloadFor?: (directory: string) => string;
  /** Where the result goes; process.stdout by default. */
  stdout?: { write(text: string): unknown };
  /** Where progress goes; process.stderr by default. */
  stderr?: ProgressSink;
}

interface Flags {
  dir?: string;
  manager?: string;
  volume?: string;
  transport?: string;
  bind?: string;
  compare?: string;
  np: number;
  config?: string;
  scale?: Scale;
  out?: string;
  io500Binary?: string;
  mpirun: string;
  intercept: boolean;
  keep: boolean;
  json: boolean;
}

const examples = `
Examples:
  sealfs bench io500 --dir /mnt/data --np 4 --scale smoke
  sealfs bench io500 --dir /mnt/sealfs --compare /var/tmp --scale laptop --json
  sealfs bench io500 --dir /mnt/sealfs --intercept --compare /mnt/sealfs
  sealfs bench io500 --manager http://node1:7300 --volume scratch --np 16 --scale full --out dir

The built-in load generator's figures are unofficial; --io500-binary runs the official program.`;

function parseNp(text: string): number {
  const np = Number(text);
  if (!/^\d+$/.test(text) || np < 1 || np > 4096) {
    throw new UsageError(`--np must be a whole number from 1 to 4096, not '${text}'`);
  }
  return np;
}

function parseScale(text: string): Scale {
  const scale = scaleNames.find((name) => name === text);
  if (scale === undefined) {
    throw new UsageError(`--scale must be one of ${scaleNames.join(', ')}, not '${text}'`);
  }
  return scale;
}

export function registerIo500(bench: Command, deps: Io500Deps): Command {
  return bench
    .command('io500')
    .description('run the IO500 phases on a directory or a volume, unofficially, and score them')
    .option('--dir <path>', 'directory of the file system to measure')
    .option('--volume <name>', 'sealfs volume to mount and measure')
    .option('--manager <url>', 'manager of that volume')
    .option('--transport <name>', 'for that volume: auto (default), rdma or tcp')
    .option('--bind <address>', 'for that volume: local IP address that connections leave from')
    .option('--compare <path>', 'measure this directory too, in turns, and print both side by side')
    .option('--np <n>', 'ranks (processes); default: the number of cores', parseNp, cores())
    .option(
      '--scale <scale>',
      'smoke (about a minute), laptop (minutes) or full (valid)',
      parseScale,
    )
    .option('--config <ini>', 'INI file with the official key names')
    .option('--out <dir>', 'where the result files go; default: io500-results/<time>')
    .option('--io500-binary <path>', 'run the official program instead')
    .option('--mpirun <command>', 'launcher of the official program', 'mpirun')
    .option('--intercept', 'ranks bypass the kernel (those on --dir, not on --compare)', false)
    .option('--keep', 'leave the data directory behind', false)
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', examples)
    .action((flags: Flags) => runIo500(flags, deps));
}

function cores(): number {
  return availableParallelism();
}

/** A scale that is not given: the full one for an INI file, as it stands for the official rules. */
async function loadConfig(flags: Flags): Promise<{ config: Io500Config; scale: Scale }> {
  const scale = flags.scale ?? (flags.config === undefined ? 'laptop' : 'full');
  if (flags.config === undefined) return { config: defaultConfig(scale), scale };
  let text: string;
  try {
    text = await readFile(flags.config, 'utf8');
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--config: ${because}`, { cause: error });
  }
  return { config: readConfig(text, flags.config, scale), scale };
}

function checkFlags(flags: Flags, config: Io500Config): void {
  if (flags.dir !== undefined && flags.volume !== undefined) {
    throw new UsageError('--dir and --volume exclude each other');
  }
  for (const name of ['manager', 'transport', 'bind'] as const) {
    if (flags[name] !== undefined && flags.volume === undefined) {
      throw new UsageError(`--${name} needs --volume`);
    }
  }
  if ((flags.dir ?? flags.volume ?? config.datadir) === undefined) {
    throw new UsageError('what to measure? give --dir PATH, or --manager URL and --volume NAME');
  }
  if (flags.compare !== undefined && flags.io500Binary !== undefined) {
    throw new UsageError('--compare and --io500-binary exclude each other');
  }
}

export async function runIo500(flags: Flags, deps: Io500Deps): Promise<void> {
  const { config, scale } = await loadConfig(flags);
  checkFlags(flags, config);
  const interrupted = new AbortController();
  const onSignal = (): void => interrupted.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const mount = await mountFor(flags, deps);
  try {
    const dir = mount?.path ?? flags.dir ?? config.datadir!;
    const preload = preloadFor(flags, deps, dir);
    await measure({ flags, deps, config, scale, dir, preload, signal: interrupted.signal });
  } finally {
    process.off('SIGINT', onSignal);
    process.off('SIGTERM', onSignal);
    await mount?.unmount();
  }
}

async function mountFor(flags: Flags, deps: Io500Deps): Promise<TemporaryMount | undefined> {
  if (flags.volume === undefined) return undefined;
  if (deps.mountVolume === undefined) {
    throw new SealfsError('UNSUPPORTED', 'this program cannot mount volumes: use --dir');
  }
  const { manager, volume, transport, bind } = flags;
  return deps.mountVolume({ manager, volume, transport, bind });
}

function preloadFor(flags: Flags, deps: Io500Deps, dir: string): string | undefined {
  if (!flags.intercept) return undefined;
  if (deps.preloadFor === undefined) {
    throw new SealfsError('UNSUPPORTED', 'this program cannot intercept: run sealfs bench io500');
  }
  return deps.preloadFor(dir);
}

interface Measurement {
  flags: Flags;
  deps: Io500Deps;
  config: Io500Config;
  scale: Scale;
  dir: string;
  preload: string | undefined;
  signal: AbortSignal;
}

async function measure(measurement: Measurement): Promise<void> {
  const { flags, deps, config, dir, preload } = measurement;
  const stdout = deps.stdout ?? process.stdout;
  const out = resolve(
    flags.out ?? join(config.resultdir ?? 'io500-results', compactTime(new Date())),
  );
  const print = (text: string, json: object): void => {
    stdout.write(`${flags.json ? JSON.stringify(json) : text}\n`);
  };
  if (flags.io500Binary !== undefined) {
    const run = await officialRun(measurement, flags.io500Binary, out);
    print(formatReport(run), toJson(run));
    return;
  }
  if (flags.compare === undefined) {
    const [run] = await ownRuns(measurement, [{ label: '', dir, preload, out }]);
    print(formatReport(run!), toJson(run!));
    return;
  }
  const [a, b] = await ownRuns(measurement, [
    { label: 'A', dir, preload, out: join(out, 'a') },
    { label: 'B', dir: flags.compare, preload: undefined, out: join(out, 'b') },
  ]);
  const comparison = { a: a!, b: b! };
  print(formatComparison(comparison), comparisonToJson(comparison));
}

function officialRun(
  measurement: Measurement,
  binary: string,
  out: string,
): ReturnType<typeof runOfficial> {
  const { flags, deps, config, scale, dir, preload, signal } = measurement;
  return runOfficial({
    binary,
    mpirun: flags.mpirun,
    dir,
    np: flags.np,
    scale,
    config,
    resultDir: out,
    keep: flags.keep,
    preload,
    progress: deps.stderr ?? process.stderr,
    signal,
  });
}

interface OwnTarget {
  label: string;
  dir: string;
  preload: string | undefined;
  out: string;
}

function ownRuns(measurement: Measurement, targets: OwnTarget[]): ReturnType<typeof runBenchmarks> {
  const { flags, deps, config, scale, signal } = measurement;
  const rankBinary = findRankBinary();
  const options = ({ dir, preload, out }: OwnTarget): BenchmarkOptions => ({
    dir,
    preload,
    np: flags.np,
    scale,
    config,
    rankBinary,
    version: deps.version,
    resultDir: out,
    keep: flags.keep,
  });
  return runBenchmarks({
    targets: targets.map((target) => ({ label: target.label, options: options(target) })),
    progress: deps.stderr ?? process.stderr,
    signal,
  });
}
