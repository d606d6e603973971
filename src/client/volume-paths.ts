/**
 * What the promise API stands on: calls of the core that end in promises, paths that are followed to
 * inodes, directories read page by page.
 */
import { ESTALE, errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { Answer, FileError } from './answer.js';
import type { FileStats, ListedEntry } from './answer.js';
import type { FileSystemCore } from './core.js';
import { ListAttributes } from './listing-page.js';
import { NameReference } from './request.js';
import type { ClientRequest } from './request.js';
import { SlotWaiters } from './slot-waiters.js';

/** Symbolic links followed in one path, as Linux does. */
const SYMLINKS_MAX = 40;
const LIST_BYTES = 65536;

export interface Owner {
  uid: number;
  gid: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function reference(bytes: Uint8Array): NameReference {
  return new NameReference().set(bytes, 0, bytes.length);
}

export interface Place {
  /** Inodes from the root to the parent. */
  parents: number[];
  name: Uint8Array;
  /** Of what the path names, if it was looked up on the way. */
  stats?: FileStats;
  /** Why that look-up failed: there is no such name. */
  absence?: FileError;
}

export class VolumePaths {
  readonly core: FileSystemCore;
  readonly rootInode: number;
  protected readonly arena: ArenaMemory;
  protected readonly owner: Owner;
  protected readonly slots: SlotWaiters;

  constructor(core: FileSystemCore, arena: ArenaMemory, rootInode: number, owner: Owner) {
    this.core = core;
    this.rootInode = rootInode;
    core.setRoot(rootInode);
    this.arena = arena;
    this.owner = owner;
    this.slots = new SlotWaiters(arena.bulk);
  }

  /** Runs one operation of the core; rejects with a FileError that names `syscall` and `path`. */
  call(
    syscall: string,
    path: string,
    start: (request: ClientRequest) => void,
    synchronous = false,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { uid, gid } = this.owner;
      const answer = new Answer(this.arena, uid, gid, (status) => {
        if (status === 0) resolve(answer);
        else reject(new FileError(status === ESTALE ? errno.ENOENT : status, syscall, path));
      });
      answer.synchronous = synchronous;
      start(answer);
    });
  }

  // ---------------------------------------------------------------- paths

  /** Of this name in this directory. */
  async lookup(
    syscall: string,
    path: string,
    parent: number,
    name: Uint8Array,
  ): Promise<FileStats> {
    const answer = await this.call(syscall, path, (request) => {
      this.core.lookup(request, parent, reference(name));
    });
    return answer.stats!;
  }

  /**
   * The parent directories of a path and its last name, links on the way followed; with
   * `followLast` the last one too, as long as it is a link. The root has an empty name.
   */
  protected async resolve(syscall: string, path: string, followLast: boolean): Promise<Place> {
    const parts = path.split('/').filter((part) => part !== '' && part !== '.');
    let parents = [this.rootInode];
    let links = 0;
    while (parts.length > 0) {
      const part = parts.shift()!;
      if (part === '..') {
        if (parents.length > 1) parents.pop();
        continue;
      }
      const name = encoder.encode(part);
      const parent = parents.at(-1)!;
      if (parts.length === 0 && !followLast) return { parents, name };
      let stats: FileStats;
      try {
        stats = await this.lookup(syscall, path, parent, name);
      } catch (error) {
        // A name that is not there yet may be created.
        if (!(error instanceof FileError)) throw error;
        if (parts.length > 0 || error.code !== 'ENOENT') throw error;
        return { parents, name, absence: error };
      }
      if (stats.isSymbolicLink()) {
        if (++links > SYMLINKS_MAX) throw new FileError(errno.ELOOP, syscall, path);
        const target = await this.target(syscall, path, stats.inode);
        if (target.startsWith('/')) parents = [this.rootInode];
        parts.unshift(...target.split('/').filter((each) => each !== '' && each !== '.'));
      } else if (parts.length === 0) {
        return { parents, name, stats };
      } else {
        if (!stats.isDirectory()) throw new FileError(errno.ENOTDIR, syscall, path);
        parents.push(stats.inode);
      }
    }
    return { parents, name: new Uint8Array(0) };
  }

  /** Where a symbolic link leads. */
  async target(syscall: string, path: string, inode: number): Promise<string> {
    const answer = await this.call(syscall, path, (request) => {
      this.core.readLink(request, inode);
    });
    return decoder.decode(answer.text);
  }

  protected async statPlace(syscall: string, path: string, place: Place): Promise<FileStats> {
    if (place.stats !== undefined) return place.stats;
    if (place.absence !== undefined) throw place.absence;
    const parent = place.parents.at(-1)!;
    if (place.name.length > 0) return this.lookup(syscall, path, parent, place.name);
    const answer = await this.call(syscall, path, (request) => {
      this.core.getAttributes(request, parent);
    });
    return answer.stats!;
  }

  /** Inodes from the root to what the path names, this one included if it is there. */
  async inodesOf(path: string): Promise<number[]> {
    const { parents, stats } = await this.resolve('stat', path, true);
    return stats === undefined ? parents : [...parents, stats.inode];
  }

  /** For operations on an entry: its parent, and its name, which the root has not. */
  protected async entry(
    syscall: string,
    path: string,
  ): Promise<{ parent: number; name: NameReference }> {
    const place = await this.resolve(syscall, path, false);
    if (place.name.length === 0) throw new FileError(errno.EBUSY, syscall, path);
    return { parent: place.parents.at(-1)!, name: reference(place.name) };
  }

  /** A directory's entries, page by page; with `withStats` attributes of those whose inodes lie with it. */
  async *pages(path: string, inode: number, withStats = false): AsyncGenerator<ListedEntry[]> {
    const attributes = withStats ? ListAttributes.Given : ListAttributes.None;
    const opened = await this.call('opendir', path, (request) => {
      this.core.openDirectory(request, inode);
    });
    try {
      let cookie = 0;
      for (;;) {
        const page = await this.slots.use((landing) =>
          this.call('readdir', path, (request) => {
            const { handle } = opened;
            this.core.readDirectory(request, handle, cookie, LIST_BYTES, attributes, landing);
          }),
        );
        const lastEntry = page.entries.at(-1);
        if (lastEntry === undefined) return;
        cookie = lastEntry.cookie;
        yield page.entries;
        if (page.last) return;
      }
    } finally {
      this.core.closeHandle(opened.handle);
    }
  }
}
