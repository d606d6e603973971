/**
 * mkdir and rmdir: a directory's inode and its entry live on two targets, so each is two steps in
 * an order that leaves, when it is cut in two, at worst an entry without inode. Such an entry is
 * nowhere visible (lookup finds it, removes it, answers ENOENT), and mkdir may replace it.
 *
 *   mkdir: MakeDirInode ──> LinkDirEntry ─┬─ ok ──> (parent is set-group-ID: SetAttr) ──> entry
 *                             ▲           ├─ EEXIST ──> Lookup ──> GetAttr ─┬─ ESTALE ──┐
 *                             └───────────┼── replacing the dangling entry ─┼───────────┘
 *                                         └─ failed ──> DropDirInode <──────┘ ──> error
 *   rmdir: Lookup ──> DropDirInode (ENOTEMPTY …) ──> UnlinkDirEntry
 */
import { ESTALE, errno } from '../common/errno.js';
import { directoryBucket } from '../placement/inode-number.js';
import { nameHash44 } from '../placement/hash.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  AttributesReply,
  DropDirInodeRequest,
  InodeRequest,
  LinkDirEntryReply,
  LinkDirEntryRequest,
  LookupReply,
  MakeDirInodeRequest,
  NameRequest,
  Opcode,
  SetAttrRequest,
  UnlinkDirEntryRequest,
} from '../protocol/wire.generated.js';
import {
  AttributeChange,
  SET_GID,
  SET_MODE,
  S_IFDIR,
  S_IFMT,
  S_ISGID,
  ownedAttributes,
} from './attributes.js';
import {
  encodeInode,
  encodeLinkDirEntry,
  encodeName,
  encodeSetAttr,
  encodeUnlinkDirEntry,
} from './bodies.js';
import type { ClientContext } from './context.js';
import { CoreOperation, OperationPool, checkName } from './operation.js';
import { NameCopy } from './request.js';
import type { ClientRequest, NameReference } from './request.js';

const MAKE_INODE = 0;
const MAKE_LINK = 1;
const MAKE_LOOKUP = 2;
const MAKE_CHECK = 3;
const MAKE_GROUP = 4;
const MAKE_DROP = 5;

class MakeDirectoryOperation extends CoreOperation {
  readonly #name = new NameCopy();
  readonly #attributes = ownedAttributes();
  readonly #change = new AttributeChange();
  #step = MAKE_INODE;
  #parent = 0;
  #bucket = 0;
  #mode = 0;
  #uid = 0;
  #gid = 0;
  #inode = 0;
  /** Of the entry in the way. */
  #otherInode = 0;
  /** Nonzero once the entry in the way is known to dangle. */
  #staleInode = 0;
  /** What is answered after the undoing. */
  #failure = 0;

