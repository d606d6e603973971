/**
 * Chunks of one target, each held against its file: whether there is one, whether it lies where the
 * file's layout places it, whether it is behind the file's end. Its blocks go to the target's books;
 * with a block reader its extents are read and compared with their checksums.
 */
import { crc32cOf } from '../native/crc32c.js';
import { chunkBucket } from '../placement/inode-number.js';
import { blockBytes, chunkBytes } from '../protocol/limits.generated.js';
import { ExtentMap } from '../server/data/extent-map.js';
import { SealfsError } from '../common/errors.js';
import { FLAG_STRIPED } from '../server/inode-record.js';
import type { CheckState } from './check-state.js';
import { recordEdit } from './edits.js';
import { copyOf, removal } from './findings.js';
import { MARK_DAMAGED } from './inode-book.js';
import { UNWRITTEN_DEVICE } from '../server/data/extent-map.js';
import type { BlockReader } from './store-reader.js';

/** Blocks that one extent can touch: a chunk's, and one more that begins in its middle. */
const BLOCKS_MAX = chunkBytes / blockBytes + 1;

export class ChunkWalk {
  readonly #state: CheckState;
  readonly #target: number;
  readonly #map = new ExtentMap();
  readonly #blocks: BlockReader | undefined;
  readonly #buffer = new Uint8Array(BLOCKS_MAX * blockBytes);
  /** Devices that could not be read: said once. */
  readonly #unreadable = new Set<number>();

  constructor(state: CheckState, target: number) {
    this.#state = state;
    this.#target = target;
    this.#blocks = state.cluster.targets[target]!.blocks;
  }

  visit(key: Uint8Array, bucket: number, inode: number, chunk: number, value: Uint8Array): void {
    const { counts, spaces } = this.#state;
    counts.chunks++;
    const space = spaces[this.#target]!;
    try {
      this.#map.load(value);
    } catch (error) {
      if (!(error instanceof SealfsError)) throw error;
      space.hasDamagedChunks = true;
      const text = `chunk ${chunk}: ${error.message}`;
      this.#state.reportMalformed(this.#target, key, value, text, { inode });
      return;
    }
    counts.extents += this.#map.count;
    space.takeChunk(this.#state, { bucket, inode, chunk }, this.#map, value);
    this.#checkFile(key, bucket, inode, chunk, value);
    if (this.#blocks !== undefined) this.#verify(this.#blocks, inode, chunk);
  }

  #checkFile(
    key: Uint8Array,
    bucket: number,
    inode: number,
    chunk: number,
    value: Uint8Array,
  ): void {
    const { book, cuts } = this.#state;
    const row = book.find(inode);
    const cutFrom = cuts.get(inode) ?? Infinity;
    if (row >= 0 && book.has(row, MARK_DAMAGED)) return;
    if (row < 0 || !book.isFile(row)) {
      if (cutFrom < (chunk + 1) * chunkBytes) return;
      const about = row < 0 ? this.#state.absent(inode) : this.#state.unchanged(row);
      this.#state.report({
        kind: 'stray-chunk',
        target: this.#target,
        inode,
        text: `chunk ${chunk} of inode ${inode}, which is ${row < 0 ? 'not there' : 'no file'}`,
        // Of another kind of inode: its type may be what is wrong.
        repair: row < 0 ? 'remove it and free its blocks' : '',
        edits: row < 0 ? [removal(this.#target, key)] : [],
        evidence: [about, { target: this.#target, key: copyOf(key), expect: 'there' }],
      });
      return;
    }
    if (chunkBucket(inode, book.parents[row]!, chunk) !== bucket) {
      this.#state.report({
        kind: 'misplaced-chunk',
        target: this.#target,
        inode,
        text: `chunk ${chunk} lies in bucket ${bucket}, where the file's layout does not look for it`,
        evidence: [
          this.#state.unchanged(row),
          { target: this.#target, key: copyOf(key), expect: 'there' },
        ],
      });
    } else if (cutFrom >= (chunk + 1) * chunkBytes) this.#checkEnd(key, row, chunk, value);
  }

  #checkEnd(key: Uint8Array, row: number, chunk: number, value: Uint8Array): void {
    const { book } = this.#state;
    const inode = book.inodes[row]!;
    const size = book.sizes[row]!;
    const end = chunk * chunkBytes + this.#writtenEnd();
    const evidence = [
      this.#state.unchanged(row),
      { target: this.#target, key: copyOf(key), expect: copyOf(value) },
    ];
    const striped = (book.flags[row]! & FLAG_STRIPED) !== 0;
    if (chunk > 0 && !striped) {
      const holderOf = (bucket: number): number => this.#state.cluster.holderOf(bucket);
      this.#state.report({
        kind: 'beyond-size',
        target: this.#target,
        inode,
        text: `chunk ${chunk} of a file that is not marked as having more than one`,
        repair: 'mark the file, so that deletion and truncation find it',
        edits: [recordEdit(holderOf, inode, { flagMask: FLAG_STRIPED, flags: FLAG_STRIPED })],
        evidence,
      });
    } else if (end > size && chunk > 0) this.#state.counts.unfinishedWrites++;
    else if (end > size) {
      const text = `data up to byte ${end}, but the file ends at ${size}`;
      this.#state.report({ kind: 'beyond-size', target: this.#target, inode, text, evidence });
    }
  }

  /** Byte after the last one that was written: promised space may lie behind the end. */
  #writtenEnd(): number {
    const map = this.#map;
    for (let i = map.count - 1; i >= 0; i--) {
      if (map.devices[i] !== UNWRITTEN_DEVICE) return map.offsets[i]! + map.lengths[i]!;
    }
    return 0;
  }

