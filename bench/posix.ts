/**
 * What a name space without a metadata server must still do well, through a mount of two targets:
 * rename of directories of any size, operations across targets beside a create on one, removal of a
 * tree beside its creation, a clone beside a copy. Runs under `sealfs up`.
 */
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManagerClient } from '../src/common/manager-client.js';
import { packageRoot } from '../src/native/load.js';
import { BucketTable } from '../src/placement/bucket-table.js';
import { bucketOfInode } from '../src/placement/inode-number.js';
import { alternate, median, row } from './report.js';
import type { Row } from './report.js';

const mebibyte = 2 ** 20;
const sealfs = join(packageRoot(), 'bin/sealfs.js');
const filesPerDirectory = 1000;
const smallFile = Buffer.alloc(1024, 's');

interface Sizes {
  /** Of the directory that is renamed, and of the tree that is removed. */
  files: number;
  renames: number;
  /** Of each kind of single operation. */
  operations: number;
  fileMebibytes: number;
  rounds: number;
}

const full: Sizes = {
  files: 100_000,
  renames: 51,
  operations: 2000,
  fileMebibytes: 1024,
  rounds: 3,
};
const instant: Sizes = { files: 500, renames: 5, operations: 40, fileMebibytes: 8, rounds: 1 };

/** Microseconds that `body` takes. */
function microseconds(body: () => void): number {
  const began = performance.now();
  body();
  return (performance.now() - began) * 1000;
}

class PosixBench {
  readonly #root: string;
  readonly #table: BucketTable;
  readonly #sizes: Sizes;
  #made = 0;

  constructor(root: string, table: BucketTable, sizes: Sizes) {
    this.#root = root;
    this.#table = table;
    this.#sizes = sizes;
  }

  async rows(): Promise<Row[]> {
    return [
      ...this.#renameRows(),
      ...this.#acrossRows(),
      this.#removeRow(),
      await this.#cloneRow(),
    ];
  }

