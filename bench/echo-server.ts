/** The other side of `bench rpc`: one thread that answers Echo. Prints its port, runs until SIGTERM. */
import { NativeArena } from '../src/native/arena.js';
import { Reactor } from '../src/native/reactor.js';
import { RpcServer } from '../src/transport/rpc-server.js';
import { TcpTransport } from '../src/transport/tcp.js';

const arena = new NativeArena({ messageSlots: 512, bulkSlots: 8, receiveAreas: 1 });
const reactor = new Reactor();
const transport = new TcpTransport(arena, reactor);
const server: RpcServer = new RpcServer(
  transport,
  arena,
  reactor,
  {
    onRequest: (request) => server.reply(request, 38),
    onReplay: (request) => server.reply(request, 38),
    loadSession: () => undefined,
    onSessionOpened: () => undefined,
    onSessionClosed: () => undefined,
  },
  { clusterId: 'bench', targetId: 'echo', incarnation: `${process.pid}` },
);
process.once('SIGTERM', () => process.exit(0));
console.log(await transport.listen('127.0.0.1', 0));
