/**
 * Protects the RPC layer's promises one by one, in virtual time: batching, back-pressure, deadlines,
 * cancelling, hard and soft, silent connections, moved and refused targets, sessions.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { beforeEach, describe, it } from 'mocha';
import { RECALL_LIMIT_MS } from '../../../src/protocol/leases.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { RPC_LAZY_MS } from '../../../src/transport/rpc-client.js';
import type { RpcPeer } from '../../../src/transport/rpc-client.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import {
  CounterClient,
  CounterOperation,
  CounterTarget,
  Durable,
  FETCH,
  INCREMENT,
  PEEK,
  PORT,
  STORE,
  SWALLOW,
} from './counter-cluster.js';

const { EINTR, EIO, ENOTCONN, ETIMEDOUT } = constants.errno;

let world: SimWorld;
let network: SimNetwork;
let durable: Durable;
let target: CounterTarget;
let nextId: number;

beforeEach(() => {
  world = new SimWorld(1);
  network = new SimNetwork(world);
  durable = new Durable();
  target = new CounterTarget(network, 't', durable, 'one');
  target.service.slowRate = 0;
  nextId = 1;
});

function peerOf(client: CounterClient): RpcPeer {
  return client.client.peer({ targetId: 't', host: 't', port: PORT });
}

/** Calls in one turn of the client. */
function call(
  client: CounterClient,
  opcode: number,
  count = 1,
  deadlineMs = 0,
  lazy = false,
): CounterOperation[] {
  const operations: CounterOperation[] = [];
  for (let i = 0; i < count; i++) {
    const operation = new CounterOperation(client, opcode, nextId++);
    assert.ok(operation.prepare());
    operation.deadlineMs = deadlineMs;
    operation.lazy = lazy;
    operations.push(operation);
  }
  client.scheduler.deliver(() => {
    for (const operation of operations) peerOf(client).call(operation);
  });
  return operations;
}

function finish(operations: CounterOperation[], forMs = 60_000): void {
  const ended = world.run(() => operations.every((operation) => operation.doneCount > 0), forMs);
  assert.ok(ended, 'operations hang');
}

function restart(incarnation: string): void {
  target.transport.crash();
  target = new CounterTarget(network, 't', durable, incarnation);
  target.service.slowRate = 0;
}

function connected(client: CounterClient): void {
  finish(call(client, PEEK));
}

