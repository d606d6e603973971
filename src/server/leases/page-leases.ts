/**
 * Leases on pages: a kernel may keep data of a file that no other session has open (docs/leases.md,
 * "Pages"). Granted with an open that asks for it, recalled before another session's open is answered.
 *
 *   Open, volatile:  recall? ── wait ──> registered and granted in one go
 *   Create, Open that truncates: executed (recalls, may be granted) ─> committed: registered ─> answered
 *                                 └── `opening`: nobody else is granted it in between
 */
import type { Scheduler } from '../../common/scheduler.js';
import {
  CREATE_WANTS_PAGES,
  LEASE_PAGES,
  NOTICE_PAGES,
  OPEN_WANTS_PAGES,
  RECALL_LIMIT_MS,
} from '../../protocol/leases.js';
import { readU16 } from '../../protocol/u53.js';
import { CreateRequest, Opcode, OpenRequest } from '../../protocol/wire.generated.js';
import type { Session } from '../../transport/rpc-server.js';
import type { Mutation } from '../batch.js';
import type { HandleTable } from '../handles.js';
import type { Leases } from './leases.js';
import type { Recall } from './recalls.js';

export class PageLeases {
  readonly #leases: Leases;
  readonly #handles: HandleTable;
  readonly #scheduler: Scheduler;
  /** Executed, not yet registered. */
  readonly #opening = new Set<Mutation>();
  #fromMs = -Infinity;

  constructor(leases: Leases, handles: HandleTable, scheduler: Scheduler) {
    this.#leases = leases;
    this.#handles = handles;
    this.#scheduler = scheduler;
  }

  /** The target was restarted: who has files open registers again, and until then nobody knows. */
  restarted(): void {
    this.#fromMs = this.#scheduler.nowMs() + RECALL_LIMIT_MS;
  }

  /** The session is about to register: what has to be waited for, undefined: nothing. */
  recall(session: Session, inode: number): Recall | undefined {
    return this.#leases.recallOthers(session, NOTICE_PAGES, inode, 0);
  }

  /** Bits for the reply to an Open with these flags that has registered the session. */
  opened(session: Session, inode: number, flags: number): number {
    return (flags & OPEN_WANTS_PAGES) === 0 ? 0 : this.#grant(session, inode);
  }

  /** The mutation was executed and will register its session. */
  executed(mutation: Mutation): void {
    const { session, openInode } = mutation;
    if (session === undefined || openInode === 0) return;
    this.#opening.add(mutation);
    const recall = this.recall(session, openInode);
    if (recall !== undefined) {
      mutation.recalls ??= [];
      if (!mutation.recalls.includes(recall)) mutation.recalls.push(recall);
    }
    if (!wantsPages(mutation)) return;
    mutation.leaseInode = openInode;
    mutation.leases |= this.#grant(session, openInode);
  }

  /** The session of the mutation is registered, or never will be. */
  decided(mutation: Mutation): void {
    if (this.#opening.size > 0) this.#opening.delete(mutation);
  }

  #grant(session: Session, inode: number): number {
    const leases = this.#leases;
    if (!leases.isHolder(session) || this.#scheduler.nowMs() < this.#fromMs) return 0;
    if (this.#handles.isOpenByOthers(session, inode)) return 0;
    for (const other of this.#opening) {
      if (other.openInode === inode && other.session !== session) return 0;
    }
    return leases.grant(session, NOTICE_PAGES, inode, 0) ? LEASE_PAGES : 0;
  }
}

function wantsPages(mutation: Mutation): boolean {
  const { opcode, memory, body } = mutation;
  if (opcode === Opcode.Open) {
    return (memory.words[(body + OpenRequest.flags) >>> 2]! & OPEN_WANTS_PAGES) !== 0;
  }
  return (readU16(memory.words, body + CreateRequest.flags) & CREATE_WANTS_PAGES) !== 0;
}
