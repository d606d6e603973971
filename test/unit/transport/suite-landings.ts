/**
 * Of the transport suite: bulk of replies goes where its request said, once, and nowhere else. A
 * landing that was withdrawn is left alone from that moment on; a transport that cannot drop the bulk
 * alone closes the connection.
 */
import assert from 'node:assert/strict';
import { maxBulkBytes } from '../../../src/protocol/limits.generated.js';
import { SimRandom } from '../../../src/transport/sim/sim-random.js';
import { pattern, type Pair } from './endpoint.js';
import type { Current } from './suite.js';

/** Sends requests and waits until the server has all of them. */
async function request(pair: Pair, connection: number, count = 1): Promise<void> {
  const before = pair.server.seen.length;
  for (let i = 0; i < count; i++) pair.client.send(connection, 48);
  await pair.until('requests', () => pair.server.seen.length === before + count);
}

/** Both ends close; one of them says that the bulk was not asked for. */
async function expectRefusal(pair: Pair, connection: number, serverSide: number): Promise<void> {
  const { client, server } = pair;
  await pair.until('closes', () => client.isClosed(connection) && server.isClosed(serverSide));
  const reasons = [...client.closed, ...server.closed].map(([, reason]) => reason);
  assert.ok(
    reasons.some((reason) => /not asked for|refused access/.test(reason)),
    reasons.join('; '),
  );
}

