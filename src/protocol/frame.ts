/**
 * Frames, read and written in place. A frame's message is a FrameHeader, then `count` requests or
 * replies, each a 16-byte header and a body, all multiples of 8 bytes:
 *
 *   | FrameHeader 32 | header 16 | body ... | header 16 | body ... |
 *
 * All offsets are byte offsets into the memory that `words` views, multiples of 8.
 * `checkFrame` is what stands between a peer's bytes and everything else.
 */
import { frameMagic, maxBulkBytes, messageSlotBytes, noTag, rpcSlots } from './limits.generated.js';
import { FrameHeader, Opcode, ReplyHeader, RequestHeader } from './wire.generated.js';

export const FRAME_HEADER_BYTES = FrameHeader.SIZE;
/** Of a request and of a reply. */
export const ENTRY_HEADER_BYTES = RequestHeader.SIZE;
/** The largest body that one request or reply can have. */
export const RPC_BODY_BYTES_MAX = messageSlotBytes - FRAME_HEADER_BYTES - ENTRY_HEADER_BYTES;

/** FrameHeader.flags: the message holds replies. */
export const FRAME_REPLIES = 1;
/** RequestHeader.flags: may have been sent before. */
export const REQUEST_RETRANSMISSION = 1;
/** ReplyHeader.flags: answered from the session's record. */
export const REPLY_REPLAYED = 1;

/**
 * Sequence number outside of the slots: Hello, and the Echo that probes a silent connection. Such
 * requests use slot 0 and are never retransmitted.
 */
export const SEQUENCE_OUTSIDE = 0;

// The readers below take header fields as whole words; these are their assumptions.
if (
  RequestHeader.SIZE !== 16 ||
  ReplyHeader.SIZE !== 16 ||
  RequestHeader.opcode !== 2 ||
  ReplyHeader.opcode !== 2 ||
  RequestHeader.flags !== 3 ||
  ReplyHeader.flags !== 3 ||
  RequestHeader.slot !== 4 ||
  ReplyHeader.slot !== 4 ||
  ReplyHeader.status !== 6 ||
  RequestHeader.sequence !== 8 ||
  ReplyHeader.sequence !== 8 ||
  FrameHeader.SIZE % 8 !== 0 ||
  rpcSlots > 64
) {
  throw new Error('frame.ts no longer fits the wire schema');
}

export function roundUp8(bytes: number): number {
  return (bytes + 7) & ~7;
}

/** The sequence number after this one: 1 follows 2^32 - 1. */
export function nextSequence(sequence: number): number {
  return sequence === 0xffffffff ? 1 : sequence + 1;
}

/** Fills a frame's header; `bulkBytes` is the transport's to fill. */
export function writeFrameHeader(
  words: Uint32Array,
  frame: number,
  messageBytes: number,
  bulkTag: number,
  count: number,
  flags: number,
): void {
  const at = frame >>> 2;
  words[at] = frameMagic;
  words[at + 1] = messageBytes;
  words[at + 2] = 0;
  words[at + 3] = bulkTag;
  words[at + 4] = count;
  words[at + 5] = flags;
  words[at + 6] = 0;
  words[at + 7] = 0;
}

/** `entryBytes`: header and body, a multiple of 8. */
export function writeRequestHeader(
  words: Uint32Array,
  entry: number,
  entryBytes: number,
  opcode: number,
  flags: number,
  slot: number,
  sequence: number,
  mapEpoch: number,
): void {
  const at = entry >>> 2;
  words[at] = entryBytes | (opcode << 16) | (flags << 24);
  words[at + 1] = slot;
  words[at + 2] = sequence;
  words[at + 3] = mapEpoch;
}

export function writeReplyHeader(
  words: Uint32Array,
  entry: number,
  entryBytes: number,
  opcode: number,
  flags: number,
  slot: number,
  status: number,
  sequence: number,
  mapEpoch: number,
): void {
  const at = entry >>> 2;
  words[at] = entryBytes | (opcode << 16) | (flags << 24);
  words[at + 1] = slot | (status << 16);
  words[at + 2] = sequence;
  words[at + 3] = mapEpoch;
}

/**
 * What is wrong with a received frame, or '' when every length and offset in it holds: magic, kind,
 * the bulk rule, and entries that fill the message exactly with slots in range. `messageBytes` and
 * `bulkBytes` are what the transport received.
 */
export function checkFrame(
  words: Uint32Array,
  frame: number,
  messageBytes: number,
  bulkBytes: number,
  replies: boolean,
): string {
  if ((frame & 7) !== 0) return 'message is not aligned';
  if (messageBytes < FRAME_HEADER_BYTES || messageBytes > messageSlotBytes) {
    return `message of ${messageBytes} bytes`;
  }
  const at = frame >>> 2;
  if (words[at] !== frameMagic) return 'wrong magic';
  if (words[at + 1] !== messageBytes) return 'message length differs from the header';
  if (words[at + 2] !== bulkBytes || bulkBytes > maxBulkBytes) return 'wrong bulk length';
  const count = words[at + 4]!;
  if (bulkBytes !== 0 && count !== 1) return 'bulk with more than one entry';
  if (((words[at + 5]! & FRAME_REPLIES) !== 0) !== replies) {
    return replies ? 'requests where replies belong' : 'replies where requests belong';
  }
  if (!replies && words[at + 3] !== noTag) return 'request with a bulk tag';
  return checkEntries(words, frame, messageBytes, count);
}

function checkEntries(
  words: Uint32Array,
  frame: number,
  messageBytes: number,
  count: number,
): string {
  const end = frame + messageBytes;
  let entry = frame + FRAME_HEADER_BYTES;
  let left = count;
  while (entry < end) {
    if (left === 0) return 'more bytes than entries';
    if (end - entry < ENTRY_HEADER_BYTES) return 'entry header cut off';
    const at = entry >>> 2;
    const entryBytes = words[at]! & 0xffff;
    if (entryBytes < ENTRY_HEADER_BYTES || (entryBytes & 7) !== 0 || entryBytes > end - entry) {
      return `entry of ${entryBytes} bytes`;
    }
    if ((words[at + 1]! & 0xffff) >= rpcSlots) return 'slot out of range';
    entry += entryBytes;
    left--;
  }
  return left === 0 && count !== 0 ? '' : 'fewer entries than the header says';
}

const opcodeNames: string[] = [];
for (const [name, value] of Object.entries(Opcode)) opcodeNames[value] = name;

export function opcodeName(opcode: number): string {
  return opcodeNames[opcode] ?? `opcode ${opcode}`;
}
