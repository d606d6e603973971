/**
 * A target as participant of other targets' transactions: Prepare checks a step, locks what it is
 * about and records it (an *intent*); Resolve does it or forgets it.
 *
 *   Prepare ──> checked, locked, intent stored ──┬─ Resolve commit ──> done ──┬──> intent and lock gone
 *                                                └─ Resolve abort ────────────┘
 *
 * Nothing of a step is to be seen before it is resolved, but for the inode of a new directory, whose
 * number nobody knows yet. Whoever meets a lock waits: the namespace's operations for themselves, reads
 * in the target.
 */
import { EREMCHG, errno, ESTALE } from '../../common/errno.js';
import { isAcl } from '../../protocol/posix-acl.js';
import { bucketCount, linkCountMax, nameBytesMax } from '../../protocol/limits.generated.js';
import { PrepareReply, PrepareRequest, ResolveRequest } from '../../protocol/wire.generated.js';
import { isU53, readU16, readU53, writeU53 } from '../../protocol/u53.js';
import type { Execute } from '../batch.js';
import { storeDirectory } from '../directory-record.js';
import { FLAG_SPLIT, S_IFDIR, S_IFMT } from '../inode-record.js';
import { intentKey, numberOfOwnKey, ownRange } from '../keys.js';
import { checkNameBytes } from '../check-name.js';
import { entryHash } from '../dentries.js';
import type { Call, Namespace } from '../namespace.js';
import { addLink, isNameable } from '../unnamed.js';
import {
  applyPartitionStep,
  checkPartitionStep,
  isPartitionStep,
  undoPartitionStep,
} from '../partitions/steps.js';
import { readTable } from '../partitions/table.js';
import {
  LOCK_ENTRY,
  LOCK_INHERIT,
  LOCK_LINKS,
  LOCK_MOVE,
  LOCK_REMOVAL,
  LOCK_TABLE,
  LOCK_TOKEN,
  type Lock,
} from './locks.js';
import {
  decodeStep,
  STEP_ABSORB,
  STEP_ADD_LINK,
  STEP_ADD_RANGE,
  STEP_DROP_DIR,
  STEP_DROP_LINK,
  STEP_INHERIT,
  STEP_MAKE_DIR,
  STEP_MAKE_PARTITION,
  STEP_REMOVE_ENTRY,
  STEP_REMOVE_RANGE,
  STEP_REPLACE_ENTRY,
  STEP_SET_PARENT,
  STEP_TOKEN,
  STEP_TOUCH,
  type DecodedStep,
  type StepRequest,
} from './step.js';

/** An intent's value: the inode that MakeDir made (u64), then the body of its Prepare. */
const RESULT_BYTES = 8;
const TYPE_SHIFT = 4294967296;

export class Intent {
  readonly blocksReads = true;
  readonly number: number;
  readonly coordinator: string;
  readonly transaction: number;
  readonly request: StepRequest;
  /** Of MakeDir and MakePartition: what it has made. */
  readonly made: number;
  /** Scheduler's milliseconds. */
  readonly sinceMs: number;
  /** Resolved in the open transaction. */
  resolving = false;

  constructor(number: number, step: DecodedStep, made: number, sinceMs: number) {
    this.number = number;
    this.coordinator = step.coordinator;
    this.transaction = step.transaction;
    this.request = step.request;
    this.made = made;
    this.sinceMs = sinceMs;
  }
}

/** The kind of lock that a step takes; 0: none. */
function lockKind(step: number): number {
  switch (step) {
    case STEP_REMOVE_ENTRY:
    case STEP_REPLACE_ENTRY:
      return LOCK_ENTRY;
    case STEP_DROP_DIR:
      return LOCK_REMOVAL;
    case STEP_ADD_LINK:
    case STEP_DROP_LINK:
      return LOCK_LINKS;
    case STEP_SET_PARENT:
    case STEP_TOUCH:
      return LOCK_MOVE;
    case STEP_TOKEN:
      return LOCK_TOKEN;
    case STEP_ADD_RANGE:
    case STEP_REMOVE_RANGE:
    case STEP_ABSORB:
      return LOCK_TABLE;
    case STEP_INHERIT:
      return LOCK_INHERIT;
    default:
      return 0;
  }
}

