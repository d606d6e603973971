/**
 * What the tests of all transports share: how a kind of transport is had (`TransportFixture`), and
 * an end of it that notes what happens and checks that its slots come back (`Endpoint`).
 */
import assert from 'node:assert/strict';
import { frameMagic, noTag } from '../../../src/protocol/limits.generated.js';
import { FrameHeader } from '../../../src/protocol/wire.generated.js';
import type { Scheduler } from '../../../src/common/scheduler.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import type { Transport } from '../../../src/transport/transport.js';

/** Slots of an end's arena; enough for every test, few enough to run out of. */
export const SHAPE = { messageSlots: 64, bulkSlots: 6 };

/** Emulated machines are slower: all waits are this many times longer. */
export const timeScale = Number(process.env['SEALFS_TEST_TIME_SCALE'] ?? '1');

/** One end: a transport over an arena of its own. */
export interface Side {
  readonly arena: ArenaMemory;
  readonly transport: Transport;
  readonly scheduler: Scheduler;
}

/** A kind of transport. A new one is made for each test. */
export interface TransportFixture {
  /** Where servers listen and clients connect to. */
  readonly host: string;
  side(role: 'server' | 'client'): Side;
  /** Lets both ends run until `condition` holds; false when it did not within `forMs`. */
  runUntil(condition: () => boolean, forMs: number): Promise<boolean>;
  close(): void;
}

/** What echo-peer.ts imports in a thread or process of its own. */
export interface FixtureModule {
  makeFixture(): TransportFixture;
}

/** Fills a message slot with a frame: a request, or the reply for the landing `replyTag`. */
export function fillFrame(
  arena: ArenaMemory,
  slot: number,
  bytes: number,
  replyTag?: number,
  seed = 0,
): void {
  for (let i = FrameHeader.SIZE; i < bytes; i++) {
    arena.bytes[slot + i] = (i * 31 + bytes + seed) & 0xff;
  }
  const words = arena.words.subarray(slot / 4, (slot + FrameHeader.SIZE) / 4);
  words.fill(0);
  words[FrameHeader.magic / 4] = frameMagic;
  words[FrameHeader.messageBytes / 4] = bytes;
  words[FrameHeader.bulkTag / 4] = replyTag ?? noTag;
  words[FrameHeader.count / 4] = 1;
  words[FrameHeader.flags / 4] = replyTag === undefined ? 0 : 1;
}

