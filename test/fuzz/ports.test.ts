/**
 * A real cluster under garbage: mutated frames to every listening port, and, behind a proper
 * handshake, requests of every opcode with random bodies. Afterwards everything still works.
 * Time and seeds: test/support/fuzz-seeds.ts.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { errno } from '../../src/common/errno.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import { NativeArena } from '../../src/native/arena.js';
import { Reactor } from '../../src/native/reactor.js';
import { targetAddress } from '../../src/placement/cluster-map.js';
import { frameMagic } from '../../src/protocol/limits.generated.js';
import { FrameHeader, Opcode } from '../../src/protocol/wire.generated.js';
import { RpcClient } from '../../src/transport/rpc-client.js';
import type { RpcPeer } from '../../src/transport/rpc-client.js';
import { RpcOperation } from '../../src/transport/rpc-operation.js';
import { SimRandom } from '../../src/transport/sim/sim-random.js';
import { TcpTransport } from '../../src/transport/tcp.js';
import { TestCluster } from '../support/cluster.js';
import { firstFuzzSeed as seed, fuzzSeconds as seconds } from '../support/fuzz-seeds.js';

/** All but the handshake: a session that has one is what they are sent on. */
const opcodes = Object.values(Opcode).filter((opcode) => opcode !== Opcode.Hello);

function randomFrame(random: SimRandom): Buffer {
  const data = Buffer.alloc(FrameHeader.SIZE + random.below(2000));
  for (let i = 0; i < data.length; i++) data[i] = random.below(256);
  if (random.chance(0.8)) data.writeUInt32LE(frameMagic, FrameHeader.magic);
  if (random.chance(0.6)) data.writeUInt32LE(data.length & ~7, FrameHeader.messageBytes);
  if (random.chance(0.5)) data.writeUInt32LE(0, FrameHeader.bulkBytes);
  if (random.chance(0.5)) data.writeUInt32LE(1 + random.below(3), FrameHeader.count);
  return data.subarray(0, random.chance(0.3) ? random.below(data.length) : data.length);
}

function send(port: number, data: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(data));
    const timer = setTimeout(() => socket.destroy(), 200);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.resume();
  });
}

class RandomOperation extends RpcOperation {
  readonly #arena: NativeArena;
  readonly #random: SimRandom;
  readonly #words: number[];
  #settle: (status: number) => void = () => undefined;

  constructor(arena: NativeArena, random: SimRandom, inodes: number[]) {
    super();
    this.#arena = arena;
    this.#random = random;
    this.#words = inodes;
    // Some answers bring bulk whatever was asked: without a place for it the client hangs up.
    this.landingOffset = arena.bulk.take();
    this.landingBytes = arena.bulk.payloadBytes;
  }

  run(peer: RpcPeer): Promise<number> {
    this.opcode = opcodes[this.#random.below(opcodes.length)]!;
    this.bodyBytes = 8 * this.#random.below(40);
    this.deadlineMs = 5000;
    return new Promise((resolve) => {
      this.#settle = resolve;
      peer.call(this);
    });
  }

  /** Small numbers, real inodes and noise, so that checks beyond the first are reached. */
  override encode(body: number): number {
    const { words } = this.#arena;
    const random = this.#random;
    for (let at = body >>> 2; at < (body + this.bodyBytes) >>> 2; at++) {
      const kind = random.below(4);
      words[at] = kind === 0 ? random.word() : kind === 1 ? random.below(300) : 0;
    }
    if (this.bodyBytes >= 8 && random.chance(0.7)) {
      const inode = this.#words[random.below(this.#words.length)]!;
      words[body >>> 2] = inode >>> 0;
      words[(body >>> 2) + 1] = Math.floor(inode / 2 ** 32);
    }
    return this.bodyBytes;
  }

  override done(status: number): void {
    this.#settle(status);
  }
}

describe('fuzzing a real cluster', function () {
  this.timeout(60_000 + seconds * 2000);
  let cluster: TestCluster;

  before(async () => {
    cluster = await TestCluster.start({ servers: 1, targets: 1 });
  });

  after(async () => {
    await cluster?.stop();
  });

  async function target(): Promise<{ map: Awaited<ReturnType<ManagerClient['map']>> }> {
    return { map: await new ManagerClient(cluster.url).map() };
  }

  it(`frames of garbage to every port (SEALFS_FUZZ_SEED=${seed})`, async () => {
    const random = new SimRandom(seed);
    const { map } = await target();
    const address = targetAddress(map.members[0]!, ['tcp']);
    const ports = [address.endpoints[0]!.port, Number(new URL(cluster.url).port)];
    const end = Date.now() + seconds * 500;
    while (Date.now() < end) {
      for (const port of ports) await send(port, randomFrame(random));
    }
    assert.equal(cluster.targetsUp(), 1);
  });

  it(`random bodies of every opcode (SEALFS_FUZZ_SEED=${seed})`, async () => {
    const random = new SimRandom(seed + 1);
    const root = cluster.mount();
    fs.writeFileSync(join(root, 'file'), 'kept'.repeat(5000));
    const inodes = [fs.statSync(join(root, 'file')).ino, fs.statSync(root).ino + 1, 5, 2 ** 52];
    const { map } = await target();
    const arena = new NativeArena({ messageSlots: 64, bulkSlots: 24, receiveAreas: 1 });
    const reactor = new Reactor();
    const transport = new TcpTransport(arena, reactor);
    const options = { clusterId: map.clusterId, clientName: 'fuzz' };
    const rpc = new RpcClient(transport, arena, reactor, options);
    const peer = rpc.peer(targetAddress(map.members[0]!, ['tcp']));
    const operations = Array.from({ length: 16 }, () => new RandomOperation(arena, random, inodes));
    let answered = 0;
    try {
      const end = Date.now() + seconds * 500;
      while (Date.now() < end) {
        const statuses = operations.map((operation) => operation.run(peer));
        reactor.requestTurn();
        answered += (await Promise.all(statuses)).filter(
          (status) => status !== errno.ETIMEDOUT,
        ).length;
      }
    } finally {
      rpc.close();
      transport.shutdown();
      reactor.close();
    }
    assert.ok(answered > 100, `${answered} requests answered`);
    assert.equal(cluster.targetsUp(), 1);
    fs.writeFileSync(join(root, 'after'), 'works');
    assert.equal(fs.readFileSync(join(root, 'after'), 'utf8'), 'works');
  });
});
