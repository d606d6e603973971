/**
 * A volume without a mount: a promise API in the shape of node:fs/promises over the core, for the
 * command line and for tests. Paths are absolute within the volume, UTF-8, '/'-separated;
 * permissions are not checked (that is the kernel's part on a mount).
 */
import { errno } from '../common/errno.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { xattrListBytesMax, xattrValueBytesMax } from '../protocol/limits.generated.js';
import { FileError } from './answer.js';
import type { FileStats } from './answer.js';
import {
  AttributeChange,
  SET_ATIME,
  SET_GID,
  SET_MODE,
  SET_MTIME,
  SET_SIZE,
  SET_UID,
} from './attributes.js';
import type { FileSystemCore } from './core.js';
import { FileHandle } from './file-handle.js';
import { ManyFiles, oneOfMany } from './many-files.js';
import type { OneOfMany } from './many-files.js';
import type { FileSystemTotals } from './request.js';
import { TreeRemoval } from './tree-remove.js';
import { VolumePaths, reference } from './volume-paths.js';
import type { Owner } from './volume-paths.js';

/** As of node:fs; with an s writes are power-safe when they are done (O_SYNC). */
export type OpenFlags = 'r' | 'r+' | 'rs+' | 'w' | 'wx' | 'w+' | 'a' | 'a+' | 'as' | 'as+';

