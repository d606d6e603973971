/**
 * The server side of RPC: frames become requests, every length checked; a connection is bound to
 * its session by the handshake; each mutation is executed once; replies of a turn leave together.
 *
 * A request's way, by its slot's last sequence number:
 *
 *   sequence   older ──> dropped
 *              same ───> in execution: dropped (its answer goes to the newest connection)
 *                        recorded: answered from the record      else: executed again
 *              newer ──> executed; one still in execution is superseded: its reply is dropped
 *
 * Sessions outlive connections: requests in execution finish and are recorded. One without a
 * connection for `sessionExpiryMs` is closed.
 */
import type { Scheduler } from '../common/scheduler.js';
import { TURN_FLUSH } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  REPLY_REPLAYED,
  SEQUENCE_OUTSIDE,
  checkFrame,
  opcodeName,
} from '../protocol/frame.js';
import { Opcode } from '../protocol/wire.generated.js';
import { ReplyOutlet, ReplyWriter } from './rpc-reply-writer.js';
import { RpcRequest } from './rpc-request.js';
import type { RpcService } from './rpc-request.js';
import type { Session } from './rpc-session.js';
import { SessionTable } from './rpc-session-table.js';
import type { RpcServerOptions } from './rpc-session-table.js';
import { RpcSwitch } from './rpc-switch.js';
import type { RpcSink } from './rpc-switch.js';
import { connectionKind } from './transport.js';
import type { Transport, TransportKind } from './transport.js';

export { RpcRequest } from './rpc-request.js';
export type { RpcService } from './rpc-request.js';
export { Session } from './rpc-session.js';
export type { RpcServerOptions } from './rpc-session-table.js';

/** A refused peer gets this long to read why before its connection is closed. */
const REFUSAL_LINGER_MS = 500;
/** Bodies up to here are echoed word by word, which is faster than copyWithin. */
const SMALL_COPY_BYTES = 256;

export interface RpcServerCounters {
  requests: number;
  replays: number;
  /** Retransmissions of requests in execution, and stale ones. */
  dropped: number;
  refusedHandshakes: number;
  protocolErrors: number;
}

export class RpcServer {
  /** Epoch of the map that this target holds; stands in every reply. */
  mapEpoch: number;
  readonly counters: RpcServerCounters = {
    requests: 0,
    replays: 0,
    dropped: 0,
    refusedHandshakes: 0,
    protocolErrors: 0,
  };
  readonly #transport: Transport;
  readonly #arena: ArenaMemory;
  readonly #words: Uint32Array;
  readonly #scheduler: Scheduler;
  readonly #service: RpcService;
  readonly #writer: ReplyWriter;
  readonly #table: SessionTable;
  readonly #connections = new Set<ServerConnection>();
  readonly #pool: RpcRequest[] = [];
  readonly #log: (message: string) => void;
  #executingCount = 0;
  #closed = false;

