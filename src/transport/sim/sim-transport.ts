/**
 * A node's transport in the simulation: `Transport` over a `SimNetwork`, between plain arenas.
 * It is strict about memory: a received message is overwritten as soon as its handler returns, and
 * frames are read only when they are "out", a little after `flush`.
 */
import type { ArenaMemory } from '../../native/arena-memory.js';
import { FRAME_REPLIES } from '../../protocol/frame.js';
import { messageSlotBytes } from '../../protocol/limits.generated.js';
import { FrameHeader } from '../../protocol/wire.generated.js';
import type { CopiedBytes, Transport, TransportCounters, TransportHandler } from '../transport.js';
import { mixPair } from './sim-random.js';
import { SimEnd } from './sim-network.js';
import type { SimFrame, SimListener, SimNetwork, SimReceiver } from './sim-network.js';
import type { SimScheduler } from './sim-scheduler.js';

/** A frame is read from memory up to this long after its flush. */
const OUT_DELAY_MS = 0.05;
const POISON = 0xdd;
const FIRST_FREE_PORT = 49_152;
/** Landing area that was withdrawn: bulk for it is thrown away. */
const WITHDRAWN = -1;

interface Segment {
  offset: number;
  lengthBytes: number;
  releaseSlot: boolean;
}

interface Queued {
  connection: number;
  offset: number;
  lengthBytes: number;
  releaseMessage: boolean;
  segments: Segment[];
}

interface Landing {
  offset: number;
  maxBytes: number;
}

export class SimTransport implements Transport, SimReceiver {
  readonly kind = 'sim';
  readonly counters: TransportCounters = {
    framesSent: 0,
    framesReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    bytesCopied: { below4KiB: 0, below64KiB: 0, above: 0 },
    protocolErrors: 0,
  };
  readonly node: string;
  readonly scheduler: SimScheduler;
  readonly #network: SimNetwork;
  readonly #arena: ArenaMemory;
  #handler: TransportHandler | undefined;
  readonly #ends = new Map<number, SimEnd>();
  readonly #landings = new Map<number, Map<number, Landing>>();
  #segments: Segment[] = [];
  #queued: Queued[] = [];
  /** By connection: sent before it was open. */
  readonly #early = new Map<number, Queued[]>();
  /** Flushed, not yet read from memory. */
  #leaving: Queued[] = [];
  #nextConnection = 1;
  /** The message slot that frames are received in. */
  readonly #receiveSlot: number;
  #down = false;

