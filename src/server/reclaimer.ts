/**
 * Cuts the data of files that were removed or shortened, wherever their chunks lie. The intent is a
 * record in the transaction of the change; here it is carried out in bounded pieces, and taken up
 * again after a restart. Cutting twice is harmless.
 *
 *   intent committed ──> local chunks, a piece a turn ──┬──> both done ──> intent removed ──> waiters
 *                   └──> Cut at each peer, until it is done ─┘
 *
 * A peer's Cut runs the same way without an intent and without peers: its waiter answers.
 *
 * What somebody waits for (a file that was shortened) goes first and at once. Removed files, here
 * and by peers' requests, go at most at the reclaim rate, unless little space is left: then a write
 * may be waiting for it. Of removed files at most JOBS_MAX are in memory, the others in the store
 * alone.
 */
import type { Scheduler } from '../common/scheduler.js';
import { stripeBuckets } from '../protocol/limits.generated.js';
import { bucketOfInode, chunkBucket } from '../placement/inode-number.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { CutJob, IntentCodec, type Cut } from './cut-job.js';
import { CutPeers } from './cut-peers.js';
import type { ChunkStore } from './data/chunk-store.js';
import { inodeKey, numberOfOwnKey, ownRange, reclaimKey } from './keys.js';
import type { MetaStore } from './meta-store-api.js';
import { Pace } from './pace.js';

/** Of a target, a second: about an eighth of its thread's time. */
export const DEFAULT_RECLAIM_RATE = 8 * 2 ** 30;
/** Bounds one transaction's work: chunks, and their cost (ChunkChanges.cost). */
const PIECE_CHUNKS = 64;
const PIECE_COST = 32 * 2 ** 20;
/** What is given back between two looks at the time, as a part of a second's. */
const PIECES_PER_SECOND = 10;
/** Space may become scarce meanwhile. */
const WAIT_MAX_MS = 100;
/** A peer that asks for a cut has more to ask for, a few at a time. */
const MORE_CUTS_MS = 500;
/** A chunk of so few extents is dropped with its inode: an intent would cost more. */
const CHEAP_EXTENTS = 8;
const JOBS_MAX = 65_536;

/** What the reclaimer asks of its target. */
export interface ReclaimHost {
  readonly meta: MetaStore;
  readonly chunks: ChunkStore;
  readonly scheduler: Scheduler;
  readonly arena: ArenaMemory;
  /** Index of the member that holds the bucket; -1: this target; undefined without a map. */
  holderOf(bucket: number): number | undefined;
  /** The peer at this index of the current map; undefined when it cannot be reached at all. */
  peerOf(member: number): RpcPeer | undefined;
  /** The deletion of this file is committed. */
  deleted(inode: number): void;
  /** Has `work` run inside the next transaction, and `after` when that is committed. */
  enqueue(work: () => void, after: () => void): void;
  log(message: string): void;
}

export class Reclaimer {
  readonly #host: ReclaimHost;
  readonly #peers: CutPeers;
  readonly #pace: Pace;
  /** Cost of a piece that nobody waits for. */
  readonly #pieceLimit: number;
  readonly #jobsMax: number;
  /** With an intent, by its number. */
  readonly #jobs = new Map<number, CutJob>();
  /** Of peers' requests. */
  readonly #peerJobs = new Set<CutJob>();
  /** By inode: the jobs that block its size. */
  readonly #blocked = new Map<number, CutJob[]>();
  /** Made in the open transaction; those without a job are in the store alone. */
  #pending: { cut: Cut; job: CutJob | undefined }[] = [];
  /** Jobs whose local part is to be done, in order. */
  readonly #urgent = new Set<CutJob>();
  readonly #patient = new Set<CutJob>();
  /** Of the piece at hand. */
  readonly #piece: CutJob[] = [];
  #pieceCost = 0;
  #pieceUnderWay = false;
  #waitsForPace = false;
  #peerAskedMs = -Infinity;
  /** Intents that are in the store alone have numbers from here on. */
  #backlog = 0;
  #backlogFrom = 0;
  #nextIntent = 1;
  #waitingBytes = 0;
  #reclaimedBytes = 0;
  /** By the open transaction itself. */
  #freedHere = 0;
  #closed = false;
  readonly #codec = new IntentCodec();