export function landingTests(current: Current): void {
  it('carries bulk of replies to their landings, out of order', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    const slot = client.arena.bulk.take();
    client.transport.setLanding(connection, 3, slot, 400_000);
    client.transport.setLanding(connection, 9, slot + 400_000, 400_000);
    await request(pair, connection, 2);
    server.send(serverSide, 48, pattern(399_999, 9), 9);
    const plain = server.send(serverSide, 64);
    server.send(serverSide, 48, pattern(400_000, 3), 3);
    await pair.until('replies', () => client.seen.length === 3);
    assert.equal(client.seen[0]!.bulkOffset, slot + 400_000);
    assert.deepEqual(client.seen[0]!.bulk, pattern(399_999, 9));
    assert.deepEqual(client.seen[1]!.message, plain);
    assert.equal(client.seen[2]!.bulkOffset, slot);
    assert.deepEqual(client.seen[2]!.bulk, pattern(400_000, 3));
    client.arena.bulk.give(slot);
  });

  it('carries bulk of replies of all lengths, gathered from many places', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    const slot = client.arena.bulk.take();
    const source = server.arena.bulk.take();
    server.arena.bytes.set(pattern(maxBulkBytes, 5), source);
    for (const [i, segments] of [1, 2, 7, 40, 300].entries()) {
      client.transport.setLanding(connection, 63, slot, maxBulkBytes);
      await request(pair, connection);
      const parts: Buffer[] = [];
      for (let k = 0; k < segments; k++) {
        const bytes = 1 + ((k * 7919 + i) % Math.floor(maxBulkBytes / segments));
        const from = k % 5 === 4 ? server.arena.zeroOffset : source + ((k * 104_729) % 1000);
        const taken = from === server.arena.zeroOffset ? Math.min(bytes, 4096) : bytes;
        const within = Math.min(taken, maxBulkBytes - 1000);
        server.transport.addBulk(from, within, false);
        parts.push(Buffer.from(server.arena.bytes.subarray(from, from + within)));
      }
      const bulk = Buffer.concat(parts);
      server.sendFrame(serverSide, 56, bulk.length, 63);
      await pair.until('reply', () => client.seen.length === i + 1);
      assert.deepEqual(client.seen[i]!.bulk, bulk, `${segments} segments`);
      assert.equal(client.seen[i]!.bulkOffset, slot);
    }
    server.arena.bulk.give(source);
    client.arena.bulk.give(slot);
  });

  it('closes on bulk that was not asked for', async () => {
    const pair = current();
    const [connection, serverSide] = await pair.open();
    await request(pair, connection);
    pair.server.send(serverSide, 48, pattern(10, 1), 3);
    await expectRefusal(pair, connection, serverSide);
    assert.equal(pair.client.seen.length, 0);
  });

  it('closes on bulk that is longer than its landing', async () => {
    const pair = current();
    const { client, server } = pair;
    const [connection, serverSide] = await pair.open();
    const slot = client.arena.bulk.take();
    client.arena.bytes.fill(0x5a, slot, slot + 2000);
    client.transport.setLanding(connection, 3, slot, 1000);
    await request(pair, connection);
    server.send(serverSide, 48, pattern(1001, 1), 3);
    await expectRefusal(pair, connection, serverSide);
    assert.ok(client.arena.bytes.subarray(slot + 1000, slot + 2000).every((b) => b === 0x5a));
    client.arena.bulk.give(slot);
  });

  it('closes on a second bulk for a landing that was used, or has ended', async () => {
    const pair = current();
    const { client, server } = pair;
    const slot = client.arena.bulk.take();
    for (const used of [true, false]) {
      const [connection, serverSide] = await pair.open();
      client.transport.setLanding(connection, 3, slot, 1000);
      await request(pair, connection);
      const before = client.seen.length;
      server.send(serverSide, 48, used ? pattern(1000, 1) : undefined, used ? 3 : undefined);
      await pair.until('reply', () => client.seen.length === before + 1);
      if (!used) client.transport.endLanding(connection, 3);
      await request(pair, connection);
      client.arena.bytes.fill(0x5a, slot, slot + 1000);
      server.send(serverSide, 48, pattern(1000, 2), 3);
      await pair.until('close', () => client.isClosed(connection) && server.isClosed(serverSide));
      assert.equal(client.seen.length, before + 1);
      assert.ok(client.arena.bytes.subarray(slot, slot + 1000).every((byte) => byte === 0x5a));
    }
    client.arena.bulk.give(slot);
  });

  for (const told of [false, true]) {
    const when = told ? 'after' : 'before';
    it(`leaves a landing alone that is withdrawn ${when} its request is sent`, async () => {
      const pair = current();
      const { client, server } = pair;
      const [connection, serverSide] = await pair.open();
      const slot = client.arena.bulk.take();
      client.arena.bytes.fill(0x5a, slot, slot + 1000);
      client.transport.setLanding(connection, 3, slot, 1000);
      if (told) await request(pair, connection);
      client.transport.cancelLanding(connection, 3);
      client.transport.flush();
      if (!told) await request(pair, connection);
      server.send(serverSide, 48, pattern(1000, 3), 3);
      server.send(serverSide, 56);
      await pair.until('reply or close', () => {
        return client.seen.length === 2 || client.isClosed(connection);
      });
      if (!client.isClosed(connection)) {
        assert.equal(client.seen[0]!.bulkOffset, 0);
        assert.equal(client.seen[0]!.bulkBytes, 1000);
        assert.equal(client.seen[1]!.message.length, 56);
      }
      await pair.until('slots', () => server.allSlotsFree());
      assert.ok(client.arena.bytes.subarray(slot, slot + 1000).every((byte) => byte === 0x5a));
      client.arena.bulk.give(slot);
    });
  }

  it('writes nothing to a landing that was withdrawn while its bulk arrived', async () => {
    const pair = current();
    const { client, server } = pair;
    const random = new SimRandom(7);
    const slot = client.arena.bulk.take();
    const landing = client.arena.bytes.subarray(slot, slot + maxBulkBytes);
    let [connection, serverSide] = await pair.open();
    for (let round = 0; round < 12; round++) {
      if (client.isClosed(connection)) [connection, serverSide] = await pair.open();
      landing.fill(0);
      const before = client.seen.length;
      client.transport.setLanding(connection, 3, slot, maxBulkBytes);
      await request(pair, connection);
      server.send(serverSide, 48, pattern(maxBulkBytes, round), 3);
      // The first bytes have come, or some more.
      const at = random.below(maxBulkBytes);
      let polls = 0;
      await pair.until('some of it', () => landing[at] !== 0 || polls++ > 2);
      client.transport.cancelLanding(connection, 3);
      const left = Buffer.from(landing);
      await pair.until('reply or close', () => {
        return client.seen.length > before || client.isClosed(connection);
      });
      await pair.pause(1);
      if (client.seen.length === before || client.seen[before]!.bulkOffset === 0) {
        assert.ok(left.equals(landing), `round ${round}: written after it was withdrawn`);
      }
      // The landing may be used again, also by another request.
      await pair.until('slots', () => server.allSlotsFree());
    }
    client.arena.bulk.give(slot);
  });
}
