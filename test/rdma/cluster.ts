/**
 * A cluster on two hosts: manager and servers on one, mounts on the other, each a process of the
 * command line that can be killed, stopped and started again. Starting a process is dear in the
 * emulated machine, so waiting asks the manager over HTTP and never by another process.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { selfCommand } from '../../src/cli/lifetime.js';
import { lastComplaint } from '../../src/cli/local-cluster.js';
import { isRunning } from '../../src/cli/mount-table.js';
import { ClientProcess } from '../../src/client/client-process.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import type { TargetStatus } from '../../src/common/manager-api.js';
import { freePort, sleep } from '../support/cluster.js';
import { clientAddress, inMachine, scaled, serverAddress, transport } from './hosts.js';
import type { TransportName } from './hosts.js';
import { run, start } from './shell.js';

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
  /** 0: not running. */
  pid: number;
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
  readonly #mounts = new Map<string, number>();
  readonly #clients: ClientProcess[] = [];
  #manager = 0;

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
    const args = ['manager', '--listen', listen, '--store', `lmdb:${store}`];
    this.#manager = await this.#start('manager', args, 'manager at');
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
    this.#servers.push({ name, args, pid: 0 });
  }

  /** In the machine below its shared folder, so that it is there however the machine ends. */
  logFile(name: string): string {
    return join(this.#logs, `${name}.log`);
  }

  /** What the process `name` (manager, server-N, a mount's name) has logged. */
  log(name: string): string {
    return existsSync(this.logFile(name)) ? readFileSync(this.logFile(name), 'utf8') : '';
  }

  /** The last lines of every log, for a failure to explain itself. */
  lastWords(): string {
    const names = readdirSync(this.#logs).filter((file) => file.endsWith('.log'));
    return names
      .map((file) => `-- ${file}\n${this.log(file.slice(0, -4)).split('\n').slice(-16).join('\n')}`)
      .join('');
  }

  /** Resolves to its process id when the process has logged `ready`; rejects with its complaint. */
  async #start(name: string, args: string[], ready: string): Promise<number> {
    const file = this.logFile(name);
    const before = this.log(name).length;
    const [program, script] = selfCommand();
    const pid = await start([program, script, ...args], file);
    await until(`${name}: ${ready}`, () => {
      if (this.log(name).slice(before).includes(ready)) return true;
      if (!isRunning(pid)) throw new Error(`${name} ended: ${lastComplaint(file, before)}`);
      return false;
    });
    return pid;
  }

  async startServer(index: number): Promise<void> {
    const member = this.#servers[index]!;
    member.pid = await this.#start(member.name, member.args, 'registered with');
  }

  signalServer(index: number, signal: NodeJS.Signals): void {
    const { pid } = this.#servers[index]!;
    // 0 would be this process and all of its group.
    assert.notEqual(pid, 0, `server ${index} is not running`);
    process.kill(pid, signal);
  }

  async killServer(index: number): Promise<void> {
    await killed(this.#servers[index]!.pid);
    this.#servers[index]!.pid = 0;
  }

  /** Mounts the volume, bound to the client's address, and resolves when it answers. */
  async mount(name: string, given: MountOptions = {}): Promise<MountedVolume> {
    const path = join(this.dir, name);
    if (!existsSync(path)) mkdirSync(path);
    const args = ['mount', 'default', path, '--manager', this.url, '-f'];
    args.push('--transport', given.transport ?? transport);
    args.push('-o', given.options ?? 'attr=0,entry=0');
    if (inMachine) args.push('--bind', clientAddress);
    const pid = await this.#start(name, args, 'mounted (');
    this.#mounts.set(path, pid);
    return { path, pid };
  }

  /** A second client host's worth of client, in this process: no mount, and its counters in sight. */
  async join(by: TransportName = transport): Promise<ClientProcess> {
    const client = await ClientProcess.start({
      managerUrl: this.url,
      volume: await this.client.volume('default'),
      transport: by,
      sizeFreshMs: 0,
      log: (line) => {
        appendFileSync(this.logFile('joined'), `${new Date().toISOString()} ${line}\n`);
      },
      ...(inMachine ? { bind: clientAddress } : {}),
    });
    this.#clients.push(client);
    return client;
  }

  async unmount({ path, pid }: MountedVolume): Promise<void> {
    await run('fusermount3', '-u', path);
    await until('the mount process to end', () => !isRunning(pid));
    this.#mounts.delete(path);
  }

  async killMount({ path, pid }: MountedVolume): Promise<void> {
    await killed(pid);
    await run('fusermount3', '-u', '-z', path);
    this.#mounts.delete(path);
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

  /** Both targets are up, and none has counted an error that no fault may cause. */
  async assertUnharmed(): Promise<void> {
    const targets = await this.targets();
    assert.deepEqual(
      targets.map(({ state }) => state),
      ['up', 'up'],
    );
    for (const name of [
      'arrivalChecksumErrors',
      'readChecksumErrors',
      'protocolErrors',
      'abortedTransactions',
    ]) {
      assert.deepEqual(await this.counter(name), [0, 0], `${name}${this.#refusals()}`);
    }
  }

  /** What the servers have said about connections that they closed. */
  #refusals(): string {
    const lines = this.#servers.flatMap(({ name }) => this.log(name).split('\n'));
    return lines
      .filter((line) => line.includes('closing the connection'))
      .map((line) => `\n  ${line}`)
      .join('');
  }

  /** Ends everything. */
  async stop(): Promise<void> {
    for (const client of this.#clients) await client.close();
    for (const [path, pid] of [...this.#mounts]) await this.killMount({ path, pid });
    for (const { pid } of this.#servers) await killed(pid);
    await killed(this.#manager);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Resolves when it has ended, however it stood. */
async function killed(pid: number): Promise<void> {
  if (pid === 0 || !isRunning(pid)) return;
  process.kill(pid, 'SIGKILL');
  await until(`process ${pid} to end`, () => !isRunning(pid));
}
