/**
 * Reading directories: one request fetches packed DirEntry records from a cookie on; they are
 * handed to the front end as they came, after every length in them has been checked.
 */
import { inlineDataBytes, nameBytesMax } from '../protocol/limits.generated.js';
import { isU53, readU16, readU53, readU53OrZero, writeU16, writeU53 } from '../protocol/u53.js';
import {
  Attributes,
  DirEntry,
  Opcode,
  ReadDirReply,
  ReadDirRequest,
} from '../protocol/wire.generated.js';
import type { ClientContext } from './context.js';
import type { Handle } from './handles.js';
import { CoreOperation, OperationPool } from './operation.js';
import { COLLISIONS, cookieBefore, HASH_END } from './partition-tables.js';
import type { ClientRequest } from './request.js';

const FLAG_WITH_ATTRIBUTES = 1;

/** Walks packed DirEntry records in arena memory. */
export class EntryCursor {
  inode = 0;
  cookie = 0;
  /** Type bits. */
  mode = 0;
  nameOffset = 0;
  nameBytes = 0;
  /** Arena offset of the entry's Attributes, 0 when it has none. */
  attributesOffset = 0;
  /** A record does not fit the memory, or contradicts the protocol. */
  malformed = false;
  #words: Uint32Array = new Uint32Array(0);
  #at = 0;
  #end = 0;

  start(words: Uint32Array, offset: number, lengthBytes: number): void {
    this.#words = words;
    this.#at = offset;
    this.#end = offset + lengthBytes;
    this.malformed = false;
  }

