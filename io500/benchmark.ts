/**
 * One run on one directory: a data directory of its own, its ranks, and its phases one at a time
 * (the caller decides what happens between them, so that two runs can take turns). `close` must be
 * called at the end, whatever happened.
 */
import { exec } from 'node:child_process';
import { randomInt } from 'node:crypto';
import type { Stats } from 'node:fs';
import { mkdir, mkdtemp, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { SealfsError, UsageError } from '../src/common/errors.js';
import { validStonewallSeconds, type Io500Config, type Scale } from './config.js';
import {
  hardRecordBytes,
  peerOf,
  randomReadBytes,
  sourceOf,
  timestampBefore,
  type FileSet,
  type Phase,
} from './phases.js';
import { RankGroup, type RankOutcome } from './rank-group.js';
import { invalidReasons, scoreOfPhases, type PhaseResult, type RunResult } from './results.js';
import { rateOf } from './score.js';
import { compactTime } from './time.js';

export interface BenchmarkOptions {
  /** An existing directory of the file system to measure. */
  dir: string;
  np: number;
  scale: Scale;
  config: Io500Config;
  rankBinary: string;
  version: string;
  resultDir: string | undefined;
  /** Leaves the data directory behind. */
  keep: boolean;
  /** A library that the ranks are started with, ahead of what LD_PRELOAD says. */
  preload?: string | undefined;
}

/** Removing data from a mount whose servers are gone may never end. */
const removeWaitMs = 60_000;
/** Longer than the coarsest clock that stamps files, unless a file system keeps whole seconds. */
const tickMs = 50;
const wholeSecondMs = 1100;

const sharedFolders = [
  'ior-easy',
  'ior-hard',
  'mdtest-easy/test-dir.0-0',
  'mdtest-hard/test-dir.0-0',
];

const sleep = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** How many of rank 0…np-1's files 0…count-1 have "01" in their name, as mdtest names them. */
export function namesMatching(np: number, count: number): number {
  let numbers = 0;
  for (let i = 0; i < count; i++) if (String(i).includes('01')) numbers++;
  let total = 0;
  for (let rank = 0; rank < np; rank++) total += String(rank).includes('01') ? count : numbers;
  return total;
}

export class Benchmark {
  readonly dataDir: string;
  readonly results: PhaseResult[] = [];
  private readonly options: BenchmarkOptions;
  private readonly config: Io500Config;
  private readonly ranks: RankGroup;
  private readonly startedAt = new Date();
  private stamped = false;
  /** Operations of each rank, after wear-out; 0: not written. */
  private readonly counts: Record<FileSet, number> = {
    'ior-easy': 0,
    'ior-hard': 0,
    'mdtest-easy': 0,
    'mdtest-hard': 0,
  };

  private constructor(
    options: BenchmarkOptions,
    config: Io500Config,
    dataDir: string,
    ranks: RankGroup,
  ) {
    this.options = options;
    this.config = config;
    this.dataDir = dataDir;
    this.ranks = ranks;
  }

  /** Makes the data directory and starts the ranks. UsageError when it cannot be made. */
  static async open(options: BenchmarkOptions): Promise<Benchmark> {
    if (!Number.isInteger(options.np) || options.np < 1) {
      throw new UsageError(`--np must be a whole number of at least 1, not ${options.np}`);
    }
    const dir = resolve(options.dir);
    if (/[\n\r]/.test(dir)) throw new UsageError('the path of --dir contains a line break');
    const dataDir = await makeDataDirectory(dir);
    try {
      const ranks = await RankGroup.start(
        options.rankBinary,
        options.np,
        randomInt(1, 2 ** 47),
        dataDir,
        options.preload,
      );
      return new Benchmark(options, { ...options.config, datadir: dataDir }, dataDir, ranks);
    } catch (error) {
      await rm(dataDir, { recursive: true, force: true });
      throw error;
    }
  }

  /** Runs one phase. Any failure, a wrong byte included, is a SealfsError. */
  async runPhase(phase: Phase, onProgress: (operations: number) => void): Promise<PhaseResult> {
    if (this.config.dropCaches) await this.dropCaches();
    if (timestampBefore.includes(phase.name)) await this.touchTimestamp();
    const participants =
      phase.name === 'find'
        ? Math.min(this.config.findRanks ?? this.options.np, this.options.np)
        : this.options.np;
    const startedAt = new Date();
    const outcomes = await this.ranks.runPhase({
      name: phase.name,
      participants,
      argumentsOf: (rank) => this.argumentsOf(phase, rank),
      onProgress,
    });
    const result = this.evaluate(phase, outcomes, startedAt);
    if (phase.name === 'find') this.checkFind(result);
    if (phase.writes) this.counts[phase.files as FileSet] = outcomes[0]!.count;
    this.results.push(result);
    return result;
  }

  /** Fails the phase that runs now; the next call on this object is `close`. */
  abort(error: SealfsError): void {
    this.ranks.abort(error);
  }

  outcome(): RunResult {
    const { options, results } = this;
    return {
      program: 'sealfs',
      version: options.version,
      dir: resolve(options.dir),
      np: options.np,
      scale: options.scale,
      intercepted: options.preload !== undefined,
      config: this.config,
      resultDir: options.resultDir,
      startedAt: this.startedAt,
      endedAt: new Date(),
      phases: results,
      score: scoreOfPhases(results),
      invalid: invalidReasons(results),
    };
  }

  /** Ends the ranks and removes the data. Returns what could not be cleaned up, for a warning. */
  async close(): Promise<string[]> {
    const warnings: string[] = [];
    const stuck = await this.ranks.stop();
    if (stuck.length > 0) warnings.push(`ranks ${stuck.join(', ')} would not end`);
    if (this.options.keep) return warnings;
    const removal = rm(this.dataDir, { recursive: true, force: true, maxRetries: 2 }).then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error.message : String(error)),
    );
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<string>((done) => {
      timer = setTimeout(() => done('it takes too long'), removeWaitMs);
    });
    const trouble = await Promise.race([removal, late]);
    clearTimeout(timer);
    if (trouble !== undefined) warnings.push(`${this.dataDir} is not removed: ${trouble}`);
    return warnings;
  }

  /** What one rank is told, beside the phase's name; see docs/io500.md. */
  private argumentsOf(phase: Phase, rank: number): string {
    const { config } = this;
    const peer = peerOf(rank, phase.shift, this.options.np);
    const limits: Record<FileSet, number> = {
      'ior-easy': Math.floor(config.blockBytes / config.transferBytes),
      'ior-hard': config.segmentCount,
      'mdtest-easy': config.mdtestEasyFiles,
      'mdtest-hard': config.mdtestHardFiles,
    };
    if (phase.files === 'all') return '';
    const limit = phase.writes ? limits[phase.files] : this.counts[phase.files];
    const stonewallMs = Math.round(config.stonewallSeconds * 1000);
    const words = [`limit=${limit}`, `stonewall-ms=${stonewallMs}`, `peer=${peer}`];
    if (phase.files === 'ior-easy') {
      words.push(`transfer=${config.transferBytes}`, `direct=${config.direct ? 1 : 0}`);
    }
    if (phase.files === 'mdtest-hard') words.push(`files-per-dir=${config.filesPerDir}`);
    return words.join(' ');
  }

  private evaluate(phase: Phase, outcomes: RankOutcome[], startedAt: Date): PhaseResult {
    const start = Math.min(...outcomes.map((outcome) => outcome.startNs));
    const end = Math.max(...outcomes.map((outcome) => outcome.endNs));
    const seconds = (end - start) / 1e9;
    const operations = sum(outcomes.map((outcome) => outcome.count));
    const unitBytes = this.bytesOf(phase);
    const rate = (count: number, time: number): number =>
      rateOf(phase.unit, count * (unitBytes === 0 ? 1 : unitBytes), time);
    const wallSeconds = Math.max(...outcomes.map((outcome) => outcome.wallNs ?? 0)) / 1e9;
    const wallCount = sum(outcomes.map((outcome) => outcome.wallCount ?? 0));
    const result: PhaseResult = {
      phase,
      score: rate(operations, seconds),
      seconds,
      operations,
      bytes: operations * unitBytes,
      stonewallRate: phase.writes ? rate(wallCount, wallSeconds) : undefined,
      found: phase.name === 'find' ? sum(outcomes.map((outcome) => outcome.found)) : undefined,
      totalFiles: phase.name === 'find' ? operations : undefined,
      startedAt,
      endedAt: new Date(),
      command: `sealfs_rank ${phase.name} ${this.argumentsOf(phase, 0)}`.trim(),
      invalid: [],
      ranks: outcomes.map((outcome, rank) => ({
        rank,
        operations: outcome.count,
        startSeconds: (outcome.startNs - start) / 1e9,
        seconds: (outcome.endNs - outcome.startNs) / 1e9,
        stonewallOperations: outcome.wallCount,
        stonewallSeconds: outcome.wallNs === undefined ? undefined : outcome.wallNs / 1e9,
      })),
    };
    if (phase.writes && seconds < validStonewallSeconds) {
      result.invalid.push(`took less than ${validStonewallSeconds} s`);
    }
    return result;
  }

  private bytesOf(phase: Phase): number {
    if (phase.unit === 'kIOPS') return 0;
    if (phase.files === 'ior-hard') return hardRecordBytes;
    return phase.group === 'none' ? randomReadBytes : this.config.transferBytes;
  }

  /** What find saw must be what the phases before it made. */
  private checkFind(result: PhaseResult): void {
    const { np } = this.options;
    const { counts } = this;
    const files =
      np * (counts['mdtest-easy'] + counts['mdtest-hard']) +
      (counts['ior-easy'] > 0 ? np : 0) +
      (counts['ior-hard'] > 0 ? 1 : 0) +
      1; // the timestamp file
    const matching = namesMatching(np, counts['mdtest-hard']);
    if (result.totalFiles !== files || result.found !== matching) {
      throw new SealfsError(
        'CORRUPT',
        `io500: find saw ${result.totalFiles} files, ${result.found} of them matching; ` +
          `there are ${files} and ${matching}`,
      );
    }
    if (matching === 0) result.invalid.push('no file matched');
  }

  /** Files made after it are newer than it by the file system's own clock. */
  private async touchTimestamp(): Promise<void> {
    if (this.stamped) return;
    this.stamped = true;
    const path = join(this.dataDir, 'timestampfile');
    await writeFile(path, '');
    const { mtimeNs } = await stat(path, { bigint: true });
    await sleep(mtimeNs % 1_000_000_000n === 0n ? wholeSecondMs : tickMs);
  }

  private async dropCaches(): Promise<void> {
    try {
      await promisify(exec)(this.config.dropCachesCommand);
    } catch (error) {
      throw new SealfsError('FAILED', `drop-caches-cmd failed: ${String(error)}`, { cause: error });
    }
  }
}

