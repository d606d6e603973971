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
import { FuseFront, defaultFuseFrontOptions } from './fuse-front.js';

/** What a mount says of itself; pino's loggers fit. */
export interface MountLog {
  info(message: string): void;
  warn(message: string): void;
}

export interface MountOptions extends Omit<ClientProcessOptions, 'log'> {
  mountPoint: string;
  /** How long the kernel may use attributes and names without asking; 1 by default. */
  attrSeconds?: number;
  entrySeconds?: number;
  readOnly?: boolean;
  allowOther?: boolean;
  /** For mount(2): suid, nosuid, dev, … Default: as of any mount, suid and dev for root. */
  kernelOptions?: string[];
  /** Reading changes no access time. Always so for a mount that is read-only. */
  noatime?: boolean;
  /** Permissions are the mode's alone. */
  noacl?: boolean;
  /** See FuseFrontOptions. */
  directIo?: 'auto' | 'on' | 'off';
  log?: MountLog;
}

export interface MountStats {
  fuse: FuseCounters;
  client: ClientCounters;
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
  const attributesMs = (options.attrSeconds ?? 1) * 1000;
  const client = await ClientProcess.start({
    ...options,
    sizeFreshMs: attributesMs,
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
  #reportEnd: (reason: string) => void = () => undefined;
  #ending: Promise<void> | undefined;

  private constructor(client: ClientProcess, options: MountOptions) {
    this.#client = client;
    this.mountPoint = options.mountPoint;
    this.ended = new Promise((resolve) => {
      this.#reportEnd = resolve;
    });
    this.#front = new FuseFront(client.core, client.arena, client.reactor, {
      ...defaultFuseFrontOptions,
      attributesTimeoutMs: Math.round((options.attrSeconds ?? 1) * 1000),
      entryTimeoutMs: Math.round((options.entrySeconds ?? 1) * 1000),
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
        ...(options.allowOther === true ? { allowOther: true } : {}),
        mountOptions: [...defaultKernelOptions(), ...(options.kernelOptions ?? [])],
      },
      this.#front,
    );
    this.#front.onGone = (reason) => {
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
      if (mount.#front.openFlags === 0 && !info.directIoMmap) {
        const why = 'this kernel cannot map files of direct I/O';
        options.log?.info(`data goes through the page cache: ${why}`);
      }
    } catch (error) {
      mount.#session.close();
      throw error;
    }
    return mount;
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
    this.#session.close();
    await this.#client.close();
    this.#reportEnd(reason);
  }

  stats(): MountStats {
    const { core, reactor } = this.#client;
    return {
      fuse: this.#session.counters,
      client: core.counters,
      reactor: reactor.counters,
      openHandles: core.openHandles,
      openFiles: core.openFiles,
      targetsAway: core.targetsAway,
      mapEpoch: core.mapEpoch,
      targets: core.targets(),
    };
  }
}
