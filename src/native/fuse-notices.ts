/**
 * Notices to the kernel: what it remembers is no longer true. Each gets a number; a thread of the
 * addon writes them in order, and `written` tells how far it is (native/fuse/notifier.h). Two
 * queues: dropping pages may wait for requests of this very mount, the others wait for nothing.
 * Behind a turn's replies: what was answered earlier in the turn is known to the kernel by then.
 */
import { Notice, NoticeKind, ReplyKind, ReplyRecord } from './fuse-layout.generated.js';
import type { FuseReplies } from './fuse-request.js';
import { writeU53 } from '../protocol/u53.js';

/** Notices of one queue that may be under way: as many as native/fuse/notifier.h has room for. */
export const NOTICES_MAX = 65_536;

/** One queue and its numbers, which begin at 1. */
export class FuseNotices {
  readonly #replies: FuseReplies;
  #issued = 0;
  #written = 0;

  constructor(replies: FuseReplies) {
    this.#replies = replies;
  }

  /** Number of the last notice; 0: none was given. */
  get issued(): number {
    return this.#issued;
  }

  /** All notices up to this number are written. */
  get written(): number {
    return this.#written;
  }

  /** The notice's number, 0 when NOTICES_MAX are under way: try again after the next `written`. */
  issue(kind: number, inode: number, offset: number, lengthBytes: number): number {
    if (this.#issued - this.#written >= NOTICES_MAX) return 0;
    const replies = this.#replies;
    const bytes = ReplyRecord.SIZE + Notice.SIZE;
    replies.ensure(bytes);
    const at = replies.extend(bytes);
    const words = replies.arena.words;
    words.fill(0, at >>> 2, (at + bytes) >>> 2);
    words[(at + ReplyRecord.bytes) >>> 2] = bytes;
    words[(at + ReplyRecord.kind) >>> 2] = ReplyKind.Notice;
    const body = at + ReplyRecord.SIZE;
    writeU53(words, body + Notice.inode, inode);
    writeU53(words, body + Notice.offset, offset);
    writeU53(words, body + Notice.lengthBytes, lengthBytes);
    words[(body + Notice.kind) >>> 2] = kind;
    replies.commit();
    return ++this.#issued;
  }

  /** @internal `count` more are written. Returns the number of the last. */
  advance(count: number): number {
    this.#written += count;
    return this.#written;
  }
}

export { NoticeKind };
