/**
 * One FUSE mount: a session of native/fuse as a source of the thread's reactor. The kernel's
 * requests of a turn come one after another to `FuseHandler.onRequest`; answers are methods of
 * `FuseRequest`, now or later. Works on the main thread and in a worker.
 *
 *   new FuseSession ─> mount() ─> onReady ─> onRequest… ─> onEnded ─> close()
 *                                              unmount() ──^
 *
 * The thread that serves a mount must not touch paths below it: it would wait for itself.
 */
import { EventKind, EventRecord } from './fuse-layout.generated.js';
import {
  fuseAddon,
  type FuseCounters,
  type FuseInfo,
  type NativeFuseSession,
} from './fuse-addon.js';
import { checkFuseDevice, checkMountPoint, unmountPath } from './fuse-mount.js';
import { FuseNotices, NoticeKind } from './fuse-notices.js';
import { FuseReplies, FuseRequest } from './fuse-request.js';
import type { NativeArena } from './arena.js';
import type { Reactor } from './reactor.js';
import { errno, errnoName } from '../common/errno.js';
import { SealfsError } from '../common/errors.js';

export type { FuseCounters, FuseInfo } from './fuse-addon.js';
export { NOTICES_MAX } from './fuse-notices.js';
export { FuseRequest, LOCK_OFFSET_MAX, LockType } from './fuse-request.js';
export { OpenFlag, Operation } from './fuse-layout.generated.js';

export interface FuseOptions {
  mountpoint: string;
  /** First column of df and mount. Default 'sealfs'. */
  filesystemName?: string;
  /** The inode that the kernel calls node 1; requests and replies use it. Default 1. */
  rootInode?: number;
  /** Other users may enter. Needs root or user_allow_other. Default: as root. */
  allowOther?: boolean;
  /** The kernel checks permissions by mode, uid and gid. Default true. */
  defaultPermissions?: boolean;
  readOnly?: boolean;
  /** Whether listings bring attributes: when the kernel expects to need them ('auto'), … */
  readDirPlus?: 'off' | 'auto' | 'always';
  /** Negotiate shared mmap of files opened with DirectIo; see FuseInfo.directIoMmap. Default true. */
  directIoMmap?: boolean;
  /** The kernel enforces access control lists, kept as extended attributes. Default true. */
  posixAcl?: boolean;
  /** Flush requests (one at every close) are wanted. Default false. */
  flush?: boolean;
  /**
   * Locks of files are ours: GetLock, SetLock and SetLockWait come as requests, and so does Flush,
   * which releases a process's locks. Default false: the kernel keeps them, for this mount alone.
   */
  locks?: boolean;
  /** Asynchronous requests that the kernel keeps in flight. Default 256. */
  maxBackground?: number;
  /** The arena's last bulk slots, left to others. Default 4. */
  reserveBulkSlots?: number;
  /** Writes up to here move to a message slot instead of keeping a bulk slot. Default 8192. */
  smallWriteBytes?: number;
  /** More options for mount(8), for instance 'noatime' or 'suid'. */
  mountOptions?: string[];
}

export interface FuseHandler {
  /** Answer it now or later, exactly once. */
  onRequest(request: FuseRequest): void;
  /** The caller of an unanswered request got a signal: answer it soon, EINTR if it did nothing. */
  onInterrupt(request: FuseRequest): void;
  /** Agreed with the kernel; comes before the first request. */
  onReady(info: FuseInfo): void;
  /**
   * Something is mounted on the volume (or its mounts cannot be known), so an epoch of the notices that onNotified reports next
   * was not raised: the kernel believes names for as long as it was told.
   */
  onNamesKept(): void;
  /** notifyInode, notifyEpoch: all notices up to this number are written. */
  onNotified(number: number): void;
  /** notifyPages: all notices up to this number are written. */
  onPagesDropped(number: number): void;
  /** Once: no request follows, and no notice is reported. `reason` for people; unmounting from outside is the usual one. */
  onEnded(reason: string): void;
}

