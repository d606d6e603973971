/**
 * Targets in a simulated network with one client that sends raw requests: what arrives is what is
 * written here, byte for byte. Targets can be killed and started from what they leave.
 */
import assert from 'node:assert/strict';
import { createPlainArena, type ArenaMemory } from '../../../src/native/arena-memory.js';
import { crc32cBlocks } from '../../../src/native/crc32c.js';
import { BucketTable } from '../../../src/placement/bucket-table.js';
import type { ClusterMap } from '../../../src/placement/cluster-map.js';
import { SEQUENCE_LIMIT, stripeBucket } from '../../../src/placement/inode-number.js';
import { Opcode, WriteRequest } from '../../../src/protocol/wire.generated.js';
import * as Wire from '../../../src/protocol/wire.generated.js';
import { Allocator } from '../../../src/server/data/allocator.js';
import { ChunkStore } from '../../../src/server/data/chunk-store.js';
import { DiskManager } from '../../../src/server/data/disk-manager.js';
import { MemoryBlockDevice, MemoryDisk } from '../../../src/server/data/memory-device.js';
import { MemoryMetaImage, MemoryMetaStore } from '../../../src/server/memory-meta-store.js';
import { Target } from '../../../src/server/target.js';
import { RpcClient, RpcOperation } from '../../../src/transport/rpc-client.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';
import { body } from './namespace-harness.js';

const PORT = 1;
const PATIENCE_MS = 30_000;
const DEVICE_BLOCKS = 4096;

export interface Answer {
  status: number;
  body: Buffer;
  bulk: Buffer;
}

export interface TargetOptions {
  targets?: number;
  durability?: 'fsync' | 'commit';
  flushDelayMs?: number;
  persistentMemory?: boolean;
  metaBytes?: number;
  sessionExpiryMs?: number;
  reclaimRate?: number;
}

export class RawOperation extends RpcOperation {
  answer: Answer | undefined;
  readonly #arena: ArenaMemory;
  readonly #body: Buffer;

  constructor(arena: ArenaMemory, opcode: number, bytes: Buffer) {
    super();
    this.#arena = arena;
    this.#body = bytes;
    this.opcode = opcode;
    this.bodyBytes = bytes.length;
  }

  override encode(at: number): number {
    this.#arena.bytes.set(this.#body, at);
    return this.#body.length;
  }

  override done(status: number, at: number, bodyBytes: number, bulkBytes: number): void {
    const { bytes, bulk } = this.#arena;
    this.answer = {
      status,
      body: Buffer.from(bytes.subarray(at, at + bodyBytes)),
      bulk: Buffer.from(bytes.subarray(this.landingOffset, this.landingOffset + bulkBytes)),
    };
    if (this.landingOffset !== 0) bulk.give(this.landingOffset);
    if (this.bulkOffset !== 0) bulk.give(this.bulkOffset);
  }
}

export class Node {
  readonly name: string;
  readonly image = new MemoryMetaImage();
  readonly disk = new MemoryDisk();
  readonly log: string[] = [];
  target!: Target;
  meta!: MemoryMetaStore;
  chunks!: ChunkStore;
  scheduler!: SimScheduler;
  readonly #cluster: TargetCluster;
  #starts = 0;

