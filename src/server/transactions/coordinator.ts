/**
 * A target as coordinator: has the steps of an operation that lie elsewhere prepared there, and
 * executes the operation here, in one transaction with the decision (docs/transactions.md).
 *
 *   execute ── needs steps (PENDING) ──> Prepare them ──> execute again ── decides ──> reply, Commit
 *      │ blocked: waits                      │ locked, silent       │ needs others, or blocked; refused: reply
 *      └──────────<── after a pause ─────────┴──── Abort ───────────┘
 *
 * An operation is a function of what is stored and of what was prepared: it is executed until it
 * needs nothing more. Only what is prepared elsewhere is locked; what lies here is looked at again by
 * the execution that decides, and by the one that is refused: what it was refused for may have been moved away.
 */
import { errno, ESTALE } from '../../common/errno.js';
import type { Scheduler, WallClock } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import { bucketOfInode } from '../../placement/inode-number.js';
import { isBatch } from '../../protocol/batch.js';
import { PrepareReply } from '../../protocol/wire.generated.js';
import { readU53 } from '../../protocol/u53.js';
import type { RpcPeer } from '../../transport/rpc-client.js';
import type { Mutation } from '../batch.js';
import { decisionKey, numberOfOwnKey, ownRange, propertyKey } from '../keys.js';
import type { MetaStore } from '../meta-store-api.js';
import type { Namespace } from '../namespace.js';
import { askTable, sendEntries } from '../partitions/messages.js';
import type { PartitionRow } from '../partitions/table.js';
import type { FaultPoint } from './fault-points.js';
import { blockedBy, whenReleased } from './locks.js';
import { PrepareOperation, ResolveOperation } from './messages.js';
import { ParticipantSync } from './participant-sync.js';
import {
  AGAIN,
  BLOCKED,
  isClientsOwn,
  PENDING,
  STEP_CHANGED,
  STEP_DROP_DIR,
  STEP_DROP_LINK,
  STEP_INHERIT,
  STEP_MAKE_DIR,
  STEP_MAKE_PARTITION,
  STEP_MOVE,
  STEP_RECALL,
  STEP_TABLE,
  STEP_WALK,
  type StepRequest,
} from './step.js';
import { walk } from './walk.js';

const NUMBERS_RESERVED = 1024;
const NUMBERS_KEY = propertyKey('transactions');
/** A participant that does not answer for so long: given up, and begun again. */
const PREPARE_MS = 2000;
const PAUSE_MAX_MS = 64;
const RETRY_MS = 1000;

/** What the coordinator asks of its target. */
export interface CoordinatorHost {
  readonly meta: MetaStore;
  readonly scheduler: Scheduler;
  readonly arena: ArenaMemory;
  readonly namespace: Namespace;
  /** Of this target. */
  readonly targetId: string;
  /** Index of the member that holds the bucket; -1: this target; undefined without a map. */
  holderOf(bucket: number): number | undefined;
  peerOf(member: number): RpcPeer | undefined;
  /** The target of this id, if the map has it. */
  peerOfTarget(targetId: string): RpcPeer | undefined;
  /** Executes the mutation again, in the next transaction. */
  place(mutation: Mutation): void;
  enqueue(work: () => void, after: () => void): void;
  /** `done` when nobody holds a lease on the directory, or on an entry of it. */
  recallAll(directory: number, done: () => void): void;
  /** `done` with when a partition of the directory was last changed; undefined: one does not answer. */
  lastChanged(directory: number, done: (time: WallClock | undefined) => void): void;
  faultPoint(name: FaultPoint): void;
  log(message: string): void;
}

/** What a step answered. */
export interface StepAnswer {
  inode: number;
  mode: number;
  count: number;
  /** Of STEP_TABLE: inodes of the other partitions. */
  partitions?: readonly number[];
  /** The same, each with its first hash, and the directory itself. */
  rows?: readonly PartitionRow[];
  /** Of STEP_CHANGED. */
  changed?: Readonly<WallClock>;
}

