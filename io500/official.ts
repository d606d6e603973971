/**
 * Running the official IO500 program instead of our load generator: its config.ini is written from
 * ours, mpirun starts it, and its result_summary.txt is read back.
 */
import { spawn } from 'node:child_process';
import { access, constants, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { SealfsError, UsageError } from '../src/common/errors.js';
import { withPreload } from '../src/common/preload.js';
import { formatConfig, type Io500Config, type Scale } from './config.js';
import { phases } from './phases.js';
import type { ProgressSink } from './progress.js';
import { invalidReasons, type PhaseResult, type RunResult } from './results.js';

export interface OfficialOptions {
  binary: string;
  /** The launcher and its own options, separated by spaces: `mpirun --oversubscribe`. */
  mpirun: string;
  dir: string;
  np: number;
  scale: Scale;
  config: Io500Config;
  resultDir: string;
  keep: boolean;
  /** A library that the ranks are started with. */
  preload?: string | undefined;
  progress: ProgressSink;
  signal?: AbortSignal;
}

const resultLine = /^\[(RESULT| {6})\]\s+(\S+)\s+(\S+) (GiB\/s|kIOPS) : time (\S+) seconds(.*)$/;
const scoreLine =
  /^\[SCORE \] Bandwidth (\S+) GiB\/s : IOPS (\S+) kiops : TOTAL ([0-9.]+|\S*nan)\s*(.*)$/;

/** The parts of a RunResult that result_summary.txt holds. */
export function parseSummary(
  text: string,
): Pick<RunResult, 'version' | 'phases' | 'score' | 'invalid'> {
  const results: PhaseResult[] = [];
  let version = 'unknown';
  let score: RunResult['score'] | undefined;
  let invalid: string[] = [];
  for (const line of text.split('\n')) {
    const head = /^IO500 version (.*)$/.exec(line);
    const phaseMatch = resultLine.exec(line);
    const scoreMatch = scoreLine.exec(line);
    if (head) version = head[1]!;
    if (phaseMatch) {
      const result = phaseResult(phaseMatch);
      if (result) results.push(result);
    }
    if (scoreMatch) {
      const [bandwidth, metadata, total] = scoreMatch.slice(1, 4).map(Number);
      score = { bandwidth: bandwidth!, metadata: metadata!, total: total! };
      if (scoreMatch[4]!.includes('INVALID')) invalid = ['the official program says so'];
    }
  }
  if (score === undefined) {
    throw new SealfsError('FAILED', 'the official program left no score in result_summary.txt');
  }
  if (invalid.length > 0) invalid.push(...invalidReasons(results));
  return { version, phases: results, score, invalid };
}

function phaseResult(match: RegExpExecArray): PhaseResult | undefined {
  const phase = phases.find((one) => one.name === match[2]);
  // Phases of the extended mode are not in our table.
  if (phase === undefined) return undefined;
  const unknown = new Date(0);
  return {
    phase,
    score: Number(match[3]),
    seconds: Number(match[5]),
    operations: 0,
    bytes: 0,
    stonewallRate: undefined,
    found: undefined,
    totalFiles: undefined,
    startedAt: unknown,
    endedAt: unknown,
    command: '',
    invalid: match[6]!.includes('INVALID') ? ['the official program says so'] : [],
    ranks: [],
  };
}

export async function runOfficial(options: OfficialOptions): Promise<RunResult> {
  try {
    await access(options.binary, constants.X_OK);
  } catch (error) {
    throw new UsageError(`--io500-binary ${options.binary} is not a program`, { cause: error });
  }
  const startedAt = new Date();
  const resultDir = resolve(options.resultDir);
  const dataDir = await makeDirectories(options.dir, resultDir);
  try {
    const config = { ...options.config, datadir: dataDir, resultdir: resultDir };
    const ini = join(resultDir, 'config-sealfs.ini');
    await writeFile(ini, formatConfig(config));
    await launch(options, ini);
    const summary = await readSummary(resultDir);
    return {
      program: 'official',
      dir: resolve(options.dir),
      np: options.np,
      scale: options.scale,
      intercepted: options.preload !== undefined,
      config,
      resultDir,
      startedAt,
      endedAt: new Date(),
      ...parseSummary(summary),
    };
  } finally {
    if (!options.keep) await rm(dataDir, { recursive: true, force: true });
  }
}

async function makeDirectories(dir: string, resultDir: string): Promise<string> {
  await mkdir(resultDir, { recursive: true });
  try {
    return await mkdtemp(join(resolve(dir), 'io500-official-'));
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${dir} cannot be used: ${because}`, { cause: error });
  }
}

async function readSummary(resultDir: string): Promise<string> {
  const path = join(resultDir, 'result_summary.txt');
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const text = `the official program wrote no ${path}`;
    throw new SealfsError('FAILED', text, { cause: error });
  }
}

/**
 * What the launcher starts for each rank. By env(1), because launchers differ in which variables of theirs reach the
 * ranks, on other hosts above all; and the launcher itself has no need of the library.
 */
function rankCommand({ preload, binary }: OfficialOptions, ini: string): string[] {
  const program = [resolve(binary), ini];
  return preload === undefined
    ? program
    : ['env', `LD_PRELOAD=${withPreload(preload)}`, ...program];
}

function launch(options: OfficialOptions, ini: string): Promise<void> {
  const words = options.mpirun.split(/\s+/).filter((word) => word !== '');
  if (words.length === 0) throw new UsageError('--mpirun names no program');
  const [program, ...launcherOptions] = words;
  const child = spawn(
    program!,
    [...launcherOptions, '-np', String(options.np), ...rankCommand(options, ini)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      // Open MPI refuses root otherwise, and test machines and containers run as root.
      env: { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' },
    },
  );
  const stop = (): boolean => child.kill('SIGTERM');
  options.signal?.addEventListener('abort', stop);
  let complaint = '';
  child.stdout.on('data', (text: Buffer) => options.progress.write(text.toString()));
  child.stderr.on('data', (text: Buffer) => (complaint = (complaint + String(text)).slice(-2000)));
  return new Promise((done, failed) => {
    child.on('error', (error) =>
      failed(new SealfsError('UNSUPPORTED', `${program}: ${error.message}`, { cause: error })),
    );
    child.on('close', (code, signal) => {
      options.signal?.removeEventListener('abort', stop);
      if (code === 0) return done();
      const how = signal === null ? `exited with status ${code}` : `was ended by ${signal}`;
      const last = complaint.trim().split('\n').pop() ?? '';
      failed(new SealfsError('FAILED', `the official program ${how}: ${last}`));
    });
  });
}