  constructor(cluster: TargetCluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  /** `port`: another than before is in no map yet. */
  start(port = PORT): void {
    const { world, network, map, options } = this.#cluster;
    const log = (line: string): void => {
      this.log.push(line);
    };
    const scheduler = new SimScheduler(world, this.name);
    const arena = createPlainArena({ messageSlots: 128, bulkSlots: 16 });
    const transport = new SimTransport(network, this.name, scheduler, arena);
    const meta = new MemoryMetaStore({
      scheduler,
      image: this.image,
      persistentMemory: options.persistentMemory ?? false,
      ...(options.flushDelayMs === undefined ? {} : { flushDelayMs: options.flushDelayMs }),
      ...(options.metaBytes === undefined ? {} : { capacityBytes: options.metaBytes }),
    });
    const device = { number: 0, totalBlocks: DEVICE_BLOCKS, maxDelayMs: 0.2 };
    const disks = new DiskManager({ log });
    disks.add(new MemoryBlockDevice(arena, scheduler, device, this.disk));
    const allocator = new Allocator(meta);
    allocator.addDevice(0, DEVICE_BLOCKS);
    const chunks = new ChunkStore({ arena, scheduler, store: meta, disks, allocator, log });
    const incarnation = `${this.name}-${++this.#starts}`;
    this.target = new Target({
      transport,
      arena,
      scheduler,
      meta,
      chunks,
      identity: { clusterId: map.clusterId, targetId: this.name, incarnation },
      log,
      ...(options.durability === undefined ? {} : { durability: options.durability }),
      ...(options.reclaimRate === undefined ? {} : { reclaimRate: options.reclaimRate }),
      ...(options.sessionExpiryMs === undefined
        ? {}
        : { sessionExpiryMs: options.sessionExpiryMs }),
    });
    this.target.open();
    this.target.setMap(map);
    transport.listen(this.name, port).catch((error: unknown) => {
      throw error;
    });
    this.meta = meta;
    this.chunks = chunks;
    this.scheduler = scheduler;
  }

  kill(): void {
    this.scheduler.kill();
    this.#cluster.network.crash(this.name);
  }
}

export interface Speaker {
  scheduler: SimScheduler;
  arena: ArenaMemory;
  client: RpcClient;
}

export class TargetCluster {
  readonly world = new SimWorld(7);
  readonly network = new SimNetwork(this.world);
  readonly options: TargetOptions;
  readonly map: ClusterMap;
  readonly nodes: Node[] = [];
  readonly table: BucketTable;
  #scheduler!: SimScheduler;
  #arena!: ArenaMemory;
  #client!: RpcClient;
  #clients = 0;

  constructor(options: TargetOptions = {}) {
    this.options = options;
    const names = Array.from({ length: options.targets ?? 1 }, (_, i) => `target-${i}`);
    this.map = {
      clusterId: 'cluster',
      epoch: 3,
      members: names.map((targetId) => ({
        targetId,
        serverId: targetId,
        weight: 1,
        endpoints: [`sim://${targetId}:${PORT}`],
      })),
    };
    this.table = BucketTable.build(this.map);
    for (const name of names) {
      const node = new Node(this, name);
      this.nodes.push(node);
      node.start();
    }
    this.newClient();
  }

  /** From here on another client speaks. */
  newClient(): void {
    const name = `client-${++this.#clients}`;
    this.#scheduler = new SimScheduler(this.world, name);
    this.#arena = createPlainArena({ messageSlots: 128, bulkSlots: 16 });
    const transport = new SimTransport(this.network, name, this.#scheduler, this.#arena);
    this.#client = new RpcClient(transport, this.#arena, this.#scheduler, {
      clusterId: 'cluster',
      clientName: name,
    });
  }

  /** Who speaks now, for `speakAs`. */
  speaker(): Speaker {
    return { scheduler: this.#scheduler, arena: this.#arena, client: this.#client };
  }

  speakAs({ scheduler, arena, client }: Speaker): void {
    this.#scheduler = scheduler;
    this.#arena = arena;
    this.#client = client;
  }

  /** The speaking client is gone for good. */
  killClient(): void {
    this.#scheduler.kill();
    this.network.crash(`client-${this.#clients}`);
  }

  nodeOf(inode: number, chunk = 0): Node {
    return this.nodes[this.table.memberOfBucket(stripeBucket(inode, chunk))]!;
  }

  /** Begins a request; `finish` waits for it. */
  begin(node: Node, opcode: number, bytes: Buffer, data?: Buffer, landing = false): RawOperation {
    const operation = new RawOperation(this.#arena, opcode, bytes);
    if (data !== undefined) {
      operation.bulkOffset = this.#arena.bulk.take();
      operation.bulkBytes = data.length;
      this.#arena.bytes.set(data, operation.bulkOffset);
    }
    if (landing) {
      operation.landingOffset = this.#arena.bulk.take();
      operation.landingBytes = this.#arena.bulk.payloadBytes;
    }
    const address = { targetId: node.name, host: node.name, port: PORT };
    const client = this.#client;
    this.#scheduler.deliver(() => {
      client.peer(address).call(operation);
    });
    return operation;
  }

  finish(operation: RawOperation, forMs = PATIENCE_MS): Answer {
    this.world.run(() => operation.answer !== undefined, forMs);
    assert.ok(operation.answer, `opcode ${operation.opcode} is not answered`);
    return operation.answer;
  }

