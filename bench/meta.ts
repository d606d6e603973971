/**
 * One metadata target driven by one client process at depth 64 over TCP, beside LMDB in one process
 * with the same puts in transactions of 256. Runs under `sealfs up`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from '../src/native/lmdb.js';
import { ManagerClient } from '../src/common/manager-client.js';
import { writeU16, writeU53 } from '../src/protocol/u53.js';
import {
  CreateRequest,
  InodeRequest,
  NameRequest,
  Opcode,
} from '../src/protocol/wire.generated.js';
import { BenchEndpoint, BenchOperation, Run } from './endpoint.js';
import { memoryWithoutArenaBytes, processesMatching } from './processes.js';
import { row } from './report.js';
import type { Row } from './report.js';

const depth = 64;
const encoder = new TextEncoder();

abstract class TargetOperation extends BenchOperation {
  readonly endpoint: BenchEndpoint;
  readonly directory: number;
  index = 0;

  constructor(endpoint: BenchEndpoint, directory: number) {
    super();
    this.endpoint = endpoint;
    this.directory = directory;
  }

  /** Writes the name of file `index` and returns its length. */
  protected writeName(at: number): number {
    const { bytes } = this.endpoint.arena;
    return encoder.encodeInto(`file.mdtest.${this.index}`, bytes.subarray(at, at + 64)).written;
  }
}

class Create extends TargetOperation {
  readonly #first: number;

  /** Files are numbered from `first`. */
  constructor(endpoint: BenchEndpoint, directory: number, first = 0) {
    super(endpoint, directory);
    this.#first = first;
  }

  override prepare(index: number): void {
    this.index = this.#first + index;
    this.opcode = Opcode.Create;
    this.bodyBytes = CreateRequest.SIZE + 64;
  }

  override encode(body: number): number {
    const { words } = this.endpoint.arena;
    const nameBytes = this.writeName(body + CreateRequest.SIZE);
    writeU53(words, body + CreateRequest.parent, this.directory);
    words[(body + CreateRequest.mode) >>> 2] = 0o100644;
    words[(body + CreateRequest.uid) >>> 2] = 0;
    words[(body + CreateRequest.gid) >>> 2] = 0;
    words[(body + CreateRequest.rdev) >>> 2] = 0;
    writeU16(words, body + CreateRequest.nameBytes, nameBytes);
    writeU16(words, body + CreateRequest.flags, 1);
    words[(body + CreateRequest.umask) >>> 2] = 0;
    return CreateRequest.SIZE + nameBytes;
  }
}

class Lookup extends TargetOperation {
  readonly files: number;

  constructor(endpoint: BenchEndpoint, directory: number, files: number) {
    super(endpoint, directory);
    this.files = files;
  }

  override prepare(index: number): void {
    this.index = (index * 7919) % this.files;
    this.opcode = Opcode.Lookup;
    this.bodyBytes = NameRequest.SIZE + 64;
  }

  override encode(body: number): number {
    const { words } = this.endpoint.arena;
    const nameBytes = this.writeName(body + NameRequest.SIZE);
    writeU53(words, body + NameRequest.parent, this.directory);
    words[(body + NameRequest.nameBytes) >>> 2] = nameBytes;
    words[(body + NameRequest.reserved1) >>> 2] = 0;
    return NameRequest.SIZE + nameBytes;
  }
}

class GetAttr extends TargetOperation {
  override prepare(): void {
    this.opcode = Opcode.GetAttr;
    this.bodyBytes = InodeRequest.SIZE;
  }

  override encode(body: number): number {
    writeU53(this.endpoint.arena.words, body + InodeRequest.inode, this.directory);
    return InodeRequest.SIZE;
  }
}

/**
 * Creates per second of LMDB alone, opened as a target opens it: inode and entry each, a session's
 * record each 64.
 */
function lmdbBaseline(count: number): number {
  const path = mkdtempSync(join(tmpdir(), 'sealfs-bench-lmdb-'));
  const store = open({
    path,
    encoding: 'binary',
    keyEncoding: 'binary',
    noSync: true,
    overlappingSync: false,
    mapSize: 8 * 2 ** 30,
  });
  try {
    const inodeKey = Buffer.alloc(8);
    const inode = Buffer.alloc(96, 1);
    const entryKey = Buffer.alloc(15);
    const entry = Buffer.alloc(32, 2);
    const session = Buffer.alloc(64 * 24, 3);
    const sessionKey = Buffer.alloc(19, 0xff);
    let sequence = 1;
    const began = performance.now();
    for (let done = 0; done < count; done += 256) {
      store.transactionSync(() => {
        for (let i = 0; i < 256; i++, sequence++) {
          inodeKey.writeUInt32BE(sequence, 4);
          store.putSync(inodeKey, inode);
          entryKey.writeUInt32BE(Math.imul(sequence, 2654435761) >>> 0, 8);
          entryKey.writeUInt32BE(sequence, 11);
          store.putSync(entryKey, entry);
          if (i % 64 === 63) store.putSync(sessionKey, session);
        }
      });
    }
    return count / ((performance.now() - began) / 1000);
  } finally {
    void store.close();
    rmSync(path, { recursive: true });
  }
}

/** Growth of the server's memory, arena and map not counted, by a million empty files; MB. */
async function memoryOfFiles(run: (files: number) => Promise<unknown>, files: number) {
  const [server] = processesMatching(/main\.js server /);
  const before = memoryWithoutArenaBytes(server!);
  await run(files);
  return (memoryWithoutArenaBytes(server!) - before) / 1e6;
}

/** Inside `sealfs up --servers 1 --targets 1 -- …`. */
export async function benchMetaInside(tiny: boolean): Promise<Row[]> {
  const files = tiny ? 2560 : 256_000;
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set');
  const volume = (await new ManagerClient(manager).volumes())[0]!;
  const { endpoint, peer } = await BenchEndpoint.ofCluster(manager);
  try {
    const root = volume.rootInode;
    const operations = <T>(make: () => T): T[] => Array.from({ length: depth }, make);
    const stats = operations(() => new GetAttr(endpoint, root));
    const lookups = operations(() => new Lookup(endpoint, root, files));
    const creates = operations(() => new Create(endpoint, root));
    await Run.execute(endpoint, peer, files / 4, stats);
    const baseline = lmdbBaseline(files);
    const created = files / (await Run.execute(endpoint, peer, files, creates));
    const looked = (2 * files) / (await Run.execute(endpoint, peer, 2 * files, lookups));
    const statted = (2 * files) / (await Run.execute(endpoint, peer, 2 * files, stats));
    const more = operations(() => new Create(endpoint, root, files));
    const create = (count: number): Promise<number> => Run.execute(endpoint, peer, count, more);
    const grown = await memoryOfFiles(create, tiny ? 1000 : 1_000_000);
    return [
      row('metadata target: create, depth 64', 'creates/s', created, {
        baseline,
        minRatio: 0.4,
        min: 50_000,
      }),
      row('metadata target: lookup, depth 64', 'lookups/s', looked, { min: 200_000 }),
      row('metadata target: getattr, depth 64', 'getattrs/s', statted, { min: 200_000 }),
      row('memory that a million empty files cost a server', 'MB', grown, { max: 32 }),
    ];
  } finally {
    endpoint.close();
  }
}
