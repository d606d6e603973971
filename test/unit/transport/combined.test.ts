/**
 * Protects targets with two endpoints, in virtual time: rdma first, tcp where it cannot be had or
 * breaks, one line for each change, back to rdma later, and every mutation exactly once meanwhile.
 * Two simulated networks stand in for the two transports. SEALFS_SIM_SEED=n runs one seed.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { beforeEach, describe, it } from 'mocha';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { CombinedTransport, combineTransports } from '../../../src/transport/combined.js';
import type { RpcPeer, TargetAddress } from '../../../src/transport/rpc-client.js';
import { endpointsOf } from '../../../src/transport/rpc-route.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import type { TransportAddress } from '../../../src/transport/transport.js';
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
  rdmaHost,
} from './counter-cluster.js';

const address = (node: string): TargetAddress => ({
  targetId: node,
  endpoints: [
    { kind: 'rdma', host: rdmaHost(node), port: PORT },
    { kind: 'tcp', host: node, port: PORT },
  ],
});

describe('combined transport', () => {
  let world: SimWorld;
  let network: SimNetwork;
  let durable: Durable;
  let target: CounterTarget;
  let lines: string[];
  let client: CounterClient;
  let nextId = 1;

  beforeEach(() => {
    world = new SimWorld(7);
    network = new SimNetwork(world);
    durable = new Durable();
    target = new CounterTarget(network, 't', durable, 'one', { rdma: true });
    lines = [];
    client = new CounterClient(network, 'c', { rdma: true, log: (line) => lines.push(line) });
  });

  const peer = (): RpcPeer => client.client.peer(address('t'));
  const peerNow = (): RpcPeer => [...client.client.peers][0]!;
  const settle = (ms: number): void => {
    world.run(() => false, ms);
  };

  function call(opcode: number, count = 1): CounterOperation[] {
    const operations = Array.from({ length: count }, () => {
      const operation = new CounterOperation(client, opcode, nextId++);
      assert.ok(operation.prepare());
      return operation;
    });
    client.scheduler.deliver(() => {
      for (const operation of operations) peer().call(operation);
    });
    return operations;
  }

  function finish(operations: CounterOperation[]): void {
    const ended = world.run(() => operations.every((one) => one.doneCount > 0), 60_000);
    assert.ok(ended, `operations hang: ${lines.join(' | ')}`);
    for (const operation of operations) assert.equal(operation.status, 0);
  }

  it('is the part itself when there is one, and carries frames and bulk of both', () => {
    assert.equal(
      combineTransports([{ kind: 'tcp', transport: target.transport }]),
      target.transport,
    );
    const tcpOnly = new CounterClient(network, 'd');
    for (const one of [client, tcpOnly]) {
      const operation = new CounterOperation(one, STORE, nextId++);
      assert.ok(operation.prepare());
      one.scheduler.deliver(() => {
        const endpoints = one.rdma === undefined ? { host: 't', port: PORT } : address('t');
        one.client.peer({ targetId: 't', ...endpoints }).call(operation);
      });
      finish([operation]);
    }
    finish(call(FETCH, 5));
    const kinds = target.server.connectionKinds();
    assert.deepEqual({ rdma: kinds.rdma, tcp: kinds.tcp }, { rdma: 1, tcp: 1 });
    assert.equal(peer().transportKind, 'rdma');
    assert.deepEqual(lines, []);
    settle(100);
    assert.equal(target.arena.bulk.available, target.arena.bulk.capacity);
  });

  it('sums counters and knows the kind of each connection', () => {
    finish(call(INCREMENT, 3));
    const transport = client.client.transport;
    assert.deepEqual(transport.kinds, ['rdma', 'tcp']);
    const { rdma, transport: tcp } = client;
    assert.ok(rdma!.counters.framesSent > 0);
    const sum = rdma!.counters.framesSent + tcp.counters.framesSent;
    assert.equal(transport.counters.framesSent, sum);
    assert.equal(transport.kindOf!(2 * 5 + 1), 'tcp');
    assert.throws(() => transport.connect('t', PORT, 'sim'), /no sim here/);
    assert.throws(() => new CombinedTransport([]), /0 transports/);
  });

  it('listens on the same port of both', async () => {
    const scheduler = new SimScheduler(world, 'u');
    const arena = createPlainArena({ messageSlots: 4, bulkSlots: 1 });
    const [a, b] = ['u', 'u/rdma'].map((node) => ({
      kind: 'sim' as const,
      transport: new SimTransport(network, node, scheduler, arena),
    }));
    const both = new CombinedTransport([a!, b!]);
    assert.equal(await both.listen('u', 7), 7);
    await assert.rejects(both.listen('u', 7), /in use/);
    both.shutdown();
  });

  it('falls back when rdma cannot be connected, with one line', () => {
    network.partition('c/rdma', 't/rdma');
    finish(call(INCREMENT, 10));
    assert.equal(peer().transportKind, 'tcp');
    assert.deepEqual(lines, ['target t: rdma://t/rdma:1: no answer in 5000 ms; using tcp']);
  });

  it('falls back when rdma breaks in mid-load, and goes back to it after 30 s', () => {
    finish(call(INCREMENT));
    const operations = call(STORE, 8).concat(call(INCREMENT, 40));
    settle(0.1);
    network.partition('c/rdma', 't/rdma');
    network.breakBetween('c/rdma', 't/rdma');
    finish(operations);
    assert.equal(peer().transportKind, 'tcp');
    assert.equal(lines.length, 1);
    assert.match(lines[0]!, /^target t: rdma:\/\/t\/rdma:1: .*; using tcp$/);
    network.heal('c/rdma', 't/rdma');
    settle(29_000);
    assert.equal(peer().transportKind, 'tcp');
    settle(2000);
    assert.equal(peer().transportKind, 'rdma');
    assert.deepEqual(lines.slice(1), ['target t: using rdma again']);
    finish(call(INCREMENT, 5));
    assert.equal(durable.total, 1 + 48 + 5);
  });

  it('tries rdma less and less often while it stays away, without a word', () => {
    network.partition('c/rdma', 't/rdma');
    finish(call(INCREMENT));
    settle(200_000);
    network.heal('c/rdma', 't/rdma');
    assert.equal(lines.length, 1);
    settle(10_000);
    assert.equal(peer().transportKind, 'tcp', 'the third trial is 125 s after the second');
    settle(120_000);
    assert.equal(peer().transportKind, 'rdma');
  });

  it('keeps rdma over a restart of the target, and over calls that were given up', () => {
    finish(call(INCREMENT));
    target.crash();
    const operations = call(INCREMENT, 3);
    settle(700);
    target = new CounterTarget(network, 't', durable, 'two', { rdma: true });
    finish(operations);
    assert.equal(peer().transportKind, 'rdma');
    target.service.slowRate = 1;
    target.service.slowMs = 1000;
    const [store] = call(STORE);
    settle(5);
    peer().cancel(store!);
    world.run(() => store!.doneCount > 0, 5000);
    assert.equal(store!.status, constants.errno.EINTR);
    finish(call(PEEK));
    assert.equal(peer().transportKind, 'rdma');
    assert.ok(lines.every((line) => !line.includes('using')));
  });

  it('tries nothing more once the client is closed', () => {
    network.partition('c/rdma', 't/rdma');
    finish(call(INCREMENT));
    settle(25_000);
    client.scheduler.deliver(() => client.client.close());
    settle(100);
    network.heal('c/rdma', 't/rdma');
    settle(600_000);
    assert.equal(target.rdma!.counters.framesReceived, 0);
    assert.equal(target.server.connectionCount, 0);
    assert.equal(lines.length, 1);
  });

  it('follows a map that gives other endpoints', () => {
    const [rdma, tcp] = endpointsOf(address('t'));
    const only = (endpoint: TransportAddress): void => {
      client.scheduler.deliver(() => {
        client.client.peer({ targetId: 't', endpoints: [endpoint] });
      });
      settle(200);
    };
    finish(call(INCREMENT));
    only(tcp!);
    assert.equal(peerNow().transportKind, 'tcp');
    only(rdma!);
    assert.equal(peerNow().transportKind, 'rdma');
    assert.deepEqual(target.server.connectionKinds(), { rdma: 1, tcp: 0, sim: 0 });
  });

  it('waits for a target without an endpoint, with one line, until the map has one', () => {
    const unreachable = 'it has no rdma endpoint';
    const nowhere = { targetId: 'n', endpoints: [], unreachable };
    const operation = new CounterOperation(client, PEEK, nextId++);
    client.scheduler.deliver(() => client.client.peer(nowhere).call(operation));
    settle(60_000);
    client.client.peer(nowhere);
    assert.equal(operation.doneCount, 0);
    assert.deepEqual(lines, [`target n cannot be reached: ${unreachable}`]);
    const late = new CounterTarget(network, 'n', new Durable(), 'one', { rdma: true });
    client.scheduler.deliver(() => client.client.peer(address('n')));
    finish([operation]);
    assert.equal(late.server.connectionKinds().rdma, 1);
  });

  it('fails soft calls to a target without an endpoint after their time', () => {
    const soft = new CounterClient(network, 's', { mode: 'soft', softTimeoutMs: 3000 });
    const operation = new CounterOperation(soft, PEEK, nextId++);
    soft.scheduler.deliver(() =>
      soft.client.peer({ targetId: 'n', endpoints: [] }).call(operation),
    );
    world.run(() => operation.doneCount > 0, 10_000);
    assert.equal(operation.status, constants.errno.EIO);
  });
});

const KINDS = [INCREMENT, INCREMENT, STORE, PEEK, FETCH];
const OPERATIONS = 200;

/** One client, one target; either network fails now and then, the target restarts. */
function runSeed(seed: number): { fallbacks: number; returns: number } {
  const world = new SimWorld(seed);
  const random = world.random;
  const network = new SimNetwork(world, { breakRate: 0.01 });
  const durable = new Durable();
  let target = new CounterTarget(network, 't', durable, 'first', { rdma: true });
  const lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  const client = new CounterClient(network, 'c', { rdma: true, log, fallbackHoldMs: 200 });
  const all: CounterOperation[] = [];
  let pending = 0;
  const issue = (): void => {
    let burst = random.below(20);
    while (all.length < OPERATIONS && burst-- > 0) {
      const kind = KINDS[random.below(KINDS.length)]!;
      const operation = new CounterOperation(client, kind, all.length + 1);
      if (!operation.prepare()) break;
      pending++;
      operation.onDone = () => pending--;
      all.push(operation);
      client.client.peer(address('t')).call(operation);
    }
    if (all.length < OPERATIONS) client.scheduler.setTimer(random.next() * 100, issue);
  };
  client.scheduler.deliver(issue);
  const trouble = (): void => {
    if (world.nowMs > 3000) return;
    const what = random.next();
    const network2 = random.chance(0.7) ? '/rdma' : '';
    if (what < 0.2) {
      target.crash();
      const incarnation = `at ${world.nowMs}`;
      world.schedule(random.next() * 200, () => {
        target = new CounterTarget(network, 't', durable, incarnation, { rdma: true });
      });
    } else {
      network.breakBetween(`c${network2}`, `t${network2}`);
      if (what < 0.7) network.partition(`c${network2}`, `t${network2}`);
      world.schedule(random.next() * 800, () => {
        network.heal(`c${network2}`, `t${network2}`);
      });
    }
    world.schedule(250 + random.next() * 400, trouble);
  };
  world.schedule(random.next() * 100, trouble);
  const finished = world.run(() => pending === 0 && all.length === OPERATIONS, 120_000);
  assert.ok(finished, `${pending} operations hang`);
  network.breakRate = 0;
  world.run(() => false, 20_000);
  let mutations = 0;
  for (const { id, opcode, doneCount } of all) {
    assert.equal(doneCount, 1, `operation ${id} is done once`);
    if (opcode !== INCREMENT && opcode !== STORE) continue;
    mutations++;
    assert.equal(durable.applied.get(id), 1, `operation ${id}`);
  }
  assert.equal(durable.total, mutations);
  const peer = client.client.peer(address('t'));
  assert.equal(peer.transportKind, 'rdma', 'rdma is used again');
  assert.equal(peer.freeSlots, 64, 'slots leak');
  assert.equal(client.messagesTaken, 0, 'message slots leak');
  assert.equal(client.arena.bulk.available, client.arena.bulk.capacity, 'bulk slots leak');
  const count = (text: string): number => lines.filter((line) => line.includes(text)).length;
  return { fallbacks: count('using tcp'), returns: count('using rdma again') };
}

describe('exactly once, over two failing networks', function () {
  this.timeout(600_000);

  it('applies each mutation once, whichever carries it, and ends on rdma', () => {
    const one = process.env['SEALFS_SIM_SEED'];
    const count = Number(process.env['SEALFS_SIM_SEEDS'] ?? 40);
    const seeds = one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [+one];
    let fallbacks = 0;
    let returns = 0;
    for (const seed of seeds) {
      try {
        const outcome = runSeed(seed);
        fallbacks += outcome.fallbacks;
        returns += outcome.returns;
      } catch (error) {
        throw new Error(`seed ${seed} (SEALFS_SIM_SEED=${seed}): ${String(error)}`, {
          cause: error,
        });
      }
    }
    assert.ok(fallbacks > 0 && returns > 0, `${fallbacks} fallbacks, ${returns} returns: no test`);
  });
});
