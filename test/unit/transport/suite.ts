/**
 * Protects what `Transport` promises, whatever carries it: frames and bulk arrive as they were sent
 * and in order, connections open and close with their reasons, a wrong peer costs its own
 * connection only, and every slot comes back. Each transport's own tests run it unchanged.
 */
import assert from 'node:assert/strict';
import { maxBulkBytes, messageSlotBytes } from '../../../src/protocol/limits.generated.js';
import { Pair, fillFrame, pattern, timeScale, type TransportFixture } from './endpoint.js';
import { landingTests } from './suite-landings.js';
import { loadTests } from './suite-load.js';
import { peerTests } from './suite-peers.js';

/** How tests get at the pair that was made for them. */
export type Current = () => Pair;

/** What not every kind of transport can show. */
export interface Kind {
  /** URL of a FixtureModule for an end in another thread or process. */
  peerModule?: string;
  /** Frames that were sent before `close` arrive, unless the path is full. */
  keepsLastWord?: boolean;
}

export function describeTransport(
  name: string,
  makeFixture: () => TransportFixture,
  kind: Kind = {},
): void {
  describe(`transport suite: ${name}`, function () {
    this.timeout(30_000 * timeScale);
    let pair: Pair;
    const current = () => pair;

    beforeEach(async () => {
      pair = await Pair.start(makeFixture());
    });
    afterEach(function () {
      // A test that failed has slots of its own, which would hide what went wrong.
      pair.stop(this.currentTest?.state !== 'failed');
    });

    frameTests(current);
    bulkTests(current);
    closeTests(current);
    landingTests(current);
    loadTests(current);
    if (kind.keepsLastWord === true) lastWordTest(current);
    if (kind.peerModule !== undefined) peerTests(current, kind.peerModule);
  });
}

function frameTests(current: Current): void {
  it('carries frames both ways, many at once, and counts them', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection] = await pair.open();
    const answers: Buffer[] = [];
    server.onMessage = (seen) => {
      answers.push(server.send(seen.connection, seen.message.length, undefined, undefined, 7));
    };
    const sent = [];
    for (let i = 0; i < 30; i++) sent.push(client.send(connection, 32 + i * 504));
    await pair.until('echoes', () => client.seen.length === 30);
    assert.deepEqual(
      server.seen.map((seen) => seen.message),
      sent,
    );
    assert.deepEqual(
      client.seen.map((seen) => seen.message),
      answers,
    );
    const bytes = sent.reduce((sum, one) => sum + one.length, 0);
    for (const { counters } of [client.transport, server.transport]) {
      assert.equal(counters.framesSent, 30);
      assert.equal(counters.framesReceived, 30);
      assert.ok(counters.bytesSent >= bytes);
      assert.ok(counters.bytesReceived >= bytes);
      assert.equal(counters.protocolErrors, 0);
    }
    await pair.until('slots', () => client.allSlotsFree() && server.allSlotsFree());
  });

  it('sends what was queued before the connection opened', async () => {
    const pair = current();
    const { client, server } = pair;
    const connection = client.transport.connect(pair.fixture.host, pair.port);
    const first = client.send(connection, 64, pattern(100, 1));
    const second = client.send(connection, 72);
    await pair.until('arrival', () => server.seen.length === 2);
    assert.deepEqual(server.seen[0]!.message, first);
    assert.deepEqual(server.seen[0]!.bulk, pattern(100, 1));
    assert.deepEqual(server.seen[1]!.message, second);
  });

  it('carries messages that fill their slot, with bulk and without', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    for (const bulk of [undefined, pattern(1000, 1), undefined, pattern(maxBulkBytes, 2)]) {
      const count = server.seen.length;
      const sent = client.send(connection, messageSlotBytes, bulk);
      const back = server.send(serverSide, messageSlotBytes);
      await pair.until('both', () => {
        return server.seen.length > count && client.seen.length > count;
      });
      assert.deepEqual(server.seen[count]!.message, sent);
      assert.deepEqual(server.seen[count]!.bulk, bulk);
      assert.deepEqual(client.seen[count]!.message, back);
    }
  });

  it('takes more frames in a turn than any queue of it holds', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection] = await pair.open();
    const slot = client.arena.messages.take();
    fillFrame(client.arena, slot, 32);
    for (let i = 0; i < 5000; i++) client.transport.send(connection, slot, 32, false);
    client.transport.flush();
    await pair.until('all', () => server.seen.length === 5000);
    client.arena.messages.give(slot);
  });
}

