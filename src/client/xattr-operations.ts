/**
 * Extended attributes. An inode that is known to have none is not asked about: the kernel looks for
 * access control lists and capabilities all the time, and hardly any file has them.
 */
import { errno } from '../common/errno.js';
import {
  inlineDataBytes,
  xattrNameBytesMax,
  xattrValueBytesMax,
} from '../protocol/limits.generated.js';
import { writeU16, writeU53 } from '../protocol/u53.js';
import {
  AttributesReply,
  Opcode,
  SetXattrRequest,
  XattrReply,
  XattrRequest,
} from '../protocol/wire.generated.js';
import { XATTR_PREFIXES } from '../protocol/xattr-names.js';
import { FLAG_ACCESS_ACL, FLAG_CAPABILITY, FLAG_DEFAULT_ACL, FLAG_XATTRS } from './attributes.js';
import type { ClientContext } from './context.js';
import { CoreOperation, OperationPool } from './operation.js';
import { isBelow, NameCopy } from './request.js';
import type { ClientRequest, NameReference } from './request.js';

const LIST_WITHOUT_TRUSTED = 1;
/** A target that had no slot for a long answer is asked again after this long. */
const RETRY_MS = 20;

/** Names whose presence has a flag of its own. */
const flagged: [Buffer, number][] = [
  [Buffer.from('system.posix_acl_access'), FLAG_ACCESS_ACL],
  [Buffer.from('system.posix_acl_default'), FLAG_DEFAULT_ACL],
  [Buffer.from('security.capability'), FLAG_CAPABILITY],
];

class ChangeOperation extends CoreOperation {
  readonly #name = new NameCopy();
  #inode = 0;
  #data = 0;
  #valueBytes = 0;
  #flags = 0;

  set(inode: number, name: NameReference, data: number, valueBytes: number, flags: number): void {
    this.#begin(inode, name);
    this.#data = data;
    this.#valueBytes = valueBytes;
    this.#flags = flags;
    const inline = valueBytes <= inlineDataBytes;
    this.bulkOffset = inline ? 0 : data;
    this.bulkBytes = inline ? 0 : valueBytes;
    const bytes = SetXattrRequest.SIZE + name.lengthBytes + (inline ? valueBytes : 0);
    this.send(this.context.peerOfInode(inode), Opcode.SetXattr, bytes);
  }

  remove(inode: number, name: NameReference): void {
    this.#begin(inode, name);
    this.bulkOffset = 0;
    this.bulkBytes = 0;
    const bytes = XattrRequest.SIZE + name.lengthBytes;
    this.send(this.context.peerOfInode(inode), Opcode.RemoveXattr, bytes);
  }

