/** The IO500's arithmetic: rates of phases, geometric means, the total. */
import type { Phase } from './phases.js';

const bytesPerGiB = 2 ** 30;

/** GiB/s of bytes, or thousands of operations per second. */
export function rateOf(unit: Phase['unit'], amount: number, seconds: number): number {
  if (seconds <= 0) return 0;
  return amount / seconds / (unit === 'GiB/s' ? bytesPerGiB : 1000);
}

/** 0 when there is no value or one of them is 0, as a phase that was not run scores nothing. */
export function geometricMean(values: readonly number[]): number {
  if (values.length === 0 || values.some((value) => !(value > 0))) return 0;
  // Logarithms: the product of many large rates would overflow.
  const sum = values.reduce((total, value) => total + Math.log(value), 0);
  return Math.exp(sum / values.length);
}

export interface Score {
  /** GiB/s */
  bandwidth: number;
  /** kIOPS */
  metadata: number;
  total: number;
}

export function scoreOf(bandwidths: readonly number[], metadata: readonly number[]): Score {
  const bw = geometricMean(bandwidths);
  const md = geometricMean(metadata);
  return { bandwidth: bw, metadata: md, total: Math.sqrt(bw * md) };
}
