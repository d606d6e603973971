/**
 * The name space of one target: the state that its operations share. Operations are functions in
 * namespace-*.ts that take this and a `Call`, check everything first, then change, and return 0 or
 * an errno; an operation that fails has changed nothing.
 *
 * Mutations run inside a transaction of the MetaStore, many of them in one:
 *
 *   transaction { operation, operation, …; save() }  ->  committed() or aborted()
 *
 * Reads run outside and see what is committed.
 */
import { EREMCHG, errno, ESTALE } from '../common/errno.js';
import type { Scheduler, WallClock } from '../common/scheduler.js';
import { bucketOfInode, isInode, makeInode, SEQUENCE_LIMIT } from '../placement/inode-number.js';
import { firstSequence } from '../protocol/limits.generated.js';
import { Attributes, AttributesReply } from '../protocol/wire.generated.js';
import { isU53, readU16, readU53 } from '../protocol/u53.js';
import type { Session } from '../transport/rpc-server.js';
import { checkNameBytes } from './check-name.js';
import { DentryTable, entryHash, FoundEntry, type NameHash } from './dentries.js';
import type { FileSpace } from './file-space.js';
import {
  FLAG_PARTITION,
  FLAG_PROMISED,
  FLAG_XATTRS,
  InodeRecord,
  InodeTable,
  storedInode,
} from './inode-record.js';
import {
  linkTargetKey,
  nextSequenceKey,
  numberOfOwnKey,
  orphanKey,
  ownRange,
  partitionsKey,
  propertyKey,
  xattrsKey,
} from './keys.js';
import { RecallTable } from './leases/recalls.js';
import { Touched } from './leases/touched.js';
import type { MetaStore } from './meta-store-api.js';
import { flagsOf, isDivided, rangeOf } from './partitions/table.js';
import { RemovedDirectories } from './removed-directories.js';
import type { Coordinator, Transaction } from './transactions/coordinator.js';
import { blockedBy, LOCK_TABLE, LockTable, type Lock } from './transactions/locks.js';
import { Participant } from './transactions/participant.js';

/** Memory that holds wire structs: the arena, or a batch's copy of bodies. */
export interface WireMemory {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
}

/** One operation's input and output; reused. */
export class Call {
  session: Session | undefined;
  /** Of a transaction's part: the client that asked for it, if its own leases need no recall; else 0. */
  client = 0;
  memory!: WireMemory;
  /** Offset of the request's body in `memory`, a multiple of 8. */
  body = 0;
  bodyBytes = 0;
  out!: WireMemory;
  /** Offset in `out` where the reply's body goes, a multiple of 8. */
  reply = 0;
  /** Set by the operation. */
  replyBytes = 0;
  /** What a replay of the reply is built from. */
  result0 = 0;
  result1 = 0;
  /** Not 0: a handle of this inode is registered when the transaction is committed. */
  openInode = 0;
  /** Not 0: the reply waits until the data of this inode is cut everywhere. */
  waitForCut = 0;
  /** The lock that the operation has met; it answers BLOCKED. */
  blockedBy: Lock | undefined;
  /** What of it is prepared on other targets; belongs to the coordinator. */
  transaction: Transaction | undefined;
}

/** What the name space asks of the target around it. */
export interface NamespaceHost {
  now(): WallClock;
  /** Whether this target holds the bucket. */
  owns(bucket: number): boolean;
  isOpen(inode: number): boolean;
  /** Inside a transaction: all data of an inode that is removed goes, now or later. */
  removeData(inode: number, layout: number, hasData: boolean, striped: boolean): void;
  /**
   * Inside a transaction: data from a byte on goes. True: it is gone in this transaction; false:
   * other chunks or targets are asked, and replies wait for that.
   */
  cutData(inode: number, layout: number, fromByte: number, striped: boolean): boolean;
  /** The file's data is being cut: what changes its size has to wait. */
  isBeingCut(inode: number): boolean;
  /** Partitions that a directory may have. */
  readonly partitionsMax: number;
  /** The bucket of a directory's partition of this number (placement/partition-bucket.ts). */
  partitionBucket(directory: number, number: number): number;
  readonly space: FileSpace;
  readonly scheduler: Scheduler;
  /** Of operations that need other targets. */
  readonly coordinator: Coordinator;
}

