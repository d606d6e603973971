/**
 * Throws random and mutated frames at RpcServer and RpcClient for SEALFS_FUZZ_SECONDS (2 by
 * default), in virtual time. Whatever arrives: nothing is thrown, an honest client of the same
 * server is served all the while, each call is done once, and all memory comes back. A failing seed
 * is printed; SEALFS_FUZZ_SEED runs it alone.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_REPLIES,
  writeFrameHeader,
  writeReplyHeader,
  writeRequestHeader,
} from '../../../src/protocol/frame.js';
import { encodeHello, encodeHelloReply } from '../../../src/protocol/handshake.js';
import { noTag, protocolVersion } from '../../../src/protocol/limits.generated.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { RpcClient, RpcOperation } from '../../../src/transport/rpc-client.js';
import { RpcServer } from '../../../src/transport/rpc-server.js';
import type { RpcRequest, RpcService, Session } from '../../../src/transport/rpc-server.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import type { SimRandom } from '../../../src/transport/sim/sim-random.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import type { TransportHandler } from '../../../src/transport/transport.js';
import { fuzzFor, fuzzSeconds } from '../../support/fuzz-seeds.js';

const PORT = 1;

interface Node {
  arena: ArenaMemory;
  scheduler: SimScheduler;
  transport: SimTransport;
}

function makeNode(network: SimNetwork, name: string): Node {
  const arena = createPlainArena({ messageSlots: 80, bulkSlots: 6 });
  const scheduler = new SimScheduler(network.world, name);
  return { arena, scheduler, transport: new SimTransport(network, name, scheduler, arena) };
}

/** Answers everything, now or later, at times with bulk; records some of it. */
class AnyService implements RpcService {
  server: RpcServer | undefined;
  readonly node: Node;
  readonly random: SimRandom;

  constructor(node: Node, random: SimRandom) {
    this.node = node;
    this.random = random;
  }

  onRequest(request: RpcRequest): void {
    assert.ok(request.bodyBytes % 8 === 0 && request.body % 8 === 0);
    let sum = 0;
    for (let i = 0; i < request.bodyBytes; i++) sum += this.node.arena.bytes[request.body + i]!;
    assert.ok(!Number.isNaN(sum), 'the body lies in the arena');
    const { session, slot, sequence, opcode } = request;
    if (this.random.chance(0.5)) session.record(slot, sequence, opcode, 0, 1, 2);
    else if (this.random.chance(0.3)) session.recordVolatile(slot, sequence, opcode, 5);
    if (this.random.chance(0.5)) this.#answer(request);
    else {
      this.node.scheduler.setTimer(this.random.next() * 50, () => {
        this.#answer(request);
      });
    }
  }

  onReplay(request: RpcRequest): void {
    this.#answer(request);
  }

  #answer(request: RpcRequest): void {
    const server = this.server!;
    const lengthBytes = 8 * this.random.below(20);
    const body = server.beginReply(request, lengthBytes);
    this.node.arena.bytes.fill(1, body, body + lengthBytes);
    const slot = request.opcode === Opcode.Read ? this.node.arena.bulk.take() : 0;
    if (slot !== 0) server.addReplyBulk(slot, 64, true);
    server.endReply(request, 0, lengthBytes);
  }

  loadSession(): Uint8Array | undefined {
    return undefined;
  }

  onSessionOpened(session: Session): void {
    session.context = 'open';
  }

  onSessionClosed(session: Session): void {
    assert.equal(session.context, 'open', 'a session is closed once');
    session.context = 'closed';
  }
}

class Call extends RpcOperation {
  doneCount = 0;
  status = -1;
  readonly node: Node;

  constructor(node: Node, random: SimRandom) {
    super();
    this.node = node;
    this.opcode = 2 + random.below(26);
    this.bodyBytes = 8 * random.below(30);
    this.deadlineMs = 500;
    const kind = random.next();
    const slot = kind < 0.4 ? node.arena.bulk.take() : 0;
    // What is read needs a place to land.
    if (this.opcode === Opcode.Read && (slot === 0 || kind < 0.2)) this.opcode = Opcode.Lookup;
    if (slot === 0) return;
    if (kind < 0.2) {
      this.bulkOffset = slot;
      this.bulkBytes = 1 + random.below(3000);
    } else {
      this.landingOffset = slot;
      this.landingBytes = 4096;
    }
  }

  encode(): number {
    return this.bodyBytes;
  }

  done(status: number): void {
    this.doneCount++;
    this.status = status;
    const slot = this.bulkOffset + this.landingOffset;
    if (slot !== 0) this.node.arena.bulk.give(slot);
    this.bulkOffset = 0;
    this.landingOffset = 0;
    this.bulkBytes = 0;
    this.landingBytes = 0;
  }
}

