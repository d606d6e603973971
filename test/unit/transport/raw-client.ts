/** A client written by hand: sends requests with any header over the simulator, and keeps every reply. */
import assert from 'node:assert/strict';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  writeFrameHeader,
  writeRequestHeader,
} from '../../../src/protocol/frame.js';
import { encodeHello } from '../../../src/protocol/handshake.js';
import { noTag, protocolVersion } from '../../../src/protocol/limits.generated.js';
import { writeU53 } from '../../../src/protocol/u53.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import type { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import type { SimWorld } from '../../../src/transport/sim/sim-world.js';
import type { TransportHandler } from '../../../src/transport/transport.js';

export interface Reply {
  connection: number;
  opcode: number;
  flags: number;
  slot: number;
  status: number;
  sequence: number;
  body: Uint8Array;
}

/** Of one target. */
export interface RawTarget {
  clusterId: string;
  targetId: string;
  port: number;
}

export class RawClient implements TransportHandler {
  readonly arena = createPlainArena({ messageSlots: 32, bulkSlots: 1 });
  readonly transport: SimTransport;
  readonly replies: Reply[] = [];
  readonly closed: number[] = [];
  opened = 0;
  readonly #world: SimWorld;
  readonly #target: RawTarget;

  constructor(network: SimNetwork, node: string, target: RawTarget) {
    this.#world = network.world;
    this.#target = target;
    const scheduler = new SimScheduler(network.world, node);
    this.transport = new SimTransport(network, node, scheduler, this.arena);
    this.transport.setHandler(this);
  }

  connect(): number {
    const connection = this.transport.connect(this.#target.targetId, this.#target.port);
    assert.ok(this.#world.run(() => this.opened === connection, 100));
    return connection;
  }

  request(connection: number, opcode: number, slot: number, sequence: number, id = 7): void {
    const body = new Uint8Array(16);
    writeU53(new Uint32Array(body.buffer), 0, id);
    this.send(connection, opcode, slot, sequence, body);
  }

  hello(connection: number, version = protocolVersion, sessionId = '0'.repeat(32)): Reply {
    const hello = {
      protocolVersion: version,
      sessionId,
      clusterId: this.#target.clusterId,
      targetId: this.#target.targetId,
      clientName: 'raw',
      slotCount: 64,
      kind: 'client' as const,
      client: 1,
    };
    const count = this.replies.length;
    this.send(connection, Opcode.Hello, 0, 0, encodeHello(hello));
    assert.ok(this.#world.run(() => this.replies.length > count, 100));
    return this.replies.at(-1)!;
  }

  send(connection: number, opcode: number, slot: number, sequence: number, body: Uint8Array): void {
    const message = this.arena.messages.take();
    const entry = message + FRAME_HEADER_BYTES;
    const entryBytes = ENTRY_HEADER_BYTES + ((body.length + 7) & ~7);
    this.arena.bytes.fill(0, entry, entry + entryBytes);
    this.arena.bytes.set(body, entry + ENTRY_HEADER_BYTES);
    writeRequestHeader(this.arena.words, entry, entryBytes, opcode, 0, slot, sequence, 1);
    const messageBytes = FRAME_HEADER_BYTES + entryBytes;
    writeFrameHeader(this.arena.words, message, messageBytes, noTag, 1, 0);
    this.transport.send(connection, message, messageBytes, true);
    this.transport.flush();
  }

  onOpen(connection: number): void {
    this.opened = connection;
  }

  onMessage(connection: number, frame: number, messageBytes: number): void {
    const { words, bytes } = this.arena;
    for (let entry = frame + FRAME_HEADER_BYTES; entry < frame + messageBytes;) {
      const at = entry >>> 2;
      const entryBytes = words[at]! & 0xffff;
      this.replies.push({
        connection,
        opcode: (words[at]! >>> 16) & 0xff,
        flags: words[at]! >>> 24,
        slot: words[at + 1]! & 0xffff,
        status: words[at + 1]! >>> 16,
        sequence: words[at + 2]!,
        body: bytes.slice(entry + ENTRY_HEADER_BYTES, entry + entryBytes),
      });
      entry += entryBytes;
    }
  }

  onClose(connection: number): void {
    this.closed.push(connection);
  }
}
