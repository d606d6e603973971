/**
 * One Write request: a run of one chunk's bytes, with its checksums. Small data travels in the
 * message, larger data as bulk from where it lies.
 */
import { crc32cBlocks } from '../native/crc32c.js';
import { blockBytes, inlineDataBytes } from '../protocol/limits.generated.js';
import { readU53, writeU53 } from '../protocol/u53.js';
import { Opcode, WriteReply, WriteRequest } from '../protocol/wire.generated.js';
import type { RpcPeer } from '../transport/rpc-client.js';
import type { OpenFile } from './open-file.js';
import { CoreOperation } from './operation.js';

/** WriteRequest.flags */
export const WRITE_APPEND = 1;
export const WRITE_DROP_SET_ID = 2;

/** The write that a piece belongs to. */
export interface WriteParent {
  readonly file: OpenFile;
  pieceDone(status: number): void;
}

export class WritePiece extends CoreOperation {
  parent!: WriteParent;
  #chunk = 0;
  #offset = 0;
  #lengthBytes = 0;
  #data = 0;
  #flags = 0;
  #target: RpcPeer | null = null;

  start(chunk: number, offset: number, lengthBytes: number, data: number, flags: number): void {
    const { context } = this;
    const { file } = this.parent;
    this.#chunk = chunk;
    this.#offset = offset;
    this.#lengthBytes = lengthBytes;
    this.#data = data;
    this.#flags = flags;
    const inline = lengthBytes <= inlineDataBytes;
    this.bulkOffset = inline ? 0 : data;
    this.bulkBytes = inline ? 0 : lengthBytes;
    const peer = context.peerOfChunk(file, chunk);
    this.#target = peer;
    const checksumBytes = 4 * Math.ceil(lengthBytes / blockBytes);
    this.send(peer, Opcode.Write, WriteRequest.SIZE + checksumBytes + (inline ? lengthBytes : 0));
  }

  override encode(body: number): number {
    const { arena } = this.context;
    const { words, bytes } = arena;
    const lengthBytes = this.#lengthBytes;
    const checksumCount = Math.ceil(lengthBytes / blockBytes);
    const inlineBytes = this.bulkBytes === 0 ? lengthBytes : 0;
    writeU53(words, body + WriteRequest.inode, this.parent.file.inode);
    writeU53(words, body + WriteRequest.layout, this.parent.file.layout);
    writeU53(words, body + WriteRequest.chunk, this.#chunk);
    words[(body + WriteRequest.offset) >>> 2] = this.#offset;
    words[(body + WriteRequest.lengthBytes) >>> 2] = lengthBytes;
    words[(body + WriteRequest.flags) >>> 2] = this.#flags;
    words[(body + WriteRequest.inlineBytes) >>> 2] = inlineBytes;
    words[(body + WriteRequest.checksumCount) >>> 2] = checksumCount;
    words[(body + WriteRequest.reserved) >>> 2] = 0;
    const at = body + WriteRequest.SIZE;
    crc32cBlocks(arena, this.#data, lengthBytes, at);
    const dataAt = at + 4 * checksumCount;
    if (inlineBytes !== 0) bytes.copyWithin(dataAt, this.#data, this.#data + inlineBytes);
    return dataAt + inlineBytes - body;
  }

  override done(status: number, body: number, bodyBytes: number): void {
    const { context, parent } = this;
    const checked = context.checkReply(status, bodyBytes, WriteReply.SIZE);
    // Only now: an fsync that went out before it may not have covered this write.
    parent.file.touch(this.#target!);
    this.#target = null;
    if (checked === 0 && this.#chunk === 0) {
      const sizeBytes = readU53(context.arena.words, body + WriteReply.sizeBytes);
      parent.file.learnSize(sizeBytes, context.scheduler.nowMs());
    }
    this.release();
    parent.pieceDone(checked);
  }
}