const READ_DIR_PLUS = { off: 0, auto: 1, always: 2 } as const;
/** How long `unmount` waits for the kernel to say goodbye after the mount point is free. */
const GOODBYE_MS = 5000;

export class FuseSession {
  readonly mountpoint: string;
  readonly #reactor: Reactor;
  readonly #words: Uint32Array;
  readonly #handler: FuseHandler;
  readonly #native: NativeFuseSession;
  readonly #replies: FuseReplies;
  readonly #requests: FuseRequest[] = [];
  readonly #notices: FuseNotices;
  readonly #pageNotices: FuseNotices;
  readonly #events: number;
  readonly #closeAtExit = () => this.close();
  #source = -1;
  #ended = false;
  #closed = false;
  #onGoodbye: (() => void) | undefined;

  /**
   * Takes two bulk slots of the arena. Throws UsageError for a mount point that cannot be used,
   * SealfsError UNSUPPORTED when this machine cannot mount FUSE.
   */
  constructor(reactor: Reactor, arena: NativeArena, options: FuseOptions, handler: FuseHandler) {
    const allowOther = options.allowOther ?? process.getuid?.() === 0;
    checkFuseDevice(allowOther);
    this.mountpoint = checkMountPoint(options.mountpoint);
    this.#reactor = reactor;
    this.#words = arena.words;
    this.#handler = handler;
    const native = new (fuseAddon().Session)(arena.handle, {
      mountOptions: mountOptions(options, allowOther),
      rootInode: options.rootInode ?? 1,
      readDirPlus: READ_DIR_PLUS[options.readDirPlus ?? 'auto'],
      directIoMmap: options.directIoMmap ?? true,
      posixAcl: options.posixAcl ?? true,
      flush: options.flush ?? false,
      locks: options.locks ?? false,
      maxBackground: options.maxBackground ?? 256,
      reserveBulkSlots: options.reserveBulkSlots ?? 4,
      smallWriteBytes: options.smallWriteBytes ?? 8192,
    });
    this.#native = native;
    const layout = native.layout;
    this.#replies = new FuseReplies(reactor, arena, native, layout);
    this.#notices = new FuseNotices(this.#replies);
    this.#pageNotices = new FuseNotices(this.#replies);
    this.#events = (layout.eventsOffset + layout.headerBytes) >>> 2;
    for (let i = 0; i < layout.recordCapacity; i++) {
      const at = layout.recordsOffset + i * layout.recordBytes;
      this.#requests.push(new FuseRequest(this.#replies, i, at));
    }
  }

