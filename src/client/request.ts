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
import type { FileAttributes } from './attributes.js';

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

  /** Any operation: an errno, never 0. */
  replyError(status: number): void;
  /** setxattr, removexattr, unlink, rmdir, rename, release, fsync, allocate, ensureRoot, dropEmptyRoot. */
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
export class NameReference {
  bytes: Uint8Array = new Uint8Array(0);
  offset = 0;
  lengthBytes = 0;

  set(bytes: Uint8Array, offset: number, lengthBytes: number): this {
    this.bytes = bytes;
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    return this;
  }
}

/** A copy of a name, kept by a pooled operation. */
export class NameCopy {
  readonly bytes = new Uint8Array(256);
  lengthBytes = 0;

  /** The caller has checked that the name has at most 255 bytes. */
  copyFrom(name: NameReference): void {
    const length = name.lengthBytes;
    const from = name.bytes;
    const offset = name.offset;
    // Names are short: a loop beats the views that TypedArray.set would need.
    for (let i = 0; i < length; i++) this.bytes[i] = from[offset + i]!;
    this.lengthBytes = length;
  }

  writeTo(bytes: Uint8Array, offset: number): void {
    const length = this.lengthBytes;
    for (let i = 0; i < length; i++) bytes[offset + i] = this.bytes[i]!;
  }
}
