/**
 * A request as the service sees it, and what the RPC server asks of the service. Requests are
 * pooled by RpcServer: one is taken when it arrives and released by its reply.
 */
import type { Session } from './rpc-session.js';

export class RpcRequest {
  /** Null only while the request is in the pool. */
  session!: Session;
  slot = 0;
  sequence = 0;
  opcode = 0;
  /** Arena offset of the body, a multiple of 8; valid until `onRequest` or `onReplay` returns. */
  body = 0;
  /** A multiple of 8: the struct, what follows it, and padding. */
  bodyBytes = 0;
  /**
   * Payload of a bulk slot with the request's data, 0 when there is none. The request owns it: it
   * is given back when the reply is ended. A service that keeps it longer sets this to 0 and owns
   * it from then on.
   */
  bulkOffset = 0;
  bulkBytes = 0;
  /** Epoch of the cluster map that the sender placed by. */
  mapEpoch = 0;
  /** In `onReplay`: the record of the first execution. */
  recordStatus = 0;
  recordOpcode = 0;
  recordResult0 = 0;
  recordResult1 = 0;
  /** In `onReplay`: this process has executed it; false: one before it. */
  executedHere = false;

  /** Of RpcServer alone: a newer request has this slot, so nobody waits for this one's reply. */
  superseded = false;
  /** Of RpcServer alone: answered from a record (sets the reply's flag). */
  replayed = false;
  /** Of RpcServer alone: in the pool. */
  free = true;
}

export interface RpcService {
  /**
   * A request to execute, in order of arrival. Answered with `RpcServer.beginReply` and `endReply`
   * (or `reply`), now or in a later turn, exactly once. Echo never gets here.
   */
  onRequest(request: RpcRequest): void;
  /**
   * A retransmission of a mutation that has been executed with status 0: answer it with the same
   * reply, built from the record fields and from what is stored, changing nothing. (Recorded
   * failures are answered by RpcServer.) May answer later, too.
   */
  onReplay(request: RpcRequest): void;
  /** The saved `Session.records` of this session (32 hex digits), or undefined. */
  loadSession(sessionId: string): Uint8Array | undefined;
  /** A session begins in this process (new, or known from an earlier incarnation). */
  onSessionOpened(session: Session): void;
  /**
   * A session has had no connection for the expiry time and executes nothing: drop its open
   * handles. Its saved record must outlive this by far (a day): the client may come back and
   * retransmit.
   */
  onSessionClosed(session: Session, reason: string): void;
}
