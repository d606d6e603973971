/**
 * Open handles: small numbers (from 1) that front ends keep for their descriptors, found without
 * hashing. A handle is of a file or of a directory.
 */
import type { PageAhead } from './listing-ahead.js';
import type { OpenFile } from './open-file.js';

/** What is known of the pages of a directory that were read one after the other from its beginning on. */
export class ListingRun {
  /** Of the names, which are all held so far (Leases.beginListing); 0: they are not. */
  generation = 0;
  /** When the first page was asked for, in the time of the marks, and what had been evicted then. */
  stamp = 0;
  evictions = 0;
  /** Where the next page begins. */
  cookie = 0;
  /** LookupCounts of the directory when the last page was asked for. */
  lookups = 0;
}

export class Handle {
  number = 0;
  /** How often this object has been one: a call that outlives its handle must not touch the next. */
  generation = 0;
  inode = 0;
  /** Null: a directory's handle. */
  file: OpenFile | null = null;
  /** Directory: the cookie behind which nothing follows, once seen; -1: not seen. */
  endCookie = -1;
  /** Locks were set through it, and it has not been seen to be rid of them. */
  hasLocks = false;
  /** Locks that were set through it are lost, and its owner has not been told (locks.md). */
  locksLost = false;
  /** Directory: the last entry of a partition, once seen, and the cookie that the next one begins behind. */
  resumeAfter = -1;
  resumeFrom = -1;
  readonly run = new ListingRun();
  /** Directory: pages that were asked for before their turn (ListingsAhead). */
  readonly ahead: PageAhead[] = [];
  /** The kernel was told that it may cache what this one opened. */
  cachesPages = false;
}

export class HandleTable {
  readonly #handles: (Handle | undefined)[] = [undefined];
  readonly #freeNumbers: number[] = [];
  readonly #pool: Handle[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  add(inode: number, file: OpenFile | null): Handle {
    const handle = this.#pool.pop() ?? new Handle();
    handle.inode = inode;
    handle.file = file;
    handle.endCookie = -1;
    handle.hasLocks = false;
    handle.locksLost = false;
    handle.resumeAfter = -1;
    handle.resumeFrom = -1;
    handle.run.generation = 0;
    handle.cachesPages = false;
    handle.number = this.#freeNumbers.pop() ?? this.#handles.length;
    this.#handles[handle.number] = handle;
    this.#count++;
    return handle;
  }

  get(number: number): Handle | undefined {
    return this.#handles[number];
  }

  /** The object may be reused by the next `add`. */
  remove(handle: Handle): void {
    this.#handles[handle.number] = undefined;
    handle.generation++;
    this.#freeNumbers.push(handle.number);
    this.#pool.push(handle);
    this.#count--;
  }
}
