/** Programs of several users on a mount, intercepted or not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { TestCluster } from './cluster.js';
import { answeredCalls, kernelCalls, preloaded } from './preload.js';

/** Programs of the system, which all users may run. */
export const PATH = '/usr/bin:/bin:/usr/sbin:/sbin';

/** How root becomes each of them. */
export const USERS = {
  root: ['env'],
  'a user': ['setpriv', '--reuid=1000', '--regid=1000', '--groups=4242'],
  'the owner of files': ['setpriv', '--reuid=1001', '--regid=99', '--clear-groups'],
  'a root without rights': ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--clear-groups'],
} as Record<string, string[]>;

export class InterceptedUsers {
  /** For all users: the library, scripts, reports. */
  readonly shared: string;
  /** Of LD_PRELOAD. */
  readonly library: string;
  readonly #mount: string;
  readonly #reports: string;
  /** By kind of call. */
  readonly #counted = new Map<string, number>();

  constructor(cluster: TestCluster, mount: string) {
    this.#mount = mount;
    this.shared = join(cluster.dir, 'shared');
    this.#reports = join(this.shared, 'report');
    chmodSync(cluster.dir, 0o755);
    mkdirSync(this.shared);
    chmodSync(this.shared, 0o777);
    // What goes before it is the system's.
    const libraries = preloaded()['LD_PRELOAD']!.split(':');
    libraries.push(this.share(libraries.pop()!));
    this.library = libraries.join(':');
  }

  /** A copy of the file that everybody can read. */
  share(path: string): string {
    const copy = join(this.shared, basename(path));
    copyFileSync(path, copy);
    return copy;
  }

  /** To its end, without an error, in the root of the mount; returns what it printed. */
  run(intercepted: boolean, who: string, ...command: string[]): string {
    writeFileSync(this.#reports, '');
    // Who becomes another user goes on with it.
    chmodSync(this.#reports, 0o666);
    const preload = { ...preloaded(this.#reports), LD_PRELOAD: this.library };
    const [first = '', ...args] = [...USERS[who]!, ...command];
    const ended = spawnSync(first, args, {
      cwd: this.#mount,
      env: { ...process.env, PATH, ...(intercepted ? preload : {}) },
      encoding: 'utf8',
      timeout: 30_000,
    });
    assert.equal(ended.status, 0, `${command.join(' ')}: ${ended.stdout}${ended.stderr}`);
    return ended.stdout;
  }

  /**
   * The Python script at `path`, in a directory that it has prepared, prints the same through shared memory as through
   * the kernel.
   */
  assertSame(who: string, path: string, name: string, seed: string, steps: string): void {
    const script = this.share(path);
    this.share(join(dirname(path), 'intercept_random.py'));
    const outcome = (intercepted: boolean): string[] => {
      const directory = `${intercepted ? 'lanes' : 'kernel'}-${name}`;
      this.run(false, 'root', 'python3', script, 'prepare', directory);
      return this.run(intercepted, who, 'python3', script, directory, seed, steps).split('\n');
    };
    const expected = outcome(false);
    const lines = outcome(true);
    for (const [i, line] of lines.entries()) assert.equal(line, expected[i], `seed ${seed}`);
    assert.equal(lines.length, expected.length);
  }

  /** Adds the calls of these kinds in the last `run` that were answered through shared memory to those of earlier ones. */
  count(calls: readonly string[]): void {
    for (const call of calls) {
      this.#counted.set(call, (this.#counted.get(call) ?? 0) + this.answered(call));
    }
  }

  /** Each of these kinds has come through shared memory, to some user: what a user may do depends on the seed. */
  assertCounted(calls: readonly string[]): void {
    for (const call of calls) assert.ok((this.#counted.get(call) ?? 0) > 0, call);
  }

  /** Calls of this kind in the last `run` that were answered through shared memory. */
  answered(call: string): number {
    return answeredCalls(this.#reports, call);
  }

  /** Calls of this kind in the last `run` that are always the kernel's. */
  leftToKernel(call: string): number {
    return kernelCalls(this.#reports, call);
  }
}
