/**
 * Copying trees between two sides, each a volume or the local file system (tree-sides.ts): directories side by
 * side, each page by page; small files of a page are read and written in batches, larger ones a few at a time, by
 * clones where both ends are of one volume. What is there is gone into (directories) or replaced (files).
 * Modes are copied (permission bits), owners, times and extended attributes are not; a file of several names becomes
 * several files.
 */
import { inlineDataBytes } from '../protocol/limits.generated.js';
import { Limiter } from './limiter.js';

/** Directories that are read, pages that are copied, at a time. */
const PAGES_MAX = 8;
/** Files beyond the small ones that are copied at a time. */
const FILES_MAX = 8;
const PERMISSION_BITS = 0o777;

export type TreeKind = 'file' | 'directory' | 'symlink' | 'other';

/** One entry of a directory that is copied. */
export interface TreeEntry {
  name: Uint8Array;
  kind: TreeKind;
  /** Permission bits. */
  mode: number;
  size: number;
  /** The side's own: what it needs to find it again. */
  place: unknown;
}

export interface TreeReader {
  /** Fills `target` from this byte on; returns how much there was. */
  read(target: Uint8Array, position: number): Promise<number>;
  close(): void | Promise<void>;
}

export interface TreeWriter {
  write(source: Uint8Array, position: number): Promise<void>;
  close(): void | Promise<void>;
}

/** A file with its whole content, for `writeSmall`. */
export interface SmallFile {
  name: Uint8Array;
  mode: number;
  data: Uint8Array;
}

/** Where a tree is read from or written to. D: what stands for a directory. All reject with errors for people. */
export interface TreeSide<D> {
  pathOf(directory: D, name?: Uint8Array): string;
  pages(directory: D): AsyncIterable<TreeEntry[]>;
  /** The directory that this entry is. */
  enter(directory: D, entry: TreeEntry): D;
  /** A directory of this name, made or there already. */
  makeDirectory(directory: D, name: Uint8Array, mode: number): Promise<D>;
  /** Contents, or why not, in the order of the entries, all of them small files. */
  readSmall(directory: D, entries: readonly TreeEntry[]): Promise<(Uint8Array | Error)[]>;
  writeSmall(directory: D, files: readonly SmallFile[]): Promise<(Error | undefined)[]>;
  openFile(directory: D, entry: TreeEntry): Promise<TreeReader>;
  /** Made, or emptied. */
  makeFile(directory: D, name: Uint8Array, mode: number): Promise<TreeWriter>;
  readLink(directory: D, entry: TreeEntry): Promise<Uint8Array>;
  makeLink(directory: D, name: Uint8Array, target: Uint8Array): Promise<void>;
}

export interface CopyCounts {
  files: number;
  directories: number;
  links: number;
  bytes: number;
}

export interface CopyOptions {
  onProgress?: (counts: CopyCounts) => void;
  /** What cannot be copied, by its path; the others are. Without it the first of them rejects. */
  onError?: (path: string, error: Error) => void;
  /** Copies all of one open file to another, if these two can do that better; false: they cannot. */
  clone?: (from: TreeReader, to: TreeWriter) => Promise<number> | undefined;
}

export class TreeCopy<S, D> {
  readonly counts: CopyCounts = { files: 0, directories: 0, links: 0, bytes: 0 };
  readonly #from: TreeSide<S>;
  readonly #to: TreeSide<D>;
  readonly #options: CopyOptions;
  readonly #pages = new Limiter(PAGES_MAX);
  readonly #files = new Limiter(FILES_MAX);

  constructor(from: TreeSide<S>, to: TreeSide<D>, options: CopyOptions = {}) {
    this.#from = from;
    this.#to = to;
    this.#options = options;
  }

  /** One entry, with all that is below it, under another name. */
  async copyEntry(source: S, entry: TreeEntry, target: D, name: Uint8Array): Promise<void> {
    await this.#copyPage(source, [entry], target, () => name);
  }

