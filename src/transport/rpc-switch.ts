/**
 * Hands a transport's events to the RPC object that owns the connection: a peer of the client for
 * those that were opened from here, a connection of the server for incoming ones. So that one
 * transport serves a target's server and its own client. One look-up a frame.
 */
import type { Transport, TransportAddress, TransportHandler } from './transport.js';

/** One connection's owner. Arguments as in TransportHandler. */
export interface RpcSink {
  onOpen(): void;
  onMessage(
    messageOffset: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void;
  onClose(reason: string): void;
}

const switches = new WeakMap<Transport, RpcSwitch>();

export class RpcSwitch implements TransportHandler {
  readonly transport: Transport;
  /** Makes the owner of an incoming connection; without it they are closed. */
  acceptor: ((connection: number) => RpcSink) | undefined = undefined;
  readonly #sinks = new Map<number, RpcSink>();
  #lastConnection = 0;
  #lastSink: RpcSink | undefined = undefined;

  private constructor(transport: Transport) {
    this.transport = transport;
    transport.setHandler(this);
  }

  /** The switch of this transport; the first call takes over its handler. */
  static of(transport: Transport): RpcSwitch {
    let found = switches.get(transport);
    if (found === undefined) {
      found = new RpcSwitch(transport);
      switches.set(transport, found);
    }
    return found;
  }

  /** Opens a connection whose events go to `sink`; returns its number. */
  connect(address: TransportAddress, sink: RpcSink): number {
    const connection = this.transport.connect(address.host, address.port, address.kind);
    this.#sinks.set(connection, sink);
    return connection;
  }

  onOpen(connection: number, incoming: boolean): void {
    if (incoming) {
      if (this.acceptor === undefined) {
        this.transport.close(connection, 'nothing is served here');
        return;
      }
      this.#sinks.set(connection, this.acceptor(connection));
    }
    this.#sinks.get(connection)?.onOpen();
  }

  onMessage(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void {
    if (connection !== this.#lastConnection) {
      this.#lastSink = this.#sinks.get(connection);
      this.#lastConnection = connection;
    }
    this.#lastSink?.onMessage(messageOffset, messageBytes, bulkOffset, bulkBytes);
  }

  onClose(connection: number, reason: string): void {
    const sink = this.#sinks.get(connection);
    this.#sinks.delete(connection);
    if (this.#lastConnection === connection) {
      this.#lastConnection = 0;
      this.#lastSink = undefined;
    }
    sink?.onClose(reason);
  }
}
