/**
 * The inode record: the wire's Attributes, as they are (a file's layout is a directory's parent).
 * 96 bytes, fixed, so a reply is one copy of it (byte table: docs/formats/metadata.md).
 *
 * `InodeTable` is the transaction's view of them: a record that a batch touches is copied in once,
 * changed in place, and put back once at the end, however many operations of the batch changed it
 * (a directory that a thousand files are created in is written once).
 */
import { Attributes } from '../protocol/wire.generated.js';
import { readI53, readU53, writeI53, writeU53 } from '../protocol/u53.js';
import type { WallClock } from '../common/scheduler.js';
import { inodeKey } from './keys.js';
import type { Touched } from './leases/touched.js';
import type { MetaStore } from './meta-store-api.js';

export const InodeRecord = {
  ...Attributes,
  /** ulong: of a directory: the directory that it stands in, 0 for a root */
  parent: Attributes.layout,
} as const;

/** In `flags`. */
export const FLAG_STRIPED = 1;
/** There is a value under the inode's xattrs key; in it an access ACL, a default ACL, … */
export const FLAG_XATTRS = 2;
export const FLAG_ACCESS_ACL = 4;
export const FLAG_DEFAULT_ACL = 8;
/** … security.capability, which is lost when the file is written to. */
export const FLAG_CAPABILITY = 32;
/** Space was promised, perhaps beyond the file's size: there is data to cut although it ends before. */
export const FLAG_PROMISED = 16;

/** Made without a name (O_TMPFILE) and not given one yet: link may do so. */
export const FLAG_UNNAMED = 64;
/** A directory whose entries are in several partitions; there is a value under its partitions key. */
export const FLAG_SPLIT = 128;
/** Not a directory but a partition of its parent; the same. */
export const FLAG_PARTITION = 256;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_IXGRP = 0o010;

/** What stat shows for a directory. */
export const DIRECTORY_BYTES = 4096;

const INITIAL_SLOTS = 1024;

/**
 * The stored record, valid until the store's next call; undefined when there is none. A value that
 * is not this inode's record counts as none: it would overrun a reply, or be put back under the key
 * of another inode.
 */
export function storedInode(meta: MetaStore, inode: number): Uint8Array | undefined {
  const value = meta.get(inodeKey(inode));
  if (value?.length !== InodeRecord.SIZE || byteU64(value, InodeRecord.inode) !== inode) {
    return undefined;
  }
  // Numbers are below 2^53: nothing that computes with them expects more.
  const sane = isByteU53(value, InodeRecord.sizeBytes) && isByteU53(value, InodeRecord.parent);
  return sane ? value : undefined;
}

/** Mode of the stored record; 0 when there is none. */
export function storedMode(meta: MetaStore, inode: number): number {
  const record = storedInode(meta, inode);
  return record === undefined ? 0 : modeOf(record);
}

/** Mode of a record in unaligned memory. */
export function modeOf(record: Uint8Array): number {
  const at = InodeRecord.mode;
  return record[at]! | (record[at + 1]! << 8) | (record[at + 2]! << 16);
}

/** u64 of unaligned memory; rounded from 2^53 on. */
export function byteU64(value: Uint8Array, at: number): number {
  const low =
    (value[at]! | (value[at + 1]! << 8) | (value[at + 2]! << 16) | (value[at + 3]! << 24)) >>> 0;
  const high =
    (value[at + 4]! | (value[at + 5]! << 8) | (value[at + 6]! << 16) | (value[at + 7]! << 24)) >>>
    0;
  return high * 4294967296 + low;
}

function isByteU53(value: Uint8Array, at: number): boolean {
  return value[at + 7] === 0 && value[at + 6]! < 0x20;
}

/** Who may do what in a directory, but for the text of its access control list. */
const PERMISSION_FIELDS = [
  InodeRecord.mode,
  InodeRecord.uid,
  InodeRecord.gid,
  InodeRecord.flags,
] as const;
const PERMISSION_WORDS = PERMISSION_FIELDS.length;
const PERMISSION_FLAGS = FLAG_XATTRS | FLAG_ACCESS_ACL | FLAG_DEFAULT_ACL | FLAG_CAPABILITY;

