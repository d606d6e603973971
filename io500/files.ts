/**
 * Result files in the official suite's formats: result_summary.txt, result.txt, config.ini and
 * <phase>.csv. Each says that it is unofficial. Formats: docs/io500.md.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SealfsError } from '../src/common/errors.js';
import { formatConfig } from './config.js';
import type { PhaseResult, RunResult } from './results.js';
import { recordTime } from './time.js';

const disclaimer = 'unofficial: measured by the load generator of sealfs, not by the IO500 suite';

/** FNV-1a, 32 bits, upper-case hexadecimal: shows accidental edits, as the suite's own does. */
export function hashOf(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) {
    hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  }
  return hash.toString(16).toUpperCase();
}

const mark = (invalid: string[]): string => (invalid.length > 0 ? ' [INVALID]' : '');

export function formatSummary(run: RunResult): string {
  const lines = [`IO500 version ${run.version} (unofficial)`];
  for (const result of run.phases) {
    const { phase } = result;
    const head = phase.group === 'none' ? '[      ]' : '[RESULT]';
    const name = phase.name.padStart(20);
    const score = result.score.toFixed(6).padStart(15);
    const time = result.seconds.toFixed(3);
    lines.push(
      `${head} ${name} ${score} ${phase.unit} : time ${time} seconds${mark(result.invalid)}`,
    );
  }
  const { bandwidth, metadata, total } = run.score;
  lines.push(
    `[SCORE ] Bandwidth ${bandwidth.toFixed(6)} GiB/s : IOPS ${metadata.toFixed(6)} kiops : ` +
      `TOTAL ${total.toFixed(6)}${mark(run.invalid)}`,
  );
  return `${lines.join('\n')}\n`;
}

const pair = (key: string, value: string | number): string => `${key.padEnd(15)} = ${value}`;

function formatSection(result: PhaseResult): string[] {
  const lines = [
    '',
    `[${result.phase.name}]`,
    pair('t_start', recordTime(result.startedAt)),
    pair('exe', result.command),
  ];
  if (result.stonewallRate !== undefined) {
    const key = result.phase.unit === 'GiB/s' ? 'throughput-stonewall' : 'rate-stonewall';
    lines.push(pair(key, result.stonewallRate.toFixed(6)));
  }
  if (result.found !== undefined) lines.push(pair('found', result.found));
  if (result.totalFiles !== undefined) lines.push(pair('total-files', result.totalFiles));
  for (const reason of result.invalid) lines.push(`; ERROR INVALID ${reason}`);
  lines.push(
    pair('score', result.score.toFixed(6)),
    pair('t_delta', result.seconds.toFixed(4)),
    pair('t_end', recordTime(result.endedAt)),
  );
  return lines;
}

export function formatResult(run: RunResult): string {
  const { bandwidth, metadata, total } = run.score;
  const scores = [
    pair('MD', metadata.toFixed(6)),
    pair('BW', bandwidth.toFixed(6)),
    pair('SCORE', `${total.toFixed(6)}${mark(run.invalid)}`),
  ];
  const phases = run.phases.flatMap(formatSection);
  const lines = [
    `; ${disclaimer}`,
    '[run]',
    pair('procs', run.np),
    pair('version', run.version),
    pair('config-hash', hashOf(formatConfig(run.config))),
    pair('result-dir', run.resultDir ?? ''),
    pair('mode', 'unofficial'),
    ...(run.intercepted ? [pair('intercepted', 'yes')] : []),
    `; START ${recordTime(run.startedAt)}`,
    ...phases,
    '',
    '[SCORE]',
    ...scores,
    pair('hash', hashOf([...phases, ...scores].join('\n'))),
    `; END ${recordTime(run.endedAt)}`,
  ];
  return `${lines.join('\n')}\n`;
}

/** One row for each rank that took part. */
export function formatCsv(result: PhaseResult): string {
  const rows = [
    'suite,phase,rank,operations,start_s,seconds,stonewall_operations,stonewall_s,operations_per_s',
  ];
  for (const rank of result.ranks) {
    rows.push(
      [
        'sealfs (unofficial)',
        result.phase.name,
        rank.rank,
        rank.operations,
        rank.startSeconds.toFixed(6),
        rank.seconds.toFixed(6),
        rank.stonewallOperations ?? '',
        rank.stonewallSeconds?.toFixed(6) ?? '',
        rank.seconds > 0 ? (rank.operations / rank.seconds).toFixed(3) : '',
      ].join(','),
    );
  }
  return `${rows.join('\n')}\n`;
}

/** Writes all files of a run into `dir`, which is made where it is missing. */
export async function writeResultFiles(run: RunResult, dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true });
    const config = `; ${disclaimer}\n${formatConfig(run.config)}`;
    await writeFile(join(dir, 'config.ini'), config);
    for (const result of run.phases) {
      await writeFile(join(dir, `${result.phase.name}.csv`), formatCsv(result));
    }
    await writeFile(join(dir, 'result.txt'), formatResult(run));
    await writeFile(join(dir, 'result_summary.txt'), formatSummary(run));
  } catch (error) {
    const because = error instanceof Error ? error.message : String(error);
    throw new SealfsError('FAILED', `result files: ${because}`, { cause: error });
  }
}
