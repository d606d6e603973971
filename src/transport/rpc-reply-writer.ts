/**
 * Puts replies into frames: those of a turn for one connection share a message slot and leave at the
 * turn's end; a reply with bulk leaves as a frame of its own, at once. When no message slot is free
 * a reply is copied to the heap and sent when one is (at most rpcSlots replies a session, so this
 * is bounded).
 *
 *   begin ── body written by the service ──> end ──> shared message ── full, or flush ──> transport
 *                                             ├── with bulk ─────────────────────────────> transport
 *                                             └── no slot: backlog ── a slot is free ────> transport
 */
import type { Scheduler, Timer } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_REPLIES,
  RPC_BODY_BYTES_MAX,
  roundUp8,
  writeFrameHeader,
  writeReplyHeader,
} from '../protocol/frame.js';
import { maxBulkBytes, messageSlotBytes, noTag } from '../protocol/limits.generated.js';
import type { Transport } from './transport.js';

/** How often a backlog looks for a free message slot. */
const BACKLOG_RETRY_MS = 1;

/** A connection's share of the writer: the message that its replies are being gathered in. */
export class ReplyOutlet {
  readonly connection: number;
  /** Arena offset of the message slot; 0: none. */
  message = 0;
  usedBytes = 0;
  count = 0;
  /** In the list of the next flush. */
  listed = false;
  open = true;

  constructor(connection: number) {
    this.connection = connection;
  }
}

interface Segment {
  offset: number;
  lengthBytes: number;
  releaseSlot: boolean;
}

interface Backlogged {
  outlet: ReplyOutlet;
  frame: Uint8Array;
  segments: Segment[];
}

export class ReplyWriter {
  readonly #transport: Transport;
  readonly #arena: ArenaMemory;
  readonly #scheduler: Scheduler;
  readonly #words: Uint32Array;
  readonly #bytes: Uint8Array;
  /** Where replies that nobody can be sent now are written. */
  readonly #spare: number;
  readonly #listed: ReplyOutlet[] = [];
  readonly #segments: Segment[] = [];
  #segmentCount = 0;
  #backlog: Backlogged[] = [];
  #retry: Timer | null = null;
  /** The entry being written: its offset (0: none), its room, and whether it lies in the spare slot. */
  #entry = 0;
  #entryRoom = 0;
  #inSpare = false;
  #sent = false;

