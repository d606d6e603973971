/**
 * Room in data.mdb. A disk that is full in the middle of a commit could not even delete. So blocks
 * are allocated ahead of LMDB's use: every change is charged with the most pages that it could
 * take, and before the charges could pass what is allocated more is allocated, or the change is
 * refused with ENOSPC while it can still be refused.
 *
 *   0 ........ lastPage ..... lastPage + charged ..... limit ..... allocated ........ map's end
 *   in use, or free inside    at worst by now           | reserve |  holes
 */
import { writeSync } from 'node:fs';
import { META_PAGE_BYTES, type MetaPageFacts } from './checkpoint.js';

/** Allocated beyond the last page when more is allocated: an eighth of what is used, within these. */
const AHEAD_BYTES_MIN = 8 * 1024 * 1024;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;
/** Kept for changes that free space, when nothing more can be allocated: 4 MiB. */
const RESERVE_PAGES = 1024;
/** Free pages inside the file from which a full disk is no reason to refuse: LMDB takes those. */
const ROOMY_PAGES = 2048;
/** A leaf copied, a leaf split, and the branches above them that others do not share. */
const PAGES_PER_CHANGE = 4;
const ZERO_BYTES = 1024 * 1024;
/** A full disk is asked again after this long. */
const RETRY_MS = 500;

export class MapFullError extends Error {
  readonly code = 'ENOSPC';

  constructor() {
    super('the metadata disk is full');
    this.name = 'MapFullError';
  }
}

/** Allocates [offset, offset + bytes) of the file; throws (ENOSPC) when the disk is full. */
export type Allocate = (fd: number, offset: number, bytes: number) => void;

/**
 * By zeros, which harm nothing beyond what LMDB uses: where there is no fallocate, and on persistent
 * memory. There blocks that were only allocated cost a journal commit when they are first written,
 * at a sync that waits: measured, three to four times the whole commit.
 */
export const allocateByWriting: Allocate = (fd, offset, bytes) => {
  const zeros = Buffer.alloc(Math.min(bytes, ZERO_BYTES));
  for (let done = 0; done < bytes;) {
    done += writeSync(fd, zeros, 0, Math.min(zeros.length, bytes - done), offset + done);
  }
};

export class PageSpace {
  /** Spend the reserve: set while something is executed that frees space. */
  useReserve = false;
  readonly #fd: number;
  readonly #allocate: Allocate;
  readonly #aheadBytesMax: number;
  #allocatedPages: number;
  #lastPage = 0;
  #chargedPages = 0;
  #freePages = 0;
  #refusedUntilMs = 0;

  /**
   * `allocatedBytes`: known from the checkpoint; what LMDB uses is allocated in any case.
   * `allocateSlowly`: by little at a time, since that takes as long as writing so much.
   */
  constructor(fd: number, allocatedBytes: number, allocate: Allocate, allocateSlowly = false) {
    this.#fd = fd;
    this.#allocate = allocate;
    this.#aheadBytesMax = allocateSlowly ? AHEAD_BYTES_MIN : AHEAD_BYTES_MAX;
    this.#allocatedPages = Math.floor(allocatedBytes / META_PAGE_BYTES);
  }

  get allocatedBytes(): number {
    return this.#allocatedPages * META_PAGE_BYTES;
  }

  /** Outside a transaction: what LMDB has really used so far. */
  settle(facts: MetaPageFacts): void {
    this.#lastPage = facts.lastPage;
    this.#freePages = Math.max(0, facts.lastPage + 1 - facts.usedPages);
    this.#chargedPages = 0;
    this.#allocatedPages = Math.max(this.#allocatedPages, facts.lastPage + 1);
  }

  /** Whether so much has been charged that `settle` is worth its read. */
  get unsettled(): boolean {
    return this.#chargedPages > RESERVE_PAGES / 4;
  }

  /** Before a put or remove of this many value bytes. Throws MapFullError. */
  charge(valueBytes: number): void {
    const pages = PAGES_PER_CHANGE + Math.ceil(valueBytes / META_PAGE_BYTES);
    const worst = this.#lastPage + 1 + this.#chargedPages + pages;
    if (worst > this.#allocatedPages - RESERVE_PAGES) this.#makeRoom(worst);
    this.#chargedPages += pages;
  }

  #makeRoom(worst: number): void {
    const used = this.#lastPage * META_PAGE_BYTES;
    const ahead = Math.min(this.#aheadBytesMax, Math.max(AHEAD_BYTES_MIN, used / 8));
    const pages = worst + RESERVE_PAGES + Math.ceil(ahead / META_PAGE_BYTES) - this.#allocatedPages;
    if (performance.now() >= this.#refusedUntilMs) {
      try {
        this.#allocate(this.#fd, this.allocatedBytes, pages * META_PAGE_BYTES);
        this.#allocatedPages += pages;
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
        this.#refusedUntilMs = performance.now() + RETRY_MS;
      }
    }
    if (worst > this.#limitWhenFull()) throw new MapFullError();
  }

  #limitWhenFull(): number {
    if (this.useReserve) return this.#allocatedPages;
    if (this.#freePages >= ROOMY_PAGES) return this.#allocatedPages - RESERVE_PAGES / 2;
    return this.#allocatedPages - RESERVE_PAGES;
  }
}
