/**
 * What this client has seen last of an inode, for questions that would each cost a request
 * otherwise: whether it has extended attributes at all (the kernel asks for access control lists
 * and capabilities again and again), and whether reading it is to change its access time.
 *
 * A table of fixed size, found by the inode number, the newer of two that collide staying: nothing
 * is wrong when an inode is not in it. It is filled from every answer with attributes.
 */
import { FLAG_DEFAULT_ACL } from './attributes.js';
import { Attributes } from '../protocol/wire.generated.js';
import { isAccessDue } from '../protocol/attributes.js';
import { readU53 } from '../protocol/u53.js';

const SLOT_BITS = 14;
const SLOTS = 2 ** SLOT_BITS;
/** Above all bits of Attributes.flags that are kept. */
const FLAGS_MASK = 0xff;
const ACCESS_NOT_DUE = 0x100;
/** A directory whose mode has the set-group-ID bit. */
const SET_GID = 0x200;
const S_ISGID = 0o2000;

/** Numbers that follow each other, and the first ones of all buckets, are spread. */
function slotOf(inode: number): number {
  const high = (inode / 4294967296) | 0;
  const mixed = (inode + Math.imul(high, 0x85ebca6b)) | 0;
  return Math.imul(mixed, 0x9e3779b1) >>> (32 - SLOT_BITS);
}

export class InodeFacts {
  readonly #inodes = new Float64Array(SLOTS);
  /** When flags were learnt: scheduler's milliseconds. */
  readonly #learntMs = new Float64Array(SLOTS).fill(-Infinity);
  readonly #bits = new Uint16Array(SLOTS);

  /** From the Attributes at this offset, of an answer that has just arrived. */
  learn(words: Uint32Array, at: number, nowMs: number, nowSeconds: number): void {
    const inode = readU53(words, at + Attributes.inode);
    const slot = slotOf(inode);
    const flags = words[(at + Attributes.flags) >>> 2]! & FLAGS_MASK;
    this.#inodes[slot] = inode;
    this.#learntMs[slot] = nowMs;
    const mode = words[(at + Attributes.mode) >>> 2]!;
    const setGid = (mode & S_ISGID) === 0 ? 0 : SET_GID;
    const access = isAccessDue(words, at, nowSeconds) ? 0 : ACCESS_NOT_DUE;
    this.#bits[slot] = flags | setGid | access;
  }

  /** Attributes.flags if they were learnt within `freshMs`; -1: unknown. */
  flagsOf(inode: number, nowMs: number, freshMs: number): number {
    const slot = slotOf(inode);
    if (this.#inodes[slot] !== inode || nowMs - this.#learntMs[slot]! > freshMs) return -1;
    return this.#bits[slot]! & FLAGS_MASK;
  }

  /** Whether a new directory in this one probably inherits something: a guess, of any age. */
  bequeaths(directory: number): boolean {
    const slot = slotOf(directory);
    if (this.#inodes[slot] !== directory) return false;
    return (this.#bits[slot]! & (SET_GID | FLAG_DEFAULT_ACL)) !== 0;
  }

  /** Its extended attributes are being changed: what is known of them is old. */
  forgetFlags(inode: number): void {
    const slot = slotOf(inode);
    if (this.#inodes[slot] === inode) this.#learntMs[slot] = -Infinity;
  }

  /** Whether a read now is to change the access time, as far as is known. */
  isAccessDue(inode: number): boolean {
    const slot = slotOf(inode);
    return this.#inodes[slot] !== inode || (this.#bits[slot]! & ACCESS_NOT_DUE) === 0;
  }

  /** A read was noted: the next ones change nothing, until the inode is written to. */
  noteAccess(inode: number): void {
    const slot = slotOf(inode);
    if (this.#inodes[slot] !== inode) {
      this.#inodes[slot] = inode;
      this.#learntMs[slot] = -Infinity;
      this.#bits[slot] = ACCESS_NOT_DUE;
    } else this.#bits[slot] = this.#bits[slot]! | ACCESS_NOT_DUE;
  }

  /** It was written to: the next read changes its access time. */
  noteChange(inode: number): void {
    const slot = slotOf(inode);
    if (this.#inodes[slot] === inode) this.#bits[slot] = this.#bits[slot]! & ~ACCESS_NOT_DUE;
  }
}
