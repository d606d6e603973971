/**
 * What a front end (FUSE, the promise API, the interception shim) hands to the core with every
 * operation: who asks, and where the answer goes. Objects are pooled by the front end. The core
 * calls exactly one reply method, possibly before the operation's method has returned, and does
 * not touch the request afterwards.
 *
 * Memory: whatever a reply method is given (attributes, arena offsets of texts and entries) is
 * valid until that method returns. Data areas handed to `read`, `write` and `readDirectory` belong
 * to the core from the call until the reply.
 */
import { errno } from '../common/errno.js';
import { nameHash44 } from '../placement/hash.js';
import type { FileAttributes } from './attributes.js';
import type { NameText } from './leases/name-text.js';

/** entryValidMs, attributesValidMs: as the front end's options say; absence: not at all. */
export const VALID_AS_OPTIONS = -1;

/** What a kernel may do with the pages of a file while this open of it lasts. */
export const PageUse = {
  /** As the front end's options say. */
  AsOptions: 0,
  /** Every read and write comes here (but for mappings). */
  Direct: 1,
  /** It may cache them from now on; what it had from earlier opens is dropped. */
  Cached: 2,
  /** It may cache them, and use what it has from earlier opens. */
  Kept: 3,
} as const;
export type PageUse = (typeof PageUse)[keyof typeof PageUse];

export interface ClientRequest {
  /** Owner of what is created. */
  uid: number;
  gid: number;
  /** Bits that what is created does not get, unless a default ACL says what it gets. */
  umask: number;
  /** Files that it writes to or truncates lose their set-ID bits: it has not CAP_FSETID. */
  dropsSetId: boolean;
  /** O_NOATIME: its reads leave the access time as it is. */
  readsSilently: boolean;
  /** write: what was written is power-safe before the reply (O_SYNC, O_DSYNC). */
  readonly synchronous: boolean;

  /**
   * For how many milliseconds the front end (and with it a kernel) may believe the reply without
   * asking again; set by the core before it replies, VALID_AS_OPTIONS otherwise. Entries: replyEntry,
   * replyCreated, replyEntries (of each), the absence that a lookup's replyError(ENOENT) tells, and replyDone of rename (the names
   * that there are now).
   */
  entryValidMs: number;
  /** The same for attributes; also of replyAttributes. */
  attributesValidMs: number;
  /** Set by the core before replyOpened and replyCreated of a file. */
  pageUse: PageUse;

  /**
   * getattr, lookup: the caller wants a directory's attributes only to check permissions in it, so its times, size
   * and count of links need not be true. Asked when that saves a request; true only if it is certain.
   */
  asksPermissions(): boolean;

  /** Any operation: an errno, never 0. */
  replyError(status: number): void;
  /** setxattr, removexattr, unlink, rmdir, rename, release, fsync, allocate, ensureRoot, dropEmptyRoot, lock, flushLocks. */
  replyDone(): void;
  /** lookup, mknod, mkdir, symlink, link. */
  replyEntry(attributes: FileAttributes): void;
  /** getattr, setattr. */
  replyAttributes(attributes: FileAttributes): void;
  /** create: a new entry and an open handle. */
  replyCreated(attributes: FileAttributes, handle: number): void;
  /** open, openDirectory. */
  replyOpened(handle: number): void;
  /** readlink: `lengthBytes` bytes of arena memory. */
  replyText(offset: number, lengthBytes: number): void;
  /** read: so many bytes lie in the landing area; fewer than asked for only at the file's end. */
  replyRead(lengthBytes: number): void;
  /** write: always the whole length. */
  replyWritten(lengthBytes: number): void;
  /** seek: the byte that was found. */
  replyOffset(byte: number): void;
  /**
   * readDirectory: packed DirEntry records (`EntryCursor` walks them) in arena memory, 0 bytes at
   * the end. `last`: nothing follows them.
   */
  replyEntries(offset: number, lengthBytes: number, last: boolean): void;
  /**
   * getxattr, listxattr: `lengthBytes` bytes of arena memory, in the landing area or elsewhere; when
   * only the length was asked for there are none.
   */
  replyXattr(offset: number, lengthBytes: number): void;
  replyStatFs(totals: FileSystemTotals): void;
  /** getLock: what is in the way, `last` included; kind LOCK_NONE: nothing. */
  replyLock(kind: number, start: number, last: number, pid: number): void;
}

/** replyEntry, with what the front end may believe of it. */
export function answerEntry(
  request: ClientRequest | null,
  attributes: FileAttributes,
  entryValidMs: number,
  attributesValidMs: number,
): void {
  if (request === null) return;
  request.entryValidMs = entryValidMs;
  request.attributesValidMs = attributesValidMs;
  request.replyEntry(attributes);
}

/** The name that was looked up is not there. */
export function answerAbsent(request: ClientRequest | null, entryValidMs: number): void {
  if (request === null) return;
  request.entryValidMs = entryValidMs;
  request.replyError(errno.ENOENT);
}

/** replyAttributes, likewise. */
export function answerAttributes(
  request: ClientRequest | null,
  attributes: FileAttributes,
  attributesValidMs: number,
): void {
  if (request === null) return;
  request.attributesValidMs = attributesValidMs;
  request.replyAttributes(attributes);
}

/** Sums over all targets. */
export class FileSystemTotals {
  totalBytes = 0;
  freeBytes = 0;
  inodes = 0;
  freeInodes = 0;
}

/**
 * A name (or a symlink's target) as bytes somewhere in memory; the caller owns both, the core
 * copies what it keeps before the operation's method returns.
 */
export class NameReference implements NameText {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  lengthBytes = 0;
  #hash = -1;

  set(bytes: Uint8Array, offset: number, lengthBytes: number): this {
    this.bytes = bytes;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    this.#hash = -1;
    return this;
  }

  hash44(): number {
    if (this.#hash < 0) this.#hash = nameHash44(this.bytes, this.offset, this.lengthBytes);
    return this.#hash;
  }
}

/** It begins so, and goes on. */
export function isBelow({ bytes, offset, lengthBytes }: NameText, prefix: Uint8Array): boolean {
  if (lengthBytes <= prefix.length) return false;
  return prefix.every((byte, i) => bytes[offset + i] === byte);
}

/** A copy of a name, kept by a pooled operation. */
export class NameCopy implements NameText {
  readonly bytes = new Uint8Array(256);
  readonly offset = 0;
  lengthBytes = 0;
  #hash = -1;

  /** The caller has checked that the name has at most 255 bytes. */
  copyFrom(name: NameReference): void {
    const length = name.lengthBytes;
    const from = name.bytes;
    const offset = name.offset;
    // Names are short: a loop beats the views that TypedArray.set would need.
    for (let i = 0; i < length; i++) this.bytes[i] = from[offset + i]!;
    this.lengthBytes = length;
    this.#hash = -1;
  }

  hash44(): number {
    if (this.#hash < 0) this.#hash = nameHash44(this.bytes, 0, this.lengthBytes);
    return this.#hash;
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    const length = this.lengthBytes;
    for (let i = 0; i < length; i++) bytes[offset + i] = this.bytes[i]!;
  }
}