  constructor(transport: Transport, arena: ArenaMemory, scheduler: Scheduler) {
    this.#transport = transport;
    this.#arena = arena;
    this.#scheduler = scheduler;
    this.#words = arena.words;
    this.#bytes = arena.bytes;
    this.#spare = arena.messages.take();
    if (this.#spare === 0) throw new RangeError('rpc server: the arena has no message slot left');
  }

  /** Replies that wait for a message slot. */
  get backlogLength(): number {
    return this.#backlog.length;
  }

  /** Arena offset of the body's place, for at most `maxBodyBytes`. `end` follows in the same call. */
  begin(outlet: ReplyOutlet | null, maxBodyBytes: number): number {
    if (this.#entry !== 0) throw new Error('rpc server: a reply is begun but not ended');
    if (maxBodyBytes > RPC_BODY_BYTES_MAX) {
      throw new RangeError(`rpc server: reply body of ${maxBodyBytes} bytes`);
    }
    const entryBytes = ENTRY_HEADER_BYTES + roundUp8(maxBodyBytes);
    let base = this.#spare + FRAME_HEADER_BYTES;
    this.#inSpare = true;
    if (outlet?.open === true) {
      if (outlet.message !== 0 && outlet.usedBytes + entryBytes > messageSlotBytes) {
        this.#sendShared(outlet);
      }
      if (outlet.message === 0) {
        outlet.message = this.#arena.messages.take();
        outlet.usedBytes = FRAME_HEADER_BYTES;
        outlet.count = 0;
      }
      if (outlet.message !== 0) {
        base = outlet.message + outlet.usedBytes;
        this.#inSpare = false;
      }
    }
    this.#entry = base;
    this.#entryRoom = entryBytes - ENTRY_HEADER_BYTES;
    return base + ENTRY_HEADER_BYTES;
  }

  /** As Transport.addBulk, for the reply being written. */
  addBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    if (this.#entry === 0) throw new Error('rpc server: bulk without a begun reply');
    let segment = this.#segments[this.#segmentCount];
    if (segment === undefined) {
      segment = { offset: 0, lengthBytes: 0, releaseSlot: false };
      this.#segments.push(segment);
    }
    segment.offset = offset;
    segment.lengthBytes = lengthBytes;
    segment.releaseSlot = releaseSlot;
    this.#segmentCount++;
  }

  end(
    outlet: ReplyOutlet | null,
    opcode: number,
    flags: number,
    slot: number,
    status: number,
    sequence: number,
    mapEpoch: number,
    bodyBytes: number,
  ): void {
    const entry = this.#entry;
    if (entry === 0) throw new Error('rpc server: a reply is ended but not begun');
    if (bodyBytes > this.#entryRoom) throw new RangeError('rpc server: body beyond its room');
    this.#entry = 0;
    const padded = roundUp8(bodyBytes);
    const body = entry + ENTRY_HEADER_BYTES;
    for (let i = body + bodyBytes; i < body + padded; i++) this.#bytes[i] = 0;
    const entryBytes = ENTRY_HEADER_BYTES + padded;
    writeReplyHeader(
      this.#words,
      entry,
      entryBytes,
      opcode,
      flags,
      slot,
      status,
      sequence,
      mapEpoch,
    );
    if (outlet === null || this.#inSpare || this.#segmentCount !== 0) {
      this.#endApart(outlet, entry, entryBytes, slot);
      return;
    }
    outlet.usedBytes += entryBytes;
    outlet.count++;
    this.#list(outlet);
  }

  /** A reply that does not simply join the shared message: nobody to send to, no slot, or bulk. */
  #endApart(outlet: ReplyOutlet | null, entry: number, entryBytes: number, slot: number): void {
    if (outlet === null || !outlet.open) {
      this.#dropSegments();
      return;
    }
    const tag = this.#segmentCount === 0 ? noTag : slot;
    if (tag !== noTag) this.#checkSegments();
    let message = 0;
    if (!this.#inSpare && outlet.count === 0) {
      message = outlet.message;
      outlet.message = 0;
    } else if (!this.#inSpare) {
      message = this.#arena.messages.take();
      if (message !== 0) {
        this.#bytes.copyWithin(message + FRAME_HEADER_BYTES, entry, entry + entryBytes);
      }
    }
    const frameBytes = FRAME_HEADER_BYTES + entryBytes;
    if (message === 0) {
      this.#toBacklog(outlet, entry, entryBytes, tag);
      return;
    }
    writeFrameHeader(this.#words, message, frameBytes, tag, 1, FRAME_REPLIES);
    for (let i = 0; i < this.#segmentCount; i++) {
      const segment = this.#segments[i]!;
      this.#transport.addBulk(segment.offset, segment.lengthBytes, segment.releaseSlot);
    }
    this.#segmentCount = 0;
    this.#transport.send(outlet.connection, message, frameBytes, true);
    this.#sent = true;
    this.#scheduler.requestTurn();
  }

  #checkSegments(): void {
    let sum = 0;
    for (let i = 0; i < this.#segmentCount; i++) sum += this.#segments[i]!.lengthBytes;
    if (sum === 0 || sum > maxBulkBytes) throw new RangeError(`rpc server: bulk of ${sum} bytes`);
  }

  #dropSegments(): void {
    for (let i = 0; i < this.#segmentCount; i++) {
      const segment = this.#segments[i]!;
      if (segment.releaseSlot) this.#arena.bulk.give(segment.offset);
    }
    this.#segmentCount = 0;
  }

  #toBacklog(outlet: ReplyOutlet, entry: number, entryBytes: number, tag: number): void {
    const frame = new Uint8Array(FRAME_HEADER_BYTES + entryBytes);
    const words = new Uint32Array(frame.buffer);
    writeFrameHeader(words, 0, frame.length, tag, 1, FRAME_REPLIES);
    frame.set(this.#bytes.subarray(entry, entry + entryBytes), FRAME_HEADER_BYTES);
    const segments = this.#segments.splice(0, this.#segmentCount);
    this.#segmentCount = 0;
    this.#backlog.push({ outlet, frame, segments });
    this.#scheduler.requestTurn();
  }

  #list(outlet: ReplyOutlet): void {
    if (outlet.listed) return;
    outlet.listed = true;
    this.#listed.push(outlet);
    this.#scheduler.requestTurn();
  }

  #sendShared(outlet: ReplyOutlet): void {
    const message = outlet.message;
    outlet.message = 0;
    if (outlet.count === 0) {
      this.#arena.messages.give(message);
      return;
    }
    const bytes = outlet.usedBytes;
    writeFrameHeader(this.#words, message, bytes, noTag, outlet.count, FRAME_REPLIES);
    outlet.count = 0;
    this.#transport.send(outlet.connection, message, bytes, true);
    this.#sent = true;
  }

  /** The turn's end: everything gathered is handed to the engine. */
  flush(): void {
    const listed = this.#listed;
    for (let i = 0; i < listed.length; i++) {
      const outlet = listed[i]!;
      outlet.listed = false;
      if (outlet.message !== 0) this.#sendShared(outlet);
    }
    listed.length = 0;
    if (this.#backlog.length !== 0) this.#sendBacklog();
    if (!this.#sent) return;
    this.#sent = false;
    this.#transport.flush();
  }

  #sendBacklog(): void {
    const backlog = this.#backlog;
    let done = 0;
    for (; done < backlog.length; done++) {
      const { outlet, frame, segments } = backlog[done]!;
      if (!outlet.open) {
        for (const segment of segments) {
          if (segment.releaseSlot) this.#arena.bulk.give(segment.offset);
        }
        continue;
      }
      const message = this.#arena.messages.take();
      if (message === 0) break;
      this.#bytes.set(frame, message);
      for (const segment of segments) {
        this.#transport.addBulk(segment.offset, segment.lengthBytes, segment.releaseSlot);
      }
      this.#transport.send(outlet.connection, message, frame.length, true);
      this.#sent = true;
    }
    this.#backlog = backlog.slice(done);
    if (this.#backlog.length === 0 || this.#retry !== null) return;
    this.#retry = this.#scheduler.setTimer(BACKLOG_RETRY_MS, () => {
      this.#retry = null;
      this.#scheduler.requestTurn();
    });
  }

  /** The connection is gone: gives back what was gathered for it. */
  closeOutlet(outlet: ReplyOutlet): void {
    outlet.open = false;
    outlet.count = 0;
    if (outlet.message !== 0) this.#arena.messages.give(outlet.message);
    outlet.message = 0;
  }

  /** Gives back everything; the writer is not used again. */
  close(): void {
    this.#retry?.cancel();
    this.#retry = null;
    for (const { segments } of this.#backlog) {
      for (const segment of segments) {
        if (segment.releaseSlot) this.#arena.bulk.give(segment.offset);
      }
    }
    this.#backlog = [];
    this.#arena.messages.give(this.#spare);
  }
}
