/** The local file system as a side of a copy (tree-copy.ts). Names are bytes here, too. */
import { constants } from 'node:fs';
import type { Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import { Limiter } from './limiter.js';
import type {
  SmallFile,
  TreeEntry,
  TreeKind,
  TreeReader,
  TreeSide,
  TreeWriter,
} from './tree-copy.js';

/** Entries of one page; so many are looked at, or written, together. */
const PAGE_ENTRIES = 512;
/** Small files that are read or written at a time. */
const FILES_MAX = 32;
const SLASH = Buffer.from('/');
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;

export interface LocalDirectory {
  path: Buffer;
}

function below(directory: LocalDirectory, name: Uint8Array): Buffer {
  return Buffer.concat([directory.path, SLASH, name]);
}

function kindOf(stats: Stats): TreeKind {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
}

/** As an entry that is copied. */
export function localEntry(name: Uint8Array, stats: Stats): TreeEntry {
  const { mode, size } = stats;
  return { name, kind: kindOf(stats), mode: mode & 0o7777, size, place: undefined };
}

class LocalFile implements TreeReader, TreeWriter {
  readonly #file: fs.FileHandle;

  constructor(file: fs.FileHandle) {
    this.#file = file;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const left = target.length - done;
      const { bytesRead } = await this.#file.read(target, done, left, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }

  async write(source: Uint8Array, position: number): Promise<void> {
    let done = 0;
    while (done < source.length) {
      const left = source.length - done;
      done += (await this.#file.write(source, done, left, position + done)).bytesWritten;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

export class LocalSide implements TreeSide<LocalDirectory> {
  readonly #limiter = new Limiter(FILES_MAX);

  pathOf(directory: LocalDirectory, name?: Uint8Array): string {
    return (name === undefined ? directory.path : below(directory, name)).toString();
  }

  async *pages(directory: LocalDirectory): AsyncGenerator<TreeEntry[]> {
    const names = await fs.readdir(directory.path, { encoding: 'buffer' });
    for (let from = 0; from < names.length; from += PAGE_ENTRIES) {
      const page = await Promise.all(
        names.slice(from, from + PAGE_ENTRIES).map(async (name) => {
          const stats = await fs.lstat(below(directory, name)).catch(absent);
          return stats === undefined ? undefined : localEntry(name, stats);
        }),
      );
      yield page.filter((entry) => entry !== undefined);
    }
  }

  enter(directory: LocalDirectory, entry: TreeEntry): LocalDirectory {
    return { path: below(directory, entry.name) };
  }

  /** One that this process cannot write to could not be filled: its owner may always. */
  async makeDirectory(
    directory: LocalDirectory,
    name: Uint8Array,
    mode: number,
  ): Promise<LocalDirectory> {
    const path = below(directory, name);
    try {
      await fs.mkdir(path, { mode: mode | 0o700 });
    } catch (error) {
      const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST';
      if (!isThere || !(await fs.stat(path)).isDirectory()) throw error;
    }
    return { path };
  }

  readSmall(
    directory: LocalDirectory,
    entries: readonly TreeEntry[],
  ): Promise<(Uint8Array | Error)[]> {
    return Promise.all(
      entries.map(({ name }) =>
        this.#limiter.run(() => fs.readFile(below(directory, name))).catch(asError),
      ),
    );
  }

  writeSmall(
    directory: LocalDirectory,
    files: readonly SmallFile[],
  ): Promise<(Error | undefined)[]> {
    return Promise.all(
      files.map(({ name, mode, data }) =>
        this.#limiter
          .run(() => fs.writeFile(below(directory, name), data, { mode }))
          .then(() => undefined, asError),
      ),
    );
  }

  async openFile(directory: LocalDirectory, entry: TreeEntry): Promise<TreeReader> {
    return new LocalFile(await fs.open(below(directory, entry.name), 'r'));
  }

  async makeFile(directory: LocalDirectory, name: Uint8Array, mode: number): Promise<TreeWriter> {
    return new LocalFile(await fs.open(below(directory, name), NEW_FILE, mode));
  }

  readLink(directory: LocalDirectory, entry: TreeEntry): Promise<Uint8Array> {
    return fs.readlink(below(directory, entry.name), { encoding: 'buffer' });
  }

  async makeLink(directory: LocalDirectory, name: Uint8Array, target: Uint8Array): Promise<void> {
    await fs.symlink(Buffer.from(target), below(directory, name));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** What is gone when it is looked at was not there. */
function absent(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
