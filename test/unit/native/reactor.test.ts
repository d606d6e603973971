/**
 * Protects the turns: order of hooks, one turn for many requests, timers beside busy sources, and
 * that an idle reactor uses no processor.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { frameMagic, noTag } from '../../../src/protocol/limits.generated.js';
import { FrameHeader } from '../../../src/protocol/wire.generated.js';
import { NativeArena } from '../../../src/native/arena.js';
import { Reactor } from '../../../src/native/reactor.js';
import { TcpTransport } from '../../../src/transport/tcp.js';

describe('reactor', () => {
  let reactor: Reactor;
  beforeEach(() => {
    reactor = new Reactor();
  });
  afterEach(() => reactor.close());

  /** Two transports of this thread that send one frame back and forth for ever. */
  async function startPingPong(): Promise<{ rounds: number; stop: () => void }> {
    const shape = { messageSlots: 8, bulkSlots: 1, receiveAreas: 2 };
    const arena = new NativeArena(shape);
    const state = { rounds: 0, stop: () => {} };
    const transports = [0, 1].map(() => new TcpTransport(arena, reactor));
    const sendOn = (transport: TcpTransport, connection: number) => {
      const slot = arena.messages.take();
      const words = arena.words.subarray(slot / 4, slot / 4 + FrameHeader.SIZE / 4);
      words.fill(0);
      words[FrameHeader.magic / 4] = frameMagic;
      words[FrameHeader.messageBytes / 4] = FrameHeader.SIZE;
      words[FrameHeader.bulkTag / 4] = noTag;
      transport.send(connection, slot, FrameHeader.SIZE, true);
    };
    for (const transport of transports) {
      transport.setHandler({
        onOpen: (connection, incoming) => {
          if (!incoming) sendOn(transport, connection);
        },
        onMessage: (connection) => {
          state.rounds++;
          sendOn(transport, connection);
        },
        onClose: () => {},
      });
    }
    state.stop = () => transports.forEach((transport) => transport.shutdown());
    transports[1]!.connect('127.0.0.1', await transports[0]!.listen('127.0.0.1', 0));
    return state;
  }

  it('runs hooks in ascending order, once for many requests', async () => {
    const journal: number[] = [];
    reactor.onTurnEnd(300, () => journal.push(300));
    reactor.onTurnEnd(100, () => journal.push(100));
    reactor.onTurnEnd(200, () => journal.push(200));
    for (let i = 0; i < 5; i++) reactor.requestTurn();
    assert.deepEqual(journal, []);
    await sleep(5);
    assert.deepEqual(journal, [100, 200, 300]);
  });

  it('has another turn when a hook asks for one', async () => {
    let left = 3;
    let turns = 0;
    reactor.onTurnEnd(1, () => {
      turns++;
      if (left-- > 0) reactor.requestTurn();
    });
    reactor.requestTurn();
    await sleep(10);
    assert.equal(turns, 4);
  });

  it('runs a timer as a turn, and not after its cancelling', async () => {
    const journal: string[] = [];
    reactor.onTurnEnd(1, () => journal.push('hook'));
    reactor.setTimer(5, () => {
      assert.equal(reactor.inTurn, true);
      journal.push('timer');
    });
    reactor.setTimer(5, () => journal.push('never')).cancel();
    await sleep(30);
    assert.deepEqual(journal, ['timer', 'hook']);
  });

  it('tells the wall clock in whole nanoseconds', () => {
    const { seconds, nanoseconds } = reactor.wallClock();
    assert.ok(Math.abs(seconds - Date.now() / 1000) < 2);
    assert.ok(Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds < 1e9);
    assert.equal(reactor.wallClock(), reactor.wallClock());
  });

  it('lets timers and immediates run beside a source that is always busy', async () => {
    const pingPong = await startPingPong();
    let immediates = 0;
    const again = () => {
      if (++immediates < 20) setImmediate(again);
    };
    setImmediate(again);
    // A starved loop never gets past these lines.
    await sleep(50);
    while (immediates < 20 || pingPong.rounds <= 100) await sleep(5);
    pingPong.stop();
  });

  it('uses no processor while nothing happens', async () => {
    const pingPong = await startPingPong();
    await sleep(50);
    pingPong.stop();
    await startPingPong().then(({ stop }) => stop());
    const arena = new NativeArena({ messageSlots: 8, bulkSlots: 1, receiveAreas: 1 });
    const transport = new TcpTransport(arena, reactor);
    transport.setHandler({ onOpen: () => {}, onMessage: () => {}, onClose: () => {} });
    transport.connect('127.0.0.1', await transport.listen('127.0.0.1', 0));
    await sleep(300);
    // Other work of the process (its compiler, its collector) may fall into one second, not into all.
    let least = Infinity;
    let sleeps = Infinity;
    for (let second = 0; second < 4 && (least >= 10_000 || sleeps >= 5); second++) {
      const sleepsBefore = reactor.counters.sleeps;
      const before = process.cpuUsage();
      await sleep(1000);
      const used = process.cpuUsage(before);
      least = Math.min(least, used.user + used.system);
      sleeps = Math.min(sleeps, reactor.counters.sleeps - sleepsBefore);
    }
    transport.shutdown();
    assert.ok(least < 10_000, `${least} us in one second`);
    assert.ok(sleeps < 5, `woke ${sleeps} times a second`);
  });

  it('runs nothing after close', async () => {
    reactor.onTurnEnd(1, () => assert.fail('a hook ran'));
    reactor.setTimer(1, () => assert.fail('a timer ran'));
    reactor.requestTurn();
    reactor.close();
    reactor.close();
    await sleep(10);
    assert.throws(
      () =>
        new TcpTransport(
          new NativeArena({ messageSlots: 1, bulkSlots: 1, receiveAreas: 1 }),
          reactor,
        ),
      /closed/,
    );
  });
});
