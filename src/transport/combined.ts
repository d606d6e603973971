/**
 * Two transports as one, so that a session may come back over the other one to the same target and
 * nothing above notices. Method: one number space,
 *
 *   connection of part p (0: the preferred one, or 1) with number n   =   2 n + p
 *
 * so a frame costs a shift each way and allocates nothing. Bulk is gathered before it is known which
 * connection its frame goes to, so segments wait here until `send`. A thread that uses one kind alone
 * has no such wrapper: `combineTransports` returns the part itself.
 */
import type {
  CopiedBytes,
  Transport,
  TransportCounters,
  TransportHandler,
  TransportKind,
} from './transport.js';

export interface TransportPart {
  /** What it is called here: the transport's own kind, except in simulations. */
  kind: TransportKind;
  transport: Transport;
}

/** The transport over these one or two, the preferred one first. */
export function combineTransports(parts: readonly TransportPart[]): Transport {
  if (parts.length === 1) return parts[0]!.transport;
  return new CombinedTransport(parts);
}

const SEGMENT_WORDS = 3;
/** More than a frame ever has; a larger one makes the list grow. */
const SEGMENTS = 512;

export class CombinedTransport implements Transport {
  readonly kind = 'combined';
  readonly kinds: readonly TransportKind[];
  readonly counters: TransportCounters;
  readonly #first: Transport;
  readonly #second: Transport;
  /** Of the frame that is sent next: offset, length, release. */
  #segments = new Uint32Array(SEGMENTS * SEGMENT_WORDS);
  #segmentCount = 0;

  /** Owns the parts from now on, handlers included. Throws RangeError unless they are two. */
  constructor(parts: readonly TransportPart[]) {
    if (parts.length !== 2) throw new RangeError(`${parts.length} transports cannot be combined`);
    this.kinds = parts.map((part) => part.kind);
    this.#first = parts[0]!.transport;
    this.#second = parts[1]!.transport;
    this.counters = new SummedCounters(this.#first.counters, this.#second.counters);
  }

  #partOf(connection: number): Transport {
    return (connection & 1) === 0 ? this.#first : this.#second;
  }

  kindOf(connection: number): TransportKind {
    return this.kinds[connection & 1]!;
  }

  setHandler(handler: TransportHandler): void {
    this.#first.setHandler(new PartHandler(handler, 0));
    this.#second.setHandler(new PartHandler(handler, 1));
  }

  /** Both listen on the same port; rejects, and may listen on one of them, when one cannot. */
  async listen(host: string, port: number): Promise<number> {
    const bound = await this.#first.listen(host, port);
    await this.#second.listen(host, bound);
    return bound;
  }

  connect(host: string, port: number, kind?: TransportKind): number {
    const part = kind === undefined ? 0 : this.kinds.indexOf(kind);
    if (part < 0) throw new RangeError(`there is no ${kind} here`);
    return 2 * (part === 0 ? this.#first : this.#second).connect(host, port) + part;
  }

  send(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    releaseMessage: boolean,
  ): void {
    const part = this.#partOf(connection);
    const segments = this.#segments;
    const end = this.#segmentCount * SEGMENT_WORDS;
    this.#segmentCount = 0;
    for (let at = 0; at < end; at += SEGMENT_WORDS) {
      part.addBulk(segments[at]!, segments[at + 1]!, segments[at + 2] === 1);
    }
    part.send(connection >>> 1, messageOffset, messageBytes, releaseMessage);
  }

  addBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    const at = this.#segmentCount++ * SEGMENT_WORDS;
    if (at === this.#segments.length) {
      const larger = new Uint32Array(2 * at);
      larger.set(this.#segments);
      this.#segments = larger;
    }
    this.#segments[at] = offset;
    this.#segments[at + 1] = lengthBytes;
    this.#segments[at + 2] = releaseSlot ? 1 : 0;
  }

  flush(): void {
    this.#first.flush();
    this.#second.flush();
  }

  setLanding(connection: number, tag: number, offset: number, maxBytes: number): void {
    this.#partOf(connection).setLanding(connection >>> 1, tag, offset, maxBytes);
  }

  endLanding(connection: number, tag: number): void {
    this.#partOf(connection).endLanding(connection >>> 1, tag);
  }

  cancelLanding(connection: number, tag: number): void {
    this.#partOf(connection).cancelLanding(connection >>> 1, tag);
  }

  close(connection: number, reason: string): void {
    this.#partOf(connection).close(connection >>> 1, reason);
  }

  shutdown(): void {
    this.#first.shutdown();
    this.#second.shutdown();
  }
}

/** One part's events under the common numbers. */
class PartHandler implements TransportHandler {
  readonly #handler: TransportHandler;
  readonly #part: number;

  constructor(handler: TransportHandler, part: number) {
    this.#handler = handler;
    this.#part = part;
  }

  onOpen(connection: number, incoming: boolean): void {
    this.#handler.onOpen(2 * connection + this.#part, incoming);
  }

  onMessage(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    bulkOffset: number,
    bulkBytes: number,
  ): void {
    const number = 2 * connection + this.#part;
    this.#handler.onMessage(number, messageOffset, messageBytes, bulkOffset, bulkBytes);
  }

  onClose(connection: number, reason: string): void {
    this.#handler.onClose(2 * connection + this.#part, reason);
  }
}

class SummedCounters implements TransportCounters {
  readonly bytesCopied: CopiedBytes;
  readonly #a: TransportCounters;
  readonly #b: TransportCounters;

  constructor(a: TransportCounters, b: TransportCounters) {
    this.#a = a;
    this.#b = b;
    this.bytesCopied = {
      get below4KiB(): number {
        return a.bytesCopied.below4KiB + b.bytesCopied.below4KiB;
      },
      get below64KiB(): number {
        return a.bytesCopied.below64KiB + b.bytesCopied.below64KiB;
      },
      get above(): number {
        return a.bytesCopied.above + b.bytesCopied.above;
      },
    };
  }

  get framesSent(): number {
    return this.#a.framesSent + this.#b.framesSent;
  }

  get framesReceived(): number {
    return this.#a.framesReceived + this.#b.framesReceived;
  }

  get bytesSent(): number {
    return this.#a.bytesSent + this.#b.bytesSent;
  }

  get bytesReceived(): number {
    return this.#a.bytesReceived + this.#b.bytesReceived;
  }

  get protocolErrors(): number {
    return this.#a.protocolErrors + this.#b.protocolErrors;
  }
}
