/** Protects the simulator itself: order, silence of a cut, crash, and that it is strict about memory. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import { TURN_COMMIT, TURN_FLUSH } from '../../../src/common/scheduler.js';
import { writeFrameHeader } from '../../../src/protocol/frame.js';
import { noTag } from '../../../src/protocol/limits.generated.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import type { TransportHandler } from '../../../src/transport/transport.js';
import { SimFixture } from './sim-fixture.js';
import { describeTransport } from './suite.js';

// A close in the simulator loses some of what is on its way, as a network does at its worst.
describeTransport('sim', () => new SimFixture());

class Node implements TransportHandler {
  readonly arena = createPlainArena({ messageSlots: 64, bulkSlots: 2 });
  readonly scheduler: SimScheduler;
  readonly transport: SimTransport;
  readonly received: number[] = [];
  opened = 0;
  closed: string[] = [];

  constructor(network: SimNetwork, name: string) {
    this.scheduler = new SimScheduler(network.world, name);
    this.transport = new SimTransport(network, name, this.scheduler, this.arena);
    this.transport.setHandler(this);
  }

  /** One message with a number in it. */
  send(connection: number, value: number): void {
    const slot = this.arena.messages.take();
    writeFrameHeader(this.arena.words, slot, 40, noTag, 1, 0);
    this.arena.words[(slot + 32) / 4] = value;
    this.transport.send(connection, slot, 40, true);
    this.transport.flush();
  }

  onOpen(connection: number): void {
    this.opened = connection;
  }

  onMessage(_connection: number, offset: number, _bytes: number, bulkOffset: number): void {
    this.received.push(this.arena.words[(offset + 32) / 4]!);
    if (bulkOffset !== 0) this.arena.bulk.give(bulkOffset);
  }

  onClose(_connection: number, reason: string): void {
    this.closed.push(reason);
  }
}

function pairUp(seed = 1): { world: SimWorld; network: SimNetwork; a: Node; b: Node; c: number } {
  const world = new SimWorld(seed);
  const network = new SimNetwork(world);
  const a = new Node(network, 'a');
  const b = new Node(network, 'b');
  void b.transport.listen('', 1);
  const c = a.transport.connect('b', 1);
  assert.ok(world.run(() => a.opened === c && b.opened !== 0, 100));
  return { world, network, a, b, c };
}

describe('simulator', () => {
  it('keeps the order of one connection', () => {
    const { world, a, b, c } = pairUp();
    for (let i = 0; i < 500; i++) {
      world.schedule(i * 0.01, () => {
        a.send(c, i);
      });
    }
    world.run(() => false, 100);
    assert.deepEqual(
      b.received,
      Array.from({ length: 500 }, (_, i) => i),
    );
    assert.equal(a.arena.messages.available, 63);
  });

  it('reorders between connections', () => {
    const { world, a, b, c } = pairUp(3);
    const d = a.transport.connect('b', 1);
    world.run(() => a.opened === d, 100);
    for (let i = 0; i < 40; i++) a.send(i % 2 === 0 ? c : d, i);
    world.run(() => false, 100);
    assert.equal(b.received.length, 40);
    assert.notDeepEqual(
      b.received,
      [...b.received].sort((x, y) => x - y),
    );
  });

  it('is silent while cut and delivers afterwards', () => {
    const { world, network, a, b, c } = pairUp();
    network.partition('a', 'b');
    a.send(c, 1);
    world.run(() => false, 5000);
    assert.deepEqual(b.received, []);
    assert.deepEqual(a.closed, []);
    network.heal('a', 'b');
    world.run(() => false, 5);
    assert.deepEqual(b.received, [1]);
  });

  it('tells both ends of a break, and nothing of the old connection arrives afterwards', () => {
    const { world, network, a, b, c } = pairUp();
    for (let i = 0; i < 20; i++) a.send(c, i);
    world.run(() => b.received.length > 3, 100);
    network.breakBetween('a', 'b');
    world.run(() => a.closed.length + b.closed.length === 2, 1000);
    const count = b.received.length;
    a.send(c, 99);
    world.run(() => false, 1000);
    assert.equal(b.received.length, count);
    assert.equal(a.arena.messages.available, 63);
  });

  it('runs nothing of a node that has crashed, and tells its peers', () => {
    const { world, a, b, c } = pairUp();
    let ran = false;
    b.scheduler.setTimer(10, () => {
      ran = true;
    });
    a.send(c, 1);
    b.transport.crash();
    world.run(() => false, 1000);
    assert.ok(!ran && b.received.length === 0);
    assert.equal(a.closed.length, 1);
    a.transport.connect('b', 1);
    world.run(() => false, 1000);
    assert.equal(a.closed[1], 'ECONNREFUSED');
  });

  it('reads a frame after send has returned, and wipes what was received', () => {
    const { world, a, b, c } = pairUp();
    const slot = a.arena.messages.take();
    writeFrameHeader(a.arena.words, slot, 40, noTag, 1, 0);
    a.arena.words[(slot + 32) / 4] = 1;
    a.transport.send(c, slot, 40, false);
    a.transport.flush();
    a.arena.words[(slot + 32) / 4] = 2;
    let seen = 0;
    b.onMessage = (_connection, offset) => {
      seen = offset;
      b.received.push(b.arena.words[(offset + 32) / 4]!);
    };
    world.run(() => b.received.length === 1, 100);
    assert.deepEqual(b.received, [2]);
    assert.equal(b.arena.words[(seen + 32) / 4], 0xdddddddd);
  });

  it('stops a connection while no bulk slot is free', () => {
    const { world, a, b, c } = pairUp();
    const hoard = [b.arena.bulk.take(), b.arena.bulk.take()];
    const slot = a.arena.bulk.take();
    a.transport.addBulk(slot, 100, true);
    a.send(c, 1);
    a.send(c, 2);
    world.run(() => false, 50);
    assert.deepEqual(b.received, []);
    for (const offset of hoard) b.arena.bulk.give(offset);
    world.run(() => false, 50);
    assert.deepEqual(b.received, [1, 2]);
    assert.equal(a.arena.bulk.available, 2);
  });

  it('runs turn-end hooks in order, after all events of the turn', () => {
    const world = new SimWorld(1);
    const scheduler = new SimScheduler(world, 'n');
    const seen: string[] = [];
    scheduler.onTurnEnd(TURN_FLUSH, () => seen.push('flush'));
    scheduler.onTurnEnd(TURN_COMMIT, () => seen.push('commit'));
    scheduler.deliver(() => {
      seen.push('one');
      scheduler.requestTurn();
    });
    scheduler.deliver(() => seen.push('two'));
    world.run(() => false, 10);
    assert.deepEqual(seen, ['one', 'two', 'commit', 'flush']);
  });
});
