/**
 * A whole run on one directory, or on several that take turns phase by phase, so that whatever
 * disturbs the machine meanwhile disturbs all of them alike.
 */
import { resolve } from 'node:path';
import { SealfsError } from '../src/common/errors.js';
import { Benchmark, freeSpace, phasesToRun, type BenchmarkOptions } from './benchmark.js';
import { fitToSpace, type Io500Config } from './config.js';
import { writeResultFiles } from './files.js';
import { phases, type Phase } from './phases.js';
import { Progress, type ProgressSink } from './progress.js';
import type { RunResult } from './results.js';

export interface RunRequest {
  targets: { label: string; options: BenchmarkOptions }[];
  progress: ProgressSink;
  /** Aborting stops the ranks, cleans up, and fails the run. */
  signal?: AbortSignal;
  /** Called after each phase, before the next one: tests damage files here. */
  afterPhase?: (phase: Phase, dataDir: string) => Promise<void>;
}

interface Target {
  label: string;
  benchmark: Benchmark;
}

/** The results in the order of the targets. Whatever fails fails all, and leaves no data behind. */
export async function runBenchmarks(request: RunRequest): Promise<RunResult[]> {
  const config = await commonConfig(request);
  const plan = phasesToRun(config, phases);
  const progress = new Progress(request.progress, plan.length * request.targets.length);
  const targets: Target[] = [];
  const abort = (): void => {
    for (const target of targets) {
      target.benchmark.abort(new SealfsError('FAILED', 'io500: interrupted'));
    }
  };
  request.signal?.addEventListener('abort', abort);
  try {
    for (const { label, options } of request.targets) {
      targets.push({
        label,
        benchmark: await Benchmark.open({
          ...options,
          config: { ...config, resultdir: options.resultDir },
        }),
      });
    }
    if (request.signal?.aborted === true) abort();
    for (const [index, phase] of plan.entries()) {
      // Who goes first alternates: what the first leaves behind in caches and queues, the second
      // pays for.
      const order = index % 2 === 0 ? targets : targets.toReversed();
      for (const target of order) await runOne(request, progress, target, phase);
    }
    const results = targets.map((target) => target.benchmark.outcome());
    for (const result of results) {
      if (result.resultDir !== undefined) await writeResultFiles(result, result.resultDir);
    }
    return results;
  } finally {
    progress.clear();
    request.signal?.removeEventListener('abort', abort);
    for (const { benchmark } of targets) {
      for (const warning of await benchmark.close()) progress.note(`warning: ${warning}`);
    }
  }
}

/**
 * All targets do the same, so the smallest of them bounds a run that is not a full one. Those on one file system
 * share what is free there.
 */
async function commonConfig(request: RunRequest): Promise<Io500Config> {
  let { config } = request.targets[0]!.options;
  const spaces = await Promise.all(
    request.targets.map(({ options }) => freeSpace(resolve(options.dir))),
  );
  for (const [i, { options }] of request.targets.entries()) {
    const { device, bytes, inodes } = spaces[i]!;
    const sharers = spaces.filter((other) => other.device === device).length;
    const share = { bytes: bytes / sharers, inodes: inodes / sharers };
    if (options.scale !== 'full') config = fitToSpace(config, options.np, share);
  }
  return config;
}

async function runOne(
  request: RunRequest,
  progress: Progress,
  target: Target,
  phase: Phase,
): Promise<void> {
  const { label, benchmark } = target;
  progress.start(label, phase);
  const result = await benchmark.runPhase(phase, (operations) =>
    progress.update(label, phase, operations),
  );
  progress.end(label, result);
  await request.afterPhase?.(phase, benchmark.dataDir);
}
