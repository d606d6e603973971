/** Walking a tree: directories side by side, the entries of each handed out page by page. */
import { FileError } from './answer.js';
import type { FileStats } from './answer.js';
import { S_IFDIR, S_IFMT } from './attributes.js';
import { Limiter } from './limiter.js';
import type { VolumeFiles } from './volume-files.js';

/** Directories that are read at a time. */
const DIRECTORIES_MAX = 16;

const decoder = new TextDecoder();

/** One name that was found. */
export interface FoundEntry {
  path: string;
  name: string;
  inode: number;
  /** Type bits. */
  mode: number;
}

/**
 * Visits what is at `path`, then, if it is a directory, all below it: a directory before what is in it, else in no
 * particular order. What is removed meanwhile may or may not be visited. `onError` hears of directories that
 * cannot be read; without it they reject.
 */
export async function findTree(
  files: VolumeFiles,
  path: string,
  visit: (entry: FoundEntry) => void,
  onError?: (error: FileError) => void,
): Promise<void> {
  const stats: FileStats = await files.lstat(path);
  const name = path.split('/').findLast((part) => part !== '') ?? '/';
  const { inode } = stats;
  visit({ path, name, inode, mode: stats.mode & S_IFMT });
  if (stats.isDirectory()) await new Walk(files, visit, onError).directory(path, inode);
}

class Walk {
  readonly #files: VolumeFiles;
  readonly #visit: (entry: FoundEntry) => void;
  readonly #onError: ((error: FileError) => void) | undefined;
  readonly #limiter = new Limiter(DIRECTORIES_MAX);

  constructor(
    files: VolumeFiles,
    visit: (entry: FoundEntry) => void,
    onError: ((error: FileError) => void) | undefined,
  ) {
    this.#files = files;
    this.#visit = visit;
    this.#onError = onError;
  }

  async directory(path: string, inode: number): Promise<void> {
    const pages = this.#files.pages(path, inode);
    try {
      for (;;) {
        const page = await this.#limiter.run(() => pages.next());
        if (page.done === true) return;
        const below: Promise<void>[] = [];
        for (const { nameBytes, inode: found, mode } of page.value) {
          const name = decoder.decode(nameBytes);
          const entry = { path: `${path.replace(/\/$/, '')}/${name}`, name, inode: found, mode };
          this.#visit(entry);
          if ((mode & S_IFMT) === S_IFDIR) below.push(this.directory(entry.path, found));
        }
        await Promise.all(below);
      }
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      // Somebody has removed it: then there is nothing in it.
      if (error.code === 'ENOENT') return;
      if (this.#onError === undefined) throw error;
      this.#onError(error);
    } finally {
      await pages.return(undefined);
    }
  }
}
