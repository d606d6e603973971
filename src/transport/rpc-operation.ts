/**
 * What a caller of the RPC layer hands over: one request and the place its reply goes to. Objects
 * are pooled by their owner, which subclasses this with fields of its own; nothing is allocated
 * for a call.
 *
 *   idle ── RpcPeer.call ──> waiting ──> sent ── reply, deadline, cancel ──> done() ──> idle
 */
export abstract class RpcOperation {
  /** Of `Opcode`, not Hello. */
  opcode = 0;
  /** Upper bound of the request's body, set before `call`; at most `RPC_BODY_BYTES_MAX`. */
  bodyBytes = 0;
  /**
   * Data to send: one run of arena memory, unchanged by the owner until `done`. With `bulkBytes` 0
   * there is none.
   */
  bulkOffset = 0;
  bulkBytes = 0;
  /** Where bulk of the reply may land; untouched by the layer after `done`. 0 bytes: nowhere. */
  landingOffset = 0;
  landingBytes = 0;
  /** Milliseconds from `call`; 0: none (a soft peer still fails without a connection). */
  deadlineMs = 0;
  /**
   * It is meant to stay unanswered for long, and nobody waits for it: not counted as outstanding, and
   * watched once a second only. Set before `call`.
   */
  background = false;
  /**
   * Others wait for it, perhaps those of this very client that wait for an answer or a slot: it goes before what
   * waits for a slot, and there are slots that only such calls use. Set before `call`.
   */
  urgent = false;
  /**
   * Nobody waits for it: it leaves, in the order of calls, with what is called next, at the latest after
   * RPC_LAZY_MS. Set before `call`.
   */
  lazy = false;

  /** Of RpcPeer alone, from here on: the list of waiting operations, the state, the due time. */
  rpcNext: RpcOperation | null = null;
  rpcPrevious: RpcOperation | null = null;
  /** RPC_IDLE, RPC_WAITING, or the slot (>= 0) that it was sent in. */
  rpcState = RPC_IDLE;
  /** Scheduler's milliseconds; 0: no deadline. */
  rpcDueMs = 0;

  /**
   * Writes the body at this arena offset (a multiple of 8) and returns its true length. Called at
   * most once a call, possibly inside `call`.
   */
  abstract encode(body: number): number;

  /**
   * Exactly one for each `call`. `status` is 0 or an errno: the target's, or ETIMEDOUT (deadline),
   * EINTR (cancelled), EIO (soft and no connection), ENOTCONN (client closed). The body, padded with
   * zeros to a multiple of 8, is valid until return; `bulkBytes` bytes lie in the landing area.
   * Never called inside `call`.
   */
  abstract done(status: number, body: number, bodyBytes: number, bulkBytes: number): void;
}

export const RPC_IDLE = -1;
export const RPC_WAITING = -2;
