/** A volume as a side of a copy (tree-copy.ts): small files in batches, everything by inode once it is found. */
import { errno } from '../common/errno.js';
import { FileError } from './answer.js';
import type { FileStats, ListedEntry } from './answer.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './attributes.js';
import { FileHandle } from './file-handle.js';
import { oneOfMany } from './many-files.js';
import type { OneOfMany } from './many-files.js';
import type {
  SmallFile,
  TreeEntry,
  TreeKind,
  TreeReader,
  TreeSide,
  TreeWriter,
} from './tree-copy.js';
import type { VolumeFiles } from './volume-files.js';
import { reference } from './volume-paths.js';

const decoder = new TextDecoder();

export interface VolumeDirectory {
  path: string;
  inode: number;
}

function kindOf(mode: number): TreeKind {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return 'file';
    case S_IFDIR:
      return 'directory';
    case S_IFLNK:
      return 'symlink';
    default:
      return 'other';
  }
}

/** As an entry that is copied. */
export function volumeEntry(name: Uint8Array, stats: FileStats): TreeEntry {
  const { mode, size, inode } = stats;
  return { name, kind: kindOf(mode), mode: mode & 0o7777, size, place: inode };
}

export class VolumeSide implements TreeSide<VolumeDirectory> {
  readonly #files: VolumeFiles;

  constructor(files: VolumeFiles) {
    this.#files = files;
  }

  pathOf({ path }: VolumeDirectory, name?: Uint8Array): string {
    if (name === undefined) return path;
    return `${path.replace(/\/$/, '')}/${decoder.decode(name)}`;
  }

  async *pages({ path, inode }: VolumeDirectory): AsyncGenerator<TreeEntry[]> {
    for await (const listed of this.#files.pages(path, inode, true)) {
      const stats = await this.#statsOf(inode, listed);
      const entries: TreeEntry[] = [];
      for (const [i, { nameBytes }] of listed.entries()) {
        const found = stats[i];
        // Without attributes: removed since it was listed.
        if (found !== undefined) entries.push(volumeEntry(nameBytes, found));
      }
      yield entries;
    }
  }

  /** Attributes that the listing has not, since their inodes lie elsewhere, are asked for all at once. */
  async #statsOf(
    inode: number,
    listed: readonly ListedEntry[],
  ): Promise<(FileStats | undefined)[]> {
    const stats = listed.map((entry) => entry.stats);
    const lacking = listed.filter((entry) => entry.stats === undefined);
    if (lacking.length === 0) return stats;
    const ones = lacking.map(({ nameBytes }) => oneOfMany(inode, nameBytes));
    await this.#files.many.lookup(ones);
    const looked = await this.#settle(
      ones,
      'lstat',
      '',
      (one) => one.stats!,
      (one, path) => this.#files.lookup('lstat', path, inode, one.name),
    );
    let next = 0;
    return stats.map((known) => {
      if (known !== undefined) return known;
      const found = looked[next++]!;
      if (!(found instanceof FileError)) return found;
      if (found.code === 'ENOENT') return undefined;
      throw found;
    });
  }

  #settle<T>(
    ones: readonly OneOfMany[],
    syscall: string,
    directory: string,
    value: (one: OneOfMany) => T,
    ask: (one: OneOfMany, path: string) => Promise<T>,
  ): Promise<(T | FileError)[]> {
    const pathOf = (i: number): string => `${directory}/${decoder.decode(ones[i]!.name)}`;
    return this.#files.many.settle(ones, syscall, pathOf, value, (i) => ask(ones[i]!, pathOf(i)));
  }

  enter(directory: VolumeDirectory, entry: TreeEntry): VolumeDirectory {
    return { path: this.pathOf(directory, entry.name), inode: entry.place as number };
  }

  async makeDirectory(
    directory: VolumeDirectory,
    name: Uint8Array,
    mode: number,
  ): Promise<VolumeDirectory> {
    const path = this.pathOf(directory, name);
    const { core } = this.#files;
    try {
      const made = await this.#files.call('mkdir', path, (request) => {
        core.makeDirectory(request, directory.inode, reference(name), mode);
      });
      return { path, inode: made.stats!.inode };
    } catch (error) {
      if (!(error instanceof FileError) || error.code !== 'EEXIST') throw error;
      const stats = await this.#files.stat(path);
      if (!stats.isDirectory()) throw error;
      return { path, inode: stats.inode };
    }
  }

  async readSmall(
    { path, inode }: VolumeDirectory,
    entries: readonly TreeEntry[],
  ): Promise<(Uint8Array | Error)[]> {
    const ones = entries.map(({ name }) => oneOfMany(inode, name));
    await this.#files.many.read(ones);
    for (const one of ones) {
      if (one.status === 0 && one.content === undefined) one.status = errno.EAGAIN;
    }
    return this.#settle(
      ones,
      'read',
      path,
      (one) => one.content!,
      (_, below) => this.#files.readFile(below),
    );
  }

  async writeSmall(
    { path, inode }: VolumeDirectory,
    files: readonly SmallFile[],
  ): Promise<(Error | undefined)[]> {
    const ones = files.map(({ name, mode, data }) => ({ ...oneOfMany(inode, name), mode, data }));
    await this.#files.many.write(ones);
    return this.#settle<undefined>(
      ones,
      'write',
      path,
      () => undefined,
      async (one, below) => {
        await this.#files.writeFile(below, one.data, 'w', one.mode);
        return undefined;
      },
    );
  }

  openFile(directory: VolumeDirectory, entry: TreeEntry): Promise<TreeReader> {
    return this.#files.open(this.pathOf(directory, entry.name), 'r');
  }

  makeFile(directory: VolumeDirectory, name: Uint8Array, mode: number): Promise<TreeWriter> {
    return this.#files.open(this.pathOf(directory, name), 'w', mode);
  }

  async readLink(directory: VolumeDirectory, entry: TreeEntry): Promise<Uint8Array> {
    const path = this.pathOf(directory, entry.name);
    const answer = await this.#files.call('readlink', path, (request) => {
      this.#files.core.readLink(request, entry.place as number);
    });
    return answer.text;
  }

  async makeLink(directory: VolumeDirectory, name: Uint8Array, target: Uint8Array): Promise<void> {
    const { core } = this.#files;
    await this.#files.call('symlink', this.pathOf(directory, name), (request) => {
      core.symlink(request, directory.inode, reference(name), reference(target));
    });
  }
}

/** Both ends are files of one volume, which copies by sharing blocks; undefined: they are not. */
export function cloneWithin(from: TreeReader, to: TreeWriter): Promise<number> | undefined {
  return from instanceof FileHandle && to instanceof FileHandle ? from.copyTo(to) : undefined;
}
