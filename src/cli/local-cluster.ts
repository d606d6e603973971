/**
 * A whole cluster on this machine, as child processes over loopback: what `sealfs up` starts and
 * takes down. State below one directory:
 *
 *   up.json        how many servers and targets, sizes, the manager's port
 *   manager/       the manager's store
 *   server-N/meta  server-N/data
 *   logs/NAME.log  what each process printed
 *
 * Processes stop when this one is gone, however it ended (see lifetime.ts).
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SealfsError } from '../common/errors.js';
import { ManagerClient } from '../common/manager-client.js';
import { endOf, spawnSelf, untilReady } from './children.js';
import { transportArgs } from './common-options.js';
import type { TransportFlags } from './common-options.js';
import { isRunning } from './mount-table.js';
import { formatAddress } from './option-values.js';
import { unmount } from './unmount.js';

export interface LocalClusterOptions {
  directory: string;
  servers: number;
  targets: number;
  dataBytes: number;
  /** Of the manager; taken if it is free, otherwise another. 0: any. */
  managerPort: number;
  transport: TransportFlags;
  /** Where servers listen. */
  host: string;
  /** Passed to every process, before its command (`--config FILE`). */
  globalArgs: string[];
  progress: (line: string) => void;
}

export const defaultVolume = 'default';
const registrationMs = 30_000;
const pollMs = 50;
const stopMs = 15_000;

export class LocalCluster {
  /** Resolves if a process ends that nobody told to. */
  readonly died: Promise<SealfsError>;
  private readonly options: LocalClusterOptions;
  private readonly servers: ChildProcess[] = [];
  private manager: ChildProcess | undefined;
  private mounted: { child: ChildProcess; path: string } | undefined;
  private url = '';
  private stopping = false;
  private reportDeath: (error: SealfsError) => void = () => undefined;

  constructor(options: LocalClusterOptions) {
    this.options = options;
    this.died = new Promise((resolve) => {
      this.reportDeath = resolve;
    });
  }

  get managerUrl(): string {
    return this.url;
  }

  /** Resolves when every target is up and the volume is there. */
  async start(): Promise<void> {
    mkdirSync(join(this.options.directory, 'logs'), { recursive: true });
    this.options.progress('starting the manager');
    await this.startManager();
    const { servers, targets } = this.options;
    this.options.progress(`starting ${count(servers, 'server')}, ${count(targets, 'target')} each`);
    await Promise.all(Array.from({ length: servers }, (_, index) => this.startServer(index)));
    const client = new ManagerClient(this.url);
    await this.untilRegistered(client);
    try {
      await client.volume(defaultVolume);
    } catch (error) {
      if (!(error instanceof SealfsError) || error.code !== 'NOT_FOUND') throw error;
      await client.createVolume(defaultVolume);
    }
  }

  private async startManager(): Promise<void> {
    const start = async (port: number): Promise<Record<string, unknown>> => {
      const store = `lmdb:${join(this.options.directory, 'manager')}`;
      const args = ['manager', '--listen', `127.0.0.1:${port}`, '--store', store];
      const started = this.spawn('manager', args);
      this.manager = started.child;
      return started.ready;
    };
    let ready: Record<string, unknown>;
    try {
      ready = await start(this.options.managerPort);
    } catch (error) {
      // The port of the last time belongs to somebody else now.
      const taken = error instanceof SealfsError && error.code === 'BUSY';
      if (!taken || this.options.managerPort === 0) throw error;
      ready = await start(0);
    }
    this.url = String(ready['url']);
  }

  private async startServer(index: number): Promise<void> {
    const { directory, targets, dataBytes, transport, host } = this.options;
    const name = `server-${index}`;
    const meta = join(directory, name, 'meta');
    const data = join(directory, name, 'data');
    for (const folder of [meta, data]) mkdirSync(folder, { recursive: true });
    const listen = formatAddress({ host, port: 0 });
    const args = ['server', '--manager', this.url, '--listen', listen, '--meta-dir', meta];
    args.push('--data', `${data}:${dataBytes}`, '--targets', `${targets}`);
    args.push(...transportArgs(transport));
    const { child, ready } = this.spawn(name, args);
    this.servers.push(child);
    await ready;
  }

