/**
 * A volume without a mount: a promise API in the shape of node:fs/promises over the core, for the
 * command line and for tests. Paths are absolute within the volume, UTF-8, '/'-separated;
 * permissions are not checked (that is the kernel's part on a mount).
 */
import { ESTALE, errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { xattrListBytesMax, xattrValueBytesMax } from '../protocol/limits.generated.js';
import { Answer, FileError } from './answer.js';
import type { FileStats, ListedEntry } from './answer.js';
import {
  AttributeChange,
  SET_ATIME,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
  S_IFDIR,
  S_IFMT,
} from './attributes.js';
import type { FileSystemCore } from './core.js';
import { FileHandle } from './file-handle.js';
import { NameReference } from './request.js';
import type { ClientRequest, FileSystemTotals } from './request.js';
import { SlotWaiters } from './slot-waiters.js';

/** Symbolic links followed in one path, as Linux does. */
const SYMLINKS_MAX = 40;
const LIST_BYTES = 65536;
/** Removals in flight of one removeTree. */
const REMOVALS_MAX = 64;

/** As of node:fs; with an s writes are power-safe when they are done (O_SYNC). */
export type OpenFlags = 'r' | 'r+' | 'rs+' | 'w' | 'wx' | 'w+' | 'a' | 'a+' | 'as' | 'as+';

export interface Owner {
  uid: number;
  gid: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function reference(bytes: Uint8Array): NameReference {
  return new NameReference().set(bytes, 0, bytes.length);
}

interface Place {
  /** Inodes from the root to the parent. */
  parents: number[];
  name: Uint8Array;
  /** Of what the path names, if it was looked up on the way. */
  stats?: FileStats;
  /** Why that look-up failed: there is no such name. */
  absence?: FileError;
}

export class VolumeFiles {
  readonly core: FileSystemCore;
  readonly rootInode: number;
  readonly #arena: ArenaMemory;
  readonly #owner: Owner;
  readonly #slots: SlotWaiters;

  constructor(core: FileSystemCore, arena: ArenaMemory, rootInode: number, owner: Owner) {
    this.core = core;
    this.rootInode = rootInode;
    core.setRoot(rootInode);
    this.#arena = arena;
    this.#owner = owner;
    this.#slots = new SlotWaiters(arena.bulk);
  }

  /** Runs one operation of the core; rejects with a FileError that names `syscall` and `path`. */
  call(
    syscall: string,
    path: string,
    start: (request: ClientRequest) => void,
    synchronous = false,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { uid, gid } = this.#owner;
      const answer = new Answer(this.#arena, uid, gid, (status) => {
        if (status === 0) resolve(answer);
        else reject(new FileError(status === ESTALE ? errno.ENOENT : status, syscall, path));
      });
      answer.synchronous = synchronous;
      start(answer);
    });
  }

  // ---------------------------------------------------------------- paths

  async #lookup(
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
  async #resolve(syscall: string, path: string, followLast: boolean): Promise<Place> {
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
        stats = await this.#lookup(syscall, path, parent, name);
      } catch (error) {
        // A name that is not there yet may be created.
        if (!(error instanceof FileError)) throw error;
        if (parts.length > 0 || error.code !== 'ENOENT') throw error;
        return { parents, name, absence: error };
      }
      if (stats.isSymbolicLink()) {
        if (++links > SYMLINKS_MAX) throw new FileError(errno.ELOOP, syscall, path);
        const target = await this.#target(syscall, path, stats.inode);
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

  async #target(syscall: string, path: string, inode: number): Promise<string> {
    const answer = await this.call(syscall, path, (request) => {
      this.core.readLink(request, inode);
    });
    return decoder.decode(answer.text);
  }

  async #statPlace(syscall: string, path: string, place: Place): Promise<FileStats> {
    if (place.stats !== undefined) return place.stats;
    if (place.absence !== undefined) throw place.absence;
    const parent = place.parents.at(-1)!;
    if (place.name.length > 0) return this.#lookup(syscall, path, parent, place.name);
    const answer = await this.call(syscall, path, (request) => {
      this.core.getAttributes(request, parent);
    });
    return answer.stats!;
  }

  /** For operations on an entry: its parent, and its name, which the root has not. */
  async #entry(syscall: string, path: string): Promise<{ parent: number; name: NameReference }> {
    const place = await this.#resolve(syscall, path, false);
    if (place.name.length === 0) throw new FileError(errno.EBUSY, syscall, path);
    return { parent: place.parents.at(-1)!, name: reference(place.name) };
  }

  // ---------------------------------------------------------------- names

  async stat(path: string): Promise<FileStats> {
    return this.#statPlace('stat', path, await this.#resolve('stat', path, true));
  }

  async lstat(path: string): Promise<FileStats> {
    return this.#statPlace('lstat', path, await this.#resolve('lstat', path, false));
  }

  async mkdir(path: string, options: { mode?: number; recursive?: boolean } = {}): Promise<void> {
    try {
      const { parent, name } = await this.#entry('mkdir', path);
      await this.call('mkdir', path, (request) => {
        this.core.makeDirectory(request, parent, name, options.mode ?? 0o755);
      });
    } catch (error) {
      if (options.recursive !== true || !(error instanceof FileError)) throw error;
      if (error.code === 'ENOENT') {
        const above = path.replace(/\/[^/]*\/*$/, '');
        if (above === '' || above === path) throw error;
        await this.mkdir(above, options);
        await this.mkdir(path, options);
      } else if (
        !['EEXIST', 'EBUSY'].includes(error.code) ||
        !(await this.stat(path)).isDirectory()
      ) {
        throw error;
      }
    }
  }

  async rmdir(path: string): Promise<void> {
    const { parent, name } = await this.#entry('rmdir', path);
    await this.call('rmdir', path, (request) => {
      this.core.removeDirectory(request, parent, name);
    });
  }

  async unlink(path: string): Promise<void> {
    const { parent, name } = await this.#entry('unlink', path);
    await this.call('unlink', path, (request) => {
      this.core.unlink(request, parent, name);
    });
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2. */
  async rename(from: string, to: string, flags = 0): Promise<void> {
    const source = await this.#entry('rename', from);
    const target = await this.#entry('rename', to);
    await this.call('rename', `${from}' -> '${to}`, (request) => {
      this.core.rename(request, source.parent, source.name, target.parent, target.name, flags);
    });
  }

  async symlink(target: string, path: string): Promise<void> {
    const { parent, name } = await this.#entry('symlink', path);
    await this.call('symlink', path, (request) => {
      this.core.symlink(request, parent, name, reference(encoder.encode(target)));
    });
  }

  async readlink(path: string): Promise<string> {
    const stats = await this.lstat(path);
    return this.#target('readlink', path, stats.inode);
  }

  async link(existing: string, path: string): Promise<void> {
    const { inode } = await this.lstat(existing);
    const { parent, name } = await this.#entry('link', path);
    await this.call('link', path, (request) => {
      this.core.link(request, inode, parent, name);
    });
  }

  async readdir(path: string): Promise<string[]> {
    const { inode } = await this.stat(path);
    const names: string[] = [];
    await this.#list(path, inode, (entries) => {
      for (const entry of entries) names.push(decoder.decode(entry.nameBytes));
      return Promise.resolve();
    });
    return names;
  }

  /** Calls `visit` with batches of a directory's entries, one after another. */
  async #list(
    path: string,
    inode: number,
    visit: (entries: ListedEntry[]) => Promise<void>,
  ): Promise<void> {
    const opened = await this.call('opendir', path, (request) => {
      this.core.openDirectory(request, inode);
    });
    try {
      let cookie = 0;
      for (;;) {
        const page = await this.#slots.use((landing) =>
          this.call('readdir', path, (request) => {
            this.core.readDirectory(request, opened.handle, cookie, LIST_BYTES, false, landing);
          }),
        );
        const lastEntry = page.entries.at(-1);
        if (lastEntry === undefined) return;
        cookie = lastEntry.cookie;
        await visit(page.entries);
        if (page.last) return;
      }
    } finally {
      this.core.closeHandle(opened.handle);
    }
  }

  // ---------------------------------------------------------------- attributes

  async #change(syscall: string, path: string, change: AttributeChange): Promise<FileStats> {
    const { inode } = await this.stat(path);
    const answer = await this.call(syscall, path, (request) => {
      this.core.setAttributes(request, inode, change);
    });
    return answer.stats!;
  }

  async chmod(path: string, mode: number): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_MODE;
    change.mode = mode;
    await this.#change('chmod', path, change);
  }

  async chown(path: string, uid: number, gid: number): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_UID | SET_GID;
    change.uid = uid;
    change.gid = gid;
    await this.#change('chown', path, change);
  }

  async truncate(path: string, sizeBytes = 0): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_SIZE;
    change.sizeBytes = sizeBytes;
    await this.#change('truncate', path, change);
  }

  /** Seconds since 1970, fractions allowed. */
  async utimes(path: string, atime: number, mtime: number): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_ATIME | SET_MTIME;
    change.atimeSeconds = Math.floor(atime);
    change.atimeNanoseconds = Math.round((atime - Math.floor(atime)) * 1e9) % 1e9;
    change.mtimeSeconds = Math.floor(mtime);
    change.mtimeNanoseconds = Math.round((mtime - Math.floor(mtime)) * 1e9) % 1e9;
    await this.#change('utimes', path, change);
  }

  // ---------------------------------------------------------------- files

  async open(path: string, flags: OpenFlags = 'r', mode = 0o644): Promise<FileHandle> {
    const exclusive = flags === 'wx';
    const truncate = flags.startsWith('w') && !exclusive;
    const place = await this.#resolve('open', path, !exclusive);
    const parent = place.parents.at(-1)!;
    if (flags.startsWith('r')) {
      const stats = await this.#statPlace('open', path, place);
      const answer = await this.call('open', path, (request) => {
        this.core.open(request, stats.inode, false);
      });
      return this.#handle(stats.inode, answer.handle, path, flags);
    }
    if (place.name.length === 0) throw new FileError(errno.EISDIR, 'open', path);
    const answer = await this.call('open', path, (request) => {
      this.core.create(request, parent, reference(place.name), mode, exclusive, truncate);
    });
    return this.#handle(answer.stats!.inode, answer.handle, path, flags);
  }

  #handle(inode: number, handle: number, path: string, flags: OpenFlags): FileHandle {
    const file = new FileHandle(this, this.#slots, this.#arena, inode, handle, path);
    file.append = flags.startsWith('a');
    file.synchronous = flags.includes('s');
    return file;
  }

  async readFile(path: string): Promise<Uint8Array> {
    const file = await this.open(path, 'r');
    try {
      return await file.readAll();
    } finally {
      file.close();
    }
  }

  async writeFile(path: string, data: Uint8Array | string, flags: OpenFlags = 'w'): Promise<void> {
    const file = await this.open(path, flags);
    try {
      await file.write(typeof data === 'string' ? encoder.encode(data) : data, 0);
    } finally {
      file.close();
    }
  }

  /** A new file `to` (an old one is replaced) with the content of `from`; shares what it can. */
  async copyFile(from: string, to: string): Promise<void> {
    const source = await this.open(from, 'r');
    try {
      const { mode } = await source.stat();
      const target = await this.open(to, 'w', mode & 0o7777);
      try {
        await source.copyTo(target);
      } finally {
        target.close();
      }
    } finally {
      source.close();
    }
  }

  // ---------------------------------------------------------------- trees and volumes

  async rm(path: string, options: { recursive?: boolean; force?: boolean } = {}): Promise<void> {
    let stats: FileStats;
    try {
      stats = await this.lstat(path);
    } catch (error) {
      const absent = error instanceof FileError && error.code === 'ENOENT';
      if (absent && options.force === true) return;
      throw error;
    }
    if (!stats.isDirectory()) {
      await this.unlink(path);
      return;
    }
    if (options.recursive !== true) throw new FileError(errno.EISDIR, 'rm', path);
    await this.removeTree(path);
    await this.rmdir(path);
  }

  /** Removes all that is in a directory, not itself; `onProgress` hears the number of entries. */
  async removeTree(path: string, onProgress?: (removed: number) => void): Promise<void> {
    const { inode } = await this.stat(path);
    const progress = { removed: 0, report: onProgress };
    await this.#removeContent(path, inode, progress);
  }

  async #removeContent(
    path: string,
    directory: number,
    progress: { removed: number; report: ((removed: number) => void) | undefined },
  ): Promise<void> {
    await this.#list(path, directory, async (entries) => {
      const removals: Promise<unknown>[] = [];
      for (const entry of entries) {
        const isDirectory = (entry.mode & S_IFMT) === S_IFDIR;
        const below = `${path.replace(/\/$/, '')}/${decoder.decode(entry.nameBytes)}`;
        if (isDirectory) await this.#removeContent(below, entry.inode, progress);
        removals.push(this.#removeEntry(below, directory, entry, isDirectory));
        if (removals.length < REMOVALS_MAX) continue;
        await Promise.all(removals.splice(0));
      }
      await Promise.all(removals);
      progress.removed += entries.length;
      progress.report?.(progress.removed);
    });
  }

  async #removeEntry(
    path: string,
    parent: number,
    entry: ListedEntry,
    isDirectory: boolean,
  ): Promise<void> {
    const name = reference(entry.nameBytes);
    try {
      await this.call(isDirectory ? 'rmdir' : 'unlink', path, (request) => {
        if (isDirectory) this.core.removeDirectory(request, parent, name);
        else this.core.unlink(request, parent, name);
      });
    } catch (error) {
      // Somebody else removes here, too.
      if (!(error instanceof FileError) || error.code !== 'ENOENT') throw error;
    }
  }

  // ---------------------------------------------------------------- extended attributes

  /** `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  async setXattr(path: string, name: string, value: Uint8Array, flags = 0): Promise<void> {
    const { inode } = await this.stat(path);
    if (value.length > xattrValueBytesMax) throw new FileError(errno.E2BIG, 'setxattr', path);
    await this.#slots.use((data) => {
      this.#arena.bytes.set(value, data);
      return this.call('setxattr', path, (request) => {
        const named = reference(encoder.encode(name));
        this.core.setXattr(request, inode, named, data, value.length, flags);
      });
    });
  }

  /** Rejects with ENODATA where there is none of this name. */
  async getXattr(path: string, name: string): Promise<Uint8Array> {
    const { inode } = await this.stat(path);
    const answer = await this.#slots.use((landing) =>
      this.call('getxattr', path, (request) => {
        const named = reference(encoder.encode(name));
        this.core.getXattr(request, inode, named, xattrValueBytesMax, landing);
      }),
    );
    return answer.text;
  }

  async listXattrs(path: string): Promise<string[]> {
    const { inode } = await this.stat(path);
    const answer = await this.#slots.use((landing) =>
      this.call('listxattr', path, (request) => {
        this.core.listXattrs(request, inode, xattrListBytesMax, landing);
      }),
    );
    return decoder.decode(answer.text).split('\0').slice(0, -1);
  }

  async removeXattr(path: string, name: string): Promise<void> {
    const { inode } = await this.stat(path);
    await this.call('removexattr', path, (request) => {
      this.core.removeXattr(request, inode, reference(encoder.encode(name)));
    });
  }

  async statfs(): Promise<FileSystemTotals> {
    const answer = await this.call('statfs', '/', (request) => {
      this.core.statFs(request);
    });
    return answer.totals;
  }

  /** The volume's root directory exists afterwards. */
  async ensureRoot(mode = 0o755): Promise<void> {
    await this.call('mount', '/', (request) => {
      this.core.ensureRoot(request, this.rootInode, mode);
    });
  }

  /** Drops the volume's root; rejects with ENOTEMPTY if there is something in it. */
  async dropRoot(): Promise<void> {
    await this.call('rmdir', '/', (request) => {
      this.core.dropEmptyRoot(request, this.rootInode);
    });
  }
}
