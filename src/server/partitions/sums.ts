/**
 * What a directory with partitions shows: its record's attributes, with the subdirectories of all
 * partitions counted, and the latest of their times.
 *
 * The partitions of other targets are asked twice. If nobody's counts have changed between, and neither the
 * table, then what was added up was true of one moment, the one between the two; else all begins anew.
 * Who has something prepared that is decided already answers when it is done (readLock).
 */
import { errno, ESTALE } from '../../common/errno.js';
import type { WallClock } from '../../common/scheduler.js';
import { bucketOfInode } from '../../placement/inode-number.js';
import { isU53, readI53, readU53, writeI53, writeU53 } from '../../protocol/u53.js';
import {
  Attributes,
  AttributesReply,
  PartitionSumsReply,
  PartitionSumsRequest,
} from '../../protocol/wire.generated.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import type { RpcRequest } from '../../transport/rpc-server.js';
import { storedInode } from '../inode-record.js';
import type { Grants } from '../leases/grants.js';
import type { Call, Namespace } from '../namespace.js';
import type { Lock } from '../transactions/locks.js';
import { PartitionSums, SumsOperation } from './messages.js';
import { readTable, type PartitionTable } from './table.js';

/** Directories are made and removed so fast that no two looks agree: the last one has to do. */
const ROUNDS_MAX = 64;
const PAUSE_MS = 1;
/** A target that does not answer is asked again. */
const RETRY_MS = 50;
const LINKS_OF_EMPTY = 2;

export interface SumsHost {
  readonly arena: ArenaMemory;
  readonly namespace: Namespace;
  holderOf(bucket: number): number | undefined;
  peerOf(member: number): RpcPeer | undefined;
  /** Answers GetAttr: writes the reply where `fill` is told to; status. */
  answerLater(request: RpcRequest, roomBytes: number, fill: (call: Call) => number): void;
}

/** One directory's partitions by who has them: a member, -1 for this target. */
type Holders = ReadonlyMap<number, readonly number[]>;

export class DirectorySums {
  readonly #host: SumsHost;
  readonly #grants: Grants;
  #closed = false;

  constructor(host: SumsHost, grants: Grants) {
    this.#host = host;
    this.#grants = grants;
  }

  close(): void {
    this.#closed = true;
  }

