/**
 * Recalls on their way: a notice arrives, what it names is forgotten here and by whoever remembers
 * this client's answers (a kernel), then it is returned.
 *
 *   notice ─> Leases.recall ─> kernel told? ── nothing to tell ───────────────────> giveBack
 *                               └─ told, number n ─> FIFO ── written(n or more) ──> giveBack
 *
 * The same before the first Await of a new session, which says to the target that nothing of the old one is
 * believed any more.
 */
import type { Scheduler } from '../../common/scheduler.js';
import {
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PAGES,
  NOTICE_PERMISSIONS,
} from '../../protocol/leases.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import { KERNEL_TRUST_MS } from './leases.js';
import type { Leases } from './leases.js';
import type { PageCache } from './page-cache.js';
import type { Notices, NoticeChannel, NoticeView } from './notices.js';

/**
 * Who remembers what it was told with a validity. Each `forget…` returns a number that `written` of Recalls
 * is told later, in order; NOTHING_TOLD: it remembers nothing of it; NO_ROOM: to be tried again.
 */
export interface KernelCache {
  forgetAttributes(inode: number): number;
  /** A name will be believed for so long by a lease of this partition of its directory: recalled by that number. */
  tellsName(home: number, forMs: number): void;
  /** All names, for the sake of this directory's, or partition's. */
  forgetNames(directory: number): number;
  /** All names, whatever was said of them. */
  forgetAllNames(): number;
}

const RECALLED = [
  NOTICE_INODE,
  NOTICE_ENTRY,
  NOTICE_DIRECTORY,
  NOTICE_PAGES,
  NOTICE_PERMISSIONS,
] as const;

export const NOTHING_TOLD = 0;
export const NO_ROOM = -1;

interface Telling {
  kernelNumber: number;
  channel: NoticeChannel;
  number: number;
  generation: number;
  kind: number;
  inode: number;
}

export interface RecallsDeps {
  leases: Leases;
  pages: PageCache;
  notices: Notices;
  scheduler: Scheduler;
  /** Nothing else has to be done first in the peer's session. */
  mayAwait(peer: RpcPeer): boolean;
}

export class Recalls {
  /** Null: nobody remembers anything. */
  #kernel: KernelCache | null = null;
  readonly #mayAwait: (peer: RpcPeer) => boolean;
  readonly #leases: Leases;
  readonly #pages: PageCache;
  readonly #notices: Notices;
  readonly #scheduler: Scheduler;
  /** Told, not yet known to be written; by ascending number. */
  #told: Telling[] = [];
  /** There was no room to tell them. */
  #waiting: Telling[] = [];
  /** Sessions that are not to await before this number is written. */
  readonly #held = new Map<RpcPeer, number>();
  #written = 0;

  constructor(deps: RecallsDeps) {
    const { leases, pages, notices, scheduler } = deps;
    this.#mayAwait = (peer) => deps.mayAwait(peer);
    this.#leases = leases;
    this.#pages = pages;
    this.#notices = notices;
    this.#scheduler = scheduler;
    const handler = (notice: NoticeView): void => {
      this.#arrived(notice);
    };
    for (const kind of RECALLED) notices.on(kind, handler);
  }

  /** From now on `kernel` is told; null: it has gone, and believes nothing any more. */
  setKernel(kernel: KernelCache | null): void {
    this.#kernel = kernel;
    this.#leases.onPartitionName = (home, forMs) => kernel?.tellsName(home, forMs);
    if (kernel !== null) return;
    const left = [...this.#told.splice(0), ...this.#waiting.splice(0)];
    for (const { channel, number, generation } of left) channel.giveBack(number, generation);
    const peers = [...this.#held.keys()];
    this.#held.clear();
    for (const peer of peers) this.ready(peer);
  }

  /** Recalls that are not returned. */
  get pending(): number {
    return this.#told.length + this.#waiting.length;
  }

  #arrived({ channel, number, kind, inode, hash }: NoticeView): void {
    if (kind === NOTICE_PAGES) this.#pages.recall(inode);
    else this.#leases.recall(kind, inode, hash);
    const { generation } = channel;
    const told = kind === NOTICE_INODE ? this.#leases.splits.directoryOf(inode) : inode;
    const kernel = this.#kernel;
    // Permissions alone are answered without a validity.
    if (kernel === null || kind === NOTICE_PERMISSIONS) {
      channel.giveBack(number, generation);
      return;
    }
    this.#tell(kernel, { kernelNumber: 0, channel, number, generation, kind, inode: told });
  }

  #tell(kernel: KernelCache, telling: Telling): void {
    const { kind, inode, channel, number, generation } = telling;
    // Pages are as valid as the attributes.
    const ofInode = kind === NOTICE_INODE || kind === NOTICE_PAGES;
    const told = ofInode ? kernel.forgetAttributes(inode) : kernel.forgetNames(inode);
    if (told === NOTHING_TOLD || (told > 0 && told <= this.#written)) {
      channel.giveBack(number, generation);
    } else if (told === NO_ROOM) {
      this.#waiting.push(telling);
    } else {
      telling.kernelNumber = told;
      this.#told.push(telling);
    }
  }

  /** Of the front end: what the kernel was told up to this number is written. */
  written(number: number): void {
    this.#written = number;
    const told = this.#told;
    let done = 0;
    for (; done < told.length && told[done]!.kernelNumber <= number; done++) {
      const { channel, number: notice, generation } = told[done]!;
      channel.giveBack(notice, generation);
    }
    if (done > 0) told.splice(0, done);
    for (const [peer, until] of this.#held) {
      if (until > number) continue;
      this.#held.delete(peer);
      this.ready(peer);
    }
    const kernel = this.#kernel;
    if (this.#waiting.length === 0 || kernel === null) return;
    for (const telling of this.#waiting.splice(0)) this.#tell(kernel, telling);
  }

  /** Of RpcClientOptions.onNewSession: nothing of this target is believed from now on. */
  newSession(peer: RpcPeer): void {
    this.#pages.newSession(peer);
    const kernel = this.#kernel;
    let last = 0;
    let isComplete = true;
    this.#leases.newSession(peer, (inode) => {
      const told = kernel?.forgetAttributes(inode) ?? NOTHING_TOLD;
      if (told === NO_ROOM) isComplete = false;
      else if (told > last) last = told;
    });
    const told = kernel?.forgetAllNames() ?? NOTHING_TOLD;
    if (told === NO_ROOM) isComplete = false;
    else if (told > last) last = told;
    if (isComplete && last <= this.#written) return;
    this.#held.set(peer, isComplete ? last : Infinity);
    if (isComplete) return;
    // Too much to tell: what the kernel has becomes invalid by itself.
    this.#scheduler.setTimer(KERNEL_TRUST_MS, () => {
      if (this.#held.delete(peer)) this.ready(peer);
    });
  }

  /** The session may be awaited, as far as others are concerned: it is, unless the kernel is still being told. */
  ready(peer: RpcPeer): void {
    if (!this.#held.has(peer) && this.#mayAwait(peer)) this.#notices.ready(peer);
  }
}
