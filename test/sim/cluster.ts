/**
 * A whole cluster in one process, under a seed: targets with metadata and devices in memory,
 * clients, a network that delays and breaks, virtual time. What a killed target leaves (its image
 * and its disk) is kept for its next start.
 *
 *   const cluster = buildCluster(seed, { targets: 2, clients: 1 });
 *   await cluster.run(async ([client]) => { await client.files.writeFile('/a', 'x'); });
 */
import { FileSystemCore } from '../../src/client/core.js';
import { defaultClientOptions } from '../../src/client/context.js';
import type { ClientOptions } from '../../src/client/context.js';
import { VolumeFiles } from '../../src/client/volume-files.js';
import { createPlainArena } from '../../src/native/arena-memory.js';
import type { ArenaMemory, ArenaShape } from '../../src/native/arena-memory.js';
import { makeInode } from '../../src/placement/inode-number.js';
import type { ClusterMap } from '../../src/placement/cluster-map.js';
import { Allocator } from '../../src/server/data/allocator.js';
import { ChunkStore } from '../../src/server/data/chunk-store.js';
import { DiskManager } from '../../src/server/data/disk-manager.js';
import { MemoryBlockDevice, MemoryDisk } from '../../src/server/data/memory-device.js';
import { MemoryMetaImage, MemoryMetaStore } from '../../src/server/memory-meta-store.js';
import { Target } from '../../src/server/target.js';
import { SimNetwork } from '../../src/transport/sim/sim-network.js';
import type { SimNetworkOptions } from '../../src/transport/sim/sim-network.js';
import { SimScheduler } from '../../src/transport/sim/sim-scheduler.js';
import { SimTransport } from '../../src/transport/sim/sim-transport.js';
import { SimWorld } from '../../src/transport/sim/sim-world.js';

export const CLUSTER_ID = 'sim-cluster';
const PORT = 1;
const DEVICE_BLOCKS = 65_536;
const TARGET_ARENA = { messageSlots: 256, bulkSlots: 24 };
const CLIENT_ARENA = { messageSlots: 512, bulkSlots: 24 };
const SMALL_ARENA = { messageSlots: 96, bulkSlots: 5 };
/** Virtual time that one `run` may take before it counts as hanging. */
const RUN_LIMIT_MS = 600_000;

export interface ClusterOptions {
  targets?: number;
  clients?: number;
  network?: SimNetworkOptions;
  /** Longest delay of a device's operation. */
  deviceDelayMs?: number;
  deviceBlocks?: number;
  /** Nodes with little memory, for tests without data: clusters are made faster. */
  small?: boolean;
  client?: Partial<ClientOptions>;
  durability?: 'fsync' | 'commit';
  /** Metadata is on persistent memory: see MetaStore.flushNow. */
  persistentMemory?: boolean;
  /** Of a partition that is split; none ever is without it. */
  splitEntries?: number;
  partitionsPerTarget?: number;
  log?: (message: string) => void;
  /** Called where a target passes a named point of its work; it may kill that target, or others. */
  faultPoint?: (target: SimTarget, name: string) => void;
}

/** By number of targets: the table of a map is dear, and shared by all who have the same one. */
const maps = new Map<number, ClusterMap>();

function mapOf(targets: number): ClusterMap {
  const members = Array.from({ length: targets }, (_, i) => ({
    targetId: `target-${i}`,
    serverId: `target-${i}`,
    weight: 1,
    endpoints: [`sim://target-${i}:${PORT}`],
  }));
  const map = maps.get(targets) ?? { clusterId: CLUSTER_ID, epoch: 1, members };
  maps.set(targets, map);
  return map;
}

/** Arenas of clusters that have ended, by shape: making new ones takes longer than most tests do. */
const spareArenas = new Map<ArenaShape, ArenaMemory[]>();

/**
 * What a process leaves that is killed in the middle of something: what is committed. Not the store's
 * own image, since the process has not noticed yet and goes on to the end of what it is at.
 */
