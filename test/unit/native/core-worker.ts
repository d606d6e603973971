/**
 * A thread with an arena, a reactor and a listening transport, for arena.test.ts. It ends as told:
 * tidily, by exit() with everything open, or by being terminated while it polls.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { NativeArena } from '../../../src/native/arena.js';
import { Reactor } from '../../../src/native/reactor.js';
import { TcpTransport } from '../../../src/transport/tcp.js';

const reactor = new Reactor();
const arena = new NativeArena({ messageSlots: 8, bulkSlots: 2, receiveAreas: 1 });
const transport = new TcpTransport(arena, reactor);
transport.setHandler({ onOpen: () => {}, onMessage: () => {}, onClose: () => {} });
const port = await transport.listen('127.0.0.1', 0);
transport.connect('127.0.0.1', port);
parentPort!.postMessage('ready');
if (workerData === 'exit') setTimeout(() => process.exit(3), 20);
if (workerData === 'finish') {
  setTimeout(() => {
    transport.shutdown();
    reactor.close();
  }, 20);
}
if (workerData === 'terminate') {
  // Busy, so that the end comes in the middle of turns.
  reactor.onTurnEnd(1, () => reactor.requestTurn());
  reactor.requestTurn();
}
