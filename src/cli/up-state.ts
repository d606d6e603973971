/** What `sealfs up` remembers in its directory, so that a second `up --dir` brings it back. */
import {
  accessSync,
  constants,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { makeDirectories } from '../common/directories.js';
import { SealfsError, UsageError } from '../common/errors.js';
import { describeIssues } from '../common/manager-api.js';
import { formatBytes } from '../common/sizes.js';

const stateSchema = z.strictObject({
  format: z.literal(1),
  servers: z.int().positive(),
  targets: z.int().positive(),
  dataBytes: z.int().positive(),
  managerPort: z.int().nonnegative(),
});
export type UpState = z.infer<typeof stateSchema>;

export interface UpWishes {
  servers?: number;
  targets?: number;
  dataBytes?: number;
}

const defaultServers = 1;
const defaultTargets = 1;
const maxDefaultDataBytes = 4 * 2 ** 30;
const minDataBytes = 64 * 2 ** 20;
/** Of the free space of the file system, over all servers. */
const defaultDataShare = 0.4;

/**
 * A directory for a cluster that is not kept. Below TMPDIR, else /var/tmp: that is a disk, where
 * /tmp may be memory without O_DIRECT.
 */
export function makeTemporaryDirectory(): string {
  let parent = process.env['TMPDIR'] ?? '/var/tmp';
  try {
    accessSync(parent, constants.W_OK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    parent = tmpdir();
  }
  return mkdtempSync(join(parent, 'sealfs-up-'));
}

const stateFile = (directory: string): string => join(directory, 'up.json');

/** The cluster of `directory` as it was, or as wished if it is new. */
export function prepareState(directory: string, wishes: UpWishes): UpState {
  const known = readState(directory);
  if (known === undefined) return newState(directory, wishes);
  for (const key of ['servers', 'targets', 'dataBytes'] as const) {
    const wish = wishes[key];
    if (wish === undefined || wish === known[key]) continue;
    const option = key === 'dataBytes' ? 'data-size' : key;
    throw new UsageError(
      `--${option}: the cluster in ${directory} has ${known[key]}, not ${wish}; ` +
        'leave the option out, or choose another --dir',
    );
  }
  return known;
}

function readState(directory: string): UpState | undefined {
  if (!existsSync(directory)) return undefined;
  if (!existsSync(stateFile(directory))) {
    if (namesIn(directory).length === 0) return undefined;
    throw new UsageError(
      `--dir: ${directory} is not empty and holds no cluster of sealfs; name an empty directory`,
    );
  }
  let state: unknown;
  try {
    state = JSON.parse(readFileSync(stateFile(directory), 'utf8'));
  } catch (error) {
    throw new SealfsError('CORRUPT', `${stateFile(directory)} is not readable`, { cause: error });
  }
  const result = stateSchema.safeParse(state);
  if (result.success) return result.data;
  throw new SealfsError('CORRUPT', `${stateFile(directory)}: ${describeIssues(result.error)}`);
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new UsageError(`--dir: ${directory} cannot be used: ${code}`, { cause: error });
  }
}

function newState(directory: string, wishes: UpWishes): UpState {
  try {
    makeDirectories(directory);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new UsageError(`--dir: ${directory} cannot be made: ${code}`, { cause: error });
  }
  const servers = wishes.servers ?? defaultServers;
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  const share = Math.min(maxDefaultDataBytes, (free * defaultDataShare) / servers);
  const dataBytes = wishes.dataBytes ?? Math.floor(share / 2 ** 20) * 2 ** 20;
  if (dataBytes < minDataBytes || dataBytes * servers > free) {
    throw new UsageError(
      `${directory} has ${formatBytes(free)} free, too little for ${servers} × ` +
        `${formatBytes(Math.max(dataBytes, minDataBytes))} of data; ` +
        'choose --dir on a larger disk, or a smaller --data-size',
    );
  }
  const targets = wishes.targets ?? defaultTargets;
  return { format: 1, servers, targets, dataBytes, managerPort: 0 };
}

/** Whole or not at all. */
export function writeState(directory: string, state: UpState): void {
  const temporary = `${stateFile(directory)}.new`;
  writeFileSync(temporary, `${JSON.stringify(state)}\n`);
  renameSync(temporary, stateFile(directory));
}
