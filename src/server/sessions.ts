/**
 * The sessions' reply records in the store: one value of 64 records a session, saved in the
 * transaction of the changes that they tell of. They outlive a session's connection by a day, so
 * that a client that was away may still repeat its last requests.
 *
 * A record has no room for the statuses of a batch's items. When one has failed they are a value of their own,
 * by session and slot, written in the same transaction as the record that says so. It is asked for only
 * then, so one that a later request of the slot has outlived does no harm; it goes with the session.
 */
import { rpcSlots } from '../protocol/limits.generated.js';
import type { RpcRequest, Session } from '../transport/rpc-server.js';
import { batchStatusesKey, ownRange, sessionKey } from './keys.js';
import type { MetaStore } from './meta-store-api.js';

export const SESSION_RECORD_LIFETIME_MS = 24 * 3600 * 1000;
const ID_OFFSET = 3;

export class SessionRecords {
  readonly #meta: MetaStore;
  /** Saved in the open transaction; clean once it is committed. */
  readonly #saved: Session[] = [];
  readonly #dirty = new Set<Session>();
  /** By id: when the record of a session that is not here may go. */
  readonly #expiry = new Map<string, number>();

  constructor(meta: MetaStore) {
    this.#meta = meta;
  }

  /** Records that an earlier process left begin to age. */
  open(nowMs: number): void {
    const { start, end } = ownRange('session');
    this.#meta.scan(start, end, (key) => {
      const id = Buffer.from(key.subarray(ID_OFFSET)).toString('hex');
      this.#expiry.set(id, nowMs + SESSION_RECORD_LIFETIME_MS);
      return true;
    });
  }

  /** Sessions of an earlier process may come back. */
  get awaited(): boolean {
    return this.#expiry.size > 0;
  }

  load(id: string): Uint8Array | undefined {
    this.#expiry.delete(id);
    const value = this.#meta.get(sessionKey(Buffer.from(id, 'hex')));
    return value?.slice();
  }

  closed(session: Session, nowMs: number): void {
    this.#expiry.set(session.id, nowMs + SESSION_RECORD_LIFETIME_MS);
  }

  /** The session's records have changed: they are in the next `save`. */
  touch(session: Session): void {
    this.#dirty.add(session);
  }

  /** Inside the transaction. */
  save(): void {
    for (const session of this.#dirty) {
      if (!session.dirty) continue;
      this.#meta.put(sessionKey(session.idBytes), session.records);
      this.#saved.push(session);
    }
  }

  committed(): void {
    for (const session of this.#saved) session.dirty = false;
    this.#saved.length = 0;
    this.#dirty.clear();
  }

  aborted(): void {
    this.#saved.length = 0;
  }

  /** Ids whose records have been kept long enough; forgotten here. */
  takeExpired(nowMs: number): string[] {
    const expired: string[] = [];
    for (const [id, at] of this.#expiry) {
      if (at > nowMs) continue;
      expired.push(id);
      this.#expiry.delete(id);
    }
    return expired;
  }

  /** Inside a transaction. */
  remove(id: string): void {
    const bytes = Buffer.from(id, 'hex');
    this.#meta.remove(sessionKey(bytes));
    for (let slot = 0; slot < rpcSlots; slot++) this.#meta.remove(batchStatusesKey(bytes, slot));
  }

  /** Inside the transaction of the request's record: one byte for each item of its batch. */
  keepStatuses(request: RpcRequest, statuses: Uint8Array): void {
    const { session, slot, sequence } = request;
    // Of a slot that has gone on nothing is recorded either.
    if (session.lastSequence[slot] !== sequence) return;
    this.#meta.put(batchStatusesKey(session.idBytes, slot), statuses);
  }

  /** What `keepStatuses` has kept for a recorded request. */
  statuses(request: RpcRequest): Uint8Array | undefined {
    return this.#meta.get(batchStatusesKey(request.session.idBytes, request.slot));
  }
}