  /** Takes one message slot of the arena until `shutdown`. */
  constructor(network: SimNetwork, node: string, scheduler: SimScheduler, arena: ArenaMemory) {
    this.#network = network;
    this.node = node;
    this.scheduler = scheduler;
    this.#arena = arena;
    this.#receiveSlot = arena.messages.take();
    if (this.#receiveSlot === 0) throw new RangeError('sim: the arena has no message slot left');
  }

  setHandler(handler: TransportHandler): void {
    this.#handler = handler;
  }

  /** `host` is ignored: a node has one address, its name. Port 0: a free one. Listens at once. */
  listen(_host: string, port: number): Promise<number> {
    const listener: SimListener = {
      node: this.node,
      receiver: this,
      accept: (makeEnd) => {
        const end = makeEnd(this.#nextConnection++);
        this.#ends.set(end.number, end);
        return end;
      },
    };
    for (let free = FIRST_FREE_PORT; port === 0; free++) {
      if (this.#network.listen(this.node, free, listener)) return Promise.resolve(free);
    }
    if (!this.#network.listen(this.node, port, listener)) {
      return Promise.reject(
        Object.assign(new Error(`port ${port} is in use`), { code: 'EADDRINUSE' }),
      );
    }
    return Promise.resolve(port);
  }

  connect(host: string, port: number): number {
    const end = new SimEnd(this.node, this, this.#nextConnection++);
    this.#ends.set(end.number, end);
    this.#early.set(end.number, []);
    this.#network.connect(end, host, port);
    return end.number;
  }

  addBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    this.#segments.push({ offset, lengthBytes, releaseSlot });
  }

  send(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    releaseMessage: boolean,
  ): void {
    if (messageBytes % 8 !== 0 || messageBytes > messageSlotBytes) {
      throw new RangeError(`sim: message of ${messageBytes} bytes`);
    }
    const segments = this.#segments;
    this.#segments = [];
    this.#queued.push({
      connection,
      offset: messageOffset,
      lengthBytes: messageBytes,
      releaseMessage,
      segments,
    });
  }

  flush(): void {
    if (this.#queued.length === 0) return;
    this.#leaving.push(...this.#queued);
    this.#queued = [];
    this.#network.world.schedule(this.#network.world.random.next() * OUT_DELAY_MS, () => {
      if (!this.scheduler.alive || this.#down) return;
      const leaving = this.#leaving;
      this.#leaving = [];
      for (const frame of leaving) this.#leave(frame);
    });
  }

  /** The frame is read from memory and goes on its way; its slots are free. */
  #leave(queued: Queued): void {
    const end = this.#ends.get(queued.connection);
    const early = this.#early.get(queued.connection);
    if (early !== undefined) {
      early.push(queued);
      return;
    }
    if (end?.open === true) this.#network.transmit(end, this.#copyOut(queued));
    this.#release(queued);
  }

