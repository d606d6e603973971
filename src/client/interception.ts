/**
 * Interception as a part of a mount: whether this mount can offer it, and the host and its front end put
 * together. It never keeps a mount from working: what is missing is said once.
 */
import { InterceptHost } from '../native/intercept.js';
import type { InterceptCounters } from '../native/intercept.js';
import type { ClientProcess } from './client-process.js';
import { InterceptFront } from './intercept-front.js';
import type { KernelValidity } from './leases/kernel-validity.js';

/** As the FUSE front end leaves them: to writes of the kernel, and to the RPC layer. */
const KEEP_BULK_SLOTS = 8;
const KEEP_MESSAGE_SLOTS = 160;

/** What of a mount matters here. */
export interface InterceptableMount {
  mountPoint: string;
  rootInode: number;
  allowOther: boolean;
  /** Null: what the kernel remembers cannot be made to be forgotten (coherence=timeout). */
  validity: KernelValidity | null;
  directIo: boolean;
  /** The kernel may keep pages of files. */
  cachesPages: boolean;
  /** FuseSession.notifyPages. */
  dropPages(inode: number): number;
  /** The kernel may have heard of the directory. */
  mayKnow(directory: number): boolean;
}

/** Why programs on this mount cannot be intercepted; '' if they can. */
function reasonAgainst(mount: InterceptableMount): string {
  if (mount.validity === null) return 'needs coherence=leases';
  if (!mount.directIo) return 'needs direct I/O';
  return mount.cachesPages ? 'cache=auto leaves data to the kernel' : '';
}

export class Interception {
  readonly #host: InterceptHost;
  readonly #front: InterceptFront;

  private constructor(client: ClientProcess, mount: InterceptableMount, validity: KernelValidity) {
    const { core, arena, reactor } = client;
    this.#front = new InterceptFront({
      core,
      arena,
      answer: (call, status, value) => {
        this.#host.answer(call, status, value);
      },
      forgetChanged: (inode) => validity.forgetChanged(inode),
      forgetChangedNames: (directory) => validity.forgetChangedNames(directory),
      dropPages: (inode) => mount.dropPages(inode),
      mayKnow: (directory) => mount.mayKnow(directory),
    });
    this.#host = new InterceptHost(
      reactor,
      arena,
      {
        mountPoint: mount.mountPoint,
        rootInode: mount.rootInode,
        anyUser: mount.allowOther,
        keepBulkSlots: KEEP_BULK_SLOTS,
        keepMessageSlots: KEEP_MESSAGE_SLOTS,
      },
      (call) => {
        this.#front.onCall(call);
      },
    );
    core.showVersions(this.#host.versions);
  }

  /** Undefined, and `log` has heard why, when it cannot be offered. */
  static offer(
    client: ClientProcess,
    mount: InterceptableMount,
    log: (message: string) => void,
  ): Interception | undefined {
    const why = reasonAgainst(mount);
    if (why !== '' || mount.validity === null) {
      log(`programs cannot be intercepted: ${why}`);
      return undefined;
    }
    try {
      return new Interception(client, mount, mount.validity);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      log(`programs cannot be intercepted: ${message}`);
      return undefined;
    }
  }

  /** Of the FUSE session. */
  written(number: number): void {
    this.#front.written(number);
  }

  /** Of the FUSE session. */
  pagesDropped(number: number): void {
    this.#front.pagesDropped(number);
  }

  get counters(): InterceptCounters & { attached: number } {
    return { ...this.#host.counters, attached: this.#front.programs };
  }

  close(): void {
    this.#host.close();
  }
}
