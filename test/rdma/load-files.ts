/** The file operations that a model load does, on a mount or on a client inside this process. */
import * as fs from 'node:fs/promises';
import type { VolumeFiles } from '../../src/client/volume-files.js';

export interface LoadFiles {
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** Fails with EEXIST if the file is there. */
  create(path: string, data: Buffer): Promise<void>;
  /** Into an existing file. */
  write(path: string, data: Buffer, position: number): Promise<void>;
  append(path: string, data: Buffer): Promise<void>;
  read(path: string): Promise<Buffer>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  readdir(path: string): Promise<string[]>;
}

async function writeAt(path: string, data: Buffer, position: number): Promise<void> {
  const file = await fs.open(path, 'r+');
  try {
    for (let done = 0; done < data.length;) {
      const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
      done += bytesWritten;
    }
  } finally {
    await file.close();
  }
}

/** Paths are those of the mount. */
export const mountedFiles: LoadFiles = {
  mkdir: (path) => fs.mkdir(path),
  rmdir: (path) => fs.rmdir(path),
  create: (path, data) => fs.writeFile(path, data, { flag: 'wx' }),
  write: writeAt,
  append: (path, data) => fs.appendFile(path, data),
  read: (path) => fs.readFile(path),
  rename: (from, to) => fs.rename(from, to),
  unlink: (path) => fs.unlink(path),
  readdir: (path) => fs.readdir(path),
};

/** Paths begin at the volume's root. */
export function volumeFiles(volume: VolumeFiles): LoadFiles {
  const write = async (
    path: string,
    flags: 'r+' | 'a',
    data: Buffer,
    at: number,
  ): Promise<void> => {
    const file = await volume.open(path, flags);
    try {
      await file.write(data, at);
    } finally {
      file.close();
    }
  };
  return {
    mkdir: (path) => volume.mkdir(path),
    rmdir: (path) => volume.rmdir(path),
    create: (path, data) => volume.writeFile(path, data, 'wx'),
    write: (path, data, position) => write(path, 'r+', data, position),
    append: (path, data) => write(path, 'a', data, 0),
    read: async (path) => Buffer.from(await volume.readFile(path)),
    rename: (from, to) => volume.rename(from, to),
    unlink: (path) => volume.unlink(path),
    readdir: (path) => volume.readdir(path),
  };
}