const SEQUENCES_RESERVED = 1024;
const INODE_COUNT_KEY = propertyKey('inodes');
const ATTRIBUTES_WORDS = Attributes.SIZE / 4;

export class Namespace {
  readonly meta: MetaStore;
  readonly host: NamespaceHost;
  readonly inodes: InodeTable;
  readonly dentries: DentryTable;
  readonly removed = new RemovedDirectories();
  /** Scratch of operations. */
  readonly found = new FoundEntry();
  readonly found2 = new FoundEntry();
  /** What transactions of other targets hold here, and this target's own. */
  readonly locks = new LockTable();
  readonly participant: Participant;
  /** What the operation in execution changes, and what of that is being recalled (leases/). */
  readonly touched = new Touched();
  readonly recalls = new RecallTable();
  /** Inodes without a name that were open when it went. */
  readonly orphans = new Set<number>();
  /** Partitions that lie here and go with the directory that is being dropped: see dropOtherDirectory. */
  readonly dropping: number[] = [];
  readonly #sequences = new Map<number, { next: number; end: number }>();
  readonly #number = new Uint8Array(8);
  readonly #numberView = new DataView(this.#number.buffer);
  #inodeCount = 0;
  #inodeDelta = 0;

  constructor(meta: MetaStore, host: NamespaceHost, hash?: NameHash) {
    this.meta = meta;
    this.host = host;
    this.inodes = new InodeTable(meta, this.touched);
    this.dentries = new DentryTable(meta, this.touched, hash);
    this.participant = new Participant(this, () => host.scheduler.nowMs());
  }

  /** Reads what is kept in memory. */
  open(): void {
    const { seconds, nanoseconds } = this.host.now();
    // Others than before a restart.
    this.inodes.linkChanges = seconds * 1e6 + Math.floor(nanoseconds / 1000);
    this.#inodeCount = this.#readNumber(INODE_COUNT_KEY) ?? 0;
    this.orphans.clear();
    const { start, end } = ownRange('orphan');
    this.meta.scan(start, end, (key) => {
      this.orphans.add(numberOfOwnKey(key));
      return true;
    });
    this.participant.open();
  }

  /** Inodes in use, committed. */
  get inodeCount(): number {
    return this.#inodeCount;
  }

  /** At the end of a transaction, inside it. */
  save(): void {
    this.inodes.save();
    if (this.#inodeDelta !== 0) {
      this.#writeNumber(INODE_COUNT_KEY, this.#inodeCount + this.#inodeDelta);
    }
  }

  committed(): void {
    this.inodes.clear();
    this.#inodeCount += this.#inodeDelta;
    this.#inodeDelta = 0;
    this.participant.committed();
  }

  aborted(): void {
    this.inodes.clear();
    this.#inodeDelta = 0;
    // What was reserved in the transaction is not; reading again wastes at most a reserve.
    this.#sequences.clear();
    this.participant.aborted();
  }

  countInodes(delta: number): void {
    this.#inodeDelta += delta;
  }

  /** A new inode number in the bucket, never used before. Inside a transaction. */
  allocateInode(bucket: number): number {
    let range = this.#sequences.get(bucket);
    if (range === undefined) {
      const next = this.#readNumber(nextSequenceKey(bucket)) ?? firstSequence;
      range = { next, end: next };
      this.#sequences.set(bucket, range);
    }
    if (range.next === range.end) {
      if (range.end + SEQUENCES_RESERVED > SEQUENCE_LIMIT) return 0;
      range.end += SEQUENCES_RESERVED;
      this.#writeNumber(nextSequenceKey(bucket), range.end);
    }
    return makeInode(bucket, range.next++);
  }

