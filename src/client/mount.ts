/**
 * A mounted volume: the client process with the FUSE front end. The mount lives until `unmount`,
 * or until somebody unmounts it from outside; `ended` tells.
 */
import type { FuseInfo } from '../native/fuse.js';
import { FuseSession } from '../native/fuse.js';
import type { FuseCounters } from '../native/fuse.js';
import type { ReactorCounters } from '../native/reactor.js';
import { SealfsError } from '../common/errors.js';
import { ClientProcess } from './client-process.js';
import type { ClientProcessOptions } from './client-process.js';
import type { ClientCounters, TargetConnection } from './context.js';
import { KernelValidity } from './leases/kernel-validity.js';
import { Interception } from './interception.js';
import type { InterceptCounters } from '../native/intercept.js';
import type { LeaseCounters } from './leases/leases.js';
import { FuseFront, defaultFuseFrontOptions } from './fuse-front.js';

/** What a mount says of itself; pino's loggers fit. */
export interface MountLog {
  info(message: string): void;
  warn(message: string): void;
}

export interface MountOptions extends Omit<ClientProcessOptions, 'log'> {
  mountPoint: string;
  /**
   * leases (default): what others change is seen at once; timeout: after at most the following times.
   * Either of these given means timeout.
   */
  coherence?: 'leases' | 'timeout';
  /** How long the kernel may use attributes and names without asking; 1 by default. */
  attrSeconds?: number;
  entrySeconds?: number;
  /** auto: the kernel caches files that no other client has open; under leases alone. Default off. */
  cache?: 'auto' | 'off';
  readOnly?: boolean;
  allowOther?: boolean;
  /** For mount(2): suid, nosuid, dev, … Default: as of any mount, suid and dev for root. */
  kernelOptions?: string[];
  /** Reading changes no access time. Always so for a mount that is read-only. */
  noatime?: boolean;
  /** Permissions are the mode's alone. */
  noacl?: boolean;
  /** Other file systems are mounted on the volume where this process cannot see it: the kernel is told no names. */
  submounts?: boolean;
  /** fcntl and flock locks hold among the processes of this mount alone: the kernel keeps them. */
  localLocks?: boolean;
  /** See FuseFrontOptions. */
  directIo?: 'auto' | 'on' | 'off';
  log?: MountLog;
}

export interface MountStats {
  fuse: FuseCounters;
  /** The kernel's requests by name. */
  operations: Record<string, number>;
  client: ClientCounters;
  leases: LeaseCounters;
  /** Absent where programs cannot be intercepted. */
  intercept?: InterceptCounters & { attached: number };
  /** Calls to targets since the mount began. */
  requests: number;
  /** The same by opcode. */
  requestsOf: Record<string, number>;
  /** Frames that carried them. */
  framesSent: number;
  /** Of these, the ends of uses of files, which nobody waits for. */
  releases: number;
  reactor: ReactorCounters;
  openHandles: number;
  openFiles: number;
  targetsAway: number;
  mapEpoch: number;
  targets: TargetConnection[];
}

export interface Mount {
  readonly mountPoint: string;
  /** Resolves with the reason, when the mount has gone and everything is closed. */
  readonly ended: Promise<string>;
  /** Unmounts, lazily if it is in use: users who are left get errors. Always works. */
  unmount(): Promise<void>;
  stats(): MountStats;
}

const READY_TIMEOUT_MS = 10_000;

/** Resolves when the mount serves. Rejects with UsageError (mount point) or SealfsError. */
export async function startMount(options: MountOptions): Promise<Mount> {
  const { log } = options;
  const client = await ClientProcess.start({
    ...options,
    coherence: coherenceOf(options),
    sizeFreshMs: (options.attrSeconds ?? 1) * 1000,
    accessTimes: options.noatime !== true && options.readOnly !== true,
    log: (message) => log?.warn(message),
  });
  log?.info(client.transportLine);
  try {
    return await ActiveMount.start(client, options);
  } catch (error) {
    await client.close();
    throw error;
  }
}

function coherenceOf(options: MountOptions): 'leases' | 'timeout' {
  const timed = options.attrSeconds !== undefined || options.entrySeconds !== undefined;
  return options.coherence ?? (timed ? 'timeout' : 'leases');
}

/** libfuse begins with nosuid and nodev, and refuses others to users. */
function defaultKernelOptions(): string[] {
  return process.getuid?.() === 0 ? ['suid', 'dev'] : [];
}

class ActiveMount implements Mount {
  readonly mountPoint: string;
  readonly ended: Promise<string>;
  readonly #client: ClientProcess;
  readonly #front: FuseFront;
  readonly #session: FuseSession;
  #interception: Interception | undefined;
  #reportEnd: (reason: string) => void = () => undefined;
  #ending: Promise<void> | undefined;