describe('rpc: calls', () => {
  it('answers, and a turn of requests is one frame each way', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const before = client.transport.counters.framesSent;
    const answers = client.transport.counters.framesReceived;
    const operations = call(client, INCREMENT, 50);
    finish(operations);
    assert.deepEqual(
      operations.map((operation) => operation.result),
      Array.from({ length: 50 }, (_, i) => i + 1),
    );
    assert.equal(client.transport.counters.framesSent - before, 1);
    assert.equal(client.transport.counters.framesReceived - answers, 1);
    assert.equal(client.messagesTaken, 0);
  });

  it('lets lazy calls leave with the next one, in their order, or soon', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const { counters } = client.transport;
    const before = counters.framesSent;
    const lazy = call(client, INCREMENT, 2, 0, true);
    world.run(() => false, RPC_LAZY_MS / 2);
    assert.equal(counters.framesSent, before);
    const others = call(client, INCREMENT);
    finish([...lazy, ...others]);
    assert.deepEqual(
      [...lazy, ...others].map(({ result }) => result),
      [1, 2, 3],
    );
    assert.equal(counters.framesSent - before, 1);
    const alone = call(client, INCREMENT, 1, 0, true);
    finish(alone, RPC_LAZY_MS + 20);
    assert.equal(counters.framesSent - before, 2);
    // More of them than slots that they may hold.
    finish(call(client, INCREMENT, 200, 0, true), 200);
    assert.equal(client.messagesTaken, 0);
  });

  it('sends lazy calls again that had not left when the connection was lost', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const lazy = call(client, INCREMENT, 3, 0, true);
    world.run(() => false, RPC_LAZY_MS / 2);
    network.breakBetween('c', 't');
    finish(lazy);
    assert.deepEqual(
      lazy.map(({ result }) => result),
      [1, 2, 3],
    );
  });

  it('keeps order and loses nothing beyond 64 outstanding', () => {
    const client = new CounterClient(network, 'c', { messageSlots: 3 });
    const operations = call(client, INCREMENT, 1000);
    finish(operations);
    operations.forEach((operation, i) => {
      assert.equal(operation.result, i + 1);
    });
    assert.equal(peerOf(client).freeSlots, 64);
  });

  it('sends and receives data in place', () => {
    const client = new CounterClient(network, 'c');
    const operations = call(client, STORE, 7);
    finish(operations);
    operations.push(...call(client, FETCH, 7));
    finish(operations);
    for (const operation of operations) assert.equal(operation.status, 0);
    assert.equal(durable.applied.size, 7);
    world.run(() => false, 100);
    assert.equal(client.arena.bulk.available, client.arena.bulk.capacity);
    assert.equal(target.arena.bulk.available, target.arena.bulk.capacity);
  });

  it('returns an echo as it was sent', () => {
    const client = new CounterClient(network, 'c');
    const operations = call(client, Opcode.Echo, 3);
    finish(operations);
    for (const operation of operations) assert.equal(operation.result, operation.id);
  });

  it('refuses to send one operation twice', () => {
    const client = new CounterClient(network, 'c');
    const operation = new CounterOperation(client, PEEK, 1);
    peerOf(client).call(operation);
    assert.throws(() => {
      peerOf(client).call(operation);
    }, /outstanding/);
    operation.bodyBytes = 20_000;
    operation.rpcState = -1;
    assert.throws(() => {
      peerOf(client).call(operation);
    }, RangeError);
  });

  it('answers when the server has no message slot free for a while', () => {
    target.transport.crash();
    target = new CounterTarget(network, 't', durable, 'two', { messageSlots: 4 });
    target.service.slowRate = 0;
    const hoard = [target.arena.messages.take(), target.arena.messages.take()];
    const client = new CounterClient(network, 'c');
    const operations = [...call(client, INCREMENT, 64), ...call(client, FETCH, 2)];
    world.run(() => false, 50);
    assert.ok(operations.every((operation) => operation.doneCount === 0));
    for (const offset of hoard) target.arena.messages.give(offset);
    finish(operations, 100);
    assert.ok(operations.every((operation) => operation.status === 0));
  });
});

describe('rpc: giving up', () => {
  it('fails a call at its deadline, and its slot comes back with the late answer only', () => {
    const client = new CounterClient(network, 'c');
    target.service.slowRate = 1;
    target.service.slowMs = 200;
    connected(client);
    const started = world.nowMs;
    const [operation] = call(client, INCREMENT, 1, 1);
    finish([operation!]);
    assert.equal(operation!.status, ETIMEDOUT);
    assert.ok(operation!.doneMs - started < 120);
    assert.equal(peerOf(client).freeSlots, 63);
    world.run(() => false, 1000);
    assert.equal(durable.total, 1);
    assert.equal(peerOf(client).freeSlots, 64);
    assert.equal(operation!.doneCount, 1);
    assert.equal(peerOf(client).protocolErrors, 0);
  });

  it('fails a waiting call at its deadline, without a connection too', () => {
    const client = new CounterClient(network, 'c');
    network.partition('c', 't');
    const operations = call(client, PEEK, 100, 500);
    finish(operations);
    for (const operation of operations) assert.equal(operation.status, ETIMEDOUT);
    assert.ok(world.nowMs >= 500 && world.nowMs < 600, `at ${world.nowMs}`);
  });

  it('lets nothing land after a deadline', () => {
    const client = new CounterClient(network, 'c', { bulkSlots: 1 });
    connected(client);
    network.partition('c', 't');
    const [fetch] = call(client, FETCH, 1, 100);
    finish([fetch!]);
    assert.equal(fetch!.status, ETIMEDOUT);
    const slot = client.arena.bulk.take();
    client.arena.bytes.fill(0x55, slot, slot + 8192);
    network.heal('c', 't');
    world.run(() => false, 1000);
    assert.ok(client.arena.bytes.subarray(slot, slot + 8192).every((byte) => byte === 0x55));
    assert.equal(peerOf(client).freeSlots, 64);
  });

  it('gives back memory with data in flight only when the connection is gone', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    network.partition('c', 't');
    const [store] = call(client, STORE, 1, 100);
    const [peek] = call(client, PEEK);
    finish([store!]);
    assert.equal(store!.status, ETIMEDOUT);
    network.heal('c', 't');
    finish([peek!]);
    assert.equal(peek!.status, 0);
    assert.equal(peerOf(client).freeSlots, 64);
  });

  it('cancels waiting and sent calls', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const sent = call(client, SWALLOW, 61);
    const waiting = call(client, PEEK, 5);
    world.run(() => false, 10);
    const peer = peerOf(client);
    assert.equal(peer.freeSlots, 3);
    for (const operation of [waiting[1]!, sent[0]!, waiting[4]!]) {
      peer.cancel(operation);
      assert.equal(operation.status, EINTR);
      peer.cancel(operation);
      assert.equal(operation.doneCount, 1);
    }
    // The slot of the sent one is not free before the answer or the connection's end.
    assert.equal(peer.freeSlots, 3);
    network.breakBetween('c', 't');
    finish([waiting[0]!, waiting[2]!, waiting[3]!]);
    assert.equal(peer.outstanding, 60);
  });

  it('has slots for urgent calls when all others wait, for an answer or for a slot', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const waiting = call(client, SWALLOW, 100);
    world.run(() => false, 10);
    const urgent = [1, 2, 3, 4].map(() => new CounterOperation(client, PEEK, nextId++));
    client.scheduler.deliver(() => {
      for (const operation of urgent) {
        operation.urgent = true;
        peerOf(client).call(operation);
      }
    });
    finish(urgent, 100);
    assert.ok(urgent.every(({ status }) => status === 0));
    assert.ok(waiting.every(({ doneCount }) => doneCount === 0));
    // Also those that were called before there was a connection.
    network.breakBetween('c', 't');
    const [later] = urgent;
    client.scheduler.deliver(() => {
      peerOf(client).call(later!);
    });
    world.run(() => later!.doneCount === 2, 5000);
    assert.equal(later!.doneCount, 2);
  });

  it('fails everything when the client is closed, later calls included', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const operations = [...call(client, SWALLOW, 70), ...call(client, STORE, 3)];
    world.run(() => false, 10);
    client.client.close();
    finish(operations, 100);
    for (const operation of operations) assert.notEqual(operation.status, 0);
    const [late] = call(client, PEEK);
    finish([late!], 100);
    assert.equal(late!.status, ENOTCONN);
    assert.equal(client.messagesTaken, 0);
    assert.equal(peerOf(client).state, 'closed');
  });
});

