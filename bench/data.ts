/**
 * One data target driven over TCP: 1 MiB chunks at depth 8 beside fio on the same disk, and 47,008
 * byte records (as the IO500's hard phase writes them) beside those. Runs under `sealfs up`.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManagerClient } from '../src/common/manager-client.js';
import { crc32c, crc32cBlocks } from '../src/native/crc32c.js';
import { blockBytes, chunkBytes } from '../src/protocol/limits.generated.js';
import { readU53, writeU16, writeU53 } from '../src/protocol/u53.js';
import {
  AttributesReply,
  CreateRequest,
  InodeRequest,
  Opcode,
  ReadReply,
  ReadRequest,
  WriteRequest,
} from '../src/protocol/wire.generated.js';
import type { RpcPeer } from '../src/transport/rpc-client.js';
import { BenchEndpoint, BenchOperation, Run } from './endpoint.js';
import { alternate, row } from './report.js';
import type { Row } from './report.js';

const recordBytes = 47_008;
const chunkDepth = 8;
const recordDepth = 60;

/** A run of one chunk: what one request reads or writes. */
interface Piece {
  chunk: number;
  offset: number;
  lengthBytes: number;
}

function chunkPieces(chunks: number): Piece[] {
  return Array.from({ length: chunks }, (_, chunk) => {
    return { chunk, offset: 0, lengthBytes: chunkBytes };
  });
}

/** The records of a file of `chunks` chunks, cut at chunk boundaries. */
function recordPieces(chunks: number): Piece[] {
  const pieces: Piece[] = [];
  const end = Math.floor((chunks * chunkBytes) / recordBytes) * recordBytes;
  for (let at = 0; at < end; at += recordBytes) {
    let done = 0;
    while (done < recordBytes) {
      const offset = (at + done) % chunkBytes;
      const lengthBytes = Math.min(recordBytes - done, chunkBytes - offset);
      pieces.push({ chunk: Math.floor((at + done) / chunkBytes), offset, lengthBytes });
      done += lengthBytes;
    }
  }
  return pieces;
}

abstract class PieceOperation extends BenchOperation {
  readonly endpoint: BenchEndpoint;
  readonly inode: number;
  readonly pieces: Piece[];
  readonly slot: number;
  piece!: Piece;

  constructor(endpoint: BenchEndpoint, inode: number, pieces: Piece[], slot: number) {
    super();
    this.endpoint = endpoint;
    this.inode = inode;
    this.pieces = pieces;
    this.slot = slot;
  }

  protected take(index: number): number {
    this.piece = this.pieces[index]!;
    return this.piece.lengthBytes;
  }
}

class WriteOperation extends PieceOperation {
  override prepare(index: number): void {
    this.opcode = Opcode.Write;
    this.bulkBytes = this.take(index);
    this.bulkOffset = this.slot;
    this.bodyBytes = WriteRequest.SIZE + 4 * Math.ceil(this.bulkBytes / blockBytes);
  }

  override encode(body: number): number {
    const { arena } = this.endpoint;
    const { words } = arena;
    const count = Math.ceil(this.bulkBytes / blockBytes);
    writeU53(words, body + WriteRequest.inode, this.inode);
    writeU53(words, body + WriteRequest.layout, 0);
    writeU53(words, body + WriteRequest.chunk, this.piece.chunk);
    words[(body + WriteRequest.offset) >>> 2] = this.piece.offset;
    words[(body + WriteRequest.lengthBytes) >>> 2] = this.bulkBytes;
    words[(body + WriteRequest.flags) >>> 2] = 0;
    words[(body + WriteRequest.inlineBytes) >>> 2] = 0;
    words[(body + WriteRequest.checksumCount) >>> 2] = count;
    words[(body + WriteRequest.reserved) >>> 2] = 0;
    crc32cBlocks(arena, this.slot, this.bulkBytes, body + WriteRequest.SIZE);
    return this.bodyBytes;
  }
}

class ReadOperation extends PieceOperation {
  override prepare(index: number): void {
    this.opcode = Opcode.Read;
    this.landingBytes = this.take(index);
    this.landingOffset = this.slot;
    this.bodyBytes = ReadRequest.SIZE;
  }

