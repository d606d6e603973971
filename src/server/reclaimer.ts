/**
 * Cuts the data of files that were removed or shortened, wherever their chunks lie. The intent is a
 * record in the transaction of the change; here it is carried out in bounded pieces, and taken up
 * again after a restart. Cutting twice is harmless.
 *
 *   intent committed ──> local chunks, a piece a turn ──┬──> both done ──> intent removed ──> waiters
 *                   └──> Cut at each peer, until it is done ─┘
 *
 * A peer's Cut runs the same way without an intent and without peers: its waiter answers.
 */
import type { Scheduler } from '../common/scheduler.js';
import { CutRequest, Opcode } from '../protocol/wire.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import { stripeBuckets } from '../protocol/limits.generated.js';
import { chunkBucket } from '../placement/inode-number.js';
import { RpcOperation, type RpcPeer } from '../transport/rpc-client.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { inodeKey, numberOfOwnKey, ownRange, reclaimKey } from './keys.js';
import type { MetaStore } from './meta-store-api.js';

const RETRY_MS = 1000;
/** Value of an intent: inode u64, first byte to go u64, layout of the file u64. */
const INTENT_BYTES = 24;
/** CutRequest.flags */
const CUT_DELETED = 1;

/** What the reclaimer asks of its target. */
export interface ReclaimHost {
  readonly meta: MetaStore;
  readonly scheduler: Scheduler;
  readonly arena: ArenaMemory;
  /** Index of the member that holds the bucket; -1: this target; undefined without a map. */
  holderOf(bucket: number): number | undefined;
  /** The peer at this index of the current map; undefined when it cannot be reached at all. */
  peerOf(member: number): RpcPeer | undefined;
  /** Inside a transaction: deletes some chunks; how many are left. */
  cutChunks(inode: number, fromByte: number, buckets: readonly number[]): number;
  /** The deletion of this file is committed. */
  deleted(inode: number): void;
  /** Has `work` run inside the next transaction, and `after` when that is committed. */
  enqueue(work: () => void, after: () => void): void;
  log(message: string): void;
}

class CutJob {
  readonly inode: number;
  readonly layout: number;
  readonly fromByte: number;
  /** Number of its intent; 0: a peer's request. */
  readonly intent: number;
  /** The file goes on living: what changes its size waits. */
  readonly blocks: boolean;
  readonly waiters: (() => void)[] = [];
  left = 1;
  localDone = false;
  peersPending = 0;
  started = false;
  discarded = false;

  constructor(inode: number, layout: number, fromByte: number, intent: number, blocks: boolean) {
    this.inode = inode;
    this.layout = layout;
    this.fromByte = fromByte;
    this.intent = intent;
    this.blocks = blocks;
  }
}

class CutOperation extends RpcOperation {
  override opcode = Opcode.Cut;
  override bodyBytes = CutRequest.SIZE;
  readonly #job: CutJob;
  readonly #words: Uint32Array;
  readonly #ended: (status: number) => void;

  constructor(job: CutJob, words: Uint32Array, ended: (status: number) => void) {
    super();
    this.#job = job;
    this.#words = words;
    this.#ended = ended;
  }

