/** The client's requests outside of the slots, and its reading of the first reply. Control path. */
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  SEQUENCE_OUTSIDE,
  roundUp8,
  writeFrameHeader,
  writeRequestHeader,
} from '../protocol/frame.js';
import { decodeHelloReply } from '../protocol/handshake.js';
import type { HelloReplyFields } from '../protocol/handshake.js';
import { noTag, protocolVersion } from '../protocol/limits.generated.js';
import { Opcode } from '../protocol/wire.generated.js';
import type { PeerHost } from './rpc-peer-host.js';
import type { RpcPeer } from './rpc-peer.js';

/**
 * The HelloReply in this frame (checked by checkFrame), or a text that says what is wrong with it.
 * Whether it is a refusal is `refusalOf`'s to say.
 */
export function readHelloReply(
  words: Uint32Array,
  bytes: Uint8Array,
  frame: number,
  messageBytes: number,
): HelloReplyFields | string {
  const at = (frame + FRAME_HEADER_BYTES) >>> 2;
  const entryBytes = words[at]! & 0xffff;
  const opcode = (words[at]! >>> 16) & 0xff;
  const alone = FRAME_HEADER_BYTES + entryBytes === messageBytes;
  if (opcode !== Opcode.Hello || words[at + 2] !== SEQUENCE_OUTSIDE || !alone) {
    return 'the first reply is not a handshake';
  }
  const body = frame + FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES;
  const reply = decodeHelloReply(bytes.slice(body, frame + messageBytes));
  return reply ?? 'the handshake reply does not parse';
}

/** Why this target must not be talked to; '' when it may. */
export function refusalOf(reply: HelloReplyFields, targetId: string): string {
  if (reply.status !== 0) return reply.reason === '' ? `status ${reply.status}` : reply.reason;
  if (reply.protocolVersion !== protocolVersion) {
    return `the target speaks protocol version ${reply.protocolVersion}`;
  }
  if (reply.targetId !== targetId) return `another target answers there: ${reply.targetId}`;
  return '';
}

/**
 * Queues a request without a slot, in a frame of its own, on this connection of `peer`; false when no
 * message slot is free.
 */
export function sendOutside(
  host: PeerHost,
  peer: RpcPeer,
  connection: number,
  opcode: number,
  body: Uint8Array,
): boolean {
  const { bytes, words, messages } = host.arena;
  const message = messages.take();
  if (message === 0) return false;
  const entry = message + FRAME_HEADER_BYTES;
  const entryBytes = ENTRY_HEADER_BYTES + roundUp8(body.length);
  bytes.fill(0, entry, entry + entryBytes);
  bytes.set(body, entry + ENTRY_HEADER_BYTES);
  writeRequestHeader(words, entry, entryBytes, opcode, 0, 0, SEQUENCE_OUTSIDE, host.mapEpoch);
  writeFrameHeader(words, message, FRAME_HEADER_BYTES + entryBytes, noTag, 1, 0);
  host.transport.send(connection, message, FRAME_HEADER_BYTES + entryBytes, true);
  host.markDirty(peer);
  return true;
}
