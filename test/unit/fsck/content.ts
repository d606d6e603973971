/** A little of everything that a volume can hold, for checks that must find nothing wrong with it. */
import type { VolumeFiles } from '../../../src/client/volume-files.js';

const MIB = 1048576;

export function pattern(lengthBytes: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(lengthBytes);
  let state = (seed * 2654435761) | 1;
  for (let i = 0; i < lengthBytes; i++) {
    state = (Math.imul(state, 1103515245) + 12345) | 0;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

export async function fill(files: VolumeFiles): Promise<void> {
  await files.ensureRoot();
  for (const path of ['/a', '/a/b', '/a/b/c', '/empty', '/many']) await files.mkdir(path);
  for (let i = 0; i < 12; i++) await files.writeFile(`/many/file-${i}`, pattern(i * 700, i));
  await files.writeFile('/a/small', pattern(100, 1));
  await files.writeFile('/a/medium', pattern(300_000, 2));
  await files.writeFile('/a/another', pattern(300_000, 77));
  await files.writeFile('/a/b/striped', pattern(3 * MIB + 4321, 3));
  await files.link('/a/small', '/a/second-name');
  await files.symlink('../a/medium', '/a/link');
  await files.setXattr('/a/medium', 'user.colour', pattern(40, 4));
  await files.setXattr('/a/b', 'user.note', pattern(300, 5));
  await clonesAndHoles(files);
  await deletions(files);
}

async function clonesAndHoles(files: VolumeFiles): Promise<void> {
  await files.copyFile('/a/b/striped', '/a/b/clone');
  const clone = await files.open('/a/b/clone', 'r+');
  await clone.write(pattern(50_000, 6), MIB + 100);
  clone.close();
  const sparse = await files.open('/a/sparse', 'w');
  await sparse.write(pattern(5000, 7), 5 * MIB + 17);
  await sparse.write(pattern(5000, 8), 300);
  await sparse.sync();
  sparse.close();
  await files.truncate('/many/file-9', 1000);
}

async function deletions(files: VolumeFiles): Promise<void> {
  await files.writeFile('/gone', pattern(2 * MIB, 9));
  await files.unlink('/gone');
  await files.unlink('/many/file-3');
  await files.rename('/many/file-4', '/many/renamed');
  await files.mkdir('/rmdir');
  await files.rmdir('/rmdir');
  const open = await files.open('/orphan', 'w');
  await open.write(pattern(9000, 10), 0);
  await files.unlink('/orphan');
}