/** Sends what nobody should: valid frames with some bytes changed, cut off, or noise. */
class Rogue implements TransportHandler {
  readonly node: Node;
  readonly random: SimRandom;
  readonly isServer: boolean;
  /** The last slots and sequence numbers seen, to be near the truth. */
  readonly seen: { slot: number; sequence: number; opcode: number }[] = [];

  constructor(node: Node, random: SimRandom, isServer: boolean) {
    this.node = node;
    this.random = random;
    this.isServer = isServer;
    node.transport.setHandler(this);
  }

  onOpen(connection: number): void {
    if (this.isServer) return;
    if (this.random.chance(0.8)) this.#sendHello(connection);
    for (let i = this.random.below(8); i > 0; i--) this.sendAny(connection);
  }

  onMessage(connection: number, frame: number, _bytes: number, bulkOffset: number): void {
    if (bulkOffset !== 0) this.node.arena.bulk.give(bulkOffset);
    const words = this.node.arena.words;
    const at = (frame + FRAME_HEADER_BYTES) >>> 2;
    const opcode = (words[at]! >>> 16) & 0xff;
    this.seen.push({ slot: words[at + 1]! & 0xffff, sequence: words[at + 2]!, opcode });
    if (this.seen.length > 8) this.seen.shift();
    if (this.isServer && opcode === Opcode.Hello && this.random.chance(0.8)) {
      this.#sendHello(connection);
      return;
    }
    for (let i = this.random.below(4); i > 0; i--) this.sendAny(connection);
  }

  onClose(): void {
    // Expected all the time.
  }

  #sendHello(connection: number): void {
    const reply = encodeHelloReply({
      protocolVersion,
      status: this.random.chance(0.1) ? 71 : 0,
      reason: '',
      targetId: 't',
      incarnation: 'x',
      mapEpoch: 1,
      newSession: false,
    });
    const hello = encodeHello({
      protocolVersion: this.random.chance(0.1) ? 9 : protocolVersion,
      sessionId: String(this.random.below(4)).padStart(32, '0'),
      clusterId: 'c',
      targetId: 't',
      clientName: 'rogue',
      slotCount: 64,
      kind: 'client',
      client: 1,
    });
    const body = this.isServer ? reply : hello;
    const slot = this.node.arena.messages.take();
    if (slot === 0) return;
    const { bytes, words } = this.node.arena;
    const entry = slot + FRAME_HEADER_BYTES;
    const entryBytes = ENTRY_HEADER_BYTES + ((body.length + 7) & ~7);
    bytes.set(body, entry + ENTRY_HEADER_BYTES);
    writeRequestHeader(words, entry, entryBytes, Opcode.Hello, 0, 0, 0, 0);
    this.#send(connection, slot, entryBytes, 1, this.random.chance(0.1));
  }

  sendAny(connection: number): void {
    const { arena } = this.node;
    const slot = arena.messages.take();
    if (slot === 0) return;
    const random = this.random;
    let at = slot + FRAME_HEADER_BYTES;
    const count = random.below(6);
    for (let i = 0; i < count; i++) {
      const like = this.seen[random.below(this.seen.length + 1)];
      const entryBytes = ENTRY_HEADER_BYTES + 8 * random.below(12);
      const rpcSlot = like !== undefined ? like.slot & 63 : random.below(64);
      const sequence = like !== undefined ? like.sequence : random.below(4);
      const opcode = like !== undefined ? like.opcode : random.below(30);
      if (this.isServer) {
        const status = random.below(3);
        writeReplyHeader(arena.words, at, entryBytes, opcode, 0, rpcSlot, status, sequence, 1);
      } else {
        writeRequestHeader(arena.words, at, entryBytes, opcode, 0, rpcSlot, sequence, 1);
      }
      at += entryBytes;
    }
    this.#send(connection, slot, at - slot - FRAME_HEADER_BYTES, count, random.chance(0.6));
  }

  #send(
    connection: number,
    slot: number,
    entriesBytes: number,
    count: number,
    mutate: boolean,
  ): void {
    const { arena, transport } = this.node;
    const random = this.random;
    let bytes = FRAME_HEADER_BYTES + entriesBytes;
    const tag = this.isServer && random.chance(0.5) ? random.below(64) : noTag;
    const flags = this.isServer ? FRAME_REPLIES : 0;
    writeFrameHeader(arena.words, slot, bytes, tag, count, flags);
    if (mutate) {
      for (let i = random.below(6); i > 0; i--) {
        arena.bytes[slot + random.below(bytes)] = random.chance(0.3) ? 0xff : random.below(256);
      }
      if (random.chance(0.2)) bytes = 8 * random.below(bytes / 8 + 1);
      if (random.chance(0.1)) bytes = Math.min(16384, bytes + 8 * random.below(50));
    }
    const bulk = random.chance(0.2) ? arena.bulk.take() : 0;
    if (bulk !== 0) transport.addBulk(bulk, 1 + random.below(5000), true);
    transport.send(connection, slot, bytes, true);
    transport.flush();
  }
}

