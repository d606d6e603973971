/**
 * A cluster on two hosts: manager and servers on one, mounts on the other, each a process of the
 * command line that can be killed, stopped and started again. Starting a process is dear in the
 * emulated machine, so waiting asks the manager over HTTP and never by another process.
 */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync } from 'node:fs';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { selfCommand } from '../../src/cli/lifetime.js';
import { spawnSelf, untilReady } from '../../src/cli/children.js';
import { lastComplaint } from '../../src/cli/local-cluster.js';
import { ClientProcess } from '../../src/client/client-process.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import type { TargetStatus } from '../../src/common/manager-api.js';
import { freePort, sleep } from '../support/cluster.js';
import { clientAddress, inMachine, scaled, serverAddress, transport } from './hosts.js';
import type { TransportName } from './hosts.js';

export interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end without blocking this process; at most `timeoutMs`. */
export function runProgram(
  program: string,
  args: string[],
  options: { timeoutMs?: number; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<Outcome> {
  const { timeoutMs = scaled(30_000), env = process.env, cwd } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
    });
    const outcome: Outcome = { status: null, stdout: '', stderr: '' };
    child.stdout.on('data', (data: Buffer) => (outcome.stdout += data.toString()));
    child.stderr.on('data', (data: Buffer) => (outcome.stderr += data.toString()));
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(timer);
      resolve({ ...outcome, status });
    });
  });
}

/** Runs `sealfs ARGS`. */
export function sealfs(args: string[], timeoutMs?: number): Promise<Outcome> {
  const [program, script] = selfCommand();
  return runProgram(program, [script, ...args], timeoutMs === undefined ? {} : { timeoutMs });
}

/** Waits until `condition` holds; fails with `what` after `timeoutMs` (scaled here). */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 20_000,
): Promise<void> {
  const end = performance.now() + scaled(timeoutMs);
  while (!(await condition())) {
    if (performance.now() > end) {
      assert.fail(`timed out after ${scaled(timeoutMs) / 1000} s waiting for ${what}`);
    }
    await sleep(100);
  }
}

export interface ClusterOptions {
  servers?: number;
  /** Of the servers. */
  transport?: TransportName;
  dataSize?: string;
}

interface Member {
  name: string;
  args: string[];
  child: ChildProcess | undefined;
}

export interface MountOptions {
  transport?: TransportName;
  options?: string;
}

export interface MountedVolume {
  readonly path: string;
  readonly pid: number;
}

export class RdmaCluster {
  readonly dir: string;
  readonly url: string;
  readonly client: ManagerClient;
  readonly #logs: string;
  readonly #options: Required<ClusterOptions>;
  readonly #servers: Member[] = [];
  readonly #mounts = new Map<string, ChildProcess>();
  readonly #clients: ClientProcess[] = [];
  #manager: ChildProcess | undefined;

