/**
 * Operations on entries: lookup, mknod, symlink, readlink, link, unlink, rename. (create is with the
 * open handles, mkdir and rmdir in directories.ts.) Each is one request to the target of the directory
 * that gets or loses the name; what lies on other targets is that one's business.
 */
import { ESTALE, errno } from '../common/errno.js';
import { writeU16, writeU53, readU53 } from '../protocol/u53.js';
import { symlinkBytesMax } from '../protocol/limits.generated.js';
import {
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
import type { FileAttributes } from './attributes.js';
import { encodeCreate, encodeInode, encodeName } from './bodies.js';
import type { ClientContext } from './context.js';
import { EntryOperation } from './entry-operation.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { CoreOperation, OperationPool, checkName } from './operation.js';
import { NameCopy } from './request.js';
import type { ClientRequest, NameReference } from './request.js';
import type { SizeTracker } from './size-tracker.js';

/** Operations whose whole answer is one AttributesReply: an entry with an inode beside it. */
abstract class NewFileOperation extends CoreOperation {
  override done(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const attributes = this.context.readAttributes(body + AttributesReply.attributes);
    this.release()?.replyEntry(attributes);
  }
}

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
  #inode = 0;
  #file: OpenFile | null = null;
  #lookups = 0;

  start(parent: number, name: NameReference): void {
    this.#parent = parent;
    this.#name.copyFrom(name);
    this.#lookups = 0;
    this.#look();
  }

  #look(): void {
    this.#lookups++;
    this.#step = LOOKUP;
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#parent), Opcode.Lookup, bytes);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.#step === LOOKUP) return encodeName(arena, body, this.#parent, this.#name);
    return encodeInode(arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    if (this.#step === LOOKUP) this.#looked(status, body, bodyBytes);
    else this.#gotAttributes(status, body, bodyBytes);
  }

  #looked(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, LookupReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const words = this.context.arena.words;
    this.#inode = readU53(words, body + LookupReply.inode);
    if (words[(body + LookupReply.hasAttributes) >>> 2] !== 0) {
      const file = this.context.files.peek(this.#inode);
      if (file === undefined || this.tracker.flush(file, this)) {
        this.#reply(this.context.readAttributes(body + LookupReply.attributes));
        return;
      }
      file.users++;
      this.#file = file;
      return;
    }
    this.#askAttributes();
  }

  sizeUpdated(status: number): void {
    if (this.#file !== null) this.context.files.drop(this.#file);
    this.#file = null;
    if (status !== 0) this.finishError(status);
    else this.#askAttributes();
  }

  #askAttributes(): void {
    this.#step = LOOKUP_ATTRIBUTES;
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
      const attributes = context.readAttributes(body + AttributesReply.attributes);
      // Without a name: it was removed between the two.
      if (attributes.linkCount > 0) {
        this.#reply(attributes);
        return;
      }
    }
    if (this.#lookups < LOOKUPS_MAX) this.#look();
    else this.finishError(ESTALE);
  }

  #reply(attributes: FileAttributes): void {
    this.release()?.replyEntry(attributes);
  }
}

class MakeNodeOperation extends NewFileOperation {
  readonly #name = new NameCopy();
  parent = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  flags = 0;
  umask = 0;

  start(name: NameReference): void {
    this.#name.copyFrom(name);
    const bytes = CreateRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.parent), Opcode.Create, bytes);
  }

  override encode(body: number): number {
    return encodeCreate(this.context.arena, body, this, this.#name);
  }
}

class SymlinkOperation extends NewFileOperation {
  readonly #name = new NameCopy();
  readonly #target = new Uint8Array(symlinkBytesMax);
  #targetBytes = 0;
  #parent = 0;
  #uid = 0;
  #gid = 0;

  start(request: ClientRequest, parent: number, name: NameReference, target: NameReference): void {
    this.#parent = parent;
    this.#uid = request.uid;
    this.#gid = request.gid;
    this.#name.copyFrom(name);
    const length = target.lengthBytes;
    for (let i = 0; i < length; i++) this.#target[i] = target.bytes[target.offset + i]!;
    this.#targetBytes = length;
    const bytes = SymlinkRequest.SIZE + this.#name.lengthBytes + length;
    this.send(this.context.peerOfInode(parent), Opcode.Symlink, bytes);
  }