  override encode(body: number): number {
    const { words } = this.endpoint.arena;
    writeU53(words, body + ReadRequest.inode, this.inode);
    writeU53(words, body + ReadRequest.layout, 0);
    writeU53(words, body + ReadRequest.chunk, this.piece.chunk);
    words[(body + ReadRequest.offset) >>> 2] = this.piece.offset;
    words[(body + ReadRequest.lengthBytes) >>> 2] = this.landingBytes;
    return ReadRequest.SIZE;
  }

  protected override check(body: number, _bodyBytes: number, bulkBytes: number): void {
    const { arena } = this.endpoint;
    const expected = arena.words[(body + ReadReply.checksum) >>> 2]!;
    const inline = arena.words[(body + ReadReply.inlineBytes) >>> 2]!;
    const at = inline === 0 ? this.slot : body + ReadReply.SIZE;
    const length = inline === 0 ? bulkBytes : inline;
    if (length !== this.landingBytes || crc32c(arena, at, length) !== expected) {
      throw new Error(`chunk ${this.piece.chunk}: ${length} bytes, or a wrong checksum`);
    }
  }
}

class CreateFile extends BenchOperation {
  readonly endpoint: BenchEndpoint;
  readonly parent: number;
  readonly name: string;
  inode = 0;

  constructor(endpoint: BenchEndpoint, parent: number, name: string) {
    super();
    this.endpoint = endpoint;
    this.parent = parent;
    this.name = name;
  }

  override prepare(): void {
    this.opcode = Opcode.Create;
    this.bodyBytes = CreateRequest.SIZE + 64;
  }

  override encode(body: number): number {
    const { words, bytes } = this.endpoint.arena;
    words.fill(0, body >>> 2, (body + CreateRequest.SIZE) >>> 2);
    writeU53(words, body + CreateRequest.parent, this.parent);
    words[(body + CreateRequest.mode) >>> 2] = 0o100644;
    writeU16(words, body + CreateRequest.nameBytes, this.name.length);
    new TextEncoder().encodeInto(this.name, bytes.subarray(body + CreateRequest.SIZE));
    return CreateRequest.SIZE + this.name.length;
  }

  protected override check(body: number): void {
    this.inode = readU53(this.endpoint.arena.words, body + AttributesReply.attributes);
  }
}

class MarkStriped extends BenchOperation {
  readonly file: CreateFile;

  constructor(file: CreateFile) {
    super();
    this.file = file;
  }

  override prepare(): void {
    this.opcode = Opcode.MarkStriped;
    this.bodyBytes = InodeRequest.SIZE;
  }

  override encode(body: number): number {
    writeU53(this.file.endpoint.arena.words, body + InodeRequest.inode, this.file.inode);
    return InodeRequest.SIZE;
  }
}

/** MiB/s of fio at 1 MiB and depth 8, past the page cache, on the file system of temporary files. */
function fio(mode: 'write' | 'read', mebibytes: number, path: string): number {
  const out = execFileSync(
    'fio',
    ['--name=limit', `--filename=${path}`, `--size=${mebibytes}m`, `--rw=${mode}`, '--bs=1m']
      .concat(['--iodepth=8', '--ioengine=io_uring', '--direct=1', '--fallocate=posix'])
      .concat(['--output-format=json']),
    { encoding: 'utf8' },
  );
  const report = JSON.parse(out.slice(out.indexOf('{'))) as {
    jobs: Record<'write' | 'read', { bw_bytes: number }>[];
  };
  return report.jobs[0]![mode].bw_bytes / 2 ** 20;
}

class DataBench {
  readonly #endpoint: BenchEndpoint;
  readonly #peer: RpcPeer;
  readonly #root: number;
  readonly #slots: number[];

