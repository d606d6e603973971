/**
 * Reading directories: one request fetches a page, packed DirEntry records from a cookie on (listing-page.ts),
 * which is handed to the front end where it has landed.
 */
import { errno } from '../common/errno.js';
import { inlineDataBytes } from '../protocol/limits.generated.js';
import { Opcode, ReadDirReply, ReadDirRequest } from '../protocol/wire.generated.js';
import type { ClientContext } from './context.js';
import type { Handle } from './handles.js';
import { ReplyHead, encodePage } from './listing-ahead.js';
import type { PageAhead, PageRequest } from './listing-ahead.js';
import { ListAttributes, ListingPage } from './listing-page.js';
import type { PageSource } from './listing-page.js';
import { CoreOperation, OperationPool } from './operation.js';
import { COLLISIONS, cookieBefore, HASH_END } from './partition-tables.js';
import type { ClientRequest } from './request.js';

class ReadDirectoryOperation extends CoreOperation implements PageSource, PageRequest {
  directory = 0;
  home = 0;
  stamp = 0;
  attributes: ListAttributes = ListAttributes.None;
  keepsNames = false;
  #handle!: Handle;
  /** Of the handle: an intercepted program may close it meanwhile. */
  #generation = 0;
  /** Where the listing goes on, and where it is read: in the next partition perhaps. */
  #asked = 0;
  cookie = 0;
  maxBytes = 0;
  /** It was asked for already, and is waited for. */
  #ahead: PageAhead | null = null;
  readonly #head = new ReplyHead();
  #silent = false;
  readonly #page = new ListingPage(this.context);

  start(
    handle: Handle,
    cookie: number,
    maxBytes: number,
    attributes: ListAttributes,
    landing: number,
  ): void {
    this.#silent = this.request?.readsSilently === true;
    this.#handle = handle;
    this.#generation = handle.generation;
    this.directory = handle.inode;
    this.attributes = attributes;
    this.#asked = cookie;
    this.cookie = cookie === handle.resumeAfter ? handle.resumeFrom : cookie;
    this.maxBytes = maxBytes;
    this.landingOffset = maxBytes <= inlineDataBytes ? 0 : landing;
    this.landingBytes = maxBytes <= inlineDataBytes ? 0 : maxBytes;
    this.sendAgain();
  }

  protected override sendAgain(): void {
    const { context } = this;
    if (this.#isClosed()) return;
    this.home = context.partitions.homeAfter(this.directory, this.cookie);
    const ahead = context.ahead.take(this.#handle, this);
    if (ahead === null) this.#send();
    else if (ahead.isOver) this.#takeAhead(ahead);
    else {
      this.#ahead = ahead;
      ahead.waiter = () => {
        this.#ahead = null;
        this.#takeAhead(ahead);
      };
    }
  }

  /** And then ended. */
  #isClosed(): boolean {
    if (this.#handle.generation === this.#generation) return false;
    this.finishError(errno.EBADF);
    return true;
  }

  #send(): void {
    const { context } = this;
    this.stamp = context.leases.marks.stamp;
    this.send(context.peerOfInode(this.home), Opcode.ReadDir, ReadDirRequest.SIZE);
  }

  #takeAhead({ bytes, home, stamp, head }: PageAhead): void {
    const isSmall = this.landingOffset === 0 || (bytes?.length ?? 0) > this.maxBytes;
    if (bytes === null || isSmall) {
      this.#send();
      return;
    }
    this.home = home;
    this.stamp = stamp;
    this.context.arena.bytes.set(bytes, this.landingOffset);
    this.#took(head, this.landingOffset, bytes.length);
  }

  override cancel(): void {
    const ahead = this.#ahead;
    if (ahead === null) {
      super.cancel();
      return;
    }
    this.#ahead = null;
    ahead.waiter = null;
    this.finishError(errno.EINTR);
  }

  override encode(body: number): number {
    return encodePage(this.context.arena.words, body, this);
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const { context } = this;
    const known = context.partitions.homeAfter(this.directory, this.cookie);
    if (this.reroutes(status, this.directory, this.home, known)) return;
    const checked = context.checkReply(status, bodyBytes, ReadDirReply.SIZE);
    if (checked !== 0) {
      this.finishError(checked);
      return;
    }
    const head = this.#head;
    if (!head.read(context.arena.words, body, bodyBytes)) {
      this.#malformed();
      return;
    }
    const inline = head.inlineBytes !== 0;
    const offset = inline ? body + ReadDirReply.SIZE : this.landingOffset;
    this.#took(head, offset, inline ? head.inlineBytes : bulkBytes);
  }