function leftBy(image: MemoryMetaImage, commitSequence: number): MemoryMetaImage {
  const left = new MemoryMetaImage();
  for (const [key, value] of image.values) left.set(key, value);
  left.undo = [...image.undo];
  while ((left.undo.at(-1)?.sequence ?? 0) > commitSequence) {
    const { key, before } = left.undo.pop()!;
    left.set(key, before);
  }
  return left;
}

/** A target's node: what survives it, and the process while it runs. */
export class SimTarget {
  readonly name: string;
  image = new MemoryMetaImage();
  readonly disk = new MemoryDisk();
  target: Target | undefined;
  readonly #cluster: SimCluster;
  #scheduler: SimScheduler | undefined;
  #meta: MemoryMetaStore | undefined;
  #starts = 0;

  constructor(cluster: SimCluster, name: string) {
    this.#cluster = cluster;
    this.name = name;
  }

  get running(): boolean {
    return this.target !== undefined;
  }

  start(): void {
    const { world, network, options, map } = this.#cluster;
    const log = (message: string): void => options.log?.(`${this.name}: ${message}`);
    this.#starts++;
    const scheduler = new SimScheduler(world, this.name);
    const arena = this.#cluster.takeArena(options.small === true ? SMALL_ARENA : TARGET_ARENA);
    const transport = new SimTransport(network, this.name, scheduler, arena);
    const { persistentMemory = false } = options;
    const meta = new MemoryMetaStore({ scheduler, image: this.image, persistentMemory });
    const device = new MemoryBlockDevice(
      arena,
      scheduler,
      {
        number: 0,
        totalBlocks: options.deviceBlocks ?? DEVICE_BLOCKS,
        maxDelayMs: options.deviceDelayMs ?? 0.2,
      },
      this.disk,
    );
    const disks = new DiskManager({ log });
    disks.add(device);
    const allocator = new Allocator(meta);
    allocator.addDevice(0, device.totalBlocks);
    const chunks = new ChunkStore({ arena, scheduler, store: meta, disks, allocator, log });
    const target = new Target({
      transport,
      arena,
      scheduler,
      meta,
      chunks,
      identity: {
        clusterId: CLUSTER_ID,
        targetId: this.name,
        incarnation: `${this.name}-${this.#starts}`,
      },
      durability: options.durability ?? 'fsync',
      splitEntries: options.splitEntries ?? Infinity,
      partitionsPerTarget: options.partitionsPerTarget ?? 16,
      log,
      faultPoint: (name) => {
        if (scheduler.alive) options.faultPoint?.(this, name);
      },
    });
    target.open();
    target.setMap(map);
    this.#cluster.background(transport.listen(this.name, PORT));
    this.#scheduler = scheduler;
    this.#meta = meta;
    this.target = target;
  }

