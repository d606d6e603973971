/**
 * The handshake: the first request on each connection (opcode Hello, slot 0, sequence 0) and its
 * reply, FlatBuffers tables so that fields can be added. Encoding allocates: once a connection.
 * What arrives is checked here field by field; a table that does not parse is undefined.
 */
import * as flatbuffers from 'flatbuffers';
import { HelloReply as HelloReplyTable } from './hello-reply.generated.js';
import { Hello as HelloTable } from './hello.generated.js';
import { protocolVersion, rpcSlots } from './limits.generated.js';

/** Longest text of a handshake field that is accepted. */
export const HELLO_TEXT_MAX = 256;
/** Room that a handshake's body needs at most (texts are at most 4 bytes a UTF-16 unit). */
export const HELLO_BYTES_MAX = 8192;

export interface HelloFields {
  protocolVersion: number;
  /** 32 hex digits. */
  sessionId: string;
  clusterId: string;
  targetId: string;
  clientName: string;
  slotCount: number;
  kind: 'client' | 'target';
  /** The same in all sessions of a client, below 2^53; 0: none. */
  client: number;
}

export interface HelloReplyFields {
  protocolVersion: number;
  /** 0 or an errno: EPROTO version, ESTALE another target, EPERM another cluster, EUSERS full. */
  status: number;
  reason: string;
  targetId: string;
  incarnation: string;
  mapEpoch: number;
  newSession: boolean;
}

export function encodeHello(hello: HelloFields): Uint8Array {
  const builder = new flatbuffers.Builder(512);
  const session = builder.createString(hello.sessionId);
  const cluster = builder.createString(clip(hello.clusterId));
  const target = builder.createString(clip(hello.targetId));
  const name = builder.createString(clip(hello.clientName));
  const kind = builder.createString(hello.kind);
  const table = HelloTable.createHello(
    builder,
    hello.protocolVersion,
    session,
    cluster,
    target,
    name,
    hello.slotCount,
    kind,
    BigInt(hello.client),
  );
  builder.finish(table);
  return builder.asUint8Array();
}

export function encodeHelloReply(reply: HelloReplyFields): Uint8Array {
  const builder = new flatbuffers.Builder(512);
  const reason = builder.createString(clip(reply.reason));
  const target = builder.createString(clip(reply.targetId));
  const incarnation = builder.createString(clip(reply.incarnation));
  const table = HelloReplyTable.createHelloReply(
    builder,
    reply.protocolVersion,
    reply.status,
    reason,
    target,
    incarnation,
    reply.mapEpoch,
    reply.newSession,
  );
  builder.finish(table);
  return builder.asUint8Array();
}

/**
 * `body`: a copy, so that a wild offset in it reads nothing else. A Hello of another protocol
 * version is returned as it is (its sender gets a clear refusal), other fields that make no sense
 * make it undefined.
 */
export function decodeHello(body: Uint8Array): HelloFields | undefined {
  return decode(() => {
    const table = HelloTable.getRootAsHello(new flatbuffers.ByteBuffer(body));
    const hello: HelloFields = {
      protocolVersion: table.protocolVersion(),
      sessionId: table.sessionId() ?? '',
      clusterId: table.clusterId() ?? '',
      targetId: table.targetId() ?? '',
      clientName: table.clientName() ?? '',
      slotCount: table.slotCount(),
      kind: table.kind() === 'target' ? 'target' : 'client',
      client: Number(table.client()),
    };
    if (hello.protocolVersion !== protocolVersion) return hello;
    if (!/^[0-9a-f]{32}$/.test(hello.sessionId)) return undefined;
    if (hello.slotCount < 1 || hello.slotCount > rpcSlots) return undefined;
    if (!Number.isSafeInteger(hello.client)) return undefined;
    const texts = [hello.clusterId, hello.targetId, hello.clientName];
    return texts.every((text) => text.length <= HELLO_TEXT_MAX) ? hello : undefined;
  });
}

export function decodeHelloReply(body: Uint8Array): HelloReplyFields | undefined {
  return decode(() => {
    const table = HelloReplyTable.getRootAsHelloReply(new flatbuffers.ByteBuffer(body));
    const reply: HelloReplyFields = {
      protocolVersion: table.protocolVersion(),
      status: table.status(),
      reason: table.reason() ?? '',
      targetId: table.targetId() ?? '',
      incarnation: table.incarnation() ?? '',
      mapEpoch: table.mapEpoch(),
      newSession: table.newSession(),
    };
    const texts = [reply.reason, reply.targetId, reply.incarnation];
    return texts.every((text) => text.length <= HELLO_TEXT_MAX) ? reply : undefined;
  });
}

/** FlatBuffers reads what the peer's offsets point to: garbage in bounds, a RangeError beyond. */
function decode<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return undefined;
    throw error;
  }
}

function clip(text: string): string {
  return text.length <= HELLO_TEXT_MAX ? text : text.slice(0, HELLO_TEXT_MAX);
}
