/**
 * create, open and release. The inode's target keeps a file that is unlinked while open for as
 * long as some client is registered there, so a client registers with its first handle of an inode
 * and lets go with its last; in between opens cost nothing. Registration: see open-file.ts.
 */
import { ESTALE, errno } from '../common/errno.js';
import { LEASE_INODE } from '../protocol/leases.js';
import { readU53 } from '../protocol/u53.js';
import {
  AttributesReply,
  CreateRequest,
  InodeRequest,
  LookupReply,
  NameRequest,
  OpenRequest,
  Opcode,
  SetAttrRequest,
} from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { AttributeChange, SET_DROP_SET_ID, SET_SIZE } from './attributes.js';
import {
  CREATE_EXCLUSIVE,
  CREATE_REGISTER,
  OPEN_AGAIN,
  OPEN_DROP_SET_ID,
  OPEN_TRUNCATE,
  encodeCreate,
  encodeInode,
  encodeName,
  encodeOpen,
  encodeSetAttr,
} from './bodies.js';
import { REPLY_EXISTED } from './context.js';
import type { ClientContext } from './context.js';
import type { Handle, HandleTable } from './handles.js';
import { REGISTRATION_NONE, REGISTRATION_OPEN, REGISTRATION_OPENING } from './open-file.js';
import type { OpenFile, OpenWaiter } from './open-file.js';
import { CoreOperation, OperationPool, checkName } from './operation.js';
import { NameCopy, NameReference } from './request.js';
import type { ClientRequest } from './request.js';
import type { SizeTracker } from './size-tracker.js';

const noName = new NameReference();

/** setattr to size 0, without and with the loss of set-ID bits. */
const truncation = new AttributeChange();
truncation.valid = SET_SIZE;
const dropping = new AttributeChange();
dropping.valid = SET_SIZE | SET_DROP_SET_ID;

const STEP_REGISTER = 0;
const STEP_TRUNCATE = 1;
const STEP_LOOKUP = 2;
const STEP_OPEN = 3;
/** Of a create whose name comes and goes with an inode on another target. */
const ATTEMPTS_MAX = 16;

class OpenOperation extends CoreOperation implements OpenWaiter {
  owner!: OpenOperations;
  #file!: OpenFile;
  #truncate = false;
  #dropsSetId = false;
  #step = STEP_REGISTER;
  #stamp = 0;

  start(file: OpenFile, truncate: boolean): void {
    this.#file = file;
    this.#truncate = truncate;
    this.#dropsSetId = this.request?.dropsSetId === true;
    this.registrationEnded();
  }

