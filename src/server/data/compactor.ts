/**
 * Rewrites the data of crowded chunks into few extents, one chunk at a time:
 *
 *   read the whole chunk into slots ──> lay its bytes out in one slot ──> write to fresh blocks
 *     ──> in one transaction: the new extents take the place of all old ones
 *
 * If a commit changed the chunk meanwhile, the new blocks are given back and it is tried again
 * later. Small holes become zeros, and so do small unwritten extents; those of HOLE_BYTES or more
 * stay as they are. A compaction may use
 * the allocator's reserve, and has four bulk slots of its own, so that it never waits for writes
 * that may be waiting for it.
 */
import { errno, errnoName } from '../../common/errno.js';
import { crc32cBlocks } from '../../native/crc32c.js';
import { blockBytes, chunkBytes } from '../../protocol/limits.generated.js';
import { ChunkRead } from './chunk-read.js';
import type { CrowdedChunk } from './crowded-chunks.js';
import type { DataContext } from './data-context.js';
import { CallbackIo } from './device.js';
import { ExtentMap, UNWRITTEN_DEVICE } from './extent-map.js';
import { chunkKey } from './keys.js';
import type { ChunkReader } from './reader.js';
import { BlockRuns } from './splice.js';
import type { ChunkWriter } from './writer.js';

const HOLE_BYTES = 65536;
/** A chunk at its limit touches at most 256 + 2 x 256 blocks: three slots. */
const READ_SLOTS = 3;
/** Compaction in the background begins after a pause: the chunk may be busy. */
const PAUSE_MS = 50;

/** Outcome: a commit changed the chunk meanwhile, nothing was done. */
export const COMPACTION_OVERTAKEN = -1;

/** A run of the chunk's bytes that becomes consecutive blocks, or stays unwritten. */
interface Span {
  offset: number;
  length: number;
  unwritten: boolean;
}

/** What the compactor needs of the chunk store: a transaction that replaces a chunk's extents. */
export interface CompactionSink {
  replaceAll(crowded: CrowdedChunk, patch: ExtentMap, runs: BlockRuns): void;
  /** `outcome`: 0, COMPACTION_OVERTAKEN or an errno. */
  compacted(crowded: CrowdedChunk, outcome: number): void;
}

export class Compactor {
  readonly #context: DataContext;
  readonly #reader: ChunkReader;
  readonly #writer: ChunkWriter;
  readonly #sink: CompactionSink;
  readonly #slots: number[] = [];
  readonly #target: number;
  readonly #queue: CrowdedChunk[] = [];
  readonly #source = new ExtentMap();
  readonly #patch = new ExtentMap();
  readonly #runs = new BlockRuns();
  readonly #spans: Span[] = [];
  #current: CrowdedChunk | undefined;
  #outstanding = 0;
  #status = 0;
  #closed = false;

  /** Takes its slots for good. */
  constructor(
    context: DataContext,
    reader: ChunkReader,
    writer: ChunkWriter,
    sink: CompactionSink,
  ) {
    this.#context = context;
    this.#reader = reader;
    this.#writer = writer;
    this.#sink = sink;
    for (let i = 0; i < READ_SLOTS; i++) this.#slots.push(this.#takeSlot());
    this.#target = this.#takeSlot();
  }

  get idle(): boolean {
    return this.#current === undefined && this.#queue.length === 0;
  }