  // ---------------------------------------------------------------- checksums

  #verify(reader: BlockReader, inode: number, chunk: number): void {
    const map = this.#map;
    const space = this.#state.spaces[this.#target]!;
    for (let i = 0; i < map.count; i++) {
      if (!map.hasBlocks(i) || this.#unreadable.has(map.devices[i]!)) continue;
      const end = map.blocks[i]! + map.blockCount(i);
      if (!space.isOnDevice(map.devices[i]!, end)) continue;
      const bytes = this.#buffer.subarray(0, map.blockCount(i) * blockBytes);
      try {
        reader.read(map.devices[i]!, map.blocks[i]!, bytes);
      } catch (error) {
        this.#reportUnreadable(map.devices[i]!, error);
        continue;
      }
      this.#state.counts.verifiedBytes += bytes.length;
      this.#compare(i, bytes, inode, chunk);
    }
  }

  #compare(i: number, bytes: Uint8Array, inode: number, chunk: number): void {
    const map = this.#map;
    const bad: number[] = [];
    for (let block = 0; block * blockBytes < bytes.length; block++) {
      const crc = crc32cOf(bytes.subarray(block * blockBytes, (block + 1) * blockBytes));
      if (crc !== map.crcs[map.crcStarts[i]! + block]!) bad.push(map.blocks[i]! + block);
    }
    if (bad.length === 0) return;
    const more = bad.length === 1 ? '' : ` and ${bad.length - 1} more of its extent`;
    const from = chunk * chunkBytes + map.offsets[i]!;
    this.#state.report({
      kind: 'checksum',
      target: this.#target,
      inode,
      text:
        `block ${bad[0]} of device ${map.devices[i]}${more}, bytes ${from} to ` +
        `${from + map.lengths[i]! - 1} of the file: the checksum differs`,
    });
  }

  #reportUnreadable(device: number, error: unknown): void {
    this.#unreadable.add(device);
    const why = error instanceof Error ? error.message : String(error);
    const text = `device ${device} cannot be read, its checksums were not compared: ${why}`;
    this.#state.report({ kind: 'unreadable', target: this.#target, text });
  }
}
