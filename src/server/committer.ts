/**
 * Group commit: the mutations of a turn are executed in one transaction at its end, with the
 * records of the sessions that asked, and answered when it is committed.
 *
 *   queue ─> transaction { execute each; save inodes, counters, sessions } ─> replies
 *                 │ throws (disk full): nothing of it happened
 *                 └─> each mutation again, in a transaction of its own ─> reply or errno
 *
 * A mutation that fails its checks has changed nothing, so it harms no other of its batch. With
 * durability 'commit' the replies wait for a flush, on persistent memory within the same turn.
 */
import { errno } from '../common/errno.js';
import type { Scheduler } from '../common/scheduler.js';
import { isBatch } from '../protocol/batch.js';
import { BatchReply } from '../protocol/wire.generated.js';
import type { RpcRequest } from '../transport/rpc-server.js';
import { Batch, keepBody, keepReply, Mutation, REPLY_ROOM, type Execute } from './batch.js';
import type { MetaStore } from './meta-store-api.js';
import type { Call, Namespace, WireMemory } from './namespace.js';
import type { Reclaimer } from './reclaimer.js';
import type { SessionRecords } from './sessions.js';
import type { Coordinator } from './transactions/coordinator.js';
import { PENDING } from './transactions/step.js';

/** Bounds a transaction: its time, and the pages that it may take. An item of a batch counts as one. */
const TRANSACTION_MUTATIONS_MAX = 2048;

export type Durability = 'fsync' | 'commit';

export interface CommitterOptions {
  /** MetaStore.transaction, with what the data side adds to it. */
  transaction(body: () => void): void;
  meta: MetaStore & { useReserve?(on: boolean): void };
  scheduler: Scheduler;
  durability: Durability;
  namespace: Namespace;
  sessions: SessionRecords;
  reclaimer: Reclaimer;
  coordinator: Coordinator;
  log(message: string): void;
}

export interface CommitterHost {
  /** Inside the transaction: the mutation was executed, with status 0. */
  executed(mutation: Mutation): void;
  /** The mutation is committed, or has failed; `answer` follows, perhaps later. */
  decided(mutation: Mutation): void;
  /** Sends the mutation's reply. */
  answer(mutation: Mutation): void;
}

export interface CommitterCounters {
  transactions: number;
  mutations: number;
  /** Mutations of the largest transaction. */
  largest: number;
  aborts: number;
  deferred: number;
}

interface Work {
  run: () => void;
  after: () => void;
}

const runWork: Execute = (_ns: Namespace, _call: Call, mutation: Mutation): number => {
  (mutation.context as Work).run();
  return 0;
};

/** What the target's own operations ask of it. */
export type CommitterOwn = Pick<Committer, 'enqueueOwn' | 'enqueueWork'>;

export class Committer {
  readonly counters: CommitterCounters = {
    transactions: 0,
    mutations: 0,
    largest: 0,
    aborts: 0,
    deferred: 0,
  };
  readonly #options: CommitterOptions;
  readonly #host: CommitterHost;
  readonly #pool: Mutation[] = [];
  readonly #batches: Batch[] = [];
  #filling = new Batch();
  #first = 0;
  #end = 0;
  #list: Mutation[] = [];
  #committing = false;
  #closed = false;
  readonly #body: () => void;

