/**
 * Which leases an operation's reply grants. Of a read they are granted when it is answered; of a
 * mutation when it is executed, in the order of execution, and stand in its reply only if they are
 * still held when that leaves.
 */
import { errno } from '../../common/errno.js';
import {
  HAS_ATTRIBUTES,
  LEASE_DIRECTORY,
  LEASE_ENTRY,
  LEASE_INODE,
  LEASE_PAGES,
  LEASE_PERMISSIONS,
  NOTICE_DIRECTORY,
  NOTICE_ENTRY,
  NOTICE_INODE,
  NOTICE_PAGES,
  NOTICE_PERMISSIONS,
} from '../../protocol/leases.js';
import { readU16, readU53, readU53OrZero } from '../../protocol/u53.js';
import {
  AbsentReply,
  Attributes,
  AttributesReply,
  CreateRequest,
  LinkRequest,
  LookupReply,
  MakeDirRequest,
  NameRequest,
  Opcode,
  ReadDirRequest,
  SymlinkRequest,
  UnlinkReply,
} from '../../protocol/wire.generated.js';
import type { Session } from '../../transport/rpc-server.js';
import type { Mutation } from '../batch.js';
import { entryHash } from '../dentries.js';
import { FLAG_SPLIT, modeOf, S_IFDIR, S_IFMT, storedInode } from '../inode-record.js';
import type { Call, Namespace, WireMemory } from '../namespace.js';
import { flagsOf, isDivided } from '../partitions/table.js';
import type { Leases } from './leases.js';
import { LIST_ATTRIBUTES, ListedGrants } from './listed-grants.js';

export class Grants {
  /** Of the page that is being packed. */
  readonly listed: ListedGrants;
  readonly #leases: Leases;
  readonly #ns: Namespace;

  constructor(leases: Leases, ns: Namespace) {
    this.#leases = leases;
    this.#ns = ns;
    this.listed = new ListedGrants(leases, ns.locks);
  }

  // ---------------------------------------------------------------- reads

  /** Flags of a Lookup's reply: `status` 0 or ENOENT. */
  lookup(session: Session, call: Call, status: number): number {
    if (!this.#leases.isHolder(session)) return 0;
    const flags = this.#lookedUp(session, call);
    if (status === errno.ENOENT) {
      const parent = readU53(call.memory.words, call.body + NameRequest.parent);
      return flags | this.#emptyDirectory(session, parent);
    }
    const out = call.out.words;
    if ((out[(call.reply + LookupReply.flags) >>> 2]! & HAS_ATTRIBUTES) === 0) return flags;
    return flags | this.inode(session, readU53(out, call.reply + LookupReply.inode));
  }

  /** LEASE_ENTRY or 0: of a name that a batch has not found. */
  absence(session: Session, call: Call): number {
    return this.#leases.isHolder(session) ? this.#lookedUp(session, call) : 0;
  }

  #lookedUp(session: Session, { memory, body }: Call): number {
    const parent = readU53(memory.words, body + NameRequest.parent);
    const nameBytes = readU16(memory.words, body + NameRequest.nameBytes);
    return this.#entry(session, parent, this.#hash(memory, body + NameRequest.SIZE, nameBytes));
  }

