/**
 * What `Transport` promises, over a native engine (native/socket, native/rdma); a kind of transport
 * is a subclass that brings its engine. Method: the engine's two rings. A turn's records are read
 * here and become handler calls; what is sent becomes submissions, which the poller has the engine
 * take after the turn. Names are looked up and connects timed here, since that is control plane.
 */
import { lookup } from 'node:dns';
import { isIP } from 'node:net';
import { SealfsError } from '../common/errors.js';
import type { NativeArena } from '../native/arena.js';
import type { Reactor } from '../native/reactor.js';
import { RING_HEADER_BYTES, type NativeTransportEngine } from '../native/engine.js';
import {
  Record as Rec,
  RecordKind,
  Submission,
  SubmissionKind,
} from '../native/engine-layout.generated.js';
import type { Timer } from '../common/scheduler.js';
import { EngineCounters } from './engine-counters.js';
import { reasonText } from './engine-reasons.js';
import type { Transport, TransportHandler } from './transport.js';

const HEADER_WORDS = RING_HEADER_BYTES / 4;
const RECORD_WORDS = Rec.SIZE / 4;
const SUBMISSION_WORDS = Submission.SIZE / 4;
const R_KIND = Rec.kind / 4;
const R_CONNECTION = Rec.connection / 4;
const R_MESSAGE_OFFSET = Rec.messageOffset / 4;
const R_MESSAGE_BYTES = Rec.messageBytes / 4;
const R_BULK_OFFSET = Rec.bulkOffset / 4;
const R_BULK_BYTES = Rec.bulkBytes / 4;
const R_CODE = Rec.code / 4;
const R_OWNS_SLOT = Rec.ownsSlot / 4;
const S_KIND = Submission.kind / 4;
const S_CONNECTION = Submission.connection / 4;
const S_OFFSET = Submission.offset / 4;
const S_LENGTH = Submission.lengthBytes / 4;
const S_RELEASE = Submission.release / 4;
const S_TAG = Submission.tag / 4;

const CONNECT_TIMEOUT_MS = 5000;
/** The engine closes a connection that stalls inside a bulk after six of these. */
const TICK_MS = 5000;

export interface EngineTransportOptions {
  /** From connect() to onOpen, over all addresses of the host. Default 5,000. */
  connectTimeoutMs?: number;
  /** Numeric local address that connections leave from. Default: the kernel's choice. */
  source?: string;
}

/** A connect on its way. */
interface Dial {
  readonly host: string;
  readonly port: number;
  readonly timer: Timer;
  /** Those not tried yet. */
  addresses: string[];
}

export abstract class EngineTransport implements Transport {
  abstract readonly kind: 'tcp' | 'rdma';
  readonly counters: EngineCounters;
  /** Connections refused for want of descriptors (EMFILE, ENFILE). */
  acceptFailures = 0;
  readonly #arena: NativeArena;
  readonly #reactor: Reactor;
  readonly #connectTimeoutMs: number;
  readonly #sourceAddress: string | undefined;
  readonly #engine: NativeTransportEngine;
  readonly #source: number;
  readonly #records: Uint32Array;
  readonly #submissions: Uint32Array;
  readonly #submissionsMax: number;
  readonly #ticker: NodeJS.Timeout;
  /** Connections whose onClose is still to come. */
  readonly #live = new Set<number>();
  readonly #dials = new Map<number, Dial>();
  /** Why we close a connection, until onClose has said so. */
  readonly #closing = new Map<number, string>();
  #handler: TransportHandler | undefined;
  #down = false;

