/**
 * Which partition of a directory a name belongs to, as far as this client has heard (docs/directories.md).
 * A directory that nobody said anything of is in one piece. What is believed may be old: the target that
 * is asked says so (EREMCHG, or ESTALE of a partition that is no more), and the table is asked for again.
 */
import { errno } from '../common/errno.js';
import { nameHash44 } from '../placement/hash.js';
import { isU53, readU53, writeU53 } from '../protocol/u53.js';
import {
  InodeRequest,
  Opcode,
  PartitionRange,
  PartitionsReply,
} from '../protocol/wire.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { ClientContext } from './context.js';
import type { NameCopy } from './request.js';

/** Hashes of names are below. */
export const HASH_END = 2 ** 44;
/** Names of one hash: what cookies count besides it. */
export const COLLISIONS = 256;
/** Tables that are kept; more than that are forgotten, and asked for again. */
const TABLES_MAX = 4096;

export interface PartitionBeginning {
  readonly cookie: number;
  readonly home: number;
}

interface Table {
  firsts: Float64Array;
  inodes: Float64Array;
}

export class PartitionTables {
  readonly #tables = new Map<number, Table>();

  get size(): number {
    return this.#tables.size;
  }

  /** Inode of the partition that holds this name; the directory itself where it is in one piece. */
  home(directory: number, name: NameCopy): number {
    return this.homeOfHash(directory, name.hash44());
  }

  homeOf(directory: number, name: Uint8Array, nameBytes: number): number {
    if (this.#tables.size === 0) return directory;
    return this.homeOfHash(directory, nameHash44(name, 0, nameBytes));
  }

  homeOfHash(directory: number, hash: number): number {
    if (this.#tables.size === 0) return directory;
    const table = this.#tables.get(directory);
    return table === undefined ? directory : partitionOf(table, hash || 1);
  }

  /** The same of what a listing from behind this cookie begins with. */
  homeAfter(directory: number, cookie: number): number {
    const table = this.#tables.get(directory);
    if (table === undefined) return directory;
    const hash = Math.floor((cookie + 1) / COLLISIONS);
    return partitionOf(table, Math.min(hash, HASH_END - 1));
  }

  /** Cookies that the next partitions begin behind, from this cookie on, at most so many. */
  beginningsAfter(directory: number, cookie: number, most: number): PartitionBeginning[] {
    const table = this.#tables.get(directory);
    const next: PartitionBeginning[] = [];
    for (let i = 1; i < (table?.firsts.length ?? 0) && next.length < most; i++) {
      const before = cookieBefore(table!.firsts[i]!);
      if (before >= cookie) next.push({ cookie: before, home: table!.inodes[i]! });
    }
    return next;
  }

  /** Inodes of the directory's partitions besides itself. */
  othersOf(directory: number): number[] {
    return [...(this.#tables.get(directory)?.inodes ?? [])].filter((inode) => inode !== directory);
  }

  /** Takes the answer of GetPartitions; 0 or EIO. */
  learn(directory: number, words: Uint32Array, body: number, bodyBytes: number): number {
    const count = words[(body + PartitionsReply.count) >>> 2]!;
    if (PartitionsReply.SIZE + count * PartitionRange.SIZE > bodyBytes) return errno.EIO;
    if (count < 2) {
      this.#tables.delete(directory);
      return 0;
    }
    const table = { firsts: new Float64Array(count), inodes: new Float64Array(count) };
    for (let i = 0; i < count; i++) {
      const at = body + PartitionsReply.SIZE + i * PartitionRange.SIZE;
      const isSane = isU53(words, at) && isU53(words, at + PartitionRange.inode);
      if (!isSane) return errno.EIO;
      table.firsts[i] = readU53(words, at + PartitionRange.first);
      table.inodes[i] = readU53(words, at + PartitionRange.inode);
      if (i === 0 ? table.firsts[0] !== 0 : table.firsts[i]! <= table.firsts[i - 1]!) {
        return errno.EIO;
      }
    }
    if (this.#tables.size >= TABLES_MAX) this.#tables.clear();
    this.#tables.set(directory, table);
    return 0;
  }

  forget(directory: number): void {
    this.#tables.delete(directory);
  }
}

/** Cookie behind which the entries from this hash on are. */
export function cookieBefore(hash: number): number {
  return hash * COLLISIONS - 1;
}

function partitionOf({ firsts, inodes }: Table, hash: number): number {
  let low = 0;
  let high = firsts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (firsts[middle]! <= hash) low = middle;
    else high = middle - 1;
  }
  return inodes[low]!;
}

/** Asks for a directory's table, on behalf of the operation that owns it. */
export class TableFetch extends RpcOperation {
  readonly #context: ClientContext;
  readonly #ended: (status: number) => void;
  #directory = 0;
  #peer: RpcPeer | null = null;

  constructor(context: ClientContext, ended: (status: number) => void) {
    super();
    this.#context = context;
    this.#ended = ended;
    this.opcode = Opcode.GetPartitions;
    this.bodyBytes = InodeRequest.SIZE;
  }

  start(directory: number): void {
    this.#directory = directory;
    this.#peer = this.#context.peerOfInode(directory);
    this.#peer.call(this);
  }

  cancel(): void {
    this.#peer?.cancel(this);
  }

  override encode(body: number): number {
    writeU53(this.#context.arena.words, body, this.#directory);
    return InodeRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const context = this.#context;
    this.#peer = null;
    const checked = context.checkReply(status, bodyBytes, PartitionsReply.SIZE);
    if (checked !== 0) context.partitions.forget(this.#directory);
    this.#ended(
      checked || context.partitions.learn(this.#directory, context.arena.words, body, bodyBytes),
    );
  }
}
