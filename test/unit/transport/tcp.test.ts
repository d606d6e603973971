/**
 * Protects the tcp transport: frames and bulk arrive as they were sent, in one process and between
 * threads; a bad peer is closed and harms no other; every slot comes back.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as netConnect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { frameMagic, maxBulkBytes, noTag } from '../../../src/protocol/limits.generated.js';
import { FrameHeader } from '../../../src/protocol/wire.generated.js';
import { NativeArena } from '../../../src/native/arena.js';
import { Reactor } from '../../../src/native/reactor.js';
import { TcpTransport } from '../../../src/transport/tcp.js';
import { fillFrame } from './tcp-echo-worker.js';

const SHAPE = { messageSlots: 64, bulkSlots: 6, receiveAreas: 1 };
const RETRY_MS = 2;

interface Seen {
  connection: number;
  message: Buffer;
  bulk: Buffer | undefined;
  bulkOffset: number;
  bulkBytes: number;
}

/** A transport with its arena that notes what happens. `echo` answers each frame with its bytes. */
class Endpoint {
  readonly arena = new NativeArena(SHAPE);
  readonly transport: TcpTransport;
  readonly opened: number[] = [];
  readonly closed: [number, string][] = [];
  readonly seen: Seen[] = [];
  keepBulk = false;
  onMessage: ((seen: Seen) => void) | undefined;

  constructor(reactor: Reactor, connectTimeoutMs = 2000) {
    this.transport = new TcpTransport(this.arena, reactor, { connectTimeoutMs });
    this.transport.setHandler({
      onOpen: (connection) => this.opened.push(connection),
      onClose: (connection, reason) => this.closed.push([connection, reason]),
      onMessage: (connection, offset, bytes, bulkOffset, bulkBytes) => {
        const copy = (at: number, length: number) =>
          Buffer.from(this.arena.bytes.subarray(at, at + length));
        const seen = {
          connection,
          message: copy(offset, bytes),
          bulk: bulkOffset === 0 ? undefined : copy(bulkOffset, bulkBytes),
          bulkOffset,
          bulkBytes,
        };
        const isReply = (this.arena.words[(offset + FrameHeader.flags) / 4]! & 1) === 1;
        if (bulkOffset !== 0 && !isReply && !this.keepBulk) this.arena.bulk.give(bulkOffset);
        this.seen.push(seen);
        this.onMessage?.(seen);
      },
    });
  }

  /** Sends a frame of `bytes` with random-looking content; bulk is taken from `bulk`, if given. */
  send(connection: number, bytes: number, bulk?: Buffer, replyTag?: number): Buffer {
    const slot = this.arena.messages.take();
    assert.notEqual(slot, 0);
    fillFrame(this.arena, slot, bytes, replyTag);
    if (bulk !== undefined) {
      const at = this.arena.bulk.take();
      assert.notEqual(at, 0);
      this.arena.bytes.set(bulk, at);
      // In two segments, the second of which gives the slot back.
      const first = Math.floor(bulk.length / 3);
      this.transport.addBulk(at, first, false);
      this.transport.addBulk(at + first, bulk.length - first, true);
    }
    this.transport.send(connection, slot, bytes, true);
    this.transport.flush();
    const content = Buffer.from(this.arena.bytes.subarray(slot, slot + bytes));
    content.writeUInt32LE(bulk?.length ?? 0, FrameHeader.bulkBytes);
    return content;
  }

  assertAllSlotsFree(): void {
    assert.equal(this.arena.messages.available, SHAPE.messageSlots);
    assert.equal(this.arena.bulk.available, SHAPE.bulkSlots);
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `not within 5 s: ${what}`);
    await sleep(RETRY_MS);
  }
}

function pattern(length: number, seed: number): Buffer {
  const out = Buffer.alloc(length);
  for (let i = 0, x = seed + 1; i < length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    out[i] = x >>> 24;
  }
  return out;
}