  override encode(body: number): number {
    writeU53(this.#words, body + CutRequest.inode, this.#job.inode);
    writeU53(this.#words, body + CutRequest.layout, this.#job.layout);
    writeU53(this.#words, body + CutRequest.fromByte, this.#job.fromByte);
    this.#words[(body + CutRequest.flags) >>> 2] = this.#job.blocks ? 0 : CUT_DELETED;
    this.#words[(body + CutRequest.reserved) >>> 2] = 0;
    return CutRequest.SIZE;
  }

  override done(status: number): void {
    this.#ended(status);
  }
}

export class Reclaimer {
  readonly #host: ReclaimHost;
  readonly #jobs = new Set<CutJob>();
  /** By inode: how many jobs block its size. */
  readonly #blocked = new Map<number, number>();
  /** Made in the open transaction. */
  #pending: CutJob[] = [];
  #nextIntent = 1;
  #closed = false;
  readonly #value = new Uint8Array(INTENT_BYTES);
  readonly #words = new Uint32Array(this.#value.buffer);

  constructor(host: ReclaimHost) {
    this.#host = host;
  }

  get jobCount(): number {
    return this.#jobs.size;
  }

  /** Whether changes of this file's size have to wait. */
  isBlocked(inode: number): boolean {
    return this.#blocked.size > 0 && this.#blocked.has(inode);
  }

  /** Takes up what an earlier process left; it goes on when there is a map (`resume`). */
  open(): void {
    const found: CutJob[] = [];
    const { start, end } = ownRange('reclaim');
    this.#host.meta.scan(start, end, (key, value) => {
      const intent = numberOfOwnKey(key);
      this.#nextIntent = Math.max(this.#nextIntent, intent + 1);
      this.#value.fill(0);
      this.#value.set(value.subarray(0, INTENT_BYTES));
      const inode = readU53(this.#words, 0);
      const layout = readU53(this.#words, 16);
      found.push(new CutJob(inode, layout, readU53(this.#words, 8), intent, false));
      return true;
    });
    for (const job of found) {
      const lives = this.#host.meta.get(inodeKey(job.inode)) !== undefined;
      this.#add(new CutJob(job.inode, job.layout, job.fromByte, job.intent, lives));
    }
  }

  /** There is a (new) map: what has not begun begins. */
  resume(): void {
    for (const job of [...this.#jobs]) this.#start(job);
  }

  /** Inside a transaction: an intent. */
  intend(inode: number, layout: number, fromByte: number, lives: boolean): void {
    const job = new CutJob(inode, layout, fromByte, this.#nextIntent++, lives);
    writeU53(this.#words, 0, inode);
    writeU53(this.#words, 8, fromByte);
    writeU53(this.#words, 16, layout);
    this.#host.meta.put(reclaimKey(job.intent), this.#value);
    this.#pending.push(job);
    this.#add(job);
  }

  /** A peer asks; `done` when nothing of it is left here. */
  cutForPeer(inode: number, layout: number, fromByte: number, done: () => void): void {
    const job = new CutJob(inode, layout, fromByte, 0, false);
    job.waiters.push(done);
    this.#add(job);
    this.#start(job);
  }

  /** `done` when no cut of this file is going on: not synchronously. */
  wait(inode: number, done: () => void): void {
    for (const job of this.#jobs) {
      if (job.inode === inode && job.blocks) {
        job.waiters.push(() => {
          if (this.isBlocked(inode)) this.wait(inode, done);
          else done();
        });
        return;
      }
    }
    this.#host.enqueue(() => undefined, done);
  }

  committed(): void {
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    for (const job of pending) this.#start(job);
  }

  aborted(): void {
    for (const job of this.#pending) {
      job.discarded = true;
      this.#remove(job);
    }
    this.#pending = [];
  }

  close(): void {
    this.#closed = true;
  }

  #add(job: CutJob): void {
    this.#jobs.add(job);
    if (job.blocks) this.#blocked.set(job.inode, (this.#blocked.get(job.inode) ?? 0) + 1);
  }

  #remove(job: CutJob): void {
    this.#jobs.delete(job);
    if (!job.blocks) return;
    const rest = (this.#blocked.get(job.inode) ?? 1) - 1;
    if (rest === 0) this.#blocked.delete(job.inode);
    else this.#blocked.set(job.inode, rest);
  }

  #start(job: CutJob): void {
    if (job.started || job.discarded) return;
    const local: number[] = [];
    const members = new Set<number>();
    // Chunk 0, and all that the layout can have: up to the first that comes round again.
    for (let chunk = 0; chunk <= stripeBuckets; chunk++) {
      const bucket = chunkBucket(job.inode, job.layout, chunk);
      const holder = this.#host.holderOf(bucket);
      if (holder === undefined) return;
      if (holder >= 0) members.add(holder);
      else if (!local.includes(bucket)) local.push(bucket);
    }
    job.started = true;
    if (job.intent !== 0 && !job.blocks) this.#host.deleted(job.inode);
    if (job.intent !== 0) {
      job.peersPending = members.size;
      for (const member of members) this.#askPeer(job, member);
    }
    this.#cutLocal(job, local);
  }

  #cutLocal(job: CutJob, buckets: readonly number[]): void {
    this.#host.enqueue(
      () => {
        job.left = this.#host.cutChunks(job.inode, job.fromByte, buckets);
      },
      () => {
        if (job.left > 0) {
          this.#cutLocal(job, buckets);
          return;
        }
        job.localDone = true;
        this.#finishIfDone(job);
      },
    );
  }

  #askPeer(job: CutJob, member: number): void {
    if (this.#closed) return;
    const peer = this.#host.peerOf(member);
    const retry = (): void => {
      if (this.#closed) return;
      this.#host.scheduler.setTimer(RETRY_MS, () => {
        this.#askPeer(job, member);
      });
    };
    if (peer === undefined) {
      retry();
      return;
    }
    const operation = new CutOperation(job, this.#host.arena.words, (status) => {
      if (status === 0) {
        job.peersPending--;
        this.#finishIfDone(job);
        return;
      }
      this.#host.log(`cut of inode ${job.inode} at ${peer.targetId}: errno ${status}, tried again`);
      retry();
    });
    peer.call(operation);
  }

  #finishIfDone(job: CutJob): void {
    if (!job.localDone || job.peersPending > 0) return;
    const finish = (): void => {
      this.#remove(job);
      for (const waiter of job.waiters) waiter();
    };
    if (job.intent === 0) {
      finish();
      return;
    }
    this.#host.enqueue(() => this.#host.meta.remove(reclaimKey(job.intent)), finish);
  }
}
