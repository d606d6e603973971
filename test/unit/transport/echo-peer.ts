/**
 * A thread or process that answers every frame with a reply frame carrying the request's bulk,
 * tagged 5; for the transport suite. It says its port, and after a word from its parent how many slots
 * are free once all is closed.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { fillFrame, type FixtureModule } from './endpoint.js';

const module = (await import(
  parentPort ? (workerData as string) : process.argv[2]!
)) as FixtureModule;
const fixture = module.makeFixture();
const { arena, transport } = fixture.side('server');

function say(what: unknown): void {
  if (parentPort) parentPort.postMessage(what);
  else process.send!(what);
}

function stop(): void {
  transport.shutdown();
  say({ messages: arena.messages.available, bulk: arena.bulk.available });
  fixture.close();
  if (!parentPort) process.disconnect();
}

transport.setHandler({
  onOpen: () => {},
  onClose: () => {},
  onMessage: (connection, _offset, bytes, bulkOffset, bulkBytes) => {
    const slot = arena.messages.take();
    fillFrame(arena, slot, bytes, 5);
    if (bulkOffset !== 0) transport.addBulk(bulkOffset, bulkBytes, true);
    transport.send(connection, slot, bytes, true);
  },
});
if (parentPort) parentPort.once('message', stop);
else process.once('message', stop).once('disconnect', () => process.exit());
say(await transport.listen(fixture.host, 0));
