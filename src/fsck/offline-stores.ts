/**
 * A stopped cluster: the metadata directories of all its servers, each locked as by a server, its stores
 * opened for reading alone. After a reboot the state of the last checkpoint is put back first, as
 * a server's start does; nothing else is written unless repairs are.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readFileSync,
  readSync,
  statSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { open, type RootDatabase } from '../native/lmdb.js';
import { z } from 'zod';
import { SealfsError, UsageError } from '../common/errors.js';
import { BucketTable } from '../placement/bucket-table.js';
import type { ClusterMap } from '../placement/cluster-map.js';
import { blockBytes } from '../protocol/limits.generated.js';
import { newestCheckpoint, restoreMetaPage } from '../server/checkpoint.js';
import { propertyKey } from '../server/keys.js';
import { kernelBootId, LmdbMetaStore } from '../server/meta-store.js';
import { loadMap, lockDirectory } from '../server/server-identity.js';
import type { BlockReader, FsckCluster, FsckTarget, StoreReader } from './store-reader.js';
import { holdersOf } from './store-reader.js';
import { parseDevices } from './target-space.js';

/** Pages of the map beyond the file, which LMDB wants for its own. */
const MAP_ROOM_BYTES = 2 ** 20;

/** A target's store, opened for reading. A target that never stored anything has none. */
export class OfflineStore implements StoreReader {
  readonly directory: string;
  readonly #db: RootDatabase<Uint8Array, Uint8Array> | undefined;

