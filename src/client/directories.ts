/**
 * mkdir and rmdir: a directory's inode and its entry live on two targets, so each is two steps in
 * an order that leaves, when it is cut in two, at worst an entry without inode. Such an entry is
 * nowhere visible (lookup finds it, removes it, answers ENOENT), and mkdir may replace it.
 *
 *   mkdir: MakeDirInode ──> LinkDirEntry ─┬─ ok ──> entry
 *            ▲                ▲           ├─ EAGAIN ──> DropDirInode ──> inherit
 *         inherit             │           ├─ EEXIST ──> Lookup ──> GetAttr ─┬─ ESTALE ──┐
 *                             └───────────┼── replacing the dangling entry ─┼───────────┘
 *                                         └─ failed ──> DropDirInode <──────┘ ──> error
 *   inherit: GetAttr of the parent ──> (it has a default ACL: GetXattr) ──> MakeDirInode
 *   rmdir: Lookup ──> DropDirInode (ENOTEMPTY …) ──> UnlinkDirEntry
 */
import { ESTALE, errno } from '../common/errno.js';
import { directoryBucket } from '../placement/inode-number.js';
import { nameHash44 } from '../placement/hash.js';
import { aclBytesMax } from '../protocol/limits.generated.js';
import { inheritAcl, isAcl } from '../protocol/posix-acl.js';
import { readU53, writeU16, writeU53 } from '../protocol/u53.js';
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
  UnlinkDirEntryRequest,
  XattrReply,
  XattrRequest,
} from '../protocol/wire.generated.js';
import { FLAG_DEFAULT_ACL, S_IFDIR, S_IFMT, S_ISGID, ownedAttributes } from './attributes.js';
import { encodeInode, encodeLinkDirEntry, encodeName, encodeUnlinkDirEntry } from './bodies.js';
import type { ClientContext } from './context.js';
import { CoreOperation, OperationPool, checkName } from './operation.js';
import { NameCopy } from './request.js';
import type { ClientRequest, NameReference } from './request.js';

const MAKE_INODE = 0;
const MAKE_LINK = 1;
const MAKE_LOOKUP = 2;
const MAKE_CHECK = 3;
const MAKE_DROP = 4;
const MAKE_PARENT = 5;
const MAKE_ACL = 6;
const S_PERMISSIONS = 0o777;

const defaultAcl = Buffer.from('system.posix_acl_default');
const noAcl: Uint8Array = new Uint8Array(0);

class MakeDirectoryOperation extends CoreOperation {
  readonly #name = new NameCopy();
  readonly #attributes = ownedAttributes();
  #step = MAKE_INODE;
  #parent = 0;
  #bucket = 0;
  /** As asked for, and as it will be. */
  #askedMode = 0;
  #mode = 0;
  #umask = 0;
  #uid = 0;
  #gid = 0;
  /** The parent was asked what a new directory gets from it. */
  #inherited = false;
  #accessAcl = noAcl;
  #defaultAcl = noAcl;
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
    this.#askedMode = S_IFDIR | (mode & 0o7777);
    this.#umask = request.umask & S_PERMISSIONS;
    this.#mode = this.#askedMode & ~this.#umask;
    this.#inherited = false;
    this.#accessAcl = noAcl;
    this.#defaultAcl = noAcl;
    this.#uid = request.uid;
    this.#gid = request.gid;
    this.#staleInode = 0;
    const hash = nameHash44(this.#name.bytes, 0, this.#name.lengthBytes);
    this.#bucket = directoryBucket(parent, hash, 0);
    if (this.context.facts.bequeaths(parent)) this.#inherit();
    else this.#make();
  }

  #make(): void {
    this.#step = MAKE_INODE;
    const peer = this.context.peerOfBucket(this.#bucket);
    const aclBytes = this.#accessAcl.length + this.#defaultAcl.length;
    this.send(peer, Opcode.MakeDirInode, MakeDirInodeRequest.SIZE + aclBytes);
  }

