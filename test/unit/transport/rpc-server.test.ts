/**
 * Protects the server's rules from a client that is written by hand: refusal of versions, order of
 * the handshake, what each sequence number means, and two connections of one session.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { beforeEach, describe, it } from 'mocha';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  REPLY_REPLAYED,
  writeFrameHeader,
  writeRequestHeader,
} from '../../../src/protocol/frame.js';
import { decodeHelloReply, encodeHello } from '../../../src/protocol/handshake.js';
import { noTag, protocolVersion } from '../../../src/protocol/limits.generated.js';
import { writeU53 } from '../../../src/protocol/u53.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import type { TransportHandler } from '../../../src/transport/transport.js';
import { CLUSTER_ID, CounterTarget, Durable, INCREMENT, PEEK, PORT } from './counter-cluster.js';

interface Reply {
  connection: number;
  opcode: number;
  flags: number;
  slot: number;
  status: number;
  sequence: number;
  body: Uint8Array;
}

/** Sends requests with any header, keeps every reply. */
class RawClient implements TransportHandler {
  readonly arena = createPlainArena({ messageSlots: 32, bulkSlots: 1 });
  readonly transport: SimTransport;
  readonly replies: Reply[] = [];
  readonly closed: number[] = [];
  opened = 0;
  readonly #world: SimWorld;

  constructor(network: SimNetwork, node: string) {
    this.#world = network.world;
    const scheduler = new SimScheduler(network.world, node);
    this.transport = new SimTransport(network, node, scheduler, this.arena);
    this.transport.setHandler(this);
  }

  connect(): number {
    const connection = this.transport.connect('t', PORT);
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
      clusterId: CLUSTER_ID,
      targetId: 't',
      clientName: 'raw',
      slotCount: 64,
      kind: 'client' as const,
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

describe('rpc server, by hand', () => {
  let world: SimWorld;
  let network: SimNetwork;
  let durable: Durable;
  let target: CounterTarget;
  let client: RawClient;

  beforeEach(() => {
    world = new SimWorld(5);
    network = new SimNetwork(world);
    durable = new Durable();
    target = new CounterTarget(network, 't', durable, 'one');
    target.service.slowRate = 0;
    client = new RawClient(network, 'c');
  });

  const settle = (ms = 50): void => {
    world.run(() => false, ms);
  };

  it('refuses another protocol version with both numbers, then closes', () => {
    const connection = client.connect();
    const reply = client.hello(connection, 9);
    assert.equal(reply.status, constants.errno.EPROTO);
    const fields = decodeHelloReply(reply.body)!;
    assert.equal(fields.status, constants.errno.EPROTO);
    assert.equal(fields.protocolVersion, protocolVersion);
    assert.match(fields.reason, /version 9 .* only 1/);
    client.request(connection, PEEK, 0, 1);
    settle(2000);
    assert.deepEqual(client.closed, [connection]);
    assert.equal(target.server.counters.requests, 0);
  });

  it('closes a connection whose first request is not a handshake, and one with two', () => {
    const early = client.connect();
    client.request(early, PEEK, 0, 1);
    settle(500);
    const twice = client.connect();
    client.hello(twice);
    client.send(twice, Opcode.Hello, 0, 1, new Uint8Array(8));
    settle(500);
    assert.deepEqual(client.closed, [early, twice]);
    assert.equal(target.server.counters.protocolErrors, 2);
  });

  it('closes a connection without a handshake after a while: slow or gone, no protocol error', () => {
    const connection = client.connect();
    settle(60_000);
    assert.deepEqual(client.closed, [connection]);
    assert.equal(target.server.counters.protocolErrors, 0);
  });

  it('executes newer sequence numbers, over the wrap too, and drops older ones', () => {
    const connection = client.connect();
    client.hello(connection);
    for (const sequence of [5, 4, 6, 0x70000000, 0xe0000000, 0xffffffff, 1]) {
      client.request(connection, INCREMENT, 3, sequence, sequence);
      settle();
    }
    const executed = [5, 6, 0x70000000, 0xe0000000, 0xffffffff, 1];
    assert.deepEqual(
      client.replies.slice(1).map((reply) => reply.sequence),
      executed,
    );
    assert.deepEqual([...durable.applied.keys()], executed);
    assert.equal(target.server.counters.dropped, 1);
  });

  it('answers a repeated mutation from its record, in this process and in the next', () => {
    const connection = client.connect();
    client.hello(connection);
    client.request(connection, INCREMENT, 1, 1);
    settle();
    client.request(connection, INCREMENT, 1, 1);
    settle();
    target.transport.crash();
    target = new CounterTarget(network, 't', durable, 'two');
    target.service.slowRate = 0;
    const again = client.connect();
    const hello = decodeHelloReply(client.hello(again).body)!;
    assert.equal(hello.newSession, true);
    assert.equal(hello.incarnation, 'two');
    client.request(again, INCREMENT, 1, 1);
    settle();
    const answers = client.replies.filter((reply) => reply.opcode === INCREMENT);
    assert.deepEqual(
      answers.map((reply) => [reply.flags, reply.status, reply.body[0]]),
      [
        [0, 0, 1],
        [REPLY_REPLAYED, 0, 1],
        [REPLY_REPLAYED, 0, 1],
      ],
    );
    assert.equal(durable.total, 1);
  });

  it('executes a read again, and closes when a repetition is another operation', () => {
    const connection = client.connect();
    client.hello(connection);
    for (let i = 0; i < 3; i++) client.request(connection, PEEK, 0, 1);
    client.request(connection, INCREMENT, 1, 1);
    settle();
    assert.equal(client.replies.filter((reply) => reply.opcode === PEEK).length, 3);
    client.request(connection, Opcode.Unlink, 1, 1);
    settle(500);
    assert.deepEqual(client.closed, [connection]);
    assert.equal(durable.total, 1);
  });

  it('lets a newer request take the slot of one in execution, whose reply is then dropped', () => {
    const connection = client.connect();
    client.hello(connection);
    target.service.slowRate = 1;
    target.service.slowMs = 100;
    client.request(connection, INCREMENT, 1, 1, 1);
    settle();
    target.service.slowRate = 0;
    client.request(connection, INCREMENT, 1, 2, 2);
    settle(1000);
    const answers = client.replies.filter((reply) => reply.opcode === INCREMENT);
    assert.deepEqual(
      answers.map((reply) => reply.sequence),
      [2],
    );
    assert.equal(durable.total, 2);
    // The record is the newer one's.
    client.request(connection, INCREMENT, 1, 2, 2);
    settle();
    assert.equal(client.replies.at(-1)!.flags, REPLY_REPLAYED);
    assert.equal(durable.total, 2);
  });

  it('binds a session to its newest connection and closes the older one', () => {
    const first = client.connect();
    client.hello(first);
    target.service.slowRate = 1;
    client.request(first, INCREMENT, 1, 1);
    settle(5);
    const second = client.connect();
    client.hello(second);
    client.request(second, INCREMENT, 1, 1);
    settle(1000);
    assert.deepEqual(client.closed, [first]);
    const answers = client.replies.filter((reply) => reply.opcode === INCREMENT);
    assert.deepEqual(
      answers.map((reply) => reply.connection),
      [second],
    );
    assert.equal(durable.total, 1);
    assert.equal(target.server.connectionCount, 1);
  });
});
