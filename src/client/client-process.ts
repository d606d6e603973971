/**
 * A client in a process of its own: arena, reactor, transport, core and map watcher, put together
 * for a mount and for the command line alike.
 */
import { hostname } from 'node:os';
import { SealfsError } from '../common/errors.js';
import type { ClusterMap, Volume } from '../common/manager-api.js';
import { ManagerClient } from '../common/manager-client.js';
import { NativeArena } from '../native/arena.js';
import { Reactor } from '../native/reactor.js';
import { targetAddress } from '../placement/cluster-map.js';
import { describePlan, openTransports, planTransport } from '../transport/select.js';
import { clientArena } from '../transport/choices.js';
import type { TransportChoice } from '../transport/choices.js';
import type { OpenTransports, TransportPlan } from '../transport/select.js';
import type { Transport } from '../transport/transport.js';
import { defaultClientOptions } from './context.js';
import { FileSystemCore } from './core.js';
import { MapWatcher } from './map-watcher.js';
import { VolumeFiles } from './volume-files.js';

export interface ClientProcessOptions {
  managerUrl: string;
  /** As the manager knows it. */
  volume: Volume;
  /** auto by default. */
  transport?: TransportChoice;
  /** Numeric local address that connections leave from. */
  bind?: string | undefined;
  /** Callers get EIO after a target has been away this long; undefined: they wait (hard). */
  softSeconds?: number | undefined;
  messageSlots?: number;
  bulkSlots?: number;
  /** leases by default: see ClientOptions. */
  coherence?: 'leases' | 'timeout';
  /** How long a file's size is believed without asking. */
  sizeFreshMs?: number;
  /** Reading changes access times, by relatime's rule; true by default. */
  accessTimes?: boolean;
  log?: (message: string) => void;
}

/** What a client stands on. */
interface ClientBase {
  arena: NativeArena;
  reactor: Reactor;
  opened: OpenTransports;
  line: string;
}

async function openBase(plan: TransportPlan, source: string | undefined): Promise<ClientBase> {
  const arena = new NativeArena(plan.shape);
  const reactor = new Reactor();
  try {
    const opened = await openTransports(plan.kinds, arena, reactor, { source });
    const kinds = opened.parts.map((part) => part.kind);
    const note = opened.failure === '' ? plan.note : opened.failure;
    return { arena, reactor, opened, line: describePlan({ ...plan, kinds, note }) };
  } catch (error) {
    reactor.close();
    throw error;
  }
}

/** Nobody waits for a cluster of which no target can ever be reached as things are. */
function checkEndpoints(map: ClusterMap, { kinds }: TransportPlan): void {
  const lacking = map.members.map((member) => targetAddress(member, kinds).unreachable);
  const first = lacking[0];
  if (first === undefined || lacking.includes(undefined)) return;
  throw new SealfsError('UNSUPPORTED', `target ${map.members[0]!.targetId}: ${first}`);
}

/** How long a volume's targets may take to answer when a client starts. */
const ROOT_TIMEOUT_MS = 30_000;
/** How long the last releases may take when it ends. */
const QUIET_TIMEOUT_MS = 1000;
const QUIET_POLL_MS = 5;

export class ClientProcess {
  readonly arena: NativeArena;
  readonly reactor: Reactor;
  readonly core: FileSystemCore;
  readonly files: VolumeFiles;
  /** One line: what data travels by, and why not by something better. */
  readonly transportLine: string;
  readonly transport: Transport;
  readonly #watcher: MapWatcher;
  #closing: Promise<void> | undefined;

  private constructor(
    options: ClientProcessOptions,
    manager: ManagerClient,
    map: ClusterMap,
    base: ClientBase,
  ) {
    const log = options.log ?? (() => undefined);
    this.arena = base.arena;
    this.reactor = base.reactor;
    this.transport = base.opened.transport;
    this.transportLine = base.line;
    const { softSeconds } = options;
    this.core = new FileSystemCore({
      transport: this.transport,
      arena: this.arena,
      scheduler: this.reactor,
      map,
      options: {
        ...defaultClientOptions,
        clientName: `${hostname()}:${process.pid}`,
        mode: softSeconds === undefined ? 'hard' : 'soft',
        softTimeoutMs: (softSeconds ?? 30) * 1000,
        coherence: options.coherence ?? 'leases',
        sizeFreshMs: options.sizeFreshMs ?? defaultClientOptions.sizeFreshMs,
        accessTimes: options.accessTimes ?? defaultClientOptions.accessTimes,
        log,
      },
    });
    const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
    this.files = new VolumeFiles(this.core, this.arena, options.volume.rootInode, owner);
    const onMap = (newer: ClusterMap): void => {
      this.core.setMap(newer);
    };
    this.#watcher = new MapWatcher(manager, map.epoch, onMap, log);
  }

  /**
   * Resolves when the volume's root answers. Rejects with a SealfsError: USAGE when rdma is insisted
   * on and this machine has none.
   */
  static async start(options: ClientProcessOptions): Promise<ClientProcess> {
    const plan = planTransport({
      choice: options.transport ?? 'auto',
      role: 'client',
      shape: {
        messageSlots: options.messageSlots ?? clientArena.messageSlots,
        bulkSlots: options.bulkSlots ?? clientArena.bulkSlots,
      },
    });
    const manager = new ManagerClient(options.managerUrl);
    const map = await manager.map();
    if (map.members.length === 0) {
      throw new SealfsError('UNAVAILABLE', `the cluster at ${manager.url} has no targets yet`);
    }
    checkEndpoints(map, plan);
    const client = new ClientProcess(options, manager, map, await openBase(plan, options.bind));
    try {
      await client.#ensureRoot(options.volume.name);
    } catch (error) {
      await client.close();
      throw error;
    }
    return client;
  }

  async #ensureRoot(volumeName: string): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const seconds = ROOT_TIMEOUT_MS / 1000;
        const message = `no answer from the servers of volume '${volumeName}' in ${seconds} s`;
        const failing = this.core.targets().find(({ failure }) => failure !== undefined);
        const why = failing === undefined ? '' : ` (${failing.targetId}: ${failing.failure})`;
        reject(new SealfsError('UNAVAILABLE', message + why));
      }, ROOT_TIMEOUT_MS);
    });
    const ensured = this.files.ensureRoot();
    // Rejected a second time by close, when nobody listens any more.
    ensured.catch(() => undefined);
    try {
      await Promise.race([ensured, late]);
    } catch (error) {
      if (error instanceof SealfsError) throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new SealfsError('UNAVAILABLE', `volume '${volumeName}' cannot be used: ${why}`, {
        cause: error,
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets the last messages out, fails what is left, closes everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.core.flushAccessTimes();
    await this.#quiet();
    this.core.endSessions();
    this.reactor.requestTurn();
    await this.#quiet();
    this.core.close();
    this.reactor.requestTurn();
    // `done` of what was outstanding comes with the connections' end, a turn later.
    await new Promise((resolve) => setTimeout(resolve, QUIET_POLL_MS));
    this.transport.shutdown();
    await this.#watcher.stop();
    this.reactor.close();
  }

  /** Until all is answered, or it takes too long. */
  async #quiet(): Promise<void> {
    const end = Date.now() + QUIET_TIMEOUT_MS;
    while (this.core.outstanding > 0 && this.core.targetsAway === 0 && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_POLL_MS));
    }
  }
}
