/**
 * One batch on its way to one target (docs/batches.md): items are added until it is full, then it is called, and
 * each item's outcome is handed out by index. Its owner makes one for each request; it stands for up to a hundred
 * operations, so what it allocates does not matter.
 *
 *   add … add ── full, or nothing more ──> core.callBatch ── reply ──> took(i, …) for each ──> ended
 *
 * EAGAIN of an item: nothing was done, the ordinary operation is to be asked.
 */
import { ESTALE, errno } from '../common/errno.js';
import { crc32c, crc32cOf } from '../native/crc32c.js';
import { BATCH_DROP_SET_ID, BATCH_LEASES_ABSENCE } from '../protocol/batch.js';
import { HAS_ATTRIBUTES } from '../protocol/leases.js';
import { RPC_BODY_BYTES_MAX, roundUp8 } from '../protocol/frame.js';
import { batchItemsMax, inlineDataBytes, maxBulkBytes } from '../protocol/limits.generated.js';
import {
  AttributesReply,
  BatchItem,
  BatchReply,
  BatchRequest,
  BatchResult,
  CreateRequest,
  InodeRequest,
  LookupReply,
  NameRequest,
  Opcode,
} from '../protocol/wire.generated.js';
import { readU16, readU53, writeU16, writeU53 } from '../protocol/u53.js';
import { RpcOperation } from '../transport/rpc-client.js';
import type { FileAttributes } from './attributes.js';
import { CREATE_EXCLUSIVE } from './bodies.js';
import type { ClientContext } from './context.js';
import { OwnChange } from './leases/change-marks.js';
import { isUnanswered } from './operation.js';
import { NameReference } from './request.js';

/** Whose files they become, as of ClientRequest. */
export interface BatchOwner {
  uid: number;
  gid: number;
  umask: number;
  dropsSetId: boolean;
}

/** What one item is about; fields that its kind of batch does not use are not looked at. */
export interface BatchEntry {
  /** The directory; of BatchGetAttr the inode itself. */
  inode: number;
  name: Uint8Array;
  mode: number;
  exclusive: boolean;
  /** At most inlineDataBytes. */
  data: Uint8Array;
}

/** An item's outcome; what it lends is valid until `took` returns. */
export interface BatchOutcome {
  /** 0, or an errno. */
  status: number;
  /** BatchLookup, BatchRead: the name's inode. */
  inode: number;
  /** Null where the inode lies on another target. */
  attributes: FileAttributes | null;
  /** BatchRead: the file's whole content, if it came. */
  data: Uint8Array | null;
  /** BatchLookup, ENOENT: the lease on the absence, if it was asked for and granted. */
  leases: number;
}