describe('tcp transport', () => {
  let reactor: Reactor;
  let server: Endpoint;
  let client: Endpoint;
  let port: number;
  const raw: Socket[] = [];

  beforeEach(async () => {
    reactor = new Reactor();
    server = new Endpoint(reactor);
    client = new Endpoint(reactor);
    port = await server.transport.listen('127.0.0.1', 0);
  });

  afterEach(() => {
    for (const socket of raw.splice(0)) socket.destroy();
    server.transport.shutdown();
    client.transport.shutdown();
    reactor.close();
    server.assertAllSlotsFree();
    client.assertAllSlotsFree();
  });

  async function open(host = '127.0.0.1'): Promise<[number, number]> {
    const [before, mine] = [server.opened.length, client.opened.length];
    const connection = client.transport.connect(host, port);
    assert.ok(connection > 0);
    await until('open', () => server.opened.length > before && client.opened.length > mine);
    assert.equal(client.opened.at(-1), connection);
    return [connection, server.opened.at(-1)!];
  }

  async function openRaw(): Promise<Socket> {
    const socket = netConnect(port, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    raw.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  it('carries frames both ways, many at once', async () => {
    const [connection] = await open();
    server.onMessage = (seen) => server.send(seen.connection, seen.message.length);
    const sent = [];
    for (let i = 0; i < 30; i++) sent.push(client.send(connection, 32 + i * 504));
    await until('echoes', () => client.seen.length === 30);
    assert.deepEqual(
      server.seen.map((seen) => seen.message),
      sent,
    );
    assert.equal(client.transport.counters.framesSent, 30);
    assert.equal(client.transport.counters.framesReceived, 30);
    assert.equal(
      client.transport.counters.bytesSent,
      sent.reduce((sum, one) => sum + one.length, 0),
    );
  });

  it('sends what was queued before the connection opened', async () => {
    const connection = client.transport.connect('localhost', port);
    const sent = client.send(connection, 64, pattern(100, 1));
    await until('arrival', () => server.seen.length === 1);
    assert.deepEqual(server.seen[0]!.message, sent);
    assert.deepEqual(server.seen[0]!.bulk, pattern(100, 1));
  });

  it('carries bulk of all lengths to the server', async () => {
    const [connection] = await open();
    const lengths = [1, 7, 8, 4095, 4097, 47_008, 500_001, maxBulkBytes, 3];
    for (const [i, length] of lengths.entries()) {
      client.send(connection, 64, pattern(length, i));
      client.send(connection, 40);
      await until('bulk', () => server.seen.length === 2 * i + 2);
      assert.deepEqual(server.seen[2 * i]!.bulk, pattern(length, i));
      assert.equal(server.seen[2 * i + 1]!.bulkOffset, 0);
    }
    assert.equal(server.transport.counters.protocolErrors, 0);
  });

  it('carries bulk of replies to their landings, out of order', async () => {
    const [connection, serverSide] = await open();
    const slot = client.arena.bulk.take();
    client.transport.setLanding(connection, 3, slot, 400_000);
    client.transport.setLanding(connection, 9, slot + 400_000, 400_000);
    client.transport.flush();
    await sleep(5);
    server.send(serverSide, 48, pattern(399_999, 9), 9);
    server.send(serverSide, 48, pattern(400_000, 3), 3);
    await until('replies', () => client.seen.length === 2);
    assert.equal(client.seen[0]!.bulkOffset, slot + 400_000);
    assert.deepEqual(client.seen[0]!.bulk, pattern(399_999, 9));
    assert.equal(client.seen[1]!.bulkOffset, slot);
    assert.deepEqual(client.seen[1]!.bulk, pattern(400_000, 3));
    client.arena.bulk.give(slot);
  });

  it('drops bulk whose landing was withdrawn, and leaves the memory alone', async () => {
    const [connection, serverSide] = await open();
    const slot = client.arena.bulk.take();
    client.arena.bytes.fill(0x5a, slot, slot + 1000);
    client.transport.setLanding(connection, 3, slot, 1000);
    client.transport.cancelLanding(connection, 3);
    client.transport.flush();
    await sleep(5);
    server.send(serverSide, 48, pattern(1000, 3), 3);
    const next = server.send(serverSide, 56);
    await until('reply', () => client.seen.length === 2);
    assert.equal(client.seen[0]!.bulkOffset, 0);
    assert.equal(client.seen[0]!.bulkBytes, 1000);
    assert.deepEqual(client.seen[1]!.message, next);
    assert.ok(client.arena.bytes.subarray(slot, slot + 1000).every((byte) => byte === 0x5a));
    client.arena.bulk.give(slot);
  });

  it('closes on bulk that was not asked for', async () => {
    const [connection, serverSide] = await open();
    server.send(serverSide, 48, pattern(10, 1), 3);
    await until('close', () => client.closed.length === 1);
    assert.deepEqual(client.closed, [
      [connection, 'bad frame: bulk that was not asked for, or too long'],
    ]);
    assert.equal(client.transport.counters.protocolErrors, 1);
  });

  it('reads no further while no bulk slot is free, and then goes on', async () => {
    const [connection] = await open();
    server.keepBulk = true;
    const extra = SHAPE.bulkSlots + 3;
    for (let i = 0; i < extra; i++) {
      await until('a slot to send from', () => client.arena.bulk.available > 0);
      client.send(connection, 48, pattern(1000, i));
      await sleep(3);
    }
    assert.equal(server.seen.length, SHAPE.bulkSlots);
    for (let i = 0; i < extra; i++) {
      await until('the next', () => server.seen.length > i);
      assert.deepEqual(server.seen[i]!.bulk, pattern(1000, i));
      reactor.setTimer(0, () => server.arena.bulk.give(server.seen[i]!.bulkOffset));
      await sleep(5);
    }
  });

  it('closes with its reason on both sides, and drops frames after it', async () => {
    const [connection, serverSide] = await open();
    server.onMessage = (seen) => {
      if (server.seen.length === 1) server.transport.close(seen.connection, 'had enough');
    };
    for (let i = 0; i < 3; i++) client.send(connection, 48, pattern(5000, i));
    await until('close', () => server.closed.length === 1 && client.closed.length === 1);
    assert.deepEqual(server.closed, [[serverSide, 'had enough']]);
    assert.equal(server.seen.length, 1);
    assert.equal(client.closed[0]![0], connection);
    client.send(connection, 48, pattern(100, 1)); // to nobody: its slots come back
    client.transport.close(connection, 'again');
    await sleep(10);
    assert.equal(client.closed.length, 1);
  });

  it('closes garbage and truncated frames only on their own connection', async () => {
    const [connection] = await open();
    const header = Buffer.alloc(FrameHeader.SIZE);
    header.writeUInt32LE(frameMagic, FrameHeader.magic);
    header.writeUInt32LE(64, FrameHeader.messageBytes);
    header.writeUInt32LE(1000, FrameHeader.bulkBytes);
    header.writeUInt32LE(noTag, FrameHeader.bulkTag);
    const tooLong = Buffer.from(header);
    tooLong.writeUInt32LE(1 << 20, FrameHeader.messageBytes);
    const cases: [Buffer, RegExp][] = [
      [Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n\r\n'), /magic/],
      [tooLong, /message length/],
      [header.subarray(0, 20), /middle of a frame/],
      [Buffer.concat([header, Buffer.alloc(32 + 500)]), /middle of a frame/],
    ];
    for (const [i, [bytes, reason]] of cases.entries()) {
      const socket = await openRaw();
      socket.end(bytes);
      await until('close', () => server.closed.length === i + 1);
      assert.match(server.closed[i]![1], reason);
      assert.equal(server.transport.counters.protocolErrors, i + 1);
      server.assertAllSlotsFree();
    }
    client.send(connection, 64);
    await until('the good one', () => server.seen.length === 1);
    assert.equal(client.closed.length, 0);
  });

  it('says why a connect failed', async () => {
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const unused = (taken.address() as AddressInfo).port;
    taken.close();
    await once(taken, 'close');
    const refused = client.transport.connect('localhost', unused);
    await until('refusal', () => client.closed.length === 1);
    assert.equal(client.closed[0]![0], refused);
    assert.match(client.closed[0]![1], /connect to localhost port \d+: ECONNREFUSED/);
    client.transport.connect('no-such-host.invalid', 1);
    await until('no such name', () => client.closed.length === 2);
    assert.match(client.closed[1]![1], /no-such-host\.invalid/);
  });

  it('gives up a connect that is not answered', async () => {
    // A listener whose queue is full answers nothing; simulated by closing before the record comes.
    const impatient = new Endpoint(reactor, 1);
    const connection = impatient.transport.connect('192.0.2.1', 9);
    await until('the end', () => impatient.closed.length === 1);
    assert.equal(impatient.closed[0]![0], connection);
    assert.match(impatient.closed[0]![1], /connect to 192\.0\.2\.1 port 9/);
    impatient.transport.shutdown();
  });

  it('reports a port in use with its code', async () => {
    await assert.rejects(client.transport.listen('127.0.0.1', port), { code: 'EADDRINUSE' });
    await assert.rejects(client.transport.listen('no-such-host.invalid', 0), /no-such-host/);
  });

  it('speaks IPv6', async function () {
    try {
      port = await server.transport.listen('::1', 0);
    } catch (error) {
      if (error instanceof Error && /EADDRNOTAVAIL|EAFNOSUPPORT/.test(error.message)) this.skip();
      throw error;
    }
    const [connection] = await open('::1');
    client.send(connection, 64);
    await until('arrival', () => server.seen.length === 1);
  });

  it('submits by itself when more is queued than its ring holds', async () => {
    const [connection] = await open();
    const slot = client.arena.messages.take();
    fillFrame(client.arena, slot, 32);
    for (let i = 0; i < 5000; i++) client.transport.send(connection, slot, 32, false);
    client.transport.flush();
    await until('all', () => server.seen.length === 5000);
    client.arena.messages.give(slot);
  });

  it('works between threads', async () => {
    const worker = new Worker(new URL('./tcp-echo-worker.js', import.meta.url), {
      workerData: 'echo',
    });
    const [echoPort] = (await once(worker, 'message')) as [number];
    const connection = client.transport.connect('127.0.0.1', echoPort);
    const slot = client.arena.bulk.take();
    const rounds = 40;
    for (let i = 0; i < rounds; i++) {
      const bulk = pattern(1 + ((i * 104_729) % maxBulkBytes), i);
      client.transport.setLanding(connection, 5, slot, maxBulkBytes);
      client.send(connection, 40 + 8 * i, bulk);
      await until('echo', () => client.seen.length === i + 1);
      assert.deepEqual(client.seen[i]!.bulk, bulk);
    }
    client.arena.bulk.give(slot);
    // Both events may come in one tick: listen for the second before the first.
    const exited = once(worker, 'exit');
    worker.postMessage('stop');
    const [free] = (await once(worker, 'message')) as [{ messages: number; bulk: number }];
    assert.deepEqual(free, { messages: SHAPE.messageSlots, bulk: SHAPE.bulkSlots });
    await exited;
  });
});
