/**
 * Directories that the kernel was ever told of. Only in these can a process stand, or have them open, so only these
 * have to be removed by the kernel, which lets nobody make names in them afterwards. Bits by hash: one that is taken
 * for another is removed by the kernel, too.
 */
import { mixInode } from '../placement/hash.js';

const BITS = 1 << 20;
const SALT = 32;

export class KnownDirectories {
  readonly #bits = new Uint32Array(BITS / 32);

  add(inode: number): void {
    const bit = mixInode(inode, SALT) & (BITS - 1);
    this.#bits[bit >>> 5]! |= 1 << (bit & 31);
  }

  mayHave(inode: number): boolean {
    const bit = mixInode(inode, SALT) & (BITS - 1);
    return (this.#bits[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }
}
