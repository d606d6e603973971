/**
 * Operations that make an entry and are answered with a LookupReply: mkdir, link. Attributes that are
 * not in it are asked for where the inode lies.
 *
 *   request ─┬─ attributes in the reply ──> entry
 *            └─ none ──> GetAttr ──> entry
 *
 * Somebody else may have removed it before the GetAttr: it was made all the same, and has no links.
 */
import { ESTALE, errno } from '../common/errno.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  Attributes,
  AttributesReply,
  InodeRequest,
  LookupReply,
  Opcode,
} from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import { ownedAttributes } from './attributes.js';
import { encodeInode } from './bodies.js';
import { CoreOperation } from './operation.js';

export abstract class EntryOperation extends CoreOperation {
  /** Not 0: its attributes are being asked for. */
  #inode = 0;
  /** Its type. */
  #mode = 0;
  readonly #gone = ownedAttributes();

  protected begin(peer: RpcPeer, opcode: number, bodyBytes: number): void {
    this.#inode = 0;
    this.send(peer, opcode, bodyBytes);
  }

  protected abstract encodeRequest(body: number): number;

  override encode(body: number): number {
    if (this.#inode === 0) return this.encodeRequest(body);
    return encodeInode(this.context.arena, body, this.#inode);
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context } = this;
    const isAttributes = this.#inode !== 0;
    const size = isAttributes ? AttributesReply.SIZE : LookupReply.SIZE;
    const checked = context.checkReply(status, bodyBytes, size);
    if (checked === ESTALE && isAttributes) {
      writeU53(this.#gone.words, Attributes.inode, this.#inode);
      this.#gone.words[Attributes.mode >>> 2] = this.#mode;
      const attributes = context.lendAttributes(this.#gone);
      this.release()?.replyEntry(attributes);
      return;
    }
    if (checked !== 0) {
      // The directory that was to have it is gone.
      this.finishError(checked === ESTALE ? errno.ENOENT : checked);
      return;
    }
    const { words } = context.arena;
    if (!isAttributes && words[(body + LookupReply.hasAttributes) >>> 2] === 0) {
      this.#inode = readU53(words, body + LookupReply.inode);
      this.#mode = words[(body + LookupReply.mode) >>> 2]!;
      this.send(context.peerOfInode(this.#inode), Opcode.GetAttr, InodeRequest.SIZE);
      return;
    }
    const at = body + (isAttributes ? AttributesReply.attributes : LookupReply.attributes);
    const attributes = context.readAttributes(at);
    this.release()?.replyEntry(attributes);
  }
}
