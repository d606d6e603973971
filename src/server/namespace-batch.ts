/**
 * Batches that change the name space (docs/batches.md): each item is executed by the function of the
 * ordinary operation, all in one transaction, and has a status of its own. An item that cannot be executed
 * here and now, because something is locked or lies on another target, has changed nothing and is answered
 * EAGAIN: the client asks for it alone.
 */
import { EREMCHG, errno } from '../common/errno.js';
import { crc32cOf } from '../native/crc32c.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { BATCH_DROP_SET_ID, BatchCursor } from '../protocol/batch.js';
import { batchItemsMax } from '../protocol/limits.generated.js';
import {
  Attributes,
  AttributesReply,
  BatchReply,
  CreateRequest,
  Opcode,
} from '../protocol/wire.generated.js';
import { readU16, readU53 } from '../protocol/u53.js';
import { GrowingMemory, Mutation, REPLY_ROOM } from './batch.js';
import { S_IFMT, S_IFREG } from './inode-record.js';
import { dropPrivileges, loadFile, setSize } from './namespace-attributes.js';
import { create, CREATE_EXISTED, CREATE_OPEN } from './namespace-create.js';
import { unlink } from './namespace-remove.js';
import type { Call, Namespace } from './namespace.js';

// One item's operation, as if it had come alone. Executions do not overlap.
const item = new Mutation();
const replies = new GrowingMemory();
item.out = replies;
item.reply = replies.take(REPLY_ROOM);
const cursor = new BatchCursor();

type ExecuteItem = (ns: Namespace, contents: Uint8Array) => number;

export function batchUnlink(ns: Namespace, call: Call, mutation: Mutation): number {
  return executeItems(ns, call, mutation, Opcode.BatchUnlink, unlinkItem);
}

/** `mutation.context`: the bulk, if the contents came as such. */
export function batchWrite(ns: Namespace, call: Call, mutation: Mutation): number {
  return executeItems(ns, call, mutation, Opcode.BatchWrite, writeItem);
}

/**
 * Executes the items one after the other and writes their statuses. `result0` is how many of them failed:
 * 0, or the statuses are to be kept for a retransmission.
 */
function executeItems(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  opcode: number,
  execute: ExecuteItem,
): number {
  const { memory } = call;
  const bulk = mutation.context as Uint8Array | undefined;
  const bulkBytes = bulk?.length ?? 0;
  if (!cursor.check(memory.words, call.body, call.bodyBytes, opcode, bulkBytes)) {
    return errno.EINVAL;
  }
  const contents = bulk ?? memory.bytes.subarray(cursor.contents);
  const statuses = call.reply + BatchReply.SIZE;
  let failed = 0;
  item.session = call.session;
  item.request = mutation.request;
  item.memory = memory;
  for (let i = 0; i < cursor.count; i++) {
    cursor.next();
    item.body = cursor.body;
    item.bodyBytes = cursor.bodyBytes;
    item.status = 0;
    item.blockedBy = undefined;
    const status = aloneIfNeeded(execute(ns, contents));
    // What it would have had others prepare is forgotten: nothing has been asked yet.
    if (item.transaction !== undefined) ns.host.coordinator.end(item);
    call.out.bytes[statuses + i] = status;
    if (status !== 0) failed++;
  }
  item.session = undefined;
  item.request = undefined;
  replyStatuses(call, cursor.count);
  call.result0 = failed;
  return 0;
}

/** BLOCKED, PENDING, and what only the ordinary operation's client can go on with. */
function aloneIfNeeded(status: number): number {
  const isElsewhere = status === errno.EXDEV || status === EREMCHG;
  return status < 0 || isElsewhere ? errno.EAGAIN : status;
}

/** The head of a reply whose statuses are written. */
export function replyStatuses(call: Call, count: number): void {
  call.out.words[(call.reply + BatchReply.count) >>> 2] = count;
  call.out.words[(call.reply + BatchReply.inlineBytes) >>> 2] = 0;
  call.replyBytes = BatchReply.SIZE + count;
}

function unlinkItem(ns: Namespace): number {
  return unlink(ns, item, item);
}

/**
 * Makes the file, or empties the one that is there, and gives it its content: seen whole or not at all.
 * What is there and is no small file of this target's is left to the ordinary operations.
 */
function writeItem(ns: Namespace, contents: Uint8Array): number {
  const { words } = item.memory;
  if ((readU16(words, item.body + CreateRequest.flags) & CREATE_OPEN) !== 0) return errno.EINVAL;
  const type = words[(item.body + CreateRequest.mode) >>> 2]! & S_IFMT;
  if (type !== 0 && type !== S_IFREG) return errno.EINVAL;
  const { content, itemBytes } = cursor;
  const data = contents.subarray(content, content + itemBytes);
  if (itemBytes > 0 && crc32cOf(data) !== cursor.checksum) return errno.EIO;
  const status = create(ns, item);
  if (status !== 0) return status;
  const reply = item.out.words;
  const inode = readU53(reply, item.reply + Attributes.inode);
  if ((reply[(item.reply + AttributesReply.flags) >>> 2]! & CREATE_EXISTED) !== 0) {
    const mode = reply[(item.reply + Attributes.mode) >>> 2]!;
    if ((mode & S_IFMT) !== S_IFREG) return errno.EAGAIN;
    const emptied = emptyFile(ns, inode);
    if (emptied !== 0) return emptied;
  }
  if (itemBytes === 0) return 0;
  // In an empty chunk there is nothing that could be in the way; else all of the batch is undone.
  if (ns.host.space.storeSmall(bucketOfInode(inode), inode, data) !== 0) {
    throw new Error(`inode ${inode}: content of an empty file is refused`);
  }
  const at = ns.inodes.load(inode);
  ns.inodes.setSize(at, itemBytes);
  ns.inodes.touch(at);
  return 0;
}

/** O_TRUNC of a file whose data all lies here: gone within this transaction. */
function emptyFile(ns: Namespace, inode: number): number {
  const at = loadFile(ns, inode);
  if (at < 0) return -at;
  if (ns.inodes.isStriped(at) || ns.host.isBeingCut(inode)) return errno.EAGAIN;
  const status = setSize(ns, item, at, 0);
  if (status !== 0) return status;
  dropPrivileges(ns, at, (cursor.flags & BATCH_DROP_SET_ID) !== 0);
  return 0;
}

if (BatchReply.SIZE + batchItemsMax > REPLY_ROOM)
  throw new Error('a batch’s statuses fit its reply');
