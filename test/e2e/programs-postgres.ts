/**
 * A PostgreSQL cluster in a directory of the mount: initdb, start, pgbench, kill -9, start again. It
 * refuses to run as root, so for root it runs as the user that its package makes.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/cluster.js';
import { startProgram } from './programs-ground.js';
import type { Ended, Running } from './programs-ground.js';

const packages = '/usr/lib/postgresql';

function programsOf(): string {
  const versions = existsSync(packages) ? readdirSync(packages).map(Number) : [];
  const bin = join(packages, `${Math.max(...versions)}`, 'bin');
  if (versions.length > 0 && existsSync(join(bin, 'initdb'))) return bin;
  throw new Error('not installed: postgresql; bash ci/setup.sh test installs it');
}

function identity(): { uid?: number; gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const ask = (flag: string): number =>
    Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }));
  return { uid: ask('-u'), gid: ask('-g') };
}

export interface BenchResult extends Ended {
  /** Transactions that clients were told are committed. */
  transactions: number;
}

export class Postgres {
  readonly directory: string;
  readonly #bin = programsOf();
  readonly #identity = identity();
  readonly #sockets: string;
  #server: Running | undefined;
  #log = '';

  private constructor(directory: string, scratch: string) {
    this.directory = directory;
    this.#sockets = join(scratch, 'pg');
  }

  /** initdb in `directory`; sockets go to `scratch`, which is short: a socket's path is 107 bytes at most. */
  static async create(directory: string, scratch: string): Promise<Postgres> {
    const postgres = new Postgres(directory, scratch);
    for (const path of [directory, postgres.#sockets]) {
      mkdirSync(path, { mode: 0o700 });
      const { uid, gid } = postgres.#identity;
      if (uid !== undefined && gid !== undefined) chownSync(path, uid, gid);
    }
    const options = ['-k', '-A', 'trust', '-U', 'postgres', '--no-instructions', '--locale=C'];
    await postgres.command('initdb', ...options, '-D', directory);
    return postgres;
  }

  #run(program: string, args: string[], timeoutMs: number): Running {
    // Not what the caller's environment says of other servers.
    const env = {
      PATH: process.env['PATH'],
      LC_ALL: 'C',
      PGHOST: this.#sockets,
      PGUSER: 'postgres',
    };
    const options = { cwd: '/', env, timeoutMs, ...this.#identity };
    return startProgram(join(this.#bin, program), args, options);
  }

  /** One of its programs, to its end; what it printed. */
  async command(program: string, ...args: string[]): Promise<string> {
    const { status, out, err } = await this.#run(program, args, 120_000).ended;
    assert.equal(status, 0, `${program} ${args.join(' ')}: ${out}${err}`);
    return out;
  }

  /** One value. */
  async query(sql: string): Promise<string> {
    return (await this.command('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql)).trim();
  }

  #launch(): Running {
    // Small logs and few buffers: checkpoints and evictions happen under way, as they would in hours.
    const settings = ['shared_buffers=16MB', 'max_wal_size=64MB', 'checkpoint_timeout=30s'];
    const options = ['listen_addresses=', 'log_checkpoints=on', ...settings];
    const more = options.flatMap((option) => ['-c', option]);
    const args = ['-D', this.directory, '-k', this.#sockets, ...more];
    const server = this.#run('postgres', args, 1_200_000);
    void server.ended.then(({ err }) => {
      if (this.#server !== server) return;
      this.#log = err;
      this.#server = undefined;
    });
    return server;
  }

  /** Starts it, and waits until it has recovered. */
  async start(): Promise<void> {
    await until('PostgreSQL to serve', async () => {
      // After a kill its children may live a moment longer; it refuses to start beside them.
      this.#server ??= this.#launch();
      return (await this.#run('pg_isready', ['-q'], 5000).ended).status === 0;
    });
  }

  /** What the server that runs, or the last one that ran, has logged. */
  log(): string {
    return this.#server?.err() ?? this.#log;
  }

  /** kill -9 of the postmaster; its children notice and end. */
  async kill(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    server?.child.kill('SIGKILL');
    await server?.ended;
  }

  /** A clean shutdown. */
  async stop(): Promise<void> {
    const server = this.#server;
    server?.child.kill('SIGINT');
    const ended = await server?.ended;
    assert.equal(ended?.status, 0, ended?.err);
  }

  /** pgbench's own mix, four clients, for so many seconds or until the server dies. */
  async bench(seconds: number): Promise<BenchResult> {
    const args = ['-n', '-c', '4', '-j', '2', '-T', `${seconds}`];
    const ended = await this.#run('pgbench', args, 60_000 + seconds * 1000).ended;
    const counted = /transactions actually processed: (\d+)/.exec(ended.out);
    return { ...ended, transactions: Number(counted?.[1] ?? 0) };
  }
}

/** Transactions of pgbench that are in the tables; fails unless all tables agree on what they did. */
export async function sumOfHistory(postgres: Postgres): Promise<number> {
  const sums = await postgres.query(
    `BEGIN ISOLATION LEVEL REPEATABLE READ;
     SELECT count(*), coalesce(sum(delta), 0), (SELECT sum(abalance) FROM pgbench_accounts),
       (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(bbalance) FROM pgbench_branches)
     FROM pgbench_history; COMMIT`,
  );
  const [count, ...balances] = sums.split('|').map(Number);
  assert.deepEqual(balances.slice(1), [balances[0], balances[0], balances[0]], sums);
  return count!;
}
