/**
 * One request of the kernel on its way through the core: answers go to the FuseRequest, slots back
 * to their pools. Pooled by FuseFront.
 *
 *   pool ── start ──> in the core ── reply… ──> answered ──> pool
 *                       └── abandon (EINTR is answered at once) ──> in the core, without a
 *                           request ── reply… ──> slots given back, handles closed ──> pool
 *
 * So an interrupted caller never waits for a target that is away, and memory that the transport
 * may still use is not given away early.
 */
import { errno } from '../common/errno.js';
import { Operation } from '../native/fuse.js';
import type { FuseRequest } from '../native/fuse.js';
import type { FileAttributes } from './attributes.js';
import type { FuseFront } from './fuse-front.js';
import { lockTypeOf } from './fuse-locks.js';
import { PageUse, VALID_AS_OPTIONS } from './request.js';
import type { ClientRequest, FileSystemTotals } from './request.js';
import { giveSlot } from './slot-owner.js';

/** open(2); O_SYNC includes it. The kernel sets it for files and mounts that are synchronous, too. */
const O_DSYNC = 0o10000;

export class FuseOperation implements ClientRequest {
  uid = 0;
  gid = 0;
  umask = 0;
  dropsSetId = false;
  readsSilently = false;
  synchronous = false;
  entryValidMs = VALID_AS_OPTIONS;
  attributesValidMs = VALID_AS_OPTIONS;
  pageUse: PageUse = PageUse.AsOptions;
  /** Null in the pool, and once abandoned. */
  fuse: FuseRequest | null = null;
  startedMs = 0;
  /** Slot that a read or a listing lands in, 0: none. */
  landing = 0;
  /** How much may land there. */
  landingBytes = 0;
  /** Slot of a write's data, ours since the request was abandoned; 0: none. */
  dataSlot = 0;
  readonly #front: FuseFront;

  constructor(front: FuseFront) {
    this.#front = front;
  }

  start(fuse: FuseRequest, nowMs: number): void {
    this.fuse = fuse;
    this.uid = fuse.uid;
    this.gid = fuse.gid;
    this.umask = fuse.umask;
    this.dropsSetId = this.#front.dropsSetId(fuse);
    this.readsSilently = this.#front.readsSilently(fuse);
    this.synchronous = fuse.operation === Operation.Write && (fuse.flags & O_DSYNC) !== 0;
    this.startedMs = nowMs;
    this.entryValidMs = VALID_AS_OPTIONS;
    this.attributesValidMs = VALID_AS_OPTIONS;
    this.pageUse = PageUse.AsOptions;
  }

  /** Answers EINTR now; the core's answer will find nobody. */
  abandon(): void {
    const { fuse } = this;
    if (fuse === null) return;
    this.fuse = null;
    this.dataSlot = fuse.takeSlot();
    fuse.replyStatus(errno.EINTR);
  }

  asksPermissions(): boolean {
    return this.fuse !== null && this.#front.options.callerChecksPermissions(this.fuse.pid);
  }

