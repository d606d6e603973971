/**
 * The ground of the programs' tests: one cluster of two servers with two targets each, mounted twice,
 * and a local directory beside it. All programs*.test and fsx.test files share it: the first starts it;
 * after the last its servers are killed, and what they leave is checked as `sealfs fsck` does.
 * SEALFS_PROGRAM_ROUNDS says how long the tests are: 1 seconds each, 2 minutes.
 * SEALFS_PROGRAMS_INTERCEPT=1: under the preload library (docs/intercept.md).
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { TestCluster } from '../support/cluster.js';
import { assertKilledClean } from '../support/fsck.js';
import { preloaded } from '../support/preload.js';

export const rounds = Number(process.env['SEALFS_PROGRAM_ROUNDS'] ?? '1');
const isIntercepted = process.env['SEALFS_PROGRAMS_INTERCEPT'] === '1';
const preload = isIntercepted ? preloaded() : {};

export interface Ground {
  readonly cluster: TestCluster;
  /** Mounted as a user would, for all users of the machine. */
  readonly mount: string;
  /** The same volume once more, nothing remembered by the kernel. */
  readonly other: string;
  readonly local: string;
}

async function start(): Promise<Ground> {
  const cluster = await TestCluster.start({
    servers: 2,
    targets: 2,
    dataSize: rounds > 1 ? '6G' : '2G',
  });
  try {
    // Other users must reach what lies below, PostgreSQL's above all.
    chmodSync(cluster.dir, 0o755);
    const everybody = process.getuid?.() === 0 ? ',allow_other' : '';
    // Interception needs leases.
    const remembers = isIntercepted ? 'coherence=leases' : 'attr=1,entry=1';
    const mount = cluster.mount('mnt', `${remembers}${everybody}`);
    const other = cluster.mount('other', 'attr=0,entry=0');
    const local = join(cluster.dir, 'local');
    mkdirSync(local);
    return { cluster, mount, other, local };
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

let started: Promise<Ground> | undefined;

/** For `before` hooks: the shared ground. */
export function ground(): Promise<Ground> {
  started ??= start();
  return started;
}

after(async function () {
  this.timeout(60_000 + rounds * 10_000);
  const there = await started?.catch(() => undefined);
  if (there === undefined) return;
  // Whatever the programs did, and whichever of them and of the servers were killed meanwhile.
  await assertKilledClean(there.cluster).finally(() => there.cluster.stop());
});

/** Fails, with what to do, unless all of these programs are there. */
export function needs(...programs: string[]): void {
  const missing = programs.filter((name) => spawnSync('which', [name]).status !== 0);
  if (missing.length === 0) return;
  throw new Error(`not installed: ${missing.join(', ')}; bash ci/setup.sh test installs it`);
}

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

export interface Running {
  child: ChildProcess;
  /** Resolves when the program has ended and its output is complete; never rejects once started. */
  ended: Promise<Ended>;
  /** What it has printed so far, and what of that as errors. */
  out(): string;
  err(): string;
}

export interface StartOptions {
  cwd?: string;
  uid?: number;
  gid?: number;
  env?: NodeJS.ProcessEnv;
  /** Fed to its standard input. */
  input?: string;
  /** It is killed after this time; a minute by default. */
  timeoutMs?: number;
}

export function startProgram(program: string, args: string[], options: StartOptions = {}): Running {
  const { input, timeoutMs = 60_000, ...rest } = options;
  const env = { ...(rest.env ?? process.env), ...preload };
  const child = spawn(program, args, { ...rest, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (data: Buffer) => (out += data.toString()));
  child.stderr.on('data', (data: Buffer) => (err += data.toString()));
  // A program that is killed no longer reads what it is fed.
  child.stdin.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'ECONNRESET') err += `stdin: ${error.message}\n`;
  });
  child.stdin.end(input ?? '');
  const timer = setTimeout(() => {
    err += `killed after ${timeoutMs} ms\n`;
    child.kill('SIGKILL');
  }, timeoutMs);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      clearTimeout(timer);
      resolve({ status, signal, out, err });
    });
  });
  return { child, ended, out: () => out, err: () => err };
}

/** Runs the commands with bash (-euo pipefail) in `cwd`; what they print, or an error that tells all. */
export async function run(
  cwd: string,
  commands: string,
  options: StartOptions = {},
): Promise<string> {
  const args = ['-c', `set -euo pipefail; ${commands}`];
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC', ...options.env };
  const { status, signal, out, err } = await startProgram('bash', args, { cwd, ...options, env })
    .ended;
  if (status === 0) return out;
  const last = `${out.slice(-2000)}\n${err.slice(-4000)}`.trim();
  throw new Error(`${commands}\n${signal ?? `status ${status}`}: ${last}`);
}
