/**
 * Inodes on which this client holds something: a lease on the inode, with a copy of its attributes while
 * that is current; of a directory, that names in it are held, and whether all of them are.
 */
import { mixInode } from '../../placement/hash.js';
import { ATTRIBUTES_WORDS } from '../attributes.js';
import { ClockTable, NONE, grown } from './clock-table.js';

/** The target holds a lease of ours. */
export const INODE_LEASED = 1;
/** The copy of the attributes is what the target has. */
export const INODE_CURRENT = 2;
/** Names that are not in the table are not in the directory. */
export const INODE_COMPLETE = 4;
/** The target holds a lease of ours on what permissions are made of. */
export const INODE_PERMITTED = 8;
/** That much of the copy is what the target has, while INODE_LEASED or INODE_PERMITTED. */
export const INODE_PERMISSIONS = 16;

const SALT = 21;

export class InodeCache extends ClockTable {
  #inodes = new Float64Array(0);
  #flags = new Uint8Array(0);
  /** Of the names that are held of this directory; 0: of none. */
  #generations = new Float64Array(0);
  /** When INODE_PERMITTED was learnt, scheduler's milliseconds. */
  #permittedMs = new Float64Array(0);
  /** Attributes, ATTRIBUTES_WORDS a slot. */
  words = new Uint32Array(0);

  /** The slot, or NONE. */
  find(inode: number): number {
    let slot = this.first(mixInode(inode, SALT));
    while (slot !== NONE && this.#inodes[slot] !== inode) slot = this.next(slot);
    return slot;
  }

  /** The same, as a use of it. */
  use(inode: number): number {
    const slot = this.find(inode);
    if (slot !== NONE) this.refer(slot);
    return slot;
  }

  /** The inode's slot, a new one if need be: without flags and generation. */
  add(inode: number): number {
    const known = this.use(inode);
    if (known !== NONE) return known;
    const slot = this.take(mixInode(inode, SALT));
    this.#inodes[slot] = inode;
    this.#flags[slot] = 0;
    this.#generations[slot] = 0;
    return slot;
  }

  remove(slot: number): void {
    this.give(slot);
  }

  inode(slot: number): number {
    return this.#inodes[slot]!;
  }

  /** INODE_… */
  flags(slot: number): number {
    return this.#flags[slot]!;
  }

  setFlags(slot: number, flags: number): void {
    this.#flags[slot] = flags;
  }

  generation(slot: number): number {
    return this.#generations[slot]!;
  }

  setGeneration(slot: number, generation: number): void {
    this.#generations[slot] = generation;
  }

  permittedMs(slot: number): number {
    return this.#permittedMs[slot]!;
  }

  setPermittedMs(slot: number, nowMs: number): void {
    this.#permittedMs[slot] = nowMs;
  }

  /** Byte offset of the slot's Attributes in `words`. */
  attributes(slot: number): number {
    return slot * ATTRIBUTES_WORDS * 4;
  }

  protected override resized(capacity: number): void {
    this.#inodes = grown(this.#inodes, new Float64Array(capacity));
    this.#flags = grown(this.#flags, new Uint8Array(capacity));
    this.#generations = grown(this.#generations, new Float64Array(capacity));
    this.#permittedMs = grown(this.#permittedMs, new Float64Array(capacity));
    this.words = grown(this.words, new Uint32Array(capacity * ATTRIBUTES_WORDS));
  }
}
