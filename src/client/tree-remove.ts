/**
 * Removing a tree: directories side by side, each page by page, what is no directory in batches. What
 * somebody else has removed meanwhile is as good as removed here.
 *
 *   directory ─> page ─┬─ files: one batch ─────────────────> next page
 *                      └─ directories: each the same, then rmdir
 */
import { errno } from '../common/errno.js';
import { FileError } from './answer.js';
import type { ListedEntry } from './answer.js';
import { S_IFDIR, S_IFMT } from './attributes.js';
import { Limiter } from './limiter.js';
import { oneOfMany } from './many-files.js';
import type { VolumeFiles } from './volume-files.js';
import { reference } from './volume-paths.js';

/** Directories that are read at a time. */
const DIRECTORIES_MAX = 16;
/** Removals of one directory that somebody else puts entries into. */
const ATTEMPTS_MAX = 4;

const decoder = new TextDecoder();

export class TreeRemoval {
  readonly #files: VolumeFiles;
  readonly #report: ((removed: number) => void) | undefined;
  readonly #refused: (error: FileError) => void;
  readonly #limiter = new Limiter(DIRECTORIES_MAX);
  #removed = 0;

  /** Without `onError` the first thing that cannot be removed rejects. */
  constructor(
    files: VolumeFiles,
    onProgress?: (removed: number) => void,
    onError?: (error: FileError) => void,
  ) {
    this.#files = files;
    this.#report = onProgress;
    this.#refused =
      onError ??
      ((error) => {
        throw error;
      });
  }

  /** All that is in the directory; whether all of it is gone. */
  async removeContent(path: string, inode: number): Promise<boolean> {
    const pages = this.#files.pages(path, inode);
    let all = true;
    try {
      for (;;) {
        const page = await this.#limiter.run(() => pages.next());
        if (page.done === true) return all;
        if (!(await this.#removePage(path, inode, page.value))) all = false;
      }
    } catch (error) {
      if (error instanceof FileError && error.code === 'ENOENT') return all;
      throw error;
    } finally {
      await pages.return(undefined);
    }
  }

  async #removePage(path: string, inode: number, entries: ListedEntry[]): Promise<boolean> {
    const isDirectory = ({ mode }: ListedEntry): boolean => (mode & S_IFMT) === S_IFDIR;
    const others = entries.filter((entry) => !isDirectory(entry));
    const outcomes = await Promise.all([
      this.#unlink(path, inode, others),
      ...entries.filter(isDirectory).map((entry) => {
        const below = `${path.replace(/\/$/, '')}/${decoder.decode(entry.nameBytes)}`;
        return this.#removeDirectory(below, inode, entry);
      }),
    ]);
    return outcomes.every(Boolean);
  }

  async #unlink(path: string, inode: number, entries: ListedEntry[]): Promise<boolean> {
    const { many, core } = this.#files;
    const ones = entries.map(({ nameBytes }) => oneOfMany(inode, nameBytes));
    await this.#limiter.run(() => many.unlink(ones));
    const pathOf = (i: number): string => `${path}/${decoder.decode(entries[i]!.nameBytes)}`;
    const results = await many.settle<undefined>(
      ones,
      'unlink',
      pathOf,
      () => undefined,
      async (i) => {
        await this.#files.call('unlink', pathOf(i), (request) => {
          core.unlink(request, inode, reference(ones[i]!.name));
        });
        return undefined;
      },
    );
    let all = true;
    for (const error of results) if (!this.#isGone(error)) all = false;
    this.#count(entries.length);
    return all;
  }

  /** A directory of this name with all that is in it. */
  async #removeDirectory(path: string, parent: number, entry: ListedEntry): Promise<boolean> {
    const { core } = this.#files;
    for (let attempt = 1; ; attempt++) {
      if (!(await this.removeContent(path, entry.inode))) return false;
      try {
        await this.#files.call('rmdir', path, (request) => {
          core.removeDirectory(request, parent, reference(entry.nameBytes));
        });
        this.#count(1);
        return true;
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        // Something was added, or a page was passed over by an entry that took another's place.
        if (error.errno === -errno.ENOTEMPTY && attempt < ATTEMPTS_MAX) continue;
        return this.#isGone(error);
      }
    }
  }

  #isGone(error: FileError | undefined): boolean {
    if (error === undefined || error.code === 'ENOENT') return true;
    this.#refused(error);
    return false;
  }

  #count(entries: number): void {
    this.#removed += entries;
    this.#report?.(this.#removed);
  }
}
