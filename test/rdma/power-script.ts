/**
 * What one client of the power-loss test does below its directory: an endless list of steps that
 * follows from a seed alone, each one operation that must succeed, and the model file system in
 * which the same steps are done. So whoever knows seed and number of acknowledged steps knows what
 * must be there. Used by power-loss.ts.
 */
import assert from 'node:assert/strict';
import type { VolumeFiles } from '../../src/client/files.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { ModelFileSystem } from '../sim/model.js';

export interface Step {
  kind: 'create' | 'write' | 'truncate' | 'unlink' | 'rename' | 'link' | 'mkdir' | 'rmdir';
  path: string;
  /** Of rename and link. */
  to: string;
  offset: number;
  data: Uint8Array;
}

const filesMax = 12;
const foldersMax = 6;
/** Inside the store, at its limit, just beyond, IO500's records, several blocks. */
const lengths = [1, 100, 3901, 8192, 8193, 20_000, 47_008, 200_000];
/** The last one reaches into a second chunk. */
const offsets = [0, 0, 0, 0, 0, 0, 1, 100, 4095, 4096, 8192, 47_008, 47_008, 1_048_000];
const none = new Uint8Array(0);

/** Bytes that all contents are cut from: making them afresh would cost the machine more. */
const pool = new Uint8Array(1 << 19);
for (let i = 0, state = 0x9e3779b9; i < pool.length; i++) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  pool[i] = state >>> 24;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

export class PowerScript {
  readonly model = new ModelFileSystem();
  readonly home: string;
  readonly #random: SimRandom;
  #files: string[] = [];
  #folders: string[];
  #serial = 0;

  constructor(home: string, seed: number) {
    this.home = home;
    this.#random = new SimRandom(seed);
    this.#folders = [home];
    this.model.mkdir(home);
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random.below(choices.length)]!;
  }

  /** The next step; it is not done in the model yet. */
  next(): Step {
    const kind = this.#kind();
    const step: Step = { kind, path: '', to: '', offset: 0, data: none };
    const fresh = (): string => `${this.#pick(this.#folders)}/${kind[0]!}${this.#serial++}`;
    if (kind === 'create' || kind === 'mkdir') step.path = fresh();
    else if (kind === 'rmdir') step.path = this.#emptyFolders()[0]!;
    else step.path = this.#pick(this.#files);
    if (kind === 'rename' || kind === 'link') {
      // Within one directory: between two it may be refused. Every other rename replaces a file.
      const folder = parentOf(step.path);
      const others = this.#files.filter((file) => parentOf(file) === folder);
      const replaces = kind === 'rename' && this.#random.chance(0.5);
      step.to = replaces ? this.#pick(others) : `${folder}/${kind[0]!}${this.#serial++}`;
    } else if (kind === 'write') {
      const length = this.#pick(lengths);
      const start = this.#random.below(pool.length - length);
      step.offset = this.#pick(offsets);
      step.data = pool.subarray(start, start + length);
    } else if (kind === 'truncate') {
      step.offset = this.#pick([0, 1, 5000, 8192, 60_000]);
    }
    return step;
  }

  #kind(): Step['kind'] {
    const { random, count } = { random: this.#random, count: this.#files.length };
    const roll = random.below(20);
    if (count === 0 || (roll < 4 && count < filesMax)) return 'create';
    if (roll < 11) return 'write';
    if (roll < 12) return 'truncate';
    if (roll < 15) return 'rename';
    if (roll < 16 && count < filesMax) return 'link';
    if (roll < 17) return this.#folders.length < foldersMax ? 'mkdir' : 'unlink';
    if (roll < 18 && this.#emptyFolders().length > 0) return 'rmdir';
    return 'unlink';
  }

  #emptyFolders(): string[] {
    return this.#folders.filter(
      (folder) => folder !== this.home && this.model.readdir(folder).length === 0,
    );
  }

  /** Does the step in the model. */
  apply(step: Step): void {
    const { model } = this;
    switch (step.kind) {
      case 'create':
        model.create(step.path);
        this.#files.push(step.path);
        return;
      case 'write':
        model.write(step.path, step.offset, step.data);
        return;
      case 'truncate':
        model.truncate(step.path, step.offset);
        return;
      case 'unlink':
        model.unlink(step.path);
        this.#files = this.#files.filter((file) => file !== step.path);
        return;
      case 'rename':
        this.#rename(step.path, step.to);
        return;
      case 'link':
        model.link(step.path, step.to);
        this.#files.push(step.to);
        return;
      case 'mkdir':
        model.mkdir(step.path);
        this.#folders.push(step.path);
        return;
      case 'rmdir':
        model.rmdir(step.path);
        this.#folders = this.#folders.filter((folder) => folder !== step.path);
    }
  }

  /** Between two names of one file a rename does nothing (rename(2)), in the model too. */
  #rename(from: string, to: string): void {
    this.model.rename(from, to);
    const names = this.model.readdir(parentOf(from));
    if (!names.includes(from.slice(from.lastIndexOf('/') + 1))) {
      this.#files = this.#files.filter((file) => file !== from);
    }
    if (!this.#files.includes(to)) this.#files.push(to);
  }
}

