/**
 * The client side of RPC: the peers of one thread, their turn-end flush and their clock. A call's
 * time is watched in ticks while anything is outstanding (RpcPeer.tickMs); an idle client has no
 * timer. See rpc-peer.ts for the life of a connection and rpc-outbox.ts for that of a request.
 */
import type { Scheduler, Timer } from '../common/scheduler.js';
import { TURN_FLUSH } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { RpcPeer } from './rpc-peer.js';
import type { PeerHost, PeerPolicy } from './rpc-peer-host.js';
import type { TargetAddress } from './rpc-route.js';
import { RpcSwitch } from './rpc-switch.js';
import type { Transport } from './transport.js';

export { RpcOperation } from './rpc-operation.js';
export { RpcPeer } from './rpc-peer.js';
export type { PeerState } from './rpc-peer-host.js';
export type { TargetAddress } from './rpc-route.js';

export interface RpcClientOptions {
  clusterId: string;
  /** host:pid, for people who read a target's log. */
  clientName: string;
  /** 'target' for a target's own client; 'client' by default. */
  kind?: 'client' | 'target';
  /** hard (default): calls wait for ever for a connection; soft: they fail with EIO. */
  mode?: 'hard' | 'soft';
  /** Without a connection for so long, soft calls fail; 30,000 by default. */
  softTimeoutMs?: number;
  /** Silence after which a connection with outstanding calls is probed; 10,000 by default. */
  keepaliveMs?: number;
  /** How long the probe's answer may take; 5,000 by default. */
  probeTimeoutMs?: number;
  /** For connecting, and for the handshake; 5,000 by default. */
  handshakeTimeoutMs?: number;
  /** Reconnect delays double from 50 to 2,000 by default, less a random part of up to a half. */
  backoffMinMs?: number;
  backoffMaxMs?: number;
  /** How long a target's better endpoint is left alone after it failed; 30,000 by default. */
  fallbackHoldMs?: number;
  mapEpoch?: number;
  /** Gets one line for each lost or refused connection and each bad frame. */
  log?: (message: string) => void;
  /**
   * The target knows nothing of this peer any more, restarted or not, but for the replies it keeps: called
   * before what was unanswered is sent again, so that what makes no sense now can be cancelled.
   */
  onNewSession?: (peer: RpcPeer) => void;
  /**
   * A handshake is complete and what was unanswered is on its way again. `incarnationChanged`: the
   * target was restarted, so open handles must be registered again: calls made here go out next.
   */
  onReady?: (peer: RpcPeer, incarnationChanged: boolean) => void;
}

/** How soon a peer that found no message slot tries again. */
const STARVING_RETRY_MS = 1;
/** A lazy call waits for company no longer than this. */
export const RPC_LAZY_MS = 2;

export class RpcClient implements PeerHost {
  readonly transport: Transport;
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly connections: RpcSwitch;
  readonly policy: PeerPolicy;
  /** Epoch of the map that requests are placed by; stands in every request. */
  mapEpoch: number;

  readonly #peers = new Map<string, RpcPeer>();
  #dirty: RpcPeer[] = [];
  #flushing: RpcPeer[] = [];
  #tick: Timer | null = null;
  #tickMs = 0;
  #retry: Timer | null = null;
  #soon: Timer | null = null;
  #closed = false;

  constructor(
    transport: Transport,
    arena: ArenaMemory,
    scheduler: Scheduler,
    options: RpcClientOptions,
  ) {
    this.transport = transport;
    this.arena = arena;
    this.scheduler = scheduler;
    this.connections = RpcSwitch.of(transport);
    this.mapEpoch = options.mapEpoch ?? 0;
    this.policy = {
      clusterId: options.clusterId,
      clientName: options.clientName,
      kind: options.kind ?? 'client',
      client: options.kind === 'target' ? 0 : 1 + Math.floor(scheduler.random() * (2 ** 53 - 1)),
      mode: options.mode ?? 'hard',
      softTimeoutMs: options.softTimeoutMs ?? 30_000,
      keepaliveMs: options.keepaliveMs ?? 10_000,
      probeTimeoutMs: options.probeTimeoutMs ?? 5_000,
      handshakeTimeoutMs: options.handshakeTimeoutMs ?? 5_000,
      backoffMinMs: options.backoffMinMs ?? 50,
      backoffMaxMs: options.backoffMaxMs ?? 2_000,
      fallbackHoldMs: options.fallbackHoldMs ?? 30_000,
      log: options.log ?? (() => undefined),
      onNewSession: options.onNewSession ?? (() => undefined),
      onReady: options.onReady ?? (() => undefined),
    };
    scheduler.onTurnEnd(TURN_FLUSH, () => {
      if (this.#dirty.length !== 0) this.#endTurn();
    });
  }

  get peers(): Iterable<RpcPeer> {
    return this.#peers.values();
  }

  /**
   * The peer of this target: made, unconnected, when first asked for; afterwards a different address
   * moves it. Keep the object: this is a look-up by text.
   */
  peer(target: TargetAddress): RpcPeer {
    let peer = this.#peers.get(target.targetId);
    if (peer === undefined) {
      peer = new RpcPeer(this, target);
      if (this.#closed) peer.shutDown();
      this.#peers.set(target.targetId, peer);
    } else {
      peer.setAddress(target);
    }
    return peer;
  }

  /** The target may have moved: if it is a peer already, it is looked for there, calls under way too. */
  moved(target: TargetAddress): void {
    this.#peers.get(target.targetId)?.setAddress(target);
  }

  /**
   * Fails everything outstanding with ENOTCONN and closes the connections. `done` of calls in
   * flight follows when their connection is gone, so shut the transport down a turn later.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const peer of this.#peers.values()) peer.shutDown();
  }

  markDirty(peer: RpcPeer): void {
    if (peer.listed) return;
    peer.listed = true;
    this.#dirty.push(peer);
    this.scheduler.requestTurn();
  }

  sendSoon(): void {
    if (this.#soon !== null) return;
    this.#soon = this.scheduler.setTimer(RPC_LAZY_MS, () => {
      this.#soon = null;
      for (const peer of this.#peers.values()) if (peer.unsent) this.markDirty(peer);
    });
  }

  #endTurn(): void {
    const peers = this.#dirty;
    this.#dirty = this.#flushing;
    this.#flushing = peers;
    let starving = false;
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[i]!;
      peer.listed = false;
      if (!peer.endTurn()) continue;
      starving = true;
      if (peer.listed) continue;
      peer.listed = true;
      this.#dirty.push(peer);
    }
    peers.length = 0;
    this.transport.flush();
    if (!starving || this.#retry !== null) return;
    this.#retry = this.scheduler.setTimer(STARVING_RETRY_MS, () => {
      this.#retry = null;
      this.scheduler.requestTurn();
    });
  }

  startTicking(tickMs: number): void {
    if (this.#tick !== null && this.#tickMs <= tickMs) return;
    this.#tick?.cancel();
    this.#tickMs = tickMs;
    this.#tick = this.scheduler.setTimer(tickMs, () => {
      this.#tick = null;
      this.#ticked();
    });
  }

  #ticked(): void {
    const now = this.scheduler.nowMs();
    let nextMs = 0;
    for (const peer of this.#peers.values()) {
      if (peer.tickMs === 0) continue;
      peer.tick(now);
      const { tickMs } = peer;
      if (tickMs !== 0 && (nextMs === 0 || tickMs < nextMs)) nextMs = tickMs;
    }
    if (nextMs !== 0) this.startTicking(nextMs);
  }
}
