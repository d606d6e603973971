/**
 * What shows of a directory in partitions is added up from all of them (docs/directories.md), so it is true for
 * as long as nobody changes the record of any: of the directory itself, and of each partition, which is an inode of its
 * own. A client holds a lease on each; the loss of any is the loss of what it knows of the directory.
 *
 *   GetAttr ── own record leased, asked for a few times ──> gather: GetPartitions, GetAttr of each ── all leased ──> whole
 *      └── asked after it was whole ──> the answer is kept            recall of any, new session ──> not whole
 *
 * The table that was fetched while the lease on the directory's record was held is the right one while that
 * lasts: it cannot change without that record.
 */
import type { RpcPeer } from '../../transport/rpc-client.js';

/** Directories that are held in this way. */
const DIRECTORIES_MAX = 64;
/** Answers that were not kept, before it is worth the requests. */
const WORTH_ANSWERS = 2;
/** A kernel may believe what it was told of a directory for so long after it was whole last. */
const REMEMBERED_MS = 10_000;
/** After a gathering that has not come to its end. */
const PAUSE_MS = 1000;

class Pieces {
  readonly directory: number;
  /** The other partitions. */
  inodes: readonly number[] = [];
  peers: readonly RpcPeer[] = [];
  /** The directory's own record is leased. */
  own = false;
  whole = false;
  /** Answers to what was asked from then on, in the time of the marks, are true. */
  wholeSince = 0;
  /** Grows with each loss. */
  losses = 0;
  answers = 0;
  gathering = false;
  notBeforeMs = 0;
  lostMs = 0;

  constructor(directory: number) {
    this.directory = directory;
  }
}

export interface SplitAttributesOptions {
  nowMs(): number;
  peerOfInode(inode: number): RpcPeer;
  /** A time of the marks that is later than all before. */
  tick(): number;
}

export class SplitAttributes {
  /** Asks for the directory's table, then for each partition's record: ends with `gathered`, or `failed`. */
  gather: ((directory: number) => void) | null = null;
  readonly #options: SplitAttributesOptions;
  readonly #pieces = new Map<number, Pieces>();
  readonly #directories = new Map<number, Pieces>();

  constructor(options: SplitAttributesOptions) {
    this.#options = options;
  }

  /** Directories that are whole. */
  get size(): number {
    let whole = 0;
    for (const pieces of this.#pieces.values()) if (pieces.whole) whole++;
    return whole;
  }

  /** The directory that this inode is a partition of, as far as it was ever gathered; else the inode. */
  directoryOf(inode: number): number {
    return this.#directories.size === 0
      ? inode
      : (this.#directories.get(inode)?.directory ?? inode);
  }

  /**
   * An answer with the sums of this directory has come, with the lease of its record, to a request sent at
   * `stamp`: whether it may be kept.
   */
  answered(directory: number, stamp: number): boolean {
    const pieces = this.#pieces.get(directory) ?? this.#add(directory);
    if (pieces === undefined) return false;
    pieces.own = true;
    if (pieces.whole && stamp >= pieces.wholeSince) return true;
    pieces.answers++;
    const isWorth = pieces.answers >= WORTH_ANSWERS && !pieces.whole && !pieces.gathering;
    if (isWorth && this.gather !== null && this.#options.nowMs() >= pieces.notBeforeMs) {
      pieces.gathering = true;
      this.gather(directory);
    }
    return false;
  }

  #add(directory: number): Pieces | undefined {
    if (this.#pieces.size >= DIRECTORIES_MAX) this.#makeRoom();
    if (this.#pieces.size >= DIRECTORIES_MAX) return undefined;
    const pieces = new Pieces(directory);
    this.#pieces.set(directory, pieces);
    return pieces;
  }

  #makeRoom(): void {
    const before = this.#options.nowMs() - REMEMBERED_MS;
    for (const pieces of this.#pieces.values()) {
      if (pieces.whole || pieces.gathering || pieces.lostMs > before) continue;
      this.#pieces.delete(pieces.directory);
      for (const inode of pieces.inodes) this.#directories.delete(inode);
    }
  }

  /** Counts losses: gathering is of use if there was none from the beginning to the end. -1: not held at all. */
  losses(directory: number): number {
    const pieces = this.#pieces.get(directory);
    return pieces?.own === true ? pieces.losses : -1;
  }

  /** These are its other partitions: from now on losses of any of them count. */
  partitions(directory: number, inodes: readonly number[]): void {
    const pieces = this.#pieces.get(directory);
    if (pieces === undefined) return;
    for (const inode of pieces.inodes) this.#directories.delete(inode);
    pieces.inodes = inodes;
    const peers = [directory, ...inodes].map((inode) => this.#options.peerOfInode(inode));
    pieces.peers = [...new Set(peers)];
    for (const inode of inodes) this.#directories.set(inode, pieces);
  }

  /** Each partition's record is leased, after so many losses; `losses` of before the table was asked for. */
  gathered(directory: number, losses: number): void {
    const pieces = this.#pieces.get(directory);
    if (pieces === undefined || pieces.losses !== losses) {
      this.failed(directory);
      return;
    }
    pieces.gathering = false;
    pieces.answers = 0;
    pieces.whole = true;
    pieces.wholeSince = this.#options.tick();
  }

  failed(directory: number): void {
    const pieces = this.#pieces.get(directory);
    if (pieces === undefined) return;
    pieces.gathering = false;
    pieces.answers = 0;
    pieces.notBeforeMs = this.#options.nowMs() + PAUSE_MS;
  }

  /** The lease on this inode is lost. The directory of which nothing is known any more, 0: none. */
  lost(inode: number): number {
    const pieces = this.#pieces.get(inode) ?? this.#directories.get(inode);
    if (pieces === undefined) return 0;
    if (pieces.directory === inode) pieces.own = false;
    this.#lose(pieces);
    return pieces.directory;
  }

  #lose(pieces: Pieces): void {
    pieces.losses++;
    pieces.answers = 0;
    if (pieces.whole) pieces.lostMs = this.#options.nowMs();
    pieces.whole = false;
  }

  /** All that a target has granted is lost; null: all there is. `forgotten` hears of each directory. */
  lostOf(peer: RpcPeer | null, forgotten: (directory: number) => void): void {
    for (const pieces of this.#pieces.values()) {
      const isOfPeer =
        peer === null ||
        pieces.peers.includes(peer) ||
        this.#options.peerOfInode(pieces.directory) === peer;
      if (!isOfPeer) continue;
      pieces.own = false;
      this.#lose(pieces);
      forgotten(pieces.directory);
    }
  }

  /** Until when what is held of this directory is believed; Infinity: it is no such directory. */
  trustedUntilMs(directory: number): number {
    if (this.#pieces.size === 0) return Infinity;
    const pieces = this.#pieces.get(directory);
    if (pieces?.whole !== true) return Infinity;
    let until = Infinity;
    for (const { trustedUntilMs } of pieces.peers) until = Math.min(until, trustedUntilMs);
    return until;
  }
}
