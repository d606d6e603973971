/**
 * The sessions of a target: opened by handshakes, found again after a lost connection, closed when
 * nobody has come back for them. Control path: it may allocate.
 */
import { ESTALE, errno } from '../common/errno.js';
import type { Scheduler, Timer } from '../common/scheduler.js';
import { decodeHello, encodeHelloReply } from '../protocol/handshake.js';
import type { HelloFields } from '../protocol/handshake.js';
import { RECALL_LIMIT_MS } from '../protocol/leases.js';
import { protocolVersion } from '../protocol/limits.generated.js';
import type { RpcService } from './rpc-request.js';
import { Session } from './rpc-session.js';

export interface RpcServerOptions {
  clusterId: string;
  targetId: string;
  /** Changes with each start of the target. */
  incarnation: string;
  mapEpoch?: number;
  /** Sessions kept at most, 4,096 by default; one that has long been without a connection makes room. */
  sessionsMax?: number;
  /** How long a session is kept without a connection; 120,000 by default. */
  sessionExpiryMs?: number;
  /** How long a connection may be open without a handshake; 10,000 by default. */
  handshakeTimeoutMs?: number;
  /** Gets one line for each connection that is refused or closed for a bad frame. */
  log?: (message: string) => void;
}

export interface HandshakeAnswer {
  /** Null: refused. */
  session: Session | null;
  status: number;
  reason: string;
  /** Encoded HelloReply. */
  reply: Uint8Array;
}

const SESSIONS_MAX = 4096;
const SESSION_EXPIRY_MS = 120_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Linux's "too many users"; not in node:os. */
const EUSERS = 87;

export class SessionTable {
  readonly handshakeTimeoutMs: number;
  readonly #scheduler: Scheduler;
  readonly #service: RpcService;
  readonly #options: RpcServerOptions;
  readonly #expiryMs: number;
  readonly #sessionsMax: number;
  readonly #sessions = new Map<string, Session>();
  #sweep: Timer | null = null;
  #closed = false;

  constructor(scheduler: Scheduler, service: RpcService, options: RpcServerOptions) {
    this.#scheduler = scheduler;
    this.#service = service;
    this.#options = options;
    this.#expiryMs = options.sessionExpiryMs ?? SESSION_EXPIRY_MS;
    this.#sessionsMax = options.sessionsMax ?? SESSIONS_MAX;
    this.handshakeTimeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  }

  sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** `body`: a copy of the Hello that arrived. */
  shakeHands(body: Uint8Array, mapEpoch: number): HandshakeAnswer {
    const hello = decodeHello(body);
    let status = 0;
    let reason = '';
    if (hello === undefined) {
      status = errno.EPROTO;
      reason = 'the handshake does not parse';
    } else if (hello.protocolVersion !== protocolVersion) {
      status = errno.EPROTO;
      reason = `protocol version ${hello.protocolVersion} is not spoken here, only ${protocolVersion}`;
    } else if (hello.clusterId !== this.#options.clusterId) {
      status = errno.EPERM;
      reason = `this target belongs to cluster ${this.#options.clusterId}`;
    } else if (hello.targetId !== this.#options.targetId) {
      status = ESTALE;
      reason = `this is target ${this.#options.targetId}`;
    }
    let session: Session | null = null;
    if (status === 0 && hello !== undefined) {
      const known = this.#sessions.get(hello.sessionId);
      if (known === undefined && !this.#makeRoom()) {
        status = EUSERS;
        reason = `${this.#sessionsMax} sessions are connected already`;
      } else if (known === undefined) {
        const saved = this.#service.loadSession(hello.sessionId);
        session = this.#open(hello, saved);
      } else {
        session = known;
      }
    }
    const reply = encodeHelloReply({
      protocolVersion,
      status,
      reason,
      targetId: this.#options.targetId,
      incarnation: this.#options.incarnation,
      mapEpoch,
      newSession: session?.unannounced === true,
    });
    return { session, status, reason, reply };
  }

  #open(hello: HelloFields, saved: Uint8Array | undefined): Session {
    const identity = { id: hello.sessionId, clientName: hello.clientName, kind: hello.kind };
    const session = new Session(identity, saved);
    this.#sessions.set(session.id, session);
    this.#service.onSessionOpened(session);
    return session;
  }

  /** True when one more session may be kept. */
  #makeRoom(): boolean {
    if (this.#sessions.size < this.#sessionsMax) return true;
    // A client counts on what it holds for a while after its connection was lost.
    const latestMs = this.#scheduler.nowMs() - RECALL_LIMIT_MS;
    let oldest: Session | null = null;
    for (const session of this.#sessions.values()) {
      if (session.connected || session.executingCount !== 0) continue;
      if (session.disconnectedMs > latestMs) continue;
      if (oldest === null || session.disconnectedMs < oldest.disconnectedMs) oldest = session;
    }
    if (oldest === null) return false;
    this.#close(oldest, 'too many sessions');
    return true;
  }

  #close(session: Session, reason: string): void {
    this.#sessions.delete(session.id);
    this.#service.onSessionClosed(session, reason);
  }

  /** The session has lost its connection: its time begins to run. */
  disconnected(session: Session): void {
    session.disconnectedMs = this.#scheduler.nowMs();
    this.#arm();
  }

  #arm(): void {
    if (this.#sweep !== null || this.#closed) return;
    this.#sweep = this.#scheduler.setTimer(this.#expiryMs / 4, () => {
      this.#sweep = null;
      this.#expire();
    });
  }

  #expire(): void {
    const now = this.#scheduler.nowMs();
    let waiting = false;
    for (const session of [...this.#sessions.values()]) {
      if (session.connected) continue;
      if (session.executingCount === 0 && now - session.disconnectedMs >= this.#expiryMs) {
        this.#close(session, `no connection for ${Math.round(this.#expiryMs / 1000)} s`);
      } else {
        waiting = true;
      }
    }
    if (waiting) this.#arm();
  }

  close(): void {
    this.#closed = true;
    this.#sweep?.cancel();
    this.#sweep = null;
  }
}
