/** What an operation has changed, as far as somebody may hold a lease on it: inodes' records and entries. */
import { NOTICE_ENTRY, NOTICE_INODE, NOTICE_PERMISSIONS } from '../../protocol/leases.js';

const FIRST = 16;

export class Touched {
  /** Nobody collects: while there are no leases at all. */
  enabled = false;
  count = 0;
  kinds = new Uint8Array(FIRST);
  /** Of an entry: its directory. */
  inodes = new Float64Array(FIRST);
  hashes = new Float64Array(FIRST);

  inode(inode: number): void {
    if (this.enabled) this.#add(NOTICE_INODE, inode, 0);
  }

  entry(directory: number, hash: number): void {
    if (this.enabled) this.#add(NOTICE_ENTRY, directory, hash);
  }

  /** What decides who may do what in this directory. */
  permissions(directory: number): void {
    if (this.enabled) this.#add(NOTICE_PERMISSIONS, directory, 0);
  }

  clear(): void {
    this.count = 0;
  }

  #add(kind: number, inode: number, hash: number): void {
    for (let i = 0; i < this.count; i++) {
      if (this.inodes[i] === inode && this.kinds[i] === kind && this.hashes[i] === hash) return;
    }
    if (this.count === this.kinds.length) this.#grow();
    const at = this.count++;
    this.kinds[at] = kind;
    this.inodes[at] = inode;
    this.hashes[at] = hash;
  }

  #grow(): void {
    const { kinds, inodes, hashes } = this;
    this.kinds = new Uint8Array(kinds.length * 2);
    this.kinds.set(kinds);
    this.inodes = new Float64Array(inodes.length * 2);
    this.inodes.set(inodes);
    this.hashes = new Float64Array(hashes.length * 2);
    this.hashes.set(hashes);
  }
}
