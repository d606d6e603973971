/**
 * The rdma transport beside perftest in the same run, between two devices: round trip and rate of small
 * requests, bulk that the server reads and writes, and what the device is asked to do for a request.
 * Needs two RDMA devices: `bash ci/rdma/boot.sh -- node bin/sealfs.js bench rdma` has them. Addresses:
 * SEALFS_RDMA_SERVER, SEALFS_RDMA_CLIENT, else those of that machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { NativeArena } from '../src/native/arena.js';
import { UsageError } from '../src/common/errors.js';
import { packageRoot } from '../src/native/load.js';
import { readRdmaState, usableDevices } from '../src/native/rdma-state.js';
import { Reactor } from '../src/native/reactor.js';
import { maxBulkBytes } from '../src/protocol/limits.generated.js';
import { Opcode } from '../src/protocol/wire.generated.js';
import { RdmaTransport } from '../src/transport/rdma.js';
import { RpcClient } from '../src/transport/rpc-client.js';
import type { RpcPeer } from '../src/transport/rpc-client.js';
import { localHome } from '../src/transport/select.js';
import { BenchOperation, Run } from './endpoint.js';
import { benchProgram, startChild, stopChild } from './processes.js';
import { difference, takeWork } from './rdma-work.js';
import type { RdmaWork } from './rdma-work.js';
import { row } from './report.js';
import type { Row } from './report.js';

const serverAddress = process.env['SEALFS_RDMA_SERVER'] ?? '10.77.0.2';
const clientAddress = process.env['SEALFS_RDMA_CLIENT'] ?? '10.77.0.1';
/** A message of 64 bytes: frame header 32, request header 16, body 16. */
const BODY_BYTES = 16;
const DEPTH = 64;
const BULK_DEPTH = 8;

class Request extends BenchOperation {
  /** Milliseconds of each round trip, where they are asked for. */
  readonly times: number[] = [];
  #sentMs = 0;
  readonly #slot: number;

  constructor(opcode: number, slot = 0) {
    super();
    this.opcode = opcode;
    this.#slot = slot;
    this.bodyBytes = BODY_BYTES;
  }

  override prepare(): void {
    this.#sentMs = performance.now();
    if (this.opcode === Opcode.Write) {
      this.bulkOffset = this.#slot;
      this.bulkBytes = maxBulkBytes;
    } else if (this.opcode === Opcode.Read) {
      this.landingOffset = this.#slot;
      this.landingBytes = maxBulkBytes;
    }
  }

  override encode(): number {
    return BODY_BYTES;
  }

  protected override check(_body: number, _bodyBytes: number, bulkBytes: number): void {
    if (this.opcode === Opcode.Echo) this.times.push(performance.now() - this.#sentMs);
    if (this.opcode === Opcode.Read && bulkBytes !== maxBulkBytes) {
      this.run.fail(new Error(`a read brought ${bulkBytes} bytes`));
    }
  }
}

/** Asks the server for its counters. */
class Question extends Request {
  work: RdmaWork | undefined;
  readonly #arena: NativeArena;

  constructor(arena: NativeArena) {
    super(Opcode.TargetStats);
    this.#arena = arena;
  }

  protected override check(body: number, bodyBytes: number): void {
    const text = Buffer.from(this.#arena.bytes.subarray(body, body + bodyBytes)).toString();
    this.work = JSON.parse(text.slice(0, text.lastIndexOf('}') + 1)) as RdmaWork;
  }
}

/** What perftest reaches between the same devices. */
interface Perftest {
  sendLatency64Us: number;
  sendRate64PerSecond: number;
  readMiBPerSecond: number;
  writeMiBPerSecond: number;
}

function perftest(): Perftest {
  const script = join(packageRoot(), 'ci/rdma/perftest.sh');
  return JSON.parse(execFileSync('bash', [script], { encoding: 'utf8' })) as Perftest;
}

/** The better of two takes, figure by figure: before and after ours. */
function better(a: Perftest, b: Perftest): Perftest {
  return {
    sendLatency64Us: Math.min(a.sendLatency64Us, b.sendLatency64Us),
    sendRate64PerSecond: Math.max(a.sendRate64PerSecond, b.sendRate64PerSecond),
    readMiBPerSecond: Math.max(a.readMiBPerSecond, b.readMiBPerSecond),
    writeMiBPerSecond: Math.max(a.writeMiBPerSecond, b.writeMiBPerSecond),
  };
}

class RdmaBench {
  readonly arena = new NativeArena({ messageSlots: 256, bulkSlots: BULK_DEPTH, receiveAreas: 2 });
  readonly reactor = new Reactor();
  readonly transport = new RdmaTransport(this.arena, this.reactor, { source: clientAddress });
  readonly rpc = new RpcClient(this.transport, this.arena, this.reactor, {
    clusterId: 'bench',
    clientName: `bench:${process.pid}`,
  });
  readonly peer: RpcPeer;

  constructor(port: number) {
    const endpoints = [{ kind: 'rdma' as const, host: serverAddress, port }];
    this.peer = this.rpc.peer({ targetId: 'rdma', endpoints });
  }

