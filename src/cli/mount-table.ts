/**
 * Mounts and mount points of this machine, read from /proc (proc(5): mountinfo, cmdline). Nothing
 * here touches the mounted file system itself, whose servers may be away, except checkMountPoint.
 */
import {
  existsSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { SealfsError, UsageError } from '../common/errors.js';

export interface MountEntry {
  mountPoint: string;
  fsType: string;
  source: string;
}

/** The mount that is seen at `path` (the topmost, if several are stacked), if it is one. */
export function findMount(path: string): MountEntry | undefined {
  return parseMountInfo(readFileSync('/proc/self/mountinfo', 'utf8'))
    .reverse()
    .find((entry) => entry.mountPoint === path);
}

/** `36 35 98:0 /root /mnt rw,… optional:fields - fstype source options`, blanks as octal. */
export function parseMountInfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const fields = line.split(' ');
    const dash = fields.indexOf('-', 6);
    if (dash < 0) continue;
    entries.push({
      mountPoint: unescapeOctal(fields[4]!),
      fsType: fields[dash + 1]!,
      source: unescapeOctal(fields[dash + 2] ?? ''),
    });
  }
  return entries;
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, octal: string) =>
    String.fromCharCode(parseInt(octal, 8)),
  );
}

export function isFuse(entry: MountEntry): boolean {
  return entry.fsType === 'fuse' || entry.fsType.startsWith('fuse.');
}

/**
 * The path as mountinfo has it: absolute, links followed. A mount at the path is not touched, since
 * it may not answer.
 */
export function resolveMountPoint(path: string): string {
  const absolute = resolve(path);
  const parent = dirname(absolute);
  if (!existsSync(parent)) return absolute;
  const place = resolve(realpathSync(parent), basename(absolute));
  if (findMount(place) !== undefined || !existsSync(place)) return place;
  return realpathSync(place);
}

/** Throws UsageError unless `path` is an empty directory that nothing is mounted on. */
export function checkMountPoint(path: string): void {
  const mounted = findMount(path);
  if (mounted !== undefined) {
    throw new UsageError(
      `${path} is already mounted (${mounted.source}); choose another directory, ` +
        `or first: sealfs umount ${path}`,
    );
  }
  let names: string[];
  try {
    if (!statSync(path).isDirectory()) {
      throw new UsageError(`the mount point ${path} is not a directory`);
    }
    names = readdirSync(path);
  } catch (error) {
    if (error instanceof SealfsError) throw error;
    throw new UsageError(mountPointProblem(path, error as NodeJS.ErrnoException), { cause: error });
  }
  if (names.length > 0) {
    throw new UsageError(`the mount point ${path} is not empty; mount on an empty directory`);
  }
}

function mountPointProblem(path: string, error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ENOENT':
      return `the mount point ${path} does not exist; make it first: mkdir -p ${path}`;
    case 'ENOTDIR':
      return `the mount point ${path} is not a directory`;
    case 'ENOTCONN':
      return `${path} is a mount whose process is gone; clear it first: sealfs umount ${path}`;
    default:
      return `the mount point ${path} cannot be read: ${error.code ?? error.message}`;
  }
}

/**
 * Processes that serve the mount at `mountPoint`, found by their arguments (`… mount VOLUME
 * MOUNTPOINT … -f`): no state file to go stale. Empty when there is none, or none that we may see.
 */
export function findMountProcesses(mountPoint: string): number[] {
  const pids: number[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      const at = args.indexOf('mount');
      const program = args.slice(0, Math.max(at, 0));
      if (!program.some((arg) => /\/(sealfs|main)(\.js)?$/.test(arg))) continue;
      if (!args.includes('-f') && !args.includes('--foreground')) continue;
      const folder = readlinkSync(`/proc/${pid}/cwd`);
      const rest = args.slice(at + 1).filter((arg) => arg !== '');
      if (rest.some((arg) => resolve(folder, arg) === mountPoint)) pids.push(pid);
    } catch (error) {
      // The process ended meanwhile, or belongs to somebody else.
      if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    }
  }
  return pids;
}

/** False once the process has ended, also when its parent has not collected it yet. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // pid (name) state …; the name may hold anything, so the state is found from the right.
    return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(')') + 1));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return false;
  }
}
