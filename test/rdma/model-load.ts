/**
 * A load on a mount that knows what every byte must be. Each worker has a directory of its own and
 * does one random operation after the other, on the mount and on a model of it in memory. Operations
 * that would show a second execution are among them: O_EXCL, O_APPEND, mkdir, rename, unlink.
 * Nothing may fail (the mount is `hard`); what is read must be what was written.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { mountedFiles } from './load-files.js';
import type { LoadFiles } from './load-files.js';

const MEBIBYTE = 1 << 20;
/** Words that file contents are cut from: making them afresh would cost the machine more. */
const words = new Uint32Array(1 << 20);
for (let i = 0, state = 0x9e3779b9; i < words.length; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  words[i] = state ^ (state >>> 13);
}
const pool = Buffer.from(words.buffer);

/** `lengthBytes` of unlike content; the same for the same seed. At most 1 MiB. */
export function content(seed: number, lengthBytes: number): Buffer {
  const at = Math.imul(seed, 0x01000193) >>> 0;
  const start = at % (pool.length - MEBIBYTE);
  return pool.subarray(start, start + lengthBytes);
}

const filesMax = 8;
/** Lengths of writes and how often each is taken: inline, one block, IO500's record, bulk. */
const lengths: readonly (readonly [number, number])[] = [
  [0, 1],
  [100, 4],
  [3901, 4],
  [9000, 3],
  [47_008, 3],
  [200_000, 2],
  [MEBIBYTE, 1],
];
const weightOfLengths = lengths.reduce((sum, [, weight]) => sum + weight, 0);

class Worker {
  operations = 0;
  bytesMoved = 0;
  longestMs = 0;
  /** What the worker is doing, for whoever waits for it in vain. */
  doing = 'nothing yet';
  readonly #io: LoadFiles;
  readonly #folder: string;
  readonly #random: SimRandom;
  readonly #files = new Map<string, Buffer>();
  #serial = 0;

  constructor(io: LoadFiles, folder: string, seed: number) {
    this.#io = io;
    this.#folder = folder;
    this.#random = new SimRandom(seed);
  }

  async run(goesOn: () => boolean): Promise<void> {
    await this.#timed('mkdir', () => this.#io.mkdir(this.#folder));
    while (goesOn()) await this.#step();
    this.doing = 'ended';
  }

