/**
 * A server process: its targets, a worker thread each, and its side of the talk with the manager.
 *
 *   lock the metadata directory ─> threads listen ─> cluster known? ── no ─> ask the manager
 *     ─> threads open and serve (with the last map, if there is one) ─> register ─> ready
 *     ─> heartbeats, map updates … ─> close: threads flush and end
 *
 * Without the manager a server that knows its cluster starts with the map it saw last and goes on
 * trying to register. A target that dies takes the process with it: no half server.
 */
import { networkInterfaces } from 'node:os';
import { connect, isIP, type Server as NetServer } from 'node:net';
import { SealfsError } from '../common/errors.js';
import type { Logger } from '../common/log.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { formatEndpoint } from '../placement/endpoint.js';
import { ManagerClient } from '../common/manager-client.js';
import { heartbeatIntervalMs } from '../common/manager-api.js';
import type { Durability } from './committer.js';
import { isDax } from '../native/extent.js';
import { devicesOfTarget, type DataPath } from './data-places.js';
import {
  loadMap,
  loadServerIdentity,
  lockDirectory,
  saveMap,
  saveServerIdentity,
  type ServerIdentity,
} from './server-identity.js';
import { TargetThread } from './target-thread.js';
import { readRdmaState, usableDevices } from '../native/rdma-state.js';
import { describePlan, isWildcard, planTransport } from '../transport/select.js';
import type { TransportChoice } from '../transport/choices.js';
import type { TransportPlan } from '../transport/select.js';
import { join } from 'node:path';

export interface ServerOptions {
  managerUrl: string;
  /** Existing directory. */
  metaDir: string;
  data: readonly DataPath[];
  targets: number;
  host: string;
  /** Of the first target, the others follow; 0: any free ones. */
  port: number;
  transport: TransportChoice;
  /** Numeric local address that connections to other targets leave from. */
  bind?: string | undefined;
  /** Default: commit on persistent memory, else fsync. */
  durability?: Durability;
  /** Bytes of removed files that a target gives back a second, about; 8 GiB by default. */
  reclaimRate?: number;
  /** Entries of a directory that is split; 8,000 by default. */
  splitEntries?: number;
  log: Logger;
  /** A target died. Default: log and end the process with status 1. */
  onFatal?: (reason: string) => void;
  /** How long a server that knows no cluster yet looks for its manager; 10,000 by default. */
  firstContactMs?: number;
}

const FIRST_CONTACT_MS = 10_000;
const RETRY_MS = 500;
const GIBIBYTE = 2 ** 30;
/** Of each target. */
const ARENA = { messageSlots: 512, bulkSlots: 64 };
const WEIGHT_MAX = 1e6;

/** Resolves when all targets serve and, if the manager is there, are registered. */
export async function startServer(options: ServerOptions): Promise<SealfsServer> {
  // First: what cannot be had is told before anything is touched.
  const plan = planTransport({
    choice: options.transport,
    role: 'server',
    shape: ARENA,
    arenas: options.targets,
    host: options.host,
  });
  const lock = await lockDirectory(options.metaDir);
  const server = new SealfsServer(options, plan, lock);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.abandon();
    throw error;
  }
}

export class SealfsServer {
  readonly #options: ServerOptions;
  readonly #lock: NetServer;
  readonly #manager: ManagerClient;
  readonly #log: Logger;
  readonly #abort = new AbortController();
  #identity: ServerIdentity | undefined;
  #threads: TargetThread[] = [];
  #map: ClusterMap | undefined;
  readonly #plan: TransportPlan;
  #advertisedHost = '';
  #rdmaHost = '';
  #registered = false;
  #registering = false;
  #beating = false;
  #heartbeat: NodeJS.Timeout | undefined;
  #managerAway = false;
  #closing = false;

  /** Of `startServer`. */
  constructor(options: ServerOptions, plan: TransportPlan, lock: NetServer) {
    this.#options = options;
    this.#lock = lock;
    this.#log = options.log;
    this.#manager = new ManagerClient(options.managerUrl);
    this.#plan = plan;
  }

  get serverId(): string {
    return this.#identity!.serverId;
  }

  /** Bound ports, in order of targets; of tcp unless rdma is alone. */
  get ports(): number[] {
    return this.#threads.map((thread) => thread.endpoints.at(-1)!.port);
  }