  private async untilRegistered(client: ManagerClient): Promise<void> {
    const wanted = this.options.servers * this.options.targets;
    const end = performance.now() + registrationMs;
    let up = 0;
    while (performance.now() < end) {
      const targets = (await client.servers()).flatMap((server) => server.targets);
      up = targets.filter((target) => target.state === 'up').length;
      if (up >= wanted) return;
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
    throw new SealfsError(
      'FAILED',
      `${up} of ${wanted} targets registered within ${registrationMs / 1000} s`,
    );
  }

  /** Mounts the volume at `path`, an empty directory. */
  async mount(path: string): Promise<void> {
    this.options.progress(`mounting at ${path}`);
    const args = ['mount', defaultVolume, path, '--manager', this.url];
    args.push(...transportArgs(this.options.transport), '-f');
    const { child, ready } = this.spawn('mount', args);
    await ready;
    this.mounted = { child, path };
  }

  private spawn(
    name: string,
    args: string[],
  ): { child: ChildProcess; ready: Promise<Record<string, unknown>> } {
    if (this.stopping) throw new SealfsError('FAILED', 'the cluster is being stopped');
    const log = join(this.options.directory, 'logs', `${name}.log`);
    const outputFd = openSync(log, 'a');
    const { size } = fstatSync(outputFd);
    const lastWords = (): string | undefined => lastComplaint(log, size);
    const child = spawnSelf({
      role: 'supervised',
      args: [...this.options.globalArgs, ...args],
      outputFd,
    });
    closeSync(outputFd);
    const ready = untilReady(child, name, lastWords).catch((error: unknown) => {
      throw named(name, error);
    });
    void ready.then(
      () => {
        this.watchFor(name, child, lastWords);
      },
      // Whoever awaits `ready` reports it.
      () => undefined,
    );
    return { child, ready };
  }

  private watchFor(name: string, child: ChildProcess, lastWords: () => string | undefined): void {
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (this.stopping) return;
      this.reportDeath(new SealfsError('FAILED', endOf(name, code, signal, lastWords())));
    };
    if (child.exitCode !== null || child.signalCode !== null) {
      ended(child.exitCode, child.signalCode);
    } else child.once('exit', ended);
  }

  /** Unmounts, then stops servers, then the manager. Safe to call at any time, once. */
  async stop(): Promise<void> {
    this.stopping = true;
    if (this.mounted !== undefined && !hasEnded(this.mounted.child)) {
      await unmountAnyway(this.mounted.path);
      await stopProcess(this.mounted.child);
    }
    await Promise.all(this.servers.map(stopProcess));
    if (this.manager !== undefined) await stopProcess(this.manager);
  }
}

const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

/** Which process it was, unless the message says so already. */
function named(name: string, error: unknown): unknown {
  if (!(error instanceof SealfsError) || error.message.startsWith(name)) return error;
  return new SealfsError(error.code, `${name}: ${error.message}`, { cause: error });
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

async function unmountAnyway(path: string): Promise<void> {
  try {
    await unmount(path, { force: false });
  } catch (error) {
    // Somebody left files open; the cluster goes down all the same.
    if (!(error instanceof SealfsError) || error.code !== 'BUSY') return;
    await unmount(path, { force: true });
  }
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  child.kill('SIGTERM');
  const end = performance.now() + stopMs;
  while (!hasEnded(child) && isRunning(child.pid!)) {
    if (performance.now() > end) child.kill('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const tailBytes = 64 * 1024;

/** The last line after `position` that is no mere note of progress; undefined if there is none. */
export function lastComplaint(file: string, position: number): string | undefined {
  const tail = readFileSync(file).subarray(position).subarray(-tailBytes).toString('utf8');
  const line = tail
    .split('\n')
    .filter((text) => text.trim() !== '' && !/^\S+Z (trace|debug|info) /.test(text))
    .pop();
  return line?.trim().replace(/^sealfs: /, '');
}
