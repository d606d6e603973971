/**
 * Of the transport suite: thousands of frames of random sizes both ways against a model of what must
 * arrive, and connections that end in the middle of their bulk beside one that goes on.
 * SEALFS_TRANSPORT_SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { maxBulkBytes, messageSlotBytes } from '../../../src/protocol/limits.generated.js';
import { SimRandom } from '../../../src/transport/sim/sim-random.js';
import { pattern, timeScale, type Endpoint, type Pair, type Seen } from './endpoint.js';
import type { Current } from './suite.js';

const FRAMES = timeScale > 1 ? 1500 : 4000;
const LANDINGS = 4;
const LANDING_BYTES = maxBulkBytes / LANDINGS;

/** What was sent one way, in order; compared as it arrives. */
class Expected {
  readonly #queue: { message: Buffer; bulk: Buffer | undefined }[] = [];
  sent = 0;
  arrived = 0;
  wrong = '';

  push(message: Buffer, bulk: Buffer | undefined): void {
    this.#queue.push({ message, bulk });
    this.sent++;
  }

  /** Exceptions must not leave a handler: the first difference is kept. */
  check(seen: Seen): void {
    const frame = this.#queue.shift();
    const number = this.arrived++;
    if (this.wrong !== '') return;
    if (frame === undefined) this.wrong = `frame ${number} was never sent`;
    else if (!frame.message.equals(seen.message)) this.wrong = `message of frame ${number}`;
    else if ((frame.bulk?.length ?? 0) !== seen.bulkBytes) this.wrong = `bulk of frame ${number}`;
    else if (frame.bulk && seen.bulk?.equals(frame.bulk) !== true) {
      this.wrong = `content of the bulk of frame ${number}`;
    }
  }
}

/** Both ends of one connection, each sending whenever it has slots. */
class RandomTraffic {
  readonly #client: Endpoint;
  readonly #server: Endpoint;
  readonly #random: SimRandom;
  readonly #connection: number;
  readonly #serverSide: number;
  readonly #landing: number;
  readonly #content = pattern(2 * maxBulkBytes, 11);
  readonly #freeTags: number[] = [];
  /** Of requests on their way: the landing that each brings, or -1; then those that are answered. */
  readonly #asked: number[] = [];
  readonly #owed: number[] = [];
  readonly #answers: number[] = [];
  readonly toServer = new Expected();
  readonly toClient = new Expected();

  constructor(pair: Pair, seed: number, connection: number, serverSide: number) {
    this.#client = pair.client;
    this.#server = pair.server;
    this.#random = new SimRandom(seed);
    this.#connection = connection;
    this.#serverSide = serverSide;
    this.#landing = pair.client.arena.bulk.take();
    for (let tag = 0; tag < LANDINGS; tag++) this.#freeTags.push(tag);
    pair.client.remember = pair.server.remember = false;
    pair.server.onMessage = (seen) => {
      this.toServer.check(seen);
      this.#owed.push(this.#asked.shift()!);
    };
    pair.client.onMessage = (seen) => {
      this.toClient.check(seen);
      const tag = this.#answers.shift()!;
      if (tag >= 0) this.#freeTags.push(tag);
    };
  }

  /** Sends as far as slots go; true when all has arrived, or something wrong. */
  step(): boolean {
    const { messages, bulk } = this.#client.arena;
    while (this.toServer.sent < FRAMES && messages.available > 0) {
      this.#request(bulk.available > 0 && this.#random.chance(0.04));
    }
    const server = this.#server.arena;
    while (this.#owed.length > 0 && server.messages.available > 0) {
      if (this.#owed[0]! >= 0 && server.bulk.available < 2) break;
      this.#answer(this.#owed.shift()!);
    }
    const wrong = this.toServer.wrong !== '' || this.toClient.wrong !== '';
    return wrong || this.toClient.arrived === FRAMES;
  }

  end(): void {
    this.#client.arena.bulk.give(this.#landing);
  }

  #request(withBulk: boolean): void {
    const tag = this.#random.chance(0.04) ? (this.#freeTags.pop() ?? -1) : -1;
    if (tag >= 0) {
      const offset = this.#landing + tag * LANDING_BYTES;
      this.#client.transport.setLanding(this.#connection, tag, offset, LANDING_BYTES);
    }
    this.#asked.push(tag);
    const bulk = withBulk ? this.#bulk(maxBulkBytes) : undefined;
    const seed = this.toServer.sent;
    const message = this.#client.send(this.#connection, this.#bytes(), bulk, undefined, seed);
    this.toServer.push(message, bulk);
  }

