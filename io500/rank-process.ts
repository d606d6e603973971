/**
 * One rank: a `sealfs_rank serve` process and its lines. Owns the process until `stop`.
 */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SealfsError } from '../src/common/errors.js';
import { withPreload } from '../src/common/preload.js';

/** How long a killed rank may take to die; one stuck in a dead mount is then left behind. */
const killWaitMs = 5000;

/** The nearest folder above this file that holds `name`: the checkout, for package.json. */
function folderWith(name: string): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, name)) && folder !== dirname(folder)) folder = dirname(folder);
  return folder;
}

export function findUp(name: string): string {
  return join(folderWith(name), name);
}

/** Where the build puts the program. */
export function findRankBinary(): string {
  const path = join(folderWith('package.json'), 'build', 'Release', 'sealfs_rank');
  if (!existsSync(path)) {
    throw new SealfsError('UNSUPPORTED', `${path} is missing: run 'npm run build:native'`);
  }
  return path;
}

export interface RankIdentity {
  rank: number;
  np: number;
  seed: number;
  /** Absolute path of the data directory. */
  dir: string;
  /** A library that it is started with. */
  preload: string | undefined;
}

/** Called for every line, and once with undefined when the process is gone, with the reason. */
export type LineHandler = (rank: number, line: string | undefined, reason: string) => void;

export class RankProcess {
  readonly rank: number;
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly handler: LineHandler;
  private readonly gone: Promise<void>;
  private pending = '';
  private complaint = '';

  constructor(binary: string, identity: RankIdentity, handler: LineHandler) {
    this.rank = identity.rank;
    this.handler = handler;
    const words = [identity.rank, identity.np, identity.seed].map(String);
    const { dir, preload } = identity;
    const env = preload === undefined ? {} : { LD_PRELOAD: withPreload(preload) };
    this.child = spawn(binary, ['serve', ...words, dir], { env: { ...process.env, ...env } });
    this.child.stdout.setEncoding('utf8').on('data', (text: string) => this.onText(text));
    this.child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.complaint = (this.complaint + text).slice(-1000);
    });
    // Writing to a rank that is gone: its end is reported by 'close'.
    this.child.stdin.on('error', (error) => (this.complaint ||= error.message));
    this.gone = new Promise((resolve) => {
      this.child.on('error', (error) => (this.complaint ||= error.message));
      this.child.on('close', (code, signal) => {
        const how = signal === null ? `exited with status ${code}` : `was ended by ${signal}`;
        const why = this.complaint.trim();
        this.handler(this.rank, undefined, why === '' ? how : `${how}: ${why}`);
        resolve();
      });
    });
  }

  send(line: string): void {
    this.child.stdin.write(`${line}\n`);
  }

  /** Ends the process: asked to when `gently`, killed otherwise. False: it would not die. */
  async stop(gently: boolean): Promise<boolean> {
    if (gently) this.child.stdin.end('quit\n');
    else this.child.kill('SIGKILL');
    if (await this.goneWithin(killWaitMs)) return true;
    this.child.kill('SIGKILL');
    if (await this.goneWithin(killWaitMs)) return true;
    this.child.unref();
    return false;
  }

  private goneWithin(milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), milliseconds);
      void this.gone.then(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
  }

  private onText(text: string): void {
    const lines = (this.pending + text).split('\n');
    this.pending = lines.pop()!;
    for (const line of lines) this.handler(this.rank, line, '');
  }
}
