/**
 * A path below a directory, followed name by name as the kernel would for the caller: each directory on the way
 * must let the caller through. Only what is plain is decided here. Links, "..", access control lists that matter,
 * and a slash at the end are left to the kernel: the walk then ends with Fallback.Path.
 *
 *   start ── attributes of the base ──> may pass? ── look up the next name ──┐
 *                                          ^── its attributes, more names ───┴── the last one's: done
 *
 * Or up to the directory that has, or is to have, the last name (`startAtParent`).
 */
import { ESTALE, errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { Fallback } from '../native/intercept.js';
import { S_IFLNK, S_IFMT } from './attributes.js';
import type { FileAttributes } from './attributes.js';
import type { FileSystemCore } from './core.js';
import type { Credentials } from './credentials.js';
import type { Dependencies } from './leases/dependencies.js';
import { mayPass } from './permissions.js';
import { NameReference } from './request.js';
import type { ClientRequest } from './request.js';

/** Names of one path; answers from memory come one inside the other. */
const NAMES_MAX = 64;
const SLASH = 47;
const DOT = 46;

/** What a walk asks of the core. */
export type WalkedTree = Pick<
  FileSystemCore,
  'lookup' | 'getAttributes' | 'nameDependsOn' | 'permissionsDependOn' | 'attributesDependOn'
>;

export interface WalkOwner extends ClientRequest {
  /** The walk's end: 0 with the attributes of what the path leads to, or an errno or Fallback. */
  walked(status: number, attributes: FileAttributes | null): void;
}

export class PathWalk {
  /** Replies of the core to the owner are steps of this. */
  active = false;
  readonly #core: WalkedTree;
  readonly #arena: ArenaMemory;
  readonly #owner: WalkOwner;
  readonly #name = new NameReference();
  #who!: Credentials;
  /** Arena offsets: the rest of the path. */
  #at = 0;
  #end = 0;
  #names = 0;
  #directory = 0;
  #follows = false;
  #stopsAtParent = false;
  /** For who wants to remember the end. */
  #notes: Dependencies | null = null;

  constructor(core: WalkedTree, arena: ArenaMemory, owner: WalkOwner) {
    this.#core = core;
    this.#arena = arena;
    this.#owner = owner;
  }

  /**
   * The path lies at `path` until the end. `follows`: a link as the last name is followed. `notes`: gets what the end
   * depends on; it means something only if the end comes before this returns.
   */
  start(
    who: Credentials,
    base: number,
    path: number,
    lengthBytes: number,
    follows: boolean,
    notes: Dependencies | null,
  ): void {
    this.#follows = follows;
    this.#stopsAtParent = false;
    this.#notes = notes;
    this.#start(who, base, path, lengthBytes);
  }

  /** The same up to the last name, which `last` is afterwards: ends with attributes of its directory. */
  startAtParent(who: Credentials, base: number, path: number, lengthBytes: number): void {
    this.#stopsAtParent = true;
    this.#notes = null;
    this.#start(who, base, path, lengthBytes);
  }

  /** The name that the last step was about; it lies in the path. */
  get last(): NameReference {
    return this.#name;
  }

  /** The directory of the name that the last step was about; 0: there was none. */
  get directory(): number {
    return this.#directory;
  }

  #start(who: Credentials, base: number, path: number, lengthBytes: number): void {
    const { bytes } = this.#arena;
    const isPlain = lengthBytes > 0 && bytes[path] !== SLASH;
    if (
      !isPlain ||
      bytes[path + lengthBytes - 1] === SLASH ||
      bytes[path + lengthBytes - 1] === DOT
    ) {
      this.#owner.walked(Fallback.Path, null);
      return;
    }
    this.active = true;
    this.#who = who;
    this.#at = path;
    this.#end = path + lengthBytes;
    this.#names = 0;
    this.#directory = 0;
    this.#core.getAttributes(this.#owner, base);
  }

  /** What is asked for now is a directory that the path goes through. */
  get isOnTheWay(): boolean {
    return this.active && this.#at < this.#end;
  }

  #finish(status: number, attributes: FileAttributes | null): void {
    this.active = false;
    this.#owner.walked(status, attributes);
  }

  failed(status: number): void {
    // The kernel knows what to do about an inode that has gone on the way.
    this.#finish(status === ESTALE ? Fallback.Path : status, null);
  }

  /** The attributes that were asked for: of the base first, then of each name. */
  arrived(attributes: FileAttributes): void {
    const isLink = (attributes.mode & S_IFMT) === S_IFLNK;
    if (this.#at >= this.#end) {
      if (isLink && this.#follows) {
        this.#finish(Fallback.Path, null);
        return;
      }
      if (this.#notes !== null) this.#core.attributesDependOn(attributes.inode, this.#notes);
      this.#finish(0, attributes);
      return;
    }
    if (isLink || this.#names++ >= NAMES_MAX) {
      this.#finish(Fallback.Path, null);
      return;
    }
    const status = attributes.isDirectory() ? mayPass(attributes, this.#who) : errno.ENOTDIR;
    if (status !== 0) {
      this.#finish(status, null);
      return;
    }
    this.#directory = attributes.inode;
    if (this.#notes !== null) this.#core.permissionsDependOn(this.#directory, this.#notes);
    this.#next(attributes);
  }

  #next(directory: FileAttributes): void {
    const { bytes } = this.#arena;
    let from = this.#at;
    let to = from;
    for (;;) {
      while (to < this.#end && bytes[to] !== SLASH) to++;
      const isDot = to === from + 1 && bytes[from] === DOT;
      if (to > from && !isDot) break;
      // "//" and "/./"; the last byte is neither a slash nor a dot.
      from = ++to;
    }
    if (to === from + 2 && bytes[from] === DOT && bytes[from + 1] === DOT) {
      this.#finish(Fallback.Path, null);
      return;
    }
    this.#name.set(bytes, from, to - from);
    if (this.#stopsAtParent && to === this.#end) {
      this.#finish(0, directory);
      return;
    }
    this.#at = to === this.#end ? to : to + 1;
    if (this.#notes !== null) {
      this.#core.nameDependsOn(this.#directory, this.#name, this.#notes);
    }
    this.#core.lookup(this.#owner, this.#directory, this.#name);
  }
}
