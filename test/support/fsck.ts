/**
 * `sealfs fsck` for other tests: a stopped cluster, or a simulated one at rest, must be clean. What is
 * found otherwise is the failure's message.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { checkCluster } from '../../src/fsck/check.js';
import type { CheckResult, Finding } from '../../src/fsck/findings.js';
import { OfflineCluster } from '../../src/fsck/offline-stores.js';
import { holdersOf } from '../../src/fsck/store-reader.js';
import type { BlockReader, FsckCluster, StoreReader } from '../../src/fsck/store-reader.js';
import { BucketTable } from '../../src/placement/bucket-table.js';
import { blockBytes } from '../../src/protocol/limits.generated.js';
import type { MemoryDisk } from '../../src/server/data/memory-device.js';
import type { MemoryMetaImage } from '../../src/server/memory-meta-store.js';
import type { SimCluster } from '../sim/cluster.js';
import type { TestCluster } from './cluster.js';

/** One line a finding. */
export function linesOf(findings: readonly Finding[]): string[] {
  return findings.map(({ kind, target, inode, path, text }) => {
    return `${kind} at target ${target}: ${path ?? `inode ${inode}`}: ${text}`;
  });
}

/** Checks the cluster of these servers' metadata directories, all data included. */
export async function checkStopped(metaDirs: readonly string[]): Promise<CheckResult> {
  const offline = await OfflineCluster.open(metaDirs, true);
  try {
    return await checkCluster(offline.cluster);
  } finally {
    await offline.close();
  }
}

/** The servers of these metadata directories are stopped or killed; their cluster is whole. */
export async function assertClean(metaDirs: readonly string[]): Promise<CheckResult> {
  const result = await checkStopped(metaDirs);
  assert.deepEqual(linesOf(result.findings), []);
  return result;
}

/** What a target has committed, as of the moment when this is made. */
class ImageStore implements StoreReader {
  readonly #values: Map<string, Uint8Array>;
  readonly #keys: string[];

  constructor(image: MemoryMetaImage) {
    this.#values = new Map(image.values);
    this.#keys = [...this.#values.keys()].sort();
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    const [from, to] = [start, end].map((key) => Buffer.from(key).toString('latin1'));
    for (let at = this.#lowerBound(from!); at < this.#keys.length; at++) {
      const key = this.#keys[at]!;
      if (key >= to!) return;
      visit(Buffer.from(key, 'latin1'), this.#values.get(key)!);
    }
  }

  /** Place of the first key that is not less. */
  #lowerBound(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#values.get(Buffer.from(key).toString('latin1'));
  }
}

/** Kills the servers of a real cluster; what they leave is whole. */
export async function assertKilledClean(cluster: TestCluster): Promise<void> {
  await Promise.all(cluster.members.map((_, index) => cluster.killServer(index)));
  await assertClean(cluster.members.map((_, index) => join(cluster.dir, `meta-${index}`)));
}

class DiskBlocks implements BlockReader {
  readonly #disk: MemoryDisk;

  constructor(disk: MemoryDisk) {
    this.#disk = disk;
  }

  read(_device: number, block: number, into: Uint8Array): void {
    for (let at = 0; at < into.length; at += blockBytes) {
      const bytes = this.#disk.blocks.get(block + at / blockBytes);
      if (bytes === undefined) into.fill(0, at, at + blockBytes);
      else into.set(bytes, at);
    }
  }
}

const knownHolders = new WeakMap<SimCluster, Int32Array>();

function holdersIn(cluster: SimCluster): Int32Array {
  let holders = knownHolders.get(cluster);
  if (holders === undefined) {
    const places = cluster.map.members.map(({ targetId }) => {
      return cluster.targets.findIndex(({ name }) => name === targetId);
    });
    holders = holdersOf(BucketTable.build(cluster.map), places);
    knownHolders.set(cluster, holders);
  }
  return holders;
}

/** What the targets of a simulated cluster have committed at this moment; data as it lies then. */
export function fsckOf(cluster: SimCluster, withData: boolean): FsckCluster {
  const holders = holdersIn(cluster);
  return {
    targets: cluster.targets.map(({ name, image, disk }) => ({
      id: name,
      label: name,
      reader: new ImageStore(image),
      ...(withData ? { blocks: new DiskBlocks(disk) } : {}),
    })),
    holderOf: (bucket) => holders[bucket]!,
    running: false,
  };
}

/** What its targets have committed is whole, and what transactions under way explain is right. */
export async function assertCleanSim(cluster: SimCluster): Promise<CheckResult> {
  const result = await checkCluster(fsckOf(cluster, true));
  assert.deepEqual(linesOf(result.findings), [], `seed ${cluster.world.seed}`);
  return result;
}
