/** Operations on where a file has data: ChangeSpace (fallocate) and SeekData (lseek). */
import { errno, ESTALE } from '../common/errno.js';
import { SealfsError } from '../common/errors.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import {
  ChangeSpaceReply,
  ChangeSpaceRequest,
  SeekDataReply,
  SeekDataRequest,
} from '../protocol/wire.generated.js';
import { isU53, readU53, writeU53 } from '../protocol/u53.js';
import { SPACE_DROP, SPACE_PROMISE } from './data/chunk-store.js';
import { FLAG_PROMISED, InodeRecord } from './inode-record.js';
import { loadFile, markStripedRecord, written } from './namespace-attributes.js';
import type { Call, Namespace } from './namespace.js';

/** Of `how`, beside SPACE_…: the caller has not CAP_FSETID. */
const DROP_SET_ID = 4;

/**
 * The part of the range that this target holds. The inode's target also keeps the books: its piece
 * comes last, with the size that the file is to have at least.
 */
export function changeSpace(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const { body } = call;
  const inode = ns.inodeField(call, ChangeSpaceRequest.inode);
  const asked = words[(body + ChangeSpaceRequest.how) >>> 2]!;
  const how = asked & ~DROP_SET_ID;
  if (inode === 0 || how === 0 || how > (SPACE_DROP | SPACE_PROMISE)) return errno.EINVAL;
  for (const field of [ChangeSpaceRequest.toByte, ChangeSpaceRequest.sizeBytes]) {
    if (!isU53(words, body + field)) return errno.EFBIG;
  }
  if (!isU53(words, body + ChangeSpaceRequest.fromByte)) return errno.EINVAL;
  const from = readU53(words, body + ChangeSpaceRequest.fromByte);
  const to = readU53(words, body + ChangeSpaceRequest.toByte);
  if (from >= to) return errno.EINVAL;
  const own = ns.ownsInode(inode);
  const at = own ? loadFile(ns, inode) : 0;
  if (at < 0) return -at;
  if (!own && ns.host.space.isGone(inode)) return ESTALE;
  const status = ns.host.space.change(inode, from, to, how);
  if (status !== 0) return status;
  const next = ns.host.space.nextByte;
  const sizeBytes = readU53(words, body + ChangeSpaceRequest.sizeBytes);
  if (own) {
    changed(ns, at, how, to, next === to ? sizeBytes : 0);
    written(ns, at, (asked & DROP_SET_ID) !== 0);
  }
  call.result0 = next;
  call.result1 = own ? ns.inodes.size(at) : 0;
  replyChangeSpace(call, call.result0, call.result1);
  return 0;
}

/** What the inode's record says of it. */
function changed(ns: Namespace, at: number, how: number, to: number, sizeBytes: number): void {
  if (sizeBytes > ns.inodes.size(at)) ns.inodes.setSize(at, Math.min(sizeBytes, fileBytesMax));
  if (Math.max(sizeBytes, (how & SPACE_PROMISE) === 0 ? 0 : to) > chunkBytes) {
    markStripedRecord(ns, at);
  }
  if ((how & SPACE_PROMISE) !== 0) {
    const flags = ns.inodes.get32(at, InodeRecord.flags);
    ns.inodes.set32(at, InodeRecord.flags, flags | FLAG_PROMISED);
  }
}

export function replyChangeSpace(call: Call, nextByte: number, sizeBytes: number): void {
  writeU53(call.out.words, call.reply + ChangeSpaceReply.nextByte, nextByte);
  writeU53(call.out.words, call.reply + ChangeSpaceReply.sizeBytes, sizeBytes);
  call.replyBytes = ChangeSpaceReply.SIZE;
}

/** A read: outside of transactions. */
export function seekData(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const { body } = call;
  const inode = ns.inodeField(call, SeekDataRequest.inode);
  if (inode === 0) return errno.EINVAL;
  for (const field of [SeekDataRequest.fromByte, SeekDataRequest.toByte]) {
    if (!isU53(words, body + field)) return errno.EINVAL;
  }
  const from = readU53(words, body + SeekDataRequest.fromByte);
  const to = readU53(words, body + SeekDataRequest.toByte);
  if (from > to) return errno.EINVAL;
  const { space } = ns.host;
  const { words: out } = call.out;
  try {
    if (words[(body + SeekDataRequest.hole) >>> 2] !== 0) space.seekHole(inode, from, to);
    else space.seekData(inode, from, to);
  } catch (error) {
    if (error instanceof SealfsError && error.code === 'CORRUPT') return errno.EIO;
    throw error;
  }
  writeU53(out, call.reply + SeekDataReply.byte, space.seek.byte);
  out[(call.reply + SeekDataReply.found) >>> 2] = space.seek.found ? 1 : 0;
  out[(call.reply + SeekDataReply.reserved) >>> 2] = 0;
  call.replyBytes = SeekDataReply.SIZE;
  return 0;
}
