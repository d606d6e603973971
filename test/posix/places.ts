/**
 * The conformance tests' ground: a mount on a real cluster, and a directory of a local file system
 * beside it. A test runs the same script (native/posix: one system call a line) or shell commands
 * in a fresh directory of each and compares the answers line by line.
 *
 * All files of this folder share one cluster, started by the first and stopped after the last. Local
 * is the file system of the temporary directory, or SEALFS_POSIX_REFERENCE=DIRECTORY. The mount has the
 * options of SEALFS_POSIX_OPTIONS, for instance attr=0,entry=0; none by default.
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/native/load.js';
import { TestCluster } from '../support/cluster.js';

const RUN_TIMEOUT_MS = 50_000;

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
   * Runs the script in both places; each line must be answered alike. Returns the answers, for
   * tests that know them.
   */
  async compare(script: string): Promise<string[]> {
    const { mount, local } = this.fresh();
    const expected = await runScript(script, local);
    const actual = await runScript(script, mount);
    assert.equal(annotate(script, actual), annotate(script, expected), 'mount (+), local (-)');
    return actual;
  }

  /** Runs the script on the mount alone; lines like "call  => answer" are what must come. */
  async expect(script: string): Promise<void> {
    const lines = meaningful(script).map((line) => line.split(/\s*=> /));
    const calls = lines.map(([call]) => call!).join('\n');
    const actual = await runScript(calls, this.fresh().mount);
    const expected = lines.map(([, answer], i) => answer ?? actual[i]!);
    assert.equal(annotate(calls, actual), annotate(calls, expected), 'mount (+), expected (-)');
  }

  /** Runs shell commands in both places; what they print and how they end must be alike. */
  async compareShell(commands: string): Promise<string> {
    const { mount, local } = this.fresh();
    const expected = await runShell(commands, local);
    const actual = await runShell(commands, mount);
    assert.deepEqual(actual, expected);
    return actual.output;
  }
}

/** Lines that are calls. */
function meaningful(script: string): string[] {
  const lines = script.split('\n').map((line) => line.trim());
  return lines.filter((line) => line !== '' && !line.startsWith('#'));
}

function annotate(script: string, answers: string[]): string {
  return meaningful(script)
    .map((line, i) => `${line}  => ${answers[i] ?? '(no answer)'}`)
    .join('\n');
}

function run(
  program: string,
  args: string[],
  cwd: string,
  input: string,
): Promise<{ status: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd, env: { ...process.env, LC_ALL: 'C' } });
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
export async function runScript(script: string, cwd: string): Promise<string[]> {
  const program = join(packageRoot(), 'build/Release/sealfs_posix');
  const { status, out, err } = await run(program, [], cwd, script);
  const answers = out.split('\n').slice(0, -1);
  if (status === 0) return answers;
  const line = meaningful(script)[answers.length] ?? 'the end';
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
