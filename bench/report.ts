/**
 * What every benchmark here returns: rows, each a figure beside the baseline or limit that was
 * measured in the same run on the same machine, and the ratio that the project holds itself to.
 */
import Table from 'cli-table3';

export interface Row {
  name: string;
  value: number;
  unit: string;
  /** What it is compared with, in the same unit; null where the reach is absolute. */
  baseline: number | null;
  /** value / baseline; null without one. */
  ratio: number | null;
  /** The aim, as text: '>= 0.8 x', '<= 1.6 x', '>= 1000000'. */
  reach: string;
  met: boolean;
}

export interface Report {
  rows: Row[];
}

/** Says on standard error what is measured now: some of it takes minutes. */
export function progress(what: string): void {
  if (process.stderr.isTTY) console.error(`bench: ${what}`);
}

/** Builds a row; every given condition must hold for it to be met. */
export function row(
  name: string,
  unit: string,
  value: number,
  aim: { baseline?: number; minRatio?: number; maxRatio?: number; min?: number; max?: number },
): Row {
  const baseline = aim.baseline ?? null;
  const ratio = baseline === null ? null : value / baseline;
  const parts: string[] = [];
  let met = true;
  const hold = (text: string, holds: boolean): void => {
    parts.push(text);
    met &&= holds;
  };
  if (aim.minRatio !== undefined) hold(`>= ${aim.minRatio} x`, (ratio ?? 0) >= aim.minRatio);
  if (aim.maxRatio !== undefined) hold(`<= ${aim.maxRatio} x`, (ratio ?? Infinity) <= aim.maxRatio);
  if (aim.min !== undefined) hold(`>= ${aim.min}`, value >= aim.min);
  if (aim.max !== undefined) hold(`<= ${aim.max}`, value <= aim.max);
  return { name, value, unit, baseline, ratio, reach: parts.join(' and '), met };
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/**
 * Takes several figures in turns, `rounds` times, and returns the median of each: what a shared
 * machine does meanwhile then falls on all of them alike.
 */
export async function alternate(
  rounds: number,
  measures: (() => number | Promise<number>)[],
): Promise<number[]> {
  const taken: number[][] = measures.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, measure] of measures.entries()) taken[i]!.push(await measure());
  }
  return taken.map(median);
}

function figure(value: number | null): string {
  if (value === null) return '-';
  if (value >= 1000) return Math.round(value).toString();
  return value.toPrecision(4);
}

export function printReport(report: Report, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(report));
    return;
  }
  const table = new Table({
    head: ['measure', 'value', 'unit', 'baseline', 'ratio', 'reach', 'met'],
    style: { head: [], border: [] },
  });
  for (const r of report.rows) {
    const ratio = r.ratio === null ? '-' : r.ratio.toFixed(2);
    const met = r.met ? 'yes' : 'no';
    table.push([r.name, figure(r.value), r.unit, figure(r.baseline), ratio, r.reach, met]);
  }
  console.log(table.toString());
}
