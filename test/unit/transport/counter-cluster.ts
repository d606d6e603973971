/**
 * A simulated cluster that counts: the smallest service whose state shows whether each request was
 * executed once. Every operation carries a number of its own; the durable state notes how often each
 * was applied, and data that travels is a pattern made of that number.
 */
import assert from 'node:assert/strict';
import { TURN_COMMIT, type Scheduler } from '../../../src/common/scheduler.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import { readU53, writeU53 } from '../../../src/protocol/u53.js';
import { Opcode } from '../../../src/protocol/wire.generated.js';
import { CombinedTransport } from '../../../src/transport/combined.js';
import { RpcClient, RpcOperation } from '../../../src/transport/rpc-client.js';
import type { RpcClientOptions } from '../../../src/transport/rpc-client.js';
import { RpcServer } from '../../../src/transport/rpc-server.js';
import type {
  RpcRequest,
  RpcServerOptions,
  RpcService,
  Session,
} from '../../../src/transport/rpc-server.js';
import type { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import type { Transport } from '../../../src/transport/transport.js';

export const CLUSTER_ID = 'cluster';
export const PORT = 1;

/** Mutation without data, mutation with bulk, read, and read with bulk. */
export const INCREMENT = Opcode.SetAttr;
export const STORE = Opcode.Write;
export const PEEK = Opcode.GetAttr;
export const FETCH = Opcode.Read;
/** Never answered. */
export const SWALLOW = Opcode.StatFs;

const BODY_BYTES = 16;

export function patternByte(id: number): number {
  return (id * 131 + 7) & 0xff;
}

/** What survives a target's crash. */
export class Durable {
  total = 0;
  readonly applied = new Map<number, number>();
  readonly sessions = new Map<string, Uint8Array>();
}

/** A mutation in wait for the turn's commit; its body is gone by then. */
interface Pending {
  request: RpcRequest;
  id: number;
}

export class CounterService implements RpcService {
  server: RpcServer | undefined;
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  /** Probability that a mutation waits for some more milliseconds, as for a disk. */
  slowRate = 0.1;
  /** What it waits for at least. */
  slowMs = 0;
  readonly #durable: Durable;
  readonly #arena: ArenaMemory;
  readonly #scheduler: Scheduler;
  #queue: Pending[] = [];

  constructor(durable: Durable, arena: ArenaMemory, scheduler: Scheduler) {
    this.#durable = durable;
    this.#arena = arena;
    this.#scheduler = scheduler;
    scheduler.onTurnEnd(TURN_COMMIT, () => {
      this.#commit();
    });
  }

  onRequest(request: RpcRequest): void {
    if (request.opcode === SWALLOW) return;
    const id = readU53(this.#arena.words, request.body);
    if (request.opcode === PEEK || request.opcode === FETCH) {
      this.#answerRead(request, id);
      return;
    }
    if (request.opcode === STORE) this.#checkBulk(request, id);
    if (this.#scheduler.random() < this.slowRate) {
      this.#scheduler.setTimer(this.slowMs + this.#scheduler.random() * 300, () => {
        this.#queue.push({ request, id });
      });
    } else {
      this.#queue.push({ request, id });
    }
  }

  onReplay(request: RpcRequest): void {
    this.#answer(request, request.recordResult0);
  }

  #checkBulk(request: RpcRequest, id: number): void {
    assert.notEqual(request.bulkOffset, 0, 'a store has bulk');
    const bulk = this.#arena.bytes.subarray(
      request.bulkOffset,
      request.bulkOffset + request.bulkBytes,
    );
    assert.ok(
      bulk.every((byte) => byte === patternByte(id)),
      `data of operation ${id} arrived changed`,
    );
  }

  #answerRead(request: RpcRequest, id: number): void {
    const server = this.server!;
    const body = server.beginReply(request, BODY_BYTES);
    writeU53(this.#arena.words, body, this.#durable.total);
    if (request.opcode === FETCH) {
      const slot = this.#arena.bulk.take();
      if (slot === 0) {
        server.endReply(request, 12, 0);
        return;
      }
      const lengthBytes = 1 + (id % 5000);
      this.#arena.bytes.fill(patternByte(id), slot, slot + lengthBytes);
      server.addReplyBulk(slot, lengthBytes, true);
    }
    server.endReply(request, 0, 8);
  }

  #answer(request: RpcRequest, result: number): void {
    const body = this.server!.beginReply(request, BODY_BYTES);
    writeU53(this.#arena.words, body, result);
    this.server!.endReply(request, 0, 8);
  }

  /** One "transaction": all changes and records of the turn, then the replies. */
  #commit(): void {
    const queue = this.#queue;
    if (queue.length === 0) return;
    this.#queue = [];
    const dirty = new Set<Session>();
    const results: number[] = [];
    for (const { request, id } of queue) {
      this.#durable.total++;
      this.#durable.applied.set(id, (this.#durable.applied.get(id) ?? 0) + 1);
      results.push(this.#durable.total);
      const { session, slot, sequence, opcode } = request;
      session.record(slot, sequence, opcode, 0, this.#durable.total, 0);
      dirty.add(session);
    }
    for (const session of dirty) {
      this.#durable.sessions.set(session.id, session.records.slice());
      session.dirty = false;
    }
    queue.forEach(({ request }, i) => {
      this.#answer(request, results[i]!);
    });
  }

  loadSession(sessionId: string): Uint8Array | undefined {
    return this.#durable.sessions.get(sessionId);
  }

  onSessionOpened(session: Session): void {
    this.opened.push(session.id);
  }

  onSessionClosed(session: Session): void {
    this.closed.push(session.id);
  }
}

