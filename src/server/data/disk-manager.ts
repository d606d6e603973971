/**
 * The devices of one target, by number. A device that answers an error, or that is missing when
 * the target starts, is taken out of use for the life of the process and reported once: what lies
 * on it answers EIO, new space comes from the others.
 */
import { errno, errnoName } from '../../common/errno.js';
import { DeviceIo } from './device.js';
import type { BlockDevice } from './device.js';

export interface DeviceReport {
  number: number;
  name: string;
  /** As BlockDevice.mode; empty when it could not be opened. */
  mode: string;
  state: 'in use' | 'failed';
  /** Why it failed. */
  reason: string;
  totalBlocks: number;
}

export interface DiskManagerOptions {
  log: (message: string) => void;
  /** Called once for each device that fails. */
  onDeviceFailed?: (report: DeviceReport) => void;
}

interface Disk {
  number: number;
  name: string;
  mode: string;
  totalBlocks: number;
  /** Undefined when it could not be opened. */
  device: BlockDevice | undefined;
  /** Empty: in use. */
  failure: string;
  /** Writes ended since the last sync began. */
  dirty: boolean;
}

type SyncCallback = (error: Error | undefined) => void;

export class DiskManager {
  readonly #disks = new Map<number, Disk>();
  /** Those in use, by ascending number. */
  #healthy: BlockDevice[] = [];
  readonly #log: (message: string) => void;
  readonly #onDeviceFailed: ((report: DeviceReport) => void) | undefined;

  constructor(options: DiskManagerOptions) {
    this.#log = options.log;
    this.#onDeviceFailed = options.onDeviceFailed;
  }

  add(device: BlockDevice): void {
    const { number, name, mode, totalBlocks } = device;
    // Dirty from the start: an earlier process may have been killed before it synced.
    const disk = { number, name, mode, totalBlocks, device, failure: '', dirty: true };
    this.#disks.set(number, disk);
    this.#healthy.push(device);
    this.#healthy.sort((a, b) => a.number - b.number);
  }

  /** A device that extents point to and that could not be opened. */
  addMissing(number: number, name: string, totalBlocks: number, reason: string): void {
    const disk = {
      number,
      name,
      mode: '',
      totalBlocks,
      device: undefined,
      failure: '',
      dirty: false,
    };
    this.#disks.set(number, disk);
    this.#takeOut(disk, reason);
  }

  /** Devices that new space may come from. Do not keep: it changes when one fails. */
  get healthy(): readonly BlockDevice[] {
    return this.#healthy;
  }

  /** Undefined when it has failed or never was. */
  inUse(number: number): BlockDevice | undefined {
    const disk = this.#disks.get(number);
    return disk?.failure === '' ? disk.device : undefined;
  }

  /** Takes note that writes ended there: the next sync covers it. */
  wrote(number: number): void {
    const disk = this.#disks.get(number);
    if (disk !== undefined) disk.dirty = true;
  }

  /** An I/O of this device ended with `status`: it is not used any more. */
  fail(number: number, status: number, what: string): void {
    const disk = this.#disks.get(number);
    if (disk?.failure === '') this.#takeOut(disk, `${what}: ${errnoName(status)}`);
  }

  /** Whether `sync` would have to sync something; one that is under way is not counted. */
  get dirty(): boolean {
    for (const disk of this.#disks.values()) if (disk.failure === '' && disk.dirty) return true;
    return false;
  }

  /**
   * Makes all writes that have ended power-safe. Fails when a sync does: that device is then out
   * of use, so the next call succeeds without it, and what was on it answers EIO.
   */
  sync(done: SyncCallback): void {
    const round = new SyncRound(this, done);
    for (const disk of this.#disks.values()) {
      if (disk.failure !== '' || !disk.dirty) continue;
      disk.dirty = false;
      round.outstanding++;
      disk.device!.sync(new SyncIo(round, disk.number));
    }
    round.started();
  }

  reports(): DeviceReport[] {
    return [...this.#disks.values()].map(reportOf);
  }

  /** When nothing is outstanding. */
  close(): void {
    for (const disk of this.#disks.values()) disk.device?.close();
    this.#disks.clear();
    this.#healthy = [];
  }

  #takeOut(disk: Disk, reason: string): void {
    disk.failure = reason;
    this.#healthy = this.#healthy.filter((device) => device.number !== disk.number);
    this.#log(`device ${disk.number} (${disk.name}) is taken out of use: ${reason}`);
    this.#onDeviceFailed?.(reportOf(disk));
  }
}

function reportOf(disk: Disk): DeviceReport {
  const { number, name, mode, totalBlocks, failure: reason } = disk;
  return { number, name, mode, totalBlocks, state: reason === '' ? 'in use' : 'failed', reason };
}

class SyncRound {
  /** One more than the syncs that are out, until all have been started. */
  outstanding = 1;
  readonly #disks: DiskManager;
  readonly #done: SyncCallback;
  #error: Error | undefined;

  constructor(disks: DiskManager, done: SyncCallback) {
    this.#disks = disks;
    this.#done = done;
  }

  started(): void {
    this.#oneLess();
  }

  ended(device: number, status: number): void {
    if (status !== 0) {
      this.#disks.fail(device, status, 'fdatasync');
      this.#error ??= Object.assign(new Error(`device ${device}: ${errnoName(status)}`), {
        code: errnoName(status),
        errno: -errno.EIO,
      });
    }
    this.#oneLess();
  }

  #oneLess(): void {
    if (--this.outstanding === 0) this.#done(this.#error);
  }
}

class SyncIo extends DeviceIo {
  readonly #round: SyncRound;
  readonly #device: number;

  constructor(round: SyncRound, device: number) {
    super();
    this.#round = round;
    this.#device = device;
  }

  override ended(status: number): void {
    this.#round.ended(this.#device, status);
  }
}
