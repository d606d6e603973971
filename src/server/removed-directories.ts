/**
 * Directories that were removed lately: somebody may still stand in one, or have it open, and ask
 * what it is (fstat, or the permission to look around): a directory with a link count of 0, as
 * elsewhere. Clients register open files, not directories, so the target remembers the last few, in
 * memory: after a restart, or when many more were removed, the answer is ESTALE.
 */
import { writeU53 } from '../protocol/u53.js';
import { FLAG_SPLIT, InodeRecord } from './inode-record.js';

const REMEMBERED_MAX = 4096;

export class RemovedDirectories {
  /** In the order of their removal. */
  readonly #records = new Map<number, Uint8Array>();

  /** The record at `at` of this memory goes with the open transaction. */
  keep(inode: number, bytes: Uint8Array, at: number): void {
    const record = bytes.slice(at, at + InodeRecord.SIZE);
    const words = new Uint32Array(record.buffer);
    words[InodeRecord.linkCount >>> 2] = 0;
    writeU53(words, InodeRecord.parent, 0);
    words[InodeRecord.flags >>> 2]! &= ~FLAG_SPLIT;
    this.#records.set(inode, record);
    if (this.#records.size <= REMEMBERED_MAX) return;
    for (const oldest of this.#records.keys()) {
      this.#records.delete(oldest);
      break;
    }
  }

  /** As it was, but for its links; undefined: not known, or never a directory. */
  find(inode: number): Uint8Array | undefined {
    return this.#records.get(inode);
  }
}