  /** Removes a record that nothing refers to any more, and its data. */
  dropInode(at: number): void {
    const inode = this.inodes.inode(at);
    const mode = this.inodes.mode(at);
    if ((this.inodes.get32(at, InodeRecord.flags) & FLAG_XATTRS) !== 0) {
      this.meta.remove(xattrsKey(inode));
    }
    if ((mode & 0o170000) === 0o120000) this.meta.remove(linkTargetKey(inode));
    if ((mode & 0o170000) === 0o100000) {
      const promised = (this.inodes.get32(at, InodeRecord.flags) & FLAG_PROMISED) !== 0;
      const hasData = promised || this.inodes.size(at) > 0;
      this.host.removeData(inode, this.inodes.layout(at), hasData, this.inodes.isStriped(at));
    }
    const flags = this.inodes.get32(at, InodeRecord.flags);
    if (isDivided(flags)) this.meta.remove(partitionsKey(inode));
    // Not a root: nobody stands in a volume that is deleted. Nor in a partition.
    const isShown = this.inodes.isDirectory(at) && (flags & FLAG_PARTITION) === 0;
    if (isShown && this.inodes.parent(at) !== 0) {
      this.removed.keep(inode, this.inodes.bytes, at);
    }
    this.inodes.remove(at);
    this.countInodes(-1);
  }

  /** One name less: the last one takes the inode with it, or leaves an orphan while it is open. */
  dropLink(at: number): void {
    const count = this.inodes.linkCount(at) - 1;
    this.inodes.setLinkCount(at, count);
    this.inodes.setCtime(at, this.host.now());
    this.inodes.touch(at);
    if (count > 0) return;
    const inode = this.inodes.inode(at);
    if (!this.host.isOpen(inode)) {
      this.dropInode(at);
      return;
    }
    this.orphans.add(inode);
    this.meta.put(orphanKey(inode), new Uint8Array(0));
  }

  /**
   * The last handle of an orphan is closed. Inside a transaction. One that is about to get a name is
   * left alone unless `evenLocked`: whoever forgets the link calls again.
   */
  dropOrphan(inode: number, evenLocked = false): void {
    if (this.host.isOpen(inode)) return;
    if (!evenLocked && this.locks.inode(inode) !== undefined) return;
    this.orphans.delete(inode);
    if (!this.meta.remove(orphanKey(inode))) return;
    const at = this.inodes.load(inode);
    if (at >= 0 && this.inodes.linkCount(at) === 0) this.dropInode(at);
  }

  // ---------------------------------------------------------------- locks

  /**
   * An entry of this name is about to be added, changed or removed: 0, BLOCKED, or EREMCHG when it belongs
   * to another partition of the directory.
   */
  checkEntryLock(call: Call, directory: number, name: number, nameBytes: number): number {
    const flags = this.flagsOf(directory);
    if (this.locks.size === 0 && this.recalls.size === 0 && !isDivided(flags)) return 0;
    const hash = this.dentries.hashOf(call.memory.bytes, name, nameBytes);
    const lock =
      this.locks.entry(directory, hash) ??
      this.locks.removal(directory) ??
      this.locks.frozen(directory, entryHash(hash)) ??
      this.recalls.entry(directory, entryHash(hash));
    if (lock !== undefined) return blockedBy(call, lock);
    return this.holds(directory, flags, hash) ? 0 : this.#isElsewhere(call, directory);
  }

