/**
 * What targets tell this client unasked: recalls of leases, locks that are held now (docs/leases.md). At each
 * target one Await is kept outstanding; its answer brings notices, numbered by session, and is
 * followed by the next Await at once, which acknowledges them.
 *
 *   session ready ──> Await ── answer: handlers of each notice's kind ──┐
 *                       ^ └── lost connection: sent again by the peer     │
 *                       └─────────────────────────────────────────────────┘
 *
 * A recall is answered by its number, with Returned, when its handler has done what it asks for: those of one
 * turn go in one request, before what else this turn sends.
 *
 * An answered Await is also the proof that the target still counts on this session: what it granted may be
 * believed for LEASE_TRUST_MS after that Await was sent (`RpcPeer.trustedUntilMs`).
 *
 * A new session begins with number 1 again. So an Await and Returned of the old one, unanswered, are cancelled
 * before they could be sent in the new one, and numbers of the old one are not answered any more.
 */
import { errno } from '../../common/errno.js';
import { TURN_FLUSH } from '../../common/scheduler.js';
import type { Scheduler } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import {
  AWAIT_LEASES,
  incarnationTag,
  LEASE_TRUST_MS,
  NOTICES_MAX,
  NOTICES_OVERDUE,
} from '../../protocol/leases.js';
import { readU16, readU53, writeU53 } from '../../protocol/u53.js';
import {
  AwaitRequest,
  Notice,
  NoticesReply,
  Opcode,
  ReturnedRequest,
} from '../../protocol/wire.generated.js';
import { RpcOperation } from '../../transport/rpc-client.js';
import type { RpcPeer } from '../../transport/rpc-client.js';

/** Before the requests of the turn are sent. */
const TURN_RETURN = TURN_FLUSH - 10;
/** An Await that a target could not answer is tried again after this long. */
const RETRY_MS = 1000;

/** One notice, where its handler reads it; valid until the handler returns. */
export class NoticeView {
  /** Whom it is to be returned to. */
  channel!: NoticeChannel;
  number = 0;
  inode = 0;
  /** Of an entry: its name's. Of a lock: the waiter. */
  hash = 0;
  /** NOTICE_… */
  kind = 0;
  /** Of a lock: 0, it is held, or an errno. */
  status = 0;
}

export type NoticeHandler = (notice: NoticeView) => void;

export interface NoticesOptions {
  /** The targets are to grant leases. */
  wantsLeases: boolean;
  scheduler: Scheduler;
  arena: ArenaMemory;
  log: (message: string) => void;
}

class AwaitOperation extends RpcOperation {
  readonly #channel: NoticeChannel;
  readonly #arena: ArenaMemory;
  readonly #wantsLeases: boolean;
  sentMs = 0;

  constructor(channel: NoticeChannel, options: NoticesOptions) {
    super();
    this.#channel = channel;
    this.#arena = options.arena;
    this.#wantsLeases = options.wantsLeases;
    this.opcode = Opcode.Await;
    this.bodyBytes = AwaitRequest.SIZE;
    this.background = true;
    this.urgent = true;
  }

  override encode(body: number): number {
    const { words } = this.#arena;
    this.sentMs = this.#channel.nowMs();
    writeU53(words, body + AwaitRequest.acknowledged, this.#channel.last);
    words[(body + AwaitRequest.flags) >>> 2] = this.#wantsLeases ? AWAIT_LEASES : 0;
    words[(body + AwaitRequest.incarnation) >>> 2] = this.#channel.incarnationTag;
    return AwaitRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    this.#channel.answered(status, body, bodyBytes);
  }
}

class ReturnedOperation extends RpcOperation {
  readonly #channel: NoticeChannel;
  readonly #arena: ArenaMemory;
  readonly numbers = new Float64Array(NOTICES_MAX);
  count = 0;

  constructor(channel: NoticeChannel, arena: ArenaMemory) {
    super();
    this.#channel = channel;
    this.#arena = arena;
    this.opcode = Opcode.Returned;
    this.urgent = true;
  }

  override encode(body: number): number {
    const { words } = this.#arena;
    words[(body + ReturnedRequest.count) >>> 2] = this.count;
    words[(body + ReturnedRequest.reserved) >>> 2] = 0;
    for (let i = 0; i < this.count; i++) {
      writeU53(words, body + ReturnedRequest.SIZE + i * 8, this.numbers[i]!);
    }
    return ReturnedRequest.SIZE + this.count * 8;
  }

  override done(status: number): void {
    this.#channel.returnedDone(this, status);
  }
}

/** One target's notices. */
export class NoticeChannel {
  readonly peer: RpcPeer;
  /** Counts sessions: a number of another is not to be returned. */
  generation = 0;
  /** Number of the last notice that has arrived. */
  last = 0;
  readonly #owner: Notices;
  readonly #options: NoticesOptions;
  readonly #await: AwaitOperation;
  readonly #view = new NoticeView();
  #awaiting = false;
  /** The target knows no notices. */
  #unsupported = false;
  readonly #returned: number[] = [];
  readonly #sent: ReturnedOperation[] = [];
  readonly #free: ReturnedOperation[] = [];

  constructor(owner: Notices, peer: RpcPeer, options: NoticesOptions) {
    this.peer = peer;
    this.#owner = owner;
    this.#options = options;
    this.#await = new AwaitOperation(this, options);
    this.#view.channel = this;
  }

  /** Of the target, as its last handshake said. */
  get incarnationTag(): number {
    return incarnationTag(this.peer.incarnation);
  }

  nowMs(): number {
    return this.#options.scheduler.nowMs();
  }

