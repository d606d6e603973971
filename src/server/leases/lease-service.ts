/** A target's leases, with all that they stand on, as one part of it (docs/leases.md). */
import type { Scheduler } from '../../common/scheduler.js';
import type { ArenaMemory } from '../../native/arena-memory.js';
import { isBatch } from '../../protocol/batch.js';
import { readU53OrZero } from '../../protocol/u53.js';
import { Opcode, ReturnedRequest } from '../../protocol/wire.generated.js';
import type { RpcRequest, RpcServer, Session } from '../../transport/rpc-server.js';
import type { Mutation } from '../batch.js';
import type { HandleTable } from '../handles.js';
import type { MetaStore } from '../meta-store-api.js';
import type { Namespace } from '../namespace.js';
import { Grace } from './grace.js';
import { Grants } from './grants.js';
import { Leases } from './leases.js';
import { Notices } from './notices.js';
import { PageLeases } from './page-leases.js';
import { Untold } from './untold.js';

export interface LeaseHost {
  readonly arena: ArenaMemory;
  readonly scheduler: Scheduler;
  readonly meta: MetaStore;
  readonly namespace: Namespace;
  readonly handles: HandleTable;
  /** Runs `work` in a transaction, then `after`. */
  enqueue(work: () => void, after: () => void): void;
  log(message: string): void;
}

export class LeaseService {
  readonly notices: Notices;
  readonly leases: Leases;
  readonly grants: Grants;
  readonly pages: PageLeases;
  /** After a start: until who held leases or locks has come back. */
  readonly grace: Grace;
  readonly #untold: Untold;
  readonly #host: LeaseHost;

  /** `incarnation`: of the target. */
  constructor(host: LeaseHost, rpc: RpcServer, incarnation: string) {
    const { arena, scheduler, namespace } = host;
    this.#host = host;
    this.grace = new Grace(host);
    this.notices = new Notices({
      arena,
      rpc,
      scheduler,
      incarnation,
      isOverdue: (session) => this.leases.isOverdue(session),
      onAwait: (session, wantsLeases) => {
        this.#awaits(session, wantsLeases);
      },
    });
    this.leases = new Leases({
      scheduler,
      notices: this.notices,
      touched: namespace.touched,
      recalls: namespace.recalls,
      reset: (session, reason) => {
        rpc.resetSession(session, reason);
      },
    });
    this.grants = new Grants(this.leases, namespace);
    this.pages = new PageLeases(this.leases, host.handles, scheduler);
    this.#untold = new Untold({
      meta: host.meta,
      scheduler,
      enqueue: (work, after) => {
        host.enqueue(work, after);
      },
      owes: (session) => this.leases.owes(session),
    });
  }

  /** Reads what an earlier process has left. */
  open(): void {
    this.grace.open();
    const { recalls } = this.#host.namespace;
    const mustTell = this.grace.mustTell(() => {
      recalls.closeAll();
    });
    if (mustTell) recalls.openAll();
  }

  close(): void {
    this.#untold.close();
    this.grace.close();
    this.leases.close();
    this.notices.close();
  }

  /** The session awaits notices: it may hold leases once the store says so. */
  #awaits(session: Session, wantsLeases: boolean): void {
    if (this.grace.cameBack(session)) this.#untold.cameBack(session);
    this.grace.admit(session, () => {
      // It may have ended meanwhile: then nobody can tell it of recalls.
      if (wantsLeases && this.notices.isAwaited(session)) this.leases.admit(session);
    });
  }

  /** A body is shorter than it says at worst: what is there counts. */
  returned(request: RpcRequest): void {
    const { words } = this.#host.arena;
    const { session, body } = request;
    const room = (request.bodyBytes - ReturnedRequest.SIZE) >>> 3;
    const count = Math.min(room, words[(body + ReturnedRequest.count) >>> 2]!);
    for (let i = 0; i < count; i++) {
      this.leases.returned(session, readU53OrZero(words, body + ReturnedRequest.SIZE + i * 8));
    }
  }

  /** Inside the transaction: the mutation was executed, with status 0. */
  executed(mutation: Mutation): void {
    // Access times are not covered by leases.
    if (mutation.opcode === Opcode.Accessed) return;
    mutation.recalls = this.leases.conflicts(this.#whose(mutation));
    this.grants.executed(mutation);
    this.pages.executed(mutation);
    if (mutation.recalls === undefined) return;
    this.#untold.note(this.leases.holdersOf(mutation.recalls));
  }

  /** Whose change it is: its own leases stay. */
  #whose({ opcode, session, client }: Mutation): Session | undefined {
    // A batch's reply has no room for what its own client may go on to believe: that is recalled, too.
    if (isBatch(opcode)) return undefined;
    return this.leases.holderOf(client) ?? session;
  }

  /** Its reply leaves now: puts the leases into the body at this offset. */
  answered(mutation: Mutation, body: number): void {
    if (mutation.leases === 0) return;
    const field = this.grants.flagsField(mutation.opcode);
    this.#host.arena.words[(body + field) >>> 2]! |= this.grants.flagsOf(mutation);
  }

  /** It has ended, or was reset. */
  sessionClosed(session: Session): void {
    this.notices.drop(session);
    this.leases.drop(session);
    this.#untold.drop(session);
    this.grace.drop(session.id);
  }
}