class NeededStep {
  readonly request: StepRequest;
  answer: StepAnswer | undefined;
  /** Where it is prepared; undefined: nowhere. */
  participant: string | undefined;
  /** The errno with which it was refused; 0: it was not. */
  refused = 0;
  /** The latest execution has needed it. */
  used = true;

  constructor(request: StepRequest) {
    this.request = request;
  }
}

/** One attempt at one operation. */
export class Transaction {
  readonly blocksReads = false;
  readonly number: number;
  readonly mutation: Mutation;
  readonly steps: NeededStep[] = [];
  /** Locks of this target's own that it holds: [kind, inode, hash]. */
  readonly locks: [number, number, number][] = [];
  pending = 0;
  /** A step is locked by others, or nobody answered: all begins anew. */
  isLost = false;
  /** The errno of a refused step that the latest execution needed. */
  refusal = 0;
  /** The latest execution has decided. */
  deciding = false;
  decided = false;

  constructor(number: number, mutation: Mutation) {
    this.number = number;
    this.mutation = mutation;
  }

  participants(): string[] {
    const ids = this.steps.map((step) => step.participant).filter((id) => id !== undefined);
    return [...new Set(ids)];
  }
}

export interface TransactionCounters {
  committed: number;
  aborted: number;
  /** Attempts that were given up and begun again. */
  retried: number;
}

/** A step at an inode that is not there, which goes without saying then. */
function isOfNoMatter(step: number): boolean {
  // The entry dangles: there is nothing to be dropped, and the entry may go.
  if (step === STEP_DROP_DIR || step === STEP_DROP_LINK) return true;
  // The partition was merged meanwhile: the table, which is read again, knows it no more.
  return step === STEP_INHERIT;
}

export class Coordinator {
  readonly counters: TransactionCounters = { committed: 0, aborted: 0, retried: 0 };
  readonly #host: CoordinatorHost;
  readonly #id: Uint8Array;
  readonly #active = new Map<number, Transaction>();
  /** Decided, and not yet known to be done everywhere: participants. */
  readonly #decisions = new Map<number, Set<string>>();
  readonly #sync: ParticipantSync;
  #next = 0;
  #reserved = 0;
  /** What waits for numbers. */
  readonly #reserving: (() => void)[] = [];
  #closed = false;

  constructor(host: CoordinatorHost) {
    this.#host = host;
    this.#id = Buffer.from(host.targetId, 'latin1');
    this.#sync = new ParticipantSync(host);
  }

  /** Counters by name, for people. */
  report(): Record<string, number> {
    const { committed, aborted, retried } = this.counters;
    return {
      transactionsUnderWay: this.#active.size,
      transactionsUndone: this.#decisions.size,
      transactionsCommitted: committed,
      transactionsAborted: aborted,
      transactionsRetried: retried,
    };
  }

  /** Reads what an earlier process left. */
  open(): void {
    const { meta } = this.#host;
    const stored = meta.get(NUMBERS_KEY);
    this.#next = stored === undefined ? 1 : Number(Buffer.from(stored).readBigUInt64LE());
    this.#reserved = this.#next;
    const { start, end } = ownRange('decision');
    meta.scan(start, end, (key, value) => {
      const participants = Buffer.from(value).toString('latin1').split('\n');
      this.#decisions.set(numberOfOwnKey(key), new Set(participants));
      return true;
    });
  }

