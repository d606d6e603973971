/**
 * Operations on entries: lookup, mknod, symlink, readlink, link, unlink, rename. (create is with the
 * open handles, mkdir and rmdir in directories.ts.) Each is one request to the target of the directory
 * that gets or loses the name; what lies on other targets is that one's business.
 */
import { ESTALE, errno } from '../common/errno.js';
import { HAS_ATTRIBUTES, LEASE_INODE } from '../protocol/leases.js';
import { writeU16, writeU53, readU53 } from '../protocol/u53.js';
import { symlinkBytesMax } from '../protocol/limits.generated.js';
import {
  AbsentReply,
  Attributes,
  AttributesReply,
  CreateRequest,
  InodeRequest,
  LinkRequest,
  LookupReply,
  NameRequest,
  Opcode,
  RenameRequest,
  SymlinkRequest,
} from '../protocol/wire.generated.js';
import { encodeCreate, encodeInode, encodeName } from './bodies.js';
import type { ClientContext } from './context.js';
import { EntryOperation, RemovalOperation } from './entry-operation.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { UNKNOWN } from './leases/leases.js';
import { CoreOperation, OperationPool, checkName } from './operation.js';
import { NameCopy, answerAbsent, answerEntry } from './request.js';
import type { ClientRequest, NameReference } from './request.js';
import type { SizeTracker } from './size-tracker.js';

/** Operations whose whole answer is one AttributesReply: an entry with an inode beside it. */
abstract class NewFileOperation extends CoreOperation {
  protected readonly name = new NameCopy();
  /** The partition that the name belongs to. */
  protected home = 0;
  parent = 0;

  protected begin(): void {
    this.change.addInode(this.parent);
    this.context.leases.beginName(this.change, this.parent, this.name);
    this.sendAgain();
    this.context.namesAhead.made(this.parent, this.name);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const known = this.context.partitions.home(this.parent, this.name);
    if (this.reroutes(status, this.parent, this.home, known)) return;
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const { context, change, parent } = this;
    const learnt = context.learnCreated(body, parent, this.home, this.name, change);
    const attributes = context.readAttributes(body + AttributesReply.attributes);
    const { inode } = attributes;
    this.endChange(0, null);
    const entryMs = context.leases.nameMs(parent, this.name, inode);
    const attributesMs = context.leases.attributesMs(inode, (learnt & LEASE_INODE) !== 0);
    answerEntry(this.release(), attributes, entryMs, attributesMs);
  }
}

/** RenameRequest.flags */
const RENAME_EXCHANGE = 2;

const LOOKUP = 0;
const LOOKUP_ATTRIBUTES = 1;
/** An entry whose inode is gone whenever it is asked for: damage, not a race with its removal. */
const LOOKUPS_MAX = 16;

/**
 *   Lookup ─┬─ attributes in the reply ──────────────────────────────> entry
 *           ├─ (file being written here: flush) ─┐
 *     ^     └─ inode on another target ──────────┴─> GetAttr ──> entry
 *     └──────────── ESTALE: removed between the two ────┘
 */
class LookupOperation extends CoreOperation implements SizeWaiter {
  tracker!: SizeTracker;
  readonly #name = new NameCopy();
  #step = LOOKUP;
  #parent = 0;
  /** The partition that is asked. */
  #home = 0;
  #inode = 0;
  #file: OpenFile | null = null;
  #lookups = 0;
  /** When the present request was sent, in the time of the marks. */
  #stamp = 0;

  /** `inode`: the one that the name is held to have, UNKNOWN: to be asked for. */
  start(parent: number, name: NameReference, inode: number): void {
    this.#parent = parent;
    this.#name.copyFrom(name);
    this.#lookups = 0;
    if (inode === UNKNOWN) {
      this.#look();
      return;
    }
    this.#inode = inode;
    this.#bringUpToDate();
  }