  #inherit(): void {
    this.#inherited = true;
    this.#step = MAKE_PARENT;
    this.send(this.context.peerOfInode(this.#parent), Opcode.GetAttr, InodeRequest.SIZE);
  }

  #gotParent(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked === ESTALE ? errno.ENOENT : checked);
      return;
    }
    const parent = this.context.readAttributes(body + AttributesReply.attributes);
    if ((parent.mode & S_ISGID) !== 0) {
      this.#gid = parent.gid;
      this.#askedMode |= S_ISGID;
      this.#mode |= S_ISGID;
    }
    if ((parent.flags & FLAG_DEFAULT_ACL) === 0) {
      this.#make();
      return;
    }
    this.#step = MAKE_ACL;
    const bytes = XattrRequest.SIZE + defaultAcl.length;
    this.send(this.context.peerOfInode(this.#parent), Opcode.GetXattr, bytes);
  }

  #gotAcl(status: number, body: number, bodyBytes: number): void {
    // Removed since the parent was asked: the umask it is.
    if (status !== errno.ENODATA) {
      const { bytes, words } = this.context.arena;
      const checked = this.context.checkReply(status, bodyBytes, XattrReply.SIZE);
      if (checked !== 0) {
        this.finishError(checked);
        return;
      }
      const length = words[(body + XattrReply.inlineBytes) >>> 2]!;
      const from = body + XattrReply.SIZE;
      const acl = bytes.subarray(from, from + length);
      if (XattrReply.SIZE + length > bodyBytes || !isAcl(acl)) {
        this.finishError(errno.EIO);
        return;
      }
      const { mode, access, copy } = inheritAcl(acl, this.#askedMode);
      this.#mode = mode;
      this.#accessAcl = access ?? noAcl;
      this.#defaultAcl = copy;
    }
    this.#make();
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
          this.#inherited,
        );
      case MAKE_LOOKUP:
        return encodeName(arena, body, this.#parent, this.#name);
      case MAKE_CHECK:
        return encodeInode(arena, body, this.#otherInode);
      case MAKE_PARENT:
        return encodeInode(arena, body, this.#parent);
      case MAKE_ACL:
        return this.#encodeAcl(body);
      default:
        return encodeInode(arena, body, this.#inode);
    }
  }

  #encodeMake(body: number): number {
    const { bytes, words } = this.context.arena;
    words[(body + MakeDirInodeRequest.bucket) >>> 2] = this.#bucket;
    words[(body + MakeDirInodeRequest.mode) >>> 2] = this.#mode;
    words[(body + MakeDirInodeRequest.uid) >>> 2] = this.#uid;
    words[(body + MakeDirInodeRequest.gid) >>> 2] = this.#gid;
    writeU53(words, body + MakeDirInodeRequest.parent, this.#parent);
    writeU16(words, body + MakeDirInodeRequest.accessAclBytes, this.#accessAcl.length);
    writeU16(words, body + MakeDirInodeRequest.defaultAclBytes, this.#defaultAcl.length);
    words[(body + MakeDirInodeRequest.reserved) >>> 2] = 0;
    const at = body + MakeDirInodeRequest.SIZE;
    bytes.set(this.#accessAcl, at);
    bytes.set(this.#defaultAcl, at + this.#accessAcl.length);
    return at + this.#accessAcl.length + this.#defaultAcl.length - body;
  }

  #encodeAcl(body: number): number {
    const { bytes, words } = this.context.arena;
    writeU53(words, body + XattrRequest.inode, this.#parent);
    writeU16(words, body + XattrRequest.nameBytes, defaultAcl.length);
    writeU16(words, body + XattrRequest.flags, 0);
    words[(body + XattrRequest.maxBytes) >>> 2] = aclBytesMax;
    bytes.set(defaultAcl, body + XattrRequest.SIZE);
    return XattrRequest.SIZE + defaultAcl.length;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    switch (this.#step) {
      case MAKE_INODE:
        this.#madeInode(status, body, bodyBytes);
        break;
      case MAKE_LINK:
        this.#linked(status, bodyBytes);
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
      case MAKE_PARENT:
        this.#gotParent(status, body, bodyBytes);
        break;
      case MAKE_ACL:
        this.#gotAcl(status, body, bodyBytes);
        break;
      default:
        if (this.#failure === errno.EAGAIN) this.#inherit();
        else this.finishError(this.#failure);
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

  #linked(status: number, bodyBytes: number): void {
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
    const attributes = this.context.lendAttributes(this.#attributes);
    this.release()?.replyEntry(attributes);
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
