/**
 * A shell that was started before anything was mounted, and runs commands for this process. Needed
 * because a process that has files open on a FUSE mount cannot start another one while the mount's
 * servers are away: exec closes the copies of those files, and that waits for writes under way. What
 * brings the servers back would wait for them.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

export interface ShellResult {
  status: number;
  /** Standard output and error. */
  output: string;
}

// What it started and disowned (so that it says nothing about ends) ends with it.
const loop =
  "pids=; trap 'kill -KILL $pids 2> /dev/null' EXIT; " +
  'while IFS= read -r line; do eval "$line" 2>&1; echo "=== $?"; done';

class Shell {
  readonly #child: ChildProcess;
  #waiting: ((result: ShellResult) => void)[] = [];
  #output = '';

  constructor() {
    this.#child = spawn('bash', ['-c', loop], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdout!.on('data', (data: Buffer) => {
      this.#take(data.toString());
    });
    // Nobody is kept alive by it; it ends with its standard input.
    this.#child.unref();
    for (const stream of [this.#child.stdin!, this.#child.stdout!]) {
      (stream as unknown as { unref(): void }).unref();
    }
  }

  #take(text: string): void {
    this.#output += text;
    for (;;) {
      const match = /^=== (\d+)\n/m.exec(this.#output);
      if (match === null) return;
      const output = this.#output.slice(0, match.index);
      this.#output = this.#output.slice(match.index + match[0].length);
      this.#waiting.shift()?.({ status: Number(match[1]), output });
    }
  }

  /** Commands are run one after the other. */
  run(line: string): Promise<ShellResult> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#child.stdin!.write(`${line}\n`);
    });
  }
}

const shell = new Shell();

export function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Runs a command to its end and returns what it printed; rejects with its complaint. */
export async function run(...words: string[]): Promise<string> {
  const command = words.map(quote).join(' ');
  const { status, output } = await shell.run(command);
  if (status !== 0) throw new Error(`${words.join(' ')}: ${output.trim()}`);
  return output;
}

/** Starts a program in the background, its output appended to `log`; resolves to its process id. */
export async function start(words: string[], log: string): Promise<number> {
  const command = words.map(quote).join(' ');
  const { output } = await shell.run(
    `${command} < /dev/null >> ${quote(log)} 2>&1 & disown; pids="$pids $!"; echo $!`,
  );
  return Number(output);
}
