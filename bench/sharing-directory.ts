/**
 * One directory for all beside one for each: creates of four processes on two mounts; and `ls -l` of a large
 * directory by a mount that knows nothing of it, beside a stat of each file at its target. What is made stays: the
 * cluster ends with the bench.
 */
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { benchProgram } from './processes.js';
import { progress, row } from './report.js';
import type { Row } from './report.js';

const CREATORS = 4;

function makeDirectory(mount: string, name: string): string {
  mkdirSync(join(mount, name));
  return name;
}

/** Creates a second of four processes, two on each mount, in these directories; they begin together. */
async function createRate(
  mounts: readonly string[],
  directories: readonly string[],
  files: number,
): Promise<number> {
  const each = Math.floor(files / CREATORS);
  const children = directories.map((directory, i) => {
    const path = join(mounts[i % mounts.length]!, directory);
    const words = [benchProgram('create-files'), path, `file-${i}`, String(each)];
    const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
    return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
  });
  const all = (): Promise<IteratorResult<string>[]> =>
    Promise.all(children.map(({ lines }) => lines.next()));
  await all();
  progress(`${files} creates in ${new Set(directories).size} directories`);
  const began = performance.now();
  for (const { child } of children) child.stdin.write('go\n');
  const ends = await all();
  const seconds = (performance.now() - began) / 1000;
  if (ends.some(({ value }) => value !== 'done')) throw new Error('a process has failed');
  for (const { child } of children) child.stdin.end();
  return (each * CREATORS) / seconds;
}

/** `requests`: of all mounts so far, without Release. */
async function oneDirectoryRows(
  mounts: readonly string[],
  files: number,
  requests: () => Promise<number>,
): Promise<Row[]> {
  const [first] = mounts as [string];
  const own = Array.from({ length: CREATORS }, (_, i) => makeDirectory(first, `own-${i}`));
  const baseline = await createRate(mounts, own, files);
  const shared = makeDirectory(first, 'shared');
  const before = await requests();
  const value = await createRate(mounts, new Array<string>(CREATORS).fill(shared), files);
  const perCreate = ((await requests()) - before) / files;
  const found = readdirSync(join(first, shared)).length;
  if (found !== Math.floor(files / CREATORS) * CREATORS)
    throw new Error(`${found} files are listed`);
  const name = `${files} creates in one directory, 4 processes on 2 mounts, beside one each`;
  return [
    row(name, 'creates/s', value, { baseline, minRatio: 0.7 }),
    // The create, and a share in what asks for the next names; now and then a lease that is tried, and recalled.
    row('requests of a create, one directory, Release apart', 'requests', perCreate, { max: 1.2 }),
  ];
}

/** Seconds that `run` takes. */
function seconds(run: () => void): number {
  const began = performance.now();
  run();
  return (performance.now() - began) / 1000;
}

/** `maker` makes the files, `reader` lists them, `plain` keeps nothing. */
function listingRow(maker: string, reader: string, plain: string, files: number): Row {
  progress(`ls -l of ${files} files`);
  const name = makeDirectory(maker, 'listed');
  for (let i = 0; i < files; i++) closeSync(openSync(join(maker, name, `file-${i}`), 'wx'));
  const probes = Math.min(files, 20_000);
  const each = seconds(() => {
    for (let i = 0; i < probes; i++) statSync(join(plain, name, `file-${i}`));
  });
  const listing = seconds(() => {
    execFileSync('ls', ['-l', join(reader, name)], { stdio: ['ignore', 'ignore', 'inherit'] });
  });
  return row(`ls -l of ${files} files, beside a stat of each`, 'entries/s', files / listing, {
    baseline: probes / each,
    minRatio: 3,
  });
}

/** Of two mounts with leases and one without. */
export async function directoryRows(
  leased: readonly [string, string],
  plain: string,
  tiny: boolean,
  requests: () => Promise<number>,
): Promise<Row[]> {
  return [
    ...(await oneDirectoryRows(leased, tiny ? 400 : 200_000, requests)),
    listingRow(leased[0], leased[1], plain, tiny ? 300 : 100_000),
  ];
}