  /** `rate`: bytes of removed files a second. `jobsMax`: for tests. */
  constructor(host: ReclaimHost, rate = DEFAULT_RECLAIM_RATE, jobsMax = JOBS_MAX) {
    this.#host = host;
    this.#pieceLimit = Math.min(PIECE_COST, rate / PIECES_PER_SECOND);
    this.#pace = new Pace(host.scheduler, rate);
    this.#jobsMax = jobsMax;
    this.#peers = new CutPeers(host, (job) => {
      job.peersPending--;
      this.#finishIfDone(job);
    });
    host.chunks.expectSpace(() => this.#expectsSpace());
  }

  /** Whether a write that finds no space should wait for what is about to be given back. */
  #expectsSpace(): boolean {
    if (this.#urgent.size + this.#patient.size > 0) return true;
    return this.#host.scheduler.nowMs() - this.#peerAskedMs < MORE_CUTS_MS;
  }

  /** Cuts under way; bytes of files that they are to give back, holes included; given back here. */
  report(): Record<string, number> {
    return {
      cutsUnderWay: this.#jobs.size + this.#backlog + this.#peerJobs.size,
      reclaimWaitingBytes: this.#waitingBytes,
      reclaimedBytes: this.#reclaimedBytes,
    };
  }

  /** Whether changes of this file's size have to wait. */
  isBlocked(inode: number): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(inode);
  }

  // ---------------------------------------------------------------- inside a transaction

  /**
   * All data of an inode that is removed goes: later, unless that costs next to nothing.
   * `sizeBytes`: of the file.
   */
  remove(inode: number, layout: number, striped: boolean, sizeBytes: number): void {
    const { changes } = this.#host.chunks;
    // A file that was never striped has its first chunk alone.
    if (!striped && changes.dropIfCheap(bucketOfInode(inode), inode, 0, CHEAP_EXTENTS)) {
      this.#freedHere += changes.freedBytes;
      return;
    }
    this.#intend({ inode, layout, fromByte: 0, bytes: sizeBytes, oneChunk: !striped }, false);
  }

  /** Data of a file that lives on goes from a byte on. False: not yet, `wait` for it. */
  shorten(
    inode: number,
    layout: number,
    fromByte: number,
    striped: boolean,
    sizeBytes: number,
  ): boolean {
    if (!striped) {
      const { changes } = this.#host.chunks;
      const left = changes.cut(inode, fromByte, [bucketOfInode(inode)], PIECE_CHUNKS);
      this.#freedHere += changes.freedBytes;
      if (left === 0) return true;
    }
    const bytes = Math.max(0, sizeBytes - fromByte);
    this.#intend({ inode, layout, fromByte, bytes, oneChunk: !striped }, true);
    return !striped;
  }

  #intend(cut: Cut, lives: boolean): void {
    const intent = this.#nextIntent++;
    this.#host.meta.put(reclaimKey(intent), this.#codec.encode(cut));
    this.#waitingBytes += cut.bytes;
    if (!lives && this.#jobs.size >= this.#jobsMax) {
      if (this.#backlog === 0) this.#backlogFrom = intent;
      this.#backlog++;
      this.#pending.push({ cut, job: undefined });
      return;
    }
    const job = new CutJob(cut, intent, lives, lives);
    this.#pending.push({ cut, job });
    this.#add(job);
  }

  // ---------------------------------------------------------------- around transactions

  committed(): void {
    this.#reclaimedBytes += this.#freedHere;
    this.#freedHere = 0;
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    for (const { cut, job } of pending) {
      if (job?.blocks !== true) this.#host.deleted(cut.inode);
      if (job !== undefined) this.#start(job);
    }
    this.#pump();
  }

  aborted(): void {
    this.#freedHere = 0;
    for (const { cut, job } of this.#pending) {
      this.#waitingBytes -= cut.bytes;
      if (job === undefined) {
        this.#backlog--;
        continue;
      }
      job.discarded = true;
      this.#remove(job);
    }
    this.#pending = [];
  }

  /** Takes up what an earlier process left; it goes on when there is a map (`resume`). */
  open(): void {
    const found = new Map<number, Cut>();
    const { start, end } = ownRange('reclaim');
    this.#host.meta.scan(start, end, (key, value) => {
      found.set(numberOfOwnKey(key), this.#codec.decode(value));
      return true;
    });
    for (const [intent, cut] of found) {
      this.#nextIntent = Math.max(this.#nextIntent, intent + 1);
      this.#waitingBytes += cut.bytes;
      const lives = this.#host.meta.get(inodeKey(cut.inode)) !== undefined;
      if (lives || this.#jobs.size < this.#jobsMax) {
        this.#add(new CutJob(cut, intent, lives, lives));
      } else {
        if (this.#backlog === 0) this.#backlogFrom = intent;
        this.#backlog++;
      }
    }
  }

  /** There is a (new) map: what has not begun begins. */
  resume(): void {
    for (const job of [...this.#jobs.values()]) {
      if (!job.blocks && !job.started) this.#host.deleted(job.inode);
      this.#start(job);
    }
    for (const job of this.#peerJobs) this.#start(job);
    this.#pump();
  }

  /** A peer asks; `done` when nothing of it is left here. `deleted`: nobody waits for it. */
  cutForPeer(
    inode: number,
    layout: number,
    fromByte: number,
    deleted: boolean,
    done: () => void,
  ): void {
    const cut = { inode, layout, fromByte, bytes: 0, oneChunk: false };
    const job = new CutJob(cut, 0, false, !deleted);
    job.addWaiter(done);
    this.#peerJobs.add(job);
    this.#peerAskedMs = this.#host.scheduler.nowMs();
    this.#start(job);
    this.#pump();
  }

  /** `done` when no cut of this file is going on: not synchronously. */
  wait(inode: number, done: () => void): void {
    const job = this.#blocked.get(inode)?.[0];
    if (job === undefined) {
      this.#host.enqueue(() => undefined, done);
      return;
    }
    job.addWaiter(() => {
      if (this.isBlocked(inode)) this.wait(inode, done);
      else done();
    });
  }

  close(): void {
    this.#closed = true;
    this.#peers.close();
  }

  // ---------------------------------------------------------------- jobs

  #add(job: CutJob): void {
    this.#jobs.set(job.intent, job);
    if (!job.blocks) return;
    const others = this.#blocked.get(job.inode);
    if (others === undefined) this.#blocked.set(job.inode, [job]);
    else others.push(job);
  }

  #remove(job: CutJob): void {
    if (job.intent === 0) {
      this.#peerJobs.delete(job);
      return;
    }
    this.#jobs.delete(job.intent);
    if (!job.blocks) return;
    const rest = this.#blocked.get(job.inode)!.filter((other) => other !== job);
    if (rest.length === 0) this.#blocked.delete(job.inode);
    else this.#blocked.set(job.inode, rest);
  }

  #start(job: CutJob): void {
    if (job.started || job.discarded) return;
    // Without a map nothing is known of holders; `resume` comes with it.
    if (this.#host.holderOf(bucketOfInode(job.inode)) === undefined) return;
    job.started = true;
    (job.urgent ? this.#urgent : this.#patient).add(job);
    if (job.intent === 0) return;
    const members = new Set<number>();
    eachBucket(job, (bucket) => {
      const holder = this.#host.holderOf(bucket)!;
      if (holder >= 0) members.add(holder);
    });
    job.peersPending = members.size;
    for (const member of members) this.#peers.ask(job, member);
  }

  /** Has the next piece executed, when it is time. */
  #pump(): void {
    if (this.#pieceUnderWay || this.#closed) return;
    if (this.#urgent.size === 0) {
      if (this.#patient.size === 0) return;
      const waitMs = this.#host.chunks.isLow ? 0 : this.#pace.waitMs();
      if (waitMs > 0) {
        this.#pumpLater(waitMs);
        return;
      }
    }
    this.#pieceUnderWay = true;
    this.#host.enqueue(
      () => {
        this.#cutPiece();
      },
      () => {
        this.#pieceUnderWay = false;
        this.#pieceDone();
        this.#pump();
      },
    );
  }

  #pumpLater(waitMs: number): void {
    if (this.#waitsForPace) return;
    this.#waitsForPace = true;
    this.#host.scheduler.setTimer(Math.min(waitMs, WAIT_MAX_MS), () => {
      this.#waitsForPace = false;
      this.#pump();
    });
  }

  /** Inside a transaction, perhaps for a second time after one that was undone. */
  #cutPiece(): void {
    const { changes } = this.#host.chunks;
    this.#piece.length = 0;
    this.#pieceCost = 0;
    const urgent = this.#urgent.size > 0;
    const limit = urgent ? PIECE_COST : this.#pieceLimit;
    for (const job of urgent ? this.#urgent : this.#patient) {
      const buckets = job.buckets ?? this.#bucketsHere(job);
      const costLimit = limit - this.#pieceCost;
      job.left = changes.cut(job.inode, job.fromByte, buckets, PIECE_CHUNKS, costLimit);
      job.pieceBuckets = buckets;
      job.emptied = changes.emptied;
      job.freedBytes = changes.freedBytes;
      this.#pieceCost += changes.cost;
      this.#piece.push(job);
      if (this.#pieceCost >= limit || this.#piece.length === PIECE_CHUNKS) return;
    }
  }

  #bucketsHere(job: CutJob): number[] {
    const buckets: number[] = [];
    eachBucket(job, (bucket) => {
      if (this.#host.holderOf(bucket) === -1 && !buckets.includes(bucket)) buckets.push(bucket);
    });
    return buckets;
  }

  /** The piece is committed. */
  #pieceDone(): void {
    // Of what somebody waits for, the others need not see the bill.
    if (this.#piece[0]?.urgent !== true) this.#pace.spend(this.#pieceCost);
    for (const job of this.#piece) {
      this.#reclaimedBytes += job.freedBytes;
      const less = Math.min(job.bytesLeft, job.freedBytes);
      job.bytesLeft -= less;
      this.#waitingBytes -= less;
      const queue = job.urgent ? this.#urgent : this.#patient;
      queue.delete(job);
      if (job.left > 0) {
        job.buckets = job.pieceBuckets.slice(job.emptied);
        // Behind the others of its kind.
        queue.add(job);
        continue;
      }
      job.localDone = true;
      this.#finishIfDone(job);
    }
    this.#piece.length = 0;
  }

  #finishIfDone(job: CutJob): void {
    if (!job.localDone || job.peersPending > 0) return;
    const finish = (): void => {
      this.#remove(job);
      this.#waitingBytes -= job.bytesLeft;
      const { waiters } = job;
      job.waiters = undefined;
      for (const waiter of waiters ?? []) waiter();
      this.#takeBacklog();
    };
    if (job.intent === 0) finish();
    else this.#host.enqueue(() => this.#host.meta.remove(reclaimKey(job.intent)), finish);
  }

  /** There is room in memory again for some that are in the store alone. */
  #takeBacklog(): void {
    const room = this.#jobsMax - this.#jobs.size;
    if (this.#backlog === 0 || room < this.#jobsMax / 2 || this.#closed) return;
    const found: [number, Cut][] = [];
    const { end } = ownRange('reclaim');
    this.#host.meta.scan(reclaimKey(this.#backlogFrom).slice(), end, (key, value) => {
      const intent = numberOfOwnKey(key);
      if (!this.#jobs.has(intent)) found.push([intent, this.#codec.decode(value)]);
      return found.length < room;
    });
    for (const [intent, cut] of found) {
      this.#backlog--;
      this.#backlogFrom = intent + 1;
      const job = new CutJob(cut, intent, false, false);
      this.#add(job);
      this.#start(job);
    }
    this.#pump();
  }
}

/** Every bucket that can hold a chunk of the file, some of them more than once. */
function eachBucket(cut: Cut, visit: (bucket: number) => void): void {
  // Chunk 0, and all that the layout can have: up to the first that comes round again.
  const last = cut.oneChunk ? 0 : stripeBuckets;
  for (let chunk = 0; chunk <= last; chunk++) {
    visit(chunkBucket(cut.inode, cut.layout, chunk));
  }
}
