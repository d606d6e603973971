/**
 * Opening a target's devices at its start: making new ones, checking superblocks against what the
 * target's store has recorded, growing files. All synchronous, before any I/O of the data path.
 *
 * The store's record of a device is written after its superblock: so a device that the record names
 * was complete, and if it is missing or shorter now, something happened to it.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readSync,
  statSync,
  statfsSync,
  writeSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { errnoName } from '../../common/errno.js';
import { SealfsError, UsageError } from '../../common/errors.js';
import { formatBytes, parseSize } from '../../common/sizes.js';
import { fallocate, type ExtentFile } from '../../native/extent.js';
import { blockBytes } from '../../protocol/limits.generated.js';
import { propertyKey } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import type { Allocator } from './allocator.js';
import type { DiskManager } from './disk-manager.js';
import { ExtentDevice, type DiskEngine } from './extent-device.js';
import { decodeSuperblock, encodeSuperblock, type Superblock } from './superblock.js';

/** Smallest device: below, reserve and superblock are most of it. */
const BLOCKS_MIN = 256;
const BLOCKS_MAX = 2 ** 32 - 1;
/** 0xffff stands for data in the chunk's value. */
const DEVICES_MAX = 64;
const RECORDS = 'devices';

export interface DeviceSpec {
  path: string;
  /** Bytes to allocate when the file is made, or to grow it to; undefined: as it is. */
  sizeBytes: number | undefined;
}

export interface TargetIdentity {
  targetId: string;
  clusterId: string;
}

interface DeviceRecord {
  deviceId: string;
  number: number;
  totalBlocks: number;
  path: string;
}

export interface OpenDevicesOptions {
  specs: readonly DeviceSpec[];
  identity: TargetIdentity;
  store: MetaStore;
  engine: DiskEngine;
  disks: DiskManager;
  allocator: Allocator;
  log: (message: string) => void;
}

/** `PATH` or `PATH:SIZE`, as `--data` takes it. Throws UsageError. */
export function parseDeviceSpec(text: string): DeviceSpec {
  const colon = text.lastIndexOf(':');
  const tail = colon < 0 ? '' : text.slice(colon + 1);
  if (colon <= 0 || tail.includes('/')) {
    if (text === '' || colon === 0) throw new UsageError(`--data: '${text}' has no path`);
    return { path: text, sizeBytes: undefined };
  }
  const sizeBytes = parseSize(tail, '--data');
  if (sizeBytes < BLOCKS_MIN * blockBytes) {
    const least = formatBytes(BLOCKS_MIN * blockBytes);
    throw new UsageError(`--data: '${text}' is too small; a device has at least ${least}`);
  }
  if (sizeBytes > BLOCKS_MAX * blockBytes) {
    throw new UsageError(`--data: '${text}' is too large; a device has at most 16 TiB`);
  }
  return { path: text.slice(0, colon), sizeBytes };
}

/**
 * Syncs existing device files. To be called before the store is opened: opening makes the store's
 * state durable, so the data that a killed process wrote last must be durable before.
 */
export function syncDeviceFiles(specs: readonly DeviceSpec[]): void {
  for (const spec of specs) {
    if (!existsSync(spec.path)) continue;
    const fd = openSync(spec.path, 'r');
    fsyncSync(fd);
    closeSync(fd);
  }
}

/**
 * Opens every device and hands it to disk manager and allocator. A recorded device that is not
 * among them is added as missing. Throws SealfsError: the message names path, cause and remedy.
 */