  #answer(tag: number): void {
    const bulk = tag >= 0 ? this.#bulk(LANDING_BYTES) : undefined;
    const seed = this.toClient.sent;
    const replyTag = tag >= 0 ? tag : undefined;
    const message = this.#server.send(this.#serverSide, this.#bytes(), bulk, replyTag, seed);
    this.toClient.push(message, bulk);
    this.#answers.push(tag);
  }

  /** Of a message: most are small, some fill their slot. */
  #bytes(): number {
    const random = this.#random;
    if (random.chance(0.7)) return 32 + 8 * random.below(60);
    if (random.chance(0.1)) return messageSlotBytes;
    return 32 + 8 * random.below((messageSlotBytes - 32) / 8 + 1);
  }

  #bulk(maxBytes: number): Buffer {
    const bytes = 1 + this.#random.below(this.#random.chance(0.2) ? maxBytes : 20_000);
    const from = this.#random.below(maxBulkBytes);
    return this.#content.subarray(from, from + bytes);
  }
}

async function randomTraffic(pair: Pair, seed: number): Promise<void> {
  const [connection, serverSide] = await pair.open();
  const traffic = new RandomTraffic(pair, seed, connection, serverSide);
  const done = await pair.fixture.runUntil(() => traffic.step(), 20_000 * timeScale);
  traffic.end();
  const { toServer, toClient } = traffic;
  const state = `requests ${toServer.arrived} of ${FRAMES}, replies ${toClient.arrived}`;
  const told = `seed ${seed}: ${state} ${toServer.wrong} ${toClient.wrong}`;
  assert.equal(toServer.wrong, '', told);
  assert.equal(toClient.wrong, '', told);
  assert.deepEqual([pair.client.closed, pair.server.closed], [[], []], told);
  assert.ok(done, told);
}

/** Bulk on two connections, one of which is closed before it is through. */
async function closeInBulk(pair: Pair, round: number, keep: number): Promise<void> {
  const { client, server } = pair;
  const [connection, serverSide] = await pair.open();
  for (let i = 0; i < 2; i++) client.send(connection, 48, pattern(maxBulkBytes, i));
  const kept = pattern(maxBulkBytes - round, round);
  client.send(keep, 48, kept);
  // From at once to when all is through: wherever it is cut, nothing else may notice.
  await pair.pause(round / 3);
  if (round % 2 === 0) client.transport.close(connection, 'cut');
  else server.transport.close(serverSide, 'cut');
  client.send(keep, 56);
  const fromKept = () => server.seen.filter((seen) => seen.message.length === 56).length;
  await pair.until('closes', () => client.isClosed(connection) && server.isClosed(serverSide));
  await pair.until('the other', () => fromKept() === round + 1);
  const bulk = server.seen.filter((seen) => seen.bulkBytes === kept.length);
  assert.ok(bulk.some((seen) => kept.equals(seen.bulk!)));
  await pair.until('slots', () => client.allSlotsFree() && server.allSlotsFree());
}

export function loadTests(current: Current): void {
  it('agrees with a model over thousands of frames of random sizes', async () => {
    const given = process.env['SEALFS_TRANSPORT_SEED'];
    const seed = given === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(given);
    await randomTraffic(current(), seed);
  });

  it('closes one connection in the middle of its bulk and harms no other', async () => {
    const pair = current();
    const [keep] = await pair.open();
    for (let round = 0; round < 10; round++) await closeInBulk(pair, round, keep);
    assert.equal(pair.client.closed.length, 10);
  });

  it('serves many connections beside one another', async () => {
    const pair = current();
    const { client, server } = pair;
    server.onMessage = (seen) => server.send(seen.connection, seen.message.length);
    const connections: number[] = [];
    for (let i = 0; i < 12; i++) connections.push((await pair.open())[0]);
    const sent = new Map<number, number>();
    for (let round = 0; round < 3; round++) {
      for (const [i, connection] of connections.entries()) {
        const bytes = 64 + 8 * (i + 20 * round);
        client.send(connection, bytes);
        sent.set(bytes, connection);
      }
      const count = connections.length * (round + 1);
      await pair.until('echoes', () => client.seen.length === count);
    }
    for (const { message, connection } of client.seen) {
      assert.equal(sent.get(message.length), connection);
    }
  });
}