  /**
   * Attaches to the incoming connections of `transport`; listening is the caller's. Takes one
   * message slot of the arena until `close`.
   */
  constructor(
    transport: Transport,
    arena: ArenaMemory,
    scheduler: Scheduler,
    service: RpcService,
    options: RpcServerOptions,
  ) {
    this.#transport = transport;
    this.#arena = arena;
    this.#words = arena.words;
    this.#scheduler = scheduler;
    this.#service = service;
    this.mapEpoch = options.mapEpoch ?? 0;
    this.#log = options.log ?? (() => undefined);
    this.#writer = new ReplyWriter(transport, arena, scheduler);
    this.#table = new SessionTable(scheduler, service, options);
    RpcSwitch.of(transport).acceptor = (connection) => this.#accept(connection);
    scheduler.onTurnEnd(TURN_FLUSH, () => {
      if (!this.#closed) this.#writer.flush();
    });
  }

  get sessions(): Iterable<Session> {
    return this.#table.sessions();
  }

  /** Connections that are open, those that have not shaken hands included. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Sessions that are connected, by what carries them. */
  connectionKinds(): Record<TransportKind, number> {
    const counts = { rdma: 0, tcp: 0, sim: 0 };
    for (const { session, outlet } of this.#connections) {
      if (session !== null) counts[connectionKind(this.#transport, outlet.connection)]++;
    }
    return counts;
  }

  /**
   * Arena offset (a multiple of 8) where the reply's body of at most `maxBodyBytes`
   * (<= RPC_BODY_BYTES_MAX) is to be written. The memory holds garbage; `endReply` follows before
   * anything else is done with this server.
   */
  beginReply(request: RpcRequest, maxBodyBytes: number): number {
    if (request.free) throw new Error('rpc server: this request is answered already');
    const outlet = request.superseded ? null : request.session.outlet;
    return this.#writer.begin(outlet, maxBodyBytes);
  }

  /**
   * Between beginReply and endReply: adds a segment of bulk (arena memory; at most maxBulkBytes in
   * all) to the reply, which becomes a frame of its own. With `releaseSlot` the bulk slot that holds
   * the segment is given back when it is out, or when nobody is there to read it. Other memory must
   * stay unchanged until the connection has had it: use it for constant memory only (zeros).
   */
  addReplyBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    this.#writer.addBulk(offset, lengthBytes, releaseSlot);
  }

  /** Ends the reply: `status` 0 or an errno. The request goes back to the pool, with its bulk slot. */
  endReply(request: RpcRequest, status: number, bodyBytes: number): void {
    if (request.free) throw new Error('rpc server: this request is answered already');
    const session = request.session;
    this.#writer.end(
      request.superseded ? null : session.outlet,
      request.opcode,
      request.replayed ? REPLY_REPLAYED : 0,
      request.slot,
      status,
      request.sequence,
      this.mapEpoch,
      bodyBytes,
    );
    session.executingCount--;
    this.#executingCount--;
    if (session.executing[request.slot] === request) session.executing[request.slot] = null;
    if (request.bulkOffset !== 0) this.#arena.bulk.give(request.bulkOffset);
    request.bulkOffset = 0;
    request.free = true;
    this.#pool.push(request);
    if (this.#closed && this.#executingCount === 0) this.#writer.close();
  }

  /**
   * Takes from the session what it holds, and its connection: the service hears of it as of a session's
   * end. The client learns it at its next handshake. Its records stay, and its requests in execution.
   */
  resetSession(session: Session, reason: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.session === session) this.#closeConnection(connection, reason);
    }
    session.unannounced = true;
    this.#service.onSessionClosed(session, reason);
  }

  /** A reply without a body. */
  reply(request: RpcRequest, status: number): void {
    this.beginReply(request, 0);
    this.endReply(request, status, 0);
  }

