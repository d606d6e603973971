/**
 * Scripted targets under the real RPC layer and the simulated network: a test says what each opcode
 * answers and reads afterwards what was asked. For what real targets cannot be made to say.
 */
import { FileSystemCore } from '../../../src/client/core.js';
import { defaultClientOptions } from '../../../src/client/context.js';
import type { ClientOptions } from '../../../src/client/context.js';
import { VolumeFiles } from '../../../src/client/volume-files.js';
import { createPlainArena } from '../../../src/native/arena-memory.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import { BucketTable } from '../../../src/placement/bucket-table.js';
import { bucketOfInode, makeInode, stripeBucket } from '../../../src/placement/inode-number.js';
import { writeU53 } from '../../../src/protocol/u53.js';
import { Attributes, AttributesReply, Opcode } from '../../../src/protocol/wire.generated.js';
import { RpcServer } from '../../../src/transport/rpc-server.js';
import type { RpcRequest, RpcService } from '../../../src/transport/rpc-server.js';
import { SimNetwork } from '../../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../../src/transport/sim/sim-world.js';

/** What a script answers; `body` and `bulk` are copied. */
export interface ScriptedReply {
  status?: number;
  body?: Uint8Array;
  bulk?: Uint8Array;
  /** Milliseconds of virtual time before the answer. */
  afterMs?: number;
}

export interface Asked {
  target: number;
  opcode: number;
  /** A copy of the body. */
  body: Uint8Array;
  atMs: number;
}

export type Script = (asked: Asked) => ScriptedReply;

const opcodeNames = new Map<number, string>(
  Object.entries(Opcode).map(([name, value]) => [value, name]),
);

class FakeTarget implements RpcService {
  server: RpcServer | undefined;
  readonly #world: FakeWorld;
  readonly #number: number;
  readonly #arena: ArenaMemory;
  readonly #scheduler: SimScheduler;

  constructor(world: FakeWorld, number: number, arena: ArenaMemory, scheduler: SimScheduler) {
    this.#world = world;
    this.#number = number;
    this.#arena = arena;
    this.#scheduler = scheduler;
  }

  onRequest(request: RpcRequest): void {
    const asked: Asked = {
      target: this.#number,
      opcode: request.opcode,
      body: this.#arena.bytes.slice(request.body, request.body + request.bodyBytes),
      atMs: this.#scheduler.nowMs(),
    };
    this.#world.asked.push(asked);
    const script = this.#world.scripts.get(request.opcode);
    if (script === undefined) throw new Error(`no script for ${opcodeNames.get(request.opcode)!}`);
    const reply = script(asked);
    if (reply.afterMs === undefined) this.#answer(request, reply);
    else this.#scheduler.setTimer(reply.afterMs, () => this.#answer(request, reply));
  }

  #answer(request: RpcRequest, reply: ScriptedReply): void {
    const server = this.server!;
    const body = reply.body ?? new Uint8Array(0);
    const at = server.beginReply(request, body.length);
    this.#arena.bytes.set(body, at);
    if (reply.bulk !== undefined) {
      const slot = this.#arena.bulk.take();
      this.#arena.bytes.set(reply.bulk, slot);
      server.addReplyBulk(slot, reply.bulk.length, true);
    }
    server.endReply(request, reply.status ?? 0, body.length);
  }

  onReplay(request: RpcRequest): void {
    this.server!.reply(request, request.recordStatus);
  }

  loadSession(): undefined {
    return undefined;
  }

  onSessionOpened(): void {
    // Nothing is kept of sessions.
  }

  onSessionClosed(): void {
    // Nothing is kept of sessions.
  }
}

export class FakeWorld {
  readonly world = new SimWorld(1);
  readonly network = new SimNetwork(this.world);
  readonly scripts = new Map<number, Script>();
  readonly asked: Asked[] = [];
  readonly core: FileSystemCore;
  readonly files: VolumeFiles;
  readonly arena: ArenaMemory;
  readonly rootInode: number;
  readonly scheduler: SimScheduler;
  readonly #table: BucketTable;
  readonly #incarnations: number[] = [];

