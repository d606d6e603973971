/**
 * What a power-safe commit costs on persistent memory and on a disk, inside the machine
 * (ci/rdma/durability.sh): first stores alone, then creates through a whole server with
 * `--durability commit`. All are taken in turns, since a host is busy now and idle then; shown are
 * medians, and the median of each round's ratio to the first row.
 *
 *   node durability-rates.js PMEM DISK
 *
 * A commit of the first part is what a create changes: an inode record, an entry, a session's replies,
 * a counter.
 */
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { open, type RootDatabase } from '../../src/native/lmdb.js';
import { openVolume } from '../../src/client/files.js';
import { silentLogger } from '../../src/common/log.js';
import { ManagerClient } from '../../src/common/manager-client.js';
import { startManager } from '../../src/manager/manager.js';
import { LmdbMetaStore } from '../../src/server/meta-store.js';
import { startServer } from '../../src/server/server.js';

const ROUNDS = 5;
const STORE_MS = 1500;
const CREATE_MS = 4000;
const CREATE_ROUNDS = 5;
/** Creates before the clock runs: the code is warm then. */
const WARM_UP_CREATES = 300;
const WARM_UP_COMMITS = 50;
const MAP_BYTES = 2 ** 28;
const ROOM_BYTES = 2 ** 24;
const MEBIBYTE = 2 ** 20;

interface Contender {
  commit(body: (put: (key: Uint8Array, value: Uint8Array) => void) => void): Promise<void> | void;
  close(): Promise<void>;
}

function emptyFolder(path: string): string {
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path, { recursive: true });
  return path;
}

/** LMDB syncing itself; blocks are written ahead of use, as those of our store are. */
function lmdbAlone(folder: string, useWritemap: boolean): Contender {
  const path = emptyFolder(folder);
  const db = open({
    path,
    noSubdir: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    cache: false,
    overlappingSync: false,
    maxDbs: 1,
    mapSize: MAP_BYTES,
    useWritemap,
  }) as unknown as RootDatabase<Uint8Array, Uint8Array>;
  const fd = openSync(join(path, 'data.mdb'), 'r+');
  const zeros = Buffer.alloc(MEBIBYTE);
  for (let at = MEBIBYTE; at < ROOM_BYTES; at += MEBIBYTE) writeSync(fd, zeros, 0, MEBIBYTE, at);
  closeSync(fd);
  const put = (key: Uint8Array, value: Uint8Array): void => {
    db.putSync(key, value);
  };
  return {
    commit: (body) => {
      db.transactionSync(() => {
        body(put);
      }, 2);
    },
    close: () => db.close(),
  };
}

function ourStore(folder: string, persistentMemory: boolean): Contender {
  const directory = emptyFolder(folder);
  const store = new LmdbMetaStore({ directory, persistentMemory, mapBytes: MAP_BYTES });
  const put = (key: Uint8Array, value: Uint8Array): void => {
    store.put(key, value);
  };
  return {
    commit: (body) => {
      store.transaction(() => {
        body(put);
      });
      if (store.flushNow()) return undefined;
      return new Promise((resolve, reject) => {
        store.flush((error) => {
          if (error === undefined) resolve();
          else reject(error);
        });
      });
    },
    close: () => store.close(),
  };
}

let serial = 0;
const values = {
  inode: Buffer.alloc(96, 1),
  entry: Buffer.alloc(30, 2),
  session: Buffer.alloc(1536, 3),
  counter: Buffer.alloc(8, 4),
};

function oneCreate(put: (key: Uint8Array, value: Uint8Array) => void): void {
  serial++;
  const inode = Buffer.alloc(8);
  inode.writeUInt32BE(serial, 4);
  const entry = Buffer.alloc(15, 0x44);
  entry.writeUInt32BE(Math.imul(serial, 2654435761) >>> 0, 8);
  put(inode, values.inode);
  put(entry, values.entry);
  put(Buffer.from('zS0123456789abcdef'), values.session);
  put(Buffer.from('zTinodes'), values.counter);
}