  private constructor(options: ClusterOptions, port: number) {
    this.dir = mkdtempSync(join(tmpdir(), 'sealfs-rdma-test-'));
    const out = process.env['SEALFS_MACHINE_OUT'];
    this.#logs = out === undefined ? this.dir : join(out, basename(this.dir));
    mkdirSync(this.#logs, { recursive: true });
    this.url = `http://127.0.0.1:${port}`;
    this.client = new ManagerClient(this.url);
    this.#options = { servers: 2, transport, dataSize: '256M', ...options };
  }

  static async start(options: ClusterOptions = {}): Promise<RdmaCluster> {
    const cluster = new RdmaCluster(options, await freePort());
    try {
      await cluster.#bringUp();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  async #bringUp(): Promise<void> {
    const store = join(this.dir, 'manager');
    mkdirSync(store);
    const listen = new URL(this.url).host;
    this.#manager = await this.#spawn('manager', [
      ...['manager', '--listen', listen, '--store', `lmdb:${store}`],
    ]);
    for (let index = 0; index < this.#options.servers; index++) this.#addServer(index);
    await Promise.all(this.#servers.map((_, index) => this.startServer(index)));
    await this.client.createVolume('default');
  }

  #addServer(index: number): void {
    const name = `server-${index}`;
    const [meta, data] = [join(this.dir, name, 'meta'), join(this.dir, name, 'data')];
    for (const folder of [meta, data]) mkdirSync(folder, { recursive: true });
    const args = ['server', '--manager', this.url, '--listen', `${serverAddress}:${7400 + index}`];
    args.push('--meta-dir', meta, '--data', `${data}:${this.#options.dataSize}`);
    args.push('--transport', this.#options.transport);
    this.#servers.push({ name, args, child: undefined });
  }

  /** In the machine below its shared folder, so that it is there however the machine ends. */
  logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** What the process `name` (manager, server-N, a mount's name) has logged. */
  log(name: string): string {
    return existsSync(this.logFile(name)) ? readFileSync(this.logFile(name), 'utf8') : '';
  }

  /** Resolves when the process says that it is ready; rejects with its one error. */
  async #spawn(name: string, args: string[]): Promise<ChildProcess> {
    const file = this.logFile(name);
    const outputFd = openSync(file, 'a');
    const size = this.log(name).length;
    const child = spawnSelf({ role: 'supervised', args, outputFd });
    closeSync(outputFd);
    await untilReady(child, name, () => (existsSync(file) ? lastComplaint(file, size) : undefined));
    return child;
  }

  async startServer(index: number): Promise<void> {
    const member = this.#servers[index]!;
    member.child = await this.#spawn(member.name, member.args);
  }

  #server(index: number): ChildProcess {
    const { child } = this.#servers[index]!;
    assert.ok(child !== undefined, `server ${index} is not running`);
    return child;
  }

  serverPid(index: number): number {
    return this.#server(index).pid!;
  }

  signalServer(index: number, signal: NodeJS.Signals): void {
    this.#server(index).kill(signal);
  }

  async killServer(index: number): Promise<void> {
    await killed(this.#server(index));
    this.#servers[index]!.child = undefined;
  }

  /** Mounts the volume, bound to the client's address, and resolves when it answers. */
  async mount(name: string, given: MountOptions = {}): Promise<MountedVolume> {
    const path = join(this.dir, name);
    if (!existsSync(path)) mkdirSync(path);
    const args = ['mount', 'default', path, '--manager', this.url, '-f'];
    args.push('--transport', given.transport ?? transport);
    args.push('-o', given.options ?? 'attr=0,entry=0');
    if (inMachine) args.push('--bind', clientAddress);
    const child = await this.#spawn(name, args);
    this.#mounts.set(path, child);
    return { path, pid: child.pid! };
  }

  /** A second client host's worth of client, in this process: no mount, and its counters in sight. */
  async join(by: TransportName = transport): Promise<ClientProcess> {
    const client = await ClientProcess.start({
      managerUrl: this.url,
      volume: await this.client.volume('default'),
      transport: by,
      sizeFreshMs: 0,
      ...(inMachine ? { bind: clientAddress } : {}),
    });
    this.#clients.push(client);
    return client;
  }

  async unmount(mounted: MountedVolume): Promise<void> {
    const outcome = await runProgram('fusermount3', ['-u', mounted.path]);
    assert.equal(outcome.status, 0, outcome.stderr);
    await this.#ended(mounted);
  }

  async killMount(mounted: MountedVolume): Promise<void> {
    await killed(this.#mounts.get(mounted.path));
    spawnSync('fusermount3', ['-u', '-z', mounted.path]);
    this.#mounts.delete(mounted.path);
  }

  async #ended(mounted: MountedVolume): Promise<void> {
    const child = this.#mounts.get(mounted.path)!;
    await until('the mount process to end', () => child.exitCode !== null);
    this.#mounts.delete(mounted.path);
  }

  async targets(): Promise<TargetStatus[]> {
    return (await this.client.servers()).flatMap((server) => server.targets);
  }

  /** A target counter (of the last heartbeat), one value a target. */
  async counter(name: string): Promise<number[]> {
    const answer = await fetch(`${this.url}/metrics`);
    const pattern = new RegExp(`^sealfs_target_counter\\{.*counter="${name}".*\\} (\\S+)$`, 'gm');
    return [...(await answer.text()).matchAll(pattern)].map((match) => Number(match[1]));
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const [path, child] of this.#mounts) {
      await killed(child);
      spawnSync('fusermount3', ['-u', '-z', path]);
    }
    for (const { child } of this.#servers) await killed(child);
    await killed(this.#manager);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

async function killed(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  // One that was stopped dies too, but a mount whose connection hangs may take its time.
  await ended;
}
