/**
 * A ClientRequest that ends in a promise: for the promise API, where one object for each call does
 * not matter. What a reply lends is copied.
 */
import { errnoName } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { FileAttributes, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from './attributes.js';
import { EntryCursor } from './listing-page.js';
import { FileSystemTotals, PageUse, VALID_AS_OPTIONS } from './request.js';
import type { ClientRequest } from './request.js';

/** What an operation of the promise API rejects with; shaped as errors of node:fs. */
export class FileError extends Error {
  /** The errno's name, 'ENOENT'. */
  readonly code: string;
  /** Negative, as in node:fs. */
  readonly errno: number;
  readonly syscall: string;
  readonly path: string;

  constructor(status: number, syscall: string, path: string) {
    const code = errnoName(status);
    super(`${code}: ${syscall} '${path}'`);
    this.name = 'FileError';
    this.code = code;
    this.errno = -status;
    this.syscall = syscall;
    this.path = path;
  }
}

/** A copy of a file's attributes. Times in seconds and nanoseconds. */
export class FileStats {
  readonly inode: number;
  readonly size: number;
  readonly blocks: number;
  readonly mode: number;
  readonly linkCount: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly atimeSeconds: number;
  readonly atimeNanoseconds: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly ctimeSeconds: number;
  readonly ctimeNanoseconds: number;

  constructor(from: FileAttributes) {
    this.inode = from.inode;
    this.size = from.sizeBytes;
    this.blocks = from.blocks;
    this.mode = from.mode;
    this.linkCount = from.linkCount;
    this.uid = from.uid;
    this.gid = from.gid;
    this.rdev = from.rdev;
    this.atimeSeconds = from.atimeSeconds;
    this.atimeNanoseconds = from.atimeNanoseconds;
    this.mtimeSeconds = from.mtimeSeconds;
    this.mtimeNanoseconds = from.mtimeNanoseconds;
    this.ctimeSeconds = from.ctimeSeconds;
    this.ctimeNanoseconds = from.ctimeNanoseconds;
  }

  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  isFile(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  isSymbolicLink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }
}

/** One name of a directory. */
export interface ListedEntry {
  /** As it is stored: any bytes but NUL and '/'. */
  nameBytes: Uint8Array;
  inode: number;
  /** Type bits. */
  mode: number;
  cookie: number;
  /** If they were asked for and lie where the directory does. */
  stats: FileStats | undefined;
}

export class Answer implements ClientRequest {
  readonly uid: number;
  readonly gid: number;
  readonly umask = 0;
  readonly dropsSetId: boolean;
  readonly readsSilently = false;
  synchronous = false;
  entryValidMs = VALID_AS_OPTIONS;
  attributesValidMs = VALID_AS_OPTIONS;
  pageUse: PageUse = PageUse.AsOptions;
  permissionsOnly = false;
  stats: FileStats | undefined;
  handle = 0;
  lengthBytes = 0;
  offset = 0;
  text: Uint8Array = new Uint8Array(0);
  entries: ListedEntry[] = [];
  /** Of entries: nothing follows. */
  last = false;
  totals = new FileSystemTotals();
  lock = { kind: 0, start: 0, last: 0, pid: 0 };
  readonly #arena: ArenaMemory;
  readonly #settle: (status: number) => void;

  /** `settle` gets 0 or an errno, once. */
  constructor(arena: ArenaMemory, uid: number, gid: number, settle: (status: number) => void) {
    this.#arena = arena;
    this.uid = uid;
    this.gid = gid;
    this.dropsSetId = uid !== 0;
    this.#settle = settle;
  }

  asksPermissions(): boolean {
    return this.permissionsOnly;
  }

  replyError(status: number): void {
    this.#settle(status);
  }

  replyDone(): void {
    this.#settle(0);
  }

  replyEntry(attributes: FileAttributes): void {
    this.stats = new FileStats(attributes);
    this.#settle(0);
  }

  replyAttributes(attributes: FileAttributes): void {
    this.stats = new FileStats(attributes);
    this.#settle(0);
  }

  replyCreated(attributes: FileAttributes, handle: number): void {
    this.stats = new FileStats(attributes);
    this.handle = handle;
    this.#settle(0);
  }

  replyOpened(handle: number): void {
    this.handle = handle;
    this.#settle(0);
  }

  replyText(offset: number, lengthBytes: number): void {
    this.text = this.#arena.bytes.slice(offset, offset + lengthBytes);
    this.#settle(0);
  }

  replyRead(lengthBytes: number): void {
    this.lengthBytes = lengthBytes;
    this.#settle(0);
  }

  replyWritten(lengthBytes: number): void {
    this.lengthBytes = lengthBytes;
    this.#settle(0);
  }

  replyOffset(byte: number): void {
    this.offset = byte;
    this.#settle(0);
  }

  replyEntries(offset: number, lengthBytes: number, last: boolean): void {
    const { bytes, words } = this.#arena;
    const cursor = new EntryCursor();
    cursor.start(words, offset, lengthBytes);
    while (cursor.next()) {
      this.entries.push({
        nameBytes: bytes.slice(cursor.nameOffset, cursor.nameOffset + cursor.nameBytes),
        inode: cursor.inode,
        mode: cursor.mode,
        cookie: cursor.cookie,
        stats:
          cursor.attributesOffset === 0
            ? undefined
            : new FileStats(new FileAttributes(words, cursor.attributesOffset)),
      });
    }
    this.last = last;
    this.#settle(0);
  }

  replyXattr(offset: number, lengthBytes: number): void {
    this.text = this.#arena.bytes.slice(offset, offset + lengthBytes);
    this.#settle(0);
  }

  replyStatFs(totals: FileSystemTotals): void {
    this.totals = totals;
    this.#settle(0);
  }

  replyLock(kind: number, start: number, last: number, pid: number): void {
    this.lock = { kind, start, last, pid };
    this.#settle(0);
  }
}
