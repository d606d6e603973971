/**
 * Mount points: what must hold before a mount, said clearly, and taking a mount away. Control
 * plane. Nothing here touches a path below a mount that this thread serves.
 */
import { execFile } from 'node:child_process';
import { accessSync, constants, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve as resolvePath } from 'node:path';
import { getuid } from 'node:process';
import { fuseAddon } from './fuse-addon.js';
import { errno, errnoName } from '../common/errno.js';
import { SealfsError, UsageError } from '../common/errors.js';

function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Whether a file system is mounted at exactly this path, alive or dead. */
export function isMountPoint(path: string): boolean {
  return fuseAddon().mountedAt(path) !== '';
}

/**
 * The resolved path of an empty directory that nothing is mounted on; else throws UsageError saying
 * what is wrong and what would be right.
 */
export function checkMountPoint(path: string): string {
  try {
    const absolute = resolvePath(path);
    refuseMounted(join(realpathSync(dirname(absolute)), basename(absolute)));
    const resolved = realpathSync(path);
    refuseMounted(resolved);
    if (readdirSync(resolved).length > 0) {
      throw new UsageError(`mount point ${resolved} is not empty: an empty directory is needed`);
    }
    return resolved;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`mount point ${path} ${mountPointFault(errorCode(error))}`, {
      cause: error,
    });
  }
}

/**
 * Before anything touches the path itself: what is there may be a mount of this very thread, which
 * would wait for itself, or a dead one.
 */
function refuseMounted(path: string): void {
  if (!isMountPoint(path)) return;
  throw new UsageError(
    `something is mounted at ${path} already: choose another mount point, ` +
      `or take it away with "sealfs umount ${path}"`,
  );
}

function mountPointFault(code: string): string {
  if (code === 'ENOENT') return 'does not exist: create the directory first';
  if (code === 'ENOTDIR') return 'is not a directory';
  return `cannot be used: ${code}`;
}

/** Throws SealfsError UNSUPPORTED, saying how to mend it, when this machine cannot mount FUSE. */
export function checkFuseDevice(allowOther: boolean): void {
  try {
    accessSync('/dev/fuse', constants.R_OK | constants.W_OK);
  } catch (error) {
    const why =
      errorCode(error) === 'ENOENT'
        ? '/dev/fuse is missing: load the kernel module with "modprobe fuse" (in a container: --device /dev/fuse)'
        : `/dev/fuse cannot be opened (${errorCode(error)}): run as root, or have access to it granted`;
    throw new SealfsError('UNSUPPORTED', why, { cause: error });
  }
  if (!allowOther || getuid?.() === 0) return;
  let text = '';
  try {
    text = readFileSync('/etc/fuse.conf', 'utf8');
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  if (!/^\s*user_allow_other\s*$/m.test(text)) {
    throw new SealfsError(
      'UNSUPPORTED',
      'allow_other needs root, or the line user_allow_other in /etc/fuse.conf',
    );
  }
}

/**
 * Unmounts what is mounted at `path`; `lazy` also while it is in use (it goes away when the last
 * user does). Throws SealfsError BUSY, NOT_FOUND or FAILED. The calling thread stays free to serve.
 */
export async function unmountPath(path: string, lazy: boolean): Promise<void> {
  const status = await fuseAddon().unmount(path, lazy);
  if (status === 0) return;
  if (status === errno.EPERM) return unmountAsUser(path, lazy);
  if (status === errno.EBUSY) throw new SealfsError('BUSY', `${path} is in use`);
  if (status === errno.EINVAL || status === errno.ENOENT) {
    throw new SealfsError('NOT_FOUND', `nothing is mounted at ${path}`);
  }
  throw new SealfsError('FAILED', `unmounting ${path} failed: ${errnoName(status)}`);
}

/** Users other than root unmount through libfuse's set-user-ID helper. */
function unmountAsUser(path: string, lazy: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const flags = lazy ? ['-u', '-z'] : ['-u'];
    execFile('fusermount3', [...flags, '--', path], (error, _stdout, stderr) => {
      if (error === null) return resolve();
      const text = stderr.trim().replace(/^fusermount3?: /, '');
      if (/busy/i.test(text)) return reject(new SealfsError('BUSY', `${path} is in use`));
      if (/not found|not mounted/i.test(text)) {
        return reject(new SealfsError('NOT_FOUND', `nothing is mounted at ${path}`));
      }
      const why = text === '' ? error.message : text;
      reject(new SealfsError('FAILED', `unmounting ${path} failed: ${why}`, { cause: error }));
    });
  });
}
