/** What targets ask each other about partitions: a table, entries that move. */
import { errno } from '../../common/errno.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import { readU53, writeU16, writeU53 } from '../../protocol/u53.js';
import {
  DirEntry,
  InodeRequest,
  MoveEntriesRequest,
  Opcode,
  PartitionRange,
  PartitionsReply,
  PartitionSumsReply,
  PartitionSumsRequest,
} from '../../protocol/wire.generated.js';
import { RpcOperation, type RpcPeer } from '../../transport/rpc-client.js';
import { Dentry } from '../dentries.js';
import { COLLISIONS } from '../keys.js';
import type { Namespace } from '../namespace.js';
import type { StepAnswer } from '../transactions/coordinator.js';
import { NumberOperation } from '../transactions/messages.js';
import type { StepRequest } from '../transactions/step.js';
import type { PartitionRow } from './table.js';

/** As long as a participant has for a step. */
const DEADLINE_MS = 2000;
/** Of entries in one message. */
const MOVE_BYTES = 12_288;
const nothing: StepAnswer = { inode: 0, mode: 0, count: 0 };

type Done = (status: number, answer: StepAnswer | undefined) => void;

/** The other partitions of a directory. */
export function askTable(arena: ArenaMemory, peer: RpcPeer, directory: number, done: Done): void {
  const operation = new NumberOperation(arena, Opcode.GetPartitions, directory);
  operation.deadlineMs = DEADLINE_MS;
  operation.answered = (status, body, bodyBytes) => {
    if (status !== 0 || bodyBytes < PartitionsReply.SIZE) {
      done(status || errno.EIO, undefined);
      return;
    }
    const { words } = arena;
    const rows: PartitionRow[] = [];
    const count = words[(body + PartitionsReply.count) >>> 2]!;
    for (let i = 0; i < count; i++) {
      const at = PartitionsReply.SIZE + i * PartitionRange.SIZE;
      if (at + PartitionRange.SIZE > bodyBytes) break;
      const first = readU53(words, body + at + PartitionRange.first);
      rows.push({ first, inode: readU53(words, body + at + PartitionRange.inode) });
    }
    const partitions = rows.slice(1).map((row) => row.inode);
    done(0, { ...nothing, count: partitions.length, partitions, rows });
  };
  peer.call(operation);
}

/** An entry as a message carries it. */
interface MovedEntry {
  cookie: number;
  inode: number;
  mode: number;
  name: Uint8Array;
}

class MoveOperation extends RpcOperation {
  answered: (status: number) => void = () => undefined;
  readonly #arena: ArenaMemory;
  readonly #partition: number;
  readonly #transaction: number;
  readonly #entries: readonly MovedEntry[];

  constructor(
    arena: ArenaMemory,
    partition: number,
    transaction: number,
    entries: readonly MovedEntry[],
    bodyBytes: number,
  ) {
    super();
    this.#arena = arena;
    this.#partition = partition;
    this.#transaction = transaction;
    this.#entries = entries;
    this.opcode = Opcode.MoveEntries;
    this.bodyBytes = bodyBytes;
    this.deadlineMs = DEADLINE_MS;
  }

  override encode(body: number): number {
    const { bytes, words } = this.#arena;
    writeU53(words, body + MoveEntriesRequest.inode, this.#partition);
    writeU53(words, body + MoveEntriesRequest.transaction, this.#transaction);
    words[(body + MoveEntriesRequest.count) >>> 2] = this.#entries.length;
    words[(body + MoveEntriesRequest.reserved) >>> 2] = 0;
    let at = body + MoveEntriesRequest.SIZE;
    for (const { cookie, inode, mode, name } of this.#entries) {
      writeU53(words, at + DirEntry.inode, inode);
      writeU53(words, at + DirEntry.cookie, cookie);
      writeU16(words, at + DirEntry.nameBytes, name.length);
      writeU16(words, at + DirEntry.hasAttributes, 0);
      words[(at + DirEntry.mode) >>> 2] = mode;
      bytes.set(name, at + DirEntry.SIZE);
      const end = at + DirEntry.SIZE + name.length;
      at = (end + 7) & ~7;
      bytes.fill(0, end, at);
    }
    return at - body;
  }

  override done(status: number): void {
    this.answered(status);
  }
}

export interface EntrySender {
  readonly arena: ArenaMemory;
  readonly namespace: Namespace;
}

/**
 * Sends the entries of `request.inode` whose hashes are in its range to the partition `request.other`,
 * message by message. They are frozen, so that what is committed stays as it is.
 */
export function sendEntries(
  host: EntrySender,
  peer: RpcPeer,
  request: StepRequest,
  transaction: number,
  done: Done,
): void {
  const { inode, other, first, end } = request;
  const { dentries } = host.namespace;
  const next = (cookie: number): void => {
    const entries: MovedEntry[] = [];
    let bytes = MoveEntriesRequest.SIZE;
    dentries.list(
      inode,
      cookie,
      (entryCookie, entryInode, mode, value) => {
        const name = value.slice(Dentry.name);
        const length = (DirEntry.SIZE + name.length + 7) & ~7;
        if (bytes + length > MOVE_BYTES) return false;
        bytes += length;
        entries.push({ cookie: entryCookie, inode: entryInode, mode, name });
        return true;
      },
      end * COLLISIONS,
    );
    const last = entries.at(-1);
    if (last === undefined) {
      done(0, nothing);
      return;
    }
    const operation = new MoveOperation(host.arena, other, transaction, entries, bytes);
    operation.answered = (status) => {
      if (status === 0) next(last.cookie);
      else done(status, undefined);
    };
    peer.call(operation);
  };
  next(first * COLLISIONS - 1);
}

/** What some partitions say together. */
export class PartitionSums {
  subdirectories = 0;
  changes = 0;
  mtimeSeconds = 0;
  mtimeNanoseconds = 0;
  ctimeSeconds = 0;
  ctimeNanoseconds = 0;
}

export class SumsOperation extends RpcOperation {
  answered: (status: number, body: number, bodyBytes: number) => void = () => undefined;
  readonly #arena: ArenaMemory;
  readonly #partitions: readonly number[];

  constructor(arena: ArenaMemory, partitions: readonly number[]) {
    super();
    this.#arena = arena;
    this.#partitions = partitions;
    this.opcode = Opcode.PartitionSums;
    this.bodyBytes = PartitionSumsRequest.SIZE + 8 * partitions.length;
    this.deadlineMs = DEADLINE_MS;
  }

  override encode(body: number): number {
    const { words } = this.#arena;
    words[(body + PartitionSumsRequest.count) >>> 2] = this.#partitions.length;
    words[(body + PartitionSumsRequest.reserved) >>> 2] = 0;
    for (const [i, inode] of this.#partitions.entries()) {
      writeU53(words, body + PartitionSumsRequest.SIZE + 8 * i, inode);
    }
    return this.bodyBytes;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const isShort = status === 0 && bodyBytes < PartitionSumsReply.SIZE;
    this.answered(isShort ? errno.EIO : status, body, bodyBytes);
  }
}

if (InodeRequest.SIZE !== 8) throw new Error('partitions: layout');
