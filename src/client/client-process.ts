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
import { TcpTransport } from '../transport/tcp.js';
import { defaultClientOptions } from './context.js';
import { FileSystemCore } from './core.js';
import { MapWatcher } from './map-watcher.js';
import { VolumeFiles } from './volume-files.js';

export interface ClientProcessOptions {
  managerUrl: string;
  /** As the manager knows it. */
  volume: Volume;
  transport?: 'auto' | 'tcp';
  /** Callers get EIO after a target has been away this long; undefined: they wait (hard). */
  softSeconds?: number | undefined;
  messageSlots?: number;
  bulkSlots?: number;
  /** How long a file's size is believed without asking. */
  sizeFreshMs?: number;
  log?: (message: string) => void;
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
  readonly #transport: TcpTransport;
  readonly #watcher: MapWatcher;
  #closing: Promise<void> | undefined;

  private constructor(options: ClientProcessOptions, manager: ManagerClient, map: ClusterMap) {
    const log = options.log ?? (() => undefined);
    this.arena = new NativeArena({
      messageSlots: options.messageSlots ?? 512,
      bulkSlots: options.bulkSlots ?? 64,
      receiveAreas: 1,
    });
    this.reactor = new Reactor();
    this.#transport = new TcpTransport(this.arena, this.reactor);
    const { softSeconds } = options;
    this.core = new FileSystemCore({
      transport: this.#transport,
      arena: this.arena,
      scheduler: this.reactor,
      map,
      options: {
        ...defaultClientOptions,
        clientName: `${hostname()}:${process.pid}`,
        mode: softSeconds === undefined ? 'hard' : 'soft',
        softTimeoutMs: (softSeconds ?? 30) * 1000,
        sizeFreshMs: options.sizeFreshMs ?? defaultClientOptions.sizeFreshMs,
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

  /** Resolves when the volume's root answers. Rejects with a SealfsError. */
  static async start(options: ClientProcessOptions): Promise<ClientProcess> {
    const manager = new ManagerClient(options.managerUrl);
    const map = await manager.map();
    if (map.members.length === 0) {
      throw new SealfsError('UNAVAILABLE', `the cluster at ${manager.url} has no targets yet`);
    }
    const client = new ClientProcess(options, manager, map);
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
        reject(new SealfsError('UNAVAILABLE', message));
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
    const end = Date.now() + QUIET_TIMEOUT_MS;
    while (this.core.outstanding > 0 && this.core.targetsAway === 0 && Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, QUIET_POLL_MS));
    }
    this.core.close();
    this.reactor.requestTurn();
    // `done` of what was outstanding comes with the connections' end, a turn later.
    await new Promise((resolve) => setTimeout(resolve, QUIET_POLL_MS));
    this.#transport.shutdown();
    await this.#watcher.stop();
    this.reactor.close();
  }
}
