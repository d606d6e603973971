/**
 * VOLUME:PATH as an argument: which volume, and which place in it. As with scp, a colon before the first slash
 * makes it one; ./a:b is a local path.
 */
import { UsageError } from '../common/errors.js';
import type { ManagerClient } from '../common/manager-client.js';
import type { OpenVolume } from '../client/files.js';
import type { TransportFlags } from './common-options.js';
import { checkVolumeName } from './mount-command.js';

export interface VolumePlace {
  volume: string;
  /** Absolute, without empty parts or a slash at its end (but for the root). */
  path: string;
}

/** Undefined: it is a local path. */
export function parsePlace(text: string): VolumePlace | undefined {
  const match = /^([^/:]*):(.*)$/s.exec(text);
  if (match === null) return undefined;
  const volume = match[1]!;
  checkVolumeName(volume);
  const parts = match[2]!.split('/').filter((part) => part !== '' && part !== '.');
  return { volume, path: `/${parts.join('/')}` };
}

/** For commands that work on volumes alone. */
export function requirePlace(text: string): VolumePlace {
  const place = parsePlace(text);
  if (place !== undefined) return place;
  throw new UsageError(
    `'${text}' is not a place in a volume; expected VOLUME:PATH such as scratch:/results`,
  );
}

/** As it is typed. */
export function placeText(volume: string, path: string): string {
  return `${volume}:${path}`;
}

/** Volumes that a command works on, each opened once. */
export class OpenVolumes {
  readonly #manager: ManagerClient;
  readonly #flags: TransportFlags;
  readonly #open = new Map<string, OpenVolume>();

  constructor(manager: ManagerClient, flags: TransportFlags) {
    this.#manager = manager;
    this.#flags = flags;
  }

  async get(name: string): Promise<OpenVolume> {
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const volume = await this.#manager.volume(name);
    const { openVolume } = await import('../client/files.js');
    const { transport, bind } = this.#flags;
    const managerUrl = this.#manager.url;
    const opened = await openVolume({ managerUrl, volume, transport, bind });
    this.#open.set(name, opened);
    return opened;
  }

  async close(): Promise<void> {
    for (const volume of this.#open.values()) await volume.close();
  }
}

/** What failed of many: a line for each on standard error, counted. */
export class Failures {
  count = 0;

  add(place: string, error: Error): void {
    this.count++;
    process.stderr.write(`sealfs: ${place}: ${reasonOf(error)}\n`);
  }
}

/** Without the system call and the path, which the line names already. */
export function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  const known = code === undefined ? undefined : reasons.get(code);
  return known ?? error.message.split('\n')[0]!;
}

const reasons = new Map([
  ['ENOENT', 'no such file or directory'],
  ['ENOTDIR', 'not a directory'],
  ['EISDIR', 'is a directory'],
  ['EEXIST', 'is there already'],
  ['ENOTEMPTY', 'directory is not empty'],
  ['ENOSPC', 'no space left'],
  ['EACCES', 'permission denied'],
  ['EPERM', 'operation not permitted'],
  ['ELOOP', 'too many symbolic links'],
  ['ENAMETOOLONG', 'name is too long'],
  ['EINVAL', 'not a name that can be'],
  ['EIO', 'I/O error'],
]);