  /** All that is in a directory. */
  async #copyDirectory(source: S, target: D): Promise<void> {
    const pages = this.#from.pages(source)[Symbol.asyncIterator]();
    try {
      for (;;) {
        const page = await this.#pages.run(() => pages.next());
        if (page.done === true) return;
        await this.#copyPage(source, page.value, target, ({ name }) => name);
      }
    } catch (error) {
      this.#failed(this.#from.pathOf(source), error);
    } finally {
      await pages.return?.();
    }
  }

  async #copyPage(
    source: S,
    entries: readonly TreeEntry[],
    target: D,
    nameOf: (entry: TreeEntry) => Uint8Array,
  ): Promise<void> {
    const small: TreeEntry[] = [];
    const others: Promise<void>[] = [];
    for (const entry of entries) {
      if (entry.kind === 'file' && entry.size <= inlineDataBytes) small.push(entry);
      else others.push(this.#copyOther(source, entry, target, nameOf(entry)));
    }
    if (small.length > 0) others.push(this.#copySmall(source, small, target, nameOf));
    await Promise.all(others);
  }

  async #copySmall(
    source: S,
    entries: readonly TreeEntry[],
    target: D,
    nameOf: (entry: TreeEntry) => Uint8Array,
  ): Promise<void> {
    await this.#pages.run(async () => {
      const contents = await this.#from.readSmall(source, entries);
      const read: SmallFile[] = [];
      for (const [i, entry] of entries.entries()) {
        const data = contents[i]!;
        if (data instanceof Error) this.#failed(this.#from.pathOf(source, entry.name), data);
        else read.push({ name: nameOf(entry), mode: entry.mode & PERMISSION_BITS, data });
      }
      const outcomes = await this.#to.writeSmall(target, read);
      for (const [i, { name, data }] of read.entries()) {
        const failure = outcomes[i];
        if (failure !== undefined) this.#failed(this.#to.pathOf(target, name), failure);
        else this.#copied('files', data.length);
      }
    });
  }

  async #copyOther(source: S, entry: TreeEntry, target: D, name: Uint8Array): Promise<void> {
    try {
      if (entry.kind === 'directory') {
        const made = await this.#to.makeDirectory(target, name, entry.mode & PERMISSION_BITS);
        this.#copied('directories', 0);
        await this.#copyDirectory(this.#from.enter(source, entry), made);
      } else if (entry.kind === 'symlink') {
        await this.#files.run(async () => {
          const link = await this.#from.readLink(source, entry);
          await this.#to.makeLink(target, name, link);
        });
        this.#copied('links', 0);
      } else if (entry.kind === 'file') {
        const bytes = await this.#files.run(() => this.#copyFile(source, entry, target, name));
        this.#copied('files', bytes);
      } else throw new Error('neither a file nor a directory nor a symbolic link; not copied');
    } catch (error) {
      this.#failed(this.#from.pathOf(source, entry.name), error);
    }
  }

  async #copyFile(source: S, entry: TreeEntry, target: D, name: Uint8Array): Promise<number> {
    const from = await this.#from.openFile(source, entry);
    try {
      const to = await this.#to.makeFile(target, name, entry.mode & PERMISSION_BITS);
      try {
        return await (this.#options.clone?.(from, to) ?? copyBytes(from, to));
      } finally {
        await to.close();
      }
    } finally {
      await from.close();
    }
  }

  #copied(what: 'files' | 'directories' | 'links', bytes: number): void {
    this.counts[what]++;
    this.counts.bytes += bytes;
    this.#options.onProgress?.(this.counts);
  }

  #failed(path: string, error: unknown): void {
    if (!(error instanceof Error) || this.#options.onError === undefined) throw error;
    this.#options.onError(path, error);
  }
}

const PIECE_BYTES = 2 ** 20;

async function copyBytes(from: TreeReader, to: TreeWriter): Promise<number> {
  const piece = new Uint8Array(PIECE_BYTES);
  let done = 0;
  for (;;) {
    const bytes = await from.read(piece, done);
    if (bytes === 0) return done;
    await to.write(piece.subarray(0, bytes), done);
    done += bytes;
  }
}