  /** The request that is to be answered, null if it has been abandoned. */
  #end(): FuseRequest | null {
    const { fuse } = this;
    this.fuse = null;
    return fuse;
  }

  /** Back to the pool with all that this operation holds. */
  #recycle(): void {
    const { arena } = this.#front;
    if (this.landing !== 0) giveSlot(arena, this.landing);
    if (this.dataSlot !== 0) giveSlot(arena, this.dataSlot);
    this.landing = 0;
    this.dataSlot = 0;
    this.#front.recycle(this);
  }

  replyError(status: number): void {
    const { entryValidMs } = this;
    const fuse = this.#end();
    this.#recycle();
    const absent = status === errno.ENOENT && fuse?.operation === Operation.Lookup;
    const validMs = absent && entryValidMs > 0 ? this.#entryMs(fuse) : 0;
    if (validMs > 0) fuse?.replyNoEntry(validMs);
    else fuse?.replyStatus(status);
  }

  /** For replies that say how long an entry is valid. */
  #entryMs(fuse: FuseRequest): number {
    const { entryValidMs } = this;
    const { validity, options } = this.#front;
    if (entryValidMs < 0) return options.entryTimeoutMs;
    if (validity === null) return entryValidMs;
    const directory = fuse.operation === Operation.Link ? fuse.newParent : fuse.inode;
    return validity.nameMs(directory, entryValidMs);
  }

  #attributesMs(inode: number): number {
    const { attributesValidMs } = this;
    const { validity, options, core } = this.#front;
    if (attributesValidMs < 0) return options.attributesTimeoutMs;
    if (core.pages.isTainted(inode)) return 0;
    return validity === null ? attributesValidMs : validity.attributesMs(inode, attributesValidMs);
  }

  replyDone(): void {
    if (this.fuse?.operation === Operation.Rename) this.#front.renamed(this, this.fuse);
    else this.replyForgotten();
  }

  /** The same; what the kernel must not believe after it, it does not. */
  replyForgotten(): void {
    const fuse = this.#end();
    this.#recycle();
    fuse?.replyStatus(0);
  }

  replyEntry(attributes: FileAttributes): void {
    const fuse = this.#end();
    this.#recycle();
    if (fuse === null) return;
    if (attributes.isDirectory()) this.#front.directories.add(attributes.inode);
    const attributesMs = this.#attributesMs(attributes.inode);
    fuse.replyEntry(attributes.offset, this.#entryMs(fuse), attributesMs);
  }

  replyAttributes(attributes: FileAttributes): void {
    const fuse = this.#end();
    this.#recycle();
    if (fuse === null) return;
    const { core } = this.#front;
    // With a handle it comes from a read (or an lseek), which then looks for pages.
    const reads = fuse.operation === Operation.GetAttr && fuse.handle !== 0;
    if (reads && core.pages.isTainted(attributes.inode))
      fuse.replyAttributesDropping(attributes.offset);
    else fuse.replyAttributes(attributes.offset, this.#attributesMs(attributes.inode));
  }

  replyCreated(attributes: FileAttributes, handle: number): void {
    const fuse = this.#end();
    this.#recycle();
    if (fuse === null) {
      this.#front.core.closeHandle(handle);
      return;
    }
    const flags = this.#front.flagsOf(fuse, this.pageUse);
    const attributesMs = this.#attributesMs(attributes.inode);
    fuse.replyCreate(attributes.offset, this.#entryMs(fuse), attributesMs, handle, flags);
  }

  replyOpened(handle: number): void {
    const fuse = this.#end();
    this.#recycle();
    if (fuse === null) this.#front.core.closeHandle(handle);
    else fuse.replyOpen(handle, this.#front.flagsOf(fuse, this.pageUse));
  }

  replyText(offset: number, lengthBytes: number): void {
    const fuse = this.#end();
    this.#recycle();
    fuse?.replyBytes(offset, lengthBytes);
  }

  replyRead(lengthBytes: number): void {
    const fuse = this.#end();
    this.#replyLanded(fuse, lengthBytes);
    this.#recycle();
  }

  /** Data that has landed, or none. */
  #replyLanded(fuse: FuseRequest | null, lengthBytes: number): void {
    if (fuse === null) return;
    fuse.beginData();
    if (lengthBytes > 0) {
      fuse.addSegment(this.landing, lengthBytes, true);
      this.landing = 0;
      this.#front.slotsLeave();
    }
    fuse.endData();
  }

  replyXattr(offset: number, lengthBytes: number): void {
    const fuse = this.#end();
    if (fuse?.sizeBytes === 0) fuse.replyXattrSize(lengthBytes);
    else if (lengthBytes === 0 || offset === this.landing) this.#replyLanded(fuse, lengthBytes);
    else fuse?.replyBytes(offset, lengthBytes);
    this.#recycle();
  }

  replyWritten(lengthBytes: number): void {
    const fuse = this.#end();
    this.#recycle();
    fuse?.replyWritten(lengthBytes);
    this.#front.slotsLeave();
  }

  replyOffset(byte: number): void {
    const fuse = this.#end();
    this.#recycle();
    fuse?.replySeek(byte);
  }

  replyEntries(offset: number, lengthBytes: number): void {
    const fuse = this.#end();
    const { landing } = this;
    const landed = landing !== 0 && offset >= landing && offset < landing + this.landingBytes;
    if (fuse !== null) {
      const { options } = this.#front;
      const entryMs = this.entryValidMs < 0 ? options.entryTimeoutMs : this.entryValidMs;
      const own = this.#front.core.pages.anyTainted ? 0 : this.attributesValidMs;
      const attributesMs = own < 0 ? options.attributesTimeoutMs : own;
      fuse.replyDirectory(offset, lengthBytes, landed, 0, entryMs, attributesMs);
      if (landed) {
        this.landing = 0;
        this.#front.slotsLeave();
      }
    }
    this.#recycle();
  }

  replyLock(kind: number, start: number, last: number, pid: number): void {
    const fuse = this.#end();
    this.#recycle();
    fuse?.replyLock(lockTypeOf(kind), start, last, pid);
  }

  replyStatFs(totals: FileSystemTotals): void {
    const fuse = this.#end();
    this.#recycle();
    if (fuse !== null) fuse.replyStatFs(this.#front.layOutTotals(totals));
  }
}