/** Does the step on the cluster; resolves when it is acknowledged. */
export async function perform(files: VolumeFiles, step: Step): Promise<void> {
  switch (step.kind) {
    case 'create':
      (await files.open(step.path, 'wx')).close();
      return;
    case 'write': {
      const file = await files.open(step.path, 'r+');
      await file.write(step.data, step.offset);
      file.close();
      return;
    }
    case 'truncate':
      return files.truncate(step.path, step.offset);
    case 'unlink':
      return files.unlink(step.path);
    case 'rename':
      return files.rename(step.path, step.to);
    case 'link':
      return files.link(step.path, step.to);
    case 'mkdir':
      return files.mkdir(step.path);
    case 'rmdir':
      return files.rmdir(step.path);
  }
}

/** A file's content; undefined for a directory. */
type Tree = Map<string, Uint8Array | undefined>;

function treeOf(model: ModelFileSystem): Tree {
  const tree: Tree = new Map();
  for (const path of model.paths()) {
    tree.set(path, model.stat(path).kind === 'dir' ? undefined : model.read(path));
  }
  return tree;
}

async function treeOn(files: VolumeFiles, folder: string, tree: Tree = new Map()): Promise<Tree> {
  tree.set(folder, undefined);
  for (const name of await files.readdir(folder)) {
    const path = `${folder}/${name}`;
    try {
      const stats = await files.lstat(path);
      if (stats.isDirectory()) await treeOn(files, path, tree);
      else tree.set(path, await files.readFile(path));
    } catch (error) {
      // Half of a mkdir or rmdir that was not acknowledged: a name that leads nowhere.
      if ((error as { code?: string }).code !== 'ENOENT') throw error;
    }
  }
  return tree;
}

/** What is unlike, or '' when nothing is. */
function difference(have: Tree, wanted: Tree): string {
  for (const path of new Set([...have.keys(), ...wanted.keys()])) {
    if (!have.has(path)) return `${path} is missing`;
    if (!wanted.has(path)) return `${path} should not be there`;
    const problem = unlike(have.get(path), wanted.get(path));
    if (problem !== '') return `${path} ${problem}`;
  }
  return '';
}

function unlike(have: Uint8Array | undefined, wanted: Uint8Array | undefined): string {
  if (have === undefined || wanted === undefined) {
    return have === wanted ? '' : 'is of another type';
  }
  if (have.length !== wanted.length) return `has ${have.length} bytes, not ${wanted.length}`;
  if (Buffer.compare(have, wanted) === 0) return '';
  return `differs from byte ${have.findIndex((byte, at) => byte !== wanted[at])} on`;
}

/**
 * Each file that the step is about may have been changed in part (a write is done chunk by chunk): its
 * size is between the two, each byte is as before or as after. The others are what they were.
 */
function withPartsOf(have: Tree, before: Tree, after: Tree): Tree {
  const merged: Tree = new Map(before);
  for (const [path, was] of before) {
    const now = after.get(path);
    const found = have.get(path);
    if (was === undefined || now === undefined || found === undefined) continue;
    const [least, most] = [Math.min(was.length, now.length), Math.max(was.length, now.length)];
    if (found.length < least || found.length > most) continue;
    const possible = found.slice();
    for (let i = 0; i < possible.length; i++) {
      if (possible[i] !== was[i] && possible[i] !== now[i]) possible[i] = was[i] ?? now[i]!;
    }
    merged.set(path, possible);
  }
  return merged;
}

/**
 * Fails unless the cluster holds what the script says after `acknowledged` steps, the next of which
 * may have happened too: data in part, everything else whole or not at all. Returns what is in words.
 */
export async function verify(
  files: VolumeFiles,
  home: string,
  seed: number,
  acknowledged: number,
): Promise<string> {
  const script = new PowerScript(home, seed);
  for (let i = 0; i < acknowledged; i++) script.apply(script.next());
  const before = treeOf(script.model);
  const step = script.next();
  script.apply(step);
  const after = treeOf(script.model);
  const have = await treeOn(files, home);
  const problem = difference(have, before);
  if (problem === '') return 'not begun';
  if (difference(have, after) === '') return 'done';
  const isData = step.kind === 'write' || step.kind === 'truncate';
  if (isData && difference(have, withPartsOf(have, before, after)) === '') return 'half done';
  assert.fail(
    `${home} after ${acknowledged} acknowledged steps: ${problem} ` +
      `(step under way: ${step.kind} ${step.path} ${step.to})`,
  );
}