export function openDevices(options: OpenDevicesOptions): void {
  const { store, disks, allocator, log } = options;
  const records = loadRecords(store);
  const seen = new Set<number>();
  for (const spec of options.specs) {
    const record = records.find((each) => each.path === resolve(spec.path));
    if (record !== undefined && !existsSync(spec.path)) continue; // reported as missing below
    const { superblock, file } = openDevice(spec, options, records);
    const device = new ExtentDevice(
      options.engine,
      file,
      superblock.number,
      spec.path,
      superblock.totalBlocks,
    );
    seen.add(superblock.number);
    keepRecord(records, superblock, spec.path);
    disks.add(device);
    allocator.addDevice(superblock.number, superblock.totalBlocks);
    log(`device ${device.number}: ${spec.path}, ${sizeOf(superblock)}, ${device.mode}`);
  }
  for (const record of records) {
    if (seen.has(record.number)) continue;
    disks.addMissing(record.number, record.path, record.totalBlocks, 'it is missing');
    allocator.addDevice(record.number, record.totalBlocks);
  }
  if (disks.healthy.length === 0) {
    const paths = records.map((record) => record.path).join(', ');
    throw new SealfsError('NOT_FOUND', `none of this target's data devices is there: ${paths}`);
  }
  store.transaction(() => {
    store.put(propertyKey(RECORDS), Buffer.from(JSON.stringify(records)));
  });
}

function openDevice(
  spec: DeviceSpec,
  options: OpenDevicesOptions,
  records: readonly DeviceRecord[],
): { superblock: Superblock; file: ExtentFile } {
  if (!existsSync(spec.path)) return createDevice(spec, options, records);
  let file = systemCall(`cannot open ${spec.path}`, () => options.engine.engine.open(spec.path));
  try {
    const known = decodeSuperblock(readBlock(spec.path), spec.path);
    if (known === undefined) {
      const superblock = newSuperblock(spec, file, options, records);
      writeBlock(spec.path, encodeSuperblock(superblock));
      return { superblock, file };
    }
    checkIdentity(known, spec.path, options.identity, records);
    checkLength(known, spec.path, file.bytes);
    const wanted = blocksOf(spec.sizeBytes ?? 0);
    if (wanted > known.totalBlocks) {
      growFile(spec.path, file, wanted);
      known.totalBlocks = wanted;
      writeBlock(spec.path, encodeSuperblock(known));
      file = { ...file, bytes: wanted * blockBytes };
    }
    return { superblock: known, file };
  } catch (error) {
    options.engine.engine.closeFile(file.file);
    throw error;
  }
}

function createDevice(
  spec: DeviceSpec,
  options: OpenDevicesOptions,
  records: readonly DeviceRecord[],
): { superblock: Superblock; file: ExtentFile } {
  const { path, sizeBytes } = spec;
  if (sizeBytes === undefined) {
    throw new UsageError(
      `--data: ${path} does not exist; to make it, say how large: ${path}:100G for instance`,
    );
  }
  if (!existsSync(dirname(resolve(path)))) {
    throw new UsageError(`--data: the folder of ${path} does not exist`);
  }
  checkRoom(path, sizeBytes);
  const file = systemCall(`cannot make ${path} with ${formatBytes(sizeBytes)}`, () =>
    options.engine.engine.create(path, blocksOf(sizeBytes) * blockBytes),
  );
  const superblock = newSuperblock(spec, file, options, records);
  writeBlock(path, encodeSuperblock(superblock));
  return { superblock, file };
}

/** For a blank device. */
function newSuperblock(
  spec: DeviceSpec,
  file: ExtentFile,
  options: OpenDevicesOptions,
  records: readonly DeviceRecord[],
): Superblock {
  let totalBlocks = blocksOf(file.bytes);
  if (!file.blockDevice && blocksOf(spec.sizeBytes ?? 0) > totalBlocks) {
    totalBlocks = blocksOf(spec.sizeBytes!);
    growFile(spec.path, file, totalBlocks);
  }
  if (totalBlocks < BLOCKS_MIN) {
    const least = formatBytes(BLOCKS_MIN * blockBytes);
    throw new UsageError(`--data: ${spec.path} is too small; a device has at least ${least}`);
  }
  let number = 0;
  while (records.some((record) => record.number === number)) number++;
  if (number >= DEVICES_MAX) throw new UsageError(`a target has at most ${DEVICES_MAX} devices`);
  return { deviceId: randomUUID(), ...options.identity, number, totalBlocks };
}

