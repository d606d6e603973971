/** The requests of a clone: AdoptLayout, and CloneRange at one target until it is through. */
import { chunkBytes } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import {
  AdoptLayoutRequest,
  AttributesReply,
  ChangeSpaceReply,
  CloneRangeRequest,
  Opcode,
} from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { OpenFile } from './open-file.js';
import { CoreOperation } from './operation.js';

/** CloneRangeRequest.flags */
const DROP_SET_ID = 1;

/** The copy that they belong to. */
export interface CloneParent {
  readonly range: { readonly source: OpenFile; readonly target: OpenFile };
  adopted(status: number): void;
  /** `first`: of chunk 0 alone. */
  cloneDone(status: number, first: boolean): void;
}

/** The clone's chunks beyond the first are to lie where the source's do, if it has none yet. */
export class AdoptOperation extends CoreOperation {
  parent!: CloneParent;

  start(): void {
    const { inode } = this.parent.range.target;
    const peer = this.context.peerOfInode(inode);
    this.change.addInode(inode);
    this.send(peer, Opcode.AdoptLayout, AdoptLayoutRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    const { source, target } = this.parent.range;
    writeU53(words, body + AdoptLayoutRequest.inode, target.inode);
    writeU53(words, body + AdoptLayoutRequest.layout, source.layout);
    return AdoptLayoutRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, parent } = this;
    const checked = context.checkReply(status, bodyBytes, AttributesReply.SIZE);
    // Teaches the file its layout.
    if (checked === 0) context.readAttributes(body + AttributesReply.attributes);
    this.endChange(checked, this.peer);
    this.release();
    parent.adopted(checked);
  }
}

export class ClonePiece extends CoreOperation {
  parent!: CloneParent;
  #from = 0;
  #to = 0;
  #at: RpcPeer | null = null;

  /** A range within chunk 0, or behind it. */
  start(peer: RpcPeer, from: number, to: number): void {
    this.#from = from;
    this.#to = to;
    this.#at = peer;
    this.change.addInode(this.parent.range.target.inode);
    this.send(peer, Opcode.CloneRange, CloneRangeRequest.SIZE);
  }

  override encode(body: number): number {
    const { words } = this.context.arena;
    const { source, target } = this.parent.range;
    writeU53(words, body + CloneRangeRequest.inode, target.inode);
    writeU53(words, body + CloneRangeRequest.layout, target.layout);
    writeU53(words, body + CloneRangeRequest.source, source.inode);
    writeU53(words, body + CloneRangeRequest.fromByte, this.#from);
    writeU53(words, body + CloneRangeRequest.toByte, this.#to);
    const flags = this.request?.dropsSetId === true ? DROP_SET_ID : 0;
    words[(body + CloneRangeRequest.flags) >>> 2] = flags;
    words[(body + CloneRangeRequest.reserved) >>> 2] = 0;
    return CloneRangeRequest.SIZE;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, parent } = this;
    const { target } = parent.range;
    const checked = context.checkReply(status, bodyBytes, ChangeSpaceReply.SIZE);
    target.touch(this.#at!);
    if (checked === 0) {
      const { words } = context.arena;
      const next = readU53(words, body + ChangeSpaceReply.nextByte);
      if (this.#to <= chunkBytes) {
        const sizeBytes = readU53(words, body + ChangeSpaceReply.sizeBytes);
        target.learnSize(sizeBytes, context.scheduler.nowMs());
      }
      if (next < this.#to) {
        this.#from = next;
        this.send(this.#at!, Opcode.CloneRange, CloneRangeRequest.SIZE);
        return;
      }
    }
    this.endChange(checked, this.#at);
    this.#at = null;
    this.release();
    parent.cloneDone(checked, this.#to <= chunkBytes);
  }
}