  start(request: ClientRequest, parent: number, name: NameReference, mode: number): void {
    this.#name.copyFrom(name);
    this.#parent = parent;
    this.#mode = S_IFDIR | (mode & 0o7777);
    this.#uid = request.uid;
    this.#gid = request.gid;
    this.#staleInode = 0;
    const hash = nameHash44(this.#name.bytes, 0, this.#name.lengthBytes);
    this.#bucket = directoryBucket(parent, hash, 0);
    this.#step = MAKE_INODE;
    const peer = this.context.peerOfBucket(this.#bucket);
    this.send(peer, Opcode.MakeDirInode, MakeDirInodeRequest.SIZE);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    switch (this.#step) {
      case MAKE_INODE:
        return this.#encodeMake(body);
      case MAKE_LINK:
        return encodeLinkDirEntry(
          arena,
          body,
          this.#parent,
          this.#inode,
          this.#name,
          this.#staleInode,
        );
      case MAKE_LOOKUP:
        return encodeName(arena, body, this.#parent, this.#name);
      case MAKE_CHECK:
        return encodeInode(arena, body, this.#otherInode);
      case MAKE_GROUP:
        return encodeSetAttr(arena, body, this.#inode, this.#change);
      default:
        return encodeInode(arena, body, this.#inode);
    }
  }

  #encodeMake(body: number): number {
    const words = this.context.arena.words;
    words[(body + MakeDirInodeRequest.bucket) >>> 2] = this.#bucket;
    words[(body + MakeDirInodeRequest.mode) >>> 2] = this.#mode;
    words[(body + MakeDirInodeRequest.uid) >>> 2] = this.#uid;
    words[(body + MakeDirInodeRequest.gid) >>> 2] = this.#gid;
    writeU53(words, body + MakeDirInodeRequest.parent, this.#parent);
    return MakeDirInodeRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    switch (this.#step) {
      case MAKE_INODE:
        this.#madeInode(status, body, bodyBytes);
        break;
      case MAKE_LINK:
        this.#linked(status, body, bodyBytes);
        break;
      case MAKE_LOOKUP:
        this.#lookedUp(status, body, bodyBytes);
        break;
      case MAKE_CHECK:
        if (status === ESTALE) {
          this.context.counters.danglingEntries++;
          this.#link(this.#otherInode);
        } else {
          this.#undo(errno.EEXIST);
        }
        break;
      case MAKE_GROUP:
        this.#groupSet(status, body, bodyBytes);
        break;
      default:
        this.finishError(this.#failure);
    }
  }

  #madeInode(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const attributes = this.context.readAttributes(body + AttributesReply.attributes);
    this.#attributes.copyFrom(attributes);
    this.#inode = attributes.inode;
    this.#link(0);
  }

  #link(staleInode: number): void {
    this.#staleInode = staleInode;
    this.#step = MAKE_LINK;
    const bytes = LinkDirEntryRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#parent), Opcode.LinkDirEntry, bytes);
  }

  #linked(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, LinkDirEntryReply.SIZE);
    if (checked === errno.EEXIST && this.#staleInode === 0) {
      this.#step = MAKE_LOOKUP;
      const bytes = NameRequest.SIZE + this.#name.lengthBytes;
      this.send(this.context.peerOfInode(this.#parent), Opcode.Lookup, bytes);
      return;
    }
    if (checked !== 0) {
      this.#undo(checked === ESTALE ? errno.ENOENT : checked);
      return;
    }
    const words = this.context.arena.words;
    const parentMode = words[(body + LinkDirEntryReply.parentMode) >>> 2]!;
    if ((parentMode & S_ISGID) === 0) {
      const attributes = this.context.lendAttributes(this.#attributes);
      this.release()?.replyEntry(attributes);
      return;
    }
    this.#change.valid = SET_MODE | SET_GID;
    this.#change.mode = (this.#mode & 0o7777) | S_ISGID;
    this.#change.gid = words[(body + LinkDirEntryReply.parentGid) >>> 2]!;
    this.#step = MAKE_GROUP;
    this.send(this.context.peerOfInode(this.#inode), Opcode.SetAttr, SetAttrRequest.SIZE);
  }

  #lookedUp(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, LookupReply.SIZE);
    if (checked === errno.ENOENT) {
      // Removed between the two questions.
      this.#link(0);
      return;
    }
    const words = this.context.arena.words;
    if (checked !== 0 || words[(body + LookupReply.hasAttributes) >>> 2] !== 0) {
      this.#undo(checked === 0 ? errno.EEXIST : checked);
      return;
    }
    this.#otherInode = readU53(words, body + LookupReply.inode);
    this.#step = MAKE_CHECK;
    this.send(this.context.peerOfInode(this.#otherInode), Opcode.GetAttr, InodeRequest.SIZE);
  }

  #groupSet(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const attributes = this.context.readAttributes(body + AttributesReply.attributes);
    this.release()?.replyEntry(attributes);
  }

  /**
   * Without an answer the entry may stand all the same; dropping the inode then leaves an entry
   * that dangles, which heals, where keeping it could leave an inode that nothing finds.
   */
  #undo(failure: number): void {
    this.#failure = failure;
    this.#step = MAKE_DROP;
    const peer = this.context.peerOfInode(this.#inode);
    this.send(peer, Opcode.DropDirInode, DropDirInodeRequest.SIZE);
  }
}

const REMOVE_LOOKUP = 0;
const REMOVE_INODE = 1;
const REMOVE_ENTRY = 2;

class RemoveDirectoryOperation extends CoreOperation {
  readonly #name = new NameCopy();
  #step = REMOVE_LOOKUP;
  #parent = 0;
  #inode = 0;

  start(parent: number, name: NameReference): void {
    this.#name.copyFrom(name);
    this.#parent = parent;
    this.#step = REMOVE_LOOKUP;
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(parent), Opcode.Lookup, bytes);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.#step === REMOVE_LOOKUP) return encodeName(arena, body, this.#parent, this.#name);
    if (this.#step === REMOVE_INODE) return encodeInode(arena, body, this.#inode);
    return encodeUnlinkDirEntry(arena, body, this.#parent, this.#inode, this.#name);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    if (this.#step === REMOVE_LOOKUP) this.#lookedUp(status, body, bodyBytes);
    else if (this.#step === REMOVE_INODE) this.#dropped(status);
    // Whoever met the entry meanwhile may have removed it: it dangled.
    else this.finishDone(status === errno.ENOENT ? 0 : status);
  }

  #lookedUp(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, LookupReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const words = this.context.arena.words;
    if ((words[(body + LookupReply.mode) >>> 2]! & S_IFMT) !== S_IFDIR) {
      this.finishError(errno.ENOTDIR);
      return;
    }
    this.#inode = readU53(words, body + LookupReply.inode);
    this.#step = REMOVE_INODE;
    const peer = this.context.peerOfInode(this.#inode);
    this.send(peer, Opcode.DropDirInode, DropDirInodeRequest.SIZE);
  }

  #dropped(status: number): void {
    if (status !== 0 && status !== ESTALE) {
      this.finishError(status);
      return;
    }
    this.#step = REMOVE_ENTRY;
    const bytes = UnlinkDirEntryRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#parent), Opcode.UnlinkDirEntry, bytes);
  }
}

export class Directories {
  readonly #make: OperationPool<MakeDirectoryOperation>;
  readonly #remove: OperationPool<RemoveDirectoryOperation>;

  constructor(context: ClientContext) {
    this.#make = new OperationPool((pool) => new MakeDirectoryOperation(context, pool));
    this.#remove = new OperationPool((pool) => new RemoveDirectoryOperation(context, pool));
  }

  makeDirectory(request: ClientRequest, parent: number, name: NameReference, mode: number): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#make.take(request).start(request, parent, name, mode);
  }

  removeDirectory(request: ClientRequest, parent: number, name: NameReference): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#remove.take(request).start(parent, name);
  }

  interrupt(request: ClientRequest): void {
    this.#make.interrupt(request);
    this.#remove.interrupt(request);
  }
}