  constructor(options: CommitterOptions, host: CommitterHost) {
    this.#options = options;
    this.#host = host;
    this.#body = () => {
      this.#executeRange();
    };
  }

  get queued(): number {
    return this.#filling.mutations.length;
  }

  /** Queues a request's mutation; its body is copied from `memory`. */
  enqueue(request: RpcRequest, execute: Execute, memory: WireMemory): Mutation {
    const mutation = this.#take(execute);
    const batch = this.#filling;
    mutation.request = request;
    mutation.session = request.session;
    mutation.opcode = request.opcode;
    mutation.memory = batch.bodies;
    mutation.bodyBytes = request.bodyBytes;
    mutation.body = batch.bodies.take(request.bodyBytes);
    const to = batch.bodies.words;
    const from = memory.words;
    const target = mutation.body >>> 2;
    const source = request.body >>> 2;
    const words = request.bodyBytes >>> 2;
    for (let i = 0; i < words; i++) to[target + i] = from[source + i]!;
    this.#place(mutation);
    return mutation;
  }

  /** Queues a mutation without a body: `context` says what it is about. */
  enqueueBare(request: RpcRequest, execute: Execute, context: unknown): Mutation {
    const mutation = this.#take(execute);
    mutation.request = request;
    mutation.session = request.session;
    mutation.opcode = request.opcode;
    mutation.memory = this.#filling.bodies;
    mutation.body = 0;
    mutation.bodyBytes = 0;
    mutation.context = context;
    this.#place(mutation);
    return mutation;
  }

  /** Queues work of the target's own; `after` when it is committed. It may spend the reserve. */
  enqueueWork(run: () => void, after: () => void): void {
    if (this.#closed) return;
    const mutation = this.#take(runWork);
    mutation.request = undefined;
    mutation.session = undefined;
    mutation.context = { run, after } satisfies Work;
    mutation.memory = this.#filling.bodies;
    mutation.frees = true;
    this.#place(mutation);
    this.#options.scheduler.requestTurn();
  }

  /** Queues an operation of the target's own that may need other targets; `ended` with its status. */
  enqueueOwn(execute: Execute, context: unknown, ended: (status: number) => void): void {
    if (this.#closed) return;
    const mutation = this.#take(execute);
    mutation.request = undefined;
    mutation.session = undefined;
    mutation.opcode = 0;
    mutation.memory = this.#filling.bodies;
    mutation.body = 0;
    mutation.bodyBytes = 0;
    mutation.context = context;
    mutation.own = ended;
    this.#place(mutation);
    this.#options.scheduler.requestTurn();
  }

  /** No more work of the target's own; what is queued is still executed. */
  close(): void {
    this.#closed = true;
  }

  #take(execute: Execute): Mutation {
    const mutation = this.#pool.pop() ?? new Mutation();
    mutation.execute = execute;
    mutation.sizeInode = 0;
    mutation.frees = false;
    mutation.context = undefined;
    mutation.attempts = 0;
    mutation.locksBefore = 0;
    mutation.weight = 1;
    mutation.own = undefined;
    return mutation;
  }

  #place(mutation: Mutation): void {
    const batch = this.#filling;
    mutation.out = batch.replies;
    mutation.reply = batch.replies.take(REPLY_ROOM);
    batch.mutations.push(mutation);
  }

  /** The turn's end: executes everything that is queued. */
  commit(): void {
    if (this.#filling.mutations.length === 0 || this.#committing) return;
    this.#committing = true;
    const batch = this.#filling;
    this.#filling = this.#batches.pop() ?? new Batch();
    const { mutations } = batch;
    let first = 0;
    while (first < mutations.length) {
      const end = endOfTransaction(mutations, first);
      if (this.#try(mutations, first, end) !== 0) this.#eachAlone(mutations, first, end);
      first = end;
    }
    this.#committing = false;
    this.#settle(batch);
    if (this.#filling.mutations.length > 0) this.#options.scheduler.requestTurn();
  }

  /** One transaction for these; 0, or the errno of what aborted it. */
  #try(mutations: Mutation[], first: number, end: number): number {
    const { namespace, sessions, reclaimer } = this.#options;
    this.#list = mutations;
    this.#first = first;
    this.#end = end;
    try {
      this.#options.transaction(this.#body);
    } catch (error) {
      namespace.aborted();
      sessions.aborted();
      reclaimer.aborted();
      this.counters.aborts++;
      return this.#errnoOf(error);
    }
    namespace.committed();
    sessions.committed();
    reclaimer.committed();
    this.counters.transactions++;
    this.counters.mutations += end - first;
    if (end - first > this.counters.largest) this.counters.largest = end - first;
    return 0;
  }

  #executeRange(): void {
    const { namespace, sessions } = this.#options;
    for (let i = this.#first; i < this.#end; i++) this.#execute(this.#list[i]!);
    namespace.save();
    sessions.save();
  }

  #execute(mutation: Mutation): void {
    const { namespace, reclaimer, coordinator } = this.#options;
    mutation.replyBytes = 0;
    mutation.client = 0;
    mutation.result0 = 0;
    mutation.result1 = 0;
    mutation.openInode = 0;
    mutation.waitForCut = 0;
    mutation.outcome = 0;
    mutation.recalls = undefined;
    mutation.leases = 0;
    namespace.touched.clear();
    mutation.deferred = mutation.sizeInode !== 0 && reclaimer.isBlocked(mutation.sizeInode);
    if (mutation.deferred) return;
    coordinator.begin(mutation);
    const asked = mutation.execute(namespace, mutation, mutation);
    const refusal = mutation.transaction?.refusal ?? 0;
    const status = asked === PENDING && refusal !== 0 ? refusal : asked;
    if (status < 0) {
      mutation.outcome = status;
      mutation.deferred = true;
      return;
    }
    mutation.status = status;
    if (status === 0) this.#host.executed(mutation);
    this.#record(mutation);
  }

  #record(mutation: Mutation): void {
    const { request } = mutation;
    if (request === undefined) return;
    const { session, slot, sequence, opcode } = request;
    const { status, result0, result1 } = mutation;
    session.record(slot, sequence, opcode, status, result0, result1);
    this.#options.sessions.touch(session);
    if (status !== 0 || result0 === 0 || !isBatch(opcode)) return;
    const { out, reply, replyBytes } = mutation;
    const statuses = out.bytes.subarray(reply + BatchReply.SIZE, reply + replyBytes);
    this.#options.sessions.keepStatuses(request, statuses);
  }

  #eachAlone(mutations: Mutation[], first: number, end: number): void {
    for (let i = first; i < end; i++) {
      const mutation = mutations[i]!;
      if (mutation.frees) this.#options.meta.useReserve?.(true);
      const status = this.#try(mutations, i, i + 1);
      if (mutation.frees) this.#options.meta.useReserve?.(false);
      if (status === 0) continue;
      mutation.deferred = false;
      mutation.outcome = 0;
      mutation.status = status;
      mutation.replyBytes = 0;
      mutation.result0 = 0;
      mutation.result1 = 0;
      mutation.openInode = 0;
      mutation.waitForCut = 0;
      mutation.recalls = undefined;
      mutation.leases = 0;
      this.#record(mutation);
    }
  }

  #errnoOf(error: unknown): number {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return errno.ENOSPC;
    const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.log(`a transaction failed: ${reason}`);
    return errno.EIO;
  }

  /** Everything of the batch is decided: what is to be answered stays in it. */
  #settle(batch: Batch): void {
    const { durability, meta, scheduler } = this.#options;
    const { mutations } = batch;
    let waiting = 0;
    for (const mutation of mutations) {
      if (mutation.deferred) this.#defer(mutation);
      else if (mutation.own !== undefined) mutations[waiting++] = mutation;
      else if (mutation.request === undefined) this.#finishWork(mutation);
      else {
        this.#host.decided(mutation);
        mutations[waiting++] = mutation;
      }
    }
    mutations.length = waiting;
    if (durability === 'fsync' || waiting === 0 || meta.flushNow?.() === true) {
      this.#finish(batch, 0);
      return;
    }
    // Replies to reads may overtake these: they grant nothing.
    for (const mutation of mutations) mutation.leases = 0;
    meta.flush((error) => {
      if (error !== undefined) this.#options.log(`a flush failed: ${error.message}`);
      this.#finish(batch, error === undefined ? 0 : errno.EIO);
      scheduler.requestTurn();
    });
  }

  /** Answers the batch. */
  #finish(batch: Batch, flushStatus: number): void {
    for (const mutation of batch.mutations) {
      this.#answerWhenReturned(mutation, flushStatus);
    }
    batch.clear();
    this.#batches.push(batch);
  }

  #finishWork(mutation: Mutation): void {
    const work = mutation.context as Work;
    mutation.context = undefined;
    const failed = mutation.status !== 0;
    this.#pool.push(mutation);
    if (!failed) work.after();
    // Out of space even with the reserve: later there may be some.
    else this.#retryLater(work);
  }

  #retryLater(work: Work): void {
    this.#options.scheduler.setTimer(1000, () => {
      this.enqueueWork(work.run, work.after);
    });
  }

  /**
   * Nobody holds a lease on what it has changed when it is answered, nor when other targets show their
   * parts of it.
   */
  #answerWhenReturned(mutation: Mutation, flushStatus: number): void {
    const left = mutation.recalls?.filter((recall) => !recall.released) ?? [];
    mutation.recalls = undefined;
    if (left.length === 0) {
      this.#returned(mutation, flushStatus);
      return;
    }
    keepReply(mutation);
    mutation.leases = 0;
    let waiting = left.length;
    for (const recall of left) {
      recall.waiters.push(() => {
        if (--waiting === 0) this.#returned(mutation, flushStatus);
      });
    }
  }

  #returned(mutation: Mutation, flushStatus: number): void {
    this.#options.coordinator.end(mutation);
    if (flushStatus !== 0 && mutation.status === 0) mutation.status = flushStatus;
    this.#answerWhenCut(mutation);
  }

  #answerWhenCut(mutation: Mutation): void {
    if (mutation.own !== undefined) {
      mutation.own(mutation.status);
      this.#release(mutation);
      return;
    }
    if (mutation.waitForCut === 0 || mutation.status !== 0) {
      this.#host.answer(mutation);
      this.#release(mutation);
      return;
    }
    keepReply(mutation);
    mutation.leases = 0;
    this.#options.reclaimer.wait(mutation.waitForCut, () => {
      this.#host.answer(mutation);
      this.#release(mutation);
    });
  }

  #defer(mutation: Mutation): void {
    this.counters.deferred++;
    keepBody(mutation);
    if (mutation.outcome < 0) {
      this.#options.coordinator.putOff(mutation, mutation.outcome);
      return;
    }
    this.#options.reclaimer.wait(mutation.sizeInode, () => {
      this.place(mutation);
    });
  }

  /** One that was put off is executed in the next transaction. */
  place(mutation: Mutation): void {
    this.#place(mutation);
    this.#options.scheduler.requestTurn();
  }

  #release(mutation: Mutation): void {
    mutation.request = undefined;
    mutation.session = undefined;
    mutation.context = undefined;
    this.#pool.push(mutation);
  }
}

function endOfTransaction(mutations: readonly Mutation[], first: number): number {
  let end = first;
  let weight = 0;
  while (end < mutations.length && weight < TRANSACTION_MUTATIONS_MAX) {
    weight += mutations[end++]!.weight;
  }
  return end;
}
