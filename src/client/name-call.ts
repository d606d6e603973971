/**
 * One call of an intercepted program that looks at or changes names: the checks that the kernel makes before it asks
 * a file system, in the kernel's order, then the operation of the core that FUSE calls, too.
 *
 *   access, readlink      path ──> inode ──> judged, or its text
 *   unlink, rmdir         path ──> directory ──> name looked up, if it is not known which inode has it, or if that
 *                                                one's owner matters ──> may it go? ──> core
 *   mkdir, mknod, symlink path ──> directory ──> may it get names? ──> core
 *                                                   └─ no: is the name taken? EEXIST comes first
 *   link                  path ──> inode ──> new path as mkdir's
 *   rename                path ──> directory ──> new path ──> directory ──> both names looked up ──> core
 *
 * What else than mode and owner decides, directories that are moved, and removed ones that the kernel knows (somebody
 * may work there), end with Fallback.Path: nothing has been changed, and the kernel is asked. Order of checks: do_unlinkat, do_mkdirat, do_mknodat,
 * do_linkat, do_renameat2, may_delete and may_create of Linux.
 */
import { ESTALE, errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { CallKind, Fallback } from '../native/intercept.js';
import type { InterceptCall } from '../native/intercept.js';
import { S_IFDIR, S_IFLNK, S_IFMT, S_ISGID } from './attributes.js';
import type { FileAttributes } from './attributes.js';
import type { FileSystemCore } from './core.js';
import type { Credentials } from './credentials.js';
import { UNKNOWN } from './leases/leases.js';
import type { PathWalk, WalkOwner } from './path-walk.js';
import { dropsSetGroup, isSticky, mayAccess, mayChange } from './permissions.js';
import { NameReference } from './request.js';

/** Of CallRecord.flags: of Stat and Link; of Rename. */
export const NO_FOLLOW = 1;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
/** Of MakeDirectory and MakeNode. */
const UMASK_SHIFT = 16;
const MODE_MASK = 0o7777;
const NODE_MODE_MASK = 0o177777;
/** A file that is executed as its group. */
const SET_GROUP = S_ISGID | 0o010;

/** What a call waits for. */
const INODE = 0;
const DIRECTORY = 1;
const NEW_DIRECTORY = 2;
const NAME = 3;
const NEW_NAME = 4;
const CHANGE = 5;

export type NamedTree = Pick<
  FileSystemCore,
  | 'lookup'
  | 'nameHeld'
  | 'typeHeld'
  | 'unlink'
  | 'removeDirectory'
  | 'makeDirectory'
  | 'makeNode'
  | 'rename'
  | 'link'
  | 'symlink'
  | 'readLink'
  | 'isAccessDue'
>;

export interface NameCallOwner extends WalkOwner {
  readonly walk: PathWalk;
  /** Arena offset of the paths, and of what a link says afterwards. */
  slot: number;
  /** The kernel may have heard of the directory: somebody may stand in it. */
  kernelKnows(directory: number): boolean;
  /** The core is about to be asked to change what `inodes` and `directories` say. */
  changing(): void;
  /** The end; `value`: bytes of a link's text. */
  named(status: number, value: number): void;
}

/** A name, and what may be done with it in its directory. */
class Place {
  inode = 0;
  /** Of making or removing names: 0, EACCES. */
  status = 0;
  /** Only owners may remove names. */
  isSticky = false;
  /** Programs that are made there get no set-group-ID bit. */
  dropsSetGroup = false;
  readonly name = new NameReference();

  set(directory: FileAttributes, who: Credentials, last: NameReference): void {
    this.inode = directory.inode;
    this.status = mayChange(directory, who);
    this.isSticky = isSticky(directory, who);
    this.dropsSetGroup = dropsSetGroup(directory, who);
    this.name.set(last.bytes, last.offset, last.lengthBytes);
  }

  /** Of removing the name, or having it mean something else, for an inode of `owner`. */
  mayLose(owner: number, who: Credentials): number {
    if (this.status !== 0) return this.status;
    return this.isSticky && owner !== who.uid ? errno.EPERM : 0;
  }
}

export class NameCall {
  /** Replies of the core to the owner are steps of this, or of the owner's walk. */
  active = false;
  /** The core has been asked to change something: the kernel is to forget all of the following. */
  changes = false;
  /** Inodes whose attributes are others now; 0: none. */
  readonly inodes = new Float64Array(4);
  /** Directories with other names. */
  readonly directories = new Float64Array(2);
  readonly #core: NamedTree;
  readonly #arena: ArenaMemory;
  readonly #owner: NameCallOwner;
  readonly #text = new NameReference();
  readonly #place = new Place();
  readonly #newPlace = new Place();
  #who!: Credentials;
  #kind = 0;
  #flags = 0;
  #step = INODE;
  #secondInode = 0;
  #second = 0;
  #secondBytes = 0;
  /** What has the (old) name. */
  #inode = 0;
  #inodeOwner = 0;

  constructor(core: NamedTree, arena: ArenaMemory, owner: NameCallOwner) {
    this.#core = core;
    this.#arena = arena;
    this.#owner = owner;
  }

  start(call: InterceptCall, who: Credentials): void {
    const { kind, inode, slot, lengthBytes, flags } = call;
    this.active = true;
    this.#who = who;
    this.#kind = kind;
    this.#flags = flags;
    this.#secondInode = call.secondInode;
    this.#second = slot + lengthBytes;
    this.#secondBytes = call.secondBytes;
    this.inodes.fill(0);
    this.directories.fill(0);
    const { walk } = this.#owner;
    if (kind === CallKind.Access && !who.isPlain) {
      this.#finish(Fallback.Path, 0);
      return;
    }
    const follows =
      kind === CallKind.Access || (kind === CallKind.Link && (flags & NO_FOLLOW) === 0);
    if (follows || kind === CallKind.ReadLink || kind === CallKind.Link) {
      this.#step = INODE;
      walk.start(who, inode, slot, lengthBytes, follows, null);
    } else {
      this.#step = DIRECTORY;
      walk.startAtParent(who, inode, slot, lengthBytes);
    }
  }

  #finish(status: number, value: number): void {
    this.active = false;
    // The kernel knows what to do about an inode that has gone on the way.
    this.#owner.named(status === ESTALE ? Fallback.Path : status, value);
  }

  /** Of the walk. */
  walked(status: number, attributes: FileAttributes | null): void {
    if (status !== 0 || attributes === null) this.#finish(status, 0);
    else if (this.#step === INODE) this.#foundInode(attributes);
    else this.#foundDirectory(attributes);
  }

  #foundInode(attributes: FileAttributes): void {
    const isLink = (attributes.mode & S_IFMT) === S_IFLNK;
    const { inode, uid } = attributes;
    switch (this.#kind) {
      case CallKind.Access:
        this.#finish(mayAccess(attributes, this.#who, this.#flags), 0);
        return;
      case CallKind.ReadLink:
        if (isLink) this.#readLink(inode);
        else this.#finish(errno.EINVAL, 0);
        return;
      default:
        // Of what one does not own the system's protected_hardlinks decides.
        if (attributes.isDirectory() || (uid !== this.#who.uid && !this.#who.ownsAll)) {
          this.#finish(Fallback.Path, 0);
          return;
        }
        this.#inode = inode;
        this.#walkToNew();
    }
  }

  #readLink(inode: number): void {
    this.#step = CHANGE;
    this.changes = this.#core.isAccessDue(inode);
    this.inodes[0] = inode;
    this.#core.readLink(this.#owner, inode);
  }

  #walkToNew(): void {
    this.#step = NEW_DIRECTORY;
    const { walk } = this.#owner;
    walk.startAtParent(this.#who, this.#secondInode, this.#second, this.#secondBytes);
  }

  #foundDirectory(attributes: FileAttributes): void {
    const isNew = this.#step === NEW_DIRECTORY;
    const place = isNew ? this.#newPlace : this.#place;
    place.set(attributes, this.#who, this.#owner.walk.last);
    if (place.status === Fallback.Path) {
      this.#finish(Fallback.Path, 0);
      return;
    }
    switch (this.#kind) {
      case CallKind.MakeDirectory:
      case CallKind.MakeNode:
      case CallKind.Symlink:
      case CallKind.Link:
        if (place.status === 0) this.#change();
        else this.#look(place, NAME);
        return;
      case CallKind.Rename:
        if (!isNew) this.#walkToNew();
        else if (!this.#renameHeld()) this.#look(this.#place, NAME);
        return;
      default:
        this.#remove(place);
    }
  }

  /** The target sees to the kind of what is removed; only who may remove it takes its owner. */
  #remove(place: Place): void {
    const mayRemoveAll = place.status === 0 && !place.isSticky;
    const inode = mayRemoveAll ? this.#core.nameHeld(place.inode, place.name) : UNKNOWN;
    if (inode === UNKNOWN) this.#look(place, NAME);
    else if (inode === 0) this.#finish(errno.ENOENT, 0);
    else this.#removeInode(inode);
  }

  #removeInode(inode: number): void {
    // Nobody may make names in it from now on: the kernel sees to that.
    if (this.#kind === CallKind.RemoveDirectory && this.#owner.kernelKnows(inode)) {
      this.#finish(Fallback.Path, 0);
      return;
    }
    this.#inode = inode;
    this.#change();
  }

  #look(place: Place, step: number): void {
    this.#step = step;
    this.#core.lookup(this.#owner, place.inode, place.name);
  }

  /** The core has answered a look-up of this, or the change. */
  failed(status: number): void {
    if (this.#step !== CHANGE && status === errno.ENOENT) this.#looked(null);
    else this.#finish(status, 0);
  }

  arrived(attributes: FileAttributes): void {
    if (this.#step === CHANGE) this.#finish(0, 0);
    else this.#looked(attributes);
  }

  done(): void {
    this.#finish(0, 0);
  }

  /** A link's text, in arena memory. */
  arrivedText(offset: number, lengthBytes: number): void {
    const { slot } = this.#owner;
    this.#arena.bytes.copyWithin(slot, offset, offset + lengthBytes);
    this.#finish(0, lengthBytes);
  }

  /** Null: there is no such name. */
  #looked(attributes: FileAttributes | null): void {
    switch (this.#kind) {
      case CallKind.Rename:
        if (this.#step === NAME) this.#lookedOld(attributes);
        else this.#lookedNew(attributes);
        return;
      case CallKind.Unlink:
      case CallKind.RemoveDirectory:
        this.#lookedRemoved(attributes);
        return;
      default: {
        const { status } = this.#kind === CallKind.Link ? this.#newPlace : this.#place;
        this.#finish(attributes === null ? status : errno.EEXIST, 0);
      }
    }
  }

  #lookedRemoved(attributes: FileAttributes | null): void {
    if (attributes === null) {
      this.#finish(errno.ENOENT, 0);
      return;
    }
    let status = this.#place.mayLose(attributes.uid, this.#who);
    const isDirectory = attributes.isDirectory();
    const removes = this.#kind === CallKind.RemoveDirectory;
    if (status === 0 && isDirectory !== removes) status = removes ? errno.ENOTDIR : errno.EISDIR;
    if (status === 0) this.#removeInode(attributes.inode);
    else this.#finish(status, 0);
  }

  #lookedOld(attributes: FileAttributes | null): void {
    if (attributes === null || attributes.isDirectory()) {
      this.#finish(attributes === null ? errno.ENOENT : Fallback.Path, 0);
      return;
    }
    this.#inode = attributes.inode;
    this.#inodeOwner = attributes.uid;
    this.#look(this.#newPlace, NEW_NAME);
  }

  /** A rename of and over nothing but files, between directories where no owner matters. False: they are asked for. */
  #renameHeld(): boolean {
    const inode = this.#heldFile(this.#place);
    const replaced = this.#heldFile(this.#newPlace);
    if (inode === UNKNOWN || replaced === UNKNOWN) return false;
    const flags = this.#flags;
    if (inode === 0 || (replaced === 0 && (flags & RENAME_EXCHANGE) !== 0)) {
      this.#finish(errno.ENOENT, 0);
    } else if (replaced !== 0 && (flags & RENAME_NOREPLACE) !== 0) {
      this.#finish(errno.EEXIST, 0);
    } else {
      this.#inode = inode;
      this.#changeOver(replaced);
    }
    return true;
  }

  /** What has the name: an inode that is no directory, or 0; UNKNOWN: something else, or who knows. */
  #heldFile(place: Place): number {
    if (place.status !== 0 || place.isSticky) return UNKNOWN;
    const inode = this.#core.nameHeld(place.inode, place.name);
    if (inode <= 0) return inode;
    const type = this.#core.typeHeld(inode);
    return type === 0 || type === S_IFDIR ? UNKNOWN : inode;
  }

  #changeOver(replaced: number): void {
    // Two names of one inode: rename(2) does nothing.
    if (replaced === this.#inode) {
      this.#finish(0, 0);
      return;
    }
    this.inodes[3] = replaced;
    this.#change();
  }

  #lookedNew(attributes: FileAttributes | null): void {
    const status = this.#judgeNew(attributes);
    if (status !== 0) this.#finish(status, 0);
    else this.#changeOver(attributes?.inode ?? 0);
  }

  #judgeNew(attributes: FileAttributes | null): number {
    const exchanges = (this.#flags & RENAME_EXCHANGE) !== 0;
    if (attributes === null && exchanges) return errno.ENOENT;
    if (attributes !== null && (this.#flags & RENAME_NOREPLACE) !== 0) return errno.EEXIST;
    if (attributes?.inode === this.#inode) return 0;
    // It may be one that the old name lies below: ENOTEMPTY, before all that follows.
    if (attributes?.isDirectory() === true) return Fallback.Path;
    const status = this.#place.mayLose(this.#inodeOwner, this.#who);
    if (status !== 0) return status;
    if (attributes === null) return this.#newPlace.status;
    return this.#newPlace.mayLose(attributes.uid, this.#who);
  }

  /** All that is to be judged here has been. */
  #change(): void {
    const owner = this.#owner;
    const core = this.#core;
    const { inode, name } = this.#place;
    const directory = this.#kind === CallKind.Link ? 0 : inode;
    this.#step = CHANGE;
    this.changes = true;
    this.inodes[0] = this.directories[0] = directory;
    this.inodes[2] = this.#namesInode() ? this.#inode : 0;
    if (this.#kind === CallKind.Rename || this.#kind === CallKind.Link) {
      this.inodes[1] = this.directories[1] = this.#newPlace.inode;
    }
    owner.changing();
    switch (this.#kind) {
      case CallKind.Unlink:
        core.unlink(owner, inode, name);
        return;
      case CallKind.RemoveDirectory:
        core.removeDirectory(owner, inode, name);
        return;
      case CallKind.MakeDirectory:
        owner.umask = this.#flags >>> UMASK_SHIFT;
        core.makeDirectory(owner, inode, name, this.#flags & MODE_MASK);
        return;
      case CallKind.MakeNode:
        owner.umask = this.#flags >>> UMASK_SHIFT;
        core.makeNode(owner, inode, name, this.#nodeMode(), 0);
        return;
      case CallKind.Symlink:
        this.#text.set(this.#arena.bytes, this.#second, this.#secondBytes);
        core.symlink(owner, inode, name, this.#text);
        return;
      case CallKind.Link:
        core.link(owner, this.#inode, this.#newPlace.inode, this.#newPlace.name);
        return;
      default:
        this.#rename();
    }
  }

  #nodeMode(): number {
    const mode = this.#flags & NODE_MODE_MASK;
    const drops = this.#place.dropsSetGroup && (mode & SET_GROUP) === SET_GROUP;
    return drops ? mode & ~S_ISGID : mode;
  }

  #rename(): void {
    const { inode, name } = this.#place;
    const { inode: newInode, name: newName } = this.#newPlace;
    this.#core.rename(this.#owner, inode, name, newInode, newName, this.#flags);
  }

  /** An inode is there already whose links or times change. */
  #namesInode(): boolean {
    const kind = this.#kind;
    return (
      kind !== CallKind.MakeDirectory && kind !== CallKind.MakeNode && kind !== CallKind.Symlink
    );
  }
}
