/**
 * getattr and setattr. Both first bring the mtime of a file that is being written here up to date:
 * getattr would show an old one, and after setattr a late update would undo what it set.
 *
 * getattr of an inode whose attributes are held under a lease is answered here.
 *
 *   (mtime behind) ── Extend ──> SetAttr or GetAttr ──> reply
 */
import {
  AttributesReply,
  InodeRequest,
  Opcode,
  SetAttrRequest,
} from '../protocol/wire.generated.js';
import {
  AttributeChange,
  FLAG_SPLIT,
  SET_ATIME,
  SET_GID,
  SET_MODE,
  SET_UID,
} from './attributes.js';
import { encodeInode, encodeSetAttr } from './bodies.js';
import type { ClientContext } from './context.js';
import type { OpenFile, SizeWaiter } from './open-file.js';
import { CoreOperation, OperationPool } from './operation.js';
import { answerAttributes } from './request.js';
import type { ClientRequest } from './request.js';
import type { SizeTracker } from './size-tracker.js';

const SET_PERMISSIONS = SET_MODE | SET_UID | SET_GID;

abstract class FlushedOperation extends CoreOperation implements SizeWaiter {
  protected inode = 0;
  /** When its request was sent, in the time of the marks. */
  protected stamp = 0;
  protected file: OpenFile | null = null;

  protected startFlushed(inode: number, tracker: SizeTracker): void {
    this.inode = inode;
    const file = this.context.files.peek(inode);
    if (file === undefined || tracker.flush(file, this)) {
      this.proceed();
      return;
    }
    file.users++;
    this.file = file;
  }

  sizeUpdated(status: number): void {
    if (this.file !== null) this.context.files.drop(this.file);
    this.file = null;
    if (status !== 0) this.finishError(status);
    else this.proceed();
  }

  protected abstract proceed(): void;

  override done(status: number, body: number, bodyBytes: number): void {
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const { context, change } = this;
    const at = body + AttributesReply.attributes;
    const attributes = context.readAttributes(at);
    if (this.opcode === Opcode.SetAttr && (attributes.flags & FLAG_SPLIT) !== 0) {
      this.send(this.context.peerOfInode(this.inode), Opcode.GetAttr, InodeRequest.SIZE);
      return;
    }
    const flags = context.arena.words[(body + AttributesReply.flags) >>> 2]!;
    const own = change.isActive ? change : null;
    const held = context.leases.learnInode(at, flags, this.stamp, own);
    const validMs = context.leases.attributesMs(this.inode, held);
    answerAttributes(this.release(), attributes, validMs);
  }
}

class GetAttrOperation extends FlushedOperation {
  start(inode: number, tracker: SizeTracker): void {
    this.startFlushed(inode, tracker);
  }

  protected override proceed(): void {
    this.stamp = this.context.leases.marks.stamp;
    this.send(this.context.peerOfInode(this.inode), Opcode.GetAttr, InodeRequest.SIZE);
  }

  override encode(body: number): number {
    return encodeInode(this.context.arena, body, this.inode);
  }
}

class SetAttrOperation extends FlushedOperation {
  readonly #change = new AttributeChange();

  start(inode: number, change: AttributeChange, tracker: SizeTracker): void {
    this.#change.copyFrom(change);
    if ((change.valid & SET_ATIME) !== 0) this.context.accessTimes.forget(inode);
    this.startFlushed(inode, tracker);
  }

  protected override proceed(): void {
    if ((this.#change.valid & SET_PERMISSIONS) !== 0) this.change.addPermissions(this.inode);
    else this.change.addInode(this.inode);
    this.stamp = this.change.stamp;
    this.send(this.context.peerOfInode(this.inode), Opcode.SetAttr, SetAttrRequest.SIZE);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.opcode === Opcode.GetAttr) return encodeInode(arena, body, this.inode);
    return encodeSetAttr(arena, body, this.inode, this.#change);
  }
}

export class AttributeOperations {
  readonly #context: ClientContext;
  readonly #tracker: SizeTracker;
  readonly #getAttr: OperationPool<GetAttrOperation>;
  readonly #setAttr: OperationPool<SetAttrOperation>;

  constructor(context: ClientContext, tracker: SizeTracker) {
    this.#context = context;
    this.#tracker = tracker;
    this.#getAttr = new OperationPool((pool) => new GetAttrOperation(context, pool));
    this.#setAttr = new OperationPool((pool) => new SetAttrOperation(context, pool));
  }

  getAttributes(request: ClientRequest, inode: number): void {
    const held = this.#context.heldAttributes(inode);
    if (held !== null) {
      answerAttributes(request, held, this.#context.leases.kernelMs(inode));
      return;
    }
    const permissions = this.#context.heldPermissions(inode, request);
    if (permissions !== null) answerAttributes(request, permissions, 0);
    else this.#getAttr.take(request).start(inode, this.#tracker);
  }

  setAttributes(request: ClientRequest, inode: number, change: AttributeChange): void {
    this.#setAttr.take(request).start(inode, change, this.#tracker);
  }

  interrupt(request: ClientRequest): void {
    this.#getAttr.interrupt(request);
    this.#setAttr.interrupt(request);
  }
}