  /** Queues the chunk: at once when writes are held for it, else after a pause. */
  enqueue(crowded: CrowdedChunk, urgent: boolean): void {
    if (this.#closed) return;
    if (urgent) {
      if (crowded === this.#current || this.#queue[0] === crowded) return;
      const at = this.#queue.indexOf(crowded);
      if (at >= 0) this.#queue.splice(at, 1);
      crowded.compacting = true;
      this.#queue.unshift(crowded);
      this.#next();
      return;
    }
    if (crowded.compacting) return;
    crowded.compacting = true;
    this.#context.scheduler.setTimer(PAUSE_MS, () => {
      if (this.#closed || crowded === this.#current || this.#queue.includes(crowded)) return;
      if (!crowded.compacting) return;
      this.#queue.push(crowded);
      this.#next();
    });
  }

  /** No further compaction begins. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
  }

  get #overtaken(): boolean {
    return this.#current!.changed || this.#closed;
  }

  #takeSlot(): number {
    const slot = this.#context.arena.bulk.take();
    if (slot === 0) throw new RangeError('chunk store: the arena has too few bulk slots');
    return slot;
  }

  #next(): void {
    if (this.#current !== undefined || this.#closed) return;
    const crowded = this.#queue.shift();
    if (crowded === undefined) return;
    this.#current = crowded;
    crowded.changed = false;
    const { store } = this.#context;
    try {
      this.#source.load(store.get(chunkKey(crowded.bucket, crowded.inode, crowded.chunk)));
    } catch (error) {
      this.#context.log(`inode ${crowded.inode} chunk ${crowded.chunk}: ${String(error)}`);
      this.#end(errno.EIO);
      return;
    }
    if (this.#source.count < 2) {
      this.#end(0);
      return;
    }
    this.#planSpans();
    const read = new CompactionRead(this.#slots, (status) => {
      this.#haveData(read, status);
    });
    read.bucket = crowded.bucket;
    read.inode = crowded.inode;
    read.chunk = crowded.chunk;
    read.lengthBytes = chunkBytes;
    this.#reader.read(read);
  }

  #planSpans(): void {
    const source = this.#source;
    this.#spans.length = 0;
    for (let i = 0; i < source.count; i++) {
      const offset = source.offsets[i]!;
      const end = offset + source.lengths[i]!;
      const last = this.#spans[this.#spans.length - 1];
      const unwritten = source.devices[i] === UNWRITTEN_DEVICE && end - offset >= HOLE_BYTES;
      const alone = unwritten || last === undefined || last.unwritten;
      if (alone || offset - (last.offset + last.length) >= HOLE_BYTES) {
        this.#spans.push({ offset, length: end - offset, unwritten });
      } else {
        last.length = end - last.offset;
      }
    }
  }

  /** The chunk's bytes are in the read's segments: lays the spans out block-aligned. */
  #haveData(read: ChunkRead, status: number): void {
    if (status !== 0 || this.#overtaken) {
      read.release();
      this.#end(status === 0 ? COMPACTION_OVERTAKEN : status);
      return;
    }
    const { arena } = this.#context;
    let at = this.#target;
    for (const span of this.#spans) {
      if (span.unwritten) continue;
      copyRange(arena.bytes, read, span.offset, span.length, at);
      const blocks = Math.ceil(span.length / blockBytes);
      arena.bytes.fill(0, at + span.length, at + blocks * blockBytes);
      at += blocks * blockBytes;
    }
    read.release();
    const blocks = (at - this.#target) / blockBytes;
    const words = this.#target - blockBytes;
    crc32cBlocks(arena, this.#target, at - this.#target, words);
    const hint = this.#current!.inode + this.#current!.chunk;
    if (this.#writer.reserve(blocks, hint, true, this.#runs)) this.#writeRuns();
    else this.#outOfSpace();
  }

  /** Freed blocks that only wait to become durable are space too: it is tried again after that. */
  #outOfSpace(): void {
    if (this.#context.allocator.quarantinedBlocks === 0) {
      this.#end(errno.ENOSPC);
      return;
    }
    this.#context.store.flush((error) => {
      this.#end(error === undefined ? COMPACTION_OVERTAKEN : errno.EIO);
      this.#context.scheduler.requestTurn();
    });
  }

