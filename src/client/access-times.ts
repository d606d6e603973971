/**
 * Access times: a read costs no request. That an inode was read is noted here, by relatime's rule at
 * most once between two changes of it, and told to the targets in batches, a second later; until
 * then, and until they have answered, attributes that pass through here get the time that is on
 * its way, so that a program sees its own reads at once. A client that dies loses what it had not told.
 *
 *   note ──> pending ── a second, or a batch is full ──> Accessed, one a target ── reply ──> forgotten
 */
import { isAccessDue } from '../protocol/attributes.js';
import { writeI53, writeU53, readU53 } from '../protocol/u53.js';
import { AccessedRequest, AccessTime, Attributes, Opcode } from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { ClientContext } from './context.js';
import { CoreOperation, OperationPool } from './operation.js';

const DELAY_MS = 1000;
/** Entries of one request. */
const BATCH_MAX = 256;
/** Beyond this many, while targets are away, reads are forgotten. */
const PENDING_MAX = 65_536;

interface Access {
  seconds: number;
  nanoseconds: number;
}

class AccessedOperation extends CoreOperation {
  owner!: AccessTimes;
  readonly inodes = new Float64Array(BATCH_MAX);
  readonly accesses: Access[] = [];

  start(peer: RpcPeer): void {
    const bytes = AccessedRequest.SIZE + this.accesses.length * AccessTime.SIZE;
    this.send(peer, Opcode.Accessed, bytes);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    words[(body + AccessedRequest.count) >>> 2] = this.accesses.length;
    words[(body + AccessedRequest.reserved) >>> 2] = 0;
    let at = body + AccessedRequest.SIZE;
    for (let i = 0; i < this.accesses.length; i++) {
      const { seconds, nanoseconds } = this.accesses[i]!;
      writeU53(words, at + AccessTime.inode, this.inodes[i]!);
      writeI53(words, at + AccessTime.seconds, seconds);
      words[(at + AccessTime.nanoseconds) >>> 2] = nanoseconds;
      words[(at + AccessTime.reserved) >>> 2] = 0;
      at += AccessTime.SIZE;
    }
    return at - body;
  }

  override done(): void {
    this.owner.told(this.inodes, this.accesses);
    this.accesses.length = 0;
    this.release();
  }
}

export class AccessTimes {
  readonly #context: ClientContext;
  readonly #pool: OperationPool<AccessedOperation>;
  /** Noted and not known to be stored. */
  readonly #known = new Map<number, Access>();
  /** Of these, not yet sent. */
  #unsent = new Set<number>();
  #timed = false;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#pool = new OperationPool((pool) => {
      const operation = new AccessedOperation(context, pool);
      operation.owner = this;
      return operation;
    });
  }

  /** Inodes whose access time is on its way. */
  get pending(): number {
    return this.#known.size;
  }

  /** The inode has been read. */
  note(inode: number): void {
    const { facts, leases, options, scheduler } = this.#context;
    if (!facts.isAccessDue(inode) || !options.accessTimes) return;
    facts.noteAccess(inode);
    if (this.#known.size >= PENDING_MAX) return;
    const { seconds, nanoseconds } = scheduler.wallClock();
    this.#known.set(inode, { seconds, nanoseconds });
    leases.shownAnew(inode);
    this.#unsent.add(inode);
    if (this.#unsent.size >= BATCH_MAX) this.flush();
    else this.#startTimer();
  }

  /** Its access time is about to be set: what was noted is of no use. */
  forget(inode: number): void {
    if (this.#known.size === 0) return;
    this.#known.delete(inode);
    this.#unsent.delete(inode);
  }

  /** Puts the time that is on its way into the Attributes at this offset. */
  complete(words: Uint32Array, at: number): void {
    if (this.#known.size === 0) return;
    const access = this.#known.get(readU53(words, at + Attributes.inode));
    if (access === undefined || !isAccessDue(words, at, access.seconds)) return;
    writeI53(words, at + Attributes.atimeSeconds, access.seconds);
    words[(at + Attributes.atimeNanoseconds) >>> 2] = access.nanoseconds;
  }

  /** Sends what is not yet on its way. */
  flush(): void {
    if (this.#unsent.size === 0) return;
    const unsent = this.#unsent;
    this.#unsent = new Set();
    const batches = new Map<RpcPeer, AccessedOperation>();
    for (const inode of unsent) {
      const peer = this.#context.peerOfInode(inode);
      let batch = batches.get(peer);
      if (batch === undefined) {
        batch = this.#pool.take(null);
        batches.set(peer, batch);
      }
      batch.inodes[batch.accesses.length] = inode;
      batch.accesses.push(this.#known.get(inode)!);
      if (batch.accesses.length < BATCH_MAX) continue;
      batches.delete(peer);
      batch.start(peer);
    }
    for (const [peer, batch] of batches) batch.start(peer);
  }

  #startTimer(): void {
    if (this.#timed) return;
    this.#timed = true;
    this.#context.scheduler.setTimer(DELAY_MS, () => {
      this.#timed = false;
      this.flush();
    });
  }

  /** Attributes that are held under a lease are not recalled for it. */
  #keep(inode: number, access: Access): void {
    const { leases } = this.#context;
    const at = leases.attributes(inode);
    const words = leases.attributeWords;
    if (at < 0 || !isAccessDue(words, at, access.seconds)) return;
    writeI53(words, at + Attributes.atimeSeconds, access.seconds);
    words[(at + Attributes.atimeNanoseconds) >>> 2] = access.nanoseconds;
  }

  /** Of AccessedOperation: stored, or lost. What was noted anew meanwhile stays. */
  told(inodes: Float64Array, accesses: Access[]): void {
    for (let i = 0; i < accesses.length; i++) {
      const inode = inodes[i]!;
      const access = accesses[i]!;
      if (this.#known.get(inode) === access && !this.#unsent.has(inode)) {
        this.#keep(inode, access);
        this.#known.delete(inode);
      }
    }
  }
}
