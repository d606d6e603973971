/**
 * What a target has to tell its sessions: recalls of leases, locks that are held now. Notices are numbered by
 * session and kept until a later Await acknowledges them.
 *
 *   Await(acknowledged) ─┬─ some are left ──────────────> answered
 *                        └─ none: kept ─┬─ send, flush ─> answered
 *                                       └─ 2 s ─────────> answered, empty
 */
import type { Scheduler, Timer } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import {
  AWAIT_BEAT_MS,
  AWAIT_LEASES,
  incarnationTag,
  NOTICES_MAX,
  NOTICES_OVERDUE,
} from '../../protocol/leases.js';
import { AwaitRequest, Notice, NoticesReply } from '../../protocol/wire.generated.js';
import { readU53OrZero, writeU16, writeU53 } from '../../protocol/u53.js';
import type { RpcRequest, RpcServer, Session } from '../../transport/rpc-server.js';

interface QueuedNotice {
  number: number;
  kind: number;
  status: number;
  inode: number;
  hash: number;
}

/** One session that awaits, or has awaited. */
class Listener {
  readonly session: Session;
  /** Oldest first: those that are not acknowledged. */
  queue: QueuedNotice[] = [];
  next = 1;
  waiting: RpcRequest | undefined;
  waitingSinceMs = 0;
  hasNews = false;

  constructor(session: Session) {
    this.session = session;
  }
}

export interface NoticesDeps {
  arena: ArenaMemory;
  rpc: RpcServer;
  scheduler: Scheduler;
  /** Of the target. */
  incarnation: string;
  /** The session has not answered a recall for long: it is not to believe for longer what it holds. */
  isOverdue(session: Session): boolean;
  /** The session awaits; `wantsLeases` as it says. Called with each Await. */
  onAwait(session: Session, wantsLeases: boolean): void;
}

export class Notices {
  readonly #deps: NoticesDeps;
  readonly #listeners = new Map<Session, Listener>();
  readonly #news: Listener[] = [];
  #beat: Timer | undefined;
  readonly #tag: number;
  #closed = false;

  constructor(deps: NoticesDeps) {
    this.#deps = deps;
    this.#tag = incarnationTag(deps.incarnation);
  }

  /** Nothing is answered any more. */
  close(): void {
    this.#closed = true;
    this.#beat?.cancel();
  }

  /** An Await has arrived: it is answered here, now or later. */
  await(request: RpcRequest): void {
    const { arena, scheduler } = this.#deps;
    const { session, body } = request;
    const acknowledged = readU53OrZero(arena.words, body + AwaitRequest.acknowledged);
    const flags = arena.words[(body + AwaitRequest.flags) >>> 2]!;
    if (arena.words[(body + AwaitRequest.incarnation) >>> 2] !== this.#tag) {
      // Repeated after a restart: the client still holds what the earlier process granted.
      this.#answerEmpty(request);
      return;
    }
    let listener = this.#listeners.get(session);
    const isNew = listener === undefined;
    if (listener === undefined) {
      listener = new Listener(session);
      this.#listeners.set(session, listener);
    }
    this.#deps.onAwait(session, (flags & AWAIT_LEASES) !== 0);
    const { queue } = listener;
    let known = 0;
    while (known < queue.length && queue[known]!.number <= acknowledged) known++;
    queue.splice(0, known);
    // One at a time: an older one is of a client that has given it up.
    if (listener.waiting !== undefined) this.#answer(listener);
    listener.waiting = request;
    listener.waitingSinceMs = scheduler.nowMs();
    // The first at once: what is granted is believed from an answer on.
    if (isNew || queue.length > 0) this.#answer(listener);
    else this.#arm();
  }

  /** Notices reach the session. */
  isAwaited(session: Session): boolean {
    return this.#listeners.has(session);
  }

  /** The number of the notice; 0: the session has never awaited. It leaves with the next `flush`. */
  send(session: Session, kind: number, inode: number, hash: number, status: number): number {
    const listener = this.#listeners.get(session);
    if (listener === undefined) return 0;
    const number = listener.next++;
    listener.queue.push({ number, kind, status, inode, hash });
    if (!listener.hasNews) {
      listener.hasNews = true;
      this.#news.push(listener);
      this.#deps.scheduler.requestTurn();
    }
    return number;
  }

  /** At a turn's end, after the replies that these must not overtake. */
  flush(): void {
    if (this.#news.length === 0) return;
    for (const listener of this.#news) {
      listener.hasNews = false;
      if (listener.waiting !== undefined && listener.queue.length > 0) this.#answer(listener);
    }
    this.#news.length = 0;
  }

  /** The session has ended, or begins anew. */
  drop(session: Session): void {
    const listener = this.#listeners.get(session);
    if (listener === undefined) return;
    listener.queue = [];
    if (listener.waiting !== undefined) this.#answer(listener);
    this.#listeners.delete(session);
  }

  #answerEmpty(request: RpcRequest): void {
    const { arena, rpc } = this.#deps;
    const reply = rpc.beginReply(request, NoticesReply.SIZE);
    arena.words[(reply + NoticesReply.count) >>> 2] = 0;
    arena.words[(reply + NoticesReply.flags) >>> 2] = 0;
    rpc.endReply(request, 0, NoticesReply.SIZE);
  }

  #answer(listener: Listener): void {
    const { arena, rpc } = this.#deps;
    const request = listener.waiting!;
    listener.waiting = undefined;
    const { queue } = listener;
    const count = Math.min(queue.length, NOTICES_MAX);
    const bytes = NoticesReply.SIZE + count * Notice.SIZE;
    const reply = rpc.beginReply(request, bytes);
    const { words } = arena;
    words[(reply + NoticesReply.count) >>> 2] = count;
    const isOverdue = this.#deps.isOverdue(listener.session);
    words[(reply + NoticesReply.flags) >>> 2] = isOverdue ? NOTICES_OVERDUE : 0;
    for (let i = 0; i < count; i++) {
      const { number, kind, status, inode, hash } = queue[i]!;
      const at = reply + NoticesReply.SIZE + i * Notice.SIZE;
      writeU53(words, at + Notice.number, number);
      writeU53(words, at + Notice.inode, inode);
      writeU53(words, at + Notice.hash, hash);
      writeU16(words, at + Notice.kind, kind);
      writeU16(words, at + Notice.status, status);
      words[(at + Notice.reserved) >>> 2] = 0;
    }
    rpc.endReply(request, 0, bytes);
  }

  /** One timer for all: an Await that has waited long enough is answered. */
  #arm(): void {
    if (this.#beat !== undefined || this.#closed) return;
    this.#beat = this.#deps.scheduler.setTimer(AWAIT_BEAT_MS / 2, () => {
      this.#beat = undefined;
      const now = this.#deps.scheduler.nowMs();
      let waiting = false;
      for (const listener of this.#listeners.values()) {
        if (listener.waiting === undefined) continue;
        if (now - listener.waitingSinceMs < AWAIT_BEAT_MS / 2) waiting = true;
        else this.#answer(listener);
      }
      this.#deps.scheduler.requestTurn();
      if (waiting) this.#arm();
    });
  }
}
