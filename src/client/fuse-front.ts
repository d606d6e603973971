/**
 * The FUSE front end: the kernel's requests become calls of the core, one operation object each.
 * Reads and listings land in arena slots that the kernel is answered from, and wait here for a
 * slot when none is free; writes come in a slot already.
 *
 * An interrupted caller is answered EINTR only when it is being killed and waiting makes no sense: a
 * program that gets SIGALRM must never see its writes fail. But whoever waits for a lock is let go by any signal.
 */
import { errno } from '../common/errno.js';
import type { Scheduler } from '../common/scheduler.js';
import { TURN_SUBMIT } from '../common/scheduler.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { OpenFlag, Operation } from '../native/fuse.js';
import type { FuseHandler, FuseInfo, FuseRequest } from '../native/fuse.js';
import {
  bulkSlotBytes,
  fileBytesMax,
  inlineDataBytes,
  messageSlotBytes,
} from '../protocol/limits.generated.js';
import { writeU53 } from '../protocol/u53.js';
import { Attributes, DirEntry, StatFsReply } from '../protocol/wire.generated.js';
import { AfterNotices } from './after-notices.js';
import { AttributeChange, SET_DROP_SET_ID } from './attributes.js';
import { callerChecksPermissions } from './caller-syscall.js';
import { callerIsDying } from './callers.js';
import type { FileSystemCore } from './core.js';
import { dispatchLock } from './fuse-locks.js';
import { FuseNames } from './fuse-names.js';
import { FuseOperation } from './fuse-operation.js';
import { KnownDirectories } from './known-directories.js';
import type { KernelValidity } from './leases/kernel-validity.js';
import { WrittenNotices } from './leases/written-notices.js';
import { NOTHING_TOLD } from './leases/recalls.js';
import { ListAttributes } from './listing-page.js';
import { OwnerCheck } from './owner-check.js';
import { PageUse } from './request.js';
import type { FileSystemTotals } from './request.js';

export interface FuseFrontOptions {
  /** How long the kernel may believe a name, and attributes. */
  entryTimeoutMs: number;
  attributesTimeoutMs: number;
  /** Direct I/O where shared mappings of such files work; otherwise through the page cache. */
  directIo: 'auto' | 'on' | 'off';
  /** A request whose caller is being killed is given up after this time while a target is away … */
  interruptAwayMs: number;
  /** … and after this time in any case. */
  interruptAnyMs: number;
  /** Is the thread of this number, which was interrupted, being killed? */
  callerIsDying: (pid: number) => boolean;
  /** A directory's attributes are for checking permissions alone in the call that this thread is in. */
  callerChecksPermissions: (pid: number) => boolean;
}

export const defaultFuseFrontOptions: FuseFrontOptions = {
  entryTimeoutMs: 1000,
  attributesTimeoutMs: 1000,
  directIo: 'auto',
  interruptAwayMs: 500,
  interruptAnyMs: 10_000,
  callerIsDying,
  callerChecksPermissions,
};

/** open(2), as the kernel sends them on every architecture that sealfs runs on. */
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_APPEND = 0o2000;
const O_NOATIME = 0o1000000;
/** rename(2) */
const RENAME_EXCHANGE = 2;
/** lseek(2) */
const SEEK_HOLE = 4;

/** Bulk slots that reads leave to writes, so that the kernel's requests keep being received. */
const BULK_SLOTS_FOR_WRITES = 8;
/** Message slots that reads leave to the RPC layer. */
const MESSAGE_SLOTS_FOR_RPC = 160;
/** Of a name of 8 bytes with attributes: a record of a listing on the wire, and of READDIRPLUS. */
const WIRE_BYTES = DirEntry.SIZE + Attributes.SIZE + 8;
const KERNEL_BYTES = 160;
const DIRECT = OpenFlag.DirectIo | OpenFlag.ParallelDirectWrites;
const INTERRUPT_CHECK_MS = 250;
const PAGE_BYTES = 4096;
/** Of one copy_file_range: its answer has 32 bits. */
const COPY_BYTES_MAX = 2 ** 31;
/** Above all values of Operation. */
const OPERATIONS = 256;