/** Of `writeFiles`. */
export interface NewFile {
  name: string;
  data: Uint8Array | string;
  /** 0o644 by default; of a file that is there it stays as it is. */
  mode?: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class VolumeFiles extends VolumePaths {
  readonly many: ManyFiles;

  constructor(core: FileSystemCore, arena: ArenaMemory, rootInode: number, owner: Owner) {
    super(core, arena, rootInode, owner);
    const { uid, gid } = owner;
    const many = { uid, gid, umask: 0, dropsSetId: uid !== 0 };
    this.many = new ManyFiles(core, this.slots, many, (directory, name) => {
      return this.lookup('lstat', '', directory, name).then(nothing, nothing);
    });
  }

  // ---------------------------------------------------------------- names

  async stat(path: string): Promise<FileStats> {
    return this.statPlace('stat', path, await this.resolve('stat', path, true));
  }

  async lstat(path: string): Promise<FileStats> {
    return this.statPlace('lstat', path, await this.resolve('lstat', path, false));
  }

  async mkdir(path: string, options: { mode?: number; recursive?: boolean } = {}): Promise<void> {
    try {
      const { parent, name } = await this.entry('mkdir', path);
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
    const { parent, name } = await this.entry('rmdir', path);
    await this.call('rmdir', path, (request) => {
      this.core.removeDirectory(request, parent, name);
    });
  }

  async unlink(path: string): Promise<void> {
    const { parent, name } = await this.entry('unlink', path);
    await this.call('unlink', path, (request) => {
      this.core.unlink(request, parent, name);
    });
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2. */
  async rename(from: string, to: string, flags = 0): Promise<void> {
    const source = await this.entry('rename', from);
    const target = await this.entry('rename', to);
    await this.call('rename', `${from}' -> '${to}`, (request) => {
      this.core.rename(request, source.parent, source.name, target.parent, target.name, flags);
    });
  }

  async symlink(target: string, path: string): Promise<void> {
    const { parent, name } = await this.entry('symlink', path);
    await this.call('symlink', path, (request) => {
      this.core.symlink(request, parent, name, reference(encoder.encode(target)));
    });
  }

  async readlink(path: string): Promise<string> {
    const stats = await this.lstat(path);
    return this.target('readlink', path, stats.inode);
  }

  async link(existing: string, path: string): Promise<void> {
    const { inode } = await this.lstat(existing);
    const { parent, name } = await this.entry('link', path);
    await this.call('link', path, (request) => {
      this.core.link(request, inode, parent, name);
    });
  }

  async readdir(path: string): Promise<string[]> {
    const { inode } = await this.stat(path);
    const names: string[] = [];
    for await (const entries of this.pages(path, inode)) {
      for (const entry of entries) names.push(decoder.decode(entry.nameBytes));
    }
    return names;
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
    const place = await this.resolve('open', path, !exclusive);
    const parent = place.parents.at(-1)!;
    if (flags.startsWith('r')) {
      const stats = await this.statPlace('open', path, place);
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
    const file = new FileHandle(this, this.slots, this.arena, inode, handle, path);
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

  async writeFile(
    path: string,
    data: Uint8Array | string,
    flags: OpenFlags = 'w',
    mode = 0o644,
  ): Promise<void> {
    const file = await this.open(path, flags, mode);
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

  // ---------------------------------------------------------------- many names of a directory

  /** Of each name, links not followed; a FileError in place of those that cannot be had. */
  async lstatMany(directory: string, names: readonly string[]): Promise<(FileStats | FileError)[]> {
    const ones = await this.#ones(directory, names);
    await this.many.lookup(ones);
    const pathOf = (i: number): string => join(directory, names[i]!);
    return this.many.settle(
      ones,
      'lstat',
      pathOf,
      (one) => one.stats!,
      (i) => this.lookup('lstat', pathOf(i), ones[i]!.directory, ones[i]!.name),
    );
  }

  /** Empty files; a FileError in place of those that are there already (EEXIST) or cannot be made. */
  createMany(
    directory: string,
    names: readonly string[],
    options: { mode?: number } = {},
  ): Promise<(FileError | undefined)[]> {
    const { mode = 0o644 } = options;
    const files = names.map((name) => ({ name, data: '', mode }));
    return this.writeFiles(directory, files, { flag: 'wx' });
  }

  /** Each is made (with `w` emptied, if it is there) and has its content; small ones at once. */
  async writeFiles(
    directory: string,
    files: readonly NewFile[],
    options: { flag?: 'w' | 'wx' } = {},
  ): Promise<(FileError | undefined)[]> {
    const { flag = 'w' } = options;
    const ones = await this.#ones(
      directory,
      files.map(({ name }) => name),
    );
    for (const [i, one] of ones.entries()) {
      const { data, mode = 0o644 } = files[i]!;
      one.mode = mode & 0o7777;
      one.exclusive = flag === 'wx';
      one.data = typeof data === 'string' ? encoder.encode(data) : data;
    }
    await this.many.write(ones);
    const pathOf = (i: number): string => join(directory, files[i]!.name);
    return this.many.settle<undefined>(
      ones,
      'write',
      pathOf,
      () => undefined,
      async (i) => {
        await this.writeFile(pathOf(i), ones[i]!.data, flag, ones[i]!.mode);
        return undefined;
      },
    );
  }

  /** Whole contents; a FileError in place of those that cannot be read. */
  async readFiles(
    directory: string,
    names: readonly string[],
  ): Promise<(Uint8Array | FileError)[]> {
    const ones = await this.#ones(directory, names);
    await this.many.read(ones);
    // Larger files, and those behind links, are read as ever.
    for (const one of ones) {
      if (one.status === 0 && one.content === undefined) one.status = errno.EAGAIN;
    }
    const pathOf = (i: number): string => join(directory, names[i]!);
    return this.many.settle(
      ones,
      'read',
      pathOf,
      (one) => one.content!,
      (i) => this.readFile(pathOf(i)),
    );
  }

  async unlinkMany(
    directory: string,
    names: readonly string[],
  ): Promise<(FileError | undefined)[]> {
    const ones = await this.#ones(directory, names);
    await this.many.unlink(ones);
    const pathOf = (i: number): string => join(directory, names[i]!);
    return this.many.settle<undefined>(
      ones,
      'unlink',
      pathOf,
      () => undefined,
      async (i) => {
        const { directory: parent, name } = ones[i]!;
        await this.call('unlink', pathOf(i), (request) => {
          this.core.unlink(request, parent, reference(name));
        });
        return undefined;
      },
    );
  }

  async #ones(directory: string, names: readonly string[]): Promise<OneOfMany[]> {
    const { inode } = await this.stat(directory);
    return names.map((name) => oneOfMany(inode, encoder.encode(name)));
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

  /**
   * Removes all that is in a directory, not itself. `onProgress` hears the number of entries, `onError` of what
   * cannot be removed; without it that rejects.
   */
  async removeTree(
    path: string,
    onProgress?: (removed: number) => void,
    onError?: (error: FileError) => void,
  ): Promise<void> {
    const { inode } = await this.stat(path);
    await new TreeRemoval(this, onProgress, onError).removeContent(path, inode);
  }

  // ---------------------------------------------------------------- extended attributes

  /** `flags`: XATTR_CREATE 1, XATTR_REPLACE 2. */
  async setXattr(path: string, name: string, value: Uint8Array, flags = 0): Promise<void> {
    const { inode } = await this.stat(path);
    if (value.length > xattrValueBytesMax) throw new FileError(errno.E2BIG, 'setxattr', path);
    await this.slots.use((data) => {
      this.arena.bytes.set(value, data);
      return this.call('setxattr', path, (request) => {
        const named = reference(encoder.encode(name));
        this.core.setXattr(request, inode, named, data, value.length, flags);
      });
    });
  }

  /** Rejects with ENODATA where there is none of this name. */
  async getXattr(path: string, name: string): Promise<Uint8Array> {
    const { inode } = await this.stat(path);
    const answer = await this.slots.use((landing) =>
      this.call('getxattr', path, (request) => {
        const named = reference(encoder.encode(name));
        this.core.getXattr(request, inode, named, xattrValueBytesMax, landing);
      }),
    );
    return answer.text;
  }

  async listXattrs(path: string): Promise<string[]> {
    const { inode } = await this.stat(path);
    const answer = await this.slots.use((landing) =>
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

function join(directory: string, name: string): string {
  return `${directory.replace(/\/$/, '')}/${name}`;
}

function nothing(): void {
  // Neither what was found nor that nothing was is of interest.
}
