/**
 * A request of the kernel and the ways to answer it. Method: one object for each index of the
 * native table, made once, reading its record in the arena in place; a reply is a submission in
 * the session's block (schema/fuse.fbs), taken by native code after the turn. Nothing is allocated
 * for a request.
 *
 * Lifetime: fields and names are valid from `onRequest` to the reply; so is the data of a Write,
 * unless `takeSlot` made its slot the caller's. A request is answered exactly once.
 */
import {
  FileLock,
  ReplyKind,
  ReplyRecord,
  RequestRecord,
  Segment,
} from './fuse-layout.generated.js';
import type { FuseLayout, NativeFuseSession } from './fuse-addon.js';
import type { Reactor } from './reactor.js';
import type { ArenaMemory } from './arena-memory.js';
import { readI53, readU53, writeU53 } from '../protocol/u53.js';
import { Attributes, StatFsReply } from '../protocol/wire.generated.js';

/** Segments of one data reply; a longer list is a defect of the caller. */
export const SEGMENTS_MAX = 64;
/** Directory records and data up to here are copied, so that their memory may go at once. */
export const COPY_BYTES_MAX = 16384;

const SEGMENT_RELEASE = 1;

const NANOSECONDS = 1_000_000_000;
/** An odd step, so that a shift is not what a clock of round steps adds. */
const MTIME_SHIFT_STEP = 7;
const MTIME_SHIFT_MAX = 700_000_000;

/**
 * Stands for every byte from 2^53 - 1 on, which no file has: as the last byte of a lock, to the end
 * of every file. The kernel's own such value is 2^63 - 1.
 */
export const LOCK_OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** fcntl(2): F_RDLCK, F_WRLCK, F_UNLCK. */
export const LockType = { Read: 0, Write: 1, Unlock: 2 } as const;

/** Of a lock request's `flags`. */
const LOCK_FLOCK = 1;
/** Of a Release's `valid`. */
const RELEASE_FLOCK = 1 << 9;

/** The submission area: filled from its start in every turn, emptied whole by native code. */
export class FuseReplies {
  readonly arena: ArenaMemory;
  readonly #native: NativeFuseSession;
  readonly #reactor: Reactor;
  readonly #usedWord: number;
  readonly #first: number;
  readonly #capacityBytes: number;
  #mtimeShift = 0;
  /** After the session's end nobody else submits; what is given back by replies still must be. */
  detached = false;

  constructor(reactor: Reactor, arena: ArenaMemory, native: NativeFuseSession, layout: FuseLayout) {
    this.arena = arena;
    this.#reactor = reactor;
    this.#native = native;
    this.#usedWord = layout.submissionsOffset >>> 2;
    this.#first = layout.submissionsOffset + layout.headerBytes;
    this.#capacityBytes = layout.submissionBytes - layout.headerBytes;
  }

  /** Another one than the last 100 million times, and never 0: see replyAttributesDropping. */
  nextMtimeShift(): number {
    this.#mtimeShift = (this.#mtimeShift % MTIME_SHIFT_MAX) + MTIME_SHIFT_STEP;
    return this.#mtimeShift;
  }

