/** What a peer is given by its client: policy, surroundings, and its place in the client's turns. */
import type { Scheduler } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import type { RpcPeer } from './rpc-peer.js';
import type { RpcSwitch } from './rpc-switch.js';
import type { Transport } from './transport.js';

export type PeerState = 'idle' | 'connecting' | 'handshake' | 'ready' | 'backoff' | 'closed';

/** RpcClientOptions with every default filled in. */
export interface PeerPolicy {
  readonly clusterId: string;
  readonly clientName: string;
  readonly kind: 'client' | 'target';
  /** At random, the same in the sessions of all peers; 0 for a target. */
  readonly client: number;
  readonly mode: 'hard' | 'soft';
  readonly softTimeoutMs: number;
  readonly keepaliveMs: number;
  readonly probeTimeoutMs: number;
  readonly handshakeTimeoutMs: number;
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
  readonly fallbackHoldMs: number;
  readonly log: (message: string) => void;
  readonly onNewSession: (peer: RpcPeer) => void;
  readonly onReady: (peer: RpcPeer, incarnationChanged: boolean) => void;
}

/** What a peer has from its client. */
export interface PeerHost {
  readonly transport: Transport;
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly connections: RpcSwitch;
  readonly policy: PeerPolicy;
  readonly mapEpoch: number;
  /** `endTurn` is due at this turn's end. */
  markDirty(peer: RpcPeer): void;
  /** Lazy calls are to leave after a while at the latest. */
  sendSoon(): void;
  /** `tick` is due from now on, first after `tickMs`, then as often as the peer's `tickMs` says. */
  startTicking(tickMs: number): void;
}
