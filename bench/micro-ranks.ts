/**
 * The load of the FUSE benches: N processes of `sealfs_rank` in a micro mode on one directory, and
 * the rate of all of them together. The modes are described in docs/io500.md.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { nativeProgram } from './processes.js';

export type MicroMode =
  | 'stat'
  | 'create-close'
  | 'open-close'
  | 'unlink'
  | 'lookup'
  | 'seq-write'
  | 'seq-read'
  | 'small-read'
  | 'small-write';

export interface MicroOptions {
  mode: MicroMode;
  /** An existing directory; the processes work in a new one below it, removed at the end. */
  dir: string;
  processes: number;
  seconds: number;
  /** Most operations of one process; without it only the time ends them. */
  count?: number;
  /** stat, open-close, unlink, lookup: how many files each process has. 1000 by default. */
  files?: number;
  /** seq-*: length of each process's file. 256 MiB by default. */
  bytes?: number;
  /** O_DIRECT in seq-*. */
  direct?: boolean;
  /** Beside this process's own. */
  environment?: NodeJS.ProcessEnv;
  /** All processes in one directory, instead of one each. */
  shared?: boolean;
}

export interface MicroResult {
  mode: MicroMode;
  processes: number;
  /** Of all processes: files, or transfers of 1 MiB. */
  operations: number;
  /** From the first process's start to the last one's end. */
  seconds: number;
  /** operations/s, or bytes/s for seq-*. */
  rate: number;
  unit: 'operations/s' | 'bytes/s';
}

/** Rejects with the program's own line when any of the processes fails. */
export async function runMicroRanks(options: MicroOptions): Promise<MicroResult> {
  const words: string[] = [options.mode, '--dir', options.dir];
  words.push('--processes', String(options.processes), '--seconds', String(options.seconds));
  if (options.count !== undefined) words.push('--count', String(options.count));
  if (options.files !== undefined) words.push('--files', String(options.files));
  if (options.bytes !== undefined) words.push('--bytes', String(options.bytes));
  if (options.direct === true) words.push('--direct');
  if (options.shared === true) words.push('--shared');
  try {
    const env = { ...process.env, ...options.environment };
    const { stdout } = await promisify(execFile)(nativeProgram('sealfs_rank'), words, { env });
    return JSON.parse(stdout) as MicroResult;
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() ?? '';
    throw said === '' ? error : new Error(said, { cause: error });
  }
}