  constructor(endpoint: BenchEndpoint, peer: RpcPeer, root: number) {
    this.#endpoint = endpoint;
    this.#peer = peer;
    this.#root = root;
    const { bulk } = endpoint.arena;
    this.#slots = Array.from({ length: 16 }, () => bulk.take());
    for (const slot of this.#slots) fillWithNoise(endpoint.arena.words, slot, chunkBytes);
  }

  async createStriped(name: string): Promise<number> {
    const file = new CreateFile(this.#endpoint, this.#root, name);
    await Run.execute(this.#endpoint, this.#peer, 1, [file]);
    await Run.execute(this.#endpoint, this.#peer, 1, [new MarkStriped(file)]);
    return file.inode;
  }

  /** MiB/s over these pieces. Small pieces share bulk slots. */
  async #rate(
    kind: typeof WriteOperation | typeof ReadOperation,
    inode: number,
    pieces: Piece[],
    depth: number,
  ): Promise<number> {
    const perSlot = depth > chunkDepth ? Math.ceil(depth / this.#slots.length) : 1;
    const operations = Array.from({ length: depth }, (_, i) => {
      const within = (i % perSlot) * 65_536;
      return new kind(
        this.#endpoint,
        inode,
        pieces,
        this.#slots[Math.floor(i / perSlot)]! + within,
      );
    });
    const bytes = pieces.reduce((sum, piece) => sum + piece.lengthBytes, 0);
    const seconds = await Run.execute(this.#endpoint, this.#peer, pieces.length, operations);
    return bytes / 2 ** 20 / seconds;
  }

  write(inode: number, pieces: Piece[], depth: number): Promise<number> {
    return this.#rate(WriteOperation, inode, pieces, depth);
  }

  read(inode: number, pieces: Piece[], depth: number): Promise<number> {
    return this.#rate(ReadOperation, inode, pieces, depth);
  }
}

function fillWithNoise(words: Uint32Array, offset: number, lengthBytes: number): void {
  let state = offset | 1;
  for (let i = offset >>> 2; i < (offset + lengthBytes) >>> 2; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    words[i] = state;
  }
}

/** Inside `sealfs up --servers 1 --targets 1 -- …`. */
export async function benchDataInside(tiny: boolean): Promise<Row[]> {
  const chunks = tiny ? 8 : 1024;
  const manager = process.env['SEALFS_MANAGER'];
  if (manager === undefined) throw new Error('SEALFS_MANAGER is not set');
  const volume = (await new ManagerClient(manager).volumes())[0]!;
  const { endpoint, peer } = await BenchEndpoint.ofCluster(manager);
  const scratch = mkdtempSync(join(tmpdir(), 'sealfs-bench-fio-'));
  try {
    const bench = new DataBench(endpoint, peer, volume.rootInode);
    const whole = chunkPieces(chunks);
    const records = recordPieces(chunks);
    await bench.write(await bench.createStriped('warm'), chunkPieces(Math.ceil(chunks / 4)), 8);
    const easy = await bench.createStriped('easy');
    const hard = await bench.createStriped('hard');
    const limitFile = join(scratch, 'limit');
    const [writeLimit, write, hardWrite] = await alternate(tiny ? 1 : 3, [
      () => fio('write', chunks, limitFile),
      () => bench.write(easy, whole, chunkDepth),
      () => bench.write(hard, records, recordDepth),
    ]);
    const [readLimit, read, hardRead] = await alternate(tiny ? 1 : 3, [
      () => fio('read', chunks, limitFile),
      () => bench.read(easy, whole, chunkDepth),
      () => bench.read(hard, records, recordDepth),
    ]);
    const reach = { minRatio: 0.8 };
    const hardReach = { minRatio: 0.6 };
    return [
      row('data: 1 MiB write, depth 8', 'MiB/s', write!, { baseline: writeLimit!, ...reach }),
      row('data: 1 MiB read, depth 8', 'MiB/s', read!, { baseline: readLimit!, ...reach }),
      row('data: 47,008 B write', 'MiB/s', hardWrite!, { baseline: write!, ...hardReach }),
      row('data: 47,008 B read', 'MiB/s', hardRead!, { baseline: read!, ...hardReach }),
    ];
  } finally {
    endpoint.close();
    rmSync(scratch, { recursive: true });
  }
}