  /** Answers GetAttr of a split directory, now or later. */
  answer(request: RpcRequest, directory: number, round = 0): void {
    if (this.#closed) return;
    const { namespace } = this.#host;
    const table = readTable(namespace.meta, directory);
    if (table === undefined) {
      // In one piece again, or gone.
      this.#reply(request, directory, undefined, []);
      return;
    }
    this.#grants.beginSums(request.session, directory);
    const again = (): void => {
      this.answer(request, directory, round + 1);
    };
    const lock = this.#lockOf(table);
    if (lock !== undefined) {
      lock.waiters.push(again);
      return;
    }
    const holders = this.#holdersOf(table);
    if (holders === undefined) {
      this.#later(RETRY_MS, again);
      return;
    }
    this.#collect(holders, (first) => {
      if (first === undefined) this.#later(RETRY_MS, again);
      else if (isAllHere(holders)) this.#reply(request, directory, table, first);
      else {
        this.#collect(holders, (second) => {
          const isTrue = second !== undefined && this.#isMoment(table, first, second);
          if (isTrue || (second !== undefined && round >= ROUNDS_MAX)) {
            this.#reply(request, directory, table, second);
          } else this.#later(second === undefined ? RETRY_MS : PAUSE_MS, again);
        });
      }
    });
  }

  /**
   * `done`, never before this returns, with the latest mtime of the directory's partitions, when all that was
   * acknowledged until now counts; undefined: one of them has no answer.
   */
  lastChanged(directory: number, done: (time: WallClock | undefined) => void): void {
    if (this.#closed) return;
    const table = readTable(this.#host.namespace.meta, directory);
    const holders = table === undefined ? undefined : this.#holdersOf(table);
    if (table === undefined || holders === undefined) {
      this.#later(RETRY_MS, () => {
        done(undefined);
      });
      return;
    }
    const lock = this.#lockOf(table);
    if (lock !== undefined) {
      lock.waiters.push(() => {
        this.lastChanged(directory, done);
      });
      return;
    }
    this.#collect(holders, (all) => {
      const total = all === undefined ? undefined : totalOf(all);
      this.#later(0, () => {
        if (total === undefined) done(undefined);
        else done({ seconds: total.mtimeSeconds, nanoseconds: total.mtimeNanoseconds });
      });
    });
  }

  #later(delayMs: number, then: () => void): void {
    this.#host.namespace.host.scheduler.setTimer(delayMs, then);
  }

  /** Of the directory, or a partition that lies here: what is about to change its counts. */
  #lockOf({ rows }: PartitionTable): Lock | undefined {
    const { locks, recalls } = this.#host.namespace;
    if (locks.size === 0 && recalls.size === 0) return undefined;
    for (const { inode } of rows) {
      const recall = recalls.inode(inode);
      if (recall !== undefined) return recall;
      for (const lock of [locks.inode(inode), locks.anyEntry(inode)]) {
        if (lock?.owner.blocksReads === true) return lock;
      }
    }
    return undefined;
  }

  #holdersOf({ rows }: PartitionTable): Holders | undefined {
    const holders = new Map<number, number[]>();
    for (const { inode } of rows) {
      const holder = this.#host.holderOf(bucketOfInode(inode));
      if (holder === undefined) return undefined;
      const inodes = holders.get(holder) ?? [];
      inodes.push(inode);
      holders.set(holder, inodes);
    }
    return holders;
  }

  /** `done` with the sums of each holder; undefined: one of them has no answer. */
  #collect(holders: Holders, done: (sums: PartitionSums[] | undefined) => void): void {
    const sums: PartitionSums[] = [];
    let left = 1;
    let failed = false;
    const answered = (): void => {
      if (--left === 0) done(failed ? undefined : sums);
    };
    for (const [holder, inodes] of holders) {
      const one = new PartitionSums();
      sums.push(one);
      if (holder < 0) {
        if (!sumUp(this.#host.namespace, inodes, one)) failed = true;
        continue;
      }
      const peer = this.#host.peerOf(holder);
      if (peer === undefined) {
        failed = true;
        continue;
      }
      left++;
      const operation = new SumsOperation(this.#host.arena, inodes);
      operation.answered = (status, body) => {
        if (status === 0) readSums(this.#host.arena.words, body, one);
        else failed = true;
        answered();
      };
      peer.call(operation);
    }
    answered();
  }

  #isMoment(
    table: PartitionTable,
    first: readonly PartitionSums[],
    second: readonly PartitionSums[],
  ): boolean {
    const { meta } = this.#host.namespace;
    const rows = readTable(meta, table.rows[0]!.inode)?.rows ?? [];
    const isSameTable =
      rows.length === table.rows.length &&
      rows.every((row, i) => row.inode === table.rows[i]!.inode);
    const isSame = first.every(({ changes }, i) => changes === second[i]!.changes);
    return isSameTable && isSame && this.#lockOf(table) === undefined;
  }

  #reply(
    request: RpcRequest,
    directory: number,
    table: PartitionTable | undefined,
    sums: readonly PartitionSums[],
  ): void {
    const { namespace } = this.#host;
    this.#host.answerLater(request, AttributesReply.SIZE, (call) => {
      const status = namespace.replyStored(call, directory, true);
      if (status !== 0 || table === undefined) return status;
      show(call, table, sums);
      const { words } = call.out;
      const leases = this.#grants.endSums(request.session, directory);
      words[(call.reply + AttributesReply.flags) >>> 2]! |= leases;
      return status;
    });
  }
}

function isAllHere(holders: Holders): boolean {
  return holders.size === 1 && holders.has(-1);
}

/** Adds up what is stored of these inodes; false: one is not there. */
function sumUp(ns: Namespace, inodes: readonly number[], sums: PartitionSums): boolean {
  sums.changes = ns.inodes.linkChanges;
  for (const inode of inodes) {
    const record = storedInode(ns.meta, inode);
    if (record === undefined) return false;
    const view = new DataView(record.buffer, record.byteOffset, record.length);
    sums.subdirectories += view.getUint32(Attributes.linkCount, true) - LINKS_OF_EMPTY;
    const mtime = Number(view.getBigInt64(Attributes.mtimeSeconds, true));
    const mtimeNs = view.getUint32(Attributes.mtimeNanoseconds, true);
    const ctime = Number(view.getBigInt64(Attributes.ctimeSeconds, true));
    const ctimeNs = view.getUint32(Attributes.ctimeNanoseconds, true);
    // A time that was set, by whatever program, is not after the change that set it.
    later(sums, mtime, mtimeNs, ctime, ctimeNs);
  }
  return true;
}

