/**
 * All inodes of the cluster that is being checked: a few columns of typed memory each, found by
 * number. About 100 bytes an inode, so that a hundred million fit where a cluster of that size is
 * checked.
 */
import { firstSequence } from '../protocol/limits.generated.js';
import { sequenceOfInode } from '../placement/inode-number.js';
import { S_IFDIR, S_IFMT, S_IFREG } from '../server/inode-record.js';

/** In `marks`. */
export const MARK_DAMAGED = 1;
export const MARK_LINK_TARGET = 2;
export const MARK_ATTRIBUTES = 4;
export const MARK_ORPHAN = 8;
export const MARK_HAS_ENTRIES = 16;

const INITIAL_ROWS = 1024;

export class InodeBook {
  count = 0;
  inodes = new Float64Array(INITIAL_ROWS);
  targets = new Uint16Array(INITIAL_ROWS);
  modes = new Uint16Array(INITIAL_ROWS);
  flags = new Uint32Array(INITIAL_ROWS);
  links = new Uint32Array(INITIAL_ROWS);
  sizes = new Float64Array(INITIAL_ROWS);
  /** Of a directory the parent in its record, of a file its layout. */
  parents = new Float64Array(INITIAL_ROWS);
  ctimeSeconds = new Float64Array(INITIAL_ROWS);
  ctimeNanoseconds = new Uint32Array(INITIAL_ROWS);
  marks = new Uint8Array(INITIAL_ROWS);
  // What the entries say.
  names = new Uint32Array(INITIAL_ROWS);
  subdirectories = new Uint32Array(INITIAL_ROWS);
  /** Of the first entry that names it: directory and cookie. */
  entryDirectories = new Float64Array(INITIAL_ROWS);
  entryCookies = new Float64Array(INITIAL_ROWS);
  /** Rows by hash, plus one; 0: free. A power of two long, at most half full. */
  #slots = new Uint32Array(2 * INITIAL_ROWS);

  /** The inode's row, -1 when there is none. */
  find(inode: number): number {
    const row = this.#slots[this.#slotOf(inode)]!;
    return row - 1;
  }

  /** A new row; the inode must not have one. */
  add(inode: number): number {
    if (this.count === this.inodes.length) this.#grow();
    const row = this.count++;
    this.inodes[row] = inode;
    this.#slots[this.#slotOf(inode)] = row + 1;
    return row;
  }

  isDirectory(row: number): boolean {
    return (this.modes[row]! & S_IFMT) === S_IFDIR;
  }

  isFile(row: number): boolean {
    return (this.modes[row]! & S_IFMT) === S_IFREG;
  }

  isRoot(row: number): boolean {
    return isRootNumber(this.inodes[row]!);
  }

  has(row: number, mark: number): boolean {
    return (this.marks[row]! & mark) !== 0;
  }

  mark(row: number, mark: number): void {
    this.marks[row]! |= mark;
  }

  /** Where the inode is, or where it would go. */
  #slotOf(inode: number): number {
    const mask = this.#slots.length - 1;
    const low = inode >>> 0;
    const high = Math.floor(inode / 4294967296);
    let slot = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    slot = (slot ^ (slot >>> 15)) & mask;
    for (;;) {
      const row = this.#slots[slot]!;
      if (row === 0 || this.inodes[row - 1] === inode) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    const rows = this.inodes.length * 2;
    this.inodes = grown(this.inodes, new Float64Array(rows));
    this.targets = grown(this.targets, new Uint16Array(rows));
    this.modes = grown(this.modes, new Uint16Array(rows));
    this.flags = grown(this.flags, new Uint32Array(rows));
    this.links = grown(this.links, new Uint32Array(rows));
    this.sizes = grown(this.sizes, new Float64Array(rows));
    this.parents = grown(this.parents, new Float64Array(rows));
    this.ctimeSeconds = grown(this.ctimeSeconds, new Float64Array(rows));
    this.ctimeNanoseconds = grown(this.ctimeNanoseconds, new Uint32Array(rows));
    this.marks = grown(this.marks, new Uint8Array(rows));
    this.names = grown(this.names, new Uint32Array(rows));
    this.subdirectories = grown(this.subdirectories, new Uint32Array(rows));
    this.entryDirectories = grown(this.entryDirectories, new Float64Array(rows));
    this.entryCookies = grown(this.entryCookies, new Float64Array(rows));
    this.#slots = new Uint32Array(2 * rows);
    for (let row = 0; row < this.count; row++) {
      this.#slots[this.#slotOf(this.inodes[row]!)] = row + 1;
    }
  }
}

/** Roots of volumes have the sequence numbers that no other inode gets. */
export function isRootNumber(inode: number): boolean {
  return sequenceOfInode(inode) < firstSequence;
}

function grown<T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(
  old: T,
  larger: T,
): T {
  larger.set(old);
  return larger;
}
