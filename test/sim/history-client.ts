/**
 * A client that works on a name space as a FUSE mount does (an inode and a name with each call, so
 * each is one operation of the file system) and records what it asked and saw.
 *
 * Not one moment, but several of the call, each an observation of its own:
 *   - a look-up of a name whose inode is on another target: which inode, then what it is;
 *   - what is made or linked: that it was, and its attributes, which may be those of the answer's
 *     time (an answer that is given again, an inode of another target);
 *   - a listing: each name by itself, and the attributes that come with it.
 */
import { Answer, FileError } from '../../src/client/answer.js';
import {
  AttributeChange,
  S_IFDIR,
  S_IFMT,
  S_IFREG,
  SET_MODE,
} from '../../src/client/attributes.js';
import { ESTALE, errno, errnoName } from '../../src/common/errno.js';
import { ListAttributes } from '../../src/client/listing-page.js';
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
const OWNER = 1000;

function reference(name: string): NameReference {
  const bytes = new TextEncoder().encode(name);
  return new NameReference().set(bytes, 0, bytes.length);
}

export function resultOf({ stats }: Answer): Result {
  if (stats === undefined) return {};
  const kind = stats.isDirectory() ? 'dir' : 'file';
  return { inode: stats.inode, kind, links: stats.linkCount };
}

/** Hears of an answer in the moment that it is given; 0, or an errno. The call ends when what it returns does. */
export type Settled = (answer: Answer, status: number) => Promise<void> | void;

export class HistoryClient {
  readonly client: SimClient;
  readonly #history: History;
  readonly #table: BucketTable;
  /** Looked at wherever it looks, be they there or not. */
  readonly #names: readonly string[];
  /** Entries are in partitions, which are on other targets than their directory. */
  readonly #splits: boolean;

  constructor(
    client: SimClient,
    history: History,
    table: BucketTable,
    names: readonly string[] = NAMES,
  ) {
    this.#splits = client.splits;
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
    settled: Settled = () => undefined,
  ): Promise<Result> {
    const { client } = this;
    const call = this.#history.call(client.name, operation);
    return new Promise((resolve) => {
      const answer = new Answer(client.arena, OWNER, OWNER, (status) => {
        const end = settled(answer, status);
        const known = status === ESTALE ? errno.ENOENT : status;
        const error = { error: errnoName(known) };
        const observed = status === 0 ? observe(answer) : [{ operation, result: error }];
        const result = status === 0 ? resultOf(answer) : error;
        const returns = (): void => {
          call.returns(observed);
          resolve(result);
        };
        if (end === undefined) returns();
        else void end.then(returns);
      });
      start(answer);
    });
  }

  /** It was seen without a request. */
  protected saw(...observations: readonly Observation[]): void {
    this.#history.call(this.client.name, observations[0]!.operation).returns(observations);
  }