function bulkTests(current: Current): void {
  it('carries bulk of all lengths to the server', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection] = await pair.open();
    const lengths = [1, 7, 8, 4095, 4097, 47_008, 500_001, maxBulkBytes, 3];
    for (const [i, length] of lengths.entries()) {
      const [withBulk, without] = [
        client.send(connection, 64, pattern(length, i)),
        client.send(connection, 40),
      ];
      await pair.until('bulk', () => server.seen.length === 2 * i + 2);
      assert.deepEqual(server.seen[2 * i]!.message, withBulk);
      assert.deepEqual(server.seen[2 * i]!.bulk, pattern(length, i));
      assert.deepEqual(server.seen[2 * i + 1]!.message, without);
      assert.equal(server.seen[2 * i + 1]!.bulkOffset, 0);
    }
    assert.equal(server.transport.counters.protocolErrors, 0);
  });

  it('gathers bulk from many places, and leaves memory that it does not release', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection] = await pair.open();
    const slot = client.arena.bulk.take();
    client.arena.bytes.set(pattern(40_000, 3), slot);
    const expected: Buffer[] = [];
    for (let i = 0; i < 20; i++) {
      const [from, bytes] = i % 3 === 2 ? [client.arena.zeroOffset, 999] : [slot + i * 997, 501];
      client.transport.addBulk(from, bytes, false);
      expected.push(Buffer.from(client.arena.bytes.subarray(from, from + bytes)));
    }
    const bulk = Buffer.concat(expected);
    client.sendFrame(connection, 64, bulk.length);
    await pair.until('bulk', () => server.seen.length === 1);
    assert.deepEqual(server.seen[0]!.bulk, bulk);
    assert.equal(client.arena.bulk.available, client.arena.bulk.capacity - 1);
    client.arena.bulk.give(slot);
  });

  it('takes no request while no bulk slot is free, and then goes on', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection] = await pair.open();
    server.keepBulk = true;
    const slots = server.arena.bulk.capacity;
    const extra = slots + 3;
    for (let i = 0; i < extra; i++) {
      await pair.until('a slot to send from', () => client.arena.bulk.available > 0);
      client.send(connection, 48, pattern(1000, i));
    }
    await pair.until('as many as fit', () => server.seen.length === slots);
    await pair.pause(20);
    assert.equal(server.seen.length, slots);
    for (let i = 0; i < extra; i++) {
      await pair.until('the next', () => server.seen.length > i);
      assert.deepEqual(server.seen[i]!.bulk, pattern(1000, i));
      // In a turn of the server's, so that its engine looks for a slot again.
      const { bulkOffset } = server.seen[i]!;
      server.side.scheduler.setTimer(0, () => server.arena.bulk.give(bulkOffset));
      const allowed = Math.min(extra, slots + i + 1);
      await pair.until('one more', () => server.seen.length >= allowed);
      assert.equal(server.seen.length, allowed);
    }
    await pair.until('slots', () => server.allSlotsFree());
  });
}

function lastWordTest(current: Current): void {
  it('sends what was queued before close', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    const last = server.send(serverSide, 4000);
    server.transport.close(serverSide, 'good-bye');
    await pair.until('close', () => client.isClosed(connection));
    assert.deepEqual(
      client.seen.map((seen) => seen.message),
      [last],
    );
  });
}

function closeTests(current: Current): void {
  it('closes with its reason on both sides, and drops frames after it', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    server.onMessage = (seen) => {
      if (server.seen.length === 1) server.transport.close(seen.connection, 'had enough');
    };
    for (let i = 0; i < 3; i++) client.send(connection, 48, pattern(5000, i));
    await pair.until('close', () => server.closed.length === 1 && client.closed.length === 1);
    assert.deepEqual(server.closed, [[serverSide, 'had enough']]);
    assert.equal(server.seen.length, 1);
    assert.equal(client.closed[0]![0], connection);
    assert.notEqual(client.closed[0]![1], '');
    client.send(connection, 48, pattern(100, 1)); // to nobody: its slots come back
    client.transport.close(connection, 'again');
    await pair.until('slots', () => client.allSlotsFree() && server.allSlotsFree());
    await pair.pause(10);
    assert.equal(client.closed.length, 1);
  });

  it('says so when nobody listens, and gives back what was queued', async () => {
    const pair = current();
    const { client } = pair;
    const gone = pair.fixture.side('server').transport;
    const port = await gone.listen(pair.fixture.host, 0);
    gone.shutdown();
    const connection = client.transport.connect(pair.fixture.host, port);
    client.send(connection, 64, pattern(1000, 1));
    await pair.until('refusal', () => client.isClosed(connection));
    assert.notEqual(client.closed[0]![1], '');
    assert.equal(client.opened.length, 0);
    await pair.until('slots', () => client.allSlotsFree());
  });

  it('can be closed while it connects', async () => {
    const pair = current();
    const { client } = pair;
    const connection = client.transport.connect(pair.fixture.host, pair.port);
    client.send(connection, 64, pattern(1000, 1));
    client.transport.close(connection, 'changed my mind');
    await pair.until('close', () => client.isClosed(connection));
    assert.deepEqual(client.closed, [[connection, 'changed my mind']]);
    await pair.until('slots', () => client.allSlotsFree());
    await pair.open();
  });

  it('reports a port in use with its code', async () => {
    const pair = current();
    await assert.rejects(pair.server.transport.listen(pair.fixture.host, pair.port), {
      code: 'EADDRINUSE',
    });
  });

  it('ends all connections with shutdown, and calls no handler afterwards', async () => {
    const pair = current();
    const { client, server } = pair;
    const [one] = await pair.open();
    const [two] = await pair.open();
    client.send(one, 64, pattern(maxBulkBytes, 1));
    client.send(two, 64);
    server.transport.shutdown();
    const [calls, closes] = [server.seen.length, server.closed.length];
    await pair.until('closes', () => client.isClosed(one) && client.isClosed(two));
    const late = client.transport.connect(pair.fixture.host, pair.port);
    await pair.until('refusal', () => client.isClosed(late));
    assert.deepEqual([server.seen.length, server.closed.length], [calls, closes]);
    await pair.until('slots', () => client.allSlotsFree());
  });
}