/** The host of a node's second network, which stands in for rdma. */
export const rdmaHost = (node: string): string => `${node}/rdma`;

/** A node's transports: `transport` alone, or with `rdma` both as one. */
function combined(transport: SimTransport, rdma: SimTransport | undefined): Transport {
  if (rdma === undefined) return transport;
  return new CombinedTransport([
    { kind: 'rdma', transport: rdma },
    { kind: 'tcp', transport },
  ]);
}

export class CounterTarget {
  readonly arena: ArenaMemory;
  readonly scheduler: SimScheduler;
  readonly transport: SimTransport;
  readonly rdma: SimTransport | undefined;
  readonly service: CounterService;
  readonly server: RpcServer;

  constructor(
    network: SimNetwork,
    node: string,
    durable: Durable,
    incarnation: string,
    options: Partial<RpcServerOptions> & NodeShape = {},
  ) {
    const { messageSlots = 200, bulkSlots = 8, rdma, ...serverOptions } = options;
    this.arena = createPlainArena({ messageSlots, bulkSlots });
    this.scheduler = new SimScheduler(network.world, node);
    this.transport = new SimTransport(network, node, this.scheduler, this.arena);
    this.rdma = rdma === true ? secondTransport(network, node, this) : undefined;
    const both = combined(this.transport, this.rdma);
    this.service = new CounterService(durable, this.arena, this.scheduler);
    this.server = new RpcServer(both, this.arena, this.scheduler, this.service, {
      clusterId: CLUSTER_ID,
      targetId: node,
      incarnation,
      ...serverOptions,
    });
    this.service.server = this.server;
    void this.transport.listen(node, PORT);
    void this.rdma?.listen(node, PORT);
  }

  crash(): void {
    this.transport.crash();
    this.rdma?.crash();
  }
}

interface NodeShape {
  messageSlots?: number;
  bulkSlots?: number;
  /** With a second network. */
  rdma?: boolean;
}

function secondTransport(
  network: SimNetwork,
  node: string,
  { scheduler, arena }: { scheduler: SimScheduler; arena: ArenaMemory },
): SimTransport {
  return new SimTransport(network, rdmaHost(node), scheduler, arena);
}

export class CounterClient {
  readonly arena: ArenaMemory;
  readonly scheduler: SimScheduler;
  readonly transport: SimTransport;
  readonly rdma: SimTransport | undefined;
  readonly client: RpcClient;

  constructor(
    network: SimNetwork,
    node: string,
    options: Partial<RpcClientOptions> & NodeShape = {},
  ) {
    const { messageSlots = 200, bulkSlots = 16, rdma, ...clientOptions } = options;
    this.arena = createPlainArena({ messageSlots, bulkSlots });
    this.scheduler = new SimScheduler(network.world, node);
    this.transport = new SimTransport(network, node, this.scheduler, this.arena);
    this.rdma = rdma === true ? secondTransport(network, node, this) : undefined;
    const both = combined(this.transport, this.rdma);
    this.client = new RpcClient(both, this.arena, this.scheduler, {
      clusterId: CLUSTER_ID,
      clientName: node,
      ...clientOptions,
    });
  }

  /** Message slots that are taken beyond the transports' own. */
  get messagesTaken(): number {
    const own = this.rdma === undefined ? 1 : 2;
    return this.arena.messages.capacity - this.arena.messages.available - own;
  }
}

export class CounterOperation extends RpcOperation {
  id = 0;
  /** -1 until done. */
  status = -1;
  result = 0;
  doneCount = 0;
  doneMs = 0;
  readonly #arena: ArenaMemory;
  readonly #scheduler: Scheduler;
  onDone: (() => void) | undefined;

  /** `client`: where it is called from, a CounterClient for one. */
  constructor(client: { arena: ArenaMemory; scheduler: Scheduler }, opcode: number, id: number) {
    super();
    this.#arena = client.arena;
    this.#scheduler = client.scheduler;
    this.opcode = opcode;
    this.id = id;
    this.bodyBytes = BODY_BYTES;
  }

  /** Takes the bulk slot that this kind needs; false when none is free. */
  prepare(): boolean {
    if (this.opcode !== STORE && this.opcode !== FETCH) return true;
    const slot = this.#arena.bulk.take();
    if (slot === 0) return false;
    if (this.opcode === STORE) {
      this.bulkOffset = slot;
      this.bulkBytes = 1 + (this.id % 5000);
      this.#arena.bytes.fill(patternByte(this.id), slot, slot + this.bulkBytes);
    } else {
      this.landingOffset = slot;
      this.landingBytes = 8192;
    }
    return true;
  }

  encode(body: number): number {
    writeU53(this.#arena.words, body, this.id);
    return 8;
  }

  done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    this.doneCount++;
    this.status = status;
    this.doneMs = this.#scheduler.nowMs();
    if (status === 0 && bodyBytes >= 8) this.result = readU53(this.#arena.words, body);
    const slot = this.bulkBytes !== 0 ? this.bulkOffset : this.landingOffset;
    if (status === 0 && this.opcode === FETCH) {
      assert.equal(bulkBytes, 1 + (this.id % 5000));
      const data = this.#arena.bytes.subarray(slot, slot + bulkBytes);
      assert.ok(
        data.every((byte) => byte === patternByte(this.id)),
        `data fetched by operation ${this.id} is another's`,
      );
    }
    if (slot !== 0) {
      // Whoever still refers to this memory will be seen.
      this.#arena.bytes.fill(0xee, slot, slot + 8192);
      this.#arena.bulk.give(slot);
    }
    this.bulkOffset = 0;
    this.bulkBytes = 0;
    this.landingOffset = 0;
    this.landingBytes = 0;
    this.onDone?.();
  }
}