  constructor(targets: number, options: Partial<ClientOptions> = {}) {
    const map = {
      clusterId: 'fake',
      epoch: 1,
      members: Array.from({ length: targets }, (_, i) => ({
        targetId: `t${i}`,
        serverId: `t${i}`,
        weight: 1,
        endpoints: [`sim://t${i}:1`],
      })),
    };
    this.#table = BucketTable.build(map);
    this.rootInode = this.inodeOn(0, 1);
    for (let i = 0; i < targets; i++) this.startTarget(i);
    const scheduler = new SimScheduler(this.world, 'client');
    this.scheduler = scheduler;
    this.arena = createPlainArena({ messageSlots: 200, bulkSlots: 12 });
    const transport = new SimTransport(this.network, 'client', scheduler, this.arena);
    this.core = new FileSystemCore({
      transport,
      arena: this.arena,
      scheduler,
      map,
      options: { ...defaultClientOptions, accessTimes: false, ...options },
    });
    this.files = new VolumeFiles(this.core, this.arena, this.rootInode, { uid: 7, gid: 8 });
    this.answer(Opcode.Release, () => ({}));
    this.answer(Opcode.Accessed, () => ({}));
  }

  startTarget(number: number): void {
    const name = `t${number}`;
    this.#incarnations[number] = (this.#incarnations[number] ?? 0) + 1;
    const scheduler = new SimScheduler(this.world, name);
    const arena = createPlainArena({ messageSlots: 100, bulkSlots: 12 });
    const transport = new SimTransport(this.network, name, scheduler, arena);
    const target = new FakeTarget(this, number, arena, scheduler);
    target.server = new RpcServer(transport, arena, scheduler, target, {
      clusterId: 'fake',
      targetId: name,
      incarnation: `${name}.${this.#incarnations[number]}`,
    });
    void transport.listen(name, 1);
  }

  killTarget(number: number): void {
    this.network.crash(`t${number}`);
  }

  answer(opcode: number, script: Script): void {
    this.scripts.set(opcode, script);
  }

  /** The names of the opcodes asked for since the last call. */
  takeAsked(): string[] {
    return this.asked.splice(0).map((each) => opcodeNames.get(each.opcode)!);
  }

  /** The n-th inode number that lives on this target. */
  inodeOn(target: number, n: number): number {
    let bucket = 0;
    while (this.#table.memberOfBucket(bucket) !== target) bucket++;
    return makeInode(bucket, n);
  }

  targetOf(inode: number): number {
    return this.#table.memberOfBucket(bucketOfInode(inode));
  }

  targetOfChunk(inode: number, chunk: number): number {
    return this.#table.memberOfBucket(stripeBucket(inode, chunk));
  }

  async run<T>(body: () => Promise<T>, limitMs = 100_000): Promise<T> {
    let settled = false;
    const promise = body().finally(() => {
      settled = true;
    });
    promise.catch(() => undefined);
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    if (!(await this.world.runAsync(() => settled, limitMs))) throw new Error('it hangs');
    return promise;
  }

  pause(forMs: number): Promise<void> {
    return new Promise((resolve) => this.world.schedule(forMs, resolve));
  }
}

export interface AttributeValues {
  inode: number;
  mode?: number;
  sizeBytes?: number;
  striped?: boolean;
}

export function attributesBody(values: AttributeValues, flags = 0): Uint8Array {
  const words = new Uint32Array(AttributesReply.SIZE / 4);
  fillAttributes(words, 0, values);
  words[AttributesReply.flags / 4] = flags;
  return new Uint8Array(words.buffer);
}

export function fillAttributes(words: Uint32Array, at: number, values: AttributeValues): void {
  writeU53(words, at + Attributes.inode, values.inode);
  writeU53(words, at + Attributes.sizeBytes, values.sizeBytes ?? 0);
  words[(at + Attributes.mode) / 4] = values.mode ?? 0o100644;
  words[(at + Attributes.linkCount) / 4] = 1;
  words[(at + Attributes.flags) / 4] = values.striped === true ? 1 : 0;
}

/** A body of 32-bit words, given by byte offset; 64-bit fields as [low, high]. */
export function bodyOf(sizeBytes: number, fields: Record<number, number>): Uint8Array {
  const words = new Uint32Array(sizeBytes / 4);
  for (const [offset, value] of Object.entries(fields)) words[Number(offset) / 4] = value;
  return new Uint8Array(words.buffer);
}

export function put64(body: Uint8Array, offset: number, value: number): Uint8Array {
  writeU53(new Uint32Array(body.buffer, body.byteOffset, body.length >> 2), offset, value);
  return body;
}
