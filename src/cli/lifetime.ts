/**
 * How long a process of sealfs runs, and how it tells its parent that it is ready.
 *
 * A process that `sealfs up` or `sealfs mount` started has an IPC channel to it: it sends one
 * message when it is ready, or its one error. A *supervised* process (a child of `up`) stops when
 * that channel closes, so that nothing outlives an `up` that was killed; a *daemon* (a mount) is
 * let go by its parent and lives on.
 */
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { ErrorCode } from '../common/errors.js';
import { httpStatusOfCode } from '../common/manager-api.js';

const roleVariable = 'SEALFS_CHILD';
export type ChildRole = 'supervised' | 'daemon';

const errorCodes = Object.keys(httpStatusOfCode) as [ErrorCode, ...ErrorCode[]];

/** What a child says once. */
export const childMessageSchema = z.union([
  z.object({ ready: z.record(z.string(), z.unknown()) }),
  z.object({ failed: z.object({ code: z.enum(errorCodes), message: z.string() }) }),
]);
export type ChildMessage = z.infer<typeof childMessageSchema>;

let role: ChildRole | undefined;

/** Called once at start, so that the variable does not reach children of our own. */
export function takeChildRole(): void {
  const value = process.env[roleVariable];
  delete process.env[roleVariable];
  if (process.send === undefined) return;
  if (value === 'supervised' || value === 'daemon') role = value;
  // The channel alone must not keep a process alive that has nothing else to do.
  process.channel?.unref();
}

export function childEnvironment(of: ChildRole): NodeJS.ProcessEnv {
  return { ...process.env, [roleVariable]: of };
}

/** Program and first argument that start this very build of sealfs again. */
export function selfCommand(): [string, string] {
  return [process.execPath, fileURLToPath(new URL('./main.js', import.meta.url))];
}

export function hasParent(): boolean {
  return role !== undefined;
}

/** Resolves when the message is out (or the parent is gone). */
export async function tellParent(message: ChildMessage): Promise<void> {
  if (role === undefined || !process.connected) return;
  await new Promise<void>((resolve) => {
    process.send!(message, () => {
      resolve();
    });
  });
  if (role === 'daemon' && process.connected) process.disconnect();
}

/** Resolves with the reason on SIGINT, SIGTERM or SIGHUP, or when a supervising parent is gone. */
export function untilAskedToStop(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.once(signal, () => {
        resolve(signal);
      });
    }
    if (role !== 'supervised') return;
    const gone = 'the process that started this one is gone';
    if (!process.connected) resolve(gone);
    process.once('disconnect', () => {
      resolve(gone);
    });
    process.channel?.ref();
  });
}