  /** Also the start: goes on with whatever the registration's state asks for. */
  registrationEnded(): void {
    const file = this.#file;
    if (file.registration === REGISTRATION_OPENING) {
      file.openWaiters.push(this);
      return;
    }
    const peer = this.context.peerOfInode(file.inode);
    if (this.#truncate) this.change.addInode(file.inode);
    this.#stamp = this.context.leases.marks.stamp;
    if (file.registration === REGISTRATION_NONE) {
      file.registration = REGISTRATION_OPENING;
      this.#step = STEP_REGISTER;
      this.send(peer, Opcode.Open, OpenRequest.SIZE);
    } else if (this.#truncate) {
      this.#step = STEP_TRUNCATE;
      this.send(peer, Opcode.SetAttr, SetAttrRequest.SIZE);
    } else {
      this.#finish();
    }
  }

  override encode(body: number): number {
    const { arena } = this.context;
    const inode = this.#file.inode;
    if (this.#step === STEP_TRUNCATE) {
      return encodeSetAttr(arena, body, inode, this.#dropsSetId ? dropping : truncation);
    }
    const flags = OPEN_TRUNCATE | (this.#dropsSetId ? OPEN_DROP_SET_ID : 0);
    return encodeOpen(
      arena,
      body,
      inode,
      (this.#truncate ? flags : 0) | this.context.pages.openFlags,
    );
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    const file = this.#file;
    const checked = context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked === 0) {
      const at = body + AttributesReply.attributes;
      context.readAttributes(at);
      const flags = context.arena.words[(body + AttributesReply.flags) >>> 2]!;
      const own = this.change.isActive ? this.change : null;
      context.leases.learnInode(at, flags, this.#stamp, own);
    }
    this.endChange(checked, this.peer);
    if (this.#step === STEP_REGISTER) {
      if (checked === 0) {
        const flags = context.arena.words[(body + AttributesReply.flags) >>> 2]!;
        context.pages.registered(file, flags);
      }
      this.owner.registered(file, checked);
      if (checked === 0 && file.striped !== 0) file.touchStripes(context);
    }
    if (checked === 0) {
      this.#finish();
    } else {
      const request = this.release();
      context.files.drop(file);
      request?.replyError(checked);
    }
  }

  #finish(): void {
    const file = this.#file;
    const handle = this.owner.addHandle(file);
    const request = this.release();
    if (request !== null) request.pageUse = this.context.pages.open(handle);
    request?.replyOpened(handle.number);
  }
}

/**
 *   Create ─┬─ new, or there and its inode, too ──> (SetAttr: size 0) ──> handle
 *     ^     └─ EXDEV: the inode lies on another target ──> Lookup ──> Open there ──> handle
 *     └──────────────────────────── gone meanwhile ──────────┴─────────┘
 */
class CreateOperation extends CoreOperation {
  owner!: OpenOperations;
  readonly #name = new NameCopy();
  parent = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  rdev = 0;
  flags = 0;
  umask = 0;
  truncate = false;
  dropsSetId = false;
  #isNamed = true;
  #home = 0;
  #step = STEP_REGISTER;
  #inode = 0;
  #incarnationChanges = 0;
  #releases = 0;
  #attempts = 0;
  #stamp = 0;
  #attributesHeld = false;

  /** `name` null: O_TMPFILE. */
  start(name: NameReference | null): void {
    this.#isNamed = name !== null;
    this.#name.copyFrom(name ?? noName);
    this.#attempts = 0;
    this.#create();
  }

  #create(): void {
    this.#attempts++;
    this.#step = STEP_REGISTER;
    this.#incarnationChanges = this.context.incarnationChanges;
    this.#releases = this.context.releases;
    if (this.#isNamed && !this.change.isActive) {
      this.change.addInode(this.parent);
      this.context.leases.beginName(this.change, this.parent, this.#name);
    }
    this.#home = this.#isNamed ? this.homeOf(this.parent, this.#name) : this.parent;
    this.#stamp = this.context.leases.marks.stamp;
    const bytes = CreateRequest.SIZE + this.#name.lengthBytes;
    const opcode = this.#isNamed ? Opcode.Create : Opcode.TmpFile;
    this.send(this.context.peerOfInode(this.#home), opcode, bytes);
    if (this.#isNamed && this.#attempts === 1)
      this.context.namesAhead.made(this.parent, this.#name);
  }

  /** The partition that the name belongs to. */
  #homeNow(): number {
    return this.#isNamed ? this.context.partitions.home(this.parent, this.#name) : this.parent;
  }

  protected override sendAgain(): void {
    if (this.#step === STEP_LOOKUP) this.#look();
    else this.#create();
  }

  #look(): void {
    this.#step = STEP_LOOKUP;
    this.#home = this.#homeNow();
    const bytes = NameRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#home), Opcode.Lookup, bytes);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    switch (this.#step) {
      case STEP_TRUNCATE:
        return encodeSetAttr(arena, body, this.#inode, this.dropsSetId ? dropping : truncation);
      case STEP_LOOKUP:
        return encodeName(arena, body, this.#home, this.#name);
      case STEP_OPEN: {
        const flags = OPEN_TRUNCATE | (this.dropsSetId ? OPEN_DROP_SET_ID : 0);
        const pages = this.context.pages.openFlags;
        return encodeOpen(arena, body, this.#inode, (this.truncate ? flags : 0) | pages);
      }
      default:
        return encodeCreate(arena, body, this.#home, this, this.#name);
    }
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const isNamed = this.#step === STEP_LOOKUP || this.#step === STEP_REGISTER;
    if (isNamed && this.reroutes(status, this.parent, this.#home, this.#homeNow())) return;
    if (this.#step === STEP_LOOKUP) {
      this.#lookedUp(status, body, bodyBytes);
      return;
    }
    const { context } = this;
    const checked = context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked === 0) this.#learn(body);
    this.endChange(checked, this.peer);
    if (checked === errno.EXDEV && this.#step === STEP_REGISTER) {
      this.#look();
      return;
    }
    if (checked !== 0) {
      if (checked === ESTALE && this.#step === STEP_OPEN) this.#createAgain();
      else this.#fail(checked);
      return;
    }
    const attributes = context.readAttributes(body + AttributesReply.attributes);
    if (this.#step === STEP_TRUNCATE) {
      this.#finish(body);
      return;
    }
    const isOpened = this.#step === STEP_OPEN;
    this.#inode = attributes.inode;
    const file = context.files.take(attributes.inode);
    file.learnSize(attributes.sizeBytes, context.scheduler.nowMs());
    if (attributes.striped) file.learnStriped(attributes.layout);
    const { words } = context.arena;
    const existed =
      isOpened || (words[(body + AttributesReply.flags) >>> 2]! & REPLY_EXISTED) !== 0;
    if (existed && attributes.striped) file.touchStripes(context);
    const overtaken = this.#overtaken(existed);
    this.owner.createRegistered(file, overtaken);
    context.pages.registered(file, overtaken ? 0 : words[(body + AttributesReply.flags) >>> 2]!);
    if (existed && this.truncate && !isOpened) {
      this.#step = STEP_TRUNCATE;
      this.#beginChange();
      this.send(context.peerOfInode(this.#inode), Opcode.SetAttr, SetAttrRequest.SIZE);
      return;
    }
    this.#finish(body);
  }

  /** Of the file itself, which was there. */
  #beginChange(): void {
    this.change.addInode(this.#inode);
    this.#stamp = this.context.leases.marks.stamp;
  }

  /** What the reply grants. */
  #learn(body: number): void {
    const { context, change } = this;
    let learnt = 0;
    if (this.#step === STEP_REGISTER && this.#isNamed) {
      learnt = context.learnCreated(body, this.parent, this.#home, this.#name, change);
    } else {
      const at = body + AttributesReply.attributes;
      const flags = context.arena.words[(body + AttributesReply.flags) >>> 2]!;
      context.accessTimes.complete(context.arena.words, at);
      const own = change.isActive ? change : null;
      if (context.leases.learnInode(at, flags, this.#stamp, own)) learnt = LEASE_INODE;
    }
    this.#attributesHeld = (learnt & LEASE_INODE) !== 0;
  }

  #lookedUp(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    const checked = context.checkReply(status, bodyBytes, LookupReply.SIZE);
    if (checked === errno.ENOENT) this.#createAgain();
    else if (checked !== 0) this.#fail(checked);
    else {
      this.#inode = readU53(context.arena.words, body + LookupReply.inode);
      this.#step = STEP_OPEN;
      if (this.truncate) this.#beginChange();
      this.#stamp = context.leases.marks.stamp;
      this.send(context.peerOfInode(this.#inode), Opcode.Open, OpenRequest.SIZE);
    }
  }

  #createAgain(): void {
    if (this.#attempts < ATTEMPTS_MAX) this.#create();
    else this.#fail(ESTALE);
  }

  /** The registration of this create may be gone again: the target restarted, or a Release went. */
  #overtaken(existed: boolean): boolean {
    const { context } = this;
    return (
      this.#incarnationChanges !== context.incarnationChanges ||
      (existed && this.#releases !== context.releases)
    );
  }

  #fail(status: number): void {
    if (this.#step === STEP_TRUNCATE) {
      const file = this.context.files.peek(this.#inode);
      if (file !== undefined) this.owner.closeHandle(this.owner.addHandle(file));
    }
    this.finishError(status);
  }

  #finish(body: number): void {
    const file = this.context.files.peek(this.#inode);
    if (file === undefined) throw new Error('a file is forgotten while its create is going on');
    const handle = this.owner.addHandle(file);
    const attributes = this.context.readAttributes(body + AttributesReply.attributes);
    const { leases } = this.context;
    const inode = this.#inode;
    const entryMs = this.#isNamed ? leases.nameMs(this.parent, this.#name, inode) : 0;
    const attributesMs = leases.attributesMs(inode, this.#attributesHeld);
    const request = this.release();
    if (request === null) return;
    request.entryValidMs = entryMs;
    request.attributesValidMs = attributesMs;
    request.pageUse = this.context.pages.open(handle);
    request.replyCreated(attributes, handle.number);
  }
}

/** Release, and Open for what the target has forgotten: nobody waits for either. */
class RegistrationOperation extends CoreOperation {
  inode = 0;

  start(opcode: number): void {
    const bytes = opcode === Opcode.Open ? OpenRequest.SIZE : InodeRequest.SIZE;
    this.lazy = opcode === Opcode.Release;
    this.send(this.context.peerOfInode(this.inode), opcode, bytes);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    return this.opcode === Opcode.Open
      ? encodeOpen(arena, body, this.inode, OPEN_AGAIN)
      : encodeInode(arena, body, this.inode);
  }

  override done(): void {
    this.release();
  }
}

export class OpenOperations {
  readonly #context: ClientContext;
  readonly #handles: HandleTable;
  readonly #tracker: SizeTracker;
  readonly #open: OperationPool<OpenOperation>;
  readonly #create: OperationPool<CreateOperation>;
  readonly #registration: OperationPool<RegistrationOperation>;

  constructor(context: ClientContext, handles: HandleTable, tracker: SizeTracker) {
    this.#context = context;
    this.#handles = handles;
    this.#tracker = tracker;
    this.#open = new OperationPool((pool) => {
      const operation = new OpenOperation(context, pool);
      operation.owner = this;
      return operation;
    });
    this.#create = new OperationPool((pool) => {
      const operation = new CreateOperation(context, pool);
      operation.owner = this;
      return operation;
    });
    this.#registration = new OperationPool((pool) => new RegistrationOperation(context, pool));
  }

  open(request: ClientRequest, inode: number, truncate: boolean): void {
    this.#open.take(request).start(this.#context.files.take(inode), truncate);
  }

  /** A regular file and a handle of it. Not `exclusive`: a file that exists is opened instead. */
  create(
    request: ClientRequest,
    parent: number,
    name: NameReference,
    mode: number,
    exclusive: boolean,
    truncate: boolean,
  ): void {
    const status = checkName(name);
    if (status !== 0) request.replyError(status);
    else this.#startCreate(request, parent, name, mode, exclusive, truncate);
  }

  /** A regular file without a name, and a handle of it; it goes with the last one (O_TMPFILE). */
  createUnnamed(request: ClientRequest, parent: number, mode: number): void {
    this.#startCreate(request, parent, null, mode, true, false);
  }

  #startCreate(
    request: ClientRequest,
    parent: number,
    name: NameReference | null,
    mode: number,
    exclusive: boolean,
    truncate: boolean,
  ): void {
    const operation = this.#create.take(request);
    operation.parent = parent;
    operation.mode = mode;
    operation.uid = request.uid;
    operation.gid = request.gid;
    operation.flags =
      CREATE_REGISTER | (exclusive ? CREATE_EXCLUSIVE : 0) | this.#context.pages.createFlags;
    operation.truncate = truncate;
    operation.umask = request.umask;
    operation.dropsSetId = request.dropsSetId;
    operation.start(name);
  }

  /** The table's user of `file` that the caller took becomes the handle's. */
  addHandle(file: OpenFile): Handle {
    file.openCount++;
    return this.#handles.add(file.inode, file);
  }

  /** Lets go of a file's handle; nothing is waited for. */
  closeHandle(handle: Handle): void {
    const file = handle.file;
    this.#context.pages.closed(handle);
    this.#context.ahead.drop(handle);
    this.#handles.remove(handle);
    if (file === null) return;
    file.openCount--;
    if (file.openCount === 0 && file.registration === REGISTRATION_OPEN) {
      file.registration = REGISTRATION_NONE;
      // Extend goes first: to the same target, in order.
      this.#tracker.flush(file, null);
      this.#sendRelease(file.inode);
    }
    this.#context.files.drop(file);
  }

  #sendRelease(inode: number): void {
    this.#context.releases++;
    const operation = this.#registration.take(null);
    operation.inode = inode;
    operation.start(Opcode.Release);
  }

  #registerAgain(inode: number): void {
    const operation = this.#registration.take(null);
    operation.inode = inode;
    operation.start(Opcode.Open);
  }

  /** Of OpenOperation: its Open was answered. */
  registered(file: OpenFile, status: number): void {
    file.registration = status === 0 ? REGISTRATION_OPEN : REGISTRATION_NONE;
    if (status !== 0 && file.openCount > 0) {
      // A create of this name has a handle meanwhile.
      file.registration = REGISTRATION_OPEN;
      this.#registerAgain(file.inode);
    } else if (status !== 0) {
      // Without an answer of the target (cancelled, timed out) it may have been registered.
      this.#sendRelease(file.inode);
    }
    const waiters = file.openWaiters.splice(0);
    for (const waiter of waiters) waiter.registrationEnded();
  }

  /** Of CreateOperation: Create has registered its file, for all we know unless `overtaken`. */
  createRegistered(file: OpenFile, overtaken: boolean): void {
    if (file.registration === REGISTRATION_NONE) file.registration = REGISTRATION_OPEN;
    if (overtaken) this.#registerAgain(file.inode);
  }

  /** A target was started anew: it has forgotten who has which file open. */
  targetRestarted(peer: RpcPeer): void {
    this.#context.incarnationChanges++;
    for (const file of this.#context.files.values()) {
      if (file.registration !== REGISTRATION_OPEN) continue;
      if (this.#context.peerOfInode(file.inode) === peer) this.#registerAgain(file.inode);
    }
  }

  interrupt(request: ClientRequest): void {
    this.#open.interrupt(request);
    this.#create.interrupt(request);
  }
}
