/**
 * A target's worker thread: builds what a Target stands on, runs it, and takes it down.
 *
 *   (thread starts) ─> listens ─> 'listening' ── 'start' ─> opens stores and devices ─> 'started'
 *       ── 'state' every second, 'map' ─> … ── 'stop' ─> answers what is under way, flushes,
 *       closes ─> 'stopped'
 *
 * Destruction goes in the reverse order of construction: nothing may use the arena, the engine or
 * the store after it is gone.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { SealfsError } from '../common/errors.js';
import { errnoName } from '../common/errno.js';
import type { DeviceReport } from '../common/manager-api.js';
import { NativeArena } from '../native/arena.js';
import { fallocate } from '../native/extent.js';
import { Reactor } from '../native/reactor.js';
import { blockBytes } from '../protocol/limits.generated.js';
import { RpcSwitch } from '../transport/rpc-switch.js';
import { openTransports } from '../transport/select.js';
import type { Transport, TransportCounters } from '../transport/transport.js';
import { Allocator } from './data/allocator.js';
import { ChunkStore } from './data/chunk-store.js';
import { DiskManager } from './data/disk-manager.js';
import { DiskEngine } from './data/extent-device.js';
import { openDevices, syncDeviceFiles } from './data/open-devices.js';
import { propertyKey } from './keys.js';
import { listenOn } from './listen.js';
import { LmdbMetaStore } from './meta-store.js';
import { allocateByWriting, type Allocate } from './page-space.js';
import { Scrubber } from './scrubber.js';
import { Target, type TargetDeps } from './target.js';
import { killerOf } from './transactions/fault-points.js';
import type {
  FromWorker,
  LogLevel,
  TargetState,
  ToWorker,
  WorkerStart,
} from './worker-messages.js';

const STATE_INTERVAL_MS = 1000;
/** How long a stop waits for reads and writes that are under way. */
const DRAIN_MS = 5000;
const DRAIN_POLL_MS = 5;
/** Property of the store: whose it is. */
const IDENTITY = propertyKey('identity');
const FORMAT_VERSION = 1;

interface Identity {
  format: number;
  targetId: string;
  clusterId: string;
}

function post(message: FromWorker): void {
  parentPort!.postMessage(message);
}

function log(level: LogLevel, message: string): void {
  post({ kind: 'log', level, message });
}

class TargetWorker {
  readonly #start: WorkerStart;
  readonly #reactor = new Reactor();
  readonly #arena: NativeArena;
  #transport: Transport | undefined;
  #engine: DiskEngine | undefined;
  #meta: LmdbMetaStore | undefined;
  #disks: DiskManager | undefined;
  #allocator: Allocator | undefined;
  #chunks: ChunkStore | undefined;
  #target: Target | undefined;
  #scrubber: Scrubber | undefined;
  #stateTimer: NodeJS.Timeout | undefined;

  constructor(start: WorkerStart) {
    this.#start = start;
    this.#arena = new NativeArena(start.arena);
  }