  /**
   * Bits for GetAttr's reply, unless these are remembered attributes of a removed directory. Where the inode is
   * not leased, what others' creates do not change of a directory may be.
   */
  stored(session: Session, inode: number): number {
    if (!this.#leases.isHolder(session)) return 0;
    const record = storedInode(this.#ns.meta, inode);
    if (record === undefined) return 0;
    const flags = this.inode(session, inode);
    const isShared = flags === 0 && (modeOf(record) & S_IFMT) === S_IFDIR;
    return isShared ? this.#permissions(session, inode) : flags;
  }

  /** A directory that is divided has them in one place, too. */
  #permissions(session: Session, directory: number): number {
    if (this.#ns.locks.inode(directory) !== undefined) return 0;
    const leases = this.#leases;
    return leases.grant(session, NOTICE_PERMISSIONS, directory, 0) ? LEASE_PERMISSIONS : 0;
  }

  /** Bits for a reply with the attributes of this inode, which lives. */
  inode(session: Session, inode: number): number {
    if (this.#isFrozen(inode) || this.#isPromised(inode)) return 0;
    // What is shown of it is not its record alone.
    const record = storedInode(this.#ns.meta, inode);
    if (record !== undefined && (flagsOf(record) & FLAG_SPLIT) !== 0) return 0;
    return this.#leases.grant(session, NOTICE_INODE, inode, 0) ? LEASE_INODE : 0;
  }

  /**
   * Before the attributes of a directory in partitions are added up: the lease on its own record. With those on
   * its partitions' the client holds all that the answer is made of.
   */
  beginSums(session: Session, directory: number): void {
    if (!this.#leases.isHolder(session)) return;
    if (this.#isFrozen(directory) || this.#isPromised(directory)) return;
    this.#leases.grant(session, NOTICE_INODE, directory, 0);
  }

  /** Bits for the answer: nobody else has changed the record since. */
  endSums(session: Session, directory: number): number {
    return this.#leases.isHeld(session, NOTICE_INODE, directory, 0) ? LEASE_INODE : 0;
  }

  /** Of a page of a listing: what `listed` grants; flags of its ReadDirReply. */
  listing(session: Session, memory: WireMemory, body: number): number {
    const { listed } = this;
    listed.end();
    if (!this.#leases.isHolder(session)) return 0;
    const { words } = memory;
    const directory = readU53OrZero(words, body + ReadDirRequest.inode);
    const withAttributes = (words[(body + ReadDirRequest.flags) >>> 2]! & LIST_ATTRIBUTES) !== 0;
    if (directory === 0) return 0;
    listed.begin(session, directory, withAttributes);
    if (this.#isPromised(directory) || this.#isFrozen(directory)) return 0;
    const isWhole = this.#leases.isHeld(session, NOTICE_DIRECTORY, directory, 0);
    listed.namesAre(isWhole, withAttributes);
    // Who reads on from the beginning holds all names at the end.
    if (readU53OrZero(words, body + ReadDirRequest.cookie) !== 0) return 0;
    if (!isWhole && this.#isDivided(directory)) return 0;
    if (!this.#leases.grant(session, NOTICE_DIRECTORY, directory, 0)) return 0;
    listed.namesAre(true, withAttributes);
    return LEASE_DIRECTORY;
  }

  /** Entries of it are on their way to another partition. */
  #isFrozen(directory: number): boolean {
    return this.#ns.locks.freeze(directory) !== undefined;
  }

  /** It is in several partitions, which change without each other, or is about to be: not leased. */
  #isDivided(inode: number): boolean {
    if (this.#isFrozen(inode)) return true;
    const record = storedInode(this.#ns.meta, inode);
    return record !== undefined && isDivided(flagsOf(record));
  }

  /** A step of a transaction is prepared here: what is now will not be when it is resolved. */
  #isPromised(inode: number): boolean {
    const { locks } = this.#ns;
    if (locks.size === 0) return false;
    return locks.inode(inode) !== undefined || locks.anyEntry(inode) !== undefined;
  }

  /** A lease of all entries covers each of them. */
  #entry(session: Session, directory: number, hash: number): number {
    if (this.#isPromised(directory)) return 0;
    if (this.#leases.isHeld(session, NOTICE_DIRECTORY, directory, 0)) return LEASE_ENTRY;
    // Of a partition each name by itself: it is recalled with all others before it moves.
    if (this.#isFrozen(directory)) return 0;
    return this.#leases.grant(session, NOTICE_ENTRY, directory, hash) ? LEASE_ENTRY : 0;
  }

  /** Who looks for a name in an empty directory is about to fill it. */
  #emptyDirectory(session: Session, directory: number): number {
    if (this.#isPromised(directory) || !this.#ns.dentries.isEmpty(directory)) return 0;
    // A partition without entries is no directory without them.
    if (this.#isDivided(directory)) return 0;
    return this.#leases.grant(session, NOTICE_DIRECTORY, directory, 0) ? LEASE_DIRECTORY : 0;
  }

  #hash(memory: WireMemory, name: number, nameBytes: number): number {
    return entryHash(this.#ns.dentries.hashOf(memory.bytes, name, nameBytes));
  }

  // ---------------------------------------------------------------- mutations

  /** It has been executed, with status 0. */
  executed(mutation: Mutation): void {
    const { session, opcode } = mutation;
    if (session === undefined || !this.#leases.isHolder(session)) return;
    switch (opcode) {
      case Opcode.Create:
        this.#made(session, mutation, CreateRequest.parent, CreateRequest.nameBytes, CREATE);
        return;
      case Opcode.Symlink:
        this.#made(session, mutation, SymlinkRequest.parent, SymlinkRequest.nameBytes, SYMLINK);
        return;
      case Opcode.MakeDir:
        this.#made(session, mutation, MakeDirRequest.parent, MakeDirRequest.nameBytes, MAKE_DIR);
        return;
      case Opcode.Link:
        this.#made(session, mutation, LinkRequest.parent, LinkRequest.nameBytes, LINK);
        return;
      case Opcode.Unlink:
        this.#keepsDirectory(session, mutation);
        return;
      case Opcode.SetAttr:
      case Opcode.SetXattr:
      case Opcode.RemoveXattr:
      case Opcode.TmpFile:
      case Opcode.Open:
        this.#leaseInode(session, mutation, attributesInode(mutation));
        return;
      default:
    }
  }

  #made(
    session: Session,
    mutation: Mutation,
    parentField: number,
    nameBytesField: number,
    reply: ReplyShape,
  ): void {
    const { memory, body } = mutation;
    mutation.leaseParent = readU53(memory.words, body + parentField);
    const nameBytes = readU16(memory.words, body + nameBytesField);
    mutation.leaseHash = this.#hash(memory, body + reply.name, nameBytes);
    mutation.leases |= this.#entry(session, mutation.leaseParent, mutation.leaseHash);
    this.#leaseInode(session, mutation, reply.inodeOf(mutation));
  }

  /** It tells what the directory's times are now, to who goes on holding them. */
  #keepsDirectory(session: Session, mutation: Mutation): void {
    const directory = readU53(mutation.memory.words, mutation.body + NameRequest.parent);
    if (!this.#leases.isHeld(session, NOTICE_INODE, directory, 0)) return;
    mutation.leaseInode = directory;
    mutation.leases |= LEASE_INODE;
  }

  #leaseInode(session: Session, mutation: Mutation, inode: number): void {
    if (!this.#ns.ownsInode(inode)) return;
    mutation.leaseInode = inode;
    mutation.leases |= this.inode(session, inode);
  }

  /** The bits for its reply, which leaves now. */
  flagsOf(mutation: Mutation): number {
    const { session, leaseParent, leaseHash, leaseInode } = mutation;
    let flags = mutation.leases;
    if (flags === 0 || session === undefined) return 0;
    const leases = this.#leases;
    if (!leases.isHeld(session, NOTICE_INODE, leaseInode, 0)) flags &= ~LEASE_INODE;
    if (!leases.isHeld(session, NOTICE_PAGES, leaseInode, 0)) flags &= ~LEASE_PAGES;
    const hasEntry =
      leases.isHeld(session, NOTICE_ENTRY, leaseParent, leaseHash) ||
      leases.isHeld(session, NOTICE_DIRECTORY, leaseParent, 0);
    return hasEntry ? flags : flags & ~LEASE_ENTRY;
  }

  /** Where the flags stand in the reply to this opcode. */
  flagsField(opcode: number): number {
    if (opcode === Opcode.Unlink) return UnlinkReply.flags;
    return opcode === Opcode.MakeDir || opcode === Opcode.Link
      ? LookupReply.flags
      : AttributesReply.flags;
  }
}

interface ReplyShape {
  /** Offset of the name in the request. */
  name: number;
  inodeOf(mutation: Mutation): number;
}

function attributesInode(mutation: Mutation): number {
  return readU53(
    mutation.out.words,
    mutation.reply + AttributesReply.attributes + Attributes.inode,
  );
}

function lookupInode(mutation: Mutation): number {
  return readU53(mutation.out.words, mutation.reply + LookupReply.inode);
}

const CREATE: ReplyShape = { name: CreateRequest.SIZE, inodeOf: attributesInode };
const SYMLINK: ReplyShape = { name: SymlinkRequest.SIZE, inodeOf: attributesInode };
const MAKE_DIR: ReplyShape = { name: MakeDirRequest.SIZE, inodeOf: lookupInode };
const LINK: ReplyShape = { name: LinkRequest.SIZE, inodeOf: lookupInode };

if (AbsentReply.flags !== 0) throw new Error('grants: layout');