  startAfter(delayMs: number): void {
    this.#cluster.world.schedule(delayMs, () => {
      this.start();
    });
  }

  /** SIGKILL: what is committed stays, nothing else. */
  kill(): void {
    if (this.#meta !== undefined) this.image = leftBy(this.image, this.#meta.commitSequence);
    this.#meta = undefined;
    this.#scheduler?.kill();
    this.#cluster.network.crash(this.name);
    this.#scheduler = undefined;
    this.target = undefined;
  }

  /** The machine loses power: what is not flushed may be gone. */
  losePower(): void {
    this.kill();
    this.image.powerLoss();
    this.disk.powerLoss(() => this.#cluster.world.random.next());
  }
}

/** A client's node. */
export class SimClient {
  readonly name: string;
  readonly scheduler: SimScheduler;
  readonly arena: ArenaMemory;
  readonly transport: SimTransport;
  readonly core: FileSystemCore;
  readonly files: VolumeFiles;
  /** Directories of this cluster are split. */
  readonly splits: boolean;
  readonly #network: SimNetwork;

  constructor(cluster: SimCluster, name: string) {
    const { world, network, options, map } = cluster;
    this.name = name;
    this.splits = options.splitEntries !== undefined;
    this.#network = network;
    this.scheduler = new SimScheduler(world, name);
    this.arena = cluster.takeArena(options.small === true ? SMALL_ARENA : CLIENT_ARENA);
    this.transport = new SimTransport(network, name, this.scheduler, this.arena);
    this.core = new FileSystemCore({
      transport: this.transport,
      arena: this.arena,
      scheduler: this.scheduler,
      map,
      options: {
        ...defaultClientOptions,
        clientName: name,
        log: (message) => options.log?.(`${name}: ${message}`),
        ...options.client,
      },
    });
    const owner = { uid: 1000, gid: 1000 };
    this.files = new VolumeFiles(this.core, this.arena, cluster.rootInode, owner);
  }

  /** SIGKILL: calls under way are never settled. */
  kill(): void {
    this.scheduler.kill();
    this.#network.crash(this.name);
  }
}

export class SimCluster {
  readonly world: SimWorld;
  readonly network: SimNetwork;
  readonly options: ClusterOptions;
  readonly map: ClusterMap;
  readonly rootInode = makeInode(0, 1);
  readonly targets: SimTarget[] = [];
  readonly clients: SimClient[] = [];
  readonly #arenas: { shape: ArenaShape; arena: ArenaMemory }[] = [];
  #failure: unknown;

  constructor(seed: number, options: ClusterOptions) {
    this.options = options;
    this.world = new SimWorld(seed);
    this.network = new SimNetwork(this.world, options.network);
    this.map = mapOf(options.targets ?? 1);
    for (const { targetId } of this.map.members) {
      const target = new SimTarget(this, targetId);
      this.targets.push(target);
      target.start();
    }
    for (let i = 0; i < (options.clients ?? 1); i++) this.addClient();
  }

  addClient(): SimClient {
    const client = new SimClient(this, `client-${this.clients.length}`);
    this.clients.push(client);
    return client;
  }

  /** Memory of a node: this cluster's until `end`; what it contains is whatever an earlier one has left. */
  takeArena(shape: ArenaShape): ArenaMemory {
    const arena = spareArenas.get(shape)?.pop() ?? createPlainArena(shape);
    arena.messages.reset();
    arena.bulk.reset();
    this.#arenas.push({ shape, arena });
    return arena;
  }

  /** Nothing of it is used or looked at any more: the next cluster gets its memory. */
  end(): void {
    for (const { shape, arena } of this.#arenas.splice(0)) {
      const spare = spareArenas.get(shape) ?? [];
      spareArenas.set(shape, spare);
      spare.push(arena);
    }
  }

  /** A promise that nobody waits for must not fail unseen. */
  background(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  /** Drives virtual time until `body` is settled; throws what it rejects with, or that it hangs. */
  async run<T>(body: (clients: SimClient[]) => Promise<T>): Promise<T> {
    let settled = false;
    let outcome: { value: T } | { error: unknown } | undefined;
    body(this.clients).then(
      (value) => {
        outcome = { value };
        settled = true;
      },
      (error: unknown) => {
        outcome = { error };
        settled = true;
      },
    );
    await new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
    await this.world.runAsync(() => settled, RUN_LIMIT_MS);
    if (this.#failure !== undefined) throw this.#failure as Error;
    if (outcome === undefined) {
      throw new Error(`seed ${this.world.seed}: nothing after ${RUN_LIMIT_MS} ms of virtual time`);
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  }

  /** Lets virtual time pass. */
  async idle(forMs: number): Promise<void> {
    await this.world.runAsync(() => false, forMs);
  }
}

/** A cluster whose targets listen and whose clients have not connected yet. */
export function buildCluster(seed: number, options: ClusterOptions = {}): SimCluster {
  return new SimCluster(seed, options);
}