  /** There is a map: what was decided is told to those who may not know. */
  resume(): void {
    const { everything } = this.#host.namespace.recalls;
    if (everything !== undefined) {
      everything.waiters.push(() => {
        if (!this.#closed) this.resume();
      });
      return;
    }
    for (const [number, participants] of this.#decisions) {
      if (this.#active.has(number)) continue;
      for (const id of participants) this.#commitAt(number, id);
    }
  }

  close(): void {
    this.#closed = true;
    this.#sync.close();
  }

  /** `done` when all that was decided until now is done everywhere, and power-safe there. */
  sync(done: () => void): void {
    this.#sync.sync(this.#decisions.keys(), done);
  }

  /** 0: aborted, 1: under way, 2: committed. */
  stateOf(number: number): number {
    if (this.#active.get(number)?.decided === false) return 1;
    if (!this.#decisions.has(number)) return 0;
    // What it has changed here is not to be seen yet: nor its other parts.
    return this.#host.namespace.recalls.everything === undefined ? 2 : 1;
  }

  // ---------------------------------------------------------------- of operations, inside a transaction

  /** Before each execution. */
  begin(mutation: Mutation): void {
    const { transaction } = mutation;
    if (transaction === undefined) return;
    transaction.deciding = false;
    transaction.refusal = 0;
    for (const step of transaction.steps) step.used = false;
  }

  /**
   * What the step answered; undefined: it has to be prepared, or was refused, and the operation is PENDING. Sets
   * the request's time to that of the step.
   */
  need(mutation: Mutation, request: StepRequest): StepAnswer | undefined {
    const transaction = this.#transactionOf(mutation);
    for (const step of transaction.steps) {
      if (!step.request.equals(request)) continue;
      step.used = true;
      transaction.refusal ||= step.refused;
      // What is prepared was born when the operation was first executed.
      request.seconds = step.request.seconds;
      request.nanoseconds = step.request.nanoseconds;
      return step.answer;
    }
    const { session, opcode } = mutation;
    // A batch's client is told nothing of what it may go on to believe.
    if (isClientsOwn(request.step) && !isBatch(opcode)) request.client = session?.client ?? 0;
    transaction.steps.push(new NeededStep(request));
    return undefined;
  }

  /** Locks something that lies here, until the operation has ended: 0 or BLOCKED. */
  lock(mutation: Mutation, kind: number, inode: number, hash = 0): number {
    const transaction = this.#transactionOf(mutation);
    const blocked = this.#host.namespace.locks.acquire(transaction, kind, inode, hash);
    if (blocked !== undefined) return blockedBy(mutation, blocked);
    if (!transaction.locks.some(([k, i, h]) => k === kind && i === inode && h === hash)) {
      transaction.locks.push([kind, inode, hash]);
    }
    return 0;
  }

  #transactionOf(mutation: Mutation): Transaction {
    if (mutation.transaction !== undefined) return mutation.transaction;
    const transaction = new Transaction(this.#next++, mutation);
    this.#active.set(transaction.number, transaction);
    mutation.transaction = transaction;
    return transaction;
  }

  /**
   * Before an operation changes anything: 0, or AGAIN when something is prepared that it does not
   * need any more. The decision is part of the open transaction.
   */
  decide(mutation: Mutation): number {
    const { transaction } = mutation;
    if (transaction === undefined) return 0;
    if (transaction.steps.some((step) => !step.used)) return AGAIN;
    const participants = transaction.participants();
    transaction.deciding = true;
    if (participants.length > 0) {
      const value = Buffer.from(participants.join('\n'), 'latin1');
      this.#host.meta.put(decisionKey(transaction.number), value);
    }
    return 0;
  }

  // ---------------------------------------------------------------- of the committer

  /** The execution was put off with this outcome: goes on with whatever it asks for. */
  putOff(mutation: Mutation, outcome: number): void {
    const { transaction } = mutation;
    if (outcome === PENDING && transaction !== undefined) {
      this.#prepare(transaction);
    } else if (outcome === BLOCKED && transaction === undefined) {
      whenReleased(mutation, () => {
        this.#host.place(mutation);
      });
    } else this.#again(mutation);
  }

  /** The mutation is about to be answered: nothing of it can be taken back any more. */
  end(mutation: Mutation): void {
    const { transaction } = mutation;
    if (transaction === undefined) return;
    mutation.transaction = undefined;
    mutation.attempts = 0;
    if (transaction.deciding && mutation.status === 0) this.#commit(transaction);
    else this.#abort(transaction);
  }

  // ---------------------------------------------------------------- preparing

  #prepare(transaction: Transaction): void {
    if (transaction.number >= this.#reserved) {
      this.#reserve(() => {
        this.#prepare(transaction);
      });
      return;
    }
    this.#host.faultPoint('coordinator-begun');
    const wanted = transaction.steps.filter(
      ({ answer, refused }) => answer === undefined && refused === 0,
    );
    transaction.pending = wanted.length;
    for (const step of wanted) this.#ask(transaction, step);
  }

  /**
   * Numbers are reserved before they are used, so that none is ever used again; power-safe whatever the
   * durability is: an intent that is still somewhere must not meet another transaction of its number.
   */
  #reserve(then: () => void): void {
    this.#reserving.push(then);
    if (this.#reserving.length > 1) return;
    const { meta, scheduler } = this.#host;
    const end = Math.max(this.#next, this.#reserved) + NUMBERS_RESERVED;
    const value = Buffer.alloc(8);
    value.writeBigUInt64LE(BigInt(end));
    const reserved = (): void => {
      this.#reserved = end;
      for (const each of this.#reserving.splice(0)) each();
    };
    this.#host.enqueue(
      () => {
        meta.put(NUMBERS_KEY, value);
      },
      () => {
        if (meta.flushNow?.() === true) {
          reserved();
          return;
        }
        meta.flush((error) => {
          if (error !== undefined) this.#host.log(`a flush failed: ${error.message}`);
          if (!this.#closed) reserved();
          scheduler.requestTurn();
        });
      },
    );
  }

  #ask(transaction: Transaction, step: NeededStep): void {
    const { request } = step;
    const done = (status: number, answer: StepAnswer | undefined): void => {
      this.#answered(transaction, step, status, answer);
    };
    if (request.step === STEP_WALK) {
      walk(this.#host, request.inode, request.other, done);
      return;
    }
    if (request.step === STEP_RECALL) {
      this.#host.recallAll(request.inode, () => {
        done(0, { inode: 0, mode: 0, count: 0 });
      });
      return;
    }
    if (request.step === STEP_CHANGED) {
      this.#host.lastChanged(request.inode, (changed) => {
        if (changed === undefined) done(errno.EAGAIN, undefined);
        else done(0, { inode: 0, mode: 0, count: 0, changed });
      });
      return;
    }
    const peer = this.#peerFor(request);
    if (peer === undefined) {
      // Without a peer, or here by a newer map: looked at again.
      this.#host.scheduler.setTimer(1, () => {
        done(errno.EAGAIN, undefined);
      });
      return;
    }
    if (request.step === STEP_TABLE) {
      askTable(this.#host.arena, peer, request.inode, done);
      return;
    }
    if (request.step === STEP_MOVE) {
      sendEntries(this.#host, peer, request, transaction.number, done);
      return;
    }
    step.participant = peer.targetId;
    const operation = new PrepareOperation(this.#host.arena, transaction.number, this.#id, request);
    operation.deadlineMs = PREPARE_MS;
    operation.answered = (status, body, bodyBytes) => {
      const { words } = this.#host.arena;
      if (status !== 0 || bodyBytes < PrepareReply.SIZE) done(status || errno.EIO, undefined);
      else {
        const inode = readU53(words, body + PrepareReply.inode);
        const mode = words[(body + PrepareReply.mode) >>> 2]!;
        done(0, { inode, mode, count: words[(body + PrepareReply.count) >>> 2]! });
      }
    };
    peer.call(operation);
  }

  /** Whom the step is asked of: where the inode lies, or is to lie. */
  #peerFor({ step, bucket, inode, other }: StepRequest): RpcPeer | undefined {
    const makes = step === STEP_MAKE_DIR || step === STEP_MAKE_PARTITION;
    const place = makes ? bucket : bucketOfInode(step === STEP_MOVE ? other : inode);
    const holder = this.#host.holderOf(place);
    return holder === undefined || holder < 0 ? undefined : this.#host.peerOf(holder);
  }

  #answered(
    transaction: Transaction,
    step: NeededStep,
    status: number,
    answer: StepAnswer | undefined,
  ): void {
    const kind = step.request.step;
    if (status === 0) step.answer = answer;
    else if (status === ESTALE && isOfNoMatter(kind)) {
      step.participant = undefined;
      step.answer = { inode: 0, mode: 0, count: 0 };
    } else {
      // Without an answer it may be prepared all the same.
      const isSilent = status === errno.ETIMEDOUT;
      if (!isSilent) step.participant = undefined;
      // This wins: what another step says may be due to what is locked.
      if (isSilent || status === errno.EAGAIN) transaction.isLost = true;
      else step.refused = status;
    }
    transaction.pending--;
    if (transaction.pending > 0 || this.#closed) return;
    if (transaction.isLost) {
      this.#again(transaction.mutation);
      return;
    }
    const isRefused = transaction.steps.some(({ refused }) => refused !== 0);
    if (!isRefused) this.#host.faultPoint('coordinator-prepared');
    // A refused one, too: what made the step necessary may be something else by now.
    this.#host.place(transaction.mutation);
  }

  // ---------------------------------------------------------------- ends

  /** Gives up what is prepared, and executes the operation from the start after a pause. */
  #again(mutation: Mutation): void {
    const { transaction } = mutation;
    mutation.transaction = undefined;
    if (transaction !== undefined) this.#abort(transaction);
    this.counters.retried++;
    mutation.attempts++;
    const most = Math.min(PAUSE_MAX_MS, 2 ** mutation.attempts);
    const { scheduler } = this.#host;
    scheduler.setTimer(Math.ceil(scheduler.random() * most), () => {
      if (!this.#closed) this.#host.place(mutation);
    });
  }

  #release(transaction: Transaction): void {
    for (const [kind, inode, hash] of transaction.locks) {
      this.#host.namespace.locks.release(transaction, kind, inode, hash);
    }
  }

  #abort(transaction: Transaction): void {
    this.#active.delete(transaction.number);
    this.#release(transaction);
    const participants = transaction.participants();
    if (participants.length === 0) return;
    this.counters.aborted++;
    this.#host.faultPoint('coordinator-aborting');
    // Once is enough: who does not hear of it asks.
    for (const id of participants) this.#resolveAt(transaction.number, id, false, () => undefined);
  }

  #commit(transaction: Transaction): void {
    transaction.decided = true;
    this.#active.delete(transaction.number);
    this.#release(transaction);
    const participants = transaction.participants();
    if (participants.length === 0) return;
    this.counters.committed++;
    this.#decisions.set(transaction.number, new Set(participants));
    this.#sync.decided(participants);
    this.#host.faultPoint('coordinator-decided');
    for (const id of participants) this.#commitAt(transaction.number, id);
  }

  #commitAt(number: number, targetId: string): void {
    this.#resolveAt(number, targetId, true, (status) => {
      if (this.#closed) return;
      if (status !== 0) {
        this.#host.scheduler.setTimer(RETRY_MS, () => {
          if (!this.#closed) this.#commitAt(number, targetId);
        });
        return;
      }
      const left = this.#decisions.get(number);
      left?.delete(targetId);
      if (left?.size === 0) this.#forget(number);
    });
  }

  /** All participants have done it: nobody will ask any more. */
  #forget(number: number): void {
    this.#host.faultPoint('coordinator-done');
    this.#host.enqueue(
      () => {
        this.#host.meta.remove(decisionKey(number));
      },
      () => {
        this.#decisions.delete(number);
        this.#sync.done(number);
      },
    );
  }

  #resolveAt(
    number: number,
    targetId: string,
    commit: boolean,
    done: (status: number) => void,
  ): void {
    const peer = this.#host.peerOfTarget(targetId);
    if (peer === undefined) {
      done(errno.EAGAIN);
      return;
    }
    const operation = new ResolveOperation(this.#host.arena, number, this.#id, commit);
    operation.answered = done;
    peer.call(operation);
  }
}