  #copyOut(queued: Queued): SimFrame {
    const bytes = this.#arena.bytes;
    const message = bytes.slice(queued.offset, queued.offset + queued.lengthBytes);
    let bulkBytes = 0;
    for (const segment of queued.segments) bulkBytes += segment.lengthBytes;
    const bulk = queued.segments.length === 0 ? null : new Uint8Array(bulkBytes);
    if (bulk !== null) {
      let at = 0;
      for (const { offset, lengthBytes } of queued.segments) {
        bulk.set(bytes.subarray(offset, offset + lengthBytes), at);
        at += lengthBytes;
      }
      new Uint32Array(message.buffer)[FrameHeader.bulkBytes / 4] = bulkBytes;
    }
    this.counters.framesSent++;
    this.counters.bytesSent += message.length + bulkBytes;
    return { message, bulk, atMs: 0 };
  }

  #release(queued: Queued): void {
    if (queued.releaseMessage) this.#arena.messages.give(queued.offset);
    for (const segment of queued.segments) {
      if (segment.releaseSlot) this.#arena.bulk.give(segment.offset);
    }
  }

  /** The connection will never open. */
  #dropEarly(connection: number): void {
    const early = this.#early.get(connection) ?? [];
    this.#early.delete(connection);
    for (const queued of early) this.#release(queued);
  }

  setLanding(connection: number, tag: number, offset: number, maxBytes: number): void {
    let landings = this.#landings.get(connection);
    if (landings === undefined) {
      landings = new Map();
      this.#landings.set(connection, landings);
    }
    landings.set(tag, { offset, maxBytes });
  }

  endLanding(connection: number, tag: number): void {
    this.#landings.get(connection)?.delete(tag);
  }

  cancelLanding(connection: number, tag: number): void {
    const landing = this.#landings.get(connection)?.get(tag);
    if (landing !== undefined) landing.offset = WITHDRAWN;
  }

  close(connection: number, reason: string): void {
    const end = this.#ends.get(connection);
    if (end?.open !== true) return;
    this.#network.closeByOwner(end);
    this.#dropEarly(connection);
    this.scheduler.deliver(() => {
      this.closed(connection, reason);
    });
  }

  shutdown(): void {
    if (this.#down) return;
    this.#down = true;
    this.#handler = undefined;
    this.#network.unlisten(this);
    for (const end of this.#ends.values()) this.#network.closeByOwner(end);
    this.#ends.clear();
    for (const connection of [...this.#early.keys()]) this.#dropEarly(connection);
    for (const queued of [...this.#leaving, ...this.#queued]) this.#release(queued);
    this.#leaving = [];
    this.#queued = [];
    this.#arena.messages.give(this.#receiveSlot);
  }

  /** The node crashes: its scheduler is killed, and the network forgets it. */
  crash(): void {
    this.#down = true;
    this.#handler = undefined;
    this.scheduler.kill();
    this.#network.crash(this.node);
  }

  // ------------------------------------------------------------ SimReceiver

  opened(connection: number, incoming: boolean): void {
    const early = this.#early.get(connection) ?? [];
    this.#early.delete(connection);
    for (const queued of early) this.#leave(queued);
    this.#handler?.onOpen(connection, incoming);
  }

  closed(connection: number, reason: string): void {
    if (!this.#ends.delete(connection)) return;
    this.#dropEarly(connection);
    this.#landings.delete(connection);
    this.#handler?.onClose(connection, reason);
  }

  frameArrived(connection: number, frame: SimFrame, partial: boolean): boolean {
    const { message, bulk } = frame;
    if (message.length < FrameHeader.SIZE) {
      this.counters.protocolErrors++;
      this.close(connection, 'bad frame: message length out of bounds');
      return true;
    }
    const header = new Uint32Array(message.buffer, message.byteOffset, message.length / 4);
    const isReply = (header[FrameHeader.flags / 4]! & FRAME_REPLIES) !== 0;
    let bulkOffset = 0;
    if (bulk !== null && isReply) {
      const tag = header[FrameHeader.bulkTag / 4]!;
      const landing = this.#landings.get(connection)?.get(tag);
      if (
        landing === undefined ||
        (landing.offset !== WITHDRAWN && bulk.length > landing.maxBytes)
      ) {
        this.counters.protocolErrors++;
        this.close(connection, 'bad frame: bulk that was not asked for');
        return true;
      }
      if (landing.offset !== WITHDRAWN) {
        const lengthBytes = partial ? bulk.length >> 1 : bulk.length;
        this.#arena.bytes.set(bulk.subarray(0, lengthBytes), landing.offset);
        bulkOffset = landing.offset;
      }
      if (!partial) this.#landings.get(connection)!.delete(tag);
    } else if (bulk !== null && !partial) {
      bulkOffset = this.#arena.bulk.take();
      if (bulkOffset === 0) return false;
      this.#arena.bytes.set(bulk, bulkOffset);
    }
    if (!partial) this.#hand(connection, message, bulkOffset, bulk?.length ?? 0);
    return true;
  }

  #hand(connection: number, message: Uint8Array, bulkOffset: number, bulkBytes: number): void {
    const slot = this.#receiveSlot;
    const bytes = this.#arena.bytes;
    let hash = message.length;
    const words = new Uint32Array(message.buffer, message.byteOffset, message.length >> 2);
    for (const word of words) hash = mixPair(hash, word);
    this.#network.world.trace(`frame ${this.node}`, connection, hash, bulkBytes);
    this.counters.framesReceived++;
    this.counters.bytesReceived += message.length + bulkBytes;
    countCopy(this.counters.bytesCopied, message.length);
    countCopy(this.counters.bytesCopied, bulkBytes);
    bytes.set(message, slot);
    if (this.#handler === undefined && bulkOffset !== 0) this.#arena.bulk.give(bulkOffset);
    this.#handler?.onMessage(connection, slot, message.length, bulkOffset, bulkBytes);
    bytes.fill(POISON, slot, slot + message.length);
  }
}

function countCopy(copied: CopiedBytes, lengthBytes: number): void {
  if (lengthBytes < 4096) copied.below4KiB += lengthBytes;
  else if (lengthBytes < 65536) copied.below64KiB += lengthBytes;
  else copied.above += lengthBytes;
}
