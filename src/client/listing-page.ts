/**
 * One page of a listing as it comes from a target: every length in it is checked, what it grants is kept
 * (docs/leases.md, "Listings"), and the records are made what the front end wants, in place.
 *
 *   record: DirEntry | Attributes, if bit 0 of hasAttributes | name, padded     bits 1, 2: leases
 *
 * Attributes are given away with a page for front ends that believe them; a kernel cannot be made to
 * forget what it has not taken in yet, so under leases it gets none: it looks each name up, and is answered from
 * what the page has brought.
 */
import { HAS_ATTRIBUTES, LEASE_ENTRY, LEASE_INODE } from '../protocol/leases.js';
import { nameBytesMax } from '../protocol/limits.generated.js';
import { isU53, readU16, readU53, writeU16 } from '../protocol/u53.js';
import { Attributes, DirEntry } from '../protocol/wire.generated.js';
import type { ClientContext } from './context.js';
import { NameReference } from './request.js';

/** What becomes of the attributes of a listing's entries. */
export const ListAttributes = {
  /** They are not asked for. */
  None: 0,
  /** They stand in the answer, where they are known. */
  Given: 1,
  /** They are kept, as far as they are leased, for the look-ups that follow. */
  Learnt: 2,
  /** The same if names of the directory were looked up since the page before; else none. */
  IfUsed: 3,
} as const;
export type ListAttributes = (typeof ListAttributes)[keyof typeof ListAttributes];

/** Walks packed DirEntry records in arena memory. */
export class EntryCursor {
  inode = 0;
  cookie = 0;
  /** Type bits. */
  mode = 0;
  /** Where the record begins. */
  offset = 0;
  nameOffset = 0;
  nameBytes = 0;
  /** Where the next record begins. */
  nextOffset = 0;
  /** Arena offset of the entry's Attributes, 0 when it has none. */
  attributesOffset = 0;
  /** Leases that came with it: LEASE_INODE, LEASE_ENTRY. */
  leases = 0;
  /** A record does not fit the memory, or contradicts the protocol. */
  malformed = false;
  #words: Uint32Array = new Uint32Array(0);
  #end = 0;

  start(words: Uint32Array, offset: number, lengthBytes: number): void {
    this.#words = words;
    this.nextOffset = offset;
    this.#end = offset + lengthBytes;
    this.malformed = false;
  }

  /** False at the end, or at a malformed record. */
  next(): boolean {
    const at = this.nextOffset;
    if (at === this.#end) return false;
    const words = this.#words;
    this.malformed = true;
    if (at + DirEntry.SIZE > this.#end) return false;
    if (!isU53(words, at + DirEntry.inode) || !isU53(words, at + DirEntry.cookie)) return false;
    this.nameBytes = readU16(words, at + DirEntry.nameBytes);
    if (this.nameBytes === 0 || this.nameBytes > nameBytesMax) return false;
    const flags = readU16(words, at + DirEntry.hasAttributes);
    const withAttributes = (flags & HAS_ATTRIBUTES) !== 0;
    this.leases = flags & (LEASE_INODE | LEASE_ENTRY);
    this.offset = at;
    this.attributesOffset = withAttributes ? at + DirEntry.SIZE : 0;
    this.nameOffset = at + DirEntry.SIZE + (withAttributes ? Attributes.SIZE : 0);
    const next = (this.nameOffset + this.nameBytes + 7) & ~7;
    // Arena offsets reach 2^32: undo the sign that the mask may have given.
    this.nextOffset = next >>> 0;
    if (this.nextOffset > this.#end) return false;
    this.inode = readU53(words, at + DirEntry.inode);
    this.cookie = readU53(words, at + DirEntry.cookie);
    this.mode = words[(at + DirEntry.mode) >>> 2]!;
    this.malformed = false;
    return true;
  }
}

/** Of whom a page is. */
export interface PageSource {
  readonly directory: number;
  /** The partition that was asked. */
  readonly home: number;
  /** When it was, in the time of the marks. */
  readonly stamp: number;
  readonly attributes: ListAttributes;
  /** Names are of use without attributes, too: all of them may come to be held. */
  readonly keepsNames: boolean;
}

export class ListingPage {
  /** Where the records lie now. */
  offset = 0;
  lengthBytes = 0;
  /** Of the last record; 0: there is none. */
  lastCookie = 0;
  /** Each name is held. */
  isHeld = false;
  readonly #context: ClientContext;
  readonly #cursor = new EntryCursor();
  readonly #name = new NameReference();

  constructor(context: ClientContext) {
    this.#context = context;
  }

  /** False: it contradicts the protocol. */
  take(offset: number, lengthBytes: number, source: PageSource): boolean {
    const { words } = this.#context.arena;
    const cursor = this.#cursor;
    const strips = source.attributes === ListAttributes.Learnt;
    const keepsNames = source.keepsNames || source.attributes !== ListAttributes.None;
    let begin = offset;
    let end = offset;
    this.lastCookie = 0;
    this.isHeld = true;
    cursor.start(words, offset, lengthBytes);
    while (cursor.next()) {
      this.lastCookie = cursor.cookie;
      this.#learn(source, keepsNames);
      const hasAttributes = cursor.attributesOffset !== 0;
      writeU16(words, cursor.offset + DirEntry.hasAttributes, hasAttributes ? HAS_ATTRIBUTES : 0);
      if (!hasAttributes || strips) {
        end = this.#move(end);
        continue;
      }
      end = cursor.nextOffset;
      // Attributes of a file that is being written here may be behind: let lookup fetch them.
      const file = this.#context.files.peek(cursor.inode);
      if (file?.mtimeDirty === true) begin = this.#withhold(begin);
    }
    this.offset = begin;
    this.lengthBytes = end - begin;
    return !cursor.malformed;
  }

  #learn({ directory, home, stamp }: PageSource, keepsNames: boolean): void {
    const context = this.#context;
    const { leases } = context;
    const { attributesOffset, leases: granted, inode } = this.#cursor;
    if (attributesOffset !== 0) {
      context.learn(attributesOffset);
      if ((granted & LEASE_INODE) !== 0) leases.learnInode(attributesOffset, granted, stamp, null);
    }
    if (!keepsNames || (granted & LEASE_ENTRY) === 0) {
      this.isHeld = false;
      return;
    }
    const { nameOffset, nameBytes } = this.#cursor;
    const name = this.#name.set(context.arena.bytes, nameOffset, nameBytes);
    const held = leases.learnName(directory, home, name, inode, granted, stamp, null);
    this.isHeld = this.isHeld && held;
  }

  /** The record, without attributes, follows what ends at `to`. Returns where it ends. */
  #move(to: number): number {
    const { bytes, words } = this.#context.arena;
    const { offset, nameOffset, nextOffset } = this.#cursor;
    if (to !== offset) bytes.copyWithin(to, offset, offset + DirEntry.SIZE);
    writeU16(words, to + DirEntry.hasAttributes, 0);
    const name = to + DirEntry.SIZE;
    if (name !== nameOffset) bytes.copyWithin(name, nameOffset, nextOffset);
    return name + nextOffset - nameOffset;
  }

  /**
   * Takes an entry's attributes out: what lies before them moves up by their length. Returns where
   * the records begin now.
   */
  #withhold(begin: number): number {
    const { bytes, words } = this.#context.arena;
    const { attributesOffset } = this.#cursor;
    writeU16(words, attributesOffset - DirEntry.SIZE + DirEntry.hasAttributes, 0);
    bytes.copyWithin(begin + Attributes.SIZE, begin, attributesOffset);
    return begin + Attributes.SIZE;
  }
}
