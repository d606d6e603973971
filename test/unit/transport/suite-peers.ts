/** Of the transport suite: the other end in a thread or process of its own, which may be killed. */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { maxBulkBytes } from '../../../src/protocol/limits.generated.js';
import { SHAPE, pattern, type Pair } from './endpoint.js';
import type { Current } from './suite.js';

const script = new URL('./echo-peer.js', import.meta.url);

/** Opens a connection to an echo peer. */
async function openTo(pair: Pair, port: number): Promise<number> {
  const connection = pair.client.transport.connect(pair.fixture.host, port);
  await pair.until('open', () => pair.client.opened.includes(connection));
  return connection;
}

export function peerTests(current: Current, module: string): void {
  it('works between threads', async () => {
    const pair = current();
    const { client } = pair;
    const worker = new Worker(script, { workerData: module });
    const [port] = (await once(worker, 'message')) as [number];
    const connection = await openTo(pair, port);
    const slot = client.arena.bulk.take();
    for (let i = 0; i < 40; i++) {
      const bulk = pattern(1 + ((i * 104_729) % maxBulkBytes), i);
      client.transport.setLanding(connection, 5, slot, maxBulkBytes);
      client.send(connection, 40 + 8 * i, bulk);
      await pair.until('echo', () => client.seen.length === i + 1);
      assert.deepEqual(client.seen[i]!.bulk, bulk);
    }
    client.arena.bulk.give(slot);
    // Both events may come in one tick: listen for the second before the first.
    const exited = once(worker, 'exit');
    worker.postMessage('stop');
    const [free] = (await once(worker, 'message')) as [{ messages: number; bulk: number }];
    assert.deepEqual(free, { messages: SHAPE.messageSlots, bulk: SHAPE.bulkSlots });
    await exited;
    await pair.until('close', () => client.isClosed(connection));
  });

  it('outlives a peer that is killed', async () => {
    const pair = current();
    const { client, server } = pair;
    const [other] = await pair.open();
    const child = fork(fileURLToPath(script), [module]);
    try {
      const [port] = (await once(child, 'message')) as [number];
      const connection = await openTo(pair, port);
      const slot = client.arena.bulk.take();
      const bulk = pattern(maxBulkBytes, 1);
      for (let i = 0; i < 3; i++) {
        client.transport.setLanding(connection, 5, slot, maxBulkBytes);
        client.send(connection, 64, bulk);
        await pair.until('echo', () => client.seen.length === i + 1);
      }
      client.transport.setLanding(connection, 5, slot, maxBulkBytes);
      for (let i = 0; i < 4; i++) client.send(connection, 64, bulk);
      child.kill('SIGKILL');
      await pair.until('close', () => client.isClosed(connection), 20_000);
      client.arena.bulk.give(slot);
      await pair.until('slots', () => client.allSlotsFree());
      client.send(other, 64, bulk);
      await pair.until('the other', () => server.seen.length === 1);
      assert.deepEqual(server.seen[0]!.bulk, bulk);
      assert.equal(client.closed.length, 1);
    } finally {
      child.kill('SIGKILL');
    }
  });
}