  /** The target has forgotten this client: nothing of before is answered. */
  newSession(): void {
    this.generation++;
    this.last = 0;
    this.#unsupported = false;
    this.#returned.length = 0;
    this.peer.trustedUntilMs = -Infinity;
    this.peer.cancel(this.#await);
    for (const operation of [...this.#sent]) this.peer.cancel(operation);
  }

  /** There is a session. */
  ready(): void {
    if (this.#awaiting || this.#unsupported || this.#owner.stopped) return;
    this.#awaiting = true;
    this.peer.call(this.#await);
  }

  /** Of AwaitOperation. */
  answered(status: number, body: number, bodyBytes: number): void {
    this.#awaiting = false;
    if (status === 0) {
      this.#take(body, bodyBytes);
      this.ready();
    } else if (status === errno.ENOSYS) {
      this.#unsupported = true;
    } else if (status !== errno.EINTR && status !== errno.ENOTCONN) {
      this.#options.scheduler.setTimer(RETRY_MS, () => {
        if (this.peer.state === 'ready') this.ready();
      });
    }
  }

  #take(body: number, bodyBytes: number): void {
    const { words } = this.#options.arena;
    const count = bodyBytes < NoticesReply.SIZE ? -1 : words[(body + NoticesReply.count) >>> 2]!;
    if (count < 0 || NoticesReply.SIZE + count * Notice.SIZE > bodyBytes) {
      this.#options.log('a reply contradicts the protocol: notices');
      return;
    }
    // A full answer may have left out a recall that is older than the Await.
    const flags = words[(body + NoticesReply.flags) >>> 2]!;
    if (count < NOTICES_MAX && (flags & NOTICES_OVERDUE) === 0) {
      this.peer.trustedUntilMs = this.#await.sentMs + LEASE_TRUST_MS;
    }
    const view = this.#view;
    for (let i = 0; i < count; i++) {
      const at = body + NoticesReply.SIZE + i * Notice.SIZE;
      view.number = readU53(words, at + Notice.number);
      if (view.number <= this.last) continue;
      this.last = view.number;
      view.inode = readU53(words, at + Notice.inode);
      view.hash = readU53(words, at + Notice.hash);
      view.kind = readU16(words, at + Notice.kind);
      view.status = readU16(words, at + Notice.status);
      this.#owner.arrived(view);
    }
  }

  /** What this notice of the session `generation` recalled is held no more. */
  giveBack(number: number, generation: number): void {
    if (generation !== this.generation) return;
    if (this.#returned.push(number) === 1) this.#owner.hasReturned(this);
  }

  /** At the turn's end. */
  flush(): void {
    const numbers = this.#returned;
    for (let from = 0; from < numbers.length; from += NOTICES_MAX) {
      const operation = this.#free.pop() ?? new ReturnedOperation(this, this.#options.arena);
      operation.count = Math.min(NOTICES_MAX, numbers.length - from);
      for (let i = 0; i < operation.count; i++) operation.numbers[i] = numbers[from + i]!;
      operation.bodyBytes = ReturnedRequest.SIZE + operation.count * 8;
      this.#sent.push(operation);
      this.peer.call(operation);
    }
    numbers.length = 0;
  }

  /** Of ReturnedOperation. One that got lost ends with the session, which the target then closes. */
  returnedDone(operation: ReturnedOperation, status: number): void {
    if (status !== 0 && status !== errno.EINTR && status !== errno.ENOTCONN) {
      this.#options.log(`leases: target ${this.peer.targetId} refuses what is returned: ${status}`);
    }
    this.#sent.splice(this.#sent.indexOf(operation), 1);
    this.#free.push(operation);
  }
}

export class Notices {
  readonly #options: NoticesOptions;
  readonly #channels = new Map<RpcPeer, NoticeChannel>();
  readonly #handlers: (NoticeHandler | undefined)[] = [];
  readonly #dirty: NoticeChannel[] = [];
  /** Notices that have arrived. */
  arrivals = 0;
  /** The sessions are about to end. */
  stopped = false;

  constructor(options: NoticesOptions) {
    this.#options = options;
    options.scheduler.onTurnEnd(TURN_RETURN, () => {
      for (const channel of this.#dirty) channel.flush();
      this.#dirty.length = 0;
    });
  }

  /** `handler` is called with each notice of this kind (NOTICE_…); one handler a kind. */
  on(kind: number, handler: NoticeHandler): void {
    this.#handlers[kind] = handler;
  }

  #channelOf(peer: RpcPeer): NoticeChannel {
    let channel = this.#channels.get(peer);
    if (channel === undefined) {
      channel = new NoticeChannel(this, peer, this.#options);
      this.#channels.set(peer, channel);
    }
    return channel;
  }

  /** Of RpcClientOptions.onNewSession. */
  newSession(peer: RpcPeer): void {
    this.#channelOf(peer).newSession();
  }

  /** Of RpcClientOptions.onReady. */
  ready(peer: RpcPeer): void {
    this.#channelOf(peer).ready();
  }

  /** Of NoticeChannel. A recall of a kind that nobody here knows is of something not held. */
  arrived(notice: NoticeView): void {
    this.arrivals++;
    const handler = this.#handlers[notice.kind];
    if (handler !== undefined) handler(notice);
    else notice.channel.giveBack(notice.number, notice.channel.generation);
  }

  /** Of NoticeChannel: it has something to send at this turn's end. */
  hasReturned(channel: NoticeChannel): void {
    this.#dirty.push(channel);
    this.#options.scheduler.requestTurn();
  }
}