/** What prepared steps answered: inode, type and count. */
class Prepared {
  inode = 0;
  mode = 0;
  count = 0;
}

export class Participant {
  readonly #ns: Namespace;
  readonly #nowMs: () => number;
  readonly #intents = new Set<Intent>();
  /** Of the open transaction. */
  #added: Intent[] = [];
  #resolved: Intent[] = [];
  #next = 1;
  readonly #prepared = new Prepared();

  constructor(ns: Namespace, nowMs: () => number) {
    this.#ns = ns;
    this.#nowMs = nowMs;
  }

  get intents(): ReadonlySet<Intent> {
    return this.#intents;
  }

  /** Intents that an earlier process left, with their locks. */
  open(): void {
    const { start, end } = ownRange('intent');
    this.#ns.meta.scan(start, end, (key, value) => {
      const number = numberOfOwnKey(key);
      this.#next = Math.max(this.#next, number + 1);
      const bytes = new Uint8Array((value.length + 7) & ~7);
      bytes.set(value);
      const memory = { bytes, words: new Uint32Array(bytes.buffer) };
      const step = decodeStep(memory, RESULT_BYTES, value.length - RESULT_BYTES);
      if (step === undefined) return true;
      // Old enough to be asked about at once.
      const intent = new Intent(number, step, readU53(memory.words, 0), -Infinity);
      this.#lock(intent);
      this.#intents.add(intent);
      return true;
    });
  }

  #lock(intent: Intent): boolean {
    const kind = lockKind(intent.request.step);
    if (kind === 0) return true;
    const blocked = this.#ns.locks.acquire(intent, kind, intent.request.inode, this.#hash(intent));
    if (blocked !== undefined) return false;
    this.#touch(intent, kind);
    return true;
  }

  /** The coordinator answers before the step is done: leases are recalled when it is prepared. */
  #touch(intent: Intent, kind: number): void {
    const { touched } = this.#ns;
    const { inode } = intent.request;
    if (kind === LOCK_TOKEN) return;
    touched.inode(inode);
    if (kind === LOCK_ENTRY) touched.entry(inode, entryHash(this.#hash(intent)));
  }

  #isRecalled({ inode, name }: StepRequest): boolean {
    const { recalls, dentries } = this.#ns;
    if (recalls.size === 0) return false;
    if (name.length === 0) return recalls.inode(inode) !== undefined;
    return recalls.entry(inode, entryHash(dentries.hashOf(name, 0, name.length))) !== undefined;
  }

  #unlock(intent: Intent): void {
    const kind = lockKind(intent.request.step);
    if (kind !== 0) this.#ns.locks.release(intent, kind, intent.request.inode, this.#hash(intent));
  }

  #hash(intent: Intent): number {
    const { name } = intent.request;
    return name.length === 0 ? 0 : this.#ns.dentries.hashOf(name, 0, name.length);
  }

  /** Inside a transaction: 0 or an errno; EAGAIN: something is locked. */
  prepare(call: Call, step: DecodedStep): number {
    const answer = this.#prepared;
    answer.inode = step.request.inode;
    answer.mode = 0;
    answer.count = 0;
    // What it would find may not be known to everybody yet.
    if (this.#isRecalled(step.request)) return errno.EAGAIN;
    const status = this.#check(step, answer);
    if (status !== 0) return status;
    const makes = step.request.step === STEP_MAKE_DIR || step.request.step === STEP_MAKE_PARTITION;
    const made = makes ? answer.inode : 0;
    const intent = new Intent(this.#next++, step, made, this.#nowMs());
    if (!this.#lock(intent)) return errno.EAGAIN;
    call.client = step.request.client;
    this.#added.push(intent);
    this.#intents.add(intent);
    const value = new Uint8Array(RESULT_BYTES + call.bodyBytes);
    value.set(call.memory.bytes.subarray(call.body, call.body + call.bodyBytes), RESULT_BYTES);
    writeU53(new Uint32Array(value.buffer, 0, 2), 0, made);
    this.#ns.meta.put(intentKey(intent.number), value);
    call.result0 = answer.inode;
    call.result1 = answer.mode * TYPE_SHIFT + answer.count;
    replyPrepare(call, call.result0, call.result1);
    return 0;
  }

  #check(step: DecodedStep, answer: Prepared): number {
    const { request } = step;
    switch (request.step) {
      case STEP_REMOVE_ENTRY:
      case STEP_REPLACE_ENTRY:
        return this.#checkEntry(request, answer);
      case STEP_MAKE_DIR:
        return this.#makeDir(request, answer);
      case STEP_DROP_DIR:
        return this.#checkDropDir(step, answer);
      case STEP_ADD_LINK:
      case STEP_DROP_LINK:
        return this.#checkLinks(request, answer);
      case STEP_SET_PARENT: {
        const at = this.#ns.loadDirectory(request.inode);
        if (at < 0) return -at;
        return this.#ns.inodes.parent(at) === 0 || request.other === 0 ? errno.EINVAL : 0;
      }
      case STEP_TOUCH:
        return this.#ns.inodes.load(request.inode) < 0 ? ESTALE : 0;
      case STEP_TOKEN: {
        const at = this.#ns.loadDirectory(request.inode);
        if (at < 0) return -at;
        return this.#ns.inodes.parent(at) === 0 ? 0 : errno.EINVAL;
      }
      default:
        return isPartitionStep(request.step) ? this.#checkPartition(request, answer) : errno.EINVAL;
    }
  }

  #checkPartition(request: StepRequest, answer: Prepared): number {
    const status = checkPartitionStep(this.#ns, request);
    if (status >= 0) return status;
    answer.inode = -status;
    answer.mode = S_IFDIR;
    return 0;
  }

  /** The step of this transaction that entries of the partition are sent for. */
  stepOf(partition: number, transaction: number): StepRequest | undefined {
    for (const { request, made, transaction: number } of this.#intents) {
      if (number !== transaction) continue;
      if (request.step === STEP_MAKE_PARTITION && made === partition) return request;
      if (request.step === STEP_ABSORB && request.inode === partition) return request;
    }
    return undefined;
  }

  #checkEntry(request: StepRequest, answer: Prepared): number {
    const ns = this.#ns;
    const { inode, name } = request;
    if (name.length === 0 || name.length > nameBytesMax) return errno.EINVAL;
    if (request.step === STEP_REPLACE_ENTRY && request.other === 0) return errno.EINVAL;
    const at = ns.loadDirectory(inode);
    if (at < 0) return -at;
    const hash = ns.dentries.hashOf(name, 0, name.length);
    if (ns.locks.frozen(inode, entryHash(hash)) !== undefined) return errno.EAGAIN;
    if (!ns.holds(inode, ns.flagsOf(inode), hash)) {
      return ns.locks.inode(inode)?.kind === LOCK_TABLE ? errno.EAGAIN : EREMCHG;
    }
    if (!ns.dentries.find(inode, name, 0, name.length, ns.found)) return errno.ENOENT;
    answer.inode = ns.found.inode;
    answer.mode = ns.found.mode;
    return 0;
  }

  #makeDir(request: StepRequest, answer: Prepared): number {
    const ns = this.#ns;
    const { bucket, accessAcl, defaultAcl } = request;
    if (bucket >= bucketCount || request.other === 0) return errno.EINVAL;
    if (!ns.host.owns(bucket)) return ESTALE;
    for (const acl of [accessAcl, defaultAcl]) {
      if (acl.length > 0 && !isAcl(acl)) return errno.EINVAL;
    }
    const inode = storeDirectory(ns, bucket, request);
    if (inode < 0) return -inode;
    answer.inode = inode;
    answer.mode = S_IFDIR;
    return 0;
  }

  /**
   * What is in it may be about to go: whoever moved it away may have its answer already. What this
   * transaction itself takes out does not count: that replaces the directory it stands in.
   */
  #checkDropDir({ request, coordinator, transaction }: DecodedStep, answer: Prepared): number {
    const { inode } = request;
    const status = checkEmptyDirectory(this.#ns, inode);
    if ((this.#ns.flagsOf(inode) & FLAG_SPLIT) !== 0) {
      answer.count = (readTable(this.#ns.meta, inode)?.rows.length ?? 1) - 1;
    }
    if (status !== errno.ENOTEMPTY || emptyingLock(this.#ns, inode) === undefined) return status;
    for (const other of this.#intents) {
      const isOwn = other.transaction === transaction && other.coordinator === coordinator;
      if (isOwn || other.request.inode !== inode) continue;
      if (lockKind(other.request.step) === LOCK_ENTRY) return errno.EAGAIN;
    }
    return status;
  }

  #checkLinks(request: StepRequest, answer: Prepared): number {
    const { inodes } = this.#ns;
    const at = inodes.load(request.inode);
    if (at < 0) return ESTALE;
    if (inodes.isDirectory(at)) return errno.EPERM;
    const count = inodes.linkCount(at);
    answer.mode = inodes.mode(at) & S_IFMT;
    if (request.step === STEP_DROP_LINK) {
      answer.count = Math.max(0, count - 1);
      return 0;
    }
    if (count === 0 && !isNameable(this.#ns, at)) return errno.ENOENT;
    if (count >= linkCountMax) return errno.EMLINK;
    answer.count = count + 1;
    return 0;
  }

  /**
   * Inside a transaction: everything that is prepared for this one is done, or forgotten. Returns the client whose own
   * leases need no recall, 0: none.
   */
  resolve(coordinator: string, transaction: number, commit: boolean): number {
    let whose = -1;
    for (const intent of this.#intents) {
      if (intent.transaction !== transaction || intent.coordinator !== coordinator) continue;
      if (intent.resolving) continue;
      intent.resolving = true;
      const { client } = intent.request;
      whose = whose === -1 || whose === client ? client : 0;
      this.#resolved.push(intent);
      if (commit) this.#apply(intent.request);
      else this.#undo(intent);
      this.#ns.meta.remove(intentKey(intent.number));
    }
    return Math.max(whose, 0);
  }

  #undo(intent: Intent): void {
    const { step, inode } = intent.request;
    // Its last handle may have been closed in between.
    if (step === STEP_ADD_LINK) this.#ns.dropOrphan(inode, true);
    if (isPartitionStep(step)) undoPartitionStep(this.#ns, intent.request, intent.made);
    if (step !== STEP_MAKE_DIR) return;
    const at = this.#ns.inodes.load(intent.made);
    if (at >= 0) this.#ns.dropInode(at);
  }

  #apply(request: StepRequest): void {
    const { inodes } = this.#ns;
    const { step, inode } = request;
    if (step === STEP_REMOVE_ENTRY || step === STEP_REPLACE_ENTRY) {
      this.#applyEntry(request);
      return;
    }
    if (step === STEP_MAKE_DIR || step === STEP_TOKEN) return;
    if (isPartitionStep(step)) {
      applyPartitionStep(this.#ns, request);
      return;
    }
    const at = inodes.load(inode);
    if (at < 0) return;
    if (step === STEP_DROP_DIR) this.#ns.dropInode(at);
    else if (step === STEP_DROP_LINK) this.#ns.dropLink(at);
    else {
      if (step === STEP_ADD_LINK) addLink(this.#ns, at);
      if (step === STEP_SET_PARENT) inodes.setParent(at, request.other);
      inodes.setCtime(at, this.#ns.host.now());
      inodes.touch(at);
    }
  }

  #applyEntry(request: StepRequest): void {
    const ns = this.#ns;
    const { inode: directory, name, other, mode } = request;
    const at = ns.loadDirectory(directory);
    if (at < 0 || !ns.dentries.find(directory, name, 0, name.length, ns.found)) return;
    const { cookie } = ns.found;
    let links = ns.inodes.linkCount(at) - (ns.found.mode === S_IFDIR ? 1 : 0);
    if (request.step === STEP_REMOVE_ENTRY) ns.dentries.remove(directory, cookie);
    else {
      ns.dentries.put(directory, cookie, other, mode, name, 0, name.length);
      if ((mode & S_IFMT) === S_IFDIR) links++;
    }
    ns.inodes.setLinkCount(at, links);
    ns.inodes.setChanged(at, ns.host.now());
    ns.inodes.touch(at);
  }

  committed(): void {
    if (this.#added.length > 0) this.#added = [];
    if (this.#resolved.length === 0) return;
    const resolved = this.#resolved;
    this.#resolved = [];
    for (const intent of resolved) {
      this.#intents.delete(intent);
      this.#unlock(intent);
    }
  }

  aborted(): void {
    for (const intent of this.#resolved) intent.resolving = false;
    this.#resolved = [];
    for (const intent of this.#added) {
      this.#intents.delete(intent);
      this.#unlock(intent);
    }
    this.#added = [];
  }
}

/** 0, or why this directory can't be removed. */
export function checkEmptyDirectory(ns: Namespace, inode: number): number {
  const at = ns.loadDirectory(inode);
  if (at < 0) return -at;
  if (ns.inodes.parent(at) === 0) return errno.EBUSY;
  return ns.dentries.isEmpty(inode) ? 0 : errno.ENOTEMPTY;
}

/** Of a directory each of whose entries is locked, so that all may be about to go: one of the locks. */
export function emptyingLock(ns: Namespace, directory: number): Lock | undefined {
  const locked = ns.locks.entriesOf(directory);
  if (locked === 0) return undefined;
  let entries = 0;
  ns.dentries.list(directory, 0, () => ++entries <= locked);
  return entries > locked ? undefined : ns.locks.anyEntry(directory);
}

export const prepare: Execute = (ns, call) => {
  const step = decodeStep(call.memory, call.body, call.bodyBytes);
  if (step === undefined) return errno.EINVAL;
  const { name } = step.request;
  if (name.length > 0) {
    const at = PrepareRequest.SIZE + step.coordinator.length;
    const refused = checkNameBytes(call, at, name.length);
    if (refused !== 0) return refused;
  }
  return ns.participant.prepare(call, step);
};

export function replyPrepare(call: Call, inode: number, modeAndCount: number): void {
  writeU53(call.out.words, call.reply + PrepareReply.inode, inode);
  call.out.words[(call.reply + PrepareReply.mode) >>> 2] = Math.floor(modeAndCount / TYPE_SHIFT);
  call.out.words[(call.reply + PrepareReply.count) >>> 2] = modeAndCount >>> 0;
  call.replyBytes = PrepareReply.SIZE;
}

export const resolve: Execute = (ns, call) => {
  const { words, bytes } = call.memory;
  const { body } = call;
  const length = readU16(words, body + ResolveRequest.coordinatorBytes);
  if (!isU53(words, body) || ResolveRequest.SIZE + length > call.bodyBytes) return errno.EINVAL;
  const from = body + ResolveRequest.SIZE;
  const coordinator = Buffer.from(bytes.subarray(from, from + length)).toString('latin1');
  const commit = words[(body + ResolveRequest.commit) >>> 2] !== 0;
  call.client = ns.participant.resolve(coordinator, readU53(words, body), commit);
  return 0;
};
