/**
 * A client that works on a name space as a FUSE mount does (an inode and a name with each call, so
 * each is one operation of the file system) and records what it asked and saw.
 *
 * Not one moment, but several of the call, each an observation of its own:
 *   - a look-up of a name whose inode is on another target: which inode, then what it is;
 *   - what is made or linked: that it was, and its attributes, which may be those of the answer's
 *     time (an answer that is given again, an inode of another target);
 *   - a listing: each name by itself.
 */
import type { Answer } from '../../src/client/answer.js';
import { FileError } from '../../src/client/answer.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../../src/client/attributes.js';
import { NameReference } from '../../src/client/request.js';
import type { ClientRequest } from '../../src/client/request.js';
import { bucketOfInode } from '../../src/placement/inode-number.js';
import type { BucketTable } from '../../src/placement/bucket-table.js';
import type { SimRandom } from '../../src/transport/sim/sim-random.js';
import type { SimClient, SimCluster } from './cluster.js';
import type { History, Observation } from './history.js';
import { EXCHANGE, NOREPLACE } from './name-space.js';
import type { Operation, Result } from './name-space.js';

export const NAMES = ['a', 'b', 'c', 'd'] as const;
/** Directories and files that a player remembers besides those that it began with. */
const REMEMBERED = 3;
/** Names that all players know to have been there a moment ago. */
const RECENT = 6;
const LIST_BYTES = 4096;

function reference(name: string): NameReference {
  const bytes = new TextEncoder().encode(name);
  return new NameReference().set(bytes, 0, bytes.length);
}

function resultOf({ stats }: Answer): Result {
  if (stats === undefined) return {};
  const kind = stats.isDirectory() ? 'dir' : 'file';
  return { inode: stats.inode, kind, links: stats.linkCount };
}

export class HistoryClient {
  readonly client: SimClient;
  readonly #history: History;
  readonly #table: BucketTable;
  /** Looked at wherever it looks, be they there or not. */
  readonly #names: readonly string[];

  constructor(
    client: SimClient,
    history: History,
    table: BucketTable,
    names: readonly string[] = NAMES,
  ) {
    this.client = client;
    this.#history = history;
    this.#table = table;
    this.#names = names;
  }