export abstract class Batch extends RpcOperation {
  readonly #entries: BatchEntry[] = [];
  readonly #owner: BatchOwner;
  readonly #itemFlags: number;
  readonly #outcome: BatchOutcome = {
    status: 0,
    inode: 0,
    attributes: null,
    data: null,
    leases: 0,
  };
  #context!: ClientContext;
  #itemBytes = BatchRequest.SIZE;
  #dataBytes = 0;
  #slot = 0;
  /** Of batches that change something, while they are under way. */
  #change: OwnChange | null = null;
  readonly #name = new NameReference();

  /** `leasesAbsence`: of BatchLookup. */
  constructor(opcode: number, owner: BatchOwner, leasesAbsence = false) {
    super();
    this.opcode = opcode;
    this.#owner = owner;
    const dropsSetId = owner.dropsSetId ? BATCH_DROP_SET_ID : 0;
    this.#itemFlags = dropsSetId | (leasesAbsence ? BATCH_LEASES_ABSENCE : 0);
  }

  get count(): number {
    return this.#entries.length;
  }

  /** The inode whose target it goes to: all its items' targets are the same. */
  get place(): number {
    return this.#entries[0]!.inode;
  }

  /** False, and nothing has changed: it is full. The first item always fits. */
  add(entry: BatchEntry): boolean {
    const { data } = entry;
    if (this.count === batchItemsMax || data.length > inlineDataBytes) return false;
    const itemBytes = BatchItem.SIZE + this.#bodyBytes(entry);
    if (this.#itemBytes + itemBytes > RPC_BODY_BYTES_MAX) return false;
    if (this.#dataBytes + data.length > maxBulkBytes) return false;
    this.#itemBytes += itemBytes;
    this.#dataBytes += data.length;
    this.#entries.push(entry);
    return true;
  }

  #bodyBytes(entry: BatchEntry): number {
    if (this.opcode === Opcode.BatchGetAttr) return InodeRequest.SIZE;
    const { SIZE } = this.opcode === Opcode.BatchWrite ? CreateRequest : NameRequest;
    return roundUp8(SIZE + entry.name.length);
  }

  get #isInline(): boolean {
    return this.#itemBytes + this.#dataBytes <= RPC_BODY_BYTES_MAX;
  }

  /** It needs a bulk slot of the arena for its contents, before it is called and until `ended`. */
  get needsSlot(): boolean {
    return this.opcode === Opcode.BatchRead || !this.#isInline;
  }

  /** The slot that `needsSlot` asks for; stays the caller's. */
  set slot(arenaOffset: number) {
    this.#slot = arenaOffset;
  }

  /** Of the core: the last step before the call. */
  prepare(context: ClientContext): void {
    this.#context = context;
    if (this.#changes && context.leases.enabled) this.#beginChange();
    this.bodyBytes = this.#itemBytes;
    if (this.opcode === Opcode.BatchRead) {
      this.landingOffset = this.#slot;
      this.landingBytes = maxBulkBytes;
    } else if (this.#isInline) this.bodyBytes += this.#dataBytes;
    else {
      this.bulkOffset = this.#slot;
      this.bulkBytes = this.#dataBytes;
      this.#writeContents(this.#slot);
    }
  }

  get #changes(): boolean {
    return this.opcode === Opcode.BatchWrite || this.opcode === Opcode.BatchUnlink;
  }

  /** What is held of these names, and of the inodes that have them, is not believed until the reply. */
  #beginChange(): void {
    const { leases } = this.#context;
    this.#change = new OwnChange(leases.marks);
    for (const { inode, name } of this.#entries) {
      leases.beginRemoval(this.#change, inode, this.#name.set(name, 0, name.length));
    }
  }

  /** Which of them have what names now is asked for anew. */
  #endChange(status: number): void {
    const change = this.#change;
    if (change === null) return;
    const { leases } = this.#context;
    leases.outdateUnknown(change, true);
    for (const { inode, name } of this.#entries) {
      leases.nameChanged(inode, this.#name.set(name, 0, name.length), null, change);
    }
    const peer = this.#context.peerOfInode(this.place);
    leases.endChange(change, peer, isUnanswered(status));
    this.#change = null;
  }

  #writeContents(arenaOffset: number): void {
    let at = arenaOffset;
    for (const { data } of this.#entries) {
      this.#context.arena.bytes.set(data, at);
      at += data.length;
    }
  }

  override encode(body: number): number {
    const { words } = this.#context.arena;
    words[body >>> 2] = this.count;
    const isRead = this.opcode === Opcode.BatchRead;
    words[(body + BatchRequest.dataBytes) >>> 2] = isRead ? maxBulkBytes : this.#dataBytes;
    let at = body + BatchRequest.SIZE;
    for (const entry of this.#entries) {
      const { data } = entry;
      const bodyBytes = this.#bodyBytes(entry);
      words.fill(0, at >>> 2, (at + BatchItem.SIZE + bodyBytes) >>> 2);
      writeU16(words, at + BatchItem.bodyBytes, bodyBytes);
      writeU16(words, at + BatchItem.flags, this.#itemFlags);
      words[(at + BatchItem.dataBytes) >>> 2] = data.length;
      words[(at + BatchItem.checksum) >>> 2] = data.length === 0 ? 0 : crc32cOf(data);
      this.#encodeItem(at + BatchItem.SIZE, entry);
      at += BatchItem.SIZE + bodyBytes;
    }
    if (this.bulkBytes > 0) return at - body;
    this.#writeContents(at);
    return at - body + this.#dataBytes;
  }

  /** In memory that is zeros. */
  #encodeItem(body: number, entry: BatchEntry): void {
    const { words, bytes } = this.#context.arena;
    const { inode, name } = entry;
    if (this.opcode === Opcode.BatchGetAttr) {
      writeU53(words, body + InodeRequest.inode, inode);
      return;
    }
    if (this.opcode !== Opcode.BatchWrite) {
      writeU53(words, body + NameRequest.parent, inode);
      writeU16(words, body + NameRequest.nameBytes, name.length);
      bytes.set(name, body + NameRequest.SIZE);
      return;
    }
    const { uid, gid, umask } = this.#owner;
    writeU53(words, body + CreateRequest.parent, inode);
    words[(body + CreateRequest.mode) >>> 2] = entry.mode;
    words[(body + CreateRequest.uid) >>> 2] = uid;
    words[(body + CreateRequest.gid) >>> 2] = gid;
    words[(body + CreateRequest.umask) >>> 2] = umask;
    writeU16(words, body + CreateRequest.nameBytes, name.length);
    writeU16(words, body + CreateRequest.flags, entry.exclusive ? CREATE_EXCLUSIVE : 0);
    bytes.set(name, body + CreateRequest.SIZE);
  }

  // ---------------------------------------------------------------- the reply

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const context = this.#context;
    let checked = context.checkReply(status, bodyBytes, BatchReply.SIZE);
    this.#endChange(checked);
    if (checked === 0 && readU16(context.arena.words, body) !== this.count) {
      checked = context.malformed('results of a batch');
    }
    if (checked === 0) checked = this.#take(body, bodyBytes, bulkBytes);
    this.ended(checked);
  }

  #take(body: number, bodyBytes: number, bulkBytes: number): number {
    return this.#changes
      ? this.#takeStatuses(body, bodyBytes)
      : this.#takeResults(body, bodyBytes, bulkBytes);
  }

  #takeStatuses(body: number, bodyBytes: number): number {
    const context = this.#context;
    if (BatchReply.SIZE + this.count > bodyBytes) return context.malformed('statuses of a batch');
    if (this.opcode === Opcode.BatchWrite) {
      // Files that are open here may have been emptied: their targets are asked how long they are.
      for (const file of context.files.values()) file.knownSizeMs = -Infinity;
    }
    for (let i = 0; i < this.count; i++) {
      this.#hand(i, context.arena.bytes[body + BatchReply.SIZE + i]!);
    }
    return 0;
  }

  #takeResults(body: number, bodyBytes: number, bulkBytes: number): number {
    const context = this.#context;
    const { words } = context.arena;
    const isGetAttr = this.opcode === Opcode.BatchGetAttr;
    const resultBytes = isGetAttr ? AttributesReply.SIZE : LookupReply.SIZE;
    const inlineBytes = words[(body + BatchReply.inlineBytes) >>> 2]!;
    const end = body + bodyBytes - inlineBytes;
    // Contents follow the last result: where it ends is known when all lengths are.
    let at = body + BatchReply.SIZE;
    for (let i = 0; i < this.count; i++) {
      if (at + BatchResult.SIZE > end) return context.malformed('results of a batch');
      at += BatchResult.SIZE + (readU16(words, at) === 0 ? resultBytes : 0);
    }
    if (at > end) return context.malformed('results of a batch');
    let content = inlineBytes > 0 ? at : this.landingOffset;
    const contentEnd = content + (inlineBytes > 0 ? inlineBytes : bulkBytes);
    at = body + BatchReply.SIZE;
    for (let i = 0; i < this.count; i++) {
      const status = readU16(words, at);
      const hasData = readU16(words, at + BatchResult.hasData) !== 0;
      const dataBytes = hasData ? words[(at + BatchResult.dataBytes) >>> 2]! : 0;
      if (content + dataBytes > contentEnd) return context.malformed('contents of a batch');
      this.#outcome.leases = words[(at + BatchResult.leases) >>> 2]!;
      if (status !== 0) this.#hand(i, status);
      else if (hasData) this.#handContent(i, at, content, dataBytes);
      else if (isGetAttr) this.#handAttributes(i, at + BatchResult.SIZE);
      else this.#handEntry(i, at + BatchResult.SIZE, null);
      content += dataBytes;
      at += BatchResult.SIZE + (status === 0 ? resultBytes : 0);
    }
    return 0;
  }

  #hand(i: number, status: number, inode = 0): void {
    const outcome = this.#outcome;
    outcome.status = status;
    outcome.inode = inode;
    outcome.attributes = null;
    outcome.data = null;
    this.took(i, outcome);
  }

  #handContent(i: number, result: number, content: number, dataBytes: number): void {
    const { arena, counters, options } = this.#context;
    const expected = arena.words[(result + BatchResult.checksum) >>> 2]!;
    if (dataBytes > 0 && crc32c(arena, content, dataBytes) !== expected) {
      counters.checksumErrors++;
      options.log('data of a batch arrived with a wrong checksum');
      this.#hand(i, errno.EIO);
      return;
    }
    counters.readBytes += dataBytes;
    const data = arena.bytes.subarray(content, content + dataBytes);
    this.#handEntry(i, result + BatchResult.SIZE, data);
  }

  #handEntry(i: number, reply: number, data: Uint8Array | null): void {
    const context = this.#context;
    const { words } = context.arena;
    const inode = readU53(words, reply + LookupReply.inode);
    if ((words[(reply + LookupReply.flags) >>> 2]! & HAS_ATTRIBUTES) === 0) {
      this.#hand(i, 0, inode);
      return;
    }
    // What is written here has an mtime that its target does not know yet.
    if (context.files.peek(inode)?.mtimeDirty === true) {
      this.#hand(i, errno.EAGAIN, inode);
      return;
    }
    const outcome = this.#outcome;
    outcome.status = 0;
    outcome.inode = inode;
    outcome.attributes = context.readAttributes(reply + LookupReply.attributes);
    outcome.data = data;
    if (data !== null) context.accessTimes.note(inode);
    this.took(i, outcome);
  }

  #handAttributes(i: number, reply: number): void {
    const context = this.#context;
    const attributes = context.readAttributes(reply + AttributesReply.attributes);
    const outcome = this.#outcome;
    outcome.status = attributes.linkCount === 0 ? ESTALE : 0;
    outcome.inode = attributes.inode;
    outcome.attributes = attributes;
    outcome.data = null;
    if (context.files.peek(attributes.inode)?.mtimeDirty === true) outcome.status = errno.EAGAIN;
    this.took(i, outcome);
  }

  // ---------------------------------------------------------------- of its owner

  /** The outcome of item `i`; each once, unless all have failed together. */
  protected abstract took(i: number, outcome: BatchOutcome): void;

  /** 0, or why all of it has failed; then some items may have been taken all the same. */
  protected abstract ended(status: number): void;
}
