/**
 * One call of an intercepted program on its way through the core. Pooled by InterceptFront. Nobody interrupts it:
 * a program that is killed leaves its memory behind, and the answer finds nobody.
 *
 *   pool ── start ──> in the core ── reply… ──> (the kernel is told) ── answered ──> pool
 */
import { Fallback, LISTING_ENDS } from '../native/intercept.js';
import { Attributes } from '../protocol/wire.generated.js';
import type { FileAttributes } from './attributes.js';
import { FileAttributes as AttributesView } from './attributes.js';
import type { InterceptFront } from './intercept-front.js';
import { AttributeCall } from './attribute-call.js';
import type { AttributeCallOwner } from './attribute-call.js';
import { Dependencies } from './leases/dependencies.js';
import { NameCall } from './name-call.js';
import type { NameCallOwner } from './name-call.js';
import { PathWalk } from './path-walk.js';
import { XattrCall } from './xattr-call.js';
import type { XattrCallOwner } from './xattr-call.js';
import { PageUse, VALID_AS_OPTIONS } from './request.js';

/** Behind the attributes of a stat's answer: for how long it may be believed, how many cells follow, and they. */
const VALID_MS = Attributes.SIZE;
const COUNT = VALID_MS + 4;
const CELLS = COUNT + 4;
const CELL_BYTES = 8;

export class InterceptOperation implements NameCallOwner, AttributeCallOwner, XattrCallOwner {
  uid = 0;
  gid = 0;
  umask = 0;
  dropsSetId = false;
  readsSilently = false;
  synchronous = false;
  entryValidMs = VALID_AS_OPTIONS;
  attributesValidMs = VALID_AS_OPTIONS;
  pageUse: PageUse = PageUse.AsOptions;
  /** Of the host. */
  call = 0;
  program = 0;
  inode = 0;
  slot = 0;
  /** The kernel's attributes of the inode are old when this is done. */
  changes = false;
  /** It writes to a file. */
  writes = false;
  /** The answer, while the kernel is being told. */
  status = 0;
  value = 0;
  /** Its program may remember the answer. */
  remembers = false;
  /** What the answer depends on; whole only if nobody had to be asked. */
  readonly dependencies = new Dependencies();
  /** Of a call by path. */
  readonly walk: PathWalk;
  /** Of a call that looks at or changes names. */
  readonly names: NameCall;
  /** Of a call that changes attributes. */
  readonly attributes: AttributeCall;
  /** Of a call about extended attributes. */
  readonly xattrs: XattrCall;
  readonly #front: InterceptFront;
  readonly #view: FileAttributes;

  constructor(front: InterceptFront) {
    this.#front = front;
    this.#view = new AttributesView(front.arena.words, 0);
    this.walk = new PathWalk(front.core, front.arena, this);
    this.names = new NameCall(front.core, front.arena, this);
    this.attributes = new AttributeCall(front.core, front.arena, this);
    this.xattrs = new XattrCall(front.core, front.arena, this);
  }

  asksPermissions(): boolean {
    return this.walk.isOnTheWay;
  }

  #end(status: number, value: number): void {
    this.status = status;
    this.value = value;
    this.#front.ended(this);
  }

  replyError(status: number): void {
    if (this.walk.active) this.walk.failed(status);
    else if (this.names.active) this.names.failed(status);
    else if (this.attributes.active) this.attributes.failed(status);
    else if (this.xattrs.active) this.xattrs.failed(status);
    else this.#end(status, 0);
  }

  replyDone(): void {
    if (this.names.active) this.names.done();
    else if (this.xattrs.active) this.xattrs.done();
    else this.#end(0, 0);
  }

  replyAttributes(attributes: FileAttributes): void {
    if (this.walk.active) this.walk.arrived(attributes);
    else if (this.attributes.active) this.attributes.arrived(attributes);
    else if (this.xattrs.active) this.xattrs.arrived(attributes);
    else this.walked(0, attributes);
  }

  replyEntry(attributes: FileAttributes): void {
    if (this.walk.active) this.walk.arrived(attributes);
    else this.names.arrived(attributes);
  }

  replyText(offset: number, lengthBytes: number): void {
    this.names.arrivedText(offset, lengthBytes);
  }

  kernelKnows(directory: number): boolean {
    return this.#front.kernelKnows(directory);
  }

  changing(): void {
    if (this.attributes.active || this.xattrs.active) this.changes = true;
    this.#front.changing(this);
  }

  attributesChanged(status: number): void {
    this.#end(status, 0);
  }

  xattrsDone(status: number, value: number): void {
    this.#end(status, value);
  }

  named(status: number, value: number): void {
    this.#end(status, value);
  }

  walked(status: number, attributes: FileAttributes | null): void {
    if (this.names.active) {
      this.names.walked(status, attributes);
      return;
    }
    if (this.attributes.active) {
      this.attributes.walked(status, attributes);
      return;
    }
    if (this.xattrs.active) {
      this.xattrs.walked(status, attributes);
      return;
    }
    if (attributes !== null) {
      this.#view.offset = this.slot;
      this.#view.copyFrom(attributes);
    }
    if (this.remembers) this.#tellDependencies();
    this.#end(status, 0);
  }

  #tellDependencies(): void {
    const { cells, versions, count, isWhole, validMs } = this.dependencies;
    const { words } = this.#front.arena;
    const { slot } = this;
    words[(slot + VALID_MS) >>> 2] = isWhole ? validMs : 0;
    words[(slot + COUNT) >>> 2] = isWhole ? count : 0;
    for (let i = 0; isWhole && i < count; i++) {
      const at = (slot + CELLS + i * CELL_BYTES) >>> 2;
      words[at] = cells[i]!;
      words[at + 1] = versions[i]!;
    }
  }

  replyOpened(handle: number): void {
    this.#end(0, handle);
  }

  replyRead(lengthBytes: number): void {
    this.#end(0, lengthBytes);
  }

  replyWritten(lengthBytes: number): void {
    this.#end(0, lengthBytes);
  }

  replyEntries(offset: number, lengthBytes: number, last: boolean): void {
    // Short ones have come inside a message.
    const { bytes } = this.#front.arena;
    if (offset !== this.slot) bytes.copyWithin(this.slot, offset, offset + lengthBytes);
    this.#end(0, lengthBytes + (last ? LISTING_ENDS : 0));
  }

  // Answers to what is not asked for here.

  #unasked(): void {
    this.#end(Fallback.Overloaded, 0);
  }

  replyCreated(_attributes: FileAttributes, handle: number): void {
    this.#front.core.closeHandle(handle);
    this.#unasked();
  }

  replyOffset(): void {
    this.#unasked();
  }

  replyXattr(offset: number, lengthBytes: number): void {
    this.xattrs.arrivedValue(offset, lengthBytes);
  }

  replyStatFs(): void {
    this.#unasked();
  }

  replyLock(): void {
    this.#unasked();
  }
}