  /** EREMCHG; or BLOCKED, while it is not known here yet whether the name is to be here from now on. */
  #isElsewhere(call: Call, directory: number): number {
    const lock = this.locks.inode(directory);
    return lock?.kind === LOCK_TABLE ? blockedBy(call, lock) : EREMCHG;
  }

  /** Whether a name of this hash belongs to the directory, or partition, that has these flags. */
  holds(directory: number, flags: number, hash: number): boolean {
    if (!isDivided(flags)) return true;
    const { first, end } = rangeOf(this.meta, directory, flags);
    const placed = entryHash(hash);
    return placed >= first && placed < end;
  }

  /** The same of what is committed. Outside of transactions. */
  holdsStored(directory: number, hash: number): boolean {
    const record = storedInode(this.meta, directory);
    return record === undefined || this.holds(directory, flagsOf(record), hash);
  }

  /** Of an inode's record, 0 when there is none. Inside a transaction. */
  flagsOf(inode: number): number {
    const at = this.inodes.load(inode);
    return at < 0 ? 0 : this.inodes.get32(at, InodeRecord.flags);
  }

  /** Inode of the directory that the record at this offset is, or is a partition of. */
  directoryOf(at: number): number {
    const isPartition = (this.inodes.get32(at, InodeRecord.flags) & FLAG_PARTITION) !== 0;
    return isPartition ? this.inodes.parent(at) : this.inodes.inode(at);
  }

  /** Links or place of this inode are about to change: 0 or BLOCKED. */
  checkInodeLock(call: Call, inode: number): number {
    const lock = this.locks.inode(inode);
    // The coordinator's own lock of a directory that moves is no obstacle to itself.
    if (lock === undefined || lock.owner === call.transaction) return 0;
    return blockedBy(call, lock);
  }

  // ---------------------------------------------------------------- arguments

  /** The inode number in this field; 0 when it cannot be one. */
  inodeField(call: Call, field: number): number {
    const { words } = call.memory;
    const at = call.body + field;
    if (!isU53(words, at)) return 0;
    const inode = readU53(words, at);
    return isInode(inode) ? inode : 0;
  }

  /** Whether a name of `field16` bytes after `structBytes` is one: 0, or why not. */
  checkName(call: Call, field16: number, at: number): number {
    const length = readU16(call.memory.words, call.body + field16);
    return checkNameBytes(call, at, length);
  }

  /** Offset of the record of a directory, or minus an errno. */
  loadDirectory(inode: number): number {
    if (inode === 0) return -errno.EINVAL;
    const at = this.inodes.load(inode);
    if (at < 0) return -ESTALE;
    return this.inodes.isDirectory(at) ? at : -errno.ENOTDIR;
  }

  ownsInode(inode: number): boolean {
    return this.host.owns(bucketOfInode(inode));
  }

  // ---------------------------------------------------------------- replies

  /** An AttributesReply from a record of the table. */
  replyAttributes(call: Call, at: number, flags: number): void {
    const to = call.out.words;
    const from = this.inodes.words;
    const target = call.reply >>> 2;
    const source = at >>> 2;
    for (let i = 0; i < ATTRIBUTES_WORDS; i++) to[target + i] = from[source + i]!;
    to[(call.reply + AttributesReply.flags) >>> 2] = flags;
    to[(call.reply + AttributesReply.reserved) >>> 2] = 0;
    call.replyBytes = AttributesReply.SIZE;
  }

  /**
   * An AttributesReply from the store, outside a transaction; 0 or ESTALE. `evenRemoved`: also of a
   * directory that was removed lately.
   */
  replyStored(call: Call, inode: number, evenRemoved = false): number {
    const stored = storedInode(this.meta, inode);
    const record = stored ?? (evenRemoved ? this.removed.find(inode) : undefined);
    if (record === undefined) return ESTALE;
    call.out.bytes.set(record, call.reply);
    call.out.words[(call.reply + AttributesReply.flags) >>> 2] = 0;
    call.out.words[(call.reply + AttributesReply.reserved) >>> 2] = 0;
    call.replyBytes = AttributesReply.SIZE;
    return 0;
  }

  // ---------------------------------------------------------------- numbers

  #readNumber(key: Uint8Array): number | undefined {
    const value = this.meta.get(key);
    if (value?.length !== 8) return undefined;
    this.#number.set(value);
    return readU53(new Uint32Array(this.#number.buffer), 0);
  }

  #writeNumber(key: Uint8Array, value: number): void {
    this.#numberView.setUint32(0, value >>> 0, true);
    this.#numberView.setUint32(4, Math.floor(value / 2 ** 32), true);
    this.meta.put(key, this.#number);
  }
}