/** A server among rogues, and an honest client that must not notice. */
function fuzzServer(seed: number): number {
  const world = new SimWorld(seed);
  const network = new SimNetwork(world);
  const target = makeNode(network, 't');
  const service = new AnyService(target, world.random);
  const server = new RpcServer(target.transport, target.arena, target.scheduler, service, {
    clusterId: 'c',
    targetId: 't',
    incarnation: '1',
    sessionsMax: 4,
    sessionExpiryMs: 500,
    handshakeTimeoutMs: 300,
  });
  service.server = server;
  void target.transport.listen('t', PORT);
  const honest = makeNode(network, 'h');
  const options = { clusterId: 'c', clientName: 'honest' };
  const client = new RpcClient(honest.transport, honest.arena, honest.scheduler, options);
  const peer = client.peer({ targetId: 't', host: 't', port: PORT });
  const calls: Call[] = [];
  const callSome = (): void => {
    for (let i = world.random.below(10); i > 0; i--) {
      const call = new Call(honest, world.random);
      call.deadlineMs = 0;
      calls.push(call);
      peer.call(call);
    }
    if (calls.length < 60) honest.scheduler.setTimer(world.random.next() * 10, callSome);
  };
  peer.connect();
  world.run(() => peer.state === 'ready', 1000);
  callSome();
  const rogue = new Rogue(makeNode(network, 'r'), world.random, false);
  for (let i = 0; i < 40; i++) {
    world.schedule(world.random.next() * 200, () => {
      rogue.node.transport.connect('t', PORT);
    });
  }
  world.run(() => false, 2000);
  rogue.node.transport.shutdown();
  world.run(() => false, 3000);
  for (const call of calls) {
    assert.equal(call.doneCount, 1, 'an honest call is done once');
    assert.equal(call.status, 0, 'an honest call succeeds');
  }
  assert.equal(peer.protocolErrors, 0);
  assert.equal(server.connectionCount, 1, 'rogues are gone');
  assert.equal([...server.sessions].length, 1, 'and their sessions');
  assert.equal(target.arena.messages.available, target.arena.messages.capacity - 2);
  assert.equal(target.arena.bulk.available, target.arena.bulk.capacity);
  return server.counters.protocolErrors;
}

/** A client whose server is the rogue. */
function fuzzClient(seed: number): number {
  const world = new SimWorld(seed);
  const network = new SimNetwork(world);
  const rogue = new Rogue(makeNode(network, 't'), world.random, true);
  void rogue.node.transport.listen('t', PORT);
  const node = makeNode(network, 'c');
  const client = new RpcClient(node.transport, node.arena, node.scheduler, {
    clusterId: 'c',
    clientName: 'honest',
    keepaliveMs: 200,
    probeTimeoutMs: 100,
  });
  const peer = client.peer({ targetId: 't', host: 't', port: PORT });
  const calls: Call[] = [];
  const callSome = (): void => {
    for (let i = world.random.below(20); i > 0; i--) {
      const call = new Call(node, world.random);
      calls.push(call);
      peer.call(call);
    }
    if (calls.length < 100) node.scheduler.setTimer(world.random.next() * 60, callSome);
  };
  node.scheduler.deliver(callSome);
  world.run(() => calls.length >= 100 && calls.every((call) => call.doneCount > 0), 10_000);
  client.close();
  world.run(() => false, 1000);
  for (const call of calls) assert.equal(call.doneCount, 1, 'a call is done once');
  assert.equal(peer.freeSlots, 64);
  assert.equal(node.arena.messages.available, node.arena.messages.capacity - 1);
  assert.equal(node.arena.bulk.available, node.arena.bulk.capacity);
  return peer.protocolErrors;
}

function fuzz(run: (seed: number) => number): void {
  let errors = 0;
  let runs = 0;
  fuzzFor(fuzzSeconds / 2, (seed) => {
    errors += run(seed);
    runs++;
  });
  assert.ok(errors > 0 || runs < 5, 'no bad frame was ever noticed');
}

describe('fuzz: frames', function () {
  this.timeout(10_000 + 2000 * fuzzSeconds);

  it('at a server harm nobody else', () => {
    fuzz(fuzzServer);
  });

  it('at a client end in a new connection', () => {
    fuzz(fuzzClient);
  });
});
