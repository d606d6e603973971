/**
 * Child processes that run this same program, and how each reports: one message over IPC, either
 * ready or its one error. Used by `sealfs mount` (a daemon that is let go) and `sealfs up`.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { SealfsError } from '../common/errors.js';
import { childEnvironment, childMessageSchema, selfCommand } from './lifetime.js';
import type { ChildRole } from './lifetime.js';

export interface ChildOptions {
  role: ChildRole;
  args: string[];
  /** File descriptor of its standard output and error; absent: dropped. */
  outputFd?: number | undefined;
  cwd?: string;
}

/** In a session of its own, so that Ctrl-C reaches its parent alone, which ends it in order. */
export function spawnSelf(options: ChildOptions): ChildProcess {
  const [program, script] = selfCommand();
  const output = options.outputFd ?? 'ignore';
  return spawn(program, [script, ...options.args], {
    detached: true,
    stdio: ['ignore', output, output, 'ipc'],
    env: childEnvironment(options.role),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
}

/**
 * Resolves with what the child says when ready. Rejects with the error that it reports, or with
 * what `lastWords` finds when it ends without a word.
 */
export function untilReady(
  child: ChildProcess,
  what: string,
  lastWords: () => string | undefined,
): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      reject(new SealfsError('FAILED', `${what} cannot be started: ${error.message}`));
    });
    child.once('message', (message) => {
      const parsed = childMessageSchema.safeParse(message);
      if (!parsed.success) {
        reject(new SealfsError('FAILED', `${what} reported something that is not understood`));
      } else if ('ready' in parsed.data) resolve(parsed.data.ready);
      else reject(new SealfsError(parsed.data.failed.code, parsed.data.failed.message));
    });
    // 'close' comes after the last message.
    child.once('close', (code, signal) => {
      reject(new SealfsError('FAILED', endOf(what, code, signal, lastWords())));
    });
  });
}

export function endOf(
  what: string,
  code: number | null,
  signal: NodeJS.Signals | null,
  lastWords: string | undefined,
): string {
  const how = signal === null ? `with status ${code ?? 0}` : `by ${signal}`;
  return `${what} ended ${how}${lastWords === undefined ? '' : `: ${lastWords}`}`;
}
