/**
 * A real cluster for end-to-end and fault tests: every process is started by the command line as
 * a user would, so that any of them can be killed and started again.
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/native/load.js';

/** The program of the build that this test belongs to: dist's as a user starts it, else its own. */
function programOf(): string {
  const root = packageRoot();
  const own = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
  return own.startsWith(join(root, 'dist/')) ? join(root, 'bin/sealfs.js') : own;
}

export const program = programOf();

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits until `condition` holds; fails with `what` after `timeoutMs`. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`);
    await sleep(50);
  }
}

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs `sealfs ARGS` to its end, at most a minute. */
export function sealfs(...args: string[]): Result {
  const run = spawnSync(process.execPath, [program, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status: run.status, stdout: run.stdout, stderr: run.stderr };
}

function mustSucceed(what: string, result: Result): Result {
  if (result.status !== 0) throw new Error(`${what}: status ${result.status}: ${result.stderr}`);
  return result;
}

export interface ClusterOptions {
  /** Entries of a directory that is split. */
  splitEntries?: number;
  servers?: number;
  targets?: number;
  /** Size of each server's data file, e.g. '64M'. */
  dataSize?: string;
  durability?: 'fsync' | 'commit';
}

interface Member {
  args: string[];
  log: string;
  process: ChildProcess | undefined;
}

export class TestCluster {
  readonly dir: string;
  readonly url: string;
  readonly members: Member[] = [];
  #manager: Member;
  #mounts: string[] = [];

  private constructor(dir: string, port: number) {
    this.dir = dir;
    this.url = `http://127.0.0.1:${port}`;
    const store = join(dir, 'manager');
    mkdirSync(store);
    this.#manager = {
      args: ['manager', '--listen', `127.0.0.1:${port}`, '--store', `lmdb:${store}`],
      log: join(dir, 'manager.log'),
      process: undefined,
    };
  }

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const dir = mkdtempSync(join(tmpdir(), 'sealfs-test-'));
    const cluster = new TestCluster(dir, await freePort());
    try {
      await cluster.#bringUp(options);
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  async #bringUp(options: ClusterOptions): Promise<void> {
    const { servers = 2, targets = 1, dataSize = '256M', durability = 'fsync' } = options;
    const { splitEntries = 8000 } = options;
    await this.startManager();
    for (let i = 0; i < servers; i++) {
      const meta = join(this.dir, `meta-${i}`);
      const data = join(this.dir, `data-${i}`);
      mkdirSync(meta);
      mkdirSync(data);
      this.members.push({
        args: ['server', '--manager', this.url, '--listen', '127.0.0.1:0', '--meta-dir', meta]
          .concat(['--data', `${data}:${dataSize}`, '--targets', `${targets}`])
          .concat(['--transport', 'tcp', '--durability', durability])
          .concat(['--split-entries', `${splitEntries}`]),
        log: join(this.dir, `server-${i}.log`),
        process: undefined,
      });
      this.startServer(i);
    }
    await until('all targets up', () => this.targetsUp() === servers * targets);
    mustSucceed('volume create', sealfs('volume', 'create', 'default', '--manager', this.url));
  }

  #start(member: Member, environment: NodeJS.ProcessEnv = {}): void {
    const log = openSync(member.log, 'a');
    const child = spawn(process.execPath, [program, ...member.args], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...environment },
    });
    closeSync(log);
    member.process = child;
    child.once('exit', () => {
      if (member.process === child) member.process = undefined;
    });
  }

  async startManager(): Promise<void> {
    this.#start(this.#manager);
    await until('the manager to answer', async () => {
      const answer = await fetch(`${this.url}/v1/status`).catch(() => undefined);
      return answer?.ok === true;
    });
  }

  /** `environment`: beside that of this process. */
  startServer(index: number, environment: NodeJS.ProcessEnv = {}): void {
    this.#start(this.members[index]!, environment);
  }

  isServerRunning(index: number): boolean {
    return this.members[index]!.process !== undefined;
  }

  /** Targets that the manager judges to be up. */
  targetsUp(): number {
    const result = sealfs('cluster', 'status', '--json', '--manager', this.url);
    if (result.status !== 0) return 0;
    const status = JSON.parse(result.stdout) as {
      servers: { state: string; targets: unknown[] }[];
    };
    return status.servers
      .filter((server) => server.state === 'up')
      .reduce((sum, server) => sum + server.targets.length, 0);
  }

  serverLog(index: number): string {
    return readFileSync(this.members[index]!.log, 'utf8');
  }

  serverPid(index: number): number {
    return this.members[index]!.process!.pid!;
  }

  async killServer(index: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    return TestCluster.#kill(this.members[index]!, signal);
  }

  async killManager(signal: NodeJS.Signals = 'SIGKILL'): Promise<number | null> {
    return TestCluster.#kill(this.#manager, signal);
  }

  static async #kill(member: Member, signal: NodeJS.Signals): Promise<number | null> {
    const child = member.process;
    if (child === undefined) return null;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }

  /** Mounts the volume and returns the mount point. */
  mount(name = 'mnt', options = 'coherence=leases'): string {
    const path = join(this.dir, name);
    if (!existsSync(path)) mkdirSync(path);
    mustSucceed('mount', sealfs('mount', 'default', path, '--manager', this.url, '-o', options));
    this.#mounts.push(path);
    return path;
  }

  unmount(path: string): void {
    mustSucceed('umount', sealfs('umount', path));
    this.#mounts = this.#mounts.filter((mounted) => mounted !== path);
  }

  /** Process of the mount at `path`. */
  mountPid(path: string): number {
    const found = spawnSync('pgrep', ['-f', `mount .*${path}( |$)`], { encoding: 'utf8' });
    const pids = found.stdout.trim().split('\n').map(Number);
    if (found.status !== 0 || pids.length === 0) throw new Error(`no mount process for ${path}`);
    return pids[0]!;
  }

  /** Forgets a mount whose process was killed, and clears its mount point. */
  abandonMount(path: string): void {
    spawnSync('fusermount3', ['-u', '-z', path]);
    this.#mounts = this.#mounts.filter((mounted) => mounted !== path);
  }

  async stop(): Promise<void> {
    for (const path of this.#mounts.splice(0)) {
      if (sealfs('umount', path).status !== 0) spawnSync('fusermount3', ['-u', '-z', path]);
    }
    for (const member of [...this.members, this.#manager]) {
      await TestCluster.#kill(member, 'SIGKILL');
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}
