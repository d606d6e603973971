/**
 * The preload library (docs/intercept.md) for programs that tests run. SEALFS_TEST_PRELOAD=LIBRARIES takes the place
 * of the built one: a build with sanitizers, behind their own library.
 */
import { readFileSync } from 'node:fs';
import { readReport, reportRows } from '../../src/cli/intercept-report.js';
import { preloadLibrary } from '../../src/native/preload.js';

/**
 * Variables of the environment of an intercepted program. Each path that can goes through shared memory: else the
 * kernel answers what it remembers. `report`: a file that each program adds its counts to when it ends.
 */
export function preloaded(report?: string): Record<string, string> {
  return {
    LD_PRELOAD: process.env['SEALFS_TEST_PRELOAD'] ?? preloadLibrary(),
    SEALFS_INTERCEPT_PATHS: 'always',
    ...(report === undefined ? {} : { SEALFS_INTERCEPT_REPORT: report }),
  };
}

/** Calls of this kind that the kernel was asked for because it always is, by a report. */
export function kernelCalls(report: string, call: string): number {
  const { programs } = readReport(readFileSync(report, 'utf8'));
  return programs.reduce((sum, { calls }) => sum + (calls[call]?.['4207'] ?? 0), 0);
}

/** Calls of this kind that were answered through shared memory, by a report. */
export function answeredCalls(report: string, call: string): number {
  const rows = reportRows(readReport(readFileSync(report, 'utf8')).programs);
  return Number(rows.find(([name]) => name === call)?.[1] ?? '0');
}
