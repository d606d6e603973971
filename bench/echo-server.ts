/** The other side of `bench rpc`: one thread that answers Echo. Prints its
 * endpoints, runs until SIGTERM. */
import { formatEndpoint } from '../src/placement/endpoint.js';
import { listenOn } from '../src/server/listen.js';
import { RpcServer } from '../src/transport/rpc-server.js';
import { localHome } from '../src/transport/select.js';
import { benchTransport, openBenchBase } from './endpoint.js';

const host = localHome(benchTransport());
const { arena, reactor, transport, parts } = await openBenchBase('server', host);
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
const { endpoints } = await listenOn(parts, host, 0);
const texts = endpoints.map(({ kind, port }) => formatEndpoint({ transport: kind, host, port }));
console.log(texts.join(' '));
