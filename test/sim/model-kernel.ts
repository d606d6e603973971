/**
 * What a kernel remembers of a mount, in the simulator: names (absent ones too) and attributes, each for as long
 * as it was told to, and forgets when it is told to, a little later, as the thread of notices does it. As in
 * Linux an answer does not count whose request began before what it is about was invalidated, and
 * a change of its own makes it forget what it concerns.
 */
import { AfterNotices } from '../../src/client/after-notices.js';
import { KernelValidity } from '../../src/client/leases/kernel-validity.js';
import type { KernelNotices } from '../../src/client/leases/kernel-validity.js';
import { WrittenNotices } from '../../src/client/leases/written-notices.js';
import type { SimRandom } from '../../src/transport/sim/sim-random.js';
import type { SimClient, SimCluster } from './cluster.js';
import type { Result } from './name-space.js';

const NOTICE_DELAY_MS = 2;

interface Name {
  inode: number;
  untilMs: number;
  epoch: number;
}

interface Known {
  result: Result;
  untilMs: number;
}

/** A rename that ends when names are forgotten. */
interface Renamed {
  forget: () => number;
  end: () => void;
}

/** When a request began: what is answered to it may be kept if nothing has changed since. */
export interface Began {
  epoch: number;
  event: number;
}

export class ModelKernel implements KernelNotices {
  /** Questions that were answered without a request. */
  answered = 0;
  readonly #cluster: SimCluster;
  readonly #client: SimClient;
  readonly #random: SimRandom;
  readonly #validity: KernelValidity;
  readonly #names = new Map<string, Name>();
  readonly #attributes = new Map<number, Known>();
  /** Number of the event that invalidated an inode, or a name, last. */
  readonly #invalidated = new Map<number | string, number>();
  /** Changes under way, by what they concern. */
  readonly #busy = new Map<number | string, number>();
  /** As in FuseFront. */
  readonly #untold = new AfterNotices<Renamed>(
    (_, { forget }) => forget(),
    ({ end }) => {
      end();
    },
  );
  readonly #written: WrittenNotices;
  #wasKept = false;
  #events = 0;
  #epoch = 0;
  /** Something is mounted on the volume: names cannot be made to be forgotten. */
  isCovered = false;
  #issued = 0;
  #lastMs = 0;

  constructor(cluster: SimCluster, client: SimClient, random: SimRandom) {
    this.#cluster = cluster;
    this.#client = client;
    this.#random = random;
    this.#validity = new KernelValidity(() => client.scheduler.nowMs());
    this.#validity.ready(this, true);
    this.#written = new WrittenNotices(this.#validity, client.scheduler, (number) => {
      client.core.recalls.written(number);
      this.#untold.written(number);
    });
    client.core.recalls.setKernel(this.#validity);
  }

  #notice(forget: () => void): number {
    const number = ++this.#issued;
    const { world } = this.#cluster;
    const atMs = Math.max(this.#lastMs, world.nowMs + this.#random.next() * NOTICE_DELAY_MS);
    this.#lastMs = atMs;
    world.schedule(atMs - world.nowMs, () => {
      forget();
      const kept = this.#wasKept;
      this.#wasKept = false;
      this.#client.scheduler.deliver(() => {
        if (kept) this.#validity.namesKept();
        this.#written.written(number);
      });
    });
    return number;
  }

  notifyInode(inode: number): number {
    return this.#notice(() => {
      this.#forget(inode);
      // As the addon does for inodes that the kernel does not know.
      this.#raiseEpoch();
    });
  }

  notifyEpoch(): number {
    return this.#notice(() => {
      this.#raiseEpoch();
    });
  }

  #raiseEpoch(): void {
    if (this.isCovered) this.#wasKept = true;
    else this.#epoch++;
  }

  #forget(what: number | string): void {
    this.#invalidated.set(what, ++this.#events);
    if (typeof what === 'number') this.#attributes.delete(what);
    else this.#names.delete(what);
  }

  static nameOf(directory: number, name: string): string {
    return `${directory}/${name}`;
  }

  begin(): Began {
    return { epoch: this.#epoch, event: this.#events };
  }

  #isOld(what: number | string, began: Began): boolean {
    return (this.#invalidated.get(what) ?? 0) > began.event || (this.#busy.get(what) ?? 0) > 0;
  }

  /** An answer: the name has this inode, 0: it is absent. */
  tookName(began: Began, directory: number, name: string, inode: number, validMs: number): void {
    const forMs = this.#validity.nameMs(directory, validMs);
    const key = ModelKernel.nameOf(directory, name);
    if (forMs <= 0 || this.#isOld(key, began)) return;
    const untilMs = this.#cluster.world.nowMs + forMs;
    this.#names.set(key, { inode, untilMs, epoch: began.epoch });
  }

  tookAttributes(began: Began, inode: number, result: Result, validMs: number): void {
    const forMs = this.#validity.attributesMs(inode, validMs);
    if (forMs <= 0 || this.#isOld(inode, began)) return;
    this.#attributes.set(inode, { result, untilMs: this.#cluster.world.nowMs + forMs });
  }

  /** The inode of the name, 0: absent, undefined: to be asked for. */
  name(directory: number, name: string): number | undefined {
    const key = ModelKernel.nameOf(directory, name);
    const known = this.#names.get(key);
    if (known === undefined || (this.#busy.get(key) ?? 0) > 0) return undefined;
    const valid = known.epoch === this.#epoch && known.untilMs > this.#cluster.world.nowMs;
    return valid ? known.inode : undefined;
  }

  attributes(inode: number): Result | undefined {
    const known = this.#attributes.get(inode);
    if (known === undefined || (this.#busy.get(inode) ?? 0) > 0) return undefined;
    return known.untilMs > this.#cluster.world.nowMs ? known.result : undefined;
  }

  /**
   * A name is about to be moved, and with it what is known of it. Call what it returns when that has happened; two
   * names of one inode both stay.
   */
  rename(
    directory: number,
    name: string,
    toDirectory: number,
    toName: string,
    exchanged: boolean,
  ): (validMs: number) => Promise<void> {
    const from = ModelKernel.nameOf(directory, name);
    const to = ModelKernel.nameOf(toDirectory, toName);
    const moved = this.#names.get(from);
    const replaced = this.#names.get(to);
    return async (validMs) => {
      if (moved !== undefined && moved.inode !== replaced?.inode) {
        this.#names.set(to, moved);
        if (exchanged && replaced !== undefined) this.#names.set(from, replaced);
      }
      const forget = (): number =>
        this.#validity.namesMoved(directory, toDirectory, exchanged, validMs);
      await new Promise<void>((end) => {
        this.#untold.start({ forget, end }, toDirectory);
      });
    };
  }

  /** A change of these inodes and names (nameOf) is under way; call what it returns at its end. */
  change(...concerned: (number | string)[]): () => void {
    for (const what of concerned) {
      this.#busy.set(what, (this.#busy.get(what) ?? 0) + 1);
      this.#forget(what);
    }
    return () => {
      for (const what of concerned) {
        this.#busy.set(what, this.#busy.get(what)! - 1);
        this.#forget(what);
      }
    };
  }
}