  async #timed<T>(what: string, action: () => Promise<T>): Promise<T> {
    this.doing = what;
    const began = performance.now();
    try {
      return await action();
    } catch (error) {
      throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
    } finally {
      this.longestMs = Math.max(this.longestMs, performance.now() - began);
      this.operations++;
    }
  }

  async #step(): Promise<void> {
    const kind = this.#random.below(10);
    if (this.#files.size === 0 || (kind < 2 && this.#files.size < filesMax)) await this.#create();
    else if (kind < 4) await this.#overwrite();
    else if (kind < 5) await this.#append();
    else if (kind < 8) await this.#read();
    else if (kind === 8) await this.#rename();
    else if (this.#files.size > filesMax / 2) await this.#unlink();
    else await this.#directory();
  }

  #bytes(): Buffer {
    let ticket = this.#random.below(weightOfLengths);
    for (const [length, weight] of lengths) {
      if (ticket < weight) return content(this.#random.word(), length);
      ticket -= weight;
    }
    throw new Error('weights do not add up');
  }

  #pick(): [string, Buffer] {
    const entries = [...this.#files];
    return entries[this.#random.below(entries.length)]!;
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  async #create(): Promise<void> {
    const name = `f${this.#serial++}`;
    const data = this.#bytes();
    await this.#timed(`create ${name}, ${data.length} bytes`, () =>
      this.#io.create(this.#path(name), data),
    );
    this.#files.set(name, Buffer.from(data));
    this.bytesMoved += data.length;
  }

  async #overwrite(): Promise<void> {
    const [name, old] = this.#pick();
    const data = this.#bytes();
    const at = this.#random.below(Math.min(old.length, MEBIBYTE) + 1);
    await this.#timed(`write ${name}, ${data.length} bytes at ${at}`, () =>
      this.#io.write(this.#path(name), data, at),
    );
    const next = Buffer.alloc(Math.max(old.length, at + data.length));
    old.copy(next);
    data.copy(next, at);
    this.#files.set(name, next);
    this.bytesMoved += data.length;
  }

  async #append(): Promise<void> {
    const [name, old] = this.#pick();
    const data = content(this.#random.word(), 1 + this.#random.below(5000));
    await this.#timed(`append to ${name}, ${data.length} bytes`, () =>
      this.#io.append(this.#path(name), data),
    );
    this.#files.set(name, Buffer.concat([old, data]));
    this.bytesMoved += data.length;
  }

  async #read(): Promise<void> {
    const [name, expected] = this.#pick();
    const have = await this.#timed(`read ${name}`, () => this.#io.read(this.#path(name)));
    same(name, have, expected);
    this.bytesMoved += have.length;
  }

  async #rename(): Promise<void> {
    const [name, data] = this.#pick();
    const to = `r${this.#serial++}`;
    await this.#timed(`rename ${name}`, () => this.#io.rename(this.#path(name), this.#path(to)));
    this.#files.delete(name);
    this.#files.set(to, data);
  }

  async #unlink(): Promise<void> {
    const [name] = this.#pick();
    await this.#timed(`unlink ${name}`, () => this.#io.unlink(this.#path(name)));
    this.#files.delete(name);
  }

  async #directory(): Promise<void> {
    const path = this.#path(`d${this.#serial++}`);
    await this.#timed('mkdir', () => this.#io.mkdir(path));
    await this.#timed('rmdir', () => this.#io.rmdir(path));
  }

  /** Compares everything below `folder` with the model: names, sizes, bytes. */
  async verify(io: LoadFiles, folder: string): Promise<number> {
    const names = (await io.readdir(folder)).sort();
    assert.deepEqual(names, [...this.#files.keys()].sort());
    for (const [name, expected] of this.#files) {
      same(name, await io.read(join(folder, name)), expected);
    }
    return names.length;
  }
}

function same(name: string, have: Buffer, expected: Buffer): void {
  if (have.equals(expected)) return;
  let at = 0;
  while (at < Math.min(have.length, expected.length) && have[at] === expected[at]) at++;
  assert.fail(
    `${name}: ${have.length} bytes, expected ${expected.length}; they differ from byte ${at} on`,
  );
}

export class ModelLoad {
  readonly name: string;
  readonly #workers: Worker[];
  readonly #done: Promise<void>;
  #stopping = false;
  #failure: Error | undefined;

  /** Begins at once, below `mount`/`name`-N. */
  constructor(
    mount: string,
    name: string,
    workers: number,
    seed: number,
    io: LoadFiles = mountedFiles,
  ) {
    this.name = name;
    this.#workers = Array.from(
      { length: workers },
      (_, index) => new Worker(io, join(mount, `${name}-${index}`), seed + index),
    );
    const goesOn = (): boolean => !this.#stopping && this.#failure === undefined;
    this.#done = Promise.all(this.#workers.map((worker) => worker.run(goesOn))).then(
      () => undefined,
      (error: unknown) => {
        this.#failure = error as Error;
      },
    );
  }

  /** What each worker is doing, for whoever waits in vain. */
  get doing(): string {
    return `${this.name}: ${this.#workers.map((worker) => worker.doing).join(', ')}`;
  }

  get operations(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.operations, 0);
  }

  get bytesMoved(): number {
    return this.#workers.reduce((sum, worker) => sum + worker.bytesMoved, 0);
  }

  get longestMs(): number {
    return Math.round(Math.max(...this.#workers.map((worker) => worker.longestMs)));
  }

  /** Waits until every worker has done `more` operations; fails when one of them failed. */
  async progress(more: number, timeoutMs: number): Promise<void> {
    const wanted = this.#workers.map((worker) => worker.operations + more);
    const end = performance.now() + timeoutMs;
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const late = this.#workers.filter((worker, index) => worker.operations < wanted[index]!);
      if (late.length === 0) return;
      if (performance.now() > end) {
        throw new Error(`load ${this.name} stands still: ${late.map((l) => l.doing).join('; ')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Ends the load; rejects with what failed, if something did. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#done;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** For a load whose mount was taken away: its error, or undefined if it had none. */
  async abandon(): Promise<Error | undefined> {
    this.#stopping = true;
    await this.#done;
    return this.#failure;
  }

  /** Compares what lies on `mount`, this one or another, with the model; returns files seen. */
  async verify(mount: string, io: LoadFiles = mountedFiles): Promise<number> {
    let files = 0;
    for (const [index, worker] of this.#workers.entries()) {
      files += await worker.verify(io, join(mount, `${this.name}-${index}`));
    }
    return files;
  }
}
