/**
 * A batch's body taken apart (docs/batches.md): a BatchRequest, then for each item a BatchItem and the
 * body of one ordinary request, then the contents of BatchWrite unless they came as bulk.
 *
 *   | BatchRequest | BatchItem, body | BatchItem, body | … | contents |
 *
 * `check` looks at every length before anything is used; `next` then walks without looking again.
 */
import { batchItemsMax, inlineDataBytes, maxBulkBytes } from './limits.generated.js';
import {
  BatchItem,
  BatchRequest,
  CreateRequest,
  InodeRequest,
  NameRequest,
  Opcode,
} from './wire.generated.js';
import { readU16 } from './u53.js';

/** BatchItem.flags */
export const BATCH_DROP_SET_ID = 1;
export const BATCH_LEASES_ABSENCE = 2;

const smallestBodies = new Map<number, number>([
  [Opcode.BatchLookup, NameRequest.SIZE],
  [Opcode.BatchGetAttr, InodeRequest.SIZE],
  [Opcode.BatchRead, NameRequest.SIZE],
  [Opcode.BatchWrite, CreateRequest.SIZE],
  [Opcode.BatchUnlink, NameRequest.SIZE],
]);

export function isBatch(opcode: number): boolean {
  return smallestBodies.has(opcode);
}

/** Walks the items of one request; reused. */
export class BatchCursor {
  count = 0;
  /** BatchRequest.dataBytes. */
  dataBytes = 0;
  /** Of the item at hand: its body, and where its content begins among the contents. */
  body = 0;
  bodyBytes = 0;
  flags = 0;
  itemBytes = 0;
  checksum = 0;
  content = 0;
  /** After `check`: where contents in the message begin. */
  contents = 0;
  #words: Uint32Array = new Uint32Array(0);
  #next = 0;
  #nextContent = 0;

  /**
   * Whether all items lie within the body, and all contents within it or within `bulkBytes` of bulk.
   * True: `next` walks them from the first on.
   */
  check(
    words: Uint32Array,
    body: number,
    bodyBytes: number,
    opcode: number,
    bulkBytes: number,
  ): boolean {
    const smallest = smallestBodies.get(opcode) ?? 0;
    if (smallest === 0 || bodyBytes < BatchRequest.SIZE) return false;
    this.#words = words;
    this.count = readU16(words, body + BatchRequest.count);
    this.dataBytes = words[(body + BatchRequest.dataBytes) >>> 2]!;
    if (this.count === 0 || this.count > batchItemsMax) return false;
    const end = body + bodyBytes;
    let at = body + BatchRequest.SIZE;
    let data = 0;
    for (let i = 0; i < this.count; i++) {
      if (at + BatchItem.SIZE > end) return false;
      const itemBytes = readU16(words, at + BatchItem.bodyBytes);
      const dataBytes = words[(at + BatchItem.dataBytes) >>> 2]!;
      if (itemBytes < smallest || itemBytes % 8 !== 0 || dataBytes > inlineDataBytes) return false;
      if (dataBytes > 0 && opcode !== Opcode.BatchWrite) return false;
      data += dataBytes;
      at += BatchItem.SIZE + itemBytes;
      if (at > end) return false;
    }
    this.contents = at;
    this.#rewind(body);
    if (opcode !== Opcode.BatchWrite) return bulkBytes === 0;
    if (data !== this.dataBytes || data > maxBulkBytes) return false;
    return bulkBytes === 0 ? at + data <= end : bulkBytes === data;
  }

  #rewind(body: number): void {
    this.#next = body + BatchRequest.SIZE;
    this.#nextContent = 0;
  }

  /** The next item; `count` times after `check`. */
  next(): void {
    const words = this.#words;
    const at = this.#next;
    this.body = at + BatchItem.SIZE;
    this.bodyBytes = readU16(words, at + BatchItem.bodyBytes);
    this.flags = readU16(words, at + BatchItem.flags);
    this.itemBytes = words[(at + BatchItem.dataBytes) >>> 2]!;
    this.checksum = words[(at + BatchItem.checksum) >>> 2]!;
    this.content = this.#nextContent;
    this.#nextContent += this.itemBytes;
    this.#next = this.body + this.bodyBytes;
  }
}
