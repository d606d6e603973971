/**
 * One call of an intercepted program that changes attributes: the checks that the kernel makes before it asks a file
 * system, in the kernel's order, then the operation of the core that FUSE calls, too.
 *
 *   truncate, chmod, chown, utimensat       path ──> inode ──> may it? ──> the kernel is to forget ──> core
 *   fchmod, fchown, futimens          open file ──> inode ──┘
 *   ftruncate                         open file ──> opened for writing: it may ──┘
 *
 * The kernel goes by an inode's owner, group, set-ID and sticky bits as it last heard of them, also when it has been
 * told to forget its attributes (who may change or remove it, or link to it): until it looks a name of the inode up.
 * So these change here only where it does that before it does anything else: it has neither the file open nor ever
 * heard of the directory, and forgets the one name.
 *
 * What else than mode and owner decides ends with Fallback.Path: nothing has been changed, and the kernel is asked.
 * Order of checks: vfs_truncate, chmod_common, chown_common, vfs_utimes, notify_change, setattr_prepare of Linux; what
 * is then asked for: fuse_do_setattr.
 */
import { ESTALE } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { CallKind, Fallback } from '../native/intercept.js';
import type { InterceptCall } from '../native/intercept.js';
import { readI53 } from '../protocol/u53.js';
import {
  AttributeChange,
  SET_ATIME,
  SET_ATIME_NOW,
  SET_DROP_SET_ID,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_SIZE,
  SET_UID,
} from './attributes.js';
import type { FileAttributes } from './attributes.js';
import type { FileSystemCore } from './core.js';
import type { Credentials } from './credentials.js';
import { NO_FOLLOW } from './name-call.js';
import type { PathWalk, WalkOwner } from './path-walk.js';
import {
  UNCHANGED,
  mayChangeMode,
  mayChangeOwner,
  maySetTimes,
  mayTruncate,
  modeAllowed,
} from './permissions.js';

/** utimensat(2) */
const UTIME_NOW = 0x3fffffff;
const UTIME_OMIT = 0x3ffffffe;
/** Set-ID and sticky bits. */
const SPECIAL_BITS = 0o7000;
/** Times of native/common/intercept_layout.h. */
const ATIME_SECONDS = 0;
const MTIME_SECONDS = 8;
const ATIME_NANOSECONDS = 16;
const MTIME_NANOSECONDS = 20;

export type AttributedTree = Pick<
  FileSystemCore,
  'getAttributes' | 'setAttributes' | 'isOpen' | 'isInKernel'
>;

export interface AttributeCallOwner extends WalkOwner {
  readonly walk: PathWalk;
  /** Whose attributes are changed. */
  inode: number;
  /** It writes to a file. */
  writes: boolean;
  /** The kernel may have heard of the directory: somebody may have it open. */
  kernelKnows(directory: number): boolean;
  /** The core is about to be asked to change the attributes of `inode`. */
  changing(): void;
  /** The end. */
  attributesChanged(status: number): void;
}

export class AttributeCall {
  /** Replies of the core to the owner are steps of this, or of the owner's walk. */
  active = false;
  /** The kernel is to forget names in this directory, too; 0: none. */
  directory = 0;
  readonly #core: AttributedTree;
  readonly #arena: ArenaMemory;
  readonly #owner: AttributeCallOwner;
  readonly #change = new AttributeChange();
  #who!: Credentials;
  #kind = 0;
  #isAsked = false;

  constructor(core: AttributedTree, arena: ArenaMemory, owner: AttributeCallOwner) {
    this.#core = core;
    this.#arena = arena;
    this.#owner = owner;
  }

  start(call: InterceptCall, who: Credentials): void {
    const { kind, inode, slot, lengthBytes } = call;
    this.active = true;
    this.#who = who;
    this.#kind = kind;
    this.#isAsked = false;
    this.directory = 0;
    this.#read(call);
    switch (kind) {
      case CallKind.FileTruncate:
        this.#truncate(call);
        return;
      case CallKind.FileChangeMode:
      case CallKind.FileChangeOwner:
      case CallKind.FileSetTimes:
        this.#core.getAttributes(this.#owner, inode);
        return;
      default: {
        const follows = kind === CallKind.ChangeMode || (call.flags & NO_FOLLOW) === 0;
        this.#owner.walk.start(who, inode, slot, lengthBytes, follows, null);
      }
    }
  }

