/**
 * What the client remembers of a file while somebody here has it open or works on it: whether the
 * inode's target knows of that (registration), its size, whether it is striped, which targets
 * hold writes that no fsync has covered. Nothing of it outlives the last user.
 *
 * Registration:
 *
 *   none ── first open ──> opening ── reply ──> open ── last close (Release sent) ──> none
 *             (create registers by itself)        └── target restarted: Open again ──┘
 *
 * Size: `knownSize` is what the inode's target said last, and when. Answers of one target arrive
 * in the order of their execution, so the newest is always assigned, never the greatest.
 */
import type { RpcPeer } from '../transport/rpc-client.js';
import { chunkBytes, stripeBuckets } from '../protocol/limits.generated.js';
import type { ClientContext } from './context.js';

export const REGISTRATION_NONE = 0;
export const REGISTRATION_OPENING = 1;
export const REGISTRATION_OPEN = 2;

export const STRIPED_NO = 0;
export const STRIPED_MARKING = 1;
export const STRIPED_YES = 2;

/** An open that waits for another open of the same inode. */
export interface OpenWaiter {
  registrationEnded(): void;
}

/** A write that waits for MarkStriped. */
export interface StripeWaiter {
  stripedMarked(status: number): void;
}

/** Whoever waits for an Extend. */
export interface SizeWaiter {
  sizeUpdated(status: number): void;
}

export class OpenFile {
  inode = 0;
  /** Handles and operations that use this object. */
  users = 0;
  openCount = 0;
  /** Handles that the kernel caches pages for (leases/page-cache.ts). */
  cachedHandles = 0;
  /** The kernel may have pages of it, or somebody has locked it: every access must be the kernel's to see. */
  inKernel = false;
  registration = REGISTRATION_NONE;
  readonly openWaiters: OpenWaiter[] = [];

  knownSize = 0;
  /** Scheduler's milliseconds; -Infinity: never. */
  knownSizeMs = -Infinity;

  striped = STRIPED_NO;
  /**
   * The inode whose number places the chunks beyond the first. Certain once `striped` is
   * STRIPED_YES, for it never changes after that; before, the file can still adopt another's.
   */
  layout = 0;
  readonly stripeWaiters: StripeWaiter[] = [];

  /** As far as known: has set-ID bits or a capability, which writing to it takes away. */
  privileged = false;
  /** The next Extend drops set-ID bits. */
  dropsSetId = false;

  /** Written beyond chunk 0 without an Extend since: the inode's mtime is behind. */
  mtimeDirty = false;
  extendBusy = false;
  /** For the Extend after the one that is in flight. */
  nextWanted = false;
  nextSize = 0;
  nextWaiters: SizeWaiter[] = [];
  /** Of the Extend in flight. */
  currentWaiters: SizeWaiter[] = [];

  /** Targets other than the inode's that were written to since the last fsync. */
  readonly touched: RpcPeer[] = [];
  /** When each of them was written to last, in units of `touchStamp`. */
  readonly #touchedAt: number[] = [];
  /** Counts touches. */
  touchStamp = 0;

  reset(inode: number): void {
    this.inode = inode;
    this.users = 0;
    this.openCount = 0;
    this.cachedHandles = 0;
    this.inKernel = false;
    this.registration = REGISTRATION_NONE;
    this.knownSize = 0;
    this.knownSizeMs = -Infinity;
    this.striped = STRIPED_NO;
    this.privileged = false;
    this.dropsSetId = false;
    this.layout = inode;
    this.mtimeDirty = false;
    this.nextSize = 0;
    this.touched.length = 0;
    this.#touchedAt.length = 0;
  }

  /** From an answer of the inode's target that has just arrived. */
  learnSize(sizeBytes: number, nowMs: number): void {
    this.knownSize = sizeBytes;
    this.knownSizeMs = nowMs;
  }

  learnStriped(layout: number): void {
    if (this.striped === STRIPED_NO) this.striped = STRIPED_YES;
    this.layout = layout;
  }

  /** A read up to `end` needs no question before it: the size and the places are known. */
  knows(end: number): boolean {
    return end <= chunkBytes || (end <= this.knownSize && this.striped === STRIPED_YES);
  }

  get isSizeKnown(): boolean {
    return this.knownSizeMs !== -Infinity;
  }

  isSizeFresh(nowMs: number, freshMs: number): boolean {
    return nowMs - this.knownSizeMs <= freshMs;
  }

  touch(peer: RpcPeer): void {
    const found = this.touched.indexOf(peer);
    const at = found < 0 ? this.touched.push(peer) - 1 : found;
    this.#touchedAt[at] = ++this.touchStamp;
  }

  /** An fsync that began at `stamp` has made power-safe what is there, but for later touches. */
  synced(peer: RpcPeer, stamp: number): void {
    const at = this.touched.indexOf(peer);
    if (at < 0 || this.#touchedAt[at]! > stamp) return;
    const last = this.touched.length - 1;
    this.touched[at] = this.touched[last]!;
    this.#touchedAt[at] = this.#touchedAt[last]!;
    this.touched.length = last;
    this.#touchedAt.length = last;
  }

  /**
   * Another open of this file, since closed, may have written anywhere: an fsync has to reach
   * every target that can hold a chunk.
   */
  touchStripes(context: ClientContext): void {
    const chunks = Math.min(stripeBuckets + 1, Math.ceil(this.knownSize / chunkBytes));
    for (let chunk = 1; chunk < chunks; chunk++) {
      this.touch(context.peerOfChunk(this, chunk));
    }
  }
}

export class OpenFileTable {
  readonly #files = new Map<number, OpenFile>();
  readonly #free: OpenFile[] = [];

  get count(): number {
    return this.#files.size;
  }

  peek(inode: number): OpenFile | undefined {
    return this.#files.size === 0 ? undefined : this.#files.get(inode);
  }

  /** Adds a user; `drop` ends its use. */
  take(inode: number): OpenFile {
    let file = this.#files.get(inode);
    if (file === undefined) {
      file = this.#free.pop() ?? new OpenFile();
      file.reset(inode);
      this.#files.set(inode, file);
    }
    file.users++;
    return file;
  }

  drop(file: OpenFile): void {
    file.users--;
    if (file.users > 0) return;
    this.#files.delete(file.inode);
    this.#free.push(file);
  }

  values(): IterableIterator<OpenFile> {
    return this.#files.values();
  }
}