  /** The page has come, and lies here. */
  #took({ ended, flags, rangeEnd }: ReplyHead, offset: number, lengthBytes: number): void {
    const { context } = this;
    if (this.#isClosed()) return;
    const last = ended && rangeEnd >= HASH_END;
    const goesOn = ended && !last;
    this.#begin(flags);
    const page = this.#page;
    const isSane = !goesOn || rangeEnd > this.cookie / COLLISIONS;
    if (!isSane || !page.take(offset, lengthBytes, this)) {
      this.#malformed();
      return;
    }
    this.#held(last);
    const handle = this.#handle;
    const cookie = page.lastCookie || this.#asked;
    // Who reads on reads to the end, as a rule.
    if (this.landingOffset !== 0 && (ended || this.cookie !== 0)) {
      context.ahead.ask(handle, cookie, this.maxBytes, this.attributes);
    }
    if (goesOn && page.lengthBytes === 0) {
      this.cookie = cookieBefore(rangeEnd);
      this.sendAgain();
      return;
    }
    if (!this.#silent) context.accessTimes.note(this.directory);
    if (goesOn) {
      handle.resumeAfter = cookie;
      handle.resumeFrom = cookieBefore(rangeEnd);
    }
    // Cookie 0 is never the end: a rewound listing must see what was added.
    if (last && cookie !== 0) handle.endCookie = cookie;
    this.release()?.replyEntries(page.offset, page.lengthBytes, last);
  }

  /** Whether this page is of a run from the beginning on whose names have all been held so far. */
  #begin(flags: number): void {
    const { leases } = this.context;
    const { run } = this.#handle;
    if (this.cookie === 0) {
      run.generation = leases.beginListing(this.directory, flags, this.stamp);
      run.stamp = this.stamp;
      run.evictions = leases.evictions;
    } else if (this.cookie > run.cookie) run.generation = 0;
    this.keepsNames = run.generation !== 0;
  }

  #held(last: boolean): void {
    const { run } = this.#handle;
    if (!this.#page.isHeld) run.generation = 0;
    // Less may be taken of a page than there is in it, and the rest be asked for again.
    const isFirst = this.cookie === 0;
    run.cookie = Math.max(isFirst ? 0 : run.cookie, this.#page.lastCookie);
    if (run.generation === 0 || !last) return;
    this.context.leases.endListing(this.directory, run.generation, run.stamp, run.evictions);
    run.generation = 0;
  }

  #malformed(): void {
    this.finishError(this.context.malformed('a listing'));
  }
}

export class DirectoryReads {
  readonly #context: ClientContext;
  readonly #pool: OperationPool<ReadDirectoryOperation>;

  constructor(context: ClientContext) {
    this.#context = context;
    this.#pool = new OperationPool((pool) => new ReadDirectoryOperation(context, pool));
  }

  /**
   * Entries after `cookie` (0: from the start), at most `maxBytes` bytes of records; larger
   * answers land at `landing`. "." and ".." are the front end's.
   */
  read(
    request: ClientRequest,
    handle: Handle,
    cookie: number,
    maxBytes: number,
    attributes: ListAttributes,
    landing: number,
  ): void {
    // The last answer said that nothing follows: spares each listing a request.
    if (cookie === handle.endCookie) {
      request.replyEntries(0, 0, true);
      return;
    }
    if (cookie === 0) {
      this.#context.ahead.drop(handle);
      // What was the end may have been followed by something since.
      handle.endCookie = -1;
    }
    const wanted = this.#wanted(handle, cookie, attributes);
    this.#pool.take(request).start(handle, cookie, maxBytes, wanted, landing);
  }

  #wanted(handle: Handle, cookie: number, attributes: ListAttributes): ListAttributes {
    const { run } = handle;
    const lookups = this.#context.lookups.of(handle.inode);
    const isUsed = cookie !== 0 && lookups !== run.lookups;
    run.lookups = lookups;
    if (attributes !== ListAttributes.IfUsed) return attributes;
    return isUsed ? ListAttributes.Learnt : ListAttributes.None;
  }

  interrupt(request: ClientRequest): void {
    this.#pool.interrupt(request);
  }
}