function isLater(seconds: number, nanoseconds: number, than: number, thanNs: number): boolean {
  return seconds > than || (seconds === than && nanoseconds > thanNs);
}

function later(
  sums: PartitionSums,
  mtime: number,
  mtimeNs: number,
  ctime: number,
  ctimeNs: number,
): void {
  // What was set to a time to come says nothing of when something changed.
  const isSet = isLater(mtime, mtimeNs, ctime, ctimeNs);
  if (!isSet && isLater(mtime, mtimeNs, sums.mtimeSeconds, sums.mtimeNanoseconds)) {
    sums.mtimeSeconds = mtime;
    sums.mtimeNanoseconds = mtimeNs;
  }
  if (isLater(ctime, ctimeNs, sums.ctimeSeconds, sums.ctimeNanoseconds)) {
    sums.ctimeSeconds = ctime;
    sums.ctimeNanoseconds = ctimeNs;
  }
}

function readSums(words: Uint32Array, body: number, sums: PartitionSums): void {
  sums.subdirectories = readU53(words, body + PartitionSumsReply.subdirectories);
  sums.changes = readU53(words, body + PartitionSumsReply.changes);
  sums.mtimeSeconds = readI53(words, body + PartitionSumsReply.mtimeSeconds);
  sums.ctimeSeconds = readI53(words, body + PartitionSumsReply.ctimeSeconds);
  sums.mtimeNanoseconds = words[(body + PartitionSumsReply.mtimeNanoseconds) >>> 2]!;
  sums.ctimeNanoseconds = words[(body + PartitionSumsReply.ctimeNanoseconds) >>> 2]!;
}

function totalOf(all: readonly PartitionSums[]): PartitionSums {
  const total = new PartitionSums();
  for (const sums of all) {
    total.subdirectories += sums.subdirectories;
    const { mtimeSeconds, mtimeNanoseconds, ctimeSeconds, ctimeNanoseconds } = sums;
    later(total, mtimeSeconds, mtimeNanoseconds, ctimeSeconds, ctimeNanoseconds);
  }
  return total;
}

/** The directory's attributes at the reply, with the sums of all pieces. */
function show(call: Call, table: PartitionTable, all: readonly PartitionSums[]): void {
  const { words } = call.out;
  const at = call.reply + AttributesReply.attributes;
  const total = totalOf(all);
  words[(at + Attributes.linkCount) >>> 2] = LINKS_OF_EMPTY + total.subdirectories;
  writeI53(words, at + Attributes.ctimeSeconds, total.ctimeSeconds);
  words[(at + Attributes.ctimeNanoseconds) >>> 2] = total.ctimeNanoseconds;
  const { setSeconds, setNanoseconds } = table;
  if (!isLater(total.mtimeSeconds, total.mtimeNanoseconds, setSeconds, setNanoseconds)) return;
  writeI53(words, at + Attributes.mtimeSeconds, total.mtimeSeconds);
  words[(at + Attributes.mtimeNanoseconds) >>> 2] = total.mtimeNanoseconds;
}

/** PartitionSums. */
export function partitionSums(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const { body } = call;
  const count = words[(body + PartitionSumsRequest.count) >>> 2]!;
  if (PartitionSumsRequest.SIZE + 8 * count > call.bodyBytes) return errno.EINVAL;
  const inodes: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = body + PartitionSumsRequest.SIZE + 8 * i;
    if (!isU53(words, at)) return errno.EINVAL;
    inodes.push(readU53(words, at));
  }
  const sums = new PartitionSums();
  if (!sumUp(ns, inodes, sums)) return ESTALE;
  const to = call.out.words;
  const { reply } = call;
  writeU53(to, reply + PartitionSumsReply.subdirectories, sums.subdirectories);
  writeU53(to, reply + PartitionSumsReply.changes, sums.changes);
  writeI53(to, reply + PartitionSumsReply.mtimeSeconds, sums.mtimeSeconds);
  writeI53(to, reply + PartitionSumsReply.ctimeSeconds, sums.ctimeSeconds);
  to[(reply + PartitionSumsReply.mtimeNanoseconds) >>> 2] = sums.mtimeNanoseconds;
  to[(reply + PartitionSumsReply.ctimeNanoseconds) >>> 2] = sums.ctimeNanoseconds;
  call.replyBytes = PartitionSumsReply.SIZE;
  return 0;
}