/** Commits a second, one after the other. */
async function commitRate(contender: Contender): Promise<number> {
  for (let i = 0; i < WARM_UP_COMMITS; i++) await contender.commit(oneCreate);
  const start = performance.now();
  let commits = 0;
  while (performance.now() - start < STORE_MS) {
    await contender.commit(oneCreate);
    // LMDB's reader is given back by a timer.
    if (++commits % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const rate = (commits * 1000) / (performance.now() - start);
  await contender.close();
  return rate;
}

/** Creates a second of one client, each power-safe when it is answered, `creators` under way. */
async function createRate(meta: string, data: string, creators: number): Promise<number> {
  const log = silentLogger();
  const store = { host: '127.0.0.1', port: 0, storeDirectory: join(meta, 'manager') };
  const manager = await startManager({ ...store, version: '0.0.0', log });
  const managerUrl = `http://127.0.0.1:${manager.port}`;
  const server = await startServer({
    managerUrl,
    metaDir: meta,
    data: [{ path: data, sizeBytes: 64 * MEBIBYTE }],
    targets: 1,
    host: '127.0.0.1',
    port: 0,
    transport: 'tcp',
    durability: 'commit',
    log,
  });
  const volume = await new ManagerClient(managerUrl).createVolume('v');
  const files = await openVolume({ managerUrl, volume, transport: 'tcp' });
  await files.ensureRoot();
  let creates = 0;
  let start = Infinity;
  const creator = async (name: number): Promise<void> => {
    await files.mkdir(`/d${name}`);
    for (let i = 0; performance.now() - start < CREATE_MS; i++) {
      (await files.open(`/d${name}/f${i}`, 'wx')).close();
      creates++;
      if (start === Infinity && creates === WARM_UP_CREATES) {
        start = performance.now();
        creates = 0;
      }
    }
  };
  await Promise.all(Array.from({ length: creators }, (_, name) => creator(name)));
  const rate = (creates * 1000) / (performance.now() - start);
  await files.close();
  await server.close();
  await manager.close();
  return rate;
}

async function compare(
  unit: string,
  rounds: number,
  contenders: Record<string, () => Promise<number>>,
): Promise<void> {
  const rates = new Map<string, number[]>();
  for (let round = 0; round < rounds; round++) {
    for (const [name, measure] of Object.entries(contenders)) {
      rates.set(name, [...(rates.get(name) ?? []), await measure()]);
    }
  }
  const first = [...rates.values()][0]!;
  for (const [name, list] of rates) {
    const ratio = median(list.map((rate, round) => rate / first[round]!));
    const all = list.map((rate) => rate.toFixed(0)).join(' ');
    console.log(`${name}: ${median(list).toFixed(0)} ${unit}, ${ratio.toFixed(2)} x (${all})`);
  }
}

function median(list: readonly number[]): number {
  return list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!;
}

async function main(pmem: string, disk: string): Promise<void> {
  await compare('commits/s', ROUNDS, {
    'our checkpoint, pmem': () => commitRate(ourStore(join(pmem, 'ours'), true)),
    'LMDB syncing itself, pmem': () => commitRate(lmdbAlone(join(pmem, 'lmdb'), false)),
    'LMDB with its writable map, pmem': () => commitRate(lmdbAlone(join(pmem, 'map'), true)),
    'our checkpoint, disk': () => commitRate(ourStore(join(disk, 'ours'), false)),
  });
  for (const creators of [1, 16]) {
    const on = (place: string) => () =>
      createRate(emptyFolder(join(place, 'meta')), emptyFolder(join(disk, 'data')), creators);
    await compare('creates/s', CREATE_ROUNDS, {
      [`creates, ${creators} under way, metadata on pmem`]: on(pmem),
      [`creates, ${creators} under way, metadata on the disk`]: on(disk),
    });
  }
}

const [pmem, disk] = process.argv.slice(2);
if (disk === undefined) throw new Error('for ci/rdma/durability.sh');
await main(pmem!, disk);
