/**
 * How a command ends: exit status 0 only on success, 2 when what was typed is wrong (an option, a
 * path, a name), 1 for every other failure; either way one line on standard error that says what
 * was wrong and what would be right.
 */
import { CommanderError } from 'commander';
import type { ErrorCode } from '../common/errors.js';
import { SealfsError } from '../common/errors.js';

export const exitFailure = 1;
export const exitUsage = 2;

/** A command that has said everything already ends with this status. */
export class ExitStatus extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`exit status ${status}`);
    this.status = status;
  }
}

export interface Failure {
  status: number;
  /** Without the program's name; empty: nothing to say. */
  line: string;
}

export function describeFailure(error: unknown): Failure {
  if (error instanceof ExitStatus) return { status: error.status, line: '' };
  // --help and --version; completeErrors has made the others USAGE.
  if (error instanceof CommanderError) return { status: error.exitCode, line: '' };
  if (error instanceof SealfsError) {
    const named = error.code === 'USAGE' || error.code === 'NOT_FOUND' || error.code === 'EXISTS';
    return { status: named ? exitUsage : exitFailure, line: oneLine(error.message) };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { status: exitFailure, line: oneLine(message) };
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}

/** The same failure for the process that started this one, which reports it in our stead. */
export function describeForParent(error: unknown): { code: ErrorCode; message: string } {
  const { status, line } = describeFailure(error);
  if (error instanceof SealfsError) return { code: error.code, message: line };
  return { code: status === exitUsage ? 'USAGE' : 'FAILED', message: line };
}

/** Prints a failure as every command does; returns the exit status. */
export function reportFailure(error: unknown): number {
  const { status, line } = describeFailure(error);
  if (line !== '') process.stderr.write(`sealfs: ${line}\n`);
  if (status !== 0 && process.env['SEALFS_LOG'] === 'debug' && error instanceof Error) {
    process.stderr.write(`${error.stack ?? ''}\n`);
  }
  return status;
}