  /** The port is taken first: an address in use is told before anything is touched. */
  async listen(): Promise<void> {
    const { host, port, transports, source } = this.#start;
    const opened = await openTransports(transports, this.#arena, this.#reactor, { source });
    this.#transport = opened.transport;
    // Until the target is there, connections are closed at once and clients come back.
    RpcSwitch.of(opened.transport);
    const { endpoints, failure } = await listenOn(opened.parts, host, port);
    const without = opened.failure === '' ? failure : `no rdma: ${opened.failure}`;
    if (without !== '') log('warn', without);
    post({ kind: 'listening', endpoints });
  }

  open(clusterId: string): void {
    const { metaDir, devices, targetId, persistentMemory } = this.#start;
    syncDeviceFiles(devices);
    const allocate = persistentMemory ? allocateByWriting : allocateAhead(metaDir);
    const meta = new LmdbMetaStore({ directory: metaDir, allocate, persistentMemory });
    this.#meta = meta;
    const identity = { clusterId, targetId };
    checkIdentity(meta, identity, metaDir);
    const disks = new DiskManager({
      log: (message) => {
        log('error', message);
      },
    });
    this.#disks = disks;
    const allocator = new Allocator(meta);
    this.#allocator = allocator;
    this.#engine = new DiskEngine(this.#arena, this.#reactor);
    const logInfo = (message: string): void => {
      log('info', message);
    };
    openDevices({
      specs: devices,
      identity,
      store: meta,
      engine: this.#engine,
      disks,
      allocator,
      log: logInfo,
    });
    this.#chunks = new ChunkStore({
      arena: this.#arena,
      scheduler: this.#reactor,
      store: meta,
      disks,
      allocator,
      log: (message) => {
        log('warn', message);
      },
    });
    this.#target = new Target({
      transport: this.#transport!,
      arena: this.#arena,
      scheduler: this.#reactor,
      meta,
      chunks: this.#chunks,
      identity: { clusterId, targetId, incarnation: randomUUID() },
      durability: this.#start.durability,
      ...(this.#start.reclaimRate === undefined ? {} : { reclaimRate: this.#start.reclaimRate }),
      ...(this.#start.splitEntries === undefined ? {} : { splitEntries: this.#start.splitEntries }),
      log: logInfo,
      ...killPoint(),
    });
    this.#target.open();
    const { counters } = this.#chunks;
    this.#scrubber = new Scrubber({
      arena: this.#arena,
      scheduler: this.#reactor,
      store: meta,
      disks,
      foreground: () => counters.reads + counters.writes,
      wallMs: Date.now,
      log,
    });
    this.#scrubber.open();
  }

  run(): void {
    post({ kind: 'started', state: this.state() });
    this.#stateTimer = setInterval(() => {
      post({ kind: 'state', state: this.state() });
    }, STATE_INTERVAL_MS);
  }

  get target(): Target {
    return this.#target!;
  }

  get scrubber(): Scrubber {
    return this.#scrubber!;
  }

  state(): TargetState {
    const capacity = this.#chunks!.capacity();
    const scrub = this.scrubber.report();
    return {
      ...capacity,
      inodes: this.target.namespace.inodeCount,
      devices: this.#deviceReports(),
      counters: {
        ...this.target.report(),
        ...this.#chunks!.counters,
        ...transportReport(this.#transport!.counters),
        messageSlotsFree: this.#arena.messages.available,
        bulkSlotsFree: this.#arena.bulk.available,
        scrubbedBytes: scrub.checkedBytes,
        scrubDamagedExtents: scrub.damagedExtents,
      },
      scrub,
    };
  }

  #deviceReports(): DeviceReport[] {
    return this.#disks!.reports().map((report) => {
      const failed = report.state === 'failed';
      const free = failed ? 0 : this.#allocator!.freeBlocks(report.number);
      return {
        path: report.name,
        state: failed ? 'failed' : 'ok',
        totalBytes: report.totalBlocks * blockBytes,
        freeBytes: free * blockBytes,
        ...(failed ? { error: report.reason.slice(0, 1000) } : {}),
      };
    });
  }

  /** Also after a failed `open`: takes down what there is. */
  async close(): Promise<void> {
    clearInterval(this.#stateTimer);
    // Replies that are ready leave with this turn.
    this.#reactor.requestTurn();
    await new Promise((resolve) => setImmediate(resolve));
    this.#scrubber?.close();
    this.#target?.close();
    await this.#drained();
    this.#chunks?.close();
    await this.#meta?.close();
    this.#disks?.close();
    this.#engine?.close();
    this.#transport?.shutdown();
    this.#reactor.close();
  }

  async #drained(): Promise<void> {
    const end = performance.now() + DRAIN_MS;
    while (performance.now() < end) {
      const busy = (this.#engine?.outstanding ?? 0) > 0 || this.#chunks?.idle === false;
      if (!busy) return;
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    log('warn', 'reads or writes are still under way; they are left behind');
  }
}

/** For tests of what a server leaves that dies in the middle of a transaction. */
function killPoint(): Pick<TargetDeps, 'faultPoint'> {
  const wish = process.env['SEALFS_KILL_AT'];
  if (wish === undefined) return {};
  return {
    faultPoint: killerOf(wish, () => {
      process.kill(process.pid, 'SIGKILL');
    }),
  };
}

function transportReport(counters: TransportCounters): Record<string, number> {
  const { bytesCopied } = counters;
  return {
    framesSent: counters.framesSent,
    framesReceived: counters.framesReceived,
    bytesSent: counters.bytesSent,
    bytesReceived: counters.bytesReceived,
    bytesCopiedBelow4KiB: bytesCopied.below4KiB,
    bytesCopiedBelow64KiB: bytesCopied.below64KiB,
    bytesCopiedAbove: bytesCopied.above,
    protocolErrors: counters.protocolErrors,
  };
}

/** Room in data.mdb by fallocate; where the file system has none, by writing zeros. */
function allocateAhead(metaDir: string): Allocate {
  const path = join(metaDir, 'data.mdb');
  return (fd, offset, bytes) => {
    const status = fallocate(path, offset, bytes);
    if (status === 0) return;
    const name = errnoName(status);
    if (name !== 'EOPNOTSUPP') throw Object.assign(new Error(`fallocate: ${name}`), { code: name });
    allocateByWriting(fd, offset, bytes);
  };
}

/** The store says whose it is from its first start on. */
function checkIdentity(
  meta: LmdbMetaStore,
  wanted: { clusterId: string; targetId: string },
  metaDir: string,
): void {
  const value = meta.get(IDENTITY);
  if (value === undefined) {
    const identity: Identity = { format: FORMAT_VERSION, ...wanted };
    meta.transaction(() => {
      meta.put(IDENTITY, Buffer.from(JSON.stringify(identity)));
    });
    return;
  }
  const known = JSON.parse(Buffer.from(value).toString()) as Identity;
  if (known.format !== FORMAT_VERSION) {
    throw new SealfsError(
      'UNSUPPORTED',
      `${metaDir} has format ${known.format}; this version reads format ${FORMAT_VERSION}`,
    );
  }
  if (known.clusterId === wanted.clusterId && known.targetId === wanted.targetId) return;
  throw new SealfsError(
    'EXISTS',
    `${metaDir} belongs to target ${known.targetId} of cluster ${known.clusterId}, ` +
      `not to target ${wanted.targetId} of cluster ${wanted.clusterId}`,
  );
}

function failed(error: unknown): void {
  const code = error instanceof SealfsError ? error.code : 'FAILED';
  const message = error instanceof Error ? error.message : String(error);
  post({ kind: 'failed', code, message });
}

async function stop(worker: TargetWorker, started: boolean): Promise<void> {
  try {
    await worker.close();
    if (started) post({ kind: 'stopped' });
  } catch (error) {
    failed(error);
  }
  parentPort!.close();
}

function main(): void {
  const worker = new TargetWorker(workerData as WorkerStart);
  let started = false;
  const giveUp = (error: unknown): void => {
    failed(error);
    void stop(worker, false);
  };
  parentPort!.on('message', (message: ToWorker) => {
    switch (message.kind) {
      case 'start':
        try {
          worker.open(message.clusterId);
          if (message.map !== undefined) worker.target.setMap(message.map);
          started = true;
          worker.run();
        } catch (error) {
          giveUp(error);
        }
        return;
      case 'map':
        if (started) worker.target.setMap(message.map);
        return;
      case 'scrub':
        if (started) worker.scrubber.setWish(message.wish);
        return;
      case 'stop':
        void stop(worker, true);
        return;
    }
  });
  worker.listen().catch(giveUp);
}

main();