  /** What is to be changed, as it was asked for. */
  #read(call: InterceptCall): void {
    const { kind, flags, offset, gid, slot, lengthBytes } = call;
    const change = this.#change;
    change.valid = 0;
    switch (kind) {
      case CallKind.Truncate:
      case CallKind.FileTruncate:
        change.valid = this.#who.dropsSetId ? SET_SIZE | SET_DROP_SET_ID : SET_SIZE;
        change.sizeBytes = offset;
        return;
      case CallKind.ChangeMode:
      case CallKind.FileChangeMode:
        change.valid = SET_MODE;
        change.mode = flags;
        return;
      case CallKind.ChangeOwner:
      case CallKind.FileChangeOwner:
        change.uid = offset;
        change.gid = gid;
        if (offset !== UNCHANGED) change.valid |= SET_UID;
        if (gid !== UNCHANGED) change.valid |= SET_GID;
        return;
      default:
        // Behind the path, at a multiple of 8.
        this.#readTimes(slot + ((lengthBytes + 7) & ~7));
    }
  }

  #readTimes(at: number): void {
    const { words } = this.#arena;
    const change = this.#change;
    change.atimeSeconds = readI53(words, at + ATIME_SECONDS);
    change.atimeNanoseconds = words[(at + ATIME_NANOSECONDS) >>> 2]!;
    change.mtimeSeconds = readI53(words, at + MTIME_SECONDS);
    change.mtimeNanoseconds = words[(at + MTIME_NANOSECONDS) >>> 2]!;
    if (change.atimeNanoseconds === UTIME_NOW) {
      change.valid |= SET_ATIME | SET_ATIME_NOW;
      change.atimeSeconds = change.atimeNanoseconds = 0;
    } else if (change.atimeNanoseconds !== UTIME_OMIT) {
      change.valid |= SET_ATIME;
    }
    if (change.mtimeNanoseconds === UTIME_NOW) {
      change.valid |= SET_MTIME | SET_MTIME_NOW;
      change.mtimeSeconds = change.mtimeNanoseconds = 0;
    } else if (change.mtimeNanoseconds !== UTIME_OMIT) {
      change.valid |= SET_MTIME;
    }
  }

  /** The descriptor was opened for writing: that was judged then. */
  #truncate({ inode }: InterceptCall): void {
    // It has pages to drop.
    if (this.#core.isInKernel(inode)) {
      this.#finish(Fallback.InKernel);
      return;
    }
    this.#owner.writes = true;
    this.#ask(inode);
  }

  #finish(status: number): void {
    this.active = false;
    // The kernel knows what to do about an inode that has gone on the way.
    this.#owner.attributesChanged(status === ESTALE ? Fallback.Path : status);
  }

  /** Of the walk. */
  walked(status: number, attributes: FileAttributes | null): void {
    if (status !== 0 || attributes === null) this.#finish(status);
    else this.#found(attributes);
  }

  /** The core has answered: with the inode's attributes, or when they are changed. */
  arrived(attributes: FileAttributes): void {
    if (this.#isAsked) this.#finish(0);
    else this.#found(attributes);
  }

  failed(status: number): void {
    this.#finish(status);
  }

  #found(attributes: FileAttributes): void {
    const status = this.#judge(attributes);
    if (status === 0) this.#ask(attributes.inode);
    else this.#finish(status);
  }

  /** 0: what is asked for is what the kernel would ask for. */
  #judge(attributes: FileAttributes): number {
    const change = this.#change;
    const who = this.#who;
    switch (this.#kind) {
      case CallKind.Truncate: {
        const status = mayTruncate(attributes, who);
        // Somebody may execute it, or map it; only the kernel knows.
        return status === 0 && this.#core.isOpen(attributes.inode) ? Fallback.InKernel : status;
      }
      case CallKind.ChangeMode:
      case CallKind.FileChangeMode:
        return this.#judgeMode(attributes);
      case CallKind.ChangeOwner:
      case CallKind.FileChangeOwner:
        return this.#judgeOwner(attributes);
      default: {
        const areNow = SET_ATIME_NOW | SET_MTIME_NOW;
        return maySetTimes(attributes, who, (change.valid & areNow) === areNow);
      }
    }
  }

  #judgeMode(attributes: FileAttributes): number {
    const change = this.#change;
    change.mode = modeAllowed(attributes, this.#who, change.mode);
    const status = mayChangeMode(attributes, this.#who);
    const changesSpecial = ((attributes.mode ^ change.mode) & SPECIAL_BITS) !== 0;
    return status === 0 && changesSpecial ? this.#isLookedUp(attributes) : status;
  }

  #judgeOwner(attributes: FileAttributes): number {
    const { uid, gid } = attributes;
    const change = this.#change;
    // Also of a change to what is: see FuseFront.
    if (!attributes.isDirectory() || change.valid === 0) change.valid |= SET_DROP_SET_ID;
    const status = mayChangeOwner(attributes, this.#who, change.uid, change.gid);
    const changesUser = change.uid !== UNCHANGED && change.uid !== uid;
    const changesGroup = change.gid !== UNCHANGED && change.gid !== gid;
    const drops = (change.valid & SET_DROP_SET_ID) !== 0 && attributes.privileged;
    const changes = changesUser || changesGroup || drops;
    return status === 0 && changes ? this.#isLookedUp(attributes) : status;
  }

  /** 0: whatever the kernel does with the inode, it looks its name up first; or Fallback. */
  #isLookedUp(attributes: FileAttributes): number {
    const { inode, linkCount } = attributes;
    const { directory } = this.#owner.walk;
    if (this.#kind < CallKind.Truncate || directory === 0) return Fallback.Path;
    if (attributes.isDirectory() ? this.#owner.kernelKnows(inode) : linkCount !== 1) {
      return Fallback.Path;
    }
    if (this.#core.isOpen(inode)) return Fallback.InKernel;
    this.directory = directory;
    return 0;
  }

  #ask(inode: number): void {
    const owner = this.#owner;
    this.#isAsked = true;
    owner.inode = inode;
    owner.changing();
    this.#core.setAttributes(owner, inode, this.#change);
  }
}