  /** Requests per second of `opcode`. */
  async rate(opcode: number, count: number, depth: number): Promise<number> {
    const bulk = opcode === Opcode.Read || opcode === Opcode.Write;
    const slots = Array.from({ length: depth }, () => (bulk ? this.arena.bulk.take() : 0));
    const requests = slots.map((slot) => new Request(opcode, slot));
    const seconds = await Run.execute(this, this.peer, count, requests);
    for (const slot of slots) if (slot !== 0) this.arena.bulk.give(slot);
    return count / seconds;
  }

  /** Of single requests, as perftest takes it: a shared machine pauses now and then. */
  async medianRoundTripUs(count: number): Promise<number> {
    const request = new Request(Opcode.Echo);
    await Run.execute(this, this.peer, count, [request]);
    request.times.sort((a, b) => a - b);
    return request.times[count >> 1]! * 1000;
  }

  async serverWork(): Promise<RdmaWork> {
    const question = new Question(this.arena);
    await Run.execute(this, this.peer, 1, [question]);
    return question.work!;
  }

  close(): void {
    this.rpc.close();
    this.transport.shutdown();
    this.reactor.close();
  }
}

/** What both devices do for one small request at depth 64. */
async function workRows(bench: RdmaBench, count: number): Promise<Row[]> {
  const serverBefore = await bench.serverWork();
  const clientBefore = takeWork(bench.transport.counters);
  await bench.rate(Opcode.Echo, count, DEPTH);
  const client = difference(clientBefore, takeWork(bench.transport.counters));
  const server = difference(serverBefore, await bench.serverWork());
  const both = (name: keyof RdmaWork): number => client[name] + server[name];
  const signalled = both('signalledCompletions') + both('receiveCompletions');
  return [
    row('completions a request, depth 64, both ends', '', signalled / count, { max: 1.2 }),
    row('work requests a request, depth 64, both ends', '', both('workRequests') / count, {}),
    row('requests a frame, depth 64', '', count / client.framesSent, {}),
    row('work requests a doorbell', '', both('workRequests') / both('doorbells'), {}),
  ];
}

async function bulkRows(bench: RdmaBench, count: number, base: Perftest): Promise<Row[]> {
  const serverBefore = await bench.serverWork();
  const clientBefore = takeWork(bench.transport.counters);
  const write = await bench.rate(Opcode.Write, count, BULK_DEPTH);
  const client = difference(clientBefore, takeWork(bench.transport.counters));
  const read = await bench.rate(Opcode.Read, count, BULK_DEPTH);
  const server = difference(serverBefore, await bench.serverWork());
  const chain = client.workRequests / client.doorbells;
  return [
    row('1 MiB server-driven READ, depth 8, beside ib_read_bw', 'MiB/s', write, {
      baseline: base.readMiBPerSecond,
      minRatio: 0.85,
    }),
    row('1 MiB server-driven WRITE, depth 8, beside ib_write_bw', 'MiB/s', read, {
      baseline: base.writeMiBPerSecond,
      minRatio: 0.85,
    }),
    row('bytes copied in pieces of 4 KiB and more', 'B', client.bytesCopied + server.bytesCopied, {
      max: 0,
    }),
    row('work requests a doorbell, client, writes of 1 MiB', '', chain, { min: 1 }),
  ];
}

/** Throws UsageError where there are not two devices, or no perftest. */
function checkMachine(): void {
  localHome('rdma');
  const count = usableDevices(readRdmaState()).length;
  if (count < 2) {
    const machine = 'bash ci/rdma/boot.sh -- node bin/sealfs.js bench rdma';
    throw new UsageError(`bench rdma needs two RDMA devices, here is ${count}: try ${machine}`);
  }
  if (spawnSync('ib_send_lat', ['--version']).error !== undefined) {
    throw new UsageError('bench rdma needs perftest: apt-get install perftest');
  }
}

export async function benchRdma(tiny: boolean): Promise<Row[]> {
  checkMachine();
  const rounds = tiny ? 50 : 1500;
  const before = perftest();
  const { child, line } = await startChild(benchProgram('rdma-server'), [serverAddress]);
  const bench = new RdmaBench(Number(line));
  try {
    await bench.medianRoundTripUs(rounds);
    const roundTripUs = await bench.medianRoundTripUs(rounds);
    await bench.rate(Opcode.Echo, rounds * 4, DEPTH);
    const perSecond = await bench.rate(Opcode.Echo, rounds * 20, DEPTH);
    const work = await workRows(bench, rounds * 8);
    await bench.rate(Opcode.Write, BULK_DEPTH, BULK_DEPTH);
    // Taken again beside the bulk, and the better one counts.
    const base = better(before, perftest());
    const bulk = await bulkRows(bench, tiny ? 8 : 64, base);
    return [
      row('rpc round trip, 64 B, median, beside two ib_send_lat', 'us', roundTripUs, {
        baseline: 2 * base.sendLatency64Us,
        maxRatio: 2.5,
      }),
      row('rpc rate, 64 B, 64 outstanding, beside ib_send_bw', 'requests/s', perSecond, {
        baseline: base.sendRate64PerSecond,
        minRatio: 0.4,
      }),
      ...work,
      ...bulk,
    ];
  } finally {
    bench.close();
    await stopChild(child);
  }
}
