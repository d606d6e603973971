/**
 * Pages of a directory in partitions that are read ahead of its listing: while one partition is gone through, the first
 * pages of the next ones are asked of their targets, at the same time, so a large directory comes from several targets at
 * once. A page waits for its turn in memory of its own, and is taken as if it had come then: by the cookie that
 * it was asked for, with the stamp of when that was. What does not fit what is read next is dropped, and asked for again.
 *
 * A page is of some moment since the listing began: that is all that readdir(3) promises. Attributes that
 * are given away with a page (ListAttributes.Given) must not wait, so those listings are not read ahead.
 */
import { readU53OrZero, writeU53 } from '../protocol/u53.js';
import { Opcode, ReadDirReply, ReadDirRequest } from '../protocol/wire.generated.js';
import { RpcOperation } from '../transport/rpc-client.js';
import type { ClientContext } from './context.js';
import type { Handle } from './handles.js';
import { ListAttributes } from './listing-page.js';

/** ReadDirRequest.flags */
const FLAG_WITH_ATTRIBUTES = 1;
/** Partitions that are read ahead in one listing. */
const DEPTH = 3;
/** Pages in all listings, and the size of each. */
const PAGES_MAX = 32;
const PAGE_BYTES = 65_536;
/** Pages of before are not of use. */
const FRESH_MS = 2000;
/** Bulk slots that are left to whom somebody waits for. */
const SLOTS_LEFT = 9;

/** What a ReadDirReply says of its page. */
export class ReplyHead {
  inlineBytes = 0;
  ended = false;
  flags = 0;
  rangeEnd = 0;

  /** False: its body is too short for what it says. */
  read(words: Uint32Array, body: number, bodyBytes: number): boolean {
    this.inlineBytes = words[(body + ReadDirReply.inlineBytes) >>> 2]!;
    this.ended = words[(body + ReadDirReply.endOfDirectory) >>> 2] !== 0;
    this.flags = words[(body + ReadDirReply.flags) >>> 2]!;
    this.rangeEnd = readU53OrZero(words, body + ReadDirReply.rangeEnd);
    return ReadDirReply.SIZE + this.inlineBytes <= bodyBytes;
  }
}

/** What is asked of a target. */
export interface PageRequest {
  readonly home: number;
  readonly cookie: number;
  readonly maxBytes: number;
  readonly attributes: ListAttributes;
}

export function encodePage(words: Uint32Array, body: number, page: PageRequest): number {
  const withAttributes = page.attributes !== ListAttributes.None;
  writeU53(words, body + ReadDirRequest.inode, page.home);
  writeU53(words, body + ReadDirRequest.cookie, page.cookie);
  words[(body + ReadDirRequest.maxBytes) >>> 2] = page.maxBytes;
  words[(body + ReadDirRequest.flags) >>> 2] = withAttributes ? FLAG_WITH_ATTRIBUTES : 0;
  return ReadDirRequest.SIZE;
}

export class PageAhead extends RpcOperation implements PageRequest {
  readonly home: number;
  readonly cookie: number;
  readonly maxBytes: number;
  readonly attributes: ListAttributes;
  readonly stamp: number;
  readonly askedMs: number;
  readonly head = new ReplyHead();
  /** Its records; null: they have not come, or (`isOver`) will not. */
  bytes: Uint8Array | null = null;
  isOver = false;
  /** Called when it is over. */
  waiter: (() => void) | null = null;
  readonly #context: ClientContext;

  constructor(context: ClientContext, request: PageRequest, landing: number) {
    super();
    this.#context = context;
    this.home = request.home;
    this.cookie = request.cookie;
    this.maxBytes = request.maxBytes;
    this.attributes = request.attributes;
    this.stamp = context.leases.marks.stamp;
    this.askedMs = context.scheduler.nowMs();
    this.opcode = Opcode.ReadDir;
    this.bodyBytes = ReadDirRequest.SIZE;
    this.landingOffset = landing;
    this.landingBytes = request.maxBytes;
  }

  override encode(body: number): number {
    return encodePage(this.#context.arena.words, body, this);
  }

  override done(status: number, body: number, bodyBytes: number, bulkBytes: number): void {
    const { arena } = this.#context;
    const isWhole = status === 0 && bodyBytes >= ReadDirReply.SIZE;
    if (isWhole && this.head.read(arena.words, body, bodyBytes)) {
      const { inlineBytes } = this.head;
      const offset = inlineBytes === 0 ? this.landingOffset : body + ReadDirReply.SIZE;
      this.bytes = arena.bytes.slice(offset, offset + (inlineBytes || bulkBytes));
    }
    arena.bulk.give(this.landingOffset);
    this.isOver = true;
    const { waiter } = this;
    this.waiter = null;
    waiter?.();
  }
}

export class ListingsAhead {
  readonly #context: ClientContext;
  #pages = 0;

  constructor(context: ClientContext) {
    this.#context = context;
  }

  /** The page that begins here, if it was asked for; the caller owns it from now on. */
  take(handle: Handle, { cookie, maxBytes, attributes }: PageRequest): PageAhead | null {
    const at = handle.ahead.findIndex((page) => page.cookie === cookie);
    if (at < 0) return null;
    const [page] = handle.ahead.splice(at, 1);
    this.#pages--;
    const isFresh = page!.askedMs + FRESH_MS > this.#context.scheduler.nowMs();
    const fits = page!.attributes === attributes && page!.maxBytes <= maxBytes;
    return isFresh && fits ? page! : null;
  }

  /** Asks for the partitions that follow behind this cookie. */
  ask(handle: Handle, cookie: number, maxBytes: number, attributes: ListAttributes): void {
    if (attributes === ListAttributes.Given) return;
    const context = this.#context;
    const { bulk } = context.arena;
    for (const next of context.partitions.beginningsAfter(handle.inode, cookie, DEPTH)) {
      if (handle.ahead.some((page) => page.cookie === next.cookie)) continue;
      if (this.#pages >= PAGES_MAX || bulk.available <= SLOTS_LEFT) return;
      const request = { ...next, maxBytes: Math.min(maxBytes, PAGE_BYTES), attributes };
      const page = new PageAhead(context, request, bulk.take());
      handle.ahead.push(page);
      this.#pages++;
      context.peerOfInode(page.home).call(page);
    }
  }

  /** The listing begins anew, or has ended. */
  drop(handle: Handle): void {
    this.#pages -= handle.ahead.length;
    handle.ahead.length = 0;
  }
}