  private constructor(client: ClientProcess, options: MountOptions) {
    this.#client = client;
    this.mountPoint = options.mountPoint;
    this.ended = new Promise((resolve) => {
      this.#reportEnd = resolve;
    });
    // Under leases: of what the core says nothing of.
    const leased = coherenceOf(options) === 'leases';
    const timeoutMs = (seconds: number | undefined): number =>
      leased ? 0 : Math.round((seconds ?? 1) * 1000);
    this.#front = new FuseFront(client.core, client.arena, client.reactor, {
      ...defaultFuseFrontOptions,
      attributesTimeoutMs: timeoutMs(options.attrSeconds),
      entryTimeoutMs: timeoutMs(options.entrySeconds),
      directIo: options.directIo ?? 'auto',
    });
    this.#session = new FuseSession(
      client.reactor,
      client.arena,
      {
        mountpoint: options.mountPoint,
        filesystemName: `sealfs:${options.volume.name}`,
        rootInode: options.volume.rootInode,
        readOnly: options.readOnly ?? false,
        posixAcl: options.noacl !== true,
        locks: options.localLocks !== true,
        ...(options.allowOther === true ? { allowOther: true } : {}),
        mountOptions: [...defaultKernelOptions(), ...(options.kernelOptions ?? [])],
      },
      this.#front,
    );
    if (leased) {
      this.#front.validity = new KernelValidity(() => client.reactor.nowMs());
    }
    this.#front.onKernelNotified = (number) => {
      client.core.recalls.written(number);
      this.#interception?.written(number);
    };
    this.#front.onKernelPagesDropped = (number) => this.#interception?.pagesDropped(number);
    this.#front.onGone = (reason) => {
      this.#front.validity?.ended();
      client.core.recalls.setKernel(null);
      // Not from inside the session's own turn.
      setImmediate(() => void this.#end(reason));
    };
  }

  static async start(client: ClientProcess, options: MountOptions): Promise<ActiveMount> {
    const mount = new ActiveMount(client, options);
    const ready = new Promise<FuseInfo>((resolve, reject) => {
      mount.#front.onMounted = resolve;
      setTimeout(() => {
        reject(new SealfsError('FAILED', `the kernel does not answer at ${mount.mountPoint}`));
      }, READY_TIMEOUT_MS).unref();
    });
    mount.#session.mount();
    try {
      const info = await ready;
      const tellsNames = info.epochNotify && options.submounts !== true;
      mount.#front.validity?.ready(mount.#session, tellsNames);
      client.core.recalls.setKernel(mount.#front.validity);
      if (mount.#front.openFlags === 0 && !info.directIoMmap) {
        const why = 'this kernel cannot map files of direct I/O';
        options.log?.info(`data goes through the page cache: ${why}`);
      }
      mount.#cachePages(info, options);
      mount.#offerInterception(options);
    } catch (error) {
      mount.#session.close();
      throw error;
    }
    return mount;
  }

  #cachePages(info: FuseInfo, options: MountOptions): void {
    if (options.cache !== 'auto' || this.#front.validity === null) return;
    if (info.directIoMmap && info.autoInvalidData && options.directIo !== 'off') {
      this.#front.cachePages((inode) => this.#session.notifyPages(inode));
    } else {
      options.log?.info('cache=auto has no effect with this kernel');
    }
  }

  #offerInterception(options: MountOptions): void {
    const mount = {
      mountPoint: this.#session.mountpoint,
      rootInode: options.volume.rootInode,
      // As the session has it: a mount of root's is for everybody.
      allowOther: options.allowOther === true || process.getuid?.() === 0,
      validity: this.#front.validity,
      directIo: this.#front.openFlags !== 0,
      cachesPages: this.#client.core.pages.enabled,
      dropPages: (inode: number): number => this.#session.notifyPages(inode),
      mayKnow: (directory: number): boolean => this.#front.directories.mayHave(directory),
    };
    this.#interception = Interception.offer(this.#client, mount, (message) =>
      options.log?.info(message),
    );
  }

  async unmount(): Promise<void> {
    if (this.#ending === undefined) {
      try {
        await this.#session.unmount({ lazy: true });
      } finally {
        await this.#end('unmounted');
      }
    } else {
      await this.#ending;
    }
  }

  #end(reason: string): Promise<void> {
    this.#ending ??= this.#close(reason);
    return this.#ending;
  }

  async #close(reason: string): Promise<void> {
    this.#interception?.close();
    this.#session.close();
    await this.#client.close();
    this.#reportEnd(reason);
  }

  stats(): MountStats {
    const { core, reactor } = this.#client;
    return {
      fuse: this.#session.counters,
      operations: this.#front.operations,
      client: core.counters,
      leases: core.leases,
      ...(this.#interception === undefined ? {} : { intercept: this.#interception.counters }),
      requests: core.requests,
      requestsOf: core.requestsOf,
      framesSent: core.framesSent,
      releases: core.releases,
      reactor: reactor.counters,
      openHandles: core.openHandles,
      openFiles: core.openFiles,
      targetsAway: core.targetsAway,
      mapEpoch: core.mapEpoch,
      targets: core.targets(),
    };
  }
}
