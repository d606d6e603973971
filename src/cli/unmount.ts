/**
 * Unmounting that always works. A FUSE mount whose servers are gone has callers that wait for ever
 * and keep it busy; then it is detached (umount2's MNT_DETACH), and ending its process fails the
 * waiting calls. A mount that is merely in use is refused, as umount(8) does.
 */
import { execFile } from 'node:child_process';
import { SealfsError, UsageError } from '../common/errors.js';
import { findMount, findMountProcesses, isFuse, isRunning } from './mount-table.js';

const probeMs = 3000;
const endOfProcessMs = 10_000;
const endAfterTermMs = 5000;

export interface UnmountOptions {
  /** Detach even if files are open. */
  force: boolean;
}

/** Returns when the mount is gone and its process has ended. */
export async function unmount(mountPoint: string, options: UnmountOptions): Promise<void> {
  const entry = findMount(mountPoint);
  if (entry === undefined) {
    throw new UsageError(`${mountPoint} is not a mount point; see: findmnt -t fuse.sealfs`);
  }
  if (!isFuse(entry)) {
    throw new UsageError(`${mountPoint} is a mount of ${entry.fsType}, not of sealfs`);
  }
  const processes = findMountProcesses(mountPoint);
  let detached = options.force;
  if (options.force) await detach(mountPoint);
  else {
    const refused = await run(['fusermount3', '-u'], mountPoint);
    if (refused !== undefined) {
      const busy = /busy/i.test(refused);
      if (!busy && findMount(mountPoint) !== undefined) throw failed(mountPoint, refused);
      if (busy && (await answers(mountPoint))) {
        throw new SealfsError(
          'BUSY',
          `${mountPoint} is in use; close what uses it (lsof ${mountPoint}), or add --force`,
        );
      }
      detached = true;
      await detach(mountPoint);
    }
  }
  for (const pid of processes) await waitForEnd(pid, detached);
}

/** Takes the mount out of sight; whoever has files open keeps them until its process ends. */
export async function detach(mountPoint: string): Promise<void> {
  const problem = await run(detachCommand, mountPoint);
  if (problem !== undefined && findMount(mountPoint) !== undefined) {
    throw failed(mountPoint, problem);
  }
}

const detachCommand = ['fusermount3', '-u', '-z'];

function failed(mountPoint: string, reason: string): SealfsError {
  return new SealfsError('FAILED', `${mountPoint} cannot be unmounted: ${reason}`);
}

/** The command's complaint; undefined if it succeeded. */
function run(command: readonly string[], mountPoint: string): Promise<string | undefined> {
  const [program, ...args] = command;
  return new Promise((resolve) => {
    execFile(program!, [...args, '--', mountPoint], (error, _stdout, stderr) => {
      if (error === null) resolve(undefined);
      else if ('code' in error && error.code === 'ENOENT') {
        resolve(`${program!} is not installed (Debian: apt-get install fuse3)`);
      } else resolve(stderr.trim() === '' ? error.message : stderr.trim());
    });
  });
}

/** Whether a request through the mount comes back: a process of its own asks, since it may hang. */
function answers(mountPoint: string): Promise<boolean> {
  return new Promise((resolve) => {
    const child = execFile('stat', ['-f', '--', mountPoint], (error) => {
      clearTimeout(timer);
      resolve(error === null);
    });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      resolve(false);
    }, probeMs);
  });
}

async function waitForEnd(pid: number, detached: boolean): Promise<void> {
  // A detached mount lives until its last user leaves; those that wait for servers never would.
  if (detached) signal(pid, 'SIGTERM');
  if (await ended(pid, detached ? endAfterTermMs : endOfProcessMs)) return;
  if (!detached) {
    signal(pid, 'SIGTERM');
    if (await ended(pid, endAfterTermMs)) return;
  }
  signal(pid, 'SIGKILL');
  if (await ended(pid, endAfterTermMs)) return;
  throw new SealfsError('FAILED', `unmounted, but the mount process ${pid} does not end`);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ESRCH' && code !== 'EPERM') throw error;
  }
}

async function ended(pid: number, timeoutMs: number): Promise<boolean> {
  const end = performance.now() + timeoutMs;
  while (isRunning(pid)) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