  constructor(directory: string) {
    this.directory = directory;
    if (restore(directory)) {
      this.#db = open<Uint8Array, Uint8Array>({
        path: directory,
        noSubdir: false,
        encoding: 'binary',
        keyEncoding: 'binary',
        cache: false,
        maxDbs: 1,
        readOnly: true,
        mapSize: statSync(join(directory, 'data.mdb')).size + MAP_ROOM_BYTES,
      });
    }
  }

  async scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void> {
    if (this.#db === undefined) return;
    for (const { key, value } of this.#db.getRange({ start, end })) visit(key, value);
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#db?.getBinary(key);
  }

  async close(): Promise<void> {
    await this.#db?.close();
  }
}

/** Whether there is a store; it is then in the state that a server would find. */
function restore(directory: string): boolean {
  const dataPath = join(directory, 'data.mdb');
  const checkpointPath = join(directory, 'checkpoint');
  if (!existsSync(checkpointPath)) return false;
  const checkpoint = newestCheckpoint(readFileSync(checkpointPath));
  if (checkpoint === undefined) {
    throw new SealfsError('CORRUPT', `${checkpointPath}: neither slot is valid`);
  }
  if (!existsSync(dataPath)) {
    throw new SealfsError('CORRUPT', `${dataPath} is missing, but its checkpoint is there`);
  }
  if (checkpoint.bootId !== kernelBootId()) restoreMetaPage(dataPath, checkpoint);
  return true;
}

/** Blocks of a target's device files. */
class DeviceFiles implements BlockReader {
  readonly #paths: ReadonlyMap<number, string>;
  readonly #files = new Map<number, number>();

  constructor(paths: ReadonlyMap<number, string>) {
    this.#paths = paths;
  }

  read(device: number, block: number, into: Uint8Array): void {
    const fd = this.#files.get(device) ?? this.#open(device);
    for (let done = 0; done < into.length;) {
      const bytes = readSync(fd, into, done, into.length - done, block * blockBytes + done);
      if (bytes === 0) throw new Error(`${this.#paths.get(device)} ends before block ${block}`);
      done += bytes;
    }
  }

  close(): void {
    for (const fd of this.#files.values()) closeSync(fd);
  }

  #open(device: number): number {
    const path = this.#paths.get(device);
    if (path === undefined) throw new Error('the target has no such device');
    const fd = openSync(path, 'r');
    this.#files.set(device, fd);
    return fd;
  }
}

/** One `--meta-dir`. */
interface ServerDirectory {
  path: string;
  targetIds: string[];
  map: ClusterMap | undefined;
}

export class OfflineCluster {
  readonly cluster: FsckCluster;
  readonly #stores: OfflineStore[];
  readonly #files: DeviceFiles[];
  readonly #locks: Server[];

  private constructor(
    cluster: FsckCluster,
    stores: OfflineStore[],
    files: DeviceFiles[],
    locks: Server[],
  ) {
    this.cluster = cluster;
    this.#stores = stores;
    this.#files = files;
    this.#locks = locks;
  }

  /**
   * `withData`: device files are opened where checksums are compared. Rejects with UsageError when a
   * directory is none of a server's, a server uses it, or a member of the cluster is missing.
   */
  static async open(metaDirs: readonly string[], withData: boolean): Promise<OfflineCluster> {
    const locks: Server[] = [];
    const stores: OfflineStore[] = [];
    try {
      for (const path of metaDirs) locks.push(await lock(path));
      const servers = metaDirs.map(readServer);
      const map = newestMap(servers);
      const ids: string[] = [];
      const targets: FsckTarget[] = [];
      for (const { path, targetIds } of servers) {
        for (const [index, id] of targetIds.entries()) {
          const store = new OfflineStore(join(path, `target-${index}`));
          stores.push(store);
          ids.push(id);
          targets.push({ id, label: `${path}/target-${index}`, reader: store });
        }
      }
      const files = withData ? await openFiles(targets) : [];
      const holders = holdersOf(BucketTable.build(map), placesOf(map, ids));
      const holderOf = (bucket: number): number => holders[bucket]!;
      return new OfflineCluster({ targets, holderOf, running: false }, stores, files, locks);
    } catch (error) {
      await closeAll(stores, [], locks);
      throw error;
    }
  }

  /**
   * Writes these changes, one transaction a target, and makes them power-safe. The stores are closed
   * for reading by then, and stay closed.
   */
  async write(
    changes: readonly (readonly [Uint8Array, Uint8Array | undefined])[][],
  ): Promise<void> {
    const devices = await Promise.all(
      this.cluster.targets.map(({ reader }) => devicePaths(reader)),
    );
    for (const store of this.#stores) await store.close();
    for (const [target, { directory }] of this.#stores.entries()) {
      if (changes[target]!.length === 0) continue;
      // Opening makes the store's last commit power-safe: so must be the data that it points to.
      for (const path of devices[target]!.values()) syncFile(path);
      const meta = new LmdbMetaStore({ directory, flushIntervalMs: 0 });
      meta.useReserve(true);
      try {
        meta.transaction(() => {
          for (const [key, value] of changes[target]!) {
            if (value === undefined) meta.remove(key);
            else meta.put(key, value);
          }
        });
      } finally {
        await meta.close();
      }
    }
  }

  async close(): Promise<void> {
    await closeAll(this.#stores, this.#files, this.#locks);
  }
}

async function closeAll(
  stores: readonly OfflineStore[],
  files: readonly DeviceFiles[],
  locks: readonly Server[],
): Promise<void> {
  for (const store of stores) await store.close();
  for (const each of files) each.close();
  for (const lock of locks) lock.close();
}

async function lock(path: string): Promise<Server> {
  if (!existsSync(join(path, 'server.json'))) {
    throw new UsageError(
      `--meta-dir: ${path} is not the metadata directory of a server (it has no server.json)`,
    );
  }
  try {
    return await lockDirectory(path);
  } catch (error) {
    if (!(error instanceof SealfsError) || error.code !== 'BUSY') throw error;
    throw new UsageError(
      `--meta-dir: a server uses ${path}; stop it first, or check the running cluster with --manager`,
      { cause: error },
    );
  }
}

const identitySchema = z.object({ targets: z.array(z.object({ targetId: z.string() })) });

function readServer(path: string): ServerDirectory {
  const file = join(path, 'server.json');
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new SealfsError('CORRUPT', `${file} cannot be read`, { cause: error });
  }
  const parsed = identitySchema.safeParse(json);
  if (!parsed.success) {
    throw new SealfsError('CORRUPT', `${file} is not what a server wrote there`);
  }
  const targetIds = parsed.data.targets.map(({ targetId }) => targetId);
  return { path, targetIds, map: loadMap(path) };
}

/** Servers may have missed the last epochs. */
function newestMap(servers: readonly ServerDirectory[]): ClusterMap {
  let newest: ClusterMap | undefined;
  for (const { path, map } of servers) {
    if (map === undefined) continue;
    if (newest !== undefined && newest.clusterId !== map.clusterId) {
      throw new UsageError(`--meta-dir: ${path} belongs to another cluster (${map.clusterId})`);
    }
    if (newest === undefined || map.epoch > newest.epoch) newest = map;
  }
  if (newest === undefined || !newest.members.some((member) => member.weight > 0)) {
    const paths = servers.map(({ path }) => path).join(', ');
    throw new UsageError(`--meta-dir: ${paths}: no cluster map, so there is nothing to check yet`);
  }
  return newest;
}

/** By member of the map: its place among these targets. Throws where one is missing. */
function placesOf(map: ClusterMap, targetIds: readonly string[]): number[] {
  const places = map.members.map(({ targetId }) => targetIds.indexOf(targetId));
  const missing = map.members.filter((_, index) => places[index] === -1);
  if (missing.length === 0) return places;
  const servers = [...new Set(missing.map(({ serverId }) => serverId))].join(', ');
  throw new UsageError(
    `--meta-dir: the directories of these servers of the cluster are missing: ${servers}; ` +
      'what is checked is the whole cluster, so name them all',
  );
}

async function devicePaths(reader: StoreReader): Promise<Map<number, string>> {
  const value = await reader.get(propertyKey('devices'));
  const devices = value === undefined ? undefined : parseDevices(value);
  return new Map((devices ?? []).map(({ number, path }) => [number, path]));
}

async function openFiles(targets: FsckTarget[]): Promise<DeviceFiles[]> {
  const files: DeviceFiles[] = [];
  for (const target of targets) {
    const blocks = new DeviceFiles(await devicePaths(target.reader));
    target.blocks = blocks;
    files.push(blocks);
  }
  return files;
}

function syncFile(path: string): void {
  if (!existsSync(path)) return;
  const fd = openSync(path, 'r');
  fsyncSync(fd);
  closeSync(fd);
}