export class FuseFront implements FuseHandler {
  readonly core: FileSystemCore;
  readonly arena: ArenaMemory;
  readonly options: FuseFrontOptions;
  /** Bits of OpenFlag for files; known from onReady on. */
  openFlags = 0;
  /** The mount has gone (unmounted from outside, or the connection failed). */
  onGone: (reason: string) => void = () => undefined;
  /** The kernel has agreed. */
  onMounted: (info: FuseInfo) => void = () => undefined;
  /** Those of which the kernel has heard. */
  readonly directories = new KnownDirectories();
  /** FuseSession.notifyInode and notifyEpoch: the kernel has forgotten all up to this number. */
  onKernelNotified: (number: number) => void = () => undefined;
  /** FuseSession.notifyPages: dropped up to this number. */
  onKernelPagesDropped: (number: number) => void = () => undefined;

  #validity: KernelValidity | null = null;
  #notices: WrittenNotices | null = null;
  /** The kernel's requests, by Operation. */
  readonly #operations = new Float64Array(OPERATIONS);
  readonly #scheduler: Scheduler;
  readonly #free: FuseOperation[] = [];
  /** By index of the FuseRequest. */
  readonly #active: (FuseOperation | undefined)[] = [];
  /** Reads and listings that wait for a slot. */
  readonly #waiting: FuseOperation[] = [];
  readonly #interrupted = new Set<FuseOperation>();
  #checking = false;
  /** The kernel says whose writes take set-ID bits away. */
  #killPriv = false;
  #slotsLeft = false;
  readonly #opens = new AfterNotices<FuseOperation>(
    (inode) => this.validity?.forgetAttributes(inode) ?? NOTHING_TOLD,
    (operation) => {
      this.#openNow(operation);
    },
  );
  readonly #renames = new AfterNotices<FuseOperation>(
    (_, operation) => this.#forgetMoved(operation),
    (operation) => {
      operation.replyForgotten();
    },
  );
  readonly #owners: OwnerCheck;
  readonly #scratch: number;
  readonly #names: FuseNames;
  readonly #change = new AttributeChange();

  /** Keeps one message slot of the arena. */
  constructor(
    core: FileSystemCore,
    arena: ArenaMemory,
    scheduler: Scheduler,
    options: FuseFrontOptions,
  ) {
    this.core = core;
    this.arena = arena;
    this.options = options;
    this.#scheduler = scheduler;
    this.#names = new FuseNames(arena);
    this.#owners = new OwnerCheck(core, arena);
    this.#scratch = arena.messages.take();
    scheduler.onTurnEnd(TURN_SUBMIT, () => this.#turnEnds());
  }

  /** Under leases: what the kernel may believe; null: what the options say. */
  get validity(): KernelValidity | null {
    return this.#validity;
  }

  set validity(validity: KernelValidity | null) {
    const forgotten = (number: number): void => {
      this.#forgotten(number);
    };
    this.#validity = validity;
    this.#notices =
      validity === null ? null : new WrittenNotices(validity, this.#scheduler, forgotten);
  }

  /** Requests that wait for a slot. */
  get waiting(): number {
    return this.#waiting.length;
  }

  onReady(info: FuseInfo): void {
    const { directIo } = this.options;
    const direct = directIo === 'on' || (directIo === 'auto' && info.directIoMmap);
    this.#killPriv = info.killPriv;
    this.openFlags = direct ? DIRECT : 0;
    this.onMounted(info);
  }

  onEnded(reason: string): void {
    this.onGone(reason);
  }

  onNamesKept(): void {
    this.#validity?.namesKept();
  }

  onNotified(number: number): void {
    this.#notices?.written(number);
  }

  #forgotten(number: number): void {
    this.onKernelNotified(number);
    this.#opens.written(number);
    this.#renames.written(number);
  }

  onPagesDropped(number: number): void {
    this.onKernelPagesDropped(number);
  }

  /** The kernel may cache files under leases; `notifyPages` is the session's. */
  cachePages(notifyPages: (inode: number) => number): void {
    const { pages } = this.core;
    pages.drop = notifyPages;
    pages.enabled = true;
  }

  onInterrupt(fuse: FuseRequest): void {
    const operation = this.#active[fuse.index];
    if (operation?.fuse !== fuse) return;
    // Of all calls only one that waits for a lock may fail for any signal; it may be answered here.
    if (fuse.operation === Operation.SetLockWait) this.core.signal(operation);
    if (operation.fuse !== fuse) return;
    this.#interrupted.add(operation);
    this.#checkInterrupted();
  }

  /** The kernel's requests: `Create: 17, …`; what has never come is left out. */
  get operations(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [name, operation] of Object.entries(Operation)) {
      const count = this.#operations[operation]!;
      if (count > 0) counts[name] = count;
    }
    return counts;
  }

  onRequest(fuse: FuseRequest): void {
    this.#operations[fuse.operation]!++;
    const operation = this.#free.pop() ?? new FuseOperation(this);
    operation.start(fuse, this.#scheduler.nowMs());
    this.#active[fuse.index] = operation;
    // With a timeout owners are believed as all attributes are. A kernel without killPriv takes set-ID bits away by a
    // SETATTR of whoever writes; but it is older than the epoch, so it is told no names, and its owners are new.
    const mayBeOld = this.#validity !== null && this.#killPriv;
    const isSure = !mayBeOld || this.#owners.isPlain(fuse);
    if (isSure) this.#dispatch(operation, fuse);
    else void this.#dispatchJudged(operation, fuse);
  }

  /** The kernel's owner may be an old one. */
  async #dispatchJudged(operation: FuseOperation, fuse: FuseRequest): Promise<void> {
    const status = await this.#owners.judge(fuse);
    // Abandoned meanwhile: it only goes back to the pool.
    if (operation.fuse !== fuse) operation.replyError(errno.EINTR);
    else if (status !== 0) operation.replyError(status);
    else this.#dispatch(operation, fuse);
  }

  #dispatch(operation: FuseOperation, fuse: FuseRequest): void {
    const { core } = this;
    switch (fuse.operation) {
      case Operation.Lookup:
        return core.lookup(operation, fuse.inode, this.#names.first(fuse));
      case Operation.GetAttr:
        return core.getAttributes(operation, fuse.inode);
      case Operation.SetAttr:
        return core.setAttributes(operation, fuse.inode, this.#changeOf(fuse));
      case Operation.Open:
        return this.#open(operation, fuse);
      case Operation.Create:
        return this.#create(operation, fuse);
      case Operation.TmpFile:
        return core.createUnnamed(operation, fuse.inode, fuse.mode);
      case Operation.Read:
      case Operation.ReadDir:
      case Operation.ReadDirPlus:
      case Operation.CopyFileRange:
        return this.#startLanding(operation);
      case Operation.Write:
        return this.#write(operation, fuse);
      case Operation.Release:
      case Operation.ReleaseDir:
        return core.releaseHandle(operation, fuse.handle);
      case Operation.Fsync:
      case Operation.FsyncDir:
        return core.fsync(operation, fuse.handle);
      case Operation.OpenDir:
        return core.openDirectory(operation, fuse.inode);
      case Operation.StatFs:
        return core.statFs(operation);
      case Operation.Fallocate:
        return core.allocate(operation, fuse.handle, fuse.mode, fuse.wideOffset, fuse.lengthBytes);
      case Operation.Seek:
        return core.seek(operation, fuse.handle, fuse.wideOffset, fuse.flags === SEEK_HOLE);
      case Operation.Flush:
      case Operation.GetLock:
      case Operation.SetLock:
      case Operation.SetLockWait:
        return dispatchLock(core, operation, fuse);
      case Operation.SetXattr:
        return this.#setXattr(operation, fuse);
      case Operation.GetXattr:
      case Operation.ListXattr:
        return this.#startLanding(operation);
      case Operation.RemoveXattr:
        return core.removeXattr(operation, fuse.inode, this.#names.first(fuse));
      default:
        return this.#dispatchName(operation, fuse);
    }
  }

  /** Operations that change names. */
  #dispatchName(operation: FuseOperation, fuse: FuseRequest): void {
    const { core } = this;
    switch (fuse.operation) {
      case Operation.MkNod:
        return core.makeNode(operation, fuse.inode, this.#names.first(fuse), fuse.mode, fuse.rdev);
      case Operation.MkDir:
        return core.makeDirectory(operation, fuse.inode, this.#names.first(fuse), fuse.mode);
      case Operation.RmDir:
        return core.removeDirectory(operation, fuse.inode, this.#names.first(fuse));
      case Operation.Unlink:
        return core.unlink(operation, fuse.inode, this.#names.first(fuse));
      case Operation.Symlink:
        return core.symlink(
          operation,
          fuse.inode,
          this.#names.first(fuse),
          this.#names.second(fuse),
        );
      case Operation.ReadLink:
        return core.readLink(operation, fuse.inode);
      case Operation.Link:
        return core.link(operation, fuse.inode, fuse.newParent, this.#names.first(fuse));
      case Operation.Rename:
        return core.rename(
          operation,
          fuse.inode,
          this.#names.first(fuse),
          fuse.newParent,
          this.#names.second(fuse),
          fuse.flags,
        );
      default:
        return operation.replyError(errno.ENOSYS);
    }
  }

  #open(operation: FuseOperation, fuse: FuseRequest): void {
    if (this.validity === null || this.core.isLeased(fuse.inode)) this.#openNow(operation);
    else this.#opens.start(operation, fuse.inode);
  }

  #openNow(operation: FuseOperation): void {
    const { fuse } = operation;
    if (fuse !== null) this.core.open(operation, fuse.inode, (fuse.flags & O_TRUNC) !== 0);
  }

  /** Of FuseOperation: the kernel takes what it believes of a name along to the new one, where others may change it. */
  renamed(operation: FuseOperation, { newParent }: FuseRequest): void {
    if (this.validity === null) operation.replyForgotten();
    else this.#renames.start(operation, newParent);
  }

  #forgetMoved({ fuse, entryValidMs }: FuseOperation): number {
    if (fuse === null || this.validity === null) return NOTHING_TOLD;
    const exchanged = (fuse.flags & RENAME_EXCHANGE) !== 0;
    return this.validity.namesMoved(fuse.inode, fuse.newParent, exchanged, entryValidMs);
  }

  #changeOf(fuse: FuseRequest): AttributeChange {
    const change = this.#change;
    // Nothing to set: chown(2) that leaves both as they are, which takes set-ID bits all the same.
    change.valid = fuse.valid === 0 ? SET_DROP_SET_ID : fuse.valid;
    change.mode = fuse.mode & 0o7777;
    change.uid = fuse.setUid;
    change.gid = fuse.setGid;
    change.sizeBytes = fuse.newSizeBytes;
    change.atimeSeconds = fuse.atimeSeconds;
    change.atimeNanoseconds = fuse.atimeNanoseconds;
    change.mtimeSeconds = fuse.mtimeSeconds;
    change.mtimeNanoseconds = fuse.mtimeNanoseconds;
    return change;
  }

  #create(operation: FuseOperation, fuse: FuseRequest): void {
    const exclusive = (fuse.flags & O_EXCL) !== 0;
    const truncate = (fuse.flags & O_TRUNC) !== 0;
    this.core.create(
      operation,
      fuse.inode,
      this.#names.first(fuse),
      fuse.mode,
      exclusive,
      truncate,
    );
  }

  #write(operation: FuseOperation, fuse: FuseRequest): void {
    const append = (fuse.flags & O_APPEND) !== 0;
    const { handle, offset, sizeBytes, dataOffset } = fuse;
    // What goes beyond the largest file is cut there, as the kernel does at its own limit.
    const room = fileBytesMax - offset;
    const bytes = append || room <= 0 ? sizeBytes : Math.min(sizeBytes, room);
    this.core.write(operation, handle, offset, bytes, dataOffset, append);
  }

  #setXattr(operation: FuseOperation, fuse: FuseRequest): void {
    const { inode, dataOffset, sizeBytes, flags } = fuse;
    this.core.setXattr(operation, inode, this.#names.first(fuse), dataOffset, sizeBytes, flags);
  }

  // ---------------------------------------------------------------- landing slots

  /** Read, ReadDir, ReadDirPlus, GetXattr, ListXattr: with a slot now, or when one is free. */
  #startLanding(operation: FuseOperation): void {
    if (this.#waiting.length > 0 || !this.#land(operation)) this.#waiting.push(operation);
  }

  /** False when there is no slot. */
  #land(operation: FuseOperation): boolean {
    const { fuse } = operation;
    if (fuse === null) return true;
    const reading = fuse.operation === Operation.Read;
    const copying = fuse.operation === Operation.CopyFileRange;
    const bytes = copying ? bulkSlotBytes : Math.min(fuse.sizeBytes, bulkSlotBytes);
    // Listings up to here come inside the message and need no room of their own.
    if (reading || bytes > inlineDataBytes) {
      operation.landing = this.#takeSlot(bytes);
      if (operation.landing === 0) return false;
      operation.landingBytes = bytes;
    }
    const { landing } = operation;
    if (copying) {
      const { handle, wideOffset, otherHandle, otherOffset, lengthBytes } = fuse;
      const length = Math.min(lengthBytes, COPY_BYTES_MAX);
      this.core.copyRange(operation, handle, wideOffset, otherHandle, otherOffset, length, landing);
    } else if (reading) {
      // Whole pages: perhaps for a mapping.
      if (((fuse.offset | bytes) & (PAGE_BYTES - 1)) === 0) this.core.noteInKernel(fuse.handle);
      this.core.read(operation, fuse.handle, fuse.offset, bytes, landing);
    } else if (fuse.operation === Operation.GetXattr) {
      this.core.getXattr(operation, fuse.inode, this.#names.first(fuse), bytes, landing);
    } else if (fuse.operation === Operation.ListXattr) {
      this.core.listXattrs(operation, fuse.inode, bytes, landing);
    } else {
      this.#readDirectory(operation, fuse, bytes, landing);
    }
    return true;
  }

  #readDirectory(
    operation: FuseOperation,
    fuse: FuseRequest,
    bytes: number,
    landing: number,
  ): void {
    const plus = fuse.operation === Operation.ReadDirPlus;
    const { handle, cookie } = fuse;
    let attributes: ListAttributes = plus ? ListAttributes.Given : ListAttributes.None;
    // What the kernel takes in of a page cannot be recalled: it looks names up instead.
    if (this.validity !== null) attributes = plus ? ListAttributes.Learnt : ListAttributes.IfUsed;
    // The kernel's records are longer than the wire's: what does not fit would be asked for twice.
    const most = plus ? Math.floor((bytes * WIRE_BYTES) / KERNEL_BYTES) : bytes;
    this.core.readDirectory(operation, handle, cookie, most & ~7, attributes, landing);
  }

  #takeSlot(bytes: number): number {
    const { messages, bulk } = this.arena;
    if (bytes <= messageSlotBytes && messages.available > MESSAGE_SLOTS_FOR_RPC) {
      return messages.take();
    }
    return bulk.available > BULK_SLOTS_FOR_WRITES ? bulk.take() : 0;
  }

  /** Of FuseOperation: a reply has been queued whose slot is free after this turn's end. */
  slotsLeave(): void {
    this.#slotsLeft = true;
  }

  #turnEnds(): void {
    this.#startWaiting();
    // Slots of this turn's replies come back only after the hooks: look again then.
    if (this.#slotsLeft && this.#waiting.length > 0) this.#scheduler.requestTurn();
    this.#slotsLeft = false;
  }

  #startWaiting(): void {
    let started = 0;
    while (started < this.#waiting.length && this.#land(this.#waiting[started]!)) started++;
    if (started === 0) return;
    this.#waiting.splice(0, started);
    // Their requests were queued behind this turn's flush.
    this.#scheduler.requestTurn();
  }

  // ---------------------------------------------------------------- the rest

  /** Of FuseOperation: it is answered, or nobody waits for it any more. */
  recycle(operation: FuseOperation): void {
    this.#free.push(operation);
    if (this.#interrupted.size > 0) this.#interrupted.delete(operation);
  }

  /**
   * Of FuseOperation: where the kernel does not say so (an old one, or with these operations) there
   * is only the user to go by.
   */
  dropsSetId(fuse: FuseRequest): boolean {
    const { operation } = fuse;
    const told =
      this.#killPriv && operation !== Operation.Fallocate && operation !== Operation.CopyFileRange;
    return told ? (fuse.valid & SET_DROP_SET_ID) !== 0 : fuse.uid !== 0;
  }

  /** Of FuseOperation: a read or listing of a descriptor with O_NOATIME. */
  readsSilently(fuse: FuseRequest): boolean {
    return (fuse.flags & O_NOATIME) !== 0;
  }

  /** Of FuseOperation: OpenFlag bits for what this request opened. */
  flagsOf(fuse: FuseRequest, use: PageUse): number {
    if (fuse.operation === Operation.OpenDir) return 0;
    if (use === PageUse.AsOptions) return this.openFlags;
    if (use === PageUse.Direct) return DIRECT;
    return use === PageUse.Kept ? OpenFlag.KeepCache : 0;
  }

  /** Of FuseOperation: lays the totals out as StatFsReply, valid until the next call. */
  layOutTotals(totals: FileSystemTotals): number {
    const words = this.arena.words;
    const at = this.#scratch;
    writeU53(words, at + StatFsReply.totalBytes, totals.totalBytes);
    writeU53(words, at + StatFsReply.freeBytes, totals.freeBytes);
    writeU53(words, at + StatFsReply.inodes, totals.inodes);
    writeU53(words, at + StatFsReply.freeInodes, totals.freeInodes);
    return at;
  }

  #checkInterrupted(): void {
    const now = this.#scheduler.nowMs();
    const { interruptAwayMs, interruptAnyMs, callerIsDying: dying } = this.options;
    const limit = this.core.targetsAway > 0 ? interruptAwayMs : interruptAnyMs;
    for (const operation of [...this.#interrupted]) {
      // The kernel interrupts a request once: whoever is killed later is found by looking again.
      if (now - operation.startedMs >= limit && dying(operation.fuse?.pid ?? 0))
        this.#giveUp(operation);
    }
    if (this.#interrupted.size === 0 || this.#checking) return;
    this.#checking = true;
    this.#scheduler.setTimer(INTERRUPT_CHECK_MS, () => {
      this.#checking = false;
      this.#checkInterrupted();
    });
  }

  #giveUp(operation: FuseOperation): void {
    this.#interrupted.delete(operation);
    const at = this.#waiting.indexOf(operation);
    if (at >= 0 || this.#opens.remove(operation)) {
      if (at >= 0) this.#waiting.splice(at, 1);
      operation.replyError(errno.EINTR);
      return;
    }
    operation.abandon();
    this.core.interrupt(operation);
  }
}