  /** False at the end, or at a malformed record. */
  next(): boolean {
    const at = this.#at;
    if (at === this.#end) return false;
    const words = this.#words;
    this.malformed = true;
    if (at + DirEntry.SIZE > this.#end) return false;
    if (!isU53(words, at + DirEntry.inode) || !isU53(words, at + DirEntry.cookie)) return false;
    this.nameBytes = readU16(words, at + DirEntry.nameBytes);
    if (this.nameBytes === 0 || this.nameBytes > nameBytesMax) return false;
    const withAttributes = readU16(words, at + DirEntry.hasAttributes) !== 0;
    this.attributesOffset = withAttributes ? at + DirEntry.SIZE : 0;
    this.nameOffset = at + DirEntry.SIZE + (withAttributes ? Attributes.SIZE : 0);
    const next = (this.nameOffset + this.nameBytes + 7) & ~7;
    // Arena offsets reach 2^32: undo the sign that the mask may have given.
    this.#at = next >>> 0;
    if (this.#at > this.#end) return false;
    this.inode = readU53(words, at + DirEntry.inode);
    this.cookie = readU53(words, at + DirEntry.cookie);
    this.mode = words[(at + DirEntry.mode) >>> 2]!;
    this.malformed = false;
    return true;
  }
}

class ReadDirectoryOperation extends CoreOperation {
  #handle!: Handle;
  #inode = 0;
  /** The partition that is read. */
  #home = 0;
  /** Where the listing goes on, and where it is read: in the next partition perhaps. */
  #asked = 0;
  #cookie = 0;
  #maxBytes = 0;
  #flags = 0;
  #silent = false;
  readonly #cursor = new EntryCursor();

  start(
    handle: Handle,
    cookie: number,
    maxBytes: number,
    withAttributes: boolean,
    landing: number,
  ): void {
    this.#silent = this.request?.readsSilently === true;
    this.#handle = handle;
    this.#inode = handle.inode;
    this.#asked = cookie;
    this.#cookie = cookie === handle.resumeAfter ? handle.resumeFrom : cookie;
    this.#maxBytes = maxBytes;
    this.#flags = withAttributes ? FLAG_WITH_ATTRIBUTES : 0;
    this.landingOffset = maxBytes <= inlineDataBytes ? 0 : landing;
    this.landingBytes = maxBytes <= inlineDataBytes ? 0 : maxBytes;
    this.sendAgain();
  }

  protected override sendAgain(): void {
    this.#home = this.context.partitions.homeAfter(this.#inode, this.#cookie);
    this.send(this.context.peerOfInode(this.#home), Opcode.ReadDir, ReadDirRequest.SIZE);
  }

  override encode(body: number): number {
    const words = this.context.arena.words;
    writeU53(words, body + ReadDirRequest.inode, this.#home);
    writeU53(words, body + ReadDirRequest.cookie, this.#cookie);
    words[(body + ReadDirRequest.maxBytes) >>> 2] = this.#maxBytes;
    words[(body + ReadDirRequest.flags) >>> 2] = this.#flags;
    return ReadDirRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const { context } = this;
    const known = context.partitions.homeAfter(this.#inode, this.#cookie);
    if (this.reroutes(status, this.#inode, this.#home, known)) return;
    const checked = context.checkReply(status, bodyBytes, ReadDirReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const words = context.arena.words;
    const inlineBytes = words[(body + ReadDirReply.inlineBytes) >>> 2]!;
    const ended = words[(body + ReadDirReply.endOfDirectory) >>> 2] !== 0;
    const rangeEnd = readU53OrZero(words, body + ReadDirReply.rangeEnd);
    const last = ended && rangeEnd >= HASH_END;
    const goesOn = ended && !last;
    const inline = inlineBytes !== 0;
    const offset = inline ? body + ReadDirReply.SIZE : this.landingOffset;
    const lengthBytes = inline ? inlineBytes : bulkBytes;
    if (goesOn && rangeEnd <= this.#cookie / COLLISIONS) {
      this.#malformed();
      return;
    }
    if (inline && ReadDirReply.SIZE + inlineBytes > bodyBytes) {
      this.#malformed();
      return;
    }
    const cursor = this.#cursor;
    let cookie = this.#asked;
    let begin = offset;
    cursor.start(words, offset, lengthBytes);
    while (cursor.next()) {
      cookie = cursor.cookie;
      if (cursor.attributesOffset === 0) continue;
      context.learn(cursor.attributesOffset);
      // Attributes of a file that is being written here may be behind: let lookup fetch them.
      const file = context.files.peek(cursor.inode);
      if (file?.mtimeDirty === true) begin = this.#withhold(begin, cursor);
    }
    if (cursor.malformed) {
      this.#malformed();
      return;
    }
    if (goesOn && lengthBytes === 0) {
      this.#cookie = cookieBefore(rangeEnd);
      this.sendAgain();
      return;
    }
    if (!this.#silent) context.accessTimes.note(this.#inode);
    if (goesOn) {
      this.#handle.resumeAfter = cookie;
      this.#handle.resumeFrom = cookieBefore(rangeEnd);
    }
    // Cookie 0 is never the end: a rewound listing must see what was added.
    if (last && cookie !== 0) this.#handle.endCookie = cookie;
    this.release()?.replyEntries(begin, lengthBytes - (begin - offset), last);
  }

  /**
   * Takes an entry's attributes out: what lies before them moves up by their length. Returns where
   * the records begin now.
   */
  #withhold(begin: number, cursor: EntryCursor): number {
    const { bytes, words } = this.context.arena;
    const attributes = cursor.attributesOffset;
    writeU16(words, attributes - DirEntry.SIZE + DirEntry.hasAttributes, 0);
    bytes.copyWithin(begin + Attributes.SIZE, begin, attributes);
    return begin + Attributes.SIZE;
  }

  #malformed(): void {
    this.finishError(this.context.malformed('a listing'));
  }
}

export class DirectoryReads {
  readonly #pool: OperationPool<ReadDirectoryOperation>;

  constructor(context: ClientContext) {
    this.#pool = new OperationPool((pool) => new ReadDirectoryOperation(context, pool));
  }

  /**
   * Entries after `cookie` (0: from the start), at most `maxBytes` bytes of records; larger
   * answers land at `landing`. "." and ".." are the front end's.
   */
  read(
    request: ClientRequest,
    handle: Handle,
    cookie: number,
    maxBytes: number,
    withAttributes: boolean,
    landing: number,
  ): void {
    // The last answer said that nothing follows: spares each listing a request.
    if (cookie === handle.endCookie) request.replyEntries(0, 0, true);
    else this.#pool.take(request).start(handle, cookie, maxBytes, withAttributes, landing);
  }

  interrupt(request: ClientRequest): void {
    this.#pool.interrupt(request);
  }
}