  /** The same for what gives an inode a name. */
  #name(
    operation: Operation,
    start: (request: ClientRequest) => void,
    settled?: Settled,
  ): Promise<Result> {
    const observe = (answer: Answer): Observation[] => {
      const { inode = 0, ...seen } = resultOf(answer);
      return [
        { operation, result: { inode } },
        { operation: { op: 'attributes', inode }, result: seen },
      ];
    };
    return this.#run(operation, start, observe, settled);
  }

  create(dir: number, name: string, settled?: Settled): Promise<Result> {
    return this.#name(
      { op: 'create', dir, name },
      (request) => {
        this.client.core.makeNode(request, dir, reference(name), S_IFREG | 0o644, 0);
      },
      settled,
    );
  }

  mkdir(dir: number, name: string, settled?: Settled): Promise<Result> {
    return this.#name(
      { op: 'mkdir', dir, name },
      (request) => {
        this.client.core.makeDirectory(request, dir, reference(name), 0o755);
      },
      settled,
    );
  }

  unlink(dir: number, name: string, settled?: Settled): Promise<Result> {
    return this.#run(
      { op: 'unlink', dir, name },
      (request) => {
        this.client.core.unlink(request, dir, reference(name));
      },
      undefined,
      settled,
    );
  }

  rmdir(dir: number, name: string, settled?: Settled): Promise<Result> {
    return this.#run(
      { op: 'rmdir', dir, name },
      (request) => {
        this.client.core.removeDirectory(request, dir, reference(name));
      },
      undefined,
      settled,
    );
  }

  link(inode: number, dir: number, name: string, settled?: Settled): Promise<Result> {
    return this.#name(
      { op: 'link', inode, dir, name },
      (request) => {
        this.client.core.link(request, inode, dir, reference(name));
      },
      settled,
    );
  }

  rename(
    dir: number,
    name: string,
    toDir: number,
    toName: string,
    flags: number,
    settled?: Settled,
  ): Promise<Result> {
    return this.#run(
      { op: 'rename', dir, name, toDir, toName, flags },
      (request) => {
        this.client.core.rename(request, dir, reference(name), toDir, reference(toName), flags);
      },
      undefined,
      settled,
    );
  }

  attributes(inode: number, settled?: Settled): Promise<Result> {
    const operation: Operation = { op: 'attributes', inode };
    const start = (request: ClientRequest): void => {
      this.client.core.getAttributes(request, inode);
    };
    return this.#run(operation, start, undefined, settled);
  }

  /** What is seen of it is what its attributes are. */
  chmod(inode: number, mode: number): Promise<Result> {
    const change = new AttributeChange();
    change.valid = SET_MODE;
    change.mode = mode;
    return this.#run({ op: 'attributes', inode }, (request) => {
      this.client.core.setAttributes(request, inode, change);
    });
  }

  lookup(dir: number, name: string, settled?: Settled): Promise<Result> {
    const operation: Operation = { op: 'entry', dir, name };
    return this.#run(
      operation,
      (request) => {
        this.client.core.lookup(request, dir, reference(name));
      },
      (answer) => {
        const { inode = 0, ...seen } = resultOf(answer);
        if (!this.#splits && this.targetOf(inode) === this.targetOf(dir)) {
          return [{ operation: { op: 'stat', dir, name }, result: { inode, ...seen } }];
        }
        return [
          { operation, result: { inode } },
          { operation: { op: 'attributes', inode }, result: seen },
        ];
      },
      settled,
    );
  }

  /** Which names there are, besides what was seen of those that it knows. */
  async list(dir: number, attributes: ListAttributes = ListAttributes.None): Promise<string[]> {
    let handle = 0;
    const replyOpened = (number: number): void => {
      handle = number;
    };
    this.client.core.openDirectory({ replyOpened } as ClientRequest, dir);
    const names: string[] = [];
    const seen: Observation[] = [];
    const operation: Operation = { op: 'attributes', inode: dir };
    const call = this.#history.call(this.client.name, operation);
    try {
      for (let cookie = 0, last = false; !last;) {
        const page = await this.client.files.call('readdir', '', (request) => {
          this.client.core.readDirectory(request, handle, cookie, LIST_BYTES, attributes, 0);
        });
        for (const { nameBytes, inode, mode, stats } of page.entries) {
          const name = Buffer.from(nameBytes).toString();
          names.push(name);
          const kind = (mode & S_IFMT) === S_IFDIR ? 'dir' : 'file';
          seen.push({ operation: { op: 'entry', dir, name }, result: { inode, kind } });
          if (stats === undefined) continue;
          const result = { kind, links: stats.linkCount } as const;
          seen.push({ operation: { op: 'attributes', inode }, result });
        }
        cookie = page.entries.at(-1)?.cookie ?? cookie;
        last = page.last || page.entries.length === 0;
      }
      for (const name of this.#names) {
        if (names.includes(name)) continue;
        seen.push({ operation: { op: 'entry', dir, name }, result: { error: 'ENOENT' } });
      }
      call.returns(seen);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      call.returns([{ operation, result: { error: error.code } }]);
    }
    this.client.core.closeHandle(handle);
    return names;
  }

  /** As `ls -l` on a mount: names, then what each of them is, from what the listing has brought if it has. */
  async listLong(dir: number): Promise<void> {
    for (const name of await this.list(dir, ListAttributes.Learnt)) await this.lookup(dir, name);
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
  /** Steps that only look, beside those of the others that do. */
  looks = 0;
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
    if (random.chance(this.looks)) {
      await this.#look(dir, name);
      return;
    }
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
    else if (kind < 23) await this.#list(newDir);
    else await recorded.attributes(this.#pick([...this.#shared, ...this.#files]));
  }

  async #look(dir: number, name: string): Promise<void> {
    if (this.#random.chance(0.6)) this.#remember(await this.recorded.lookup(dir, name));
    else if (this.#random.chance(0.3)) await this.#list(dir);
    else await this.recorded.attributes(this.#pick([...this.#shared, ...this.#files]));
  }

  async #list(dir: number): Promise<void> {
    const attributes = this.#pick([ListAttributes.None, ListAttributes.Given]);
    if (this.#random.chance(0.5)) await this.recorded.listLong(dir);
    else await this.recorded.list(dir, attributes);
  }

  /** Mostly of a file, seldom of a directory, which cannot be linked. */
  async #link(dir: number, name: string): Promise<void> {
    const isFile = this.#files.length > 0 && this.#random.chance(0.95);
    const inode = this.#pick(isFile ? this.#files : this.#shared);
    this.#given(dir, name, await this.recorded.link(inode, dir, name));
  }
}
