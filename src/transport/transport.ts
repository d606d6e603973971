/**
 * The one abstraction under every data-path conversation: frames between two endpoints, each a
 * message of at most `messageSlotBytes` and optionally one gathered bulk of at most
 * `maxBulkBytes`. Implementations: tcp (native/socket), rdma (native/rdma), sim (pure TypeScript).
 * See docs/internals.md, "Transport".
 */
export interface Transport {
  readonly kind: TransportKind | 'combined';
  /** Of a transport made of several (combined.ts): theirs, the preferred one first. */
  readonly kinds?: readonly TransportKind[];
  readonly counters: TransportCounters;
  setHandler(handler: TransportHandler): void;
  /** Resolves to the bound port; rejects with an Error whose `code` is the errno's name. */
  listen(host: string, port: number): Promise<number>;
  /**
   * Returns a connection number (> 0, not reused soon); `onOpen` or `onClose` follows. `kind` tells a
   * transport made of several which one to use; others have no choice.
   */
  connect(host: string, port: number, kind?: TransportKind): number;
  /** Of a transport made of several: which of them carries this connection. */
  kindOf?(connection: number): TransportKind;
  /**
   * Queues one frame whose message lies at `messageOffset`, `FrameHeader` included and filled by
   * the caller except `bulkBytes`. With `releaseMessage` the slot goes back to the arena's pool
   * when its bytes are out or the connection is gone; otherwise the caller keeps it, unchanged,
   * until it knows that the peer has it.
   */
  send(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    releaseMessage: boolean,
  ): void;
  /**
   * Adds a segment of bulk to the frame that is sent next. Segments are gathered; with
   * `releaseSlot` the bulk slot that holds the segment is given back when it is out.
   */
  addBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void;
  /** Hands everything queued to the engine. */
  flush(): void;
  /**
   * The bulk of one frame tagged `tag` may land here; ended by arrival, `endLanding` or
   * `cancelLanding`. It is set before the request that it is for is sent.
   */
  setLanding(connection: number, tag: number, offset: number, maxBytes: number): void;
  /** The request of this landing was answered, without bulk: none is to come. */
  endLanding(connection: number, tag: number): void;
  /**
   * Its request is given up: nothing is written to the landing after return. Bulk that still comes is dropped (`onMessage` with
   * bulkOffset 0), or the connection closes.
   */
  cancelLanding(connection: number, tag: number): void;
  /** Closes now; `onClose` follows with this reason. */
  close(connection: number, reason: string): void;
  /** Closes all connections and listeners; no handler call follows. */
  shutdown(): void;
}

/** What carries a connection. */
export type TransportKind = 'tcp' | 'rdma' | 'sim';

/** A place where something listens. */
export interface TransportAddress {
  /** Absent: of the only kind that the transport has. */
  kind?: TransportKind;
  host: string;
  port: number;
}

/** The kinds of connections that `transport` can open, the preferred one first. */
export function transportKinds(transport: Transport): readonly TransportKind[] {
  if (transport.kind === 'combined') return transport.kinds ?? [];
  return [transport.kind];
}

/** What carries this connection. */
export function connectionKind(transport: Transport, connection: number): TransportKind {
  if (transport.kind === 'combined') return transport.kindOf!(connection);
  return transport.kind;
}

export interface TransportHandler {
  onOpen(connection: number, incoming: boolean): void;
  /**
   * One frame. The message is valid until return. `bulkOffset` 0: no bulk. A request's bulk lies at
   * the payload of a bulk slot that now belongs to the handler; a reply's in its landing area.
   */
  onMessage(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void;
  /** Last call for this connection; its queued frames are dropped, their slots given back. */
  onClose(connection: number, reason: string): void;
}

export interface TransportCounters {
  framesSent: number;
  framesReceived: number;
  bytesSent: number;
  bytesReceived: number;
  /** What the processor copied in user space, of messages and bulk, either way. */
  bytesCopied: CopiedBytes;
  protocolErrors: number;
}

/** Bytes by the size of each copy. */
export interface CopiedBytes {
  below4KiB: number;
  below64KiB: number;
  above: number;
}