  #writeRuns(): void {
    const { disks } = this.#context;
    const runs = this.#runs;
    this.#status = 0;
    this.#outstanding = runs.count + 1;
    let at = this.#target;
    for (let i = 0; i < runs.count; i++) {
      const number = runs.devices[i]!;
      const device = disks.inUse(number);
      const io = new CallbackIo((status) => {
        this.#written(number, status);
      });
      if (device === undefined) this.#written(number, errno.EIO);
      else device.write(io, runs.blocks[i]!, runs.lengths[i]!, at);
      at += runs.lengths[i]! * blockBytes;
    }
    this.#oneLess();
  }

  #written(device: number, status: number): void {
    const { disks } = this.#context;
    if (status === 0) disks.wrote(device);
    else {
      this.#status = status;
      if (status !== errno.ENOSPC) disks.fail(device, status, 'write of a compaction');
    }
    this.#oneLess();
  }

  #oneLess(): void {
    if (--this.#outstanding > 0) return;
    if (this.#status !== 0 || this.#overtaken) {
      this.#writer.unreserve(this.#runs);
      this.#end(this.#status === 0 ? COMPACTION_OVERTAKEN : this.#status);
      return;
    }
    this.#makePatch();
    try {
      this.#sink.replaceAll(this.#current!, this.#patch, this.#runs);
    } catch (error) {
      this.#context.log(`a compaction could not be committed: ${String(error)}`);
      this.#writer.unreserve(this.#runs);
      this.#end(errno.ENOSPC);
      return;
    }
    this.#context.counters.compactions++;
    this.#runs.clear();
    this.#end(0);
  }

  /** Spans and runs are both in order of the target slot: cuts each where the other ends. */
  #makePatch(): void {
    const { words } = this.#context.arena;
    const runs = this.#runs;
    const crcs = words.subarray((this.#target - blockBytes) / 4);
    this.#patch.clear();
    let run = 0;
    let used = 0;
    let index = 0;
    for (const span of this.#spans) {
      if (span.unwritten) {
        this.#patch.appendUnwritten(span.offset, span.length);
        continue;
      }
      for (let done = 0; done < span.length;) {
        const room = (runs.lengths[run]! - used) * blockBytes;
        const length = Math.min(span.length - done, room);
        const block = runs.blocks[run]! + used;
        this.#patch.append(span.offset + done, length, runs.devices[run]!, 0, block, crcs, index);
        const blocks = Math.ceil(length / blockBytes);
        done += length;
        used += blocks;
        index += blocks;
        if (used === runs.lengths[run]) {
          run++;
          used = 0;
        }
      }
    }
  }

  #end(status: number): void {
    const crowded = this.#current!;
    if (status > 0) {
      const what = `compaction of inode ${crowded.inode} chunk ${crowded.chunk}`;
      this.#context.log(`${what} failed: ${errnoName(status)}`);
    }
    this.#current = undefined;
    crowded.compacting = false;
    this.#sink.compacted(crowded, status);
    this.#next();
  }
}

/** Copies bytes [from, from + length) of the read's result to `at`. */
function copyRange(
  bytes: Uint8Array,
  read: ChunkRead,
  from: number,
  length: number,
  at: number,
): void {
  let position = 0;
  for (let i = 0; i < read.segmentCount && position < from + length; i++) {
    const segment = read.segmentLengths[i]!;
    const start = Math.max(from, position);
    const stop = Math.min(from + length, position + segment);
    if (start < stop) {
      const source = read.segmentOffsets[i]! + start - position;
      bytes.copyWithin(at + start - from, source, source + stop - start);
    }
    position += segment;
  }
}

class CompactionRead extends ChunkRead {
  readonly #slots: number[];
  readonly #done: (status: number) => void;

  constructor(slots: number[], done: (status: number) => void) {
    super();
    this.#slots = slots;
    this.#done = done;
  }

  override done(status: number): void {
    this.#done(status);
  }

  override get hasOwnSlots(): boolean {
    return true;
  }

  override takeSlot(): number {
    return this.#slots.pop() ?? 0;
  }

  override giveSlot(_arena: unknown, slot: number): void {
    this.#slots.push(slot);
  }
}
