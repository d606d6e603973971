/**
 * Operations on where a file has data: ChangeSpace (fallocate), SeekData (lseek), AdoptLayout and
 * CloneRange (copy_file_range).
 */
import { errno, ESTALE } from '../common/errno.js';
import { SealfsError } from '../common/errors.js';
import { chunkBytes, fileBytesMax } from '../protocol/limits.generated.js';
import {
  AdoptLayoutRequest,
  ChangeSpaceReply,
  ChangeSpaceRequest,
  CloneRangeRequest,
  SeekDataReply,
  SeekDataRequest,
} from '../protocol/wire.generated.js';
import { isU53, readU53, writeU53 } from '../protocol/u53.js';
import { SPACE_DROP, SPACE_PROMISE } from './data/chunk-changes.js';
import { FLAG_PROMISED, InodeRecord } from './inode-record.js';
import { loadFile, markStripedRecord, written } from './namespace-attributes.js';
import type { Call, Namespace } from './namespace.js';

/** Of `how`, beside SPACE_…: the caller has not CAP_FSETID. */
const DROP_SET_ID = 4;
/** In CloneRangeRequest.flags. */
const CLONE_DROP_SET_ID = 1;

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
  for (const field of [ChangeSpaceRequest.fromByte, ChangeSpaceRequest.layout]) {
    if (!isU53(words, body + field)) return errno.EINVAL;
  }
  const from = readU53(words, body + ChangeSpaceRequest.fromByte);
  const to = readU53(words, body + ChangeSpaceRequest.toByte);
  if (from >= to) return errno.EINVAL;
  const own = ns.ownsInode(inode);
  const at = own ? loadFile(ns, inode) : 0;
  if (at < 0) return -at;
  if (!own && ns.host.space.isGone(inode)) return ESTALE;
  const layout = readU53(words, body + ChangeSpaceRequest.layout);
  const status = ns.host.space.change(inode, layout, from, to, how);
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

/** Only a file that was never striped takes it over: after that a layout never changes. */
export function adoptLayout(ns: Namespace, call: Call): number {
  const at = loadFile(ns, ns.inodeField(call, AdoptLayoutRequest.inode));
  if (at < 0) return -at;
  const layout = ns.inodeField(call, AdoptLayoutRequest.layout);
  if (layout === 0) return errno.EINVAL;
  const inode = ns.inodes.inode(at);
  if (!ns.inodes.isStriped(at) && layout !== inode) ns.inodes.setLayout(at, layout);
  markStripedRecord(ns, at);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  return 0;
}

/** The part of the range that this target holds; chunk 0 brings its share of the size. */
export function cloneRange(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const { body } = call;
  const inode = ns.inodeField(call, CloneRangeRequest.inode);
  const layout = ns.inodeField(call, CloneRangeRequest.layout);
  const source = ns.inodeField(call, CloneRangeRequest.source);
  if (inode === 0 || layout === 0 || source === 0 || source === inode) return errno.EINVAL;
  if (!isU53(words, body + CloneRangeRequest.fromByte)) return errno.EINVAL;
  if (!isU53(words, body + CloneRangeRequest.toByte)) return errno.EFBIG;
  const from = readU53(words, body + CloneRangeRequest.fromByte);
  const to = readU53(words, body + CloneRangeRequest.toByte);
  if (from >= to) return errno.EINVAL;
  const own = ns.ownsInode(inode);
  const at = own ? loadFile(ns, inode) : 0;
  if (at < 0) return -at;
  if (!own && ns.host.space.isGone(inode)) return ESTALE;
  // Chunks that are not there would be taken for holes.
  const missing = ns.ownsInode(source) ? ns.inodes.load(source) < 0 : ns.host.space.isGone(source);
  if (missing) return ESTALE;
  const status = ns.host.space.clone(source, inode, layout, from, to);
  if (status !== 0) return status;
  if (own && from < chunkBytes) {
    const sizeBytes = Math.min(to, chunkBytes);
    if (sizeBytes > ns.inodes.size(at)) ns.inodes.setSize(at, sizeBytes);
    written(ns, at, (words[(body + CloneRangeRequest.flags) >>> 2]! & CLONE_DROP_SET_ID) !== 0);
  }
  call.result0 = ns.host.space.nextByte;
  call.result1 = own ? ns.inodes.size(at) : 0;
  replyChangeSpace(call, call.result0, call.result1);
  return 0;
}

/** A read: outside of transactions. */
export function seekData(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const { body } = call;
  const inode = ns.inodeField(call, SeekDataRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const { fromByte, toByte } = SeekDataRequest;
  for (const field of [SeekDataRequest.layout, fromByte, toByte]) {
    if (!isU53(words, body + field)) return errno.EINVAL;
  }
  const layout = readU53(words, body + SeekDataRequest.layout);
  const from = readU53(words, body + fromByte);
  const to = readU53(words, body + toByte);
  if (from > to) return errno.EINVAL;
  const { space } = ns.host;
  const { words: out } = call.out;
  try {
    if (words[(body + SeekDataRequest.hole) >>> 2] !== 0) {
      space.seekHole(inode, layout, from, to);
    } else {
      space.seekData(inode, layout, from, to);
    }
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
