/**
 * The other side of `bench rdma`: one thread that answers Echo, takes and gives bulk from memory,
 * and tells its transport's counters. Argument: the address to listen on. Prints its port, runs until
 * SIGTERM.
 */
import { NativeArena } from '../src/native/arena.js';
import { Reactor } from '../src/native/reactor.js';
import { maxBulkBytes } from '../src/protocol/limits.generated.js';
import { Opcode } from '../src/protocol/wire.generated.js';
import { RdmaTransport } from '../src/transport/rdma.js';
import { RpcServer } from '../src/transport/rpc-server.js';
import type { RpcRequest } from '../src/transport/rpc-server.js';
import { takeWork } from './rdma-work.js';

const STATISTICS_BYTES = 1024;

const arena = new NativeArena({ messageSlots: 256, bulkSlots: 20, receiveAreas: 2 });
const reactor = new Reactor();
const transport = new RdmaTransport(arena, reactor);
/** What every Read is answered from. */
const data = arena.bulk.take();
arena.bytes.fill(0x5a, data, data + maxBulkBytes);

function answer(request: RpcRequest): void {
  if (request.opcode === Opcode.Read) {
    server.beginReply(request, 0);
    server.addReplyBulk(data, maxBulkBytes, false);
    server.endReply(request, 0, 0);
  } else if (request.opcode === Opcode.TargetStats) {
    const text = Buffer.from(JSON.stringify(takeWork(transport.counters)));
    const body = server.beginReply(request, STATISTICS_BYTES);
    arena.bytes.set(text, body);
    server.endReply(request, 0, text.length);
  } else {
    // A Write's data has been read by now, and its slot goes back with the reply.
    server.reply(request, 0);
  }
}

const server: RpcServer = new RpcServer(
  transport,
  arena,
  reactor,
  {
    onRequest: answer,
    onReplay: answer,
    loadSession: () => undefined,
    onSessionOpened: () => undefined,
    onSessionClosed: () => undefined,
  },
  { clusterId: 'bench', targetId: 'rdma', incarnation: `${process.pid}` },
);
process.once('SIGTERM', () => process.exit(0));
console.log(await transport.listen(process.argv[2]!, 0));
