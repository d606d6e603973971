/**
 * Logging of every sealfs process: pino underneath, its level from SEALFS_LOG (default info).
 * A log file gets pino's JSON lines; standard error gets the same records as plain lines, since a
 * person or `sealfs up` reads them there. Both are written synchronously: a log line is rare, and
 * the last one before an exit is the one that matters.
 */
import { writeSync } from 'node:fs';
import { pino } from 'pino';
import { SealfsError, UsageError } from './errors.js';

export type Logger = pino.Logger;

export interface LoggerOptions {
  /** Appended to; standard error when absent. */
  file?: string | undefined;
  /** Overrides SEALFS_LOG. */
  level?: string | undefined;
  /** Keeps lines back from standard error; files get them at once. */
  hold?: LogHold | undefined;
}

/**
 * Keeps notes (info and below) back until a process has started, so that a failed start is its one
 * error line and nothing else. Warnings pass.
 */
export class LogHold {
  private held: string[] | undefined = [];

  write(json: string): void {
    const { level } = JSON.parse(json) as { level: number };
    if (this.held !== undefined && level < 40) this.held.push(json);
    else writePlainLine(json);
  }

  release(): void {
    for (const json of this.held ?? []) writePlainLine(json);
    this.held = undefined;
  }
}

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const levelNames: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warn',
  50: 'error',
  60: 'fatal',
};

/** `component` ('server', 'mount') begins every line. Throws if the file cannot be opened. */
export function createLogger(component: string, options: LoggerOptions = {}): Logger {
  const level = options.level ?? process.env['SEALFS_LOG'] ?? 'info';
  if (!(logLevels as readonly string[]).includes(level)) {
    throw new UsageError(
      `SEALFS_LOG: '${level}' is not a log level; expected one of ${logLevels.join(', ')}`,
    );
  }
  const settings: pino.LoggerOptions = { name: component, level, base: { pid: process.pid } };
  if (options.file === undefined) return pino(settings, options.hold ?? { write: writePlainLine });
  try {
    return pino(settings, pino.destination({ dest: options.file, sync: true }));
  } catch (error) {
    throw new SealfsError('FAILED', `cannot write the log file ${options.file}`, { cause: error });
  }
}

/** A logger that drops everything: for tests and tools. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

const recordKeys = new Set(['level', 'time', 'pid', 'name', 'msg', 'err']);

/** '2025-01-31T12:00:00.000Z info  server: registered (targets=2)' */
export function plainLine(json: string): string {
  const record = JSON.parse(json) as Record<string, unknown>;
  const level = (levelNames[Number(record['level'])] ?? 'info').padEnd(5);
  const time = new Date(Number(record['time'])).toISOString();
  const text = (value: unknown): string =>
    typeof value === 'string' ? value : JSON.stringify(value);
  const details = Object.entries(record)
    .filter(([key]) => !recordKeys.has(key))
    .map(([key, value]) => `${key}=${text(value)}`);
  const error = record['err'] as { message?: unknown } | undefined;
  if (error?.message !== undefined) details.push(`error=${text(error.message)}`);
  const suffix = details.length === 0 ? '' : ` (${details.join(' ')})`;
  return `${time} ${level} ${text(record['name'])}: ${text(record['msg'] ?? '')}${suffix}\n`;
}

function writePlainLine(json: string): void {
  try {
    writeSync(2, plainLine(json));
  } catch (error) {
    // Whoever read standard error is gone, or its pipe is full: no reason to end the process.
    droppedLines += error instanceof Error ? 1 : 0;
  }
}

let droppedLines = 0;

/** Lines that could not be written to standard error. */
export function droppedLogLines(): number {
  return droppedLines;
}
