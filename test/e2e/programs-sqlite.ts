/**
 * A writer for SQLite: a sqlite3 process that commits transaction after transaction and says after each
 * that it is committed, until it is killed; and the check of what it left.
 *
 * Transaction n adds row n and moves money between two accounts, so half of one shows.
 */
import assert from 'node:assert/strict';
import { run, startProgram } from './programs-ground.js';
import type { Running } from './programs-ground.js';

const accounts = 10;
const perWriter = 3000;
/** Text of row n: from nothing to more than a page. */
const body = (n: string): string => `printf('%0*d', ${n} * 37 % 6000 + 10, ${n})`;

function sqlite(path: string, statements: string): Promise<string> {
  return run('/', `sqlite3 -bail "${path}"`, { input: statements });
}

export async function createDatabase(path: string, mode: string): Promise<void> {
  const created = await sqlite(
    path,
    `PRAGMA journal_mode=${mode};
     CREATE TABLE rows(n INTEGER PRIMARY KEY, body TEXT); CREATE INDEX bodies ON rows(body);
     CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INTEGER);
     WITH RECURSIVE a(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM a WHERE i < ${accounts - 1})
       INSERT INTO accounts SELECT i, 100 FROM a;`,
  );
  assert.equal(created.trim(), mode);
}

function transaction(n: number): string {
  return `BEGIN; INSERT INTO rows VALUES(${n}, ${body(`${n}`)});
    UPDATE accounts SET balance = balance - 1 WHERE id = ${n % accounts};
    UPDATE accounts SET balance = balance + 1 WHERE id = ${(n * 7 + 1) % accounts};
    COMMIT; SELECT 'committed ${n}';\n`;
}

export class SqliteWriter {
  readonly #running: Running;
  /** What it said when it ended without being killed. */
  failed: string | undefined;
  #killed = false;
  readonly #first: number;

  constructor(path: string, first: number) {
    this.#first = first;
    // A small journal, so that what moves it into the database is met by kills as well.
    let script = 'PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=40;\n';
    for (let n = first; n < first + perWriter; n++) script += transaction(n);
    this.#running = startProgram('stdbuf', ['-oL', 'sqlite3', '-bail', path], { input: script });
    void this.#running.ended.then(({ status, err }) => {
      if (!this.#killed) this.failed = `ended with status ${status}: ${err}`;
    });
  }

  /** The last transaction that it said was committed. */
  get committed(): number {
    // What follows the last newline is a line that is not complete yet.
    const lines = this.#running.out().split('\n').slice(0, -1);
    return Number(/^committed (\d+)$/.exec(lines.at(-1) ?? '')?.[1] ?? this.#first - 1);
  }

  /** kill -9. Returns the last transaction that it said was committed. */
  async kill(): Promise<number> {
    assert.equal(this.failed, undefined);
    this.#killed = true;
    this.#running.child.kill('SIGKILL');
    await this.#running.ended;
    return this.committed;
  }
}

/**
 * The database is sound, it has every transaction up to `committed` and at most one more, and each of them
 * whole. Returns the last one that is there.
 */
export async function checkDatabase(path: string, committed: number): Promise<number> {
  const found = await sqlite(
    path,
    `PRAGMA integrity_check; SELECT count(*), max(n) FROM rows;
     SELECT count(*) FROM rows WHERE body <> ${body('n')};
     SELECT sum(balance) FROM accounts;
     SELECT count(*) FROM accounts WHERE balance <> 100
       - (SELECT count(*) FROM rows WHERE n % ${accounts} = id)
       + (SELECT count(*) FROM rows WHERE (n * 7 + 1) % ${accounts} = id);`,
  );
  const [sound, rows, wrong, sum, unbalanced] = found.trim().split('\n');
  assert.equal(sound, 'ok');
  const [count, last] = rows!.split('|').map(Number);
  assert.equal(count, last, 'rows are missing in the middle');
  assert.ok(last === committed || last === committed + 1, `${committed} committed, ${last} there`);
  assert.deepEqual([wrong, sum, unbalanced], ['0', `${accounts * 100}`, '0']);
  return last;
}
