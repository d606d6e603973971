/** What a person sees at the end, and what a script reads: tables, and the `--json` objects. */
import Table from 'cli-table3';
import type { Io500Config } from './config.js';
import { phases } from './phases.js';
import type { PhaseResult, RunResult } from './results.js';

/** Four significant digits, never in scientific notation. */
export function figure(value: number): string {
  if (value === 0) return '0';
  const digits = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(digits, 6));
}

function newTable(head: string[], leftColumns: number): Table.Table {
  const colAligns = head.map((_name, i) => (i < leftColumns ? 'left' : 'right'));
  return new Table({ head, colAligns, style: { head: [], border: [], compact: true } });
}

function about(run: RunResult): string {
  const program =
    run.program === 'official'
      ? 'official IO500 program'
      : 'unofficial, by the load generator of sealfs';
  const wall = `stonewall ${run.config.stonewallSeconds} s`;
  const how = run.intercepted ? ', intercepted' : '';
  return `IO500 (${program}): ${run.dir}, ${run.np} ranks${how}, ${run.scale} scale, ${wall}`;
}

function scoreLine(run: RunResult): string {
  const { bandwidth, metadata, total } = run.score;
  const mark = run.invalid.length > 0 ? ' [INVALID]' : '';
  return (
    `bandwidth ${figure(bandwidth)} GiB/s, metadata ${figure(metadata)} kIOPS, ` +
    `total ${figure(total)}${mark}`
  );
}

function validity(run: RunResult): string[] {
  if (run.invalid.length === 0) return [];
  const [first, ...others] = run.invalid;
  const more = others.length > 0 ? ` (and ${others.length} more reasons)` : '';
  return [`invalid by the IO500's rules: ${first}${more}`];
}

export function formatReport(run: RunResult): string {
  const table = newTable(['phase', 'score', 'unit', 'seconds', 'operations'], 1);
  for (const result of run.phases) {
    const unscored = result.phase.group === 'none' ? ' (unscored)' : '';
    table.push([
      result.phase.name + unscored,
      figure(result.score),
      result.phase.unit,
      result.seconds.toFixed(2),
      result.operations > 0 ? String(result.operations) : '-',
    ]);
  }
  const lines = [about(run), table.toString(), scoreLine(run), ...validity(run)];
  if (run.resultDir !== undefined) lines.push(`result files: ${run.resultDir}`);
  return lines.join('\n');
}

/** a / b; null when b is 0 or one of them was not run. */
export function ratioOf(a: number | undefined, b: number | undefined): number | null {
  return a === undefined || b === undefined || b === 0 ? null : a / b;
}

export interface Comparison {
  a: RunResult;
  b: RunResult;
}

interface Pair {
  name: string;
  unit: string;
  a: number | undefined;
  b: number | undefined;
}

function pairs({ a, b }: Comparison): Pair[] {
  const score = (run: RunResult, name: string): number | undefined =>
    run.phases.find((result) => result.phase.name === name)?.score;
  const rows: Pair[] = phases.map((phase) => ({
    name: phase.name,
    unit: phase.unit,
    a: score(a, phase.name),
    b: score(b, phase.name),
  }));
  rows.push(
    { name: 'bandwidth', unit: 'GiB/s', a: a.score.bandwidth, b: b.score.bandwidth },
    { name: 'metadata', unit: 'kIOPS', a: a.score.metadata, b: b.score.metadata },
    { name: 'total', unit: '', a: a.score.total, b: b.score.total },
  );
  return rows.filter((row) => row.a !== undefined || row.b !== undefined);
}

export function formatComparison(comparison: Comparison): string {
  const table = newTable(['phase', 'A', 'B', 'unit', 'A / B'], 1);
  for (const row of pairs(comparison)) {
    const ratio = ratioOf(row.a, row.b);
    table.push([
      row.name,
      row.a === undefined ? '-' : figure(row.a),
      row.b === undefined ? '-' : figure(row.b),
      row.unit,
      ratio === null ? '-' : ratio.toFixed(2),
    ]);
  }
  const { a, b } = comparison;
  const lines = [`A: ${about(a)}`, `B: ${about(b)}`, table.toString(), ...validity(a)];
  if (a.resultDir !== undefined) lines.push(`result files: ${a.resultDir}, ${b.resultDir}`);
  return lines.join('\n');
}

function phaseJson(result: PhaseResult): object {
  return {
    name: result.phase.name,
    score: result.score,
    unit: result.phase.unit,
    seconds: result.seconds,
    scored: result.phase.group !== 'none',
    valid: result.invalid.length === 0,
    invalidReasons: result.invalid,
    operations: result.operations,
    bytes: result.bytes,
    stonewallRate: result.stonewallRate ?? null,
    ...(result.found === undefined ? {} : { found: result.found, totalFiles: result.totalFiles }),
    ranks: result.ranks,
  };
}

function configJson(config: Io500Config): object {
  return { ...config, run: Object.keys(config.run).filter((name) => isOn(config, name)) };
}

function isOn(config: Io500Config, name: string): boolean {
  return (config.run as Record<string, boolean>)[name] === true;
}

export function toJson(run: RunResult): object {
  return {
    unofficial: run.program !== 'official',
    version: run.version,
    dir: run.dir,
    np: run.np,
    scale: run.scale,
    intercepted: run.intercepted,
    stonewallSeconds: run.config.stonewallSeconds,
    resultDir: run.resultDir ?? null,
    startedAt: run.startedAt.toISOString(),
    endedAt: run.endedAt.toISOString(),
    phases: run.phases.map(phaseJson),
    score: {
      bandwidth: run.score.bandwidth,
      bandwidthUnit: 'GiB/s',
      metadata: run.score.metadata,
      metadataUnit: 'kIOPS',
      total: run.score.total,
    },
    valid: run.invalid.length === 0,
    invalidReasons: run.invalid,
    config: configJson(run.config),
  };
}

export function comparisonToJson(comparison: Comparison): object {
  const ratios = pairs(comparison).map((row) => [row.name, ratioOf(row.a, row.b)] as const);
  return {
    unofficial: true,
    a: toJson(comparison.a),
    b: toJson(comparison.b),
    ratios: Object.fromEntries(ratios),
  };
}
