/**
 * One call of an intercepted program about extended attributes: the checks that the kernel makes before it asks a file
 * system, in the kernel's order, then the operation of the core that FUSE calls, too.
 *
 *   getxattr, setxattr, removexattr   path ──> inode ──> may it? ──> core (the kernel is to forget the inode's ctime)
 *   fgetxattr, …                 open file ──> inode ──┘
 *   listxattr, flistxattr             either ──> inode ──> core
 *
 * Only names below "user.": others are access control lists and capabilities, which the kernel remembers and judges
 * by, or somebody else's, which it shows and lets change by rules of its own. They end with Fallback.Path: nothing has
 * been changed, and the kernel is asked. Order of checks: xattr_permission of Linux.
 */
import { ESTALE } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { CallKind, Fallback } from '../native/intercept.js';
import type { InterceptCall } from '../native/intercept.js';
import { USER_PREFIX } from '../protocol/xattr-names.js';
import type { FileAttributes } from './attributes.js';
import type { FileSystemCore } from './core.js';
import type { Credentials } from './credentials.js';
import { NO_FOLLOW } from './name-call.js';
import type { PathWalk, WalkOwner } from './path-walk.js';
import { mayUseXattr } from './permissions.js';
import { isBelow, NameReference } from './request.js';

/** Of CallRecord.flags, of SetXattr. */
const FLAGS_SHIFT = 1;

export type XattrTree = Pick<
  FileSystemCore,
  'getAttributes' | 'getXattr' | 'setXattr' | 'listXattrs' | 'removeXattr'
>;

export interface XattrCallOwner extends WalkOwner {
  readonly walk: PathWalk;
  /** Whose attributes are changed. */
  inode: number;
  /** The core is about to be asked to change the attributes of `inode`. */
  changing(): void;
  /** The end; `value`: bytes of a value or of names. */
  xattrsDone(status: number, value: number): void;
}

export class XattrCall {
  /** Replies of the core to the owner are steps of this, or of the owner's walk. */
  active = false;
  readonly #core: XattrTree;
  readonly #arena: ArenaMemory;
  readonly #owner: XattrCallOwner;
  readonly #name = new NameReference();
  #who!: Credentials;
  #kind = 0;
  #flags = 0;
  /** Arena offset of a value, or of room for one or for names; and how many bytes. */
  #value = 0;
  #valueBytes = 0;

  constructor(core: XattrTree, arena: ArenaMemory, owner: XattrCallOwner) {
    this.#core = core;
    this.#arena = arena;
    this.#owner = owner;
  }

  start(call: InterceptCall, who: Credentials): void {
    const { kind, inode, slot, lengthBytes, secondBytes, flags } = call;
    this.active = true;
    this.#who = who;
    this.#kind = kind;
    this.#flags = flags >>> FLAGS_SHIFT;
    this.#name.set(this.#arena.bytes, slot + lengthBytes, secondBytes);
    // Behind the texts, at a multiple of 8.
    this.#value = slot + ((lengthBytes + secondBytes + 7) & ~7);
    this.#valueBytes = call.offset;
    const isTheirs = kind === CallKind.ListXattr || isBelow(this.#name, USER_PREFIX);
    if (!isTheirs) this.#finish(Fallback.Path, 0);
    else if (lengthBytes === 0) this.#core.getAttributes(this.#owner, inode);
    else {
      const follows = (flags & NO_FOLLOW) === 0;
      this.#owner.walk.start(who, inode, slot, lengthBytes, follows, null);
    }
  }

  #finish(status: number, value: number): void {
    this.active = false;
    // The kernel knows what to do about an inode that has gone on the way.
    this.#owner.xattrsDone(status === ESTALE ? Fallback.Path : status, value);
  }

  /** Of the walk. */
  walked(status: number, attributes: FileAttributes | null): void {
    if (status !== 0 || attributes === null) this.#finish(status, 0);
    else this.arrived(attributes);
  }

  /** The inode's attributes. */
  arrived(attributes: FileAttributes): void {
    const status = this.#judge(attributes);
    if (status === 0) this.#ask(attributes.inode);
    else this.#finish(status, 0);
  }

  #judge(attributes: FileAttributes): number {
    // Who has come as far as the inode may list them.
    if (this.#kind === CallKind.ListXattr) return 0;
    return mayUseXattr(attributes, this.#who, this.#kind !== CallKind.GetXattr);
  }

  #ask(inode: number): void {
    const owner = this.#owner;
    const core = this.#core;
    switch (this.#kind) {
      case CallKind.GetXattr:
        core.getXattr(owner, inode, this.#name, this.#valueBytes, this.#value);
        return;
      case CallKind.ListXattr:
        core.listXattrs(owner, inode, this.#valueBytes, this.#value);
        return;
      default:
        owner.inode = inode;
        owner.changing();
    }
    if (this.#kind === CallKind.RemoveXattr) core.removeXattr(owner, inode, this.#name);
    else core.setXattr(owner, inode, this.#name, this.#value, this.#valueBytes, this.#flags);
  }

  /** A value or names, or only how long they are. */
  arrivedValue(offset: number, lengthBytes: number): void {
    const isHere = this.#valueBytes === 0 || offset === this.#value;
    if (!isHere) this.#arena.bytes.copyWithin(this.#value, offset, offset + lengthBytes);
    this.#finish(0, lengthBytes);
  }

  done(): void {
    this.#finish(0, 0);
  }

  failed(status: number): void {
    this.#finish(status, 0);
  }
}
