/**
 * Protects the tcp transport: all that the suite of transports asks, and what only sockets know: raw
 * peers that send garbage, names, IPv6, local addresses.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as netConnect, createServer, type AddressInfo, type Socket } from 'node:net';
import { frameMagic, noTag } from '../../../src/protocol/limits.generated.js';
import { FrameHeader } from '../../../src/protocol/wire.generated.js';
import { NativeArena } from '../../../src/native/arena.js';
import { TcpTransport, type TcpOptions } from '../../../src/transport/tcp.js';
import { Endpoint, Pair, SHAPE, pattern } from './endpoint.js';
import { makeFixture, type ReactorFixture } from './reactor-fixture.js';
import { describeRpc } from './suite-rpc.js';
import { describeTransport } from './suite.js';

describeTransport('tcp', makeFixture, {
  peerModule: new URL('./reactor-fixture.js', import.meta.url).href,
  keepsLastWord: true,
});

describeRpc('tcp', makeFixture);

describe('tcp transport', () => {
  let pair: Pair;
  let fixture: ReactorFixture;
  let server: Endpoint;
  let client: Endpoint;
  const raw: Socket[] = [];
  const more: Endpoint[] = [];

  beforeEach(async () => {
    fixture = makeFixture();
    pair = await Pair.start(fixture);
    ({ server, client } = pair);
  });

  afterEach(function () {
    for (const socket of raw.splice(0)) socket.destroy();
    for (const endpoint of more.splice(0)) {
      endpoint.transport.shutdown();
      endpoint.assertAllSlotsFree();
    }
    pair.stop(this.currentTest?.state !== 'failed');
  });

  /** One more end, with options of its own. */
  function endpoint(options: TcpOptions): Endpoint {
    const arena = new NativeArena({ ...SHAPE, receiveAreas: 1 });
    const transport = new TcpTransport(arena, fixture.reactor, options);
    const made = new Endpoint({ arena, transport, scheduler: fixture.reactor });
    more.push(made);
    return made;
  }

  async function openRaw(): Promise<Socket> {
    const socket = netConnect(pair.port, '127.0.0.1');
    socket.on('error', () => socket.destroy());
    raw.push(socket);
    await once(socket, 'connect');
    return socket;
  }

  it('counts the bytes of its stream, and what of them the processor copied', async () => {
    const [connection] = await pair.open();
    client.send(connection, 64, pattern(1001, 1));
    const large = pattern(1_000_000, 2);
    client.send(connection, 40, large);
    await pair.until('arrival', () => server.seen.length === 2);
    const bytes = 64 + 1001 + 7 + 40 + 1_000_000;
    assert.equal(client.transport.counters.bytesSent, bytes);
    assert.equal(server.transport.counters.bytesReceived, bytes);
    const { below4KiB, below64KiB, above } = server.transport.counters.bytesCopied;
    // Only what was read together with its message, before it was known that bulk comes.
    assert.ok(below4KiB >= 64 && below4KiB + below64KiB < 40_000, `${below4KiB} ${below64KiB}`);
    assert.equal(above, 0);
    assert.deepEqual({ ...client.transport.counters.bytesCopied }, zeroCopies);
  });

  it('closes garbage and truncated frames only on their own connection', async () => {
    const [connection] = await pair.open();
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
      await pair.until('close', () => server.closed.length === i + 1);
      assert.match(server.closed[i]![1], reason);
      assert.equal(server.transport.counters.protocolErrors, i + 1);
      server.assertAllSlotsFree();
    }
    client.send(connection, 64);
    await pair.until('the good one', () => server.seen.length === 1);
    assert.equal(client.closed.length, 0);
  });

  it('names the frame that was wrong', async () => {
    const [connection, serverSide] = await pair.open();
    server.send(serverSide, 48, pattern(10, 1), 3);
    await pair.until('close', () => client.closed.length === 1);
    assert.deepEqual(client.closed, [
      [connection, 'bad frame: bulk that was not asked for, or too long'],
    ]);
    assert.equal(client.transport.counters.protocolErrors, 1);
  });

  it('finds hosts by name, and says why a connect failed', async () => {
    await pair.open('localhost');
    const taken = createServer();
    taken.listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const unused = (taken.address() as AddressInfo).port;
    taken.close();
    await once(taken, 'close');
    const refused = client.transport.connect('localhost', unused);
    await pair.until('refusal', () => client.closed.length === 1);
    assert.equal(client.closed[0]![0], refused);
    assert.match(client.closed[0]![1], /connect to localhost port \d+: ECONNREFUSED/);
    client.transport.connect('no-such-host.invalid', 1);
    await pair.until('no such name', () => client.closed.length === 2);
    assert.match(client.closed[1]![1], /no-such-host\.invalid/);
    await assert.rejects(client.transport.listen('no-such-host.invalid', 0), /no-such-host/);
  });

  it('gives up a connect that is not answered', async () => {
    // A listener whose queue is full answers nothing; simulated by closing before the record comes.
    const impatient = endpoint({ connectTimeoutMs: 1 });
    const connection = impatient.transport.connect('192.0.2.1', 9);
    await pair.until('the end', () => impatient.closed.length === 1);
    assert.equal(impatient.closed[0]![0], connection);
    assert.match(impatient.closed[0]![1], /connect to 192\.0\.2\.1 port 9/);
  });

  it('connects from the local address that it was given', async () => {
    const from: (string | undefined)[] = [];
    const listener = createServer((socket) => {
      from.push(socket.remoteAddress);
      socket.destroy();
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as AddressInfo;
    for (const source of ['127.0.0.2', '127.0.0.3']) {
      const bound = endpoint({ source });
      bound.transport.connect('127.0.0.1', port);
      await pair.until('close', () => bound.closed.length === 1);
    }
    listener.close();
    assert.deepEqual(from, ['127.0.0.2', '127.0.0.3']);
    for (const [source, why] of [
      ['192.0.2.7', /EADDRNOTAVAIL/],
      ['nonsense', /EINVAL/],
      ['::1', /EINVAL|EAFNOSUPPORT/],
    ] as const) {
      const wrong = endpoint({ source });
      wrong.transport.connect('127.0.0.1', pair.port);
      await pair.until('failure', () => wrong.closed.length === 1);
      assert.match(wrong.closed[0]![1], why);
    }
  });

  it('speaks IPv6', async function () {
    try {
      pair.port = await server.transport.listen('::1', 0);
    } catch (error) {
      if (error instanceof Error && /EADDRNOTAVAIL|EAFNOSUPPORT/.test(error.message)) this.skip();
      throw error;
    }
    const [connection] = await pair.open('::1');
    client.send(connection, 64);
    await pair.until('arrival', () => server.seen.length === 1);
  });
});

const zeroCopies = { below4KiB: 0, below64KiB: 0, above: 0 };
