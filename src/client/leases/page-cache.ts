/**
 * Which files the kernel may cache (docs/leases.md, "Pages"): what this client holds leases on pages of, and which
 * open files cache although it holds none any more (they are _tainted_: opened under a lease that was
 * recalled, or lost, since). Only the mode of an open can be chosen; from then on the kernel is steered by the
 * validity of attributes, which it makes sure of before it uses a page.
 *
 *   Open granted ──> held ── open: Cached (drops old pages) ── a handle was closed ──> open: Kept
 *                      │
 *                      └── recall, new session, not trusted ──> open: Direct; cached handles: tainted
 */
import { CREATE_WANTS_PAGES, LEASE_PAGES, OPEN_WANTS_PAGES } from '../../protocol/leases.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import type { Handle } from '../handles.js';
import type { OpenFile } from '../open-file.js';
import { PageUse } from '../request.js';

/** Leases that are remembered, the oldest goes: the target recalls it some day in vain. */
const HELD_MAX = 65_536;

export interface PageCacheDeps {
  /** Undefined: it is not open here. */
  fileOf(inode: number): OpenFile | undefined;
  nowMs(): number;
  peerOfInode(inode: number): RpcPeer;
}

export class PageCache {
  /** Set by the front end when its kernel works for this; until then nothing is asked for. */
  enabled = false;
  /** The kernel's pages of this inode are to go, when it suits: of FuseSession.notifyPages. */
  drop: (inode: number) => void = () => undefined;
  readonly #deps: PageCacheDeps;
  /** By inode: whether what the kernel has is of this lease, so that opens may keep it. */
  readonly #held = new Map<number, boolean>();
  /** Files with handles that cache. */
  readonly #cached = new Set<OpenFile>();

  constructor(deps: PageCacheDeps) {
    this.#deps = deps;
  }

  get held(): number {
    return this.#held.size;
  }

  /** The lease is held, and its target was heard of lately. */
  isHeld(inode: number): boolean {
    if (!this.#held.has(inode)) return false;
    const deps = this.#deps;
    return deps.peerOfInode(inode).trustedUntilMs > deps.nowMs();
  }

  /**
   * The file is cached, and must not be believed any more: its attributes get no validity, so that each read asks
   * for them, and the answer makes the kernel drop its pages.
   */
  isTainted(inode: number): boolean {
    if (this.#cached.size === 0) return false;
    const file = this.#deps.fileOf(inode);
    return file !== undefined && file.cachedHandles > 0 && !this.isHeld(inode);
  }

  get anyTainted(): boolean {
    for (const { inode } of this.#cached) if (!this.isHeld(inode)) return true;
    return false;
  }

  // ---------------------------------------------------------------- opens

  /** For OpenRequest.flags. */
  get openFlags(): number {
    return this.enabled ? OPEN_WANTS_PAGES : 0;
  }

  /** For CreateRequest.flags. */
  get createFlags(): number {
    return this.enabled ? CREATE_WANTS_PAGES : 0;
  }

  /** An Open or Create that registered this client for the file was answered with these flags. */
  registered(file: OpenFile, flags: number): void {
    if (!this.enabled) return;
    const { inode } = file;
    if ((flags & LEASE_PAGES) === 0) {
      this.#held.delete(inode);
    } else if (!this.#held.has(inode) && file.cachedHandles === 0) {
      // A tainted file stays so: the kernel may have pages of before.
      if (this.#held.size >= HELD_MAX) this.#forgetOldest();
      this.#held.set(inode, false);
    }
  }

  #forgetOldest(): void {
    for (const inode of this.#held.keys()) {
      this.#held.delete(inode);
      return;
    }
  }

  /** How the kernel is to treat what this handle opens. */
  open(handle: Handle): PageUse {
    const { file, inode } = handle;
    if (!this.enabled || file === null) return PageUse.AsOptions;
    if (!this.isHeld(inode)) return PageUse.Direct;
    handle.cachesPages = true;
    if (file.cachedHandles++ === 0) this.#cached.add(file);
    return this.#held.get(inode) === true ? PageUse.Kept : PageUse.Cached;
  }

  /** The handle is about to go. */
  closed(handle: Handle): void {
    const { file, inode } = handle;
    if (!handle.cachesPages || file === null) return;
    if (--file.cachedHandles === 0) this.#cached.delete(file);
    // Its open has dropped what was older, and that is over.
    if (this.#held.has(inode)) this.#held.set(inode, true);
  }

  // ---------------------------------------------------------------- losses

  recall(inode: number): void {
    if (!this.#held.delete(inode)) return;
    // While it is open its pages go with the next read's question; a notice now could make the kernel
    // disregard the answer to that.
    if (this.#deps.fileOf(inode) === undefined) this.drop(inode);
  }

  /** The peer's target has forgotten this client. */
  newSession(peer: RpcPeer): void {
    for (const inode of this.#held.keys()) {
      if (this.#deps.peerOfInode(inode) === peer) this.recall(inode);
    }
  }

  /** Another map: who granted what is not known any more. */
  forgetAll(): void {
    for (const inode of this.#held.keys()) this.recall(inode);
  }
}
