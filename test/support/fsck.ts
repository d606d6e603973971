/**
 * `sealfs fsck` for other tests: a stopped cluster, or a simulated one at rest, must be clean. What is
 * found otherwise is the failure's message.
 */
import assert from 'node:assert/strict';
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

class ImageStore implements StoreReader {
  readonly #image: MemoryMetaImage;

  constructor(image: MemoryMetaImage) {
    this.#image = image;
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    const limit = Buffer.from(end).toString('latin1');
    const cursor = this.#image.keys.seek(Buffer.from(start).toString('latin1'));
    for (let key = cursor.next(); key !== undefined && key < limit; key = cursor.next()) {
      visit(Buffer.from(key, 'latin1'), this.#image.values.get(key)!);
    }
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#image.values.get(Buffer.from(key).toString('latin1'));
  }
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

/** The images of a simulated cluster at this moment. */
export function fsckOf(cluster: SimCluster): FsckCluster {
  const places = cluster.map.members.map(({ targetId }) => {
    return cluster.targets.findIndex(({ name }) => name === targetId);
  });
  const holders = holdersOf(BucketTable.build(cluster.map), places);
  return {
    targets: cluster.targets.map(({ name, image, disk }) => ({
      id: name,
      label: name,
      reader: new ImageStore(image),
      blocks: new DiskBlocks(disk),
    })),
    holderOf: (bucket) => holders[bucket]!,
    running: false,
  };
}

/** What its targets have committed is whole; nothing may be under way. */
export async function assertCleanSim(cluster: SimCluster): Promise<CheckResult> {
  const result = await checkCluster(fsckOf(cluster));
  assert.deepEqual(linesOf(result.findings), [], `seed ${cluster.world.seed}`);
  return result;
}