  async start(): Promise<void> {
    const { metaDir, targets } = this.#options;
    const identity = loadServerIdentity(metaDir, targets);
    this.#identity = identity;
    this.#map = loadMap(metaDir);
    this.#startThreads(identity);
    await Promise.all(this.#threads.map((thread) => thread.listening()));
    const clusterId = identity.clusterId ?? (await this.#findCluster());
    await Promise.all(this.#threads.map((thread) => thread.run(clusterId, this.#map)));
    this.#advertisedHost = await advertisedHost(this.#options);
    this.#rdmaHost = rdmaHost(this.#options.host, this.#advertisedHost, this.#plan);
    this.#keepIdentity(clusterId);
    await this.#registerFirst();
    this.#heartbeat = setInterval(() => {
      void this.#beat();
    }, heartbeatIntervalMs);
    this.#watch();
  }

  #startThreads(identity: ServerIdentity): void {
    const { metaDir, data, targets, host, port } = this.#options;
    const persistentMemory = isDax(metaDir);
    const durability = this.#options.durability ?? (persistentMemory ? 'commit' : 'fsync');
    const plan = this.#plan;
    this.#log.info(describePlan(plan));
    this.#log.info(durabilityLine(this.#options.durability, persistentMemory));
    this.#threads = identity.targets.map(({ targetId }, index) => {
      const start = {
        index,
        targetId,
        metaDir: join(metaDir, `target-${index}`),
        devices: devicesOfTarget(data, index, targets),
        host,
        port: port === 0 ? 0 : port + index,
        transports: plan.kinds,
        arena: plan.shape,
        source: this.#options.bind,
        durability,
        reclaimRate: this.#options.reclaimRate,
        splitEntries: this.#options.splitEntries,
        persistentMemory,
      };
      return new TargetThread(start, {
        log: (level, message) => {
          this.#log[level]({ target: index }, message);
        },
        died: (reason) => {
          this.#fatal(`target ${index} died: ${reason}`);
        },
      });
    });
  }

  /** A fresh server belongs to the cluster of the manager that it is started with. */
  async #findCluster(): Promise<string> {
    const end = performance.now() + (this.#options.firstContactMs ?? FIRST_CONTACT_MS);
    for (;;) {
      try {
        return (await this.#manager.map()).clusterId;
      } catch (error) {
        const away = error instanceof SealfsError && error.code === 'UNAVAILABLE';
        if (!away || performance.now() > end) throw error;
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      }
    }
  }

  #keepIdentity(clusterId: string): void {
    const identity = this.#identity!;
    identity.clusterId = clusterId;
    for (const [index, target] of identity.targets.entries()) {
      const gibibytes = (this.#threads[index]!.state?.totalBytes ?? 0) / GIBIBYTE;
      // For ever: buckets are placed by it.
      target.weight ??= Math.min(WEIGHT_MAX, Math.max(0.01, gibibytes));
    }
    saveServerIdentity(this.#options.metaDir, identity);
  }

  async #registerFirst(): Promise<void> {
    try {
      await this.#register();
    } catch (error) {
      const away = error instanceof SealfsError && error.code === 'UNAVAILABLE';
      if (!away || this.#map === undefined) throw error;
      this.#managerAway = true;
      this.#log.warn(`${error.message}; serving with the map of epoch ${this.#map.epoch}`);
    }
  }

  async #register(): Promise<void> {
    if (this.#registering) return;
    this.#registering = true;
    const identity = this.#identity!;
    try {
      const reply = await this.#manager.register({
        serverId: identity.serverId,
        ...(identity.clusterId === undefined ? {} : { clusterId: identity.clusterId }),
        targets: this.#threads.map((thread, index) => ({
          targetId: thread.start.targetId,
          endpoints: thread.endpoints.map(({ kind, port }) => {
            const host = kind === 'rdma' ? this.#rdmaHost : this.#advertisedHost;
            return formatEndpoint({ transport: kind, host, port });
          }),
          weight: identity.targets[index]!.weight ?? 1,
          totalBytes: thread.state!.totalBytes,
          freeBytes: thread.state!.freeBytes,
          devices: thread.state!.devices,
        })),
      });
      this.#registered = true;
      this.#log.info(`registered with ${this.#manager.url} (epoch ${reply.map.epoch})`);
      this.#takeMap(reply.map);
    } finally {
      this.#registering = false;
    }
  }

  #takeMap(map: ClusterMap): void {
    if (this.#closing) return;
    const known = this.#map;
    if (known !== undefined) {
      if (map.clusterId !== known.clusterId) {
        this.#log.error(`a map of another cluster (${map.clusterId}) is ignored`);
        return;
      }
      if (map.epoch <= known.epoch) return;
    }
    this.#map = map;
    saveMap(this.#options.metaDir, map);
    for (const thread of this.#threads) thread.setMap(map);
    this.#log.info(`cluster map of epoch ${map.epoch}: ${map.members.length} members`);
  }

  async #beat(): Promise<void> {
    if (this.#beating || this.#closing) return;
    this.#beating = true;
    try {
      if (!this.#registered) await this.#register();
      const reply = await this.#manager.heartbeat(this.serverId, {
        epoch: this.#map?.epoch ?? 0,
        targets: this.#threads.map(({ start, state }) => ({
          targetId: start.targetId,
          totalBytes: state!.totalBytes,
          freeBytes: state!.freeBytes,
          inodes: state!.inodes,
          devices: state!.devices,
          counters: state!.counters,
          scrub: state!.scrub,
        })),
      });
      if (reply.map !== undefined) this.#takeMap(reply.map);
      if (reply.scrub !== undefined) {
        for (const thread of this.#threads) thread.setScrub(reply.scrub);
      }
      if (this.#managerAway) this.#log.info('the manager is back');
      this.#managerAway = false;
    } catch (error) {
      this.#beatFailed(error);
    } finally {
      this.#beating = false;
    }
  }

  #beatFailed(error: unknown): void {
    if (this.#closing) return;
    const code = error instanceof SealfsError ? error.code : 'FAILED';
    const message = error instanceof Error ? error.message : String(error);
    // A manager that does not know us (it lost its state, or it is another): say who we are.
    if (code === 'NOT_FOUND') this.#registered = false;
    if (!this.#managerAway) this.#log.warn(`heartbeat: ${message}`);
    this.#managerAway = true;
  }

  #watch(): void {
    const take = (map: ClusterMap): void => {
      this.#takeMap(map);
    };
    const { signal } = this.#abort;
    this.#manager.watch(this.#map?.epoch ?? 0, take, { signal }).catch((error: unknown) => {
      this.#fatal(`the watch of the cluster map ended: ${String(error)}`);
    });
  }

  #fatal(reason: string): void {
    if (this.#closing) return;
    const end = (why: string): void => {
      this.#log.fatal(why);
      process.exit(1);
    };
    (this.#options.onFatal ?? end)(reason);
  }

  /** Answers what is under way, makes everything power-safe, and lets go of all. */
  async close(): Promise<void> {
    if (this.#closing) return;
    this.#stopTalking();
    const stopped = await Promise.allSettled(this.#threads.map((thread) => thread.stop()));
    this.#lock.close();
    const failure = stopped.find((result) => result.status === 'rejected');
    if (failure !== undefined) throw failure.reason;
  }

  /** After a failed start: as `close`, without complaint. */
  async abandon(): Promise<void> {
    this.#stopTalking();
    await Promise.allSettled(this.#threads.map((thread) => thread.stop()));
    this.#lock.close();
  }

  #stopTalking(): void {
    this.#closing = true;
    clearInterval(this.#heartbeat);
    this.#abort.abort();
  }
}

/** What the log says of `--durability` as given, and of the choice where it was not. */
export function durabilityLine(given: Durability | undefined, persistentMemory: boolean): string {
  const place = persistentMemory ? 'persistent memory (DAX)' : 'a file system without DAX';
  const durability = given ?? (persistentMemory ? 'commit' : 'fsync');
  const what =
    durability === 'commit' ? 'every answer is power-safe' : 'power-safe is what was fsynced';
  const why = given === undefined ? 'the default there' : 'as asked';
  return `durability: ${durability} (${what}); metadata on ${place}, ${why}`;
}

/** As `advertisedHost`, for rdma: with a wildcard an address that an RDMA device has. */
function rdmaHost(host: string, advertised: string, plan: TransportPlan): string {
  if (!isWildcard(host) || !plan.kinds.includes('rdma')) return advertised;
  const addresses = usableDevices(readRdmaState()).flatMap((device) => device.addresses);
  return addresses.includes(advertised) ? advertised : (addresses[0] ?? advertised);
}

/** Where others reach a listener on `host`: itself, or for a wildcard this machine's address. */
async function advertisedHost(options: ServerOptions): Promise<string> {
  const { host, managerUrl } = options;
  if (!isWildcard(host)) return host;
  return (await addressTowards(managerUrl)) ?? firstAddress() ?? '127.0.0.1';
}

/** The local address of a connection to the manager: what the manager's network knows us by. */
function addressTowards(managerUrl: string): Promise<string | undefined> {
  const { hostname, port } = new URL(
    /^[a-z]+:\/\//i.test(managerUrl) ? managerUrl : `http://${managerUrl}`,
  );
  return new Promise((resolve) => {
    const socket = connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || 80 });
    const finish = (address: string | undefined): void => {
      socket.destroy();
      resolve(address);
    };
    socket.setTimeout(RETRY_MS * 2, () => {
      finish(undefined);
    });
    socket.once('error', () => {
      finish(undefined);
    });
    socket.once('connect', () => {
      const address = socket.localAddress?.replace(/^::ffff:/, '');
      finish(address !== undefined && isIP(address) !== 0 ? address : undefined);
    });
  });
}

function firstAddress(): string | undefined {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (!address.internal && address.family === 'IPv4') return address.address;
    }
  }
  return undefined;
}