function checkIdentity(
  superblock: Superblock,
  path: string,
  identity: TargetIdentity,
  records: readonly DeviceRecord[],
): void {
  if (superblock.clusterId !== identity.clusterId || superblock.targetId !== identity.targetId) {
    throw new SealfsError(
      'EXISTS',
      `${path} belongs to target ${superblock.targetId} of cluster ${superblock.clusterId}, ` +
        `not to target ${identity.targetId} of cluster ${identity.clusterId}`,
    );
  }
  const record = records.find((each) => each.number === superblock.number);
  if (record !== undefined && record.deviceId !== superblock.deviceId) {
    throw new SealfsError(
      'CORRUPT',
      `${path} is not the device ${superblock.number} that this target has used so far`,
    );
  }
}

function checkLength(superblock: Superblock, path: string, bytes: number): void {
  if (bytes >= superblock.totalBlocks * blockBytes) return;
  throw new SealfsError(
    'CORRUPT',
    `${path} is shorter than its record: ${formatBytes(bytes)} instead of ${sizeOf(superblock)}; ` +
      'restore the whole file, or remove the target',
  );
}

function growFile(path: string, file: ExtentFile, totalBlocks: number): void {
  const bytes = totalBlocks * blockBytes;
  if (file.bytes >= bytes) return;
  if (file.blockDevice) {
    throw new UsageError(`--data: ${path} has only ${formatBytes(file.bytes)}`);
  }
  checkRoom(path, bytes - file.bytes);
  const status = fallocate(path, 0, bytes);
  if (status === 0) return;
  throw new SealfsError(
    'FAILED',
    `cannot grow ${path} to ${formatBytes(bytes)}: ${errnoName(status)}`,
  );
}

/** Before allocating: a file system that is filled to the brim first harms everybody on it. */
function checkRoom(path: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(dirname(resolve(path)));
  if (bytes <= bavail * bsize) return;
  const free = formatBytes(bavail * bsize);
  throw new SealfsError(
    'FAILED',
    `cannot make ${path} with ${formatBytes(bytes)}: its file system has ${free} free`,
  );
}

function keepRecord(records: DeviceRecord[], superblock: Superblock, path: string): void {
  const { deviceId, number, totalBlocks } = superblock;
  const record = { deviceId, number, totalBlocks, path: resolve(path) };
  const at = records.findIndex((each) => each.number === number);
  if (at < 0) records.push(record);
  else records[at] = record;
}

function loadRecords(store: MetaStore): DeviceRecord[] {
  const value = store.get(propertyKey(RECORDS));
  return value === undefined ? [] : (JSON.parse(Buffer.from(value).toString()) as DeviceRecord[]);
}

function blocksOf(bytes: number): number {
  return Math.min(BLOCKS_MAX, Math.floor(bytes / blockBytes));
}

function sizeOf(superblock: Superblock): string {
  return formatBytes(superblock.totalBlocks * blockBytes);
}

function readBlock(path: string): Uint8Array {
  const block = Buffer.alloc(blockBytes);
  if (!statSync(path).isBlockDevice() && statSync(path).size === 0) return block;
  const fd = openSync(path, 'r');
  try {
    if (readSync(fd, block, 0, blockBytes, 0) < blockBytes) {
      throw new SealfsError('CORRUPT', `${path} is shorter than one block`);
    }
    return block;
  } finally {
    closeSync(fd);
  }
}

function writeBlock(path: string, block: Uint8Array): void {
  const fd = openSync(path, 'r+');
  try {
    if (writeSync(fd, block, 0, blockBytes, 0) !== blockBytes) {
      throw new SealfsError('FAILED', `the superblock of ${path} was written in part`);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function systemCall<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EBUSY') {
      throw new SealfsError('BUSY', `${what}: another process or target uses it`, { cause: error });
    }
    if (code === 'EOPNOTSUPP') {
      const why = 'its file system cannot preallocate files; use another, or a block device';
      throw new SealfsError('UNSUPPORTED', `${what}: ${why}`, { cause: error });
    }
    throw new SealfsError('FAILED', `${what}: ${(error as Error).message}`, { cause: error });
  }
}
