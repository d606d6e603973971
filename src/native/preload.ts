/**
 * The preload library (native/intercept): where it lies, what starts a program with it, and which directories it can do
 * something for. docs/intercept.md.
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SealfsError } from '../common/errors.js';
import { nativeFolder } from './load.js';

/** Its path. Throws SealfsError UNSUPPORTED when it is not built. */
export function preloadLibrary(): string {
  const library = join(nativeFolder(), 'libsealfs_intercept.so');
  if (!existsSync(library)) {
    throw new SealfsError('UNSUPPORTED', `${library} is not built: run npm run build:native`);
  }
  return library;
}

/**
 * The socket that a mount offers to programs, as /proc/net/unix shows it: a name of the abstract name space, with the
 * device number of the mount (native/common/intercept_layout.h).
 */
function socketOf(device: bigint): string {
  // makedev(3)
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `@sealfs-intercept/${major}:${minor}`;
}

/** Whether a mount process answers intercepted programs for what lies in `directory`. */
export function offersInterception(directory: string): boolean {
  const { dev } = statSync(directory, { bigint: true });
  const sockets = readFileSync('/proc/net/unix', 'latin1').split('\n');
  return sockets.some((line) => line.endsWith(` ${socketOf(dev)}`));
}