describe('rpc: a target that is away', () => {
  it('blocks hard calls until it is back', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    target.transport.crash();
    const operations = call(client, INCREMENT, 100);
    world.run(() => false, 30_000);
    assert.ok(operations.every((operation) => operation.doneCount === 0));
    restart('two');
    finish(operations, 3000);
    assert.equal(durable.total, 100);
  });

  it('fails soft calls after the time-out, and serves again when it is back', () => {
    const client = new CounterClient(network, 'c', { mode: 'soft', softTimeoutMs: 2000 });
    connected(client);
    target.transport.crash();
    const began = world.nowMs;
    const operations = call(client, INCREMENT, 100);
    finish(operations);
    for (const operation of operations) assert.equal(operation.status, EIO);
    assert.ok(world.nowMs - began >= 1900 && world.nowMs - began < 2600);
    const again = call(client, PEEK);
    finish(again, 50);
    assert.equal(again[0]!.status, EIO);
    restart('two');
    world.run(() => peerOf(client).state === 'ready', 3000);
    const served = call(client, PEEK, 2);
    finish(served, 100);
    assert.equal(served[1]!.status, 0);
  });

  it('is found out when its connection falls silent, and asked again', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    network.partition('c', 't');
    const operations = call(client, INCREMENT, 3);
    world.run(() => false, 9_000);
    assert.equal(peerOf(client).state, 'ready');
    world.run(() => false, 8_000);
    assert.notEqual(peerOf(client).state, 'ready');
    network.heal('c', 't');
    finish(operations, 5_000);
    assert.equal(durable.total, 3);
  });

  it('that is only slow is probed and left alone', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    const operations = call(client, SWALLOW, 2);
    const frames = client.transport.counters.framesSent;
    world.run(() => false, 60_000);
    assert.equal(peerOf(client).state, 'ready');
    assert.equal(target.server.counters.dropped, 0);
    const probes = client.transport.counters.framesSent - frames;
    assert.ok(probes >= 4 && probes <= 8, `${probes} frames`);
    assert.ok(operations.every((operation) => operation.doneCount === 0));
  });

  it('is followed when it moves', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    target.transport.crash();
    const operations = call(client, INCREMENT, 5);
    world.run(() => false, 1000);
    const moved = new CounterTarget(network, 'elsewhere', durable, 'two', { targetId: 't' });
    client.client.peer({ targetId: 't', host: 'elsewhere', port: PORT });
    finish(operations, 2000);
    assert.equal(moved.server.counters.requests, 5);
  });

  it('tells of a new incarnation before anything new is sent', () => {
    const seen: boolean[] = [];
    const client = new CounterClient(network, 'c', {
      onReady: (_peer, changed) => {
        seen.push(changed);
      },
    });
    connected(client);
    network.breakBetween('c', 't');
    world.run(() => seen.length === 2, 3000);
    restart('two');
    world.run(() => seen.length === 3, 3000);
    assert.deepEqual(seen, [false, false, true]);
    assert.equal(peerOf(client).incarnation, 'two');
  });
});

