/** A known scene for tests of operations across targets: who lies where is chosen. */
import assert from 'node:assert/strict';
import type { BucketTable } from '../../src/placement/bucket-table.js';
import { nameHash44 } from '../../src/placement/hash.js';
import { directoryBucket } from '../../src/placement/inode-number.js';
import type { HistoryClient } from './history-client.js';
import type { Result } from './name-space.js';

/** Three directories p, q and r on targets 0, 1 and 2, and who works in them. */
export class Stage {
  static readonly TARGETS = 3;
  readonly client: HistoryClient;
  readonly #table: BucketTable;
  readonly top: number;
  p = 0;
  q = 0;
  r = 0;

  private constructor(table: BucketTable, client: HistoryClient, top: number) {
    this.#table = table;
    this.client = client;
    this.top = top;
  }

  /** Makes /top and, in it, p, q and r. */
  static async setUp(client: HistoryClient, table: BucketTable): Promise<Stage> {
    const { files } = client.client;
    await files.ensureRoot();
    await files.mkdir('/top');
    const stage = new Stage(table, client, (await files.stat('/top')).inode);
    const { top } = stage;
    const directories: number[] = [];
    for (const [target, name] of ['p', 'q', 'r'].entries()) {
      const made = await stage.directory(top, target, 'd');
      succeeded(await client.rename(top, made, top, name, 0));
      directories.push(await stage.inode(top, name));
    }
    [stage.p = 0, stage.q = 0, stage.r = 0] = directories;
    return stage;
  }

  /** A name that puts a new directory of `parent` on this target. */
  name(parent: number, target: number, prefix: string): string {
    for (let i = 0; ; i++) {
      const name = `${prefix}${i}`;
      const bytes = Buffer.from(name);
      const bucket = directoryBucket(parent, nameHash44(bytes, 0, bytes.length), 0);
      if (this.#table.memberOfBucket(bucket) === target) return name;
    }
  }

  async file(dir: number, name: string): Promise<number> {
    return succeeded(await this.client.create(dir, name)).inode!;
  }

  /** The inode lies with `home`, the entry with `dir`. */
  async fileFrom(home: number, dir: number, name: string): Promise<void> {
    const inode = await this.file(home, 'made-here');
    succeeded(await this.client.link(inode, dir, name));
    succeeded(await this.client.unlink(home, 'made-here'));
  }

  /** A directory on this target; its name. */
  async directory(parent: number, target: number, prefix: string): Promise<string> {
    const name = this.name(parent, target, prefix);
    succeeded(await this.client.mkdir(parent, name));
    return name;
  }

  /** Names whose hashes lie in this part of all hashes. */
  names(count: number, from: number, to: number, prefix = 'n'): string[] {
    const names: string[] = [];
    for (let i = 0; names.length < count; i++) {
      const name = `${prefix}${i}`;
      const bytes = Buffer.from(name);
      const hash = nameHash44(bytes, 0, bytes.length) / 2 ** 44;
      if (hash >= from && hash < to) names.push(name);
    }
    return names;
  }

  /** Files of such names. */
  async fill(
    dir: number,
    count: number,
    from: number,
    to: number,
    prefix = 'n',
  ): Promise<string[]> {
    const names = this.names(count, from, to, prefix);
    for (const name of names) await this.file(dir, name);
    return names;
  }

  /** Until whatever goes on in the background of a directory is over. */
  async settle(dir: number): Promise<void> {
    for (let i = 0; i < 100; i++) succeeded(await this.client.attributes(dir));
  }

  /** All but two files of a split directory are removed: with one more its upper half is merged into its lower. */
  async emptied(
    dir: number,
    low: readonly string[],
    high: readonly string[],
  ): Promise<{
    operation: (client: HistoryClient) => Promise<Result>;
    watched: (readonly [number, string])[];
  }> {
    await this.settle(dir);
    for (const name of low) succeeded(await this.client.unlink(dir, name));
    const [stays, last, ...others] = high;
    for (const name of others) succeeded(await this.client.unlink(dir, name));
    return {
      operation: (client) => client.unlink(dir, last!),
      watched: [
        [dir, stays!],
        [dir, last!],
      ],
    };
  }

  async inode(parent: number, name: string): Promise<number> {
    return succeeded(await this.client.lookup(parent, name)).inode!;
  }
}

export function succeeded(result: Result): Result {
  assert.equal(result.error, undefined);
  return result;
}