  #begin(inode: number, name: NameReference): void {
    this.#inode = inode;
    this.#name.copyFrom(name);
    this.context.facts.forgetFlags(inode);
    this.change.addPermissions(inode);
  }

  override encode(body: number): number {
    const { arena } = this.context;
    if (this.opcode === Opcode.RemoveXattr) {
      return encodeXattr(this.context, body, this.#inode, this.#name, 0, 0);
    }
    const { words, bytes } = arena;
    const inlineBytes = this.bulkBytes === 0 ? this.#valueBytes : 0;
    writeU53(words, body + SetXattrRequest.inode, this.#inode);
    writeU16(words, body + SetXattrRequest.nameBytes, this.#name.lengthBytes);
    writeU16(words, body + SetXattrRequest.flags, this.#flags);
    words[(body + SetXattrRequest.valueBytes) >>> 2] = this.#valueBytes;
    words[(body + SetXattrRequest.inlineBytes) >>> 2] = inlineBytes;
    words[(body + SetXattrRequest.reserved) >>> 2] = 0;
    this.#name.writeTo(bytes, body + SetXattrRequest.SIZE);
    const at = body + SetXattrRequest.SIZE + this.#name.lengthBytes;
    if (inlineBytes !== 0) bytes.copyWithin(at, this.#data, this.#data + inlineBytes);
    return at + inlineBytes - body;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    // An answer that was given before may have been learnt while this was under way.
    this.context.facts.forgetFlags(this.#inode);
    const checked = this.context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    if (checked === 0) {
      const at = body + AttributesReply.attributes;
      this.context.readAttributes(at);
      const flags = this.context.arena.words[(body + AttributesReply.flags) >>> 2]!;
      this.context.leases.learnInode(at, flags, this.change.stamp, this.change);
    }
    this.finishDone(checked);
  }
}

/** XattrRequest: of get, list (no name), remove. */
function encodeXattr(
  context: ClientContext,
  body: number,
  inode: number,
  name: NameCopy,
  flags: number,
  maxBytes: number,
): number {
  const { words, bytes } = context.arena;
  writeU53(words, body + XattrRequest.inode, inode);
  writeU16(words, body + XattrRequest.nameBytes, name.lengthBytes);
  writeU16(words, body + XattrRequest.flags, flags);
  words[(body + XattrRequest.maxBytes) >>> 2] = maxBytes;
  name.writeTo(bytes, body + XattrRequest.SIZE);
  return XattrRequest.SIZE + name.lengthBytes;
}

class ReadOperation extends CoreOperation {
  readonly #name = new NameCopy();
  #inode = 0;
  #flags = 0;
  #maxBytes = 0;

  start(
    opcode: number,
    inode: number,
    name: NameReference | null,
    maxBytes: number,
    landing: number,
  ): void {
    this.#inode = inode;
    this.#maxBytes = maxBytes;
    this.#flags = 0;
    if (name !== null) this.#name.copyFrom(name);
    else {
      this.#name.lengthBytes = 0;
      if (this.request?.uid !== 0) this.#flags = LIST_WITHOUT_TRUSTED;
    }
    this.landingOffset = maxBytes <= inlineDataBytes ? 0 : landing;
    this.landingBytes = maxBytes <= inlineDataBytes ? 0 : maxBytes;
    this.#ask(opcode);
  }

  #ask(opcode: number): void {
    const bytes = XattrRequest.SIZE + this.#name.lengthBytes;
    this.send(this.context.peerOfInode(this.#inode), opcode, bytes);
  }

  override encode(body: number): number {
    return encodeXattr(this.context, body, this.#inode, this.#name, this.#flags, this.#maxBytes);
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const { context, opcode } = this;
    if (status === errno.EAGAIN) {
      this.peer = null;
      context.scheduler.setTimer(RETRY_MS, () => {
        this.#ask(opcode);
      });
      return;
    }
    const checked = context.checkReply(status, bodyBytes, XattrReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const { words } = context.arena;
    const length = words[(body + XattrReply.valueBytes) >>> 2]!;
    const inlineBytes = words[(body + XattrReply.inlineBytes) >>> 2]!;
    const asked = this.#maxBytes !== 0;
    const here = inlineBytes !== 0 ? inlineBytes : bulkBytes;
    const fits = XattrReply.SIZE + inlineBytes <= bodyBytes && length <= this.#maxBytes;
    if (asked && (here !== length || !fits)) {
      this.finishError(context.malformed('an extended attribute'));
      return;
    }
    const offset = inlineBytes !== 0 ? body + XattrReply.SIZE : this.landingOffset;
    this.release()?.replyXattr(asked ? offset : 0, length);
  }
}

export class XattrOperations {
  readonly #context: ClientContext;
  readonly #changes: OperationPool<ChangeOperation>;
  readonly #reads: OperationPool<ReadOperation>;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#changes = new OperationPool((pool) => new ChangeOperation(context, pool));
    this.#reads = new OperationPool((pool) => new ReadOperation(context, pool));
  }

  /** The value lies at arena offset `data`; `flags` as SetXattrRequest.flags. */
  set(
    request: ClientRequest,
    inode: number,
    name: NameReference,
    data: number,
    valueBytes: number,
    flags: number,
  ): void {
    const status = checkXattrName(name);
    if (status !== 0) request.replyError(status);
    else if (valueBytes > xattrValueBytesMax) request.replyError(errno.E2BIG);
    else this.#changes.take(request).set(inode, name, data, valueBytes, flags);
  }

  remove(request: ClientRequest, inode: number, name: NameReference): void {
    const status = checkXattrName(name);
    if (status !== 0) request.replyError(status);
    else this.#changes.take(request).remove(inode, name);
  }

  get(
    request: ClientRequest,
    inode: number,
    name: NameReference,
    maxBytes: number,
    landing: number,
  ): void {
    const status = checkXattrName(name);
    if (status !== 0) request.replyError(status);
    else if (this.#hasNot(inode, name)) request.replyError(errno.ENODATA);
    else this.#reads.take(request).start(Opcode.GetXattr, inode, name, maxBytes, landing);
  }

  list(request: ClientRequest, inode: number, maxBytes: number, landing: number): void {
    if ((this.#flagsOf(inode) & FLAG_XATTRS) === 0) request.replyXattr(0, 0);
    else this.#reads.take(request).start(Opcode.ListXattr, inode, null, maxBytes, landing);
  }

  /** As learnt lately; all bits where nothing is known. */
  #flagsOf(inode: number): number {
    return this.#context.flagsOf(inode);
  }

  #hasNot(inode: number, name: NameReference): boolean {
    const flags = this.#flagsOf(inode);
    const hasNone = (flags & FLAG_XATTRS) === 0;
    for (const [text, flag] of flagged) {
      if (sameText(name, text)) return hasNone || (flags & flag) === 0;
    }
    // What is no name at all, the server says.
    return hasNone && XATTR_PREFIXES.some((prefix) => isBelow(name, prefix));
  }

  interrupt(request: ClientRequest): void {
    this.#changes.interrupt(request);
    this.#reads.interrupt(request);
  }
}

function sameText(name: NameReference, text: Buffer): boolean {
  if (name.lengthBytes !== text.length) return false;
  for (let i = 0; i < text.length; i++) {
    if (name.bytes[name.offset + i] !== text[i]) return false;
  }
  return true;
}

function checkXattrName(name: NameReference): number {
  return name.lengthBytes === 0 || name.lengthBytes > xattrNameBytesMax ? errno.ERANGE : 0;
}