/** `length` bytes that differ with the seed. */
export function pattern(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length);
  for (let i = 0, x = seed + 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

/** A frame that came, copied. */
export interface Seen {
  connection: number;
  message: Buffer;
  bulk: Buffer | undefined;
  bulkOffset: number;
  bulkBytes: number;
}

/** An end that notes what happens to it. */
export class Endpoint {
  readonly side: Side;
  readonly arena: ArenaMemory;
  readonly transport: Transport;
  readonly opened: number[] = [];
  readonly closed: [number, string][] = [];
  /** Without those that the transport keeps for itself. */
  readonly #messagesFree: number;
  readonly seen: Seen[] = [];
  /** Off: frames are given to `onMessage` only. */
  remember = true;
  /** On: bulk slots of requests stay taken; `seen` has their offsets. */
  keepBulk = false;
  onMessage: ((seen: Seen) => void) | undefined;

  constructor(side: Side) {
    this.side = side;
    this.arena = side.arena;
    this.transport = side.transport;
    this.#messagesFree = side.arena.messages.available;
    this.transport.setHandler({
      onOpen: (connection) => this.opened.push(connection),
      onClose: (connection, reason) => this.closed.push([connection, reason]),
      onMessage: (connection, offset, bytes, bulkOffset, bulkBytes) => {
        const seen = {
          connection,
          message: this.#copy(offset, bytes),
          bulk: bulkOffset === 0 ? undefined : this.#copy(bulkOffset, bulkBytes),
          bulkOffset,
          bulkBytes,
        };
        const isReply = (this.arena.words[(offset + FrameHeader.flags) / 4]! & 1) === 1;
        if (bulkOffset !== 0 && !isReply && !this.keepBulk) this.arena.bulk.give(bulkOffset);
        if (this.remember) this.seen.push(seen);
        this.onMessage?.(seen);
      },
    });
  }

  #copy(at: number, length: number): Buffer {
    return Buffer.from(this.arena.bytes.subarray(at, at + length));
  }

  isClosed(connection: number): boolean {
    return this.closed.some(([number]) => number === connection);
  }

  /**
   * Sends a frame of `bytes`, with `bulk` if given; returns the message as it must arrive. Needs a free
   * slot for each.
   */
  send(connection: number, bytes: number, bulk?: Buffer, replyTag?: number, seed = 0): Buffer {
    if (bulk !== undefined) {
      const at = this.arena.bulk.take();
      assert.notEqual(at, 0);
      this.arena.bytes.set(bulk, at);
      // In two segments, the first one perhaps empty, the second of which gives the slot back.
      const first = Math.floor(bulk.length / 3);
      this.transport.addBulk(at, first, false);
      this.transport.addBulk(at + first, bulk.length - first, true);
    }
    return this.sendFrame(connection, bytes, bulk?.length ?? 0, replyTag, seed);
  }

  /** As `send`, with bulk of `bulkBytes` that was added before. */
  sendFrame(
    connection: number,
    bytes: number,
    bulkBytes: number,
    replyTag?: number,
    seed = 0,
  ): Buffer {
    const slot = this.arena.messages.take();
    assert.notEqual(slot, 0);
    fillFrame(this.arena, slot, bytes, replyTag, seed);
    this.transport.send(connection, slot, bytes, true);
    this.transport.flush();
    const content = this.#copy(slot, bytes);
    content.writeUInt32LE(bulkBytes, FrameHeader.bulkBytes);
    return content;
  }

  allSlotsFree(): boolean {
    const { messages, bulk } = this.arena;
    return messages.available === this.#messagesFree && bulk.available === bulk.capacity;
  }

  /** After the end. */
  assertAllSlotsFree(): void {
    const { messages, bulk } = this.arena;
    assert.equal(messages.available, messages.capacity, 'message slots');
    assert.equal(bulk.available, bulk.capacity, 'bulk slots');
  }
}

/** A server that listens, a client, and what tests do with them. */
export class Pair {
  readonly fixture: TransportFixture;
  readonly server: Endpoint;
  readonly client: Endpoint;
  port = 0;

  constructor(fixture: TransportFixture) {
    this.fixture = fixture;
    this.server = new Endpoint(fixture.side('server'));
    this.client = new Endpoint(fixture.side('client'));
  }

  static async start(fixture: TransportFixture): Promise<Pair> {
    const pair = new Pair(fixture);
    pair.port = await pair.server.transport.listen(fixture.host, 0);
    return pair;
  }

  /** Ends both and checks that their slots came back. */
  stop(check = true): void {
    this.server.transport.shutdown();
    this.client.transport.shutdown();
    this.fixture.close();
    if (!check) return;
    this.server.assertAllSlotsFree();
    this.client.assertAllSlotsFree();
  }

  async until(what: string, condition: () => boolean, forMs = 5000): Promise<void> {
    const came = await this.fixture.runUntil(condition, forMs * timeScale);
    assert.ok(came, `not within ${forMs * timeScale} ms: ${what}`);
  }

  /** For what should not happen: there is no event to wait for. */
  async pause(forMs: number): Promise<void> {
    await this.fixture.runUntil(() => false, forMs * timeScale);
  }

  /** Opens a connection: the client's number and the server's. */
  async open(host = this.fixture.host, port = this.port): Promise<[number, number]> {
    const { client, server } = this;
    const [before, mine] = [server.opened.length, client.opened.length];
    const connection = client.transport.connect(host, port);
    assert.ok(connection > 0);
    await this.until('open', () => server.opened.length > before && client.opened.length > mine);
    assert.equal(client.opened.at(-1), connection);
    return [connection, server.opened.at(-1)!];
  }
}
