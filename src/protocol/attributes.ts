/**
 * A file's attributes as plain fields, and their place on the wire and in inode records. Objects are
 * made once and refilled. Byte offsets are multiples of 8 into the memory that `words` views.
 */
import { readI53, readU53, writeI53, writeU53 } from './u53.js';
import { Attributes } from './wire.generated.js';

/** Attributes.flags: the file has or had chunks beyond the first. */
export const ATTRIBUTE_STRIPED = 1;

const DAY_SECONDS = 86_400;

/**
 * relatime's rule (mount(8)) for the Attributes at this offset: reading changes the access time when
 * that is not after the last change, or is a day old.
 */
export function isAccessDue(words: Uint32Array, at: number, nowSeconds: number): boolean {
  const seconds = readI53(words, at + Attributes.atimeSeconds);
  if (nowSeconds - seconds >= DAY_SECONDS) return true;
  const nanoseconds = words[(at + Attributes.atimeNanoseconds) >>> 2]!;
  const modified = readI53(words, at + Attributes.mtimeSeconds) - seconds;
  if (modified > 0) return true;
  if (modified === 0 && words[(at + Attributes.mtimeNanoseconds) >>> 2]! >= nanoseconds)
    return true;
  const changed = readI53(words, at + Attributes.ctimeSeconds) - seconds;
  return (
    changed > 0 ||
    (changed === 0 && words[(at + Attributes.ctimeNanoseconds) >>> 2]! >= nanoseconds)
  );
}

export class AttributeFields {
  inode = 0;
  sizeBytes = 0;
  /** Units of 512 bytes. */
  blocks = 0;
  atimeSeconds = 0;
  mtimeSeconds = 0;
  ctimeSeconds = 0;
  atimeNanoseconds = 0;
  mtimeNanoseconds = 0;
  ctimeNanoseconds = 0;
  /** As st_mode. */
  mode = 0;
  linkCount = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  flags = 0;

  read(words: Uint32Array, at: number): void {
    this.inode = readU53(words, at + Attributes.inode);
    this.sizeBytes = readU53(words, at + Attributes.sizeBytes);
    this.blocks = readU53(words, at + Attributes.blocks);
    this.atimeSeconds = readI53(words, at + Attributes.atimeSeconds);
    this.mtimeSeconds = readI53(words, at + Attributes.mtimeSeconds);
    this.ctimeSeconds = readI53(words, at + Attributes.ctimeSeconds);
    this.atimeNanoseconds = words[(at + Attributes.atimeNanoseconds) >>> 2]!;
    this.mtimeNanoseconds = words[(at + Attributes.mtimeNanoseconds) >>> 2]!;
    this.ctimeNanoseconds = words[(at + Attributes.ctimeNanoseconds) >>> 2]!;
    this.mode = words[(at + Attributes.mode) >>> 2]!;
    this.linkCount = words[(at + Attributes.linkCount) >>> 2]!;
    this.uid = words[(at + Attributes.uid) >>> 2]!;
    this.gid = words[(at + Attributes.gid) >>> 2]!;
    this.rdev = words[(at + Attributes.rdev) >>> 2]!;
    this.flags = words[(at + Attributes.flags) >>> 2]!;
  }

  write(words: Uint32Array, at: number): void {
    writeU53(words, at + Attributes.inode, this.inode);
    writeU53(words, at + Attributes.sizeBytes, this.sizeBytes);
    writeU53(words, at + Attributes.blocks, this.blocks);
    writeI53(words, at + Attributes.atimeSeconds, this.atimeSeconds);
    writeI53(words, at + Attributes.mtimeSeconds, this.mtimeSeconds);
    writeI53(words, at + Attributes.ctimeSeconds, this.ctimeSeconds);
    words[(at + Attributes.atimeNanoseconds) >>> 2] = this.atimeNanoseconds;
    words[(at + Attributes.mtimeNanoseconds) >>> 2] = this.mtimeNanoseconds;
    words[(at + Attributes.ctimeNanoseconds) >>> 2] = this.ctimeNanoseconds;
    words[(at + Attributes.mode) >>> 2] = this.mode;
    words[(at + Attributes.linkCount) >>> 2] = this.linkCount;
    words[(at + Attributes.uid) >>> 2] = this.uid;
    words[(at + Attributes.gid) >>> 2] = this.gid;
    words[(at + Attributes.rdev) >>> 2] = this.rdev;
    words[(at + Attributes.flags) >>> 2] = this.flags;
    words[(at + Attributes.reserved) >>> 2] = 0;
  }

  copyFrom(other: AttributeFields): void {
    this.inode = other.inode;
    this.sizeBytes = other.sizeBytes;
    this.blocks = other.blocks;
    this.atimeSeconds = other.atimeSeconds;
    this.mtimeSeconds = other.mtimeSeconds;
    this.ctimeSeconds = other.ctimeSeconds;
    this.atimeNanoseconds = other.atimeNanoseconds;
    this.mtimeNanoseconds = other.mtimeNanoseconds;
    this.ctimeNanoseconds = other.ctimeNanoseconds;
    this.mode = other.mode;
    this.linkCount = other.linkCount;
    this.uid = other.uid;
    this.gid = other.gid;
    this.rdev = other.rdev;
    this.flags = other.flags;
  }
}
