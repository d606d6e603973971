/** Signatures of the server side of RPC; the bodies follow. */
import type { Scheduler } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import type { RpcRequest, RpcService } from './rpc-request.js';
import type { Session } from './rpc-session.js';
import type { Transport } from './transport.js';

export type { RpcRequest, RpcService } from './rpc-request.js';
export { Session } from './rpc-session.js';

export interface RpcServerOptions {
  clusterId: string;
  targetId: string;
  /** Changes with each start of the target. */
  incarnation: string;
  mapEpoch?: number;
  sessionsMax?: number;
  sessionExpiryMs?: number;
  handshakeTimeoutMs?: number;
  log?: (message: string) => void;
}

export class RpcServer {
  /** Epoch of the map that this target holds; stands in every reply. */
  mapEpoch = 0;

  /** Attaches to incoming connections of `transport`; listening is the caller's. */
  constructor(
    _transport: Transport,
    _arena: ArenaMemory,
    _scheduler: Scheduler,
    _service: RpcService,
    _options: RpcServerOptions,
  ) {}

  get sessions(): Iterable<Session> {
    return [];
  }

  /** Arena offset (a multiple of 8) where the reply's body is to be written; `endReply` follows at once. */
  beginReply(_request: RpcRequest, _maxBodyBytes: number): number {
    throw new Error('rpc server: body follows');
  }

  /** Between beginReply and endReply: makes the reply a frame of its own with this bulk. */
  addReplyBulk(_offset: number, _lengthBytes: number, _releaseSlot: boolean): void {
    throw new Error('rpc server: body follows');
  }

  endReply(_request: RpcRequest, _status: number, _bodyBytes: number): void {
    throw new Error('rpc server: body follows');
  }

  /** A reply without a body. */
  reply(_request: RpcRequest, _status: number): void {
    throw new Error('rpc server: body follows');
  }

  close(): void {
    throw new Error('rpc server: body follows');
  }
}