  /** The engine is over the same arena, new, and this transport's from now on. */
  constructor(
    engine: NativeTransportEngine,
    arena: NativeArena,
    reactor: Reactor,
    options: EngineTransportOptions,
  ) {
    this.#arena = arena;
    this.#reactor = reactor;
    this.#connectTimeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
    this.#sourceAddress = options.source;
    this.#engine = engine;
    this.#records = new Uint32Array(this.#engine.records);
    this.#submissions = new Uint32Array(this.#engine.submissions);
    this.#submissionsMax = (this.#submissions.length - HEADER_WORDS) / SUBMISSION_WORDS;
    this.counters = new EngineCounters(this.#engine.counters);
    this.#source = reactor.addSource(this.#engine.source, (count) => this.#onHarvest(count));
    this.#ticker = setInterval(() => this.#engine.tick(), TICK_MS);
    this.#ticker.unref();
  }

  setHandler(handler: TransportHandler): void {
    this.#handler = handler;
  }

  async listen(host: string, port: number): Promise<number> {
    const [address] = await resolve(host);
    return this.#engine.listen(address!, port);
  }

  connect(host: string, port: number): number {
    const connection = this.#engine.reserve();
    if (connection === 0) throw new SealfsError('UNAVAILABLE', `too many ${this.kind} connections`);
    const timer = this.#reactor.setTimer(this.#connectTimeoutMs, () => {
      const waited = `no answer within ${this.#connectTimeoutMs} ms`;
      this.#abandon(connection, waited);
    });
    this.#live.add(connection);
    this.#dials.set(connection, { host, port, timer, addresses: [] });
    if (isIP(host) !== 0) {
      this.#engine.connect(connection, host, port, this.#sourceAddress);
    } else {
      resolve(host).then(
        (addresses) => {
          const dial = this.#dials.get(connection);
          if (dial === undefined) return;
          dial.addresses = addresses;
          this.#tryNext(connection, 'no address');
        },
        (error: unknown) => {
          this.#abandon(connection, error instanceof Error ? error.message : String(error));
        },
      );
    }
    this.#reactor.requestTurn();
    return connection;
  }

  send(
    connection: number,
    messageOffset: number,
    messageBytes: number,
    releaseMessage: boolean,
  ): void {
    if (this.#down) {
      if (releaseMessage) this.#arena.messages.give(messageOffset);
      return;
    }
    const at = this.#push(SubmissionKind.Frame, connection);
    this.#submissions[at + S_OFFSET] = messageOffset;
    this.#submissions[at + S_LENGTH] = messageBytes;
    this.#submissions[at + S_RELEASE] = releaseMessage ? 1 : 0;
  }

  addBulk(offset: number, lengthBytes: number, releaseSlot: boolean): void {
    if (this.#down) {
      if (releaseSlot) this.#arena.bulk.give(offset);
      return;
    }
    const at = this.#push(SubmissionKind.Bulk, 0);
    this.#submissions[at + S_OFFSET] = offset;
    this.#submissions[at + S_LENGTH] = lengthBytes;
    this.#submissions[at + S_RELEASE] = releaseSlot ? 1 : 0;
  }

  /** Inside a turn nothing needs doing: the poller submits at its end. */
  flush(): void {
    if (!this.#reactor.inTurn) this.#reactor.requestTurn();
  }

  setLanding(connection: number, tag: number, offset: number, maxBytes: number): void {
    const at = this.#push(SubmissionKind.Landing, connection);
    this.#submissions[at + S_OFFSET] = offset;
    this.#submissions[at + S_LENGTH] = maxBytes;
    this.#submissions[at + S_TAG] = tag;
  }

  endLanding(connection: number, tag: number): void {
    const at = this.#push(SubmissionKind.EndLanding, connection);
    this.#submissions[at + S_TAG] = tag;
  }

  cancelLanding(connection: number, tag: number): void {
    if (this.#engine.withdraw !== undefined) {
      this.#engine.submit();
      this.#engine.withdraw(connection, tag);
      return;
    }
    const at = this.#push(SubmissionKind.CancelLanding, connection);
    this.#submissions[at + S_TAG] = tag;
    // The engine must know before it reads on: at the end of this turn, or of one that is had now.
    this.flush();
  }

  close(connection: number, reason: string): void {
    if (!this.#live.has(connection) || this.#closing.has(connection)) return;
    this.#closing.set(connection, reason);
    this.#endDial(connection);
    this.#push(SubmissionKind.Close, connection);
    this.flush();
  }

  shutdown(): void {
    if (this.#down) return;
    this.#down = true;
    clearInterval(this.#ticker);
    for (const dial of this.#dials.values()) dial.timer.cancel();
    this.#dials.clear();
    this.#live.clear();
    this.#closing.clear();
    this.#handler = undefined;
    // What was queued last (a reply, a good-bye) still gets its one try.
    this.#engine.submit();
    this.#engine.shutdown();
    this.#reactor.removeSource(this.#source);
  }

  /** Begins the next submission; returns its place in words. */
  #push(kind: number, connection: number): number {
    const words = this.#submissions;
    let count = words[0]!;
    if (count === this.#submissionsMax) {
      this.#engine.submit();
      count = 0;
    }
    words[0] = count + 1;
    const at = HEADER_WORDS + count * SUBMISSION_WORDS;
    words[at + S_KIND] = kind;
    words[at + S_CONNECTION] = connection;
    return at;
  }

  #onHarvest(count: number): void {
    const words = this.#records;
    for (let i = 0, at = HEADER_WORDS; i < count; i++, at += RECORD_WORDS) {
      const connection = words[at + R_CONNECTION]!;
      if (words[at + R_KIND] !== RecordKind.Message) {
        this.#onEvent(words[at + R_KIND]!, connection, words[at + R_CODE]!);
        continue;
      }
      const bulkOffset = words[at + R_BULK_OFFSET]!;
      if (this.#handler === undefined || this.#closing.has(connection)) {
        // Closed by an earlier call of this turn: the frame is dropped.
        if (words[at + R_OWNS_SLOT] === 1) this.#arena.bulk.give(bulkOffset);
        continue;
      }
      this.#handler.onMessage(
        connection,
        words[at + R_MESSAGE_OFFSET]!,
        words[at + R_MESSAGE_BYTES]!,
        bulkOffset,
        words[at + R_BULK_BYTES]!,
      );
    }
  }

  #onEvent(kind: number, connection: number, code: number): void {
    if (this.#down) return;
    switch (kind) {
      case RecordKind.Opened:
        this.#endDial(connection);
        if (!this.#closing.has(connection)) this.#handler?.onOpen(connection, false);
        return;
      case RecordKind.Accepted:
        this.#live.add(connection);
        this.#handler?.onOpen(connection, true);
        return;
      case RecordKind.ConnectFailed:
        this.#tryNext(connection, reasonText(code));
        return;
      case RecordKind.Closed: {
        const reason = this.#closing.get(connection) ?? reasonText(code);
        this.#endDial(connection);
        this.#closing.delete(connection);
        if (this.#live.delete(connection)) this.#handler?.onClose(connection, reason);
        return;
      }
      case RecordKind.AcceptFailed:
        // The peer was refused and is told so by its socket; the count is all there is to keep.
        this.acceptFailures++;
        return;
    }
  }

  #tryNext(connection: number, why: string): void {
    const dial = this.#dials.get(connection);
    if (dial === undefined) return;
    const address = dial.addresses.shift();
    if (address === undefined) {
      this.#abandon(connection, why);
      return;
    }
    this.#engine.connect(connection, address, dial.port, this.#sourceAddress);
    this.#reactor.requestTurn();
  }

  #abandon(connection: number, why: string): void {
    const dial = this.#dials.get(connection);
    if (dial === undefined) return;
    this.close(connection, `connect to ${dial.host} port ${dial.port}: ${why}`);
  }

  #endDial(connection: number): void {
    this.#dials.get(connection)?.timer.cancel();
    this.#dials.delete(connection);
  }
}

/** Numeric addresses of a host, at least one. */
function resolve(host: string): Promise<string[]> {
  if (isIP(host) !== 0) return Promise.resolve([host]);
  return new Promise((done, fail) => {
    lookup(host, { all: true }, (error, found) => {
      if (error !== null) fail(error);
      else if (found.length === 0) fail(new SealfsError('NOT_FOUND', `no address for ${host}`));
      else done(found.map((entry) => entry.address));
    });
  });
}