  /** Mounts; requests come in later turns. Throws SealfsError FAILED with libfuse's reason. */
  mount(): void {
    try {
      this.#native.mount(this.mountpoint);
    } catch (error) {
      this.close();
      const why = error instanceof Error ? error.message : String(error);
      throw new SealfsError('FAILED', `cannot mount at ${this.mountpoint}: ${why}`, {
        cause: error,
      });
    }
    process.on('exit', this.#closeAtExit);
    this.#source = this.#reactor.addSource(this.#native.source, (count) => this.#onTurn(count));
  }

  get counters(): FuseCounters {
    return this.#native.counters;
  }

  /** Valid from onReady on. */
  get info(): FuseInfo {
    return this.#native.negotiated;
  }

  /**
   * Has the kernel forget the inode's attributes (and ACLs), so that it asks for them again. Behind
   * all replies that were given before. Returns the notice's number, which onNotified reports;
   * 0: NOTICES_MAX are under way, try again after the next onNotified. From onReady to onEnded.
   *
   * The answer to a LOOKUP may still be on its way to the process that will make the inode known,
   * with the old attributes. So a notice of an inode that the kernel does not know raises the epoch,
   * too: whoever uses the name next asks again.
   */
  notifyInode(inode: number): number {
    return this.#notices.issue(NoticeKind.Attributes, inode, 0, 0);
  }

  /**
   * Has the kernel ask again for every name, present or absent, before it next uses it; where
   * `info.epochNotify` is false it does nothing. Several at once cost one. Numbered with
   * notifyInode's. Not done while anything is mounted on the volume (onNamesKept). Names of a
   * READDIRPLUS reply that a process has not taken in yet escape it.
   */
  notifyEpoch(): number {
    return this.#notices.issue(NoticeKind.Epoch, 0, 0, 0);
  }

  /** Something is mounted on the volume, as this mount namespace sees it. */
  get isCovered(): boolean {
    return this.#native.isCovered();
  }

  /**
   * Has the kernel drop the inode's cached pages from byte `offset` on, `lengthBytes` long (0: to the
   * end), and its attributes; what is dirty of them (shared mappings) is written first. Takes as long as
   * requests of this mount for such a page take, so it has numbers and a queue of its own:
   * onPagesDropped reports them.
   */
  notifyPages(inode: number, offset = 0, lengthBytes = 0): number {
    return this.#pageNotices.issue(NoticeKind.Pages, inode, offset, lengthBytes);
  }

  /**
   * Unmounts while serving what the kernel still asks, then closes. Throws SealfsError BUSY, and
   * goes on serving, when the mount is in use, unless `lazy`: then the mount point is freed, and
   * users who are left get errors.
   */
  async unmount(options: { lazy?: boolean } = {}): Promise<void> {
    if (!this.#ended && !this.#closed) {
      let lazy = false;
      try {
        await unmountPath(this.mountpoint, false);
      } catch (error) {
        const busy = error instanceof SealfsError && error.code === 'BUSY';
        if (!this.#ended && !(busy && options.lazy === true)) throw error;
        lazy = true;
      }
      if (lazy && !this.#ended) await unmountPath(this.mountpoint, true);
      else await this.#goodbye();
    }
    this.close();
  }

  /**
   * Ends at once: unanswered requests get ENOTCONN, the mount point is freed. Requests that are
   * still being worked on are to be answered all the same: that gives their slots back.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    process.off('exit', this.#closeAtExit);
    if (this.#source >= 0) this.#reactor.removeSource(this.#source);
    this.#source = -1;
    // What was answered in this turn still goes out.
    this.#native.submit();
    this.#replies.detached = true;
    this.#native.close();
    this.#onGoodbye?.();
  }

  #goodbye(): Promise<void> {
    if (this.#ended || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GOODBYE_MS);
      this.#onGoodbye = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #onTurn(count: number): void {
    const words = this.#words;
    let event = this.#events;
    for (let i = 0; i < count && !this.#closed; i++) {
      const kind = words[event]!;
      const value = words[event + 1]!;
      event += EventRecord.SIZE / 4;
      if (kind === EventKind.Request) {
        const request = this.#requests[value]!;
        request.activate();
        this.#handler.onRequest(request);
      } else if (kind === EventKind.Interrupt) {
        const request = this.#requests[value]!;
        if (request.active) this.#handler.onInterrupt(request);
      } else if (kind === EventKind.Ready) {
        this.#handler.onReady(this.info);
      } else if (kind === EventKind.NamesKept) {
        this.#handler.onNamesKept();
      } else if (kind === EventKind.Notified) {
        this.#handler.onNotified(this.#notices.advance(value));
      } else if (kind === EventKind.PagesDropped) {
        this.#handler.onPagesDropped(this.#pageNotices.advance(value));
      } else {
        this.#end(value);
      }
    }
  }

  #end(status: number): void {
    this.#ended = true;
    const reason =
      status === errno.ENODEV ? 'unmounted' : `the FUSE connection failed: ${errnoName(status)}`;
    this.#handler.onEnded(reason);
    this.#onGoodbye?.();
  }
}

function mountOptions(options: FuseOptions, allowOther: boolean): string[] {
  const list = [`fsname=${options.filesystemName ?? 'sealfs'}`, 'subtype=sealfs'];
  if (allowOther) list.push('allow_other');
  if (options.defaultPermissions ?? true) list.push('default_permissions');
  if (options.readOnly === true) list.push('ro');
  return [...list, ...(options.mountOptions ?? [])];
}
