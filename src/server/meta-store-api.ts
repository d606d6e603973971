/**
 * The transactional, ordered key-value store under a target: what the data side, the namespace and
 * the sessions share. Implementations: LmdbMetaStore (meta-store.ts) and MemoryMetaStore
 * (memory-meta-store.ts, for tests and the simulator). Keys are compared as bytes.
 *
 * All calls are synchronous except `flush` and `close`; one thread owns a store.
 */
export interface MetaStore {
  /**
   * The value, or undefined. It lies in memory of the store and is valid until the next call of any
   * method: copy what is kept. Inside `transaction` it sees that transaction's own changes.
   */
  get(key: Uint8Array): Uint8Array | undefined;
  /** Inside `transaction` only. Copies key and value. Throws (and so aborts) when the map is full. */
  put(key: Uint8Array, value: Uint8Array): void;
  /** Inside `transaction` only. Returns whether the key was there. */
  remove(key: Uint8Array): boolean;
  /**
   * Visits keys in [start, end), ascending, until `visit` returns false. Key and value are valid
   * until `visit` returns; it must not write, and must not call `get` or `scan`.
   */
  scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void;
  /** Runs `body` in one transaction, committed on return; a throw aborts it and passes on. */
  transaction(body: () => void): void;
  /**
   * Calls back, never synchronously, when everything that was committed before this call is
   * power-safe. Calls that wait at the same time are served by one flush.
   */
  flush(done: (error: Error | undefined) => void): void;
  /**
   * As `flush`, done when it returns true. False: that would wait for a device, or has failed; then
   * `flush` is to be called. A store that is not on persistent memory has no such method, or
   * answers false.
   */
  flushNow?(): boolean;
  /**
   * `barrier` is run by every flush after its snapshot is taken and before that is made power-safe;
   * an error makes the flush fail. The data side syncs its devices there, so that no power-safe
   * extent points at data that is not. `isFree` says that it would have nothing to do now; without
   * it that is never assumed.
   */
  setFlushBarrier(barrier: FlushBarrier, isFree?: () => boolean): void;
  /**
   * Number of committed transactions that wrote something, monotonic within a process. Inside
   * `transaction` it is still the last commit's: what the open one does will be `commitSequence + 1`.
   */
  readonly commitSequence: number;
  /** The last commit that is power-safe: at most `commitSequence`. */
  readonly durableSequence: number;
  usage(): { bytesUsed: number; bytesTotal: number };
  /** Flushes, then releases the environment. */
  close(): Promise<void>;
}

export type FlushBarrier = (done: (error: Error | undefined) => void) => void;
