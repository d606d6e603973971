/** What a run yields: the figures of each rank, of each phase, and the whole. */
import type { Io500Config, Scale } from './config.js';
import { phases, type Phase } from './phases.js';
import { scoreOf, type Score } from './score.js';

export interface RankFigures {
  rank: number;
  /** Transfers, records or files. */
  operations: number;
  /** When it began, in seconds after the first rank. */
  startSeconds: number;
  seconds: number;
  /** At the stonewall, before wear-out; write phases only. */
  stonewallOperations: number | undefined;
  stonewallSeconds: number | undefined;
}

export interface PhaseResult {
  phase: Phase;
  /** In the phase's unit. */
  score: number;
  seconds: number;
  operations: number;
  /** 0 for metadata phases. */
  bytes: number;
  /** The rate up to the stonewall, in the phase's unit; write phases only. */
  stonewallRate: number | undefined;
  /** find only: matching files, and all files seen. */
  found: number | undefined;
  totalFiles: number | undefined;
  startedAt: Date;
  endedAt: Date;
  /** What a rank was told, for the record. */
  command: string;
  /** Why the official rules would not accept it; empty: they would. */
  invalid: string[];
  ranks: RankFigures[];
}

export interface RunResult {
  /** Who measured: this program, or the official one. */
  program: 'sealfs' | 'official';
  version: string;
  dir: string;
  np: number;
  scale: Scale;
  /** The ranks ran with the preload library. */
  intercepted: boolean;
  config: Io500Config;
  resultDir: string | undefined;
  startedAt: Date;
  endedAt: Date;
  phases: PhaseResult[];
  score: Score;
  /** Why the score is not one of a full run; empty: it is. */
  invalid: string[];
}

/** The score over the phases that ran; one that did not counts as 0. */
export function scoreOfPhases(results: readonly PhaseResult[]): Score {
  const values = (group: Phase['group']): number[] =>
    phases
      .filter((phase) => phase.group === group)
      .map((phase) => results.find((result) => result.phase.name === phase.name)?.score ?? 0);
  return scoreOf(values('BW'), values('MD'));
}

export function invalidReasons(results: readonly PhaseResult[]): string[] {
  const reasons: string[] = [];
  for (const phase of phases.filter((one) => one.group !== 'none')) {
    const result = results.find((one) => one.phase.name === phase.name);
    if (result === undefined) reasons.push(`${phase.name} was not run`);
    else reasons.push(...result.invalid.map((reason) => `${phase.name}: ${reason}`));
  }
  return reasons;
}
