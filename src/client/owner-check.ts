/**
 * What a kernel decides by an owner that it asks nobody about: who may remove a name of a sticky directory, and who
 * may set an inode's mode, owner and times. It goes by the owner that it heard of last, and as long as it believes the name it hears
 * of no other, so another client's chown is news to it for up to KERNEL_TRUST_MS. Here it is known, mostly from memory:
 *
 *   request ─┬─ by root, or no owner matters ─────────────> core
 *            ├─ the owner is held, and is the caller ──────> core
 *            └─ asked for ─┬─ the caller, or CAP_FOWNER ───> core
 *                          └─ somebody else ───────────────> EPERM
 *
 * The order of checks is the kernel's own (setattr_prepare, may_delete of Linux): it has made all others. Where
 * something cannot be known, its word counts.
 */
import { errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { Operation } from '../native/fuse.js';
import type { FuseRequest } from '../native/fuse.js';
import { Answer } from './answer.js';
import {
  SET_ATIME,
  SET_ATIME_NOW,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_MTIME_NOW,
  SET_UID,
  S_ISVTX,
} from './attributes.js';
import type { FileSystemCore } from './core.js';
import { credentialsOf, processStatus } from './credentials.js';
import type { Credentials } from './credentials.js';
import { FuseNames } from './fuse-names.js';
import { NOT_STICKY } from './leases/leases.js';
import { NameReference } from './request.js';
import type { ClientRequest } from './request.js';

type CheckedTree = Pick<
  FileSystemCore,
  'getAttributes' | 'lookup' | 'nameHeld' | 'ownerHeld' | 'stickyOwnerHeld'
>;

/** Times that are given, not the clock's: those are the owner's to set. */
function setsTimes(valid: number): boolean {
  const given = (which: number, now: number): boolean =>
    (valid & which) !== 0 && (valid & now) === 0;
  return given(SET_ATIME, SET_ATIME_NOW) || given(SET_MTIME, SET_MTIME_NOW);
}

function copyOf({ bytes, offset, lengthBytes }: NameReference): NameReference {
  return new NameReference().set(bytes.slice(offset, offset + lengthBytes), 0, lengthBytes);
}

export class OwnerCheck {
  readonly #core: CheckedTree;
  readonly #arena: ArenaMemory;
  readonly #statusOf: (pid: number) => string;
  readonly #names: FuseNames;

  /** `statusOf`: the text of /proc/PID/status, '' if there is none. */
  constructor(core: CheckedTree, arena: ArenaMemory, statusOf = processStatus) {
    this.#core = core;
    this.#arena = arena;
    this.#names = new FuseNames(arena);
    this.#statusOf = statusOf;
  }

  /** Nothing is to be asked: no owner matters, or the one that does is the caller. */
  isPlain(fuse: FuseRequest): boolean {
    if (fuse.uid === 0) return true;
    switch (fuse.operation) {
      case Operation.SetAttr:
        if ((fuse.valid & (SET_MODE | SET_UID | SET_GID)) === 0 && !setsTimes(fuse.valid))
          return true;
        return this.#core.ownerHeld(fuse.inode) === fuse.uid;
      case Operation.Unlink:
      case Operation.RmDir:
        return this.#mayLose(fuse, fuse.inode, this.#names.first(fuse));
      case Operation.Rename:
        return (
          this.#mayLose(fuse, fuse.inode, this.#names.first(fuse)) &&
          this.#mayLose(fuse, fuse.newParent, this.#names.second(fuse))
        );
      default:
        return true;
    }
  }

  /** From memory: the caller may take this name from the directory. */
  #mayLose({ uid }: FuseRequest, directory: number, name: NameReference): boolean {
    const sticky = this.#core.stickyOwnerHeld(directory);
    if (sticky === NOT_STICKY || sticky === uid) return true;
    const inode = this.#core.nameHeld(directory, name);
    return inode === 0 || (inode > 0 && this.#core.ownerHeld(inode) === uid);
  }

  /** Asks for what `isPlain` does not know: 0, or EPERM. */
  async judge(fuse: FuseRequest): Promise<number> {
    const { uid, pid, valid } = fuse;
    if (fuse.operation === Operation.SetAttr) {
      const { stats } = await this.#ask((request) => {
        this.#core.getAttributes(request, fuse.inode);
      });
      if (stats === undefined || stats.uid === uid) return 0;
      const isGiven = (valid & (SET_UID | SET_GID)) !== 0;
      return this.#can(pid, isGiven ? 'changesOwners' : 'ownsAll') ? 0 : errno.EPERM;
    }
    const isRename = fuse.operation === Operation.Rename;
    const { inode, newParent } = fuse;
    const name = copyOf(this.#names.first(fuse));
    const newName = isRename ? copyOf(this.#names.second(fuse)) : name;
    const may =
      (await this.#owns(uid, inode, name)) &&
      (!isRename || (await this.#owns(uid, newParent, newName)));
    return may || this.#can(pid, 'ownsAll') ? 0 : errno.EPERM;
  }

  async #owns(uid: number, directory: number, name: NameReference): Promise<boolean> {
    const { stats } = await this.#ask((request) => {
      this.#core.getAttributes(request, directory);
    });
    if (stats === undefined || (stats.mode & S_ISVTX) === 0 || stats.uid === uid) return true;
    const found = await this.#ask((request) => {
      this.#core.lookup(request, directory, name);
    });
    return found.stats === undefined || found.stats.uid === uid;
  }

  /** Without attributes where there are none to be had: the core will say why. */
  #ask(start: (request: ClientRequest) => void): Promise<Answer> {
    return new Promise((resolve) => {
      const answer = new Answer(this.#arena, 0, 0, () => {
        resolve(answer);
      });
      start(answer);
    });
  }

  #can(pid: number, what: keyof Pick<Credentials, 'ownsAll' | 'changesOwners'>): boolean {
    const status = this.#statusOf(pid);
    return status === '' || credentialsOf(status)[what];
  }
}