  /** The member that holds the inode of this path. */
  #memberOf(path: string): number {
    return this.#table.memberOfBucket(bucketOfInode(statSync(path).ino));
  }

  #makeDirectory(): string {
    const path = join(this.#root, `directory-${this.#made++}`);
    mkdirSync(path);
    return path;
  }

  /** Two directories on different targets; with a single target there are none. */
  #twoTargets(): [string, string] {
    const first = this.#makeDirectory();
    for (let tries = 0; tries < 200; tries++) {
      const second = this.#makeDirectory();
      if (this.#memberOf(second) !== this.#memberOf(first)) return [first, second];
    }
    throw new Error('200 directories lie on one target; the bench needs two');
  }

  /** A directory at `path` whose inode is on the target of `other`'s. */
  #makeBeside(other: string, path: string): void {
    for (let tries = 0; tries < 200; tries++) {
      const made = `${path}-${tries}`;
      mkdirSync(made);
      if (this.#memberOf(made) === this.#memberOf(other)) {
        renameSync(made, path);
        return;
      }
      rmdirSync(made);
    }
    throw new Error('200 directories lie on other targets than the first');
  }

  /** A full directory and an empty one, renamed in turns: where they are, then from target to target. */
  #renameRows(): Row[] {
    const { files, renames } = this.#sizes;
    const [here, there] = this.#twoTargets();
    // Both on the same target: a rename also tells the directory's inode, wherever that lies.
    mkdirSync(join(here, 'full-0'));
    this.#makeBeside(join(here, 'full-0'), join(here, 'empty-0'));
    for (let i = 0; i < files; i++) closeSync(openSync(join(here, 'full-0', `file-${i}`), 'wx'));
    const measure = (places: readonly string[]): { value: number; baseline: number } => {
      const times = { full: [] as number[], empty: [] as number[] };
      for (let i = 0; i < renames * 2; i++) {
        const from = places[i % places.length]!;
        const to = places[(i + 1) % places.length]!;
        // Now one is first, now the other: the first finds less in the kernel's caches.
        for (const kind of i % 4 < 2
          ? (['full', 'empty'] as const)
          : (['empty', 'full'] as const)) {
          const old = join(from, `${kind}-${i % 2}`);
          const now = join(to, `${kind}-${(i + 1) % 2}`);
          times[kind].push(microseconds(() => renameSync(old, now)));
        }
      }
      return { value: median(times.full), baseline: median(times.empty) };
    };
    const inside = measure([here]);
    const across = measure([here, there]);
    const name = `posix: rename of a directory of ${files} files`;
    const aim = { maxRatio: 1.5 };
    return [
      row(name, 'µs', inside.value, { baseline: inside.baseline, ...aim }),
      row(`${name} to another target`, 'µs', across.value, { baseline: across.baseline, ...aim }),
    ];
  }

  /** One at a time and in turns, so that what the machine does meanwhile falls on all of them. */
  #acrossRows(): Row[] {
    const [here, there] = this.#twoTargets();
    const times = { create: [] as number[], mkdir: [] as number[], rename: [] as number[] };
    const holder = this.#memberOf(here);
    for (let i = 0; i < this.#sizes.operations; i++) {
      const file = join(here, `file-${i}`);
      let descriptor = 0;
      times.create.push(microseconds(() => (descriptor = openSync(file, 'wx'))));
      closeSync(descriptor);
      const directory = join(here, `directory-${i}`);
      const taken = microseconds(() => {
        mkdirSync(directory);
      });
      // Where a new directory lies is hashed from its name.
      if (this.#memberOf(directory) !== holder) times.mkdir.push(taken);
      const moved = join(there, `file-${i}`);
      times.rename.push(microseconds(() => renameSync(file, moved)));
    }
    const aim = { baseline: median(times.create), maxRatio: 3 };
    return [
      row('posix: mkdir on another target', 'µs', median(times.mkdir), aim),
      row('posix: rename to another target', 'µs', median(times.rename), aim),
    ];
  }

  /** Files a second that `rm -rf` removes, beside the making of the tree. */
  #removeRow(): Row {
    const { files } = this.#sizes;
    const tree = this.#makeDirectory();
    const made = microseconds(() => {
      for (let i = 0; i < files; i++) {
        const directory = join(tree, `part-${Math.floor(i / filesPerDirectory)}`);
        if (i % filesPerDirectory === 0) mkdirSync(directory);
        writeFileSync(join(directory, `file-${i}`), smallFile);
      }
    });
    const removed = microseconds(() => {
      execFileSync('rm', ['-rf', tree]);
    });
    const rate = (taken: number): number => files / (taken / 1e6);
    const name = `posix: rm -rf of ${files} files of 1 KiB`;
    return row(name, 'files/s', rate(removed), { baseline: rate(made), minRatio: 1 });
  }

  /** MiB/s of copy_file_range to a new file, which clones, beside read and write. */
  async #cloneRow(): Promise<Row> {
    const { fileMebibytes, rounds } = this.#sizes;
    const directory = this.#makeDirectory();
    const source = join(directory, 'source');
    const copy = join(directory, 'copy');
    const block = Buffer.alloc(mebibyte, 'noise that no one reads');
    const file = openSync(source, 'wx');
    for (let i = 0; i < fileMebibytes; i++) writeSync(file, block);
    closeSync(file);
    const rate = (body: () => void): number => {
      const taken = microseconds(body);
      if (statSync(copy).size !== fileMebibytes * mebibyte) throw new Error('the copy is short');
      rmSync(copy);
      return fileMebibytes / (taken / 1e6);
    };
    const [cloned, copied] = await alternate(rounds, [
      () =>
        rate(() => {
          copyFileSync(source, copy);
        }),
      () =>
        rate(() => {
          copyThrough(source, copy, block);
        }),
    ]);
    const name = `posix: clone of ${fileMebibytes} MiB`;
    return row(name, 'MiB/s', cloned!, { baseline: copied!, minRatio: 50 });
  }
}

/** Copies a file by read and write, a block at a time. */
function copyThrough(from: string, to: string, block: Buffer): void {
  const source = openSync(from, 'r');
  const target = openSync(to, 'wx');
  for (let length = block.length; length > 0;) {
    length = readSync(source, block);
    writeSync(target, block, 0, length);
  }
  closeSync(source);
  closeSync(target);
}

/** Inside `sealfs up --servers 1 --targets 2 -- …`. */
export async function benchPosixInside(tiny: boolean): Promise<Row[]> {
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set');
  const table = BucketTable.build(await new ManagerClient(manager).map());
  const mountpoint = mkdtempSync(join(tmpdir(), 'sealfs-bench-posix-'));
  execFileSync(process.execPath, [sealfs, 'mount', 'default', mountpoint]);
  try {
    return await new PosixBench(mountpoint, table, tiny ? instant : full).rows();
  } finally {
    execFileSync(process.execPath, [sealfs, 'umount', mountpoint]);
    rmSync(mountpoint, { recursive: true });
  }
}
