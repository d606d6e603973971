/**
 * The stores of a stopped cluster, for damaging them: what is where, and changes past everything that
 * keeps the books.
 */
import { OfflineStore } from '../../src/fsck/offline-stores.js';
import { KEY, ParsedKey } from '../../src/fsck/parsed-key.js';
import { END_OF_KEYS, START_OF_KEYS } from '../../src/fsck/store-reader.js';
import { byteU64 } from '../../src/server/inode-record.js';
import { Dentry } from '../../src/server/dentries.js';
import { LmdbMetaStore } from '../../src/server/meta-store.js';

/** A value that is put, or removed where it is undefined. */
export interface Change {
  target: number;
  key: Uint8Array;
  value: Uint8Array | undefined;
}

export interface Pair {
  target: number;
  key: Buffer;
  value: Buffer;
  kind: number;
  bucket: number;
  /** As ParsedKey has them. */
  inode: number;
  number: number;
}

export interface NamedEntry extends Pair {
  directory: number;
  cookie: number;
  /** That it names. */
  names: number;
}

export class DamagedStores {
  readonly directories: string[];
  pairs: Pair[] = [];
  readonly #holderOf: (bucket: number) => number;

  /** `holderOf`: index in `directories` of a bucket's target. */
  constructor(directories: readonly string[], holderOf: (bucket: number) => number) {
    this.directories = [...directories];
    this.#holderOf = holderOf;
  }

  /** A bucket that this target holds (or does not), and that nothing else is in. */
  emptyBucket(target: number, holds: boolean): number {
    for (let bucket = 0; ; bucket++) {
      if ((this.#holderOf(bucket) === target) !== holds) continue;
      if (!this.pairs.some((pair) => pair.bucket === bucket)) return bucket;
    }
  }

  /** Reads everything. */
  async load(): Promise<void> {
    this.pairs = [];
    const parsed = new ParsedKey();
    for (const [target, directory] of this.directories.entries()) {
      const store = new OfflineStore(directory);
      await store.scan(START_OF_KEYS, END_OF_KEYS, (key, value) => {
        parsed.parse(key);
        const { kind, bucket, inode, number } = parsed;
        const [keyCopy, valueCopy] = [Buffer.from(key), Buffer.from(value)];
        this.pairs.push({ target, key: keyCopy, value: valueCopy, kind, bucket, inode, number });
      });
      await store.close();
    }
  }

  /** All pairs as text, to be compared. */
  text(): string[] {
    return this.pairs.map(({ target, key, value }) => {
      return `${target} ${key.toString('hex')} ${value.toString('hex')}`;
    });
  }

  async change(changes: readonly Change[]): Promise<void> {
    for (const target of new Set(changes.map((change) => change.target))) {
      const directory = this.directories[target]!;
      const meta = new LmdbMetaStore({ directory, flushIntervalMs: 0 });
      meta.transaction(() => {
        for (const change of changes) {
          if (change.target !== target) continue;
          if (change.value === undefined) meta.remove(change.key);
          else meta.put(change.key, change.value);
        }
      });
      await meta.close();
    }
  }

  /** What undoes these changes, as long as `pairs` is from before them. */
  undo(changes: readonly Change[]): Change[] {
    return changes.map(({ target, key }) => {
      const value = this.find((pair) => pair.target === target && pair.key.equals(key))?.value;
      return { target, key, value };
    });
  }

  /** The table of the directory that has this name. */
  table(name: string): Pair {
    const { names } = this.entry(name);
    return this.get((pair) => pair.kind === KEY.partitions && pair.inode === names, 'table');
  }

  /** The range of a partition. */
  range(): Pair {
    return this.get((pair) => pair.kind === KEY.partitions && pair.value.length === 16, 'range');
  }

  /** Keys that are not as they were, as changes that make them what they are. */
  differences(before: readonly Pair[]): Change[] {
    const nameOf = ({ target, key }: Pair): string => `${target} ${key.toString('hex')}`;
    const old = new Map(before.map((pair) => [nameOf(pair), pair]));
    const changed: Change[] = [];
    for (const pair of this.pairs) {
      const was = old.get(nameOf(pair));
      old.delete(nameOf(pair));
      if (was?.value.equals(pair.value) !== true) changed.push(pair);
    }
    for (const { target, key } of old.values()) changed.push({ target, key, value: undefined });
    return changed;
  }

  find(accepts: (pair: Pair) => boolean): Pair | undefined {
    return this.pairs.find(accepts);
  }

  get(accepts: (pair: Pair) => boolean, what: string): Pair {
    const pair = this.find(accepts);
    if (pair === undefined) throw new Error(`the stores have no ${what}`);
    return pair;
  }

  /** The entry of this name; names of the content are unique. */
  entry(name: string): NamedEntry {
    const pair = this.get(({ kind, value }) => {
      return kind === KEY.entry && value.subarray(Dentry.name).equals(Buffer.from(name));
    }, `entry ${name}`);
    const names = byteU64(pair.value, Dentry.inode);
    return { ...pair, directory: pair.inode, cookie: pair.number, names };
  }

  /** Of the inode that this entry names. */
  record(name: string): Pair {
    const { names } = this.entry(name);
    return this.recordOf(names);
  }

  recordOf(inode: number): Pair {
    return this.get((pair) => pair.kind === KEY.inode && pair.inode === inode, `inode ${inode}`);
  }

  chunk(name: string, number = 0): Pair {
    const { names } = this.entry(name);
    return this.get((pair) => {
      return pair.kind === KEY.chunk && pair.inode === names && pair.number === number;
    }, `chunk ${number} of ${name}`);
  }

  /** Some key of this kind. */
  some(kind: number): Pair {
    return this.get((pair) => pair.kind === kind, `key of kind ${kind}`);
  }

  property(name: string, target: number): Pair {
    return this.get((pair) => {
      return (
        pair.target === target &&
        pair.kind === KEY.property &&
        pair.key.subarray(3).equals(Buffer.from(name))
      );
    }, `property ${name}`);
  }
}