describe('rpc: handshake and sessions', () => {
  it('refuses another cluster, another target and says why', () => {
    const logs: string[] = [];
    const log = (line: string): void => {
      logs.push(line);
    };
    const stranger = new CounterClient(network, 'c', { clusterId: 'other', log });
    call(stranger, PEEK);
    world.run(() => false, 5000);
    assert.match(peerOf(stranger).refusal, /belongs to cluster cluster/);
    const lost = new CounterClient(network, 'd', { log });
    const wrong = lost.client.peer({ targetId: 'u', host: 't', port: PORT });
    wrong.connect();
    world.run(() => false, 5000);
    assert.match(wrong.refusal, /this is target t/);
    assert.ok(target.server.counters.refusedHandshakes >= 4);
    // Once for each, however often it is tried.
    assert.equal(logs.filter((line) => line.includes('refuses')).length, 2);
    assert.equal([...target.server.sessions].length, 0);
  });

  it('closes a connection without a handshake', () => {
    const client = new CounterClient(network, 'c');
    client.transport.connect('t', PORT);
    world.run(() => target.server.connectionCount === 1, 100);
    assert.equal(target.server.connectionCount, 1);
    world.run(() => false, 11_000);
    assert.equal(target.server.connectionCount, 0);
  });

  it('keeps a session without a connection for its time, then closes it', () => {
    const client = new CounterClient(network, 'c');
    connected(client);
    assert.equal(target.service.opened.length, 1);
    client.transport.crash();
    world.run(() => false, 110_000);
    assert.equal(target.service.closed.length, 0);
    world.run(() => false, 50_000);
    assert.deepEqual(target.service.closed, target.service.opened);
    assert.equal([...target.server.sessions].length, 0);
  });

  it('limits sessions: idle ones make room, connected ones do not', () => {
    target.transport.crash();
    target = new CounterTarget(network, 't', durable, 'two', { sessionsMax: 2 });
    const clients = ['a', 'b', 'c'].map((node) => new CounterClient(network, node));
    connected(clients[0]!);
    connected(clients[1]!);
    const waiting = call(clients[2]!, PEEK);
    world.run(() => false, 5000);
    assert.equal(waiting[0]!.doneCount, 0);
    assert.match(peerOf(clients[2]!).refusal, /2 sessions/);
    clients[0]!.transport.crash();
    // As long as it may count on what it holds.
    world.run(() => false, RECALL_LIMIT_MS - 1000);
    assert.equal(target.service.closed.length, 0);
    finish(waiting, 15_000);
    assert.equal(target.service.closed.length, 1);
  });

  it('gives answers to the newest connection of a session', () => {
    const client = new CounterClient(network, 'c');
    target.service.slowRate = 1;
    connected(client);
    const operations = call(client, INCREMENT, 20);
    world.run(() => target.server.counters.requests >= 21, 100);
    network.breakBetween('c', 't');
    finish(operations);
    assert.equal(durable.total, 20);
    assert.equal([...target.server.sessions].length, 1);
  });

  it('executes what is in flight and gives all memory back when the server closes', () => {
    const client = new CounterClient(network, 'c');
    target.service.slowRate = 1;
    connected(client);
    call(client, INCREMENT, 20);
    call(client, STORE, 3);
    world.run(() => target.server.counters.requests >= 24, 100);
    target.server.close();
    world.run(() => false, 1000);
    assert.equal(durable.total, 23);
    assert.equal(target.arena.messages.available, target.arena.messages.capacity - 1);
    assert.equal(target.arena.bulk.available, target.arena.bulk.capacity);
  });
});
