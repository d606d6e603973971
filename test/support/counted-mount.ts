/** A mount in a process of its own that tells what it has been asked, and has asked (counting-mount.ts). */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('counting-mount.js', import.meta.url));

export interface MountCounts {
  /** To servers. */
  requests: number;
  /** The kernel's requests, by name. */
  operations: Record<string, number>;
}

export class CountedMount {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(url: string, dir: string): Promise<CountedMount> {
    mkdirSync(dir);
    const stdio = ['pipe', 'pipe', 'inherit'] as const;
    const child = spawn(process.execPath, [program, url, dir], { stdio: [...stdio] });
    const mount = new CountedMount(child);
    await mount.#line();
    return mount;
  }

  async #line(): Promise<string> {
    const [data] = (await once(this.#child.stdout!, 'data')) as [Buffer];
    return data.toString();
  }

  async counts(): Promise<MountCounts> {
    const line = this.#line();
    this.#child.stdin!.write('?\n');
    return JSON.parse(await line) as MountCounts;
  }

  /** Requests to servers that `run` costs. */
  async cost(run: () => unknown): Promise<number> {
    const before = await this.counts();
    await run();
    return (await this.counts()).requests - before.requests;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    await exited;
  }
}
