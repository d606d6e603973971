/**
 * A file's attributes as the client handles them: the wire's `Attributes` struct where it lies, in
 * a reply's body, with a getter for each field. Nothing is decoded that nobody reads, and a front
 * end that passes the struct on copies its words. The core owns one such view over the arena and
 * lends it to reply methods; who keeps attributes copies them.
 */
import { Attributes } from '../protocol/wire.generated.js';
import { readI53, readU53 } from '../protocol/u53.js';

export const S_IFMT = 0o170000;
export const S_IFDIR = 0o040000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;
export const S_ISUID = 0o004000;
export const S_ISGID = 0o002000;
export const S_ISVTX = 0o001000;

/** Attributes.flags: the file has or had chunks beyond the first. */
const FLAG_STRIPED = 1;
/** It has extended attributes; among them an access ACL, a default ACL, security.capability. */
export const FLAG_XATTRS = 2;
export const FLAG_ACCESS_ACL = 4;
export const FLAG_DEFAULT_ACL = 8;
export const FLAG_CAPABILITY = 32;
/** A directory in several partitions: what they say together only GetAttr tells. */
export const FLAG_SPLIT = 128;

export const ATTRIBUTES_WORDS = Attributes.SIZE / 4;

/** Bits of `AttributeChange.valid`, as on the wire. */
export const SET_MODE = 1;
export const SET_UID = 2;
export const SET_GID = 4;
export const SET_SIZE = 8;
export const SET_ATIME = 16;
export const SET_MTIME = 32;
/** Together with SET_ATIME: the target's clock instead of the given time. */
export const SET_ATIME_NOW = 64;
export const SET_MTIME_NOW = 128;
/** The set-user-ID bit goes, the set-group-ID bit too where the group may execute. */
export const SET_DROP_SET_ID = 256;

/** A place of one `Attributes` struct, read in place. */
export class FileAttributes {
  readonly words: Uint32Array;
  /** Byte offset in the memory that `words` views, a multiple of 4. */
  offset: number;

  constructor(words: Uint32Array, offset: number) {
    this.words = words;
    this.offset = offset;
  }

  /** Copies another struct to this place. */
  copyFrom(other: FileAttributes): void {
    const from = other.offset >>> 2;
    const to = this.offset >>> 2;
    for (let i = 0; i < ATTRIBUTES_WORDS; i++) this.words[to + i] = other.words[from + i]!;
  }

  #word(field: number): number {
    return this.words[(this.offset + field) >>> 2]!;
  }

  #unsigned(field: number): number {
    return readU53(this.words, this.offset + field);
  }

  #signed(field: number): number {
    return readI53(this.words, this.offset + field);
  }

  get inode(): number {
    return this.#unsigned(Attributes.inode);
  }
  get sizeBytes(): number {
    return this.#unsigned(Attributes.sizeBytes);
  }
  /** Units of 512 bytes. */
  get blocks(): number {
    return this.#unsigned(Attributes.blocks);
  }
  get atimeSeconds(): number {
    return this.#signed(Attributes.atimeSeconds);
  }
  get mtimeSeconds(): number {
    return this.#signed(Attributes.mtimeSeconds);
  }
  get ctimeSeconds(): number {
    return this.#signed(Attributes.ctimeSeconds);
  }
  get atimeNanoseconds(): number {
    return this.#word(Attributes.atimeNanoseconds);
  }
  get mtimeNanoseconds(): number {
    return this.#word(Attributes.mtimeNanoseconds);
  }
  get ctimeNanoseconds(): number {
    return this.#word(Attributes.ctimeNanoseconds);
  }
  get mode(): number {
    return this.#word(Attributes.mode);
  }
  get linkCount(): number {
    return this.#word(Attributes.linkCount);
  }
  get uid(): number {
    return this.#word(Attributes.uid);
  }
  get gid(): number {
    return this.#word(Attributes.gid);
  }
  get rdev(): number {
    return this.#word(Attributes.rdev);
  }
  /** The file has or had chunks beyond the first. */
  get striped(): boolean {
    return (this.#word(Attributes.flags) & FLAG_STRIPED) !== 0;
  }

  /** Bits of `FLAG_…`. */
  get flags(): number {
    return this.#word(Attributes.flags);
  }

  /** Writing to it takes something away: set-ID bits, a capability. */
  get privileged(): boolean {
    return (this.mode & (S_ISUID | S_ISGID)) !== 0 || (this.flags & FLAG_CAPABILITY) !== 0;
  }

  /** Of a file: the inode whose number places its chunks beyond the first. */
  get layout(): number {
    return this.#unsigned(Attributes.layout) || this.inode;
  }

  isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }
}

/** Memory for one struct outside the arena. */
export function ownedAttributes(): FileAttributes {
  return new FileAttributes(new Uint32Array(ATTRIBUTES_WORDS), 0);
}

/** What a setattr is to change; the caller owns it, the core copies it. */
export class AttributeChange {
  /** SET_… bits. */
  valid = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  sizeBytes = 0;
  atimeSeconds = 0;
  atimeNanoseconds = 0;
  mtimeSeconds = 0;
  mtimeNanoseconds = 0;

  copyFrom(other: AttributeChange): void {
    this.valid = other.valid;
    this.mode = other.mode;
    this.uid = other.uid;
    this.gid = other.gid;
    this.sizeBytes = other.sizeBytes;
    this.atimeSeconds = other.atimeSeconds;
    this.atimeNanoseconds = other.atimeNanoseconds;
    this.mtimeSeconds = other.mtimeSeconds;
    this.mtimeNanoseconds = other.mtimeNanoseconds;
  }
}
