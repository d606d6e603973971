/** Signatures of the client side of RPC; the bodies follow. */
import type { Scheduler } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import type { RpcOperation } from './rpc-operation.js';
import type { Transport } from './transport.js';

export { RpcOperation } from './rpc-operation.js';

export interface TargetAddress {
  targetId: string;
  host: string;
  port: number;
}

export interface RpcClientOptions {
  clusterId: string;
  clientName: string;
  kind?: 'client' | 'target';
  mode?: 'hard' | 'soft';
  softTimeoutMs?: number;
  log?: (message: string) => void;
  /** A handshake was completed: re-register open handles when `incarnationChanged`. */
  onReady?: (peer: RpcPeer, incarnationChanged: boolean) => void;
}

export type PeerState = 'idle' | 'connecting' | 'handshake' | 'ready' | 'backoff' | 'closed';

export class RpcPeer {
  readonly targetId: string = '';

  get state(): PeerState {
    return 'idle';
  }

  /** Sends, or queues when 64 are outstanding or there is no connection; `done` follows later. */
  call(_operation: RpcOperation): void {
    throw new Error('rpc client: body follows');
  }

  /** `done(EINTR)` follows, now or when its memory is no longer in use. No-op when idle. */
  cancel(_operation: RpcOperation): void {
    throw new Error('rpc client: body follows');
  }

  /** The target has moved: the next connection goes there; an open one elsewhere is closed. */
  setAddress(_host: string, _port: number): void {
    throw new Error('rpc client: body follows');
  }

  /** Connects without waiting for the first call. */
  connect(): void {
    throw new Error('rpc client: body follows');
  }
}

export class RpcClient {
  /** Epoch of the map that requests are placed by; stands in every request. */
  mapEpoch = 0;

  constructor(
    _transport: Transport,
    _arena: ArenaMemory,
    _scheduler: Scheduler,
    _options: RpcClientOptions,
  ) {}

  /** The peer of this target, made at the first call; a different address is taken over. */
  peer(_target: TargetAddress): RpcPeer {
    throw new Error('rpc client: body follows');
  }

  /** Fails everything outstanding with ESHUTDOWN and closes the connections. */
  close(): void {
    throw new Error('rpc client: body follows');
  }
}