  call(node: Node, opcode: number, bytes: Buffer, data?: Buffer, landing = false): Answer {
    return this.finish(this.begin(node, opcode, bytes, data, landing));
  }

  idle(forMs: number): void {
    this.world.run(() => false, forMs);
  }

  /** A root whose bucket the first target holds. */
  root(): number {
    let bucket = 1;
    while (this.table.memberOfBucket(bucket) !== 0) bucket++;
    const inode = bucket * SEQUENCE_LIMIT + 1;
    const made = body(Wire.EnsureRootRequest, { inode, mode: 0o755 });
    assert.equal(this.call(this.nodes[0]!, Opcode.EnsureRoot, made).status, 0);
    return inode;
  }

  createBody(parent: number, name: string, flags = 0): Buffer {
    const nameBytes = Buffer.byteLength(name);
    return body(Wire.CreateRequest, { parent, mode: 0o100644, nameBytes, flags }, name);
  }

  create(parent: number, name: string, flags = 0): number {
    const node = this.nodeOf(parent);
    const answer = this.call(node, Opcode.Create, this.createBody(parent, name, flags));
    assert.equal(answer.status, 0);
    return Number(answer.body.readBigUInt64LE(0));
  }

  unlink(parent: number, name: string): Answer {
    const nameBytes = Buffer.byteLength(name);
    const bytes = body(Wire.NameRequest, { parent, nameBytes }, name);
    return this.call(this.nodeOf(parent), Opcode.Unlink, bytes);
  }

  inodeCall(opcode: number, inode: number): Answer {
    return this.call(this.nodeOf(inode), opcode, body(Wire.InodeRequest, { inode }));
  }

  size(inode: number): number {
    const answer = this.inodeCall(Opcode.GetAttr, inode);
    assert.equal(answer.status, 0);
    return Number(answer.body.readBigUInt64LE(Wire.Attributes.sizeBytes));
  }

  writeBody(inode: number, chunk: number, offset: number, data: Buffer, flags = 0): Buffer {
    const arena = createPlainArena({ messageSlots: 1, bulkSlots: 1 });
    const place = arena.bulk.take();
    arena.bytes.set(data, place);
    const count = Math.ceil(data.length / 4096);
    const words = arena.messages.take();
    crc32cBlocks(arena, place, data.length, words);
    const inlineBytes = data.length <= 8192 ? data.length : 0;
    const fields = { inode, chunk, offset, lengthBytes: data.length, flags, inlineBytes };
    const head = body(WriteRequest, { ...fields, checksumCount: count });
    const tail = Buffer.concat([
      arena.bytes.subarray(words, words + 4 * count),
      data.subarray(0, inlineBytes),
    ]);
    return Buffer.concat([head, tail, Buffer.alloc(-(head.length + tail.length) & 7)]);
  }

  beginWrite(inode: number, chunk: number, offset: number, data: Buffer, flags = 0): RawOperation {
    const bytes = this.writeBody(inode, chunk, offset, data, flags);
    const bulk = data.length > 8192 ? data : undefined;
    return this.begin(this.nodeOf(inode, chunk), Opcode.Write, bytes, bulk);
  }

  write(inode: number, chunk: number, offset: number, data: Buffer, flags = 0): Answer {
    return this.finish(this.beginWrite(inode, chunk, offset, data, flags));
  }

  read(inode: number, chunk: number, offset: number, lengthBytes: number): Answer {
    const bytes = body(Wire.ReadRequest, { inode, chunk, offset, lengthBytes });
    const answer = this.call(this.nodeOf(inode, chunk), Opcode.Read, bytes, undefined, true);
    if (answer.status !== 0) return answer;
    const inlineBytes = answer.body.readUInt32LE(Wire.ReadReply.inlineBytes);
    const inline = answer.body.subarray(Wire.ReadReply.SIZE, Wire.ReadReply.SIZE + inlineBytes);
    return { ...answer, bulk: inlineBytes > 0 ? inline : answer.bulk };
  }

  setSize(inode: number, sizeBytes: number): Buffer {
    return body(Wire.SetAttrRequest, { inode, valid: 8, sizeBytes });
  }
}
