/** A command that this program runs in the foreground, as a shell would: its signals, its exit status. */
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';

const commandNotFound = 127;

/** Its exit status as a shell has it: 128 + signal if one ended it. */
export function endOfCommand(child: ChildProcess, program: string): Promise<number> {
  return new Promise((resolve) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'ENOENT' ? 'there is no such command' : error.message;
      process.stderr.write(`sealfs: ${program}: ${reason}\n`);
      resolve(commandNotFound);
    });
    child.once('exit', (code, signal) => {
      resolve(signal === null ? (code ?? 1) : 128 + constants.signals[signal]);
    });
  });
}

/** SIGINT, SIGTERM and SIGHUP, held until close: what was begun is always ended in order. */
export class Signals {
  readonly first: Promise<NodeJS.Signals>;
  private command: ChildProcess | undefined;
  private readonly handler: (name: NodeJS.Signals) => void;
  private count = 0;

  constructor() {
    let resolveFirst: (name: NodeJS.Signals) => void = () => undefined;
    this.first = new Promise((resolve) => {
      resolveFirst = resolve;
    });
    this.handler = (name) => {
      resolveFirst(name);
      this.count += 1;
      // A terminal has sent Ctrl-C to the command as well; whoever insists means it.
      const insists = this.count > 2;
      if (name === 'SIGINT' && process.stdin.isTTY && !insists) return;
      this.command?.kill(insists ? 'SIGKILL' : name);
    };
    for (const name of handled) process.on(name, this.handler);
  }

  forwardTo(command: ChildProcess): void {
    this.command = command;
  }

  close(): void {
    for (const name of handled) process.off(name, this.handler);
  }
}

const handled = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
