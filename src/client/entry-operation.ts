/**
 * Operations that make an entry and are answered with a LookupReply: mkdir, link. Attributes that are
 * not in it are asked for where the inode lies.
 *
 *   request ─┬─ attributes in the reply ──> entry
 *            └─ none ──> GetAttr ──> entry
 *
 * Somebody else may have removed it before the GetAttr: it was made all the same, and has no links.
 */
import { ESTALE, errno } from '../common/errno.js';
import { HAS_ATTRIBUTES, LEASE_ENTRY, LEASE_INODE } from '../protocol/leases.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  Attributes,
  AttributesReply,
  InodeRequest,
  LookupReply,
  NameRequest,
  Opcode,
  UnlinkReply,
} from '../protocol/wire.generated.js';
import { ownedAttributes } from './attributes.js';
import { encodeInode, encodeName } from './bodies.js';
import type { OwnChange } from './leases/change-marks.js';
import { CoreOperation } from './operation.js';
import { NameCopy, VALID_AS_OPTIONS, answerEntry } from './request.js';
import type { NameReference } from './request.js';

export abstract class EntryOperation extends CoreOperation {
  /** Not 0: its attributes are being asked for. */
  #inode = 0;
  /** Its type. */
  #mode = 0;
  readonly #gone = ownedAttributes();

  protected readonly name = new NameCopy();
  /** The partition that the name belongs to; filled in by `begin`. */
  protected home = 0;
  #directory = 0;
  #request = 0;
  #structBytes = 0;
  /** When it began, or asked for attributes, in the time of the marks. */
  #stamp = 0;

  /** The request has the name behind a struct of so many bytes. */
  protected begin(directory: number, name: NameReference, opcode: number, bytes: number): void {
    this.#directory = directory;
    this.name.copyFrom(name);
    this.#request = opcode;
    this.#structBytes = bytes;
    this.change.addInode(directory);
    this.context.leases.beginName(this.change, directory, this.name);
    this.#stamp = this.change.stamp;
    this.sendAgain();
  }

  protected override sendAgain(): void {
    this.#inode = 0;
    this.home = this.homeOf(this.#directory, this.name);
    const bytes = this.#structBytes + this.name.lengthBytes;
    this.send(this.context.peerOfInode(this.home), this.#request, bytes);
  }

  protected abstract encodeRequest(body: number): number;

  override encode(body: number): number {
    if (this.#inode === 0) return this.encodeRequest(body);
    return encodeInode(this.context.arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    const isAttributes = this.#inode !== 0;
    if (!isAttributes) {
      const known = context.partitions.home(this.#directory, this.name);
      if (this.reroutes(status, this.#directory, this.home, known)) return;
    }
    const size = isAttributes ? AttributesReply.SIZE : LookupReply.SIZE;
    const checked = context.checkReply(status, bodyBytes, size);
    if (checked === ESTALE && isAttributes) {
      writeU53(this.#gone.words, Attributes.inode, this.#inode);
      this.#gone.words[Attributes.mode >>> 2] = this.#mode;
      const attributes = context.lendAttributes(this.#gone);
      const validMs = context.leases.enabled ? 0 : VALID_AS_OPTIONS;
      answerEntry(this.release(), attributes, validMs, validMs);
      return;
    }
    if (checked !== 0) {
      // The directory that was to have it is gone.
      this.finishError(checked === ESTALE ? errno.ENOENT : checked);
      return;
    }
    const { words } = context.arena;
    if (isAttributes) {
      const flags = words[(body + AttributesReply.flags) >>> 2]!;
      this.#reply(body + AttributesReply.attributes, flags, null);
      return;
    }
    const flags = words[(body + LookupReply.flags) >>> 2]!;
    const inode = readU53(words, body + LookupReply.inode);
    const { leases } = context;
    const directory = this.#directory;
    leases.learnName(directory, this.home, this.name, inode, flags, this.#stamp, this.change);
    leases.learnEmpty(inode, flags, this.#stamp);
    if ((flags & HAS_ATTRIBUTES) !== 0) {
      this.#reply(body + LookupReply.attributes, flags, this.change);
      return;
    }
    this.endChange(0, null);
    this.#inode = inode;
    this.#mode = words[(body + LookupReply.mode) >>> 2]!;
    this.#stamp = leases.marks.stamp;
    this.send(context.peerOfInode(inode), Opcode.GetAttr, InodeRequest.SIZE);
  }

  #reply(at: number, flags: number, change: OwnChange | null): void {
    const { leases } = this.context;
    const attributes = this.context.readAttributes(at);
    // A link's inode has changed with the directory.
    const isLink = change !== null && this.#request === Opcode.Link;
    if (isLink && (flags & LEASE_ENTRY) !== 0) {
      leases.directoryChanged(this.#directory, at, change);
    }
    const held = leases.learnInode(at, flags, this.#stamp, change);
    const attributesMs = leases.attributesMs(attributes.inode, held);
    this.endChange(0, null);
    const entryMs = leases.nameMs(this.#directory, this.name, attributes.inode);
    answerEntry(this.release(), attributes, entryMs, attributesMs);
  }
}

/** unlink and rmdir: a name goes, and there is nothing to be said of it. */
export abstract class RemovalOperation extends CoreOperation {
  protected abstract readonly opcodeOfRemoval: number;
  readonly #name = new NameCopy();
  #directory = 0;
  #home = 0;

  start(directory: number, name: NameReference): void {
    this.#directory = directory;
    this.#name.copyFrom(name);
    this.context.leases.beginRemoval(this.change, directory, this.#name);
    this.sendAgain();
  }

  protected override sendAgain(): void {
    this.#home = this.homeOf(this.#directory, this.#name);
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#home), this.opcodeOfRemoval, bytes);
  }

  override encode(body: number): number {
    return encodeName(this.context.arena, body, this.#home, this.#name);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const known = this.context.partitions.home(this.#directory, this.#name);
    if (this.reroutes(status, this.#directory, this.#home, known)) return;
    if (status === 0) this.#removed(body, bodyBytes);
    this.finishDone(status);
  }

  #removed(body: number, bodyBytes: number): void {
    const { leases } = this.context;
    // Another one than was held to have the name, if somebody was quicker.
    const isTold = this.opcodeOfRemoval === Opcode.Unlink && bodyBytes >= UnlinkReply.SIZE;
    if (isTold) this.#unlinked(body);
    else leases.outdateUnknown(this.change, true);
    leases.nameChanged(this.#home, this.#name, 0, this.change);
  }

  #unlinked(body: number): void {
    const { leases, arena } = this.context;
    leases.outdate(readU53(arena.words, body + UnlinkReply.inode));
    if ((arena.words[(body + UnlinkReply.flags) >>> 2]! & LEASE_INODE) === 0) return;
    const nanoseconds = body + UnlinkReply.changeNanoseconds;
    const seconds = body + UnlinkReply.changeSeconds;
    leases.directoryTimes(this.#directory, seconds, nanoseconds, this.change);
  }
}
