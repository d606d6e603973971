/**
 * One target as its client sees it: a session that outlives connections, the calls in flight and
 * those that wait for a slot.
 *
 *   idle ── call ──> connecting ── open ──> handshake ── HelloReply ──> ready
 *                        ^  └───── failed, lost, refused ──┴──────────────┤
 *                        └── time is up ── backoff <──────────────────────┘      closed: for good
 *
 * A target may have several endpoints, of one transport or several: which comes next is the
 * route's to say (rpc-route.ts). A connection that failed where another endpoint is left is followed by
 * that at once, not by backoff; while the session is on a lesser endpoint the best one is tried now
 * and then, beside it, and the session moves back when it answers.
 *
 * On `ready` all that is unanswered is sent again with its old sequence numbers: the target answers
 * what it has executed from its records. A lost message cannot hang a call: a connection that
 * stays silent while calls are outstanding is probed with an Echo, then given up.
 */
import { errno } from '../common/errno.js';
import type { Timer } from '../common/scheduler.js';
import {
  ENTRY_HEADER_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_REPLIES,
  SEQUENCE_OUTSIDE,
  checkFrame,
  opcodeName,
} from '../protocol/frame.js';
import { encodeHello } from '../protocol/handshake.js';
import { protocolVersion, rpcSlots } from '../protocol/limits.generated.js';
import { FrameHeader, Opcode } from '../protocol/wire.generated.js';
import { readHelloReply, refusalOf, sendOutside } from './rpc-handshake.js';
import { RPC_IDLE, RPC_WAITING } from './rpc-operation.js';
import type { RpcOperation } from './rpc-operation.js';
import { RequestOutbox, SLOT_DYING, SLOT_FREE, SLOT_SENT, checkOperation } from './rpc-outbox.js';
import { OperationQueue } from './rpc-queue.js';
import type { PeerHost, PeerState } from './rpc-peer-host.js';
import { RpcRoute, endpointsOf } from './rpc-route.js';
import type { TargetAddress } from './rpc-route.js';
import type { RpcSink } from './rpc-switch.js';
import { RpcTrial } from './rpc-trial.js';
import { connectionKind } from './transport.js';
import type { TransportKind } from './transport.js';

/** Deadlines and time-outs are exact to one tick … */
const TICK_MS = 50;
/** … and where nothing but background calls is outstanding, to one of these. */
const BACKGROUND_TICK_MS = 1000;
const OPCODES = 256;
/** Lazy calls are not held back when no more slots than these are free. */
const LAZY_SLOTS_FREE = rpcSlots / 2;

export class RpcPeer implements RpcSink {
  readonly targetId: string;
  /** 32 hex digits, for the lifetime of this object. */
  readonly sessionId: string;
  /** From the last handshake; '' before the first. */
  incarnation = '';
  /** The epoch of the map that the target holds, by its last reply. */
  targetEpoch = 0;
  /** Why the target refused the last handshake; '' when it did not. */
  refusal = '';
  /** Why there is no connection, as of the last attempt; '' with one, and before the first. */
  failure = '';
  /** Bad frames from the target, each of which ended a connection. */
  protocolErrors = 0;
  /** Calls that were made, background calls left out. */
  calls = 0;
  /** The same by opcode. */
  readonly callsOf = new Float64Array(OPCODES);
  /** Of RpcClient alone: in its list of dirty peers. */
  listed = false;
  /** Of this client's leases alone: until when it trusts those of this target (scheduler's ms). */
  trustedUntilMs = -Infinity;

  readonly #host: PeerHost;
  readonly #words: Uint32Array;
  readonly #outbox: RequestOutbox;
  readonly #waiting = new OperationQueue();
  readonly #route: RpcRoute;
  readonly #trial: RpcTrial;
  #unreachable = '';
  /** The connection's end, when it comes, is our own doing and says nothing against its endpoint. */
  #blameless = false;
  /** It ends because the session goes to a better endpoint, which is told when it is there. */
  #moving = false;
  /** Why a connection was lost whose line is held back: the next endpoint may make it one line. */
  #untold = '';
  #state: PeerState = 'idle';
  #connection = 0;
  /** Scheduler's milliseconds of entering the present state. */
  #stateMs = 0;
  /** Since when there is no ready connection. */
  #downMs = 0;
  /** Soft, and down for too long: calls fail at once. */
  #failing = false;
  #backoff: Timer | null = null;
  #attempts = 0;
  #outstanding = 0;
  /** Of these, background calls. */
  #background = 0;
  #withDeadline = 0;
  #heard = false;
  #heardMs = 0;
  /** When the probe was sent; 0: none is. */
  #probeMs = 0;