export class InodeTable {
  /** Records in slots; offsets that `load` and `add` return are into these. Replaced by growth. */
  bytes = new Uint8Array(INITIAL_SLOTS * InodeRecord.SIZE);
  words = new Uint32Array(this.bytes.buffer);
  readonly #meta: MetaStore;
  readonly #touched: Touched;
  readonly #slots = new Map<number, number>();
  #views: Uint8Array[] = [];
  #dirty = new Uint8Array(INITIAL_SLOTS);
  #removed = new Uint8Array(INITIAL_SLOTS);
  /** What permissions are made of, as it was loaded or told of last. */
  #permissions = new Uint32Array(INITIAL_SLOTS * PERMISSION_WORDS);
  #count = 0;
  /** Counts changes of directories' link counts that are summed up over partitions. */
  linkChanges = 0;

  constructor(meta: MetaStore, touched: Touched) {
    this.#meta = meta;
    this.#touched = touched;
    this.#makeViews(INITIAL_SLOTS);
  }

  /** Offset of the record, -1 when there is no such inode. Valid until the next `load` or `add`. */
  load(inode: number): number {
    const known = this.#slots.get(inode);
    if (known !== undefined) return this.#removed[known] === 1 ? -1 : known * InodeRecord.SIZE;
    const value = storedInode(this.#meta, inode);
    if (value === undefined) return -1;
    const slot = this.#take(inode);
    this.bytes.set(value, slot * InodeRecord.SIZE);
    this.#notePermissions(slot);
    return slot * InodeRecord.SIZE;
  }

  /** A zeroed record for a new inode, dirty. */
  add(inode: number): number {
    const slot = this.#slots.get(inode) ?? this.#take(inode);
    const at = slot * InodeRecord.SIZE;
    this.bytes.fill(0, at, at + InodeRecord.SIZE);
    writeU53(this.words, at + InodeRecord.inode, inode);
    this.#removed[slot] = 0;
    this.#dirty[slot] = 1;
    return at;
  }

  /** The record at this offset has been changed. */
  touch(at: number): void {
    const slot = at / InodeRecord.SIZE;
    this.#dirty[slot] = 1;
    this.#touched.inode(this.inode(at));
    if (this.#notePermissions(slot) && this.isDirectory(at)) {
      this.#touched.permissions(this.inode(at));
    }
  }

  /** Whether they are others than before. */
  #notePermissions(slot: number): boolean {
    const at = slot * InodeRecord.SIZE;
    const noted = this.#permissions;
    let to = slot * PERMISSION_WORDS;
    let isOther = false;
    for (const field of PERMISSION_FIELDS) {
      const mask = field === InodeRecord.flags ? PERMISSION_FLAGS : -1;
      const value = (this.words[(at + field) >>> 2]! & mask) >>> 0;
      if (noted[to] !== value) isOther = true;
      noted[to++] = value;
    }
    return isOther;
  }

  remove(at: number): void {
    const slot = at / InodeRecord.SIZE;
    this.#removed[slot] = 1;
    this.#dirty[slot] = 1;
    this.#touched.inode(this.inode(at));
    if (this.isDirectory(at)) this.#touched.permissions(this.inode(at));
  }

  /** Inside the transaction, at its end. */
  save(): void {
    for (let slot = 0; slot < this.#count; slot++) {
      if (this.#dirty[slot] === 0) continue;
      const view = this.#views[slot]!;
      const key = inodeKey(readU53(this.words, slot * InodeRecord.SIZE + InodeRecord.inode));
      if (this.#removed[slot] === 1) this.#meta.remove(key);
      else this.#meta.put(key, view);
    }
  }

  /** After the transaction, committed or not. */
  clear(): void {
    this.#slots.clear();
    this.#dirty.fill(0, 0, this.#count);
    this.#removed.fill(0, 0, this.#count);
    this.#count = 0;
  }

  #take(inode: number): number {
    if (this.#count === this.#dirty.length) this.#grow();
    const slot = this.#count++;
    this.#slots.set(inode, slot);
    return slot;
  }

  #grow(): void {
    const slots = this.#dirty.length * 2;
    const { bytes } = this;
    this.bytes = new Uint8Array(slots * InodeRecord.SIZE);
    this.bytes.set(bytes);
    this.words = new Uint32Array(this.bytes.buffer);
    const dirty = this.#dirty;
    const removed = this.#removed;
    this.#dirty = new Uint8Array(slots);
    this.#dirty.set(dirty);
    this.#removed = new Uint8Array(slots);
    this.#removed.set(removed);
    const permissions = this.#permissions;
    this.#permissions = new Uint32Array(slots * PERMISSION_WORDS);
    this.#permissions.set(permissions);
    this.#makeViews(slots);
  }

  #makeViews(slots: number): void {
    this.#views = [];
    for (let slot = 0; slot < slots; slot++) {
      const at = slot * InodeRecord.SIZE;
      this.#views.push(this.bytes.subarray(at, at + InodeRecord.SIZE));
    }
  }