  /** Runs one operation; what `observe` makes of its answer is what was seen. */
  async #run(
    operation: Operation,
    start: (request: ClientRequest) => void,
    observe: (answer: Answer) => Observation[] = (answer) => [
      { operation, result: resultOf(answer) },
    ],
  ): Promise<Result> {
    const { client } = this;
    const call = this.#history.call(client.name, operation);
    try {
      const answer = await client.files.call(operation.op, '', start);
      call.returns(observe(answer));
      return resultOf(answer);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      const result = { error: error.code };
      call.returns([{ operation, result }]);
      return result;
    }
  }

  /** The same for what gives an inode a name. */
  #name(operation: Operation, start: (request: ClientRequest) => void): Promise<Result> {
    return this.#run(operation, start, (answer) => {
      const { inode = 0, ...seen } = resultOf(answer);
      return [
        { operation, result: { inode } },
        { operation: { op: 'attributes', inode }, result: seen },
      ];
    });
  }

  create(dir: number, name: string): Promise<Result> {
    return this.#name({ op: 'create', dir, name }, (request) => {
      this.client.core.makeNode(request, dir, reference(name), S_IFREG | 0o644, 0);
    });
  }

  mkdir(dir: number, name: string): Promise<Result> {
    return this.#name({ op: 'mkdir', dir, name }, (request) => {
      this.client.core.makeDirectory(request, dir, reference(name), 0o755);
    });
  }

  unlink(dir: number, name: string): Promise<Result> {
    return this.#run({ op: 'unlink', dir, name }, (request) => {
      this.client.core.unlink(request, dir, reference(name));
    });
  }

  rmdir(dir: number, name: string): Promise<Result> {
    return this.#run({ op: 'rmdir', dir, name }, (request) => {
      this.client.core.removeDirectory(request, dir, reference(name));
    });
  }

  link(inode: number, dir: number, name: string): Promise<Result> {
    return this.#name({ op: 'link', inode, dir, name }, (request) => {
      this.client.core.link(request, inode, dir, reference(name));
    });
  }

  rename(dir: number, name: string, toDir: number, toName: string, flags: number): Promise<Result> {
    return this.#run({ op: 'rename', dir, name, toDir, toName, flags }, (request) => {
      this.client.core.rename(request, dir, reference(name), toDir, reference(toName), flags);
    });
  }

  attributes(inode: number): Promise<Result> {
    return this.#run({ op: 'attributes', inode }, (request) => {
      this.client.core.getAttributes(request, inode);
    });
  }

  lookup(dir: number, name: string): Promise<Result> {
    const operation: Operation = { op: 'entry', dir, name };
    return this.#run(
      operation,
      (request) => {
        this.client.core.lookup(request, dir, reference(name));
      },
      (answer) => {
        const { inode = 0, ...seen } = resultOf(answer);
        if (this.targetOf(inode) === this.targetOf(dir)) {
          return [{ operation: { op: 'stat', dir, name }, result: { inode, ...seen } }];
        }
        return [
          { operation, result: { inode } },
          { operation: { op: 'attributes', inode }, result: seen },
        ];
      },
    );
  }

  /** Which names there are, besides what was seen of those that it knows. */
  async list(dir: number): Promise<string[]> {
    let handle = 0;
    const replyOpened = (number: number): void => {
      handle = number;
    };
    this.client.core.openDirectory({ replyOpened } as ClientRequest, dir);
    const names: string[] = [];
    await this.#run(
      { op: 'attributes', inode: dir },
      (request) => {
        this.client.core.readDirectory(request, handle, 0, LIST_BYTES, false, 0);
      },
      ({ entries }) => {
        const seen: Observation[] = entries.map(({ nameBytes, inode, mode }) => {
          const name = Buffer.from(nameBytes).toString();
          names.push(name);
          const kind = (mode & S_IFMT) === S_IFDIR ? 'dir' : 'file';
          return { operation: { op: 'entry', dir, name }, result: { inode, kind } };
        });
        const absent = this.#names.filter((name) => !names.includes(name));
        for (const name of absent) {
          seen.push({ operation: { op: 'entry', dir, name }, result: { error: 'ENOENT' } });
        }
        return seen;
      },
    );
    this.client.core.closeHandle(handle);
    return names;
  }

  /** All that is below a directory, name by name. */
  async lookAtAll(dir: number): Promise<void> {
    const names = await this.list(dir);
    await this.attributes(dir);
    for (const name of new Set([...this.#names, ...names])) {
      const { inode, kind } = await this.lookup(dir, name);
      if (kind === 'dir') await this.lookAtAll(inode!);
    }
  }

  targetOf(inode: number): number {
    return this.#table.memberOfBucket(bucketOfInode(inode));
  }
}

/** A directory's inode, and a name in it. */
export type Place = readonly [dir: number, name: string];

/** A client's random program on shared directories. */
export class HistoryPlayer {
  readonly recorded: HistoryClient;
  readonly #cluster: SimCluster;
  readonly #random: SimRandom;
  readonly #shared: readonly number[];
  readonly #recent: Place[];
  readonly #directories: number[] = [];
  readonly #files: number[] = [];
  #killed = false;
  #end: () => void = () => undefined;

  constructor(
    cluster: SimCluster,
    recorded: HistoryClient,
    random: SimRandom,
    shared: readonly number[],
    recent: Place[],
  ) {
    this.#cluster = cluster;
    this.recorded = recorded;
    this.#random = random;
    this.#shared = shared;
    this.#recent = recent;
  }

  /** Resolves after `steps` operations, or when it was killed. */
  async play(steps: number, pauseMs: number): Promise<void> {
    const killed = new Promise<void>((resolve) => {
      this.#end = resolve;
    });
    const played = async (): Promise<void> => {
      for (let step = 0; step < steps && !this.#killed; step++) {
        await this.#step();
        if (this.#random.chance(0.5)) continue;
        await new Promise<void>((resolve) => {
          this.#cluster.world.schedule(this.#random.next() * pauseMs, resolve);
        });
      }
    };
    await Promise.race([played(), killed]);
  }

  kill(): void {
    if (this.#killed) return;
    this.#killed = true;
    this.recorded.client.kill();
    this.#end();
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#random.below(choices.length)]!;
  }

  #directory(): number {
    if (this.#directories.length > 0 && this.#random.chance(0.25)) {
      return this.#pick(this.#directories);
    }
    return this.#pick(this.#shared);
  }

  /** What was seen is used later: files to be linked, directories to work in. */
  #remember({ inode, kind }: Result): void {
    if (inode === undefined || this.#shared.includes(inode)) return;
    const known = kind === 'dir' ? this.#directories : this.#files;
    if (known.includes(inode)) return;
    known.push(inode);
    if (known.length > REMEMBERED) known.shift();
  }

  /** A name that something was given a moment ago, or any. */
  #place(): Place {
    if (this.#recent.length > 0 && this.#random.chance(0.6)) return this.#pick(this.#recent);
    return [this.#directory(), this.#pick(NAMES)];
  }

  #given(dir: number, name: string, result: Result): void {
    this.#remember(result);
    if (result.error !== undefined) return;
    this.#recent.push([dir, name]);
    if (this.#recent.length > RECENT) this.#recent.shift();
  }

  async #step(): Promise<void> {
    const { recorded } = this;
    const random = this.#random;
    const [dir, name] = this.#place();
    const [newDir, newName] = [this.#directory(), this.#pick(NAMES)];
    const kind = random.below(24);
    if (kind < 4) this.#given(newDir, newName, await recorded.create(newDir, newName));
    else if (kind < 7) this.#given(newDir, newName, await recorded.mkdir(newDir, newName));
    else if (kind < 9) await recorded.unlink(dir, name);
    else if (kind < 11) await recorded.rmdir(dir, name);
    else if (kind < 13) await this.#link(newDir, newName);
    else if (kind < 19) {
      const flags = this.#pick([0, 0, 0, NOREPLACE, EXCHANGE]);
      const [toDir, toName] = flags === EXCHANGE ? this.#place() : ([newDir, newName] as const);
      const result = await recorded.rename(dir, name, toDir, toName, flags);
      this.#given(toDir, toName, result);
    } else if (kind < 22) this.#remember(await recorded.lookup(dir, name));
    else if (kind < 23) await recorded.list(newDir);
    else await recorded.attributes(this.#pick([...this.#shared, ...this.#files]));
  }

  /** Mostly of a file, seldom of a directory, which cannot be linked. */
  async #link(dir: number, name: string): Promise<void> {
    const isFile = this.#files.length > 0 && this.#random.chance(0.95);
    const inode = this.#pick(isFile ? this.#files : this.#shared);
    this.#given(dir, name, await this.recorded.link(inode, dir, name));
  }
}
