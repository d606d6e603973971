/**
 * Names of directories that this client holds, present or absent: (directory, name) -> inode, 0: there is no such
 * name, -1: not known, where all others are. A name counts only while its generation is its directory's (inode-cache.ts): so all names
 * of a directory are forgotten at once. They are found by the 44-bit hash that recalls carry, and compared
 * byte by byte: two names may have one hash.
 */
import { mixPair } from '../../placement/hash.js';
import { ClockTable, NONE, grown } from './clock-table.js';

/** Longer names are kept beside the table, one object each. */
const NAME_BYTES = 40;

function tableHash(directory: number, hash: number): number {
  return mixPair(directory | 0, (hash | 0) ^ ((directory / 4294967296) | 0));
}

export class NameCache extends ClockTable {
  #directories = new Float64Array(0);
  #hashes = new Float64Array(0);
  #inodes = new Float64Array(0);
  #generations = new Float64Array(0);
  #lengths = new Uint8Array(0);
  #names = new Uint8Array(0);
  readonly #long = new Map<number, Uint8Array>();
  /** A record goes for want of room; its columns are still there. */
  onEvicted: (slot: number) => void = () => undefined;

  /** The slot of this name, or NONE. */
  find(
    directory: number,
    hash: number,
    bytes: Uint8Array,
    offset: number,
    lengthBytes: number,
  ): number {
    let slot = this.first(tableHash(directory, hash));
    while (slot !== NONE) {
      const same = this.#isAt(slot, directory, hash) && this.#lengths[slot] === lengthBytes;
      if (same && this.#isNamed(slot, bytes, offset, lengthBytes)) {
        this.refer(slot);
        return slot;
      }
      slot = this.next(slot);
    }
    return NONE;
  }

  #isAt(slot: number, directory: number, hash: number): boolean {
    return this.#hashes[slot] === hash && this.#directories[slot] === directory;
  }

  #isNamed(slot: number, bytes: Uint8Array, offset: number, lengthBytes: number): boolean {
    const long = lengthBytes > NAME_BYTES;
    const names = long ? this.#long.get(slot)! : this.#names;
    const base = long ? 0 : slot * NAME_BYTES;
    for (let i = 0; i < lengthBytes; i++) {
      if (names[base + i] !== bytes[offset + i]) return false;
    }
    return true;
  }

  /** The first slot of a name with this hash, in any generation, or NONE. */
  findHash(directory: number, hash: number): number {
    let slot = this.first(tableHash(directory, hash));
    while (slot !== NONE && !this.#isAt(slot, directory, hash)) slot = this.next(slot);
    return slot;
  }

  add(
    directory: number,
    hash: number,
    bytes: Uint8Array,
    offset: number,
    lengthBytes: number,
  ): number {
    const known = this.find(directory, hash, bytes, offset, lengthBytes);
    if (known !== NONE) return known;
    const slot = this.take(tableHash(directory, hash));
    this.#directories[slot] = directory;
    this.#hashes[slot] = hash;
    this.#lengths[slot] = lengthBytes;
    if (lengthBytes > NAME_BYTES) {
      this.#long.set(slot, bytes.slice(offset, offset + lengthBytes));
    } else {
      const base = slot * NAME_BYTES;
      for (let i = 0; i < lengthBytes; i++) this.#names[base + i] = bytes[offset + i]!;
    }
    return slot;
  }

  remove(slot: number): void {
    this.#dropLong(slot);
    this.give(slot);
  }

  #dropLong(slot: number): void {
    if (this.#lengths[slot]! > NAME_BYTES) this.#long.delete(slot);
  }

  directory(slot: number): number {
    return this.#directories[slot]!;
  }

  /** 0: there is no such name; -1: not known. */
  inode(slot: number): number {
    return this.#inodes[slot]!;
  }

  generation(slot: number): number {
    return this.#generations[slot]!;
  }

  set(slot: number, inode: number, generation: number): void {
    this.#inodes[slot] = inode;
    this.#generations[slot] = generation;
  }

  protected override resized(capacity: number): void {
    this.#directories = grown(this.#directories, new Float64Array(capacity));
    this.#hashes = grown(this.#hashes, new Float64Array(capacity));
    this.#inodes = grown(this.#inodes, new Float64Array(capacity));
    this.#generations = grown(this.#generations, new Float64Array(capacity));
    this.#lengths = grown(this.#lengths, new Uint8Array(capacity));
    this.#names = grown(this.#names, new Uint8Array(capacity * NAME_BYTES));
  }

  protected override evicted(slot: number): void {
    this.onEvicted(slot);
    this.#dropLong(slot);
  }
}