  #look(): void {
    this.#lookups++;
    this.#step = LOOKUP;
    this.#stamp = this.context.leases.marks.stamp;
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.#home = this.context.partitions.home(this.#parent, this.#name);
    this.send(this.context.peerOfInode(this.#home), Opcode.Lookup, bytes);
  }

  protected override sendAgain(): void {
    this.#look();
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.#step === LOOKUP) return encodeName(arena, body, this.#home, this.#name);
    return encodeInode(arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    if (this.#step === LOOKUP) this.#looked(status, body, bodyBytes);
    else this.#gotAttributes(status, body, bodyBytes);
  }

  #looked(status: number, body: number, bodyBytes: number): void {
    const known = this.context.partitions.home(this.#parent, this.#name);
    if (this.reroutes(status, this.#parent, this.#home, known)) return;
    if (status === errno.ENOENT) {
      this.#absent(body, bodyBytes);
      return;
    }
    const { context } = this;
    const checked = context.checkReply(status, bodyBytes, LookupReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const words = context.arena.words;
    const flags = words[(body + LookupReply.flags) >>> 2]!;
    this.#inode = readU53(words, body + LookupReply.inode);
    const { leases } = context;
    const parent = this.#parent;
    leases.learnName(parent, this.#home, this.#name, this.#inode, flags, this.#stamp, null);
    if ((flags & HAS_ATTRIBUTES) === 0) this.#askAttributes();
    else if (this.context.files.peek(this.#inode)?.mtimeDirty === true) this.#bringUpToDate();
    else this.#reply(body + LookupReply.attributes, flags);
  }

  #absent(body: number, bodyBytes: number): void {
    const { leases, arena } = this.context;
    const parent = this.#parent;
    const told = bodyBytes >= AbsentReply.SIZE;
    const flags = told ? arena.words[(body + AbsentReply.flags) >>> 2]! : 0;
    leases.learnEmpty(parent, flags, this.#stamp);
    leases.learnName(parent, this.#home, this.#name, 0, flags, this.#stamp, null);
    const entryMs = leases.nameMs(parent, this.#name, 0);
    answerAbsent(this.release(), entryMs);
  }

  /** A file that is being written here: its mtime first. */
  #bringUpToDate(): void {
    const file = this.context.files.peek(this.#inode);
    if (file === undefined || this.tracker.flush(file, this)) {
      this.#askAttributes();
      return;
    }
    file.users++;
    this.#file = file;
  }

  sizeUpdated(status: number): void {
    if (this.#file !== null) this.context.files.drop(this.#file);
    this.#file = null;
    if (status !== 0) this.finishError(status);
    else this.#askAttributes();
  }

  #askAttributes(): void {
    this.#step = LOOKUP_ATTRIBUTES;
    this.#stamp = this.context.leases.marks.stamp;
    this.send(this.context.peerOfInode(this.#inode), Opcode.GetAttr, InodeRequest.SIZE);
  }

  #gotAttributes(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    const checked = context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0 && checked !== ESTALE) {
      this.finishError(checked);
      return;
    }
    if (checked === 0) {
      const at = body + AttributesReply.attributes;
      // Without a name: it was removed between the two. The name was held, and is not: who knows.
      const named = this.#lookups > 0 || this.#isHeld();
      if (named && context.arena.words[(at + Attributes.linkCount) >>> 2] !== 0) {
        this.#reply(at, context.arena.words[(body + AttributesReply.flags) >>> 2]!);
        return;
      }
      context.readAttributes(at);
    }
    if (this.#lookups < LOOKUPS_MAX) this.#look();
    else this.finishError(ESTALE);
  }

  #isHeld(): boolean {
    return this.context.leases.find(this.#parent, this.#name) === this.#inode;
  }

  #reply(at: number, flags: number): void {
    const { leases } = this.context;
    const attributes = this.context.readAttributes(at);
    const held = leases.learnInode(at, flags, this.#stamp, null);
    const attributesMs = leases.attributesMs(attributes.inode, held);
    const entryMs = leases.nameMs(this.#parent, this.#name, this.#inode);
    answerEntry(this.release(), attributes, entryMs, attributesMs);
  }
}

class MakeNodeOperation extends NewFileOperation {
  mode = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  flags = 0;
  umask = 0;

  start(name: NameReference): void {
    this.name.copyFrom(name);
    this.begin();
  }

  protected override sendAgain(): void {
    const bytes = CreateRequest.SIZE + this.name.lengthBytes;
    this.home = this.homeOf(this.parent, this.name);
    this.send(this.context.peerOfInode(this.home), Opcode.Create, bytes);
  }

  override encode(body: number): number {
    return encodeCreate(this.context.arena, body, this.home, this, this.name);
  }
}

class SymlinkOperation extends NewFileOperation {
  readonly #target = new Uint8Array(symlinkBytesMax);
  #targetBytes = 0;
  #uid = 0;
  #gid = 0;

  start(request: ClientRequest, parent: number, name: NameReference, target: NameReference): void {
    this.parent = parent;
    this.#uid = request.uid;
    this.#gid = request.gid;
    this.name.copyFrom(name);
    const length = target.lengthBytes;
    for (let i = 0; i < length; i++) this.#target[i] = target.bytes[target.offset + i]!;
    this.#targetBytes = length;
    this.begin();
  }

  protected override sendAgain(): void {
    const bytes = SymlinkRequest.SIZE + this.name.lengthBytes + this.#targetBytes;
    this.home = this.homeOf(this.parent, this.name);
    this.send(this.context.peerOfInode(this.home), Opcode.Symlink, bytes);
  }

  override encode(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + SymlinkRequest.parent, this.home);
    words[(body + SymlinkRequest.uid) >>> 2] = this.#uid;
    words[(body + SymlinkRequest.gid) >>> 2] = this.#gid;
    writeU16(words, body + SymlinkRequest.nameBytes, this.name.lengthBytes);
    writeU16(words, body + SymlinkRequest.targetBytes, this.#targetBytes);
    words[(body + SymlinkRequest.reserved) >>> 2] = 0;
    this.name.writeTo(bytes, body + SymlinkRequest.SIZE);
    const at = body + SymlinkRequest.SIZE + this.name.lengthBytes;
    for (let i = 0; i < this.#targetBytes; i++) bytes[at + i] = this.#target[i]!;
    return at + this.#targetBytes - body;
  }
}

class LinkOperation extends EntryOperation {
  #inode = 0;

  start(inode: number, parent: number, name: NameReference): void {
    this.#inode = inode;
    this.change.addInode(inode);
    this.begin(parent, name, Opcode.Link, LinkRequest.SIZE);
  }

  override encodeRequest(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + LinkRequest.inode, this.#inode);
    writeU53(words, body + LinkRequest.parent, this.home);
    words[(body + LinkRequest.nameBytes) >>> 2] = this.name.lengthBytes;
    words[(body + LinkRequest.reserved1) >>> 2] = 0;
    this.name.writeTo(bytes, body + LinkRequest.SIZE);
    return LinkRequest.SIZE + this.name.lengthBytes;
  }
}

class ReadLinkOperation extends CoreOperation {
  #inode = 0;

  start(inode: number): void {
    this.#inode = inode;
    this.send(this.context.peerOfInode(inode), Opcode.ReadLink, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    if (status !== 0) {
      this.finishError(status);
      return;
    }
    // The body is the target, padded with zeros; a target has none.
    const bytes = this.context.arena.bytes;
    this.context.accessTimes.note(this.#inode);
    let length = bodyBytes;
    while (length > 0 && bytes[body + length - 1] === 0) length--;
    this.release()?.replyText(body, length);
  }
}

class UnlinkOperation extends RemovalOperation {
  protected override readonly opcodeOfRemoval = Opcode.Unlink;
}

class RenameOperation extends CoreOperation {
  readonly #oldName = new NameCopy();
  readonly #newName = new NameCopy();
  oldParent = 0;
  newParent = 0;
  flags = 0;
  #oldHome = 0;
  #newHome = 0;
  #asksOld = false;
  /** The inodes of the two names, as far as they are known. */
  #moved = UNKNOWN;
  #replaced = UNKNOWN;

  start(oldName: NameReference, newName: NameReference): void {
    this.#oldName.copyFrom(oldName);
    this.#newName.copyFrom(newName);
    this.#asksOld = false;
    this.#begin();
    this.sendAgain();
  }

  #begin(): void {
    const { change, oldParent, newParent } = this;
    const { leases } = this.context;
    this.#moved = leases.find(oldParent, this.#oldName);
    this.#replaced = leases.find(newParent, this.#newName);
    change.addInode(oldParent);
    if (newParent !== oldParent) change.addInode(newParent);
    leases.beginName(change, oldParent, this.#oldName);
    leases.beginName(change, newParent, this.#newName);
    if (this.#moved > 0) change.addInode(this.#moved);
    if (this.#replaced > 0) change.addInode(this.#replaced);
    if (this.#moved <= 0 || this.#replaced === UNKNOWN) change.addBlind();
  }

  /** Two names of one inode both stay, so nothing is known of the names unless both inodes are. */
  #renamed(): void {
    const { change } = this;
    const { leases } = this.context;
    const moved = this.#moved;
    const replaced = this.#replaced;
    // What the names had when it began they had when it happened, unless they were recalled since.
    const isHeld =
      change.areNamesQuiet && leases.isTrusted(this.#oldHome) && leases.isTrusted(this.#newHome);
    const isKnown = isHeld && moved > 0 && replaced !== UNKNOWN && moved !== replaced;
    const exchanged = (this.flags & RENAME_EXCHANGE) !== 0;
    const left = exchanged ? replaced : 0;
    leases.outdateUnknown(change, moved > 0 && replaced !== UNKNOWN);
    leases.nameChanged(this.#oldHome, this.#oldName, isKnown ? left : null, change);
    leases.nameChanged(this.#newHome, this.#newName, isKnown ? moved : null, change);
  }

  protected override sendAgain(): void {
    const { context } = this;
    const { oldParent, newParent } = this;
    this.#oldHome = this.homeOf(oldParent, this.#oldName);
    this.#newHome = this.homeOf(newParent, this.#newName);
    const bytes = RenameRequest.SIZE + this.#oldName.lengthBytes + this.#newName.lengthBytes;
    this.send(context.peerOfInode(this.#newHome), Opcode.Rename, bytes);
  }

  override encode(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + RenameRequest.oldParent, this.#oldHome);
    writeU53(words, body + RenameRequest.newParent, this.#newHome);
    writeU53(words, body + RenameRequest.oldDirectory, this.oldParent);
    writeU16(words, body + RenameRequest.oldNameBytes, this.#oldName.lengthBytes);
    writeU16(words, body + RenameRequest.newNameBytes, this.#newName.lengthBytes);
    words[(body + RenameRequest.flags) >>> 2] = this.flags;
    writeU53(words, body + RenameRequest.root, this.context.root);
    this.#oldName.writeTo(bytes, body + RenameRequest.SIZE);
    this.#newName.writeTo(bytes, body + RenameRequest.SIZE + this.#oldName.lengthBytes);
    return RenameRequest.SIZE + this.#oldName.lengthBytes + this.#newName.lengthBytes;
  }

  /** Nobody says which of the two names has moved: the tables are asked for in turn. */
  override done(status: number): void {
    const { partitions } = this.context;
    const { oldParent, newParent } = this;
    const oldKnown = partitions.home(oldParent, this.#oldName);
    const newKnown = partitions.home(newParent, this.#newName);
    const isOldKnown = oldKnown !== this.#oldHome;
    const isNewKnown = newKnown !== this.#newHome;
    // What is known already comes first.
    const asksOld = isOldKnown || (!isNewKnown && this.#asksOld);
    this.#asksOld = !asksOld;
    const isMoved = asksOld
      ? this.reroutes(status, oldParent, this.#oldHome, oldKnown)
      : this.reroutes(status, newParent, this.#newHome, newKnown);
    if (isMoved || this.#isOther(status, asksOld)) return;
    if (status === 0) this.#renamed();
    this.endChange(status, this.peer);
    if (status === 0 && this.request !== null) this.request.entryValidMs = this.#namesMs();
    this.finishDone(status);
  }

  /** For how long both names, as they are now, may be believed. */
  #namesMs(): number {
    const { leases } = this.context;
    const nameMs = (directory: number, name: NameCopy, inode: number): number =>
      inode > 0 || !leases.enabled ? leases.nameMs(directory, name, inode) : 0;
    const newMs = nameMs(this.newParent, this.#newName, this.#moved);
    if ((this.flags & RENAME_EXCHANGE) === 0) return newMs;
    return Math.min(newMs, nameMs(this.oldParent, this.#oldName, this.#replaced));
  }

  /** ESTALE may be that of the other side's partition. */
  #isOther(status: number, askedOld: boolean): boolean {
    const { partitions } = this.context;
    if (askedOld) {
      const known = partitions.home(this.newParent, this.#newName);
      return this.reroutes(status, this.newParent, this.#newHome, known);
    }
    const known = partitions.home(this.oldParent, this.#oldName);
    return this.reroutes(status, this.oldParent, this.#oldHome, known);
  }
}

export class Namespace {
  readonly #context: ClientContext;
  readonly #lookup: OperationPool<LookupOperation>;
  readonly #makeNode: OperationPool<MakeNodeOperation>;
  readonly #symlink: OperationPool<SymlinkOperation>;
  readonly #readLink: OperationPool<ReadLinkOperation>;
  readonly #link: OperationPool<LinkOperation>;
  readonly #unlink: OperationPool<UnlinkOperation>;
  readonly #rename: OperationPool<RenameOperation>;

  constructor(context: ClientContext, tracker: SizeTracker) {
    this.#context = context;
    this.#lookup = new OperationPool((pool) => {
      const operation = new LookupOperation(context, pool);
      operation.tracker = tracker;
      return operation;
    });
    this.#makeNode = new OperationPool((pool) => new MakeNodeOperation(context, pool));
    this.#symlink = new OperationPool((pool) => new SymlinkOperation(context, pool));
    this.#readLink = new OperationPool((pool) => new ReadLinkOperation(context, pool));
    this.#link = new OperationPool((pool) => new LinkOperation(context, pool));
    this.#unlink = new OperationPool((pool) => new UnlinkOperation(context, pool));
    this.#rename = new OperationPool((pool) => new RenameOperation(context, pool));
  }

  lookup(request: ClientRequest, parent: number, name: NameReference): void {
    const status = checkName(name);
    if (status !== 0) {
      request.replyError(status);
      return;
    }
    const { leases } = this.#context;
    this.#context.lookups.add(parent);
    const inode = leases.find(parent, name);
    if (inode === 0) {
      leases.counters.absentAnswered++;
      answerAbsent(request, leases.heldNameMs(parent, name));
      return;
    }
    if (inode > 0) {
      leases.counters.namesAnswered++;
      const held = this.#context.heldAttributes(inode);
      if (held !== null) {
        const entryMs = leases.heldNameMs(parent, name);
        answerEntry(request, held, entryMs, leases.kernelMs(inode));
        return;
      }
      const permissions = this.#context.heldPermissions(inode, request);
      if (permissions !== null) {
        answerEntry(request, permissions, leases.kernelMs(parent), 0);
        return;
      }
    }
    this.#lookup.take(request).start(parent, name, inode);
  }

  /** A regular file, fifo, socket or device, without opening it; EEXIST if the name is taken. */
  makeNode(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    mode: number,
    rdev: number,
    exclusiveFlag: number,
  ): void {
    const status = checkName(name);
    if (status !== 0) {
      request.replyError(status);
      return;
    }
    const operation = this.#makeNode.take(request);
    operation.parent = parent;
    operation.mode = mode;
    operation.uid = request.uid;
    operation.gid = request.gid;
    operation.rdev = rdev;
    operation.umask = request.umask;
    operation.flags = exclusiveFlag;
    operation.start(name);
  }

  symlink(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    target: NameReference,
  ): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else if (target.lengthBytes === 0) request.replyError(errno.ENOENT);
    else if (target.lengthBytes > symlinkBytesMax) request.replyError(errno.ENAMETOOLONG);
    else this.#symlink.take(request).start(request, parent, name, target);
  }

  readLink(request: ClientRequest, inode: number): void {
    this.#readLink.take(request).start(inode);
  }

  link(request: ClientRequest, inode: number, parent: number, name: NameReference): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#link.take(request).start(inode, parent, name);
  }

  unlink(request: ClientRequest, parent: number, name: NameReference): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#unlink.take(request).start(parent, name);
  }

  /** `flags`: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2. */
  rename(
    request: ClientRequest,
    oldParent: number,
    oldName: NameReference,
    newParent: number,
    newName: NameReference,
    flags: number,
  ): void {
    const status = checkName(oldName) || checkName(newName);
    if (status !== 0) {
      request.replyError(status);
      return;
    }
    const operation = this.#rename.take(request);
    operation.oldParent = oldParent;
    operation.newParent = newParent;
    operation.flags = flags;
    operation.start(oldName, newName);
  }

  interrupt(request: ClientRequest): void {
    this.#lookup.interrupt(request);
    this.#makeNode.interrupt(request);
    this.#symlink.interrupt(request);
    this.#readLink.interrupt(request);
    this.#link.interrupt(request);
    this.#unlink.interrupt(request);
    this.#rename.interrupt(request);
  }
}
