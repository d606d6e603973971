/**
 * The conformance tests' ground: a mount on a real cluster, and a directory of a local file system
 * beside it. A test runs the same script (native/posix: one system call a line) or shell commands
 * in a fresh directory of each and compares the answers line by line.
 *
 * All files of this folder share one cluster, started by the first and stopped after the last. Local
 * is the file system of the temporary directory, or SEALFS_POSIX_REFERENCE=DIRECTORY. The mount has the
 * options of SEALFS_POSIX_OPTIONS, for instance attr=0,entry=0; none by default. SEALFS_POSIX_FULL=1 runs what
 * takes minutes, too; SEALFS_POSIX_INTERCEPT=1 runs all of it under the preload library.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';
import { preloaded } from '../support/preload.js';

const RUN_TIMEOUT_MS = process.env['SEALFS_POSIX_FULL'] === undefined ? 50_000 : 280_000;

export interface ShellResult {
  status: number | null;
  output: string;
}

export class Places {
  readonly cluster: TestCluster;
  /** Mounted with the options that a user gets without asking. */
  readonly mount: string;
  readonly local: string;
  #count = 0;

  constructor(cluster: TestCluster, mount: string, local: string) {
    this.cluster = cluster;
    this.mount = mount;
    this.local = local;
  }

  /** A directory that everybody may enter and write to, of the same name in each place. */
  fresh(): { mount: string; local: string } {
    const name = `case-${++this.#count}`;
    const made = { mount: join(this.mount, name), local: join(this.local, name) };
    for (const path of [made.mount, made.local]) {
      mkdirSync(path);
      chmodSync(path, 0o777);
    }
    return made;
  }

  /**
   * Runs the script in both places; each line must be answered alike. A line "call  => answer" is
   * one where the mount differs on purpose (docs/client.md): that is its answer, and the other
   * place is not asked to agree. Returns the mount's answers, for tests that know them.
   */
  async compare(script: string): Promise<string[]> {
    return this.#compare(script, this.fresh());
  }

  /** The same against tmpfs, for what the local file system's own limits are too narrow for. */
  async compareInMemory(script: string): Promise<string[]> {
    const local = mkdtempSync(join('/dev/shm', 'sealfs-posix-'));
    chmodSync(local, 0o777);
    try {
      return await this.#compare(script, { mount: this.fresh().mount, local });
    } finally {
      spawnSync('rm', ['-rf', local]);
    }
  }

  async #compare(script: string, at: { mount: string; local: string }): Promise<string[]> {
    const { calls, answers } = parse(script);
    const [expected, actual] = await Promise.all([
      runScript(calls, at.local),
      runScript(calls, at.mount),
    ]);
    const wanted = expected.map((answer, i) => answers[i] ?? answer);
    check(calls, actual, wanted, 'mount', 'local');
    return actual;
  }

  /** Runs the script on the mount alone; lines like "call  => answer" are what must come. */
  async expect(script: string): Promise<void> {
    const { calls, answers } = parse(script);
    const actual = await runScript(calls, this.fresh().mount);
    const expected = actual.map((answer, i) => answers[i] ?? answer);
    check(calls, actual, expected, 'mount', 'wanted');
  }

  /** Runs shell commands in both places; what they print and how they end must be alike. */
  async compareShell(commands: string): Promise<string> {
    const { mount, local } = this.fresh();
    const [expected, actual] = await Promise.all([
      runShell(commands, local),
      runShell(commands, mount),
    ]);
    assert.deepEqual(actual, expected);
    return actual.output;
  }
}

/** Lines that are calls. */
function meaningful(script: string): string[] {
  const lines = script.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#'));
}

/** The calls of a script, and the answers that stand behind some of them. */
function parse(script: string): { calls: string[]; answers: (string | undefined)[] } {
  const lines = meaningful(script).map((line) => line.split(/\s+=> /));
  return { calls: lines.map(([call]) => call!), answers: lines.map(([, answer]) => answer) };
}

const SHOWN_MAX = 60;

/** Fails with the calls that were answered otherwise than they should be. */
function check(calls: string[], actual: string[], wanted: string[], who: string, as: string): void {
  assert.equal(actual.length, calls.length, 'each call has an answer');
  const wrong = calls.flatMap((call, i) =>
    actual[i] === wanted[i] ? [] : [`${call}\n    ${who}: ${actual[i]}\n    ${as}: ${wanted[i]}`],
  );
  const shown = wrong.slice(0, SHOWN_MAX).join('\n');
  assert.equal(wrong.length, 0, `${wrong.length} of ${calls.length} calls:\n${shown}`);
}

/** What it runs, it runs under the preload library (docs/intercept.md). */
export const isIntercepted = process.env['SEALFS_POSIX_INTERCEPT'] === '1';

function run(
  program: string,
  args: string[],
  cwd: string,
  input: string,
): Promise<{ status: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, LC_ALL: 'C', ...(isIntercepted ? preloaded() : {}) };
    const child = spawn(program, args, { cwd, env });
    const timer = setTimeout(() => child.kill('SIGKILL'), RUN_TIMEOUT_MS);
    let out = '';
    let err = '';
    child.stdout.on('data', (data: Buffer) => (out += data.toString('latin1')));
    child.stderr.on('data', (data: Buffer) => (err += data.toString('latin1')));
    child.once('error', reject);
    child.once('close', (status) => {
      clearTimeout(timer);
      resolve({ status, out, err });
    });
    child.stdin.end(input);
  });
}

/** The answers, one a call. */
export async function runScript(calls: string[], cwd: string): Promise<string[]> {
  const program = join(packageRoot(), 'build/Release/sealfs_posix');
  const { status, out, err } = await run(program, [], cwd, calls.join('\n'));
  const answers = out.split('\n').slice(0, -1);
  if (status === 0) return answers;
  const line = calls[answers.length] ?? 'the end';
  throw new Error(`${cwd}: at "${line}": ${err.trim() || `status ${status}`}`);
}

export async function runShell(commands: string, cwd: string): Promise<ShellResult> {
  const { status, out, err } = await run('bash', ['-c', `exec 2>&1; ${commands}`], cwd, '');
  return { status, output: out + err };
}

let started: Promise<Places> | undefined;
let local: string | undefined;

async function start(): Promise<Places> {
  const cluster = await TestCluster.start({ servers: 2, targets: 2 });
  try {
    const mount = cluster.mount('mnt', process.env['SEALFS_POSIX_OPTIONS'] ?? '');
    chmodSync(cluster.dir, 0o755);
    local = mkdtempSync(join(process.env['SEALFS_POSIX_REFERENCE'] ?? tmpdir(), 'sealfs-posix-'));
    chmodSync(local, 0o755);
    return new Places(cluster, mount, local);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** For `before` hooks: the shared ground. */
export function places(): Promise<Places> {
  started ??= start();
  return started;
}

after(async () => {
  const there = await started?.catch(() => undefined);
  await there?.cluster.stop();
  // rm copes with paths beyond PATH_MAX.
  if (local !== undefined) spawnSync('rm', ['-rf', local]);
});