/** The phases of a configuration, in order, without those whose files nobody writes. */
export function phasesToRun(config: Io500Config, all: readonly Phase[]): Phase[] {
  return all.filter((phase) => {
    const source = sourceOf(phase);
    return config.run[phase.name] && (source === undefined || config.run[source]);
  });
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

const because = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

export interface FreeSpace {
  /** st_dev, stat(2). */
  device: number;
  bytes: number;
  inodes: number;
}

/** What is free where `dir` lies. UsageError when it is not a directory. */
export async function freeSpace(dir: string): Promise<FreeSpace> {
  let shown: Stats;
  try {
    shown = await stat(dir);
  } catch (error) {
    throw new UsageError(`${dir} cannot be used: ${because(error)}`, { cause: error });
  }
  if (!shown.isDirectory()) throw new UsageError(`${dir} is not a directory`);
  const free = await statfs(dir);
  return { device: shown.dev, bytes: free.bavail * free.bsize, inodes: free.ffree };
}

/** A new directory for one run's data, with the folders that all ranks share. */
async function makeDataDirectory(dir: string): Promise<string> {
  try {
    const dataDir = await mkdtemp(join(dir, `io500-${compactTime(new Date())}-`));
    for (const folder of sharedFolders) await mkdir(join(dataDir, folder), { recursive: true });
    return dataDir;
  } catch (error) {
    throw new UsageError(`${dir} is not writable: ${because(error)}`, { cause: error });
  }
}