  // ---------------------------------------------------------------- fields

  inode(at: number): number {
    return readU53(this.words, at + InodeRecord.inode);
  }

  mode(at: number): number {
    return this.words[(at + InodeRecord.mode) >>> 2]!;
  }

  setMode(at: number, mode: number): void {
    this.words[(at + InodeRecord.mode) >>> 2] = mode;
  }

  isDirectory(at: number): boolean {
    return (this.mode(at) & S_IFMT) === S_IFDIR;
  }

  linkCount(at: number): number {
    return this.words[(at + InodeRecord.linkCount) >>> 2]!;
  }

  setLinkCount(at: number, count: number): void {
    this.words[(at + InodeRecord.linkCount) >>> 2] = count;
    if ((this.get32(at, InodeRecord.flags) & (FLAG_SPLIT | FLAG_PARTITION)) !== 0) {
      this.linkChanges++;
    }
  }

  size(at: number): number {
    return readU53(this.words, at + InodeRecord.sizeBytes);
  }

  /** Also `blocks`: as if there were no holes. */
  setSize(at: number, bytes: number): void {
    writeU53(this.words, at + InodeRecord.sizeBytes, bytes);
    writeU53(this.words, at + InodeRecord.blocks, Math.ceil(bytes / 512));
  }

  get32(at: number, field: number): number {
    return this.words[(at + field) >>> 2]!;
  }

  set32(at: number, field: number, value: number): void {
    this.words[(at + field) >>> 2] = value;
  }

  isStriped(at: number): boolean {
    return (this.get32(at, InodeRecord.flags) & FLAG_STRIPED) !== 0;
  }

  /** Of a file: the inode that places its chunks beyond the first; 0: its own. */
  layout(at: number): number {
    return readU53(this.words, at + InodeRecord.layout);
  }

  setLayout(at: number, layout: number): void {
    writeU53(this.words, at + InodeRecord.layout, layout);
  }

  parent(at: number): number {
    return readU53(this.words, at + InodeRecord.parent);
  }

  setParent(at: number, parent: number): void {
    writeU53(this.words, at + InodeRecord.parent, parent);
  }

  setCtime(at: number, now: WallClock): void {
    writeI53(this.words, at + InodeRecord.ctimeSeconds, now.seconds);
    this.words[(at + InodeRecord.ctimeNanoseconds) >>> 2] = now.nanoseconds;
  }

  setMtime(at: number, seconds: number, nanoseconds: number): void {
    writeI53(this.words, at + InodeRecord.mtimeSeconds, seconds);
    this.words[(at + InodeRecord.mtimeNanoseconds) >>> 2] = nanoseconds;
  }

  setAtime(at: number, seconds: number, nanoseconds: number): void {
    writeI53(this.words, at + InodeRecord.atimeSeconds, seconds);
    this.words[(at + InodeRecord.atimeNanoseconds) >>> 2] = nanoseconds;
  }

  /** The content changed: mtime and ctime. */
  setChanged(at: number, now: WallClock): void {
    this.setMtime(at, now.seconds, now.nanoseconds);
    this.setCtime(at, now);
  }

  mtimeSeconds(at: number): number {
    return readI53(this.words, at + InodeRecord.mtimeSeconds);
  }
}