  /**
   * Closes all connections. Nothing is asked of the service any more; replies may still be ended and
   * go nowhere.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#table.close();
    RpcSwitch.of(this.#transport).acceptor = undefined;
    for (const connection of [...this.#connections]) {
      this.#drop(connection);
      this.#transport.close(connection.outlet.connection, 'the server is closing');
    }
    // Otherwise its spare slot still serves the requests in execution.
    if (this.#executingCount === 0) this.#writer.close();
  }

  #accept(number: number): RpcSink {
    const connection = new ServerConnection(this, number);
    this.#connections.add(connection);
    connection.handshakeTimer = this.#scheduler.setTimer(this.#table.handshakeTimeoutMs, () => {
      if (connection.session === null) this.#giveUp(connection);
    });
    return connection;
  }

  /** Unbinds the connection; the transport is told elsewhere. */
  #drop(connection: ServerConnection): void {
    connection.handshakeTimer?.cancel();
    connection.handshakeTimer = null;
    this.#connections.delete(connection);
    this.#writer.closeOutlet(connection.outlet);
    const session = connection.session;
    connection.session = null;
    if (session?.outlet === connection.outlet) {
      session.outlet = null;
      this.#table.disconnected(session);
    }
  }

  /** Of ServerConnection. */
  connectionClosed(connection: ServerConnection): void {
    if (connection.outlet.open) this.#drop(connection);
  }

  /** A protocol error: this connection ends, with a line that says why; others are not harmed. */
  #refuseFrame(connection: ServerConnection, reason: string): void {
    if (!connection.outlet.open) return;
    this.counters.protocolErrors++;
    const name = connection.session?.clientName ?? 'a peer without handshake';
    this.#log(`rpc server: closing the connection of ${name}: ${reason}`);
    this.#closeConnection(connection, reason);
  }

  /** Slow or gone, but no protocol error: its handshake may be lost with a path that broke. */
  #giveUp(connection: ServerConnection): void {
    if (!connection.outlet.open) return;
    const reason = `no handshake within ${this.#table.handshakeTimeoutMs} ms`;
    this.#log(`rpc server: closing the connection of a peer without handshake: ${reason}`);
    this.#closeConnection(connection, reason);
  }

  #closeConnection(connection: ServerConnection, reason: string): void {
    this.#drop(connection);
    this.#transport.close(connection.outlet.connection, reason);
  }

  /** Of ServerConnection: one frame; the bulk slot is ours. */
  frameArrived(
    connection: ServerConnection,
    frame: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void {
    const wrong = connection.outlet.open
      ? checkFrame(this.#words, frame, messageBytes, bulkBytes, false)
      : 'closed';
    const session = connection.session;
    if (wrong !== '' || session === null) {
      if (bulkOffset !== 0) this.#arena.bulk.give(bulkOffset);
      if (wrong !== '') this.#refuseFrame(connection, wrong);
      else this.#shakeHands(connection, frame, messageBytes);
      return;
    }
    if (connection.announces) {
      connection.announces = false;
      session.unannounced = false;
    }
    const words = this.#words;
    const outlet = connection.outlet;
    const end = frame + messageBytes;
    let entry = frame + FRAME_HEADER_BYTES;
    let bulk = bulkOffset;
    // A service may close this connection while it answers: the rest is then retransmitted.
    while (entry < end && outlet.open) {
      const entryBytes = words[entry >>> 2]! & 0xffff;
      const wrongEntry = this.#entryArrived(
        connection,
        session,
        entry,
        entryBytes,
        bulk,
        bulkBytes,
      );
      if (wrongEntry !== '') {
        this.#refuseFrame(connection, wrongEntry);
        return;
      }
      bulk = 0;
      entry += entryBytes;
    }
    if (bulk !== 0) this.#arena.bulk.give(bulk);
  }

  /** Takes over `bulkOffset` in any case. Returns what is wrong with the request, or ''. */
  #entryArrived(
    connection: ServerConnection,
    session: Session,
    entry: number,
    entryBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): string {
    const words = this.#words;
    const at = entry >>> 2;
    const opcode = (words[at]! >>> 16) & 0xff;
    const slot = words[at + 1]! & 0xffff;
    const sequence = words[at + 2]!;
    const last = session.lastSequence[slot]!;
    // Signed distance, so that the wrap from 2^32 - 1 to 1 counts as newer.
    const distance = (sequence - last) | 0;
    const executing = session.executing[slot]!;
    let wrong = '';
    if (sequence === SEQUENCE_OUTSIDE) {
      wrong = opcode === Opcode.Echo ? '' : `${opcodeName(opcode)} with sequence 0`;
      if (wrong === '') this.#echo(connection, entry, entryBytes, slot, sequence);
    } else if (opcode === Opcode.Hello) {
      wrong = 'a second handshake';
    } else if (last !== 0 && (distance < 0 || (distance === 0 && executing !== null))) {
      this.counters.dropped++;
    } else {
      if (executing !== null) {
        executing.superseded = true;
        session.executing[slot] = null;
      }
      session.lastSequence[slot] = sequence;
      if (opcode === Opcode.Echo) {
        this.#echo(connection, entry, entryBytes, slot, sequence);
      } else {
        return this.#execute(session, entry, entryBytes, bulkOffset, bulkBytes, last, distance);
      }
    }
    if (bulkOffset !== 0) this.#arena.bulk.give(bulkOffset);
    return wrong;
  }

  #execute(
    session: Session,
    entry: number,
    entryBytes: number,
    bulkOffset: number,
    bulkBytes: number,
    last: number,
    distance: number,
  ): string {
    const words = this.#words;
    const at = entry >>> 2;
    const request = this.#pool.pop() ?? new RpcRequest();
    request.free = false;
    request.superseded = false;
    request.replayed = false;
    request.session = session;
    request.opcode = (words[at]! >>> 16) & 0xff;
    request.slot = words[at + 1]! & 0xffff;
    request.sequence = words[at + 2]!;
    request.mapEpoch = words[at + 3]!;
    request.body = entry + ENTRY_HEADER_BYTES;
    request.bodyBytes = entryBytes - ENTRY_HEADER_BYTES;
    request.executedHere = last !== 0;
    request.bulkOffset = bulkOffset;
    request.bulkBytes = bulkOffset === 0 ? 0 : bulkBytes;
    session.executing[request.slot] = request;
    session.executingCount++;
    this.#executingCount++;
    this.counters.requests++;
    // Only a sequence that this process has seen last, or one from before its start, can be recorded.
    if ((last === 0 || distance === 0) && session.recall(request)) {
      return this.#replay(request);
    }
    this.#service.onRequest(request);
    return '';
  }

  #replay(request: RpcRequest): string {
    request.replayed = true;
    this.counters.replays++;
    if (request.recordOpcode !== request.opcode) {
      this.reply(request, 0);
      return `${opcodeName(request.opcode)} repeats ${opcodeName(request.recordOpcode)}`;
    }
    if (request.recordStatus !== 0) this.reply(request, request.recordStatus);
    else this.#service.onReplay(request);
    return '';
  }

  #echo(
    connection: ServerConnection,
    entry: number,
    entryBytes: number,
    slot: number,
    sequence: number,
  ): void {
    const bodyBytes = entryBytes - ENTRY_HEADER_BYTES;
    const from = entry + ENTRY_HEADER_BYTES;
    const body = this.#writer.begin(connection.outlet, bodyBytes);
    if (bodyBytes > SMALL_COPY_BYTES) {
      this.#arena.bytes.copyWithin(body, from, from + bodyBytes);
    } else {
      const words = this.#words;
      const source = from >>> 2;
      const destination = body >>> 2;
      const count = bodyBytes >>> 2;
      for (let i = 0; i < count; i++) words[destination + i] = words[source + i]!;
    }
    this.#writer.end(
      connection.outlet,
      Opcode.Echo,
      0,
      slot,
      0,
      sequence,
      this.mapEpoch,
      bodyBytes,
    );
  }

  #shakeHands(connection: ServerConnection, frame: number, messageBytes: number): void {
    if (connection.refused) return;
    const at = (frame + FRAME_HEADER_BYTES) >>> 2;
    const entryBytes = this.#words[at]! & 0xffff;
    const opcode = (this.#words[at]! >>> 16) & 0xff;
    const alone = FRAME_HEADER_BYTES + entryBytes === messageBytes;
    if (opcode !== Opcode.Hello || !alone || this.#words[at + 2] !== SEQUENCE_OUTSIDE) {
      this.#refuseFrame(connection, 'the first request is not a handshake');
      return;
    }
    const body = this.#arena.bytes.slice(
      frame + FRAME_HEADER_BYTES + ENTRY_HEADER_BYTES,
      frame + messageBytes,
    );
    const answer = this.#table.shakeHands(body, this.mapEpoch);
    if (answer.session !== null) {
      connection.announces = answer.session.unannounced;
      this.#bind(connection, answer.session);
    }
    const outlet = connection.outlet;
    const place = this.#writer.begin(outlet, answer.reply.length);
    this.#arena.bytes.set(answer.reply, place);
    this.#writer.end(
      outlet,
      Opcode.Hello,
      0,
      0,
      answer.status,
      SEQUENCE_OUTSIDE,
      this.mapEpoch,
      answer.reply.length,
    );
    if (answer.session !== null) return;
    this.counters.refusedHandshakes++;
    this.#log(`rpc server: handshake refused: ${answer.reason}`);
    connection.refused = true;
    connection.handshakeTimer?.cancel();
    connection.handshakeTimer = this.#scheduler.setTimer(REFUSAL_LINGER_MS, () => {
      if (outlet.open) this.#closeConnection(connection, answer.reason);
    });
  }

  /** The session's answers go to this connection from now on; an older one is closed. */
  #bind(connection: ServerConnection, session: Session): void {
    connection.handshakeTimer?.cancel();
    connection.handshakeTimer = null;
    const older = session.outlet;
    session.outlet = connection.outlet;
    connection.session = session;
    if (older === null) return;
    for (const other of this.#connections) {
      if (other.outlet !== older) continue;
      this.#closeConnection(other, 'the session has a newer connection');
      break;
    }
  }
}

class ServerConnection implements RpcSink {
  readonly server: RpcServer;
  readonly outlet: ReplyOutlet;
  session: Session | null = null;
  /** Its handshake's answer says that the session is new; what arrives next shows that it was read. */
  announces = false;
  /** Its handshake was refused; closed when the reply has had time to arrive. */
  refused = false;
  handshakeTimer: { cancel(): void } | null = null;

  constructor(server: RpcServer, connection: number) {
    this.server = server;
    this.outlet = new ReplyOutlet(connection);
  }

  onOpen(): void {
    // The client speaks first.
  }

  onMessage(
    messageOffset: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void {
    this.server.frameArrived(this, messageOffset, messageBytes, bulkOffset, bulkBytes);
  }

  onClose(): void {
    this.server.connectionClosed(this);
  }
}