  /** Makes room for `bytes` without using it. */
  ensure(bytes: number): void {
    if (this.arena.words[this.#usedWord]! + bytes > this.#capacityBytes) this.#native.submit();
  }

  /** Arena offset of `bytes` (a multiple of 8, ensured) that are now part of what is submitted. */
  extend(bytes: number): number {
    const words = this.arena.words;
    const used = words[this.#usedWord]!;
    words[this.#usedWord] = used + bytes;
    return this.#first + used;
  }

  /** A reply is complete: outside a turn one must come. */
  commit(): void {
    if (this.detached) this.#native.submit();
    else if (!this.#reactor.inTurn) this.#reactor.requestTurn();
  }
}

export class FuseRequest {
  /** Of the native table: names the request until its reply. */
  readonly index: number;
  readonly #replies: FuseReplies;
  readonly #words: Uint32Array;
  /** Byte offset of the record. */
  readonly #at: number;
  #active = false;
  /** Of the data reply being built. */
  #reply = 0;
  #segments = 0;

  constructor(replies: FuseReplies, index: number, recordOffset: number) {
    this.#replies = replies;
    this.#words = replies.arena.words;
    this.index = index;
    this.#at = recordOffset;
  }

  /** @internal The session has received it. */
  activate(): void {
    this.#active = true;
  }

  /** False from the reply on. */
  get active(): boolean {
    return this.#active;
  }

  /** Tells this request from earlier and later ones of the same index. */
  get generation(): number {
    return this.#words[(this.#at + RequestRecord.generation) >>> 2]!;
  }
  /** A value of `Operation`. */
  get operation(): number {
    return this.#words[(this.#at + RequestRecord.operation) >>> 2]!;
  }
  /** The node, or the parent directory where a name is given; Link: the file. */
  get inode(): number {
    return readU53(this.#words, this.#at + RequestRecord.inode);
  }
  get uid(): number {
    return this.#words[(this.#at + RequestRecord.uid) >>> 2]!;
  }
  get gid(): number {
    return this.#words[(this.#at + RequestRecord.gid) >>> 2]!;
  }
  get pid(): number {
    return this.#words[(this.#at + RequestRecord.pid) >>> 2]!;
  }
  /** open(2), renameat2(2) flags; Fsync: bit 0 data only; SetAttr: bit 0 with a handle. */
  get flags(): number {
    return this.#words[(this.#at + RequestRecord.flags) >>> 2]!;
  }
  /** As given to replyOpen or replyCreate. */
  get handle(): number {
    return readU53(this.#words, this.#at + RequestRecord.handle);
  }
  /** Read, Write: byte in the file. */
  get offset(): number {
    return readU53(this.#words, this.#at + RequestRecord.offset);
  }
  /** Fallocate, CopyFileRange. What does not fit a number is far beyond every file. */
  get lengthBytes(): number {
    return this.#wide(RequestRecord.lengthBytes);
  }
  /** The same byte as `offset`, where the kernel does not bound it by the largest file. */
  get wideOffset(): number {
    return this.#wide(RequestRecord.offset);
  }
  /** CopyFileRange: of the file that is written. */
  get otherHandle(): number {
    return readU53(this.#words, this.#at + RequestRecord.otherHandle);
  }
  get otherOffset(): number {
    return this.#wide(RequestRecord.otherOffset);
  }
  /** ReadDir, ReadDirPlus: of the last entry seen, 0 from the start. */
  get cookie(): number {
    return readU53(this.#words, this.#at + RequestRecord.offset);
  }
  /** SetAttr: the new size. */
  get newSizeBytes(): number {
    return readU53(this.#words, this.#at + RequestRecord.offset);
  }
  /** Rename, Link. */
  get newParent(): number {
    return readU53(this.#words, this.#at + RequestRecord.offset);
  }
  /** Read, ReadDir: at most; Write: of the data. */
  get sizeBytes(): number {
    return this.#words[(this.#at + RequestRecord.sizeBytes) >>> 2]!;
  }
  get mode(): number {
    return this.#words[(this.#at + RequestRecord.mode) >>> 2]!;
  }
  /** Create, MkNod, MkDir: the mode does not take it into account. */
  get umask(): number {
    return this.#words[(this.#at + RequestRecord.umask) >>> 2]!;
  }
  get rdev(): number {
    return this.#words[(this.#at + RequestRecord.rdev) >>> 2]!;
  }
  /** Write: arena offset of the data; page-aligned unless the write is small. */
  get dataOffset(): number {
    return this.#words[(this.#at + RequestRecord.dataOffset) >>> 2]!;
  }
  /** Arena offset of the name, not ended by a zero; Link: of the new name. */
  get nameOffset(): number {
    return this.#words[(this.#at + RequestRecord.nameOffset) >>> 2]!;
  }
  get nameBytes(): number {
    return this.#words[(this.#at + RequestRecord.nameBytes) >>> 2]!;
  }
  /** Rename: the new name; Symlink: the target. */
  get name2Offset(): number {
    return this.#words[(this.#at + RequestRecord.name2Offset) >>> 2]!;
  }
  get name2Bytes(): number {
    return this.#words[(this.#at + RequestRecord.name2Bytes) >>> 2]!;
  }
  /** SetAttr: bits of wire.SetAttrRequest.valid; Open, Create, Write: its bit 8. */
  get valid(): number {
    return this.#words[(this.#at + RequestRecord.valid) >>> 2]!;
  }
  get setUid(): number {
    return this.#words[(this.#at + RequestRecord.setUid) >>> 2]!;
  }
  get setGid(): number {
    return this.#words[(this.#at + RequestRecord.setGid) >>> 2]!;
  }
  get atimeSeconds(): number {
    return readI53(this.#words, this.#at + RequestRecord.atimeSeconds);
  }
  get atimeNanoseconds(): number {
    return this.#words[(this.#at + RequestRecord.atimeNanoseconds) >>> 2]!;
  }
  get mtimeSeconds(): number {
    return readI53(this.#words, this.#at + RequestRecord.mtimeSeconds);
  }
  get mtimeNanoseconds(): number {
    return this.#words[(this.#at + RequestRecord.mtimeNanoseconds) >>> 2]!;
  }

  /**
   * GetLock, SetLock, SetLockWait, Flush, Release: who locks, a value of 64 bits that the kernel made
   * up: a process's file table (fcntl locks), or an open file (flock and open-file-description
   * locks). Low and high word; both may be anything.
   */
  get lockOwnerLow(): number {
    return this.#words[(this.#at + RequestRecord.lockOwner) >>> 2]!;
  }
  get lockOwnerHigh(): number {
    return this.#words[((this.#at + RequestRecord.lockOwner) >>> 2) + 1]!;
  }
  /** GetLock, SetLock, SetLockWait: the first byte. flock: 0. */
  get lockStart(): number {
    return readU53(this.#words, this.#at + RequestRecord.offset);
  }
  /** … and the last, inclusive; LOCK_OFFSET_MAX: to the end of every file, as always with flock. */
  get lockEnd(): number {
    return readU53(this.#words, this.#at + RequestRecord.lockEnd);
  }
  /** A value of `LockType`; GetLock: never Unlock. */
  get lockType(): number {
    return this.#words[(this.#at + RequestRecord.lockType) >>> 2]!;
  }
  /** SetLock, SetLockWait: process (not thread) that locks; 0 when it unlocks. */
  get lockPid(): number {
    return this.#words[(this.#at + RequestRecord.lockPid) >>> 2]!;
  }
  /** GetLock, SetLock, SetLockWait: flock(2), which does not see fcntl(2)'s locks. */
  get isFlock(): boolean {
    return (this.flags & LOCK_FLOCK) !== 0;
  }
  /**
   * Release: the open file had been locked with flock: the lock of `lockOwner…` goes with it. In a
   * Release without this the owner is 0, even if the open file holds fcntl locks of its own.
   */
  get releasesFlock(): boolean {
    return (this.valid & RELEASE_FLOCK) !== 0;
  }

  /**
   * Makes the slot that holds a Write's data (or long names) the caller's, who gives it back to its
   * pool; 0 when there is none. Small writes lie in a message slot, others in a bulk slot.
   */
  takeSlot(): number {
    const word = (this.#at + RequestRecord.slot) >>> 2;
    const slot = this.#words[word]!;
    this.#words[word] = 0;
    return slot;
  }

  /** An errno; 0: done (Unlink, RmDir, Rename, Release, Fsync, Flush, …). */
  replyStatus(status: number): void {
    this.#begin(ReplyKind.Status, status, 0);
    this.#finish();
  }

  /**
   * Lookup, MkNod, MkDir, Symlink, Link. `attributes`: arena offset of a wire.Attributes, copied
   * now. Timeouts say how long the kernel may believe it.
   */
  replyEntry(attributes: number, entryTimeoutMs: number, attributesTimeoutMs: number): void {
    this.#begin(ReplyKind.Entry, 0, Attributes.SIZE);
    this.#timeouts(entryTimeoutMs, attributesTimeoutMs);
    this.#copyWords(attributes, Attributes.SIZE);
    this.#finish();
  }

  /** Lookup: there is no such name, and the kernel may remember that. */
  replyNoEntry(entryTimeoutMs: number): void {
    this.#begin(ReplyKind.Entry, 0, Attributes.SIZE);
    this.#timeouts(entryTimeoutMs, 0);
    const first = (this.#reply + ReplyRecord.SIZE) >>> 2;
    this.#words.fill(0, first, first + Attributes.SIZE / 4);
    this.#finish();
  }

  /** GetAttr, SetAttr. */
  replyAttributes(attributes: number, attributesTimeoutMs: number): void {
    this.#begin(ReplyKind.Attributes, 0, Attributes.SIZE);
    this.#timeouts(0, attributesTimeoutMs);
    this.#copyWords(attributes, Attributes.SIZE);
    this.#finish();
  }

  /**
   * GetAttr: has the kernel drop the file's pages before it goes on with what it asked this for. It does so when
   * the mtime is another than it knew (FuseInfo.autoInvalidData), so it is told one that never was; it is
   * not to believe any of it for longer. Not for stat(2), which shows it.
   */
  replyAttributesDropping(attributes: number): void {
    this.#begin(ReplyKind.Attributes, 0, Attributes.SIZE);
    this.#timeouts(0, 0);
    this.#copyWords(attributes, Attributes.SIZE);
    const at = (this.#reply + ReplyRecord.SIZE + Attributes.mtimeNanoseconds) >>> 2;
    this.#words[at] = (this.#words[at]! + this.#replies.nextMtimeShift()) % NANOSECONDS;
    this.#finish();
  }

  /** Open, OpenDir. `openFlags`: bits of `OpenFlag`. */
  replyOpen(handle: number, openFlags: number): void {
    this.#begin(ReplyKind.Open, 0, 0);
    this.#opened(handle, openFlags);
    this.#finish();
  }

  replyCreate(
    attributes: number,
    entryTimeoutMs: number,
    attributesTimeoutMs: number,
    handle: number,
    openFlags: number,
  ): void {
    this.#begin(ReplyKind.Create, 0, Attributes.SIZE);
    this.#timeouts(entryTimeoutMs, attributesTimeoutMs);
    this.#opened(handle, openFlags);
    this.#copyWords(attributes, Attributes.SIZE);
    this.#finish();
  }

  /** Write. The slot of the data is given back, unless taken. */
  replyWritten(bytes: number): void {
    this.#begin(ReplyKind.Written, 0, 0);
    this.#words[(this.#reply + ReplyRecord.count) >>> 2] = bytes;
    this.#finish();
  }

  /** Seek: the byte that was found. */
  replySeek(byte: number): void {
    this.#begin(ReplyKind.Seek, 0, 0);
    writeU53(this.#words, this.#reply + ReplyRecord.handle, byte);
    this.#finish();
  }

  /** GetXattr, ListXattr of size 0: how long the value, or the list, is. */
  replyXattrSize(bytes: number): void {
    this.#begin(ReplyKind.XattrSize, 0, 0);
    this.#words[(this.#reply + ReplyRecord.count) >>> 2] = bytes;
    this.#finish();
  }

  /**
   * GetLock: the lock in the way, `end` inclusive or LOCK_OFFSET_MAX; `pid` 0 where it is no process
   * of this machine. LockType.Unlock: the lock could be had, the rest does not count.
   */
  replyLock(type: number, start: number, end: number, pid: number): void {
    this.#begin(ReplyKind.Lock, 0, FileLock.SIZE);
    const words = this.#words;
    const at = this.#reply + ReplyRecord.SIZE;
    writeU53(words, at + FileLock.start, start);
    writeU53(words, at + FileLock.end, end);
    words[(at + FileLock.type) >>> 2] = type;
    words[(at + FileLock.pid) >>> 2] = pid;
    this.#finish();
  }

  /** StatFs. `statistics`: arena offset of a wire.StatFsReply, copied now. */
  replyStatFs(statistics: number): void {
    this.#begin(ReplyKind.StatFs, 0, StatFsReply.SIZE);
    this.#copyWords(statistics, StatFsReply.SIZE);
    this.#finish();
  }

  /** Read, ReadLink: copies up to COPY_BYTES_MAX now. */
  replyBytes(offset: number, lengthBytes: number): void {
    this.#begin(ReplyKind.Data, 0, Segment.SIZE + ((lengthBytes + 7) & ~7));
    this.#copiedSegment(offset, lengthBytes);
    this.#finish();
  }

  /** Read: begins a reply gathered from segments; nothing else may be answered until endData. */
  beginData(): void {
    this.#replies.ensure(ReplyRecord.SIZE + SEGMENTS_MAX * Segment.SIZE);
    this.#begin(ReplyKind.Data, 0, 0);
    this.#segments = 0;
  }

  /**
   * Memory that stays until it is submitted at the turn's end; `releaseSlot` gives the bulk or
   * message slot that holds it back then.
   */
  addSegment(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    if (this.#segments >= SEGMENTS_MAX) throw new RangeError('fuse: too many segments in a reply');
    this.#segments++;
    const at = this.#replies.extend(Segment.SIZE);
    this.#segment(at, offset, lengthBytes, releaseSlot ? SEGMENT_RELEASE : 0);
  }

  /** Up to 1 MiB of zeros. */
  addZeros(lengthBytes: number): void {
    this.addSegment(0, lengthBytes, false);
  }

  endData(): void {
    const words = this.#words;
    words[(this.#reply + ReplyRecord.bytes) >>> 2] =
      ReplyRecord.SIZE + this.#segments * Segment.SIZE;
    words[(this.#reply + ReplyRecord.count) >>> 2] = this.#segments;
    this.#finish();
  }

  /**
   * ReadDir, ReadDirPlus: packed wire.DirEntry records that follow the request's cookie; none: the
   * directory ends. "." and ".." are added natively. With `releaseSlot` the records stay where they
   * are until the turn's end and their slot is given back then; otherwise up to COPY_BYTES_MAX are
   * copied now, and more must stay. `parent`: inode for "..", 0: unknown.
   */
  replyDirectory(
    offset: number,
    lengthBytes: number,
    releaseSlot: boolean,
    parent: number,
    entryTimeoutMs: number,
    attributesTimeoutMs: number,
  ): void {
    const copy = !releaseSlot && lengthBytes <= COPY_BYTES_MAX;
    this.#begin(ReplyKind.Directory, 0, Segment.SIZE + (copy ? (lengthBytes + 7) & ~7 : 0));
    this.#timeouts(entryTimeoutMs, attributesTimeoutMs);
    writeU53(this.#words, this.#reply + ReplyRecord.handle, parent);
    if (copy) {
      this.#copiedSegment(offset, lengthBytes);
    } else {
      const at = this.#reply + ReplyRecord.SIZE;
      this.#words[(this.#reply + ReplyRecord.count) >>> 2] = 1;
      this.#segment(at, offset, lengthBytes, releaseSlot ? SEGMENT_RELEASE : 0);
    }
    this.#finish();
  }

  #wide(field: number): number {
    const word = (this.#at + field) >>> 2;
    return this.#words[word + 1]! * 4294967296 + this.#words[word]!;
  }

  #begin(kind: number, status: number, bodyBytes: number): void {
    if (!this.#active) throw new Error('fuse: a request is answered once');
    this.#active = false;
    const bytes = ReplyRecord.SIZE + bodyBytes;
    this.#replies.ensure(bytes);
    this.#reply = this.#replies.extend(bytes);
    const words = this.#words;
    const word = this.#reply >>> 2;
    words[word + (ReplyRecord.bytes >>> 2)] = bytes;
    words[word + (ReplyRecord.kind >>> 2)] = kind;
    words[word + (ReplyRecord.index >>> 2)] = this.index;
    words[word + (ReplyRecord.generation >>> 2)] = this.generation;
    words[word + (ReplyRecord.status >>> 2)] = status;
  }

  #finish(): void {
    this.#replies.commit();
  }

  #timeouts(entryTimeoutMs: number, attributesTimeoutMs: number): void {
    this.#words[(this.#reply + ReplyRecord.entryTimeoutMs) >>> 2] = entryTimeoutMs;
    this.#words[(this.#reply + ReplyRecord.attributesTimeoutMs) >>> 2] = attributesTimeoutMs;
  }

  #opened(handle: number, openFlags: number): void {
    writeU53(this.#words, this.#reply + ReplyRecord.handle, handle);
    this.#words[(this.#reply + ReplyRecord.openFlags) >>> 2] = openFlags;
  }

  #copyWords(from: number, bytes: number): void {
    const words = this.#words;
    const source = from >>> 2;
    const target = (this.#reply + ReplyRecord.SIZE) >>> 2;
    for (let i = 0; i < bytes >>> 2; i++) words[target + i] = words[source + i]!;
  }

  #copiedSegment(offset: number, lengthBytes: number): void {
    if (lengthBytes > COPY_BYTES_MAX) throw new RangeError('fuse: too much to copy');
    const at = this.#reply + ReplyRecord.SIZE;
    this.#words[(this.#reply + ReplyRecord.count) >>> 2] = 1;
    this.#segment(at, at + Segment.SIZE, lengthBytes, 0);
    this.#replies.arena.bytes.copyWithin(at + Segment.SIZE, offset, offset + lengthBytes);
  }

  #segment(at: number, offset: number, lengthBytes: number, flags: number): void {
    const word = at >>> 2;
    this.#words[word] = offset;
    this.#words[word + 1] = lengthBytes;
    this.#words[word + 2] = flags;
    this.#words[word + 3] = 0;
  }
}