  override encode(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + SymlinkRequest.parent, this.#parent);
    words[(body + SymlinkRequest.uid) >>> 2] = this.#uid;
    words[(body + SymlinkRequest.gid) >>> 2] = this.#gid;
    writeU16(words, body + SymlinkRequest.nameBytes, this.#name.lengthBytes);
    writeU16(words, body + SymlinkRequest.targetBytes, this.#targetBytes);
    words[(body + SymlinkRequest.reserved) >>> 2] = 0;
    this.#name.writeTo(bytes, body + SymlinkRequest.SIZE);
    const at = body + SymlinkRequest.SIZE + this.#name.lengthBytes;
    for (let i = 0; i < this.#targetBytes; i++) bytes[at + i] = this.#target[i]!;
    return at + this.#targetBytes - body;
  }
}

class LinkOperation extends EntryOperation {
  readonly #name = new NameCopy();
  #inode = 0;
  #parent = 0;

  start(inode: number, parent: number, name: NameReference): void {
    this.#inode = inode;
    this.#parent = parent;
    this.#name.copyFrom(name);
    const bytes = LinkRequest.SIZE + this.#name.lengthBytes;
    this.begin(this.context.peerOfInode(parent), Opcode.Link, bytes);
  }

  override encodeRequest(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + LinkRequest.inode, this.#inode);
    writeU53(words, body + LinkRequest.parent, this.#parent);
    words[(body + LinkRequest.nameBytes) >>> 2] = this.#name.lengthBytes;
    words[(body + LinkRequest.reserved1) >>> 2] = 0;
    this.#name.writeTo(bytes, body + LinkRequest.SIZE);
    return LinkRequest.SIZE + this.#name.lengthBytes;
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

class UnlinkOperation extends CoreOperation {
  readonly #name = new NameCopy();
  #parent = 0;

  start(parent: number, name: NameReference): void {
    this.#parent = parent;
    this.#name.copyFrom(name);
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(parent), Opcode.Unlink, bytes);
  }

  override encode(body: number): number {
    return encodeName(this.context.arena, body, this.#parent, this.#name);
  }

  override done(status: number): void {
    this.finishDone(status);
  }
}

class RenameOperation extends CoreOperation {
  readonly #oldName = new NameCopy();
  readonly #newName = new NameCopy();
  oldParent = 0;
  newParent = 0;
  flags = 0;

  start(oldName: NameReference, newName: NameReference): void {
    this.#oldName.copyFrom(oldName);
    this.#newName.copyFrom(newName);
    const bytes = RenameRequest.SIZE + oldName.lengthBytes + newName.lengthBytes;
    this.send(this.context.peerOfInode(this.newParent), Opcode.Rename, bytes);
  }

  override encode(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + RenameRequest.oldParent, this.oldParent);
    writeU53(words, body + RenameRequest.newParent, this.newParent);
    writeU16(words, body + RenameRequest.oldNameBytes, this.#oldName.lengthBytes);
    writeU16(words, body + RenameRequest.newNameBytes, this.#newName.lengthBytes);
    words[(body + RenameRequest.flags) >>> 2] = this.flags;
    writeU53(words, body + RenameRequest.root, this.context.root);
    this.#oldName.writeTo(bytes, body + RenameRequest.SIZE);
    this.#newName.writeTo(bytes, body + RenameRequest.SIZE + this.#oldName.lengthBytes);
    return RenameRequest.SIZE + this.#oldName.lengthBytes + this.#newName.lengthBytes;
  }

  override done(status: number): void {
    this.finishDone(status);
  }
}

export class Namespace {
  readonly #lookup: OperationPool<LookupOperation>;
  readonly #makeNode: OperationPool<MakeNodeOperation>;
  readonly #symlink: OperationPool<SymlinkOperation>;
  readonly #readLink: OperationPool<ReadLinkOperation>;
  readonly #link: OperationPool<LinkOperation>;
  readonly #unlink: OperationPool<UnlinkOperation>;
  readonly #rename: OperationPool<RenameOperation>;

  constructor(context: ClientContext, tracker: SizeTracker) {
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
    if (status !== 0) request.replyError(status);
    else this.#lookup.take(request).start(parent, name);
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