  constructor(host: PeerHost, address: TargetAddress) {
    this.#host = host;
    this.#words = host.arena.words;
    this.#outbox = new RequestOutbox(host.transport, host.arena);
    this.targetId = address.targetId;
    this.#route = new RpcRoute(endpointsOf(address), host.policy.fallbackHoldMs);
    const { handshakeTimeoutMs } = host.policy;
    this.#trial = new RpcTrial(
      host.connections,
      host.scheduler,
      this.#route,
      handshakeTimeoutMs,
      () => {
        this.#moving = true;
        this.#closeBlameless('a better endpoint answers again');
      },
    );
    if ('endpoints' in address) this.#unreachable = address.unreachable ?? '';
    let id = '';
    for (let i = 0; i < 4; i++) {
      const word = Math.floor(host.scheduler.random() * 4294967296);
      id += word.toString(16).padStart(8, '0');
    }
    this.sessionId = id;
  }

  get state(): PeerState {
    return this.#state;
  }

  /** What carries the session now; undefined without a connection that is ready. */
  get transportKind(): TransportKind | undefined {
    if (this.#state !== 'ready') return undefined;
    return connectionKind(this.#host.transport, this.#connection);
  }

  /** Calls that are not done, those that wait for a slot included; without background calls. */
  get outstanding(): number {
    return this.#outstanding - this.#background;
  }

  /** Slots that can be used now: fewer than rpcSlots means calls or late answers in flight. */
  get freeSlots(): number {
    return this.#outbox.freeSlotCount;
  }

  /** Requests wait for the turn's end, or for a call that is not lazy. */
  get unsent(): boolean {
    return this.#outbox.unsealed;
  }

  /**
   * Sends the operation at the turn's end, or queues it while its slots are taken, no message
   * slot is free or there is no connection. Requests are sent in the order of calls, urgent ones first.
   */
  call(operation: RpcOperation): void {
    if (operation.rpcState !== RPC_IDLE) throw new Error('rpc: this operation is outstanding');
    checkOperation(operation);
    if (operation.deadlineMs > 0) {
      operation.rpcDueMs = this.#host.scheduler.nowMs() + operation.deadlineMs;
      this.#withDeadline++;
    } else {
      operation.rpcDueMs = 0;
    }
    if (this.#outstanding === 0) this.#heard = true;
    const ticks = this.tickMs;
    this.#outstanding++;
    if (operation.background) this.#background++;
    else {
      this.calls++;
      this.callsOf[operation.opcode]!++;
    }
    if (ticks !== this.tickMs) this.#host.startTicking(this.tickMs);
    if (this.#state === 'ready' && (operation.urgent || this.#waiting.head === null)) {
      if (this.#outbox.place(operation, this.#host.mapEpoch)) {
        if (operation.lazy && this.freeSlots > LAZY_SLOTS_FREE) this.#host.sendSoon();
        else this.#host.markDirty(this);
        return;
      }
    }
    operation.rpcState = RPC_WAITING;
    if (operation.urgent) this.#waiting.pushFirst(operation);
    else this.#waiting.push(operation);
    this.#host.markDirty(this);
    if (this.#state === 'idle') this.connect();
  }

  /**
   * Gives up an outstanding operation: `done(EINTR)` is called, before this returns unless the
   * transport still reads the operation's memory. The request may have been executed or not. Does
   * nothing to an idle operation.
   */
  cancel(operation: RpcOperation): void {
    const state = operation.rpcState;
    const sentHere = state >= 0 && this.#outbox.operations[state] === operation;
    if (state === RPC_WAITING || sentHere) this.#giveUp(operation, errno.EINTR);
  }

  /** Connects without waiting for the first call; from then on the connection is kept up. */
  connect(): void {
    if (this.#state !== 'idle') return;
    this.#downMs = this.#host.scheduler.nowMs();
    this.#startRound();
  }

  /** The target has moved: the next connection goes there, an open one elsewhere is closed. */
  setAddress(address: TargetAddress): void {
    this.#unreachable = 'endpoints' in address ? (address.unreachable ?? '') : '';
    if (!this.#route.set(endpointsOf(address))) return;
    this.#trial.stop();
    this.#attempts = 0;
    if (this.#connection !== 0) {
      this.#closeBlameless('the target has moved');
    } else if (this.#state === 'backoff') {
      this.#backoff?.cancel();
      this.#backoff = null;
      this.#startRound();
    }
  }

  /** Of RpcClient: fails everything with ENOTCONN, at the latest when the connection is gone. */
  shutDown(): void {
    if (this.#state === 'closed') return;
    this.#enter('closed');
    this.#trial.stop();
    this.#backoff?.cancel();
    this.#backoff = null;
    this.#host.markDirty(this);
    if (this.#connection !== 0) this.#host.transport.close(this.#connection, 'closing');
    else this.#failAll(errno.ENOTCONN);
  }

  // ------------------------------------------------------------ connection

  #enter(state: PeerState): void {
    this.#state = state;
    this.#stateMs = this.#host.scheduler.nowMs();
    this.#probeMs = 0;
  }

  /** The best endpoint that is worth it, then the others. */
  #startRound(): void {
    this.#route.begin(this.#host.scheduler.nowMs());
    this.#startConnection();
  }

  #startConnection(): void {
    const address = this.#route.current;
    if (address === undefined) {
      this.failure = this.#unreachable;
      this.#host.policy.log(`target ${this.targetId} cannot be reached: ${this.failure}`);
      // Until there is another map: setAddress goes on from here.
      this.#enter('backoff');
      return;
    }
    this.#blameless = false;
    this.#moving = false;
    this.#enter('connecting');
    try {
      this.#connection = this.#host.connections.connect(address, this);
    } catch (error) {
      // This machine cannot open one more connection: as good as one that failed.
      this.onClose(error instanceof Error ? error.message : String(error));
      return;
    }
    this.#host.startTicking(TICK_MS);
  }

  onOpen(): void {
    const hello = encodeHello({
      protocolVersion,
      sessionId: this.sessionId,
      clusterId: this.#host.policy.clusterId,
      targetId: this.targetId,
      clientName: this.#host.policy.clientName,
      slotCount: rpcSlots,
      kind: this.#host.policy.kind,
      client: this.#host.policy.client,
    });
    this.#enter('handshake');
    if (!this.#sendOutside(Opcode.Hello, hello)) this.#closeBlameless('no message slot is free');
  }

  #sendOutside(opcode: number, body: Uint8Array): boolean {
    return sendOutside(this.#host, this, this.#connection, opcode, body);
  }

  #closeConnection(reason: string): void {
    if (this.#connection !== 0) this.#host.transport.close(this.#connection, reason);
  }

  #closeBlameless(reason: string): void {
    this.#blameless = true;
    this.#closeConnection(reason);
  }

  onClose(reason: string): void {
    const wasReady = this.#state === 'ready';
    const nowMs = this.#host.scheduler.nowMs();
    this.#connection = 0;
    this.#outbox.connectionLost();
    if (this.#state === 'closed') {
      this.#finishDying();
      this.#failAll(errno.ENOTCONN);
      return;
    }
    this.#trial.stop();
    this.failure = reason;
    if (wasReady) {
      this.#downMs = nowMs;
      if (!this.#moving) {
        this.#untold = `rpc: lost the connection to target ${this.targetId}: ${reason}`;
      }
    }
    if (!this.#blameless && this.#route.failed(nowMs, reason)) this.#startConnection();
    else this.#backOff();
    // Last: the callbacks may call, cancel or close.
    this.#finishDying();
  }

  #backOff(): void {
    if (this.#untold !== '') this.#host.policy.log(this.#untold);
    this.#untold = '';
    this.#enter('backoff');
    const policy = this.#host.policy;
    const full = Math.min(policy.backoffMaxMs, policy.backoffMinMs * 2 ** this.#attempts);
    if (full < policy.backoffMaxMs) this.#attempts++;
    const delayMs = full * (0.5 + this.#host.scheduler.random() / 2);
    this.#backoff = this.#host.scheduler.setTimer(delayMs, () => {
      this.#backoff = null;
      this.#startRound();
    });
  }

  /** Operations that only waited for the connection's end. */
  #finishDying(): void {
    const outbox = this.#outbox;
    for (let slot = 0; slot < rpcSlots; slot++) {
      if (outbox.states[slot] !== SLOT_DYING) continue;
      const operation = outbox.operations[slot]!;
      outbox.settle(slot);
      this.#finish(operation, operation.rpcDueMs < 0 ? errno.ETIMEDOUT : errno.EINTR);
    }
  }

  #helloArrived(frame: number, messageBytes: number): void {
    const reply = readHelloReply(this.#words, this.#host.arena.bytes, frame, messageBytes);
    if (typeof reply === 'string') {
      this.#protocolError(reply);
      return;
    }
    const refusal = refusalOf(reply, this.targetId);
    if (refusal !== '') {
      this.#refused(refusal);
      return;
    }
    const other = reply.newSession || this.incarnation !== reply.incarnation;
    const changed = this.incarnation !== '' && other;
    this.incarnation = reply.incarnation;
    this.targetEpoch = reply.mapEpoch;
    this.#becomeReady(changed);
  }

  /** Tried again all the same, slowly: the address or the target may be put right. */
  #refused(refusal: string): void {
    if (refusal !== this.refusal) {
      this.#host.policy.log(`rpc: target ${this.targetId} refuses the handshake: ${refusal}`);
    }
    this.refusal = refusal;
    this.#attempts = 16;
    this.#closeConnection('handshake refused');
  }

  #becomeReady(incarnationChanged: boolean): void {
    this.#enter('ready');
    this.refusal = '';
    this.failure = '';
    this.#attempts = 0;
    this.#failing = false;
    this.#heard = true;
    if (incarnationChanged) this.#host.policy.onNewSession(this);
    this.#outbox.connection = this.#connection;
    this.#outbox.retransmit();
    this.#tellRoute();
    this.#host.markDirty(this);
    this.#host.policy.onReady(this, incarnationChanged);
    this.#drain();
  }

  /** One line when the session is not where it was, instead of the one about the lost connection. */
  #tellRoute(): void {
    const news = this.#route.ready(this.#host.scheduler.nowMs());
    if (news !== '') this.#host.policy.log(`target ${this.targetId}: ${news}`);
    this.#untold = '';
    this.#trial.start();
  }

  #protocolError(reason: string): void {
    this.protocolErrors++;
    this.#host.policy.log(`rpc: bad frame from target ${this.targetId}: ${reason}`);
    this.#closeConnection(reason);
  }

  // ------------------------------------------------------------ replies

  onMessage(frame: number, messageBytes: number, bulkOffset: number, bulkBytes: number): void {
    const wrong = checkFrame(this.#words, frame, messageBytes, bulkBytes, true);
    if (wrong !== '') {
      // A frame that claims to be a request came with a bulk slot of ours.
      const flags = this.#words[(frame + FrameHeader.flags) >>> 2]!;
      const ownsSlot = bulkOffset !== 0 && (flags & FRAME_REPLIES) === 0;
      if (ownsSlot) this.#host.arena.bulk.give(bulkOffset);
      this.#protocolError(wrong);
      return;
    }
    this.#heard = true;
    if (this.#state === 'handshake') {
      this.#helloArrived(frame, messageBytes);
      return;
    }
    const connection = this.#connection;
    const words = this.#words;
    const bulkTag = words[(frame + FrameHeader.bulkTag) >>> 2]!;
    const end = frame + messageBytes;
    let entry = frame + FRAME_HEADER_BYTES;
    // A callback may end the connection; the rest of the frame is then answered once more.
    while (entry < end && this.#connection === connection && this.#state === 'ready') {
      const entryBytes = words[entry >>> 2]! & 0xffff;
      const error = this.#replyArrived(entry, entryBytes, bulkOffset, bulkBytes, bulkTag);
      if (error !== '') {
        this.#protocolError(error);
        return;
      }
      entry += entryBytes;
    }
    if (this.#waiting.head !== null) {
      this.#drain();
      this.#host.markDirty(this);
    }
  }

  #replyArrived(
    entry: number,
    entryBytes: number,
    bulkOffset: number,
    bulkBytes: number,
    bulkTag: number,
  ): string {
    const words = this.#words;
    const at = entry >>> 2;
    const opcode = (words[at]! >>> 16) & 0xff;
    const slot = words[at + 1]! & 0xffff;
    const sequence = words[at + 2]!;
    this.targetEpoch = words[at + 3]!;
    if (sequence === SEQUENCE_OUTSIDE) {
      if (opcode !== Opcode.Echo || this.#probeMs === 0) return 'reply outside of the slots';
      this.#probeMs = 0;
      return '';
    }
    const outbox = this.#outbox;
    const state = outbox.states[slot]!;
    if (state === SLOT_FREE || outbox.sequences[slot] !== sequence || outbox.isUnsent(slot)) {
      return `reply to nothing in slot ${slot}`;
    }
    if (outbox.opcodes[slot] !== opcode) {
      return `${opcodeName(opcode)} answers ${opcodeName(outbox.opcodes[slot]!)}`;
    }
    if (state !== SLOT_SENT) {
      if (state !== SLOT_DYING) outbox.settle(slot);
      return '';
    }
    const operation = outbox.operations[slot]!;
    if (bulkBytes !== 0) {
      const landed = bulkOffset === operation.landingOffset && bulkBytes <= operation.landingBytes;
      if (!landed || bulkTag !== slot) return 'bulk that was not asked for';
    } else if (operation.landingBytes !== 0) {
      this.#host.transport.endLanding(this.#connection, slot);
    }
    const status = words[at + 1]! >>> 16;
    outbox.settle(slot);
    operation.rpcState = RPC_IDLE;
    this.#outstanding--;
    if (operation.background) this.#background--;
    if (operation.rpcDueMs !== 0) this.#withDeadline--;
    const body = entry + ENTRY_HEADER_BYTES;
    operation.done(status, body, entryBytes - ENTRY_HEADER_BYTES, bulkBytes);
    return '';
  }

  // ------------------------------------------------------------ queue, time, failure

  /** Sends waiting operations as far as slots go. */
  #drain(): void {
    if (this.#state !== 'ready') return;
    if (this.#outbox.hasParked) this.#outbox.retransmit();
    let operation = this.#waiting.head;
    while (operation !== null) {
      if (!this.#outbox.place(operation, this.#host.mapEpoch)) break;
      this.#waiting.remove(operation);
      operation = this.#waiting.head;
    }
  }

  /**
   * Of RpcClient, at the turn's end: hands gathered requests to the transport. Returns true when
   * operations wait for a message slot, so that it must be tried again soon.
   */
  endTurn(): boolean {
    if (this.#state === 'closed' && this.#connection === 0) this.#failAll(errno.ENOTCONN);
    if (this.#failing) this.#failAll(errno.EIO);
    const outbox = this.#outbox;
    if (this.#waiting.head !== null || outbox.hasParked) this.#drain();
    if (outbox.unsealed) outbox.seal();
    if (this.#state !== 'ready') return false;
    const { head } = this.#waiting;
    return outbox.hasParked || (head !== null && outbox.hasSlotFor(head));
  }

  /** How often `tick` is due, 0: not at all. */
  get tickMs(): number {
    if (this.#outstanding !== this.#background) return TICK_MS;
    if (this.#state === 'connecting' || this.#state === 'handshake') return TICK_MS;
    return this.#outstanding === 0 ? 0 : BACKGROUND_TICK_MS;
  }

  /** Of RpcClient, now and then while `tickMs` is not 0: deadlines, probes, time-outs. */
  tick(nowMs: number): void {
    const policy = this.#host.policy;
    if (this.#heard) {
      this.#heard = false;
      this.#heardMs = nowMs;
    }
    if (this.#withDeadline !== 0) this.#expire(nowMs);
    if (this.#state === 'connecting' || this.#state === 'handshake') {
      if (nowMs - this.#stateMs >= policy.handshakeTimeoutMs) {
        this.#closeConnection(`no answer in ${policy.handshakeTimeoutMs} ms`);
      }
    } else if (this.#state === 'ready' && this.#outstanding !== 0) {
      this.#watchSilence(nowMs);
    }
    const soft = policy.mode === 'soft' && this.#state !== 'ready' && this.#state !== 'closed';
    if (soft && nowMs - this.#downMs >= policy.softTimeoutMs) {
      this.#failing = true;
      this.#failAll(errno.EIO);
    }
  }

  #watchSilence(nowMs: number): void {
    const policy = this.#host.policy;
    if (this.#probeMs !== 0) {
      if (nowMs - Math.max(this.#probeMs, this.#heardMs) >= policy.probeTimeoutMs) {
        this.#closeConnection('the connection is silent');
      }
    } else if (nowMs - this.#heardMs >= policy.keepaliveMs) {
      if (this.#sendOutside(Opcode.Echo, new Uint8Array(0))) this.#probeMs = nowMs;
    }
  }

  #expire(nowMs: number): void {
    const due: RpcOperation[] = [];
    for (let waiting = this.#waiting.head; waiting !== null; waiting = waiting.rpcNext) {
      if (waiting.rpcDueMs > 0 && waiting.rpcDueMs <= nowMs) due.push(waiting);
    }
    for (const operation of this.#outbox.operations) {
      if (operation === null) continue;
      if (operation.rpcDueMs > 0 && operation.rpcDueMs <= nowMs) due.push(operation);
    }
    for (const operation of due) {
      // The callback of an earlier one may have ended this one, or called it anew.
      const stillDue = operation.rpcDueMs > 0 && operation.rpcDueMs <= nowMs;
      if (operation.rpcState !== RPC_IDLE && stillDue) this.#giveUp(operation, errno.ETIMEDOUT);
    }
  }

  /** Ends an outstanding operation from this side: deadline, or cancelled. */
  #giveUp(operation: RpcOperation, status: number): void {
    const slot = operation.rpcState;
    if (slot === RPC_WAITING) {
      this.#waiting.remove(operation);
    } else if (this.#outbox.isParked(slot)) {
      this.#outbox.settle(slot);
    } else if (this.#outbox.states[slot] === SLOT_DYING) {
      return;
    } else if (operation.bulkBytes !== 0) {
      // The transport may be reading the data: only the connection's end frees it for certain.
      this.#outbox.states[slot] = SLOT_DYING;
      if (operation.rpcDueMs !== 0) this.#withDeadline--;
      operation.rpcDueMs = status === errno.ETIMEDOUT ? -1 : 0;
      this.#closeBlameless('gave up a request with data');
      return;
    } else {
      // A landing that is withdrawn ends the connection where it is the peer that writes to it (rdma).
      if (operation.landingBytes !== 0) this.#blameless = this.transportKind === 'rdma';
      this.#outbox.abandon(slot);
    }
    this.#finish(operation, status);
  }

  #finish(operation: RpcOperation, status: number): void {
    operation.rpcState = RPC_IDLE;
    this.#outstanding--;
    if (operation.background) this.#background--;
    if (operation.rpcDueMs > 0) this.#withDeadline--;
    operation.done(status, 0, 0, 0);
  }

  /** Without a connection: ends everything. What callbacks call anew is not touched. */
  #failAll(status: number): void {
    const outbox = this.#outbox;
    let left = this.#waiting.length;
    for (let slot = 0; slot < rpcSlots; slot++) {
      const operation = outbox.operations[slot]!;
      if (operation === null || outbox.connection !== 0) continue;
      outbox.settle(slot);
      this.#finish(operation, status);
    }
    for (; left > 0 && this.#waiting.head !== null; left--) {
      const operation = this.#waiting.head;
      this.#waiting.remove(operation);
      this.#finish(operation, status);
    }
  }
}
