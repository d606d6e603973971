/**
 * Protects the server's rules from a client that is written by hand: refusal of versions, order of
 * the handshake, what each sequence number means, and two connections of one session.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { beforeEach, describe, it } from 'mocha';
import { REPLY_REPLAYED } from '../../../src/protocol/frame.js';
import { decodeHelloReply } from '../../../src/protocol/handshake.js';
import { protocolVersion } from '../../../src/protocol/limits.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import { CLUSTER_ID, CounterTarget, Durable, INCREMENT, PEEK, PORT } from './counter-cluster.js';
import { RawClient } from './raw-client.js';

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
    client = new RawClient(network, 'c', { clusterId: CLUSTER_ID, targetId: 't', port: PORT });
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

  it('says that a session is new until the client has shown that it knows', () => {
    const isNew = (connection: number): boolean =>
      decodeHelloReply(client.hello(connection).body)!.newSession;
    for (let i = 0; i < 2; i++) assert.equal(isNew(client.connect()), true);
    const connection = client.connect();
    assert.equal(isNew(connection), true);
    client.request(connection, PEEK, 0, 1);
    settle();
    assert.equal(isNew(client.connect()), false);
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
