/**
 * Brings a write's data where a commit can name it: small data that ends within the first
 * inlineDataBytes of the chunk stays in the record until the commit puts it into the chunk's value;
 * everything else goes to fresh blocks, at once and whatever it will replace.
 *
 * A write waits here, in order of arrival, for a bulk slot (small data only: other data came in
 * one) or for space that freed blocks will give once they are durable, or that is about to be
 * reclaimed; it fails with ENOSPC only when no block is waiting for either. An I/O error takes the device out of use and the data
 * goes to another one. Promised space is given only to writes of unwritten bytes: whether a write is
 * one is looked up when there is not enough for all.
 */
import { errno } from '../../common/errno.js';
import { crc32cBlocks, crc32cVerifyBlocks } from '../../native/crc32c.js';
import { blockBytes, chunkBytes, inlineDataBytes } from '../../protocol/limits.generated.js';
import { WRITE_IDLE, WRITE_WRITING, WRITE_WRITTEN } from './chunk-write.js';
import type { ChunkWrite } from './chunk-write.js';
import type { DataContext } from './data-context.js';
import { DeviceIo } from './device.js';
import { ExtentMap } from './extent-map.js';
import { chunkKey } from './keys.js';
import type { BlockRuns } from './splice.js';

/** Pieces that one write may be cut into by fragmented free space. */
export const WRITE_RUNS_MAX = 256;

/** One transfer of a write: a run of blocks from its slot. */
class WriteIo extends DeviceIo {
  write: ChunkWrite | undefined;
  device = 0;
  readonly #writer: ChunkWriter;

  constructor(writer: ChunkWriter) {
    super();
    this.#writer = writer;
  }

  override ended(status: number): void {
    this.#writer.transferred(this, status);
  }
}

export class ChunkWriter {
  readonly #context: DataContext;
  readonly #spare: WriteIo[] = [];
  #waitingForSlot: ChunkWrite[] = [];
  #waitingForSpace: ChunkWrite[] = [];
  #flushing = false;
  readonly #map = new ExtentMap();

  constructor(context: DataContext) {
    this.#context = context;
  }

  get waitingCount(): number {
    return this.#waitingForSlot.length + this.#waitingForSpace.length;
  }

  /** Takes the data over and checks it. False: it was refused, `written` has been called. */
  accept(write: ChunkWrite): boolean {
    const { counters } = this.#context;
    write.state = WRITE_WRITING;
    write.isSmall = false;
    write.slot = write.ownsSlot ? write.dataOffset : 0;
    write.runs.clear();
    write.attempts = 0;
    write.status = this.#check(write);
    if (write.status !== 0) {
      this.#end(write);
      return false;
    }
    counters.writes++;
    counters.writtenBytes += write.lengthBytes;
    const inline = write.offset + write.lengthBytes <= inlineDataBytes;
    if (inline || !write.ownsSlot) {
      const from = write.dataOffset;
      write.small.set(this.#context.arena.bytes.subarray(from, from + write.lengthBytes));
      write.isSmall = true;
      this.#giveSlot(write);
    }
    return true;
  }

  /** After `accept`: stores the data; `written` follows. */
  start(write: ChunkWrite): void {
    if (write.offset + write.lengthBytes <= inlineDataBytes) {
      this.#end(write);
      return;
    }
    if (write.slot === 0 && (this.#waitingForSlot.length > 0 || !this.#takeSlot(write))) {
      this.#context.counters.slotWaits++;
      this.#waitingForSlot.push(write);
      return;
    }
    this.#place(write);
  }

  /** Bulk slots may have become free. */
  retrySlots(): void {
    let begun = 0;
    const waiting = this.#waitingForSlot;
    while (begun < waiting.length && this.#takeSlot(waiting[begun]!)) begun++;
    if (begun === 0) return;
    this.#waitingForSlot = waiting.slice(begun);
    for (let i = 0; i < begun; i++) this.#place(waiting[i]!);
  }

  /** Blocks may have become free, or have become durable so that no more will. */
  retrySpace(): void {
    const waiting = this.#waitingForSpace;
    if (waiting.length === 0) return;
    this.#waitingForSpace = [];
    for (const write of waiting) this.#place(write);
  }

  /** Gives back the space of a written write that will not be committed. */
  abandon(write: ChunkWrite): void {
    this.#unreserve(write);
    write.state = WRITE_IDLE;
  }

  /** A write that waited elsewhere cannot go on. */
  fail(write: ChunkWrite, status: number): void {
    write.status = status;
    this.#end(write);
  }

  /**
   * Reserves `count` blocks on the devices in use, in as few runs as can be had, first of all on
   * the device that `hint` falls to. False, and nothing is reserved: there is not enough space,
   * what is promised to others than `entitled` of these blocks not counted (except with
   * `fromReserve`: compaction gives back what it takes).
   */
  reserve(
    count: number,
    hint: number,
    fromReserve: boolean,
    runs: BlockRuns,
    entitled = 0,
  ): boolean {
    const { disks, allocator } = this.#context;
    const devices = disks.healthy;
    const kept = allocator.promisedBlocks - entitled;
    if (!fromReserve && kept > 0 && this.allocatableBlocks - kept < count) return false;
    let left = count;
    for (let turn = 0; turn < devices.length && left > 0; turn++) {
      const device = devices[(hint + turn) % devices.length]!.number;
      while (left > 0 && runs.count < WRITE_RUNS_MAX) {
        const length = allocator.allocate(device, left, 0, fromReserve);
        if (length === 0) break;
        runs.push(device, allocator.allocatedBlock, length);
        left -= length;
      }
    }
    if (left === 0) return true;
    this.unreserve(runs);
    return false;
  }

  /** Blocks that could be given out now if none were promised. */
  get allocatableBlocks(): number {
    const { disks, allocator } = this.#context;
    let blocks = 0;
    for (const device of disks.healthy) blocks += allocator.allocatableBlocks(device.number);
    return blocks;
  }

  unreserve(runs: BlockRuns): void {
    for (let i = 0; i < runs.count; i++) {
      this.#context.allocator.unreserve(runs.devices[i]!, runs.blocks[i]!, runs.lengths[i]!);
    }
    runs.clear();
  }

  transferred(io: WriteIo, status: number): void {
    const write = io.write!;
    if (status === 0) this.#context.disks.wrote(io.device);
    else this.#failed(write, io.device, status);
    io.write = undefined;
    this.#spare.push(io);
    if (--write.outstanding === 0) this.#transferredAll(write);
  }

  /** 0, or why the write is refused; the checksums are then in the record. */
  #check(write: ChunkWrite): number {
    const { arena, counters } = this.#context;
    const { lengthBytes, dataOffset, checksumsOffset } = write;
    const most = write.ownsSlot ? chunkBytes : inlineDataBytes;
    if (lengthBytes === 0 || lengthBytes > most || write.offset + lengthBytes > chunkBytes) {
      return errno.EINVAL;
    }
    if (write.ownsSlot && dataOffset % blockBytes !== 0) return errno.EINVAL;
    if (checksumsOffset === 0) return 0;
    if (crc32cVerifyBlocks(arena, dataOffset, lengthBytes, checksumsOffset) >= 0) {
      counters.arrivalChecksumErrors++;
      this.#context.damaged.say(`a write to inode ${write.inode} does not match its checksums`);
      return errno.EIO;
    }
    const blocks = Math.ceil(lengthBytes / blockBytes);
    for (let i = 0; i < blocks; i++) write.crcs[i] = arena.words[checksumsOffset / 4 + i]!;
    return 0;
  }

  #takeSlot(write: ChunkWrite): boolean {
    const { arena } = this.#context;
    const slot = arena.bulk.take();
    if (slot === 0) return false;
    arena.bytes.set(write.small.subarray(0, write.lengthBytes), slot);
    write.slot = slot;
    return true;
  }

  #giveSlot(write: ChunkWrite): void {
    if (write.slot === 0) return;
    this.#context.arena.bulk.give(write.slot);
    write.slot = 0;
  }

  /** The data is in a slot: finds space and starts the transfers. */
  #place(write: ChunkWrite): void {
    const { allocator } = this.#context;
    const blocks = Math.ceil(write.lengthBytes / blockBytes);
    if (this.#context.disks.healthy.length === 0) {
      this.fail(write, errno.EIO);
    } else if (this.#reserveFor(write, blocks)) {
      this.#transfer(write, blocks);
    } else if (allocator.quarantinedBlocks > 0 || this.#context.spaceIsComing()) {
      this.#context.counters.spaceWaits++;
      this.#waitingForSpace.push(write);
      this.#flush();
    } else {
      this.fail(write, errno.ENOSPC);
    }
  }

  #reserveFor(write: ChunkWrite, blocks: number): boolean {
    const hint = write.inode + write.chunk;
    if (this.reserve(blocks, hint, false, write.runs)) return true;
    if (this.#context.allocator.promisedBlocks === 0) return false;
    const entitled = Math.min(blocks, this.#promisedTo(write));
    return entitled > 0 && this.reserve(blocks, hint, false, write.runs, entitled);
  }

  /** Blocks that are promised to the bytes of this write. */
  #promisedTo(write: ChunkWrite): number {
    const { store, log } = this.#context;
    try {
      this.#map.load(store.get(chunkKey(write.bucket, write.inode, write.chunk)));
    } catch (error) {
      log(`inode ${write.inode} chunk ${write.chunk}: ${String(error)}`);
      return 0;
    }
    const end = write.offset + write.lengthBytes;
    return Math.ceil(this.#map.unwrittenBytes(write.offset, end) / blockBytes);
  }

  #transfer(write: ChunkWrite, blocks: number): void {
    const { arena, disks } = this.#context;
    const { slot, lengthBytes, runs } = write;
    arena.bytes.fill(0, slot + lengthBytes, slot + blocks * blockBytes);
    if (write.checksumsOffset === 0) {
      // The headroom in front of the data is free while the write owns the slot.
      const words = slot - blockBytes;
      crc32cBlocks(arena, slot, lengthBytes, words);
      for (let i = 0; i < blocks; i++) write.crcs[i] = arena.words[words / 4 + i]!;
    }
    write.outstanding = runs.count + 1;
    let at = slot;
    for (let i = 0; i < runs.count; i++) {
      const count = runs.lengths[i]!;
      const device = disks.inUse(runs.devices[i]!);
      if (device === undefined) {
        write.status = errno.EIO;
        write.outstanding--;
      } else {
        const io = this.#spare.pop() ?? new WriteIo(this);
        io.write = write;
        io.device = runs.devices[i]!;
        device.write(io, runs.blocks[i]!, count, at);
      }
      at += count * blockBytes;
    }
    if (--write.outstanding === 0) this.#transferredAll(write);
  }

  #failed(write: ChunkWrite, device: number, status: number): void {
    if (status === errno.ENOSPC) {
      // A file system below that does not honour preallocation: the device is whole.
      write.status = errno.ENOSPC;
      return;
    }
    this.#context.disks.fail(device, status, 'write');
    if (write.status === 0) write.status = errno.EIO;
  }

  #transferredAll(write: ChunkWrite): void {
    if (write.status !== 0) {
      this.#unreserve(write);
      if (write.status === errno.EIO && ++write.attempts <= 4) {
        write.status = 0;
        this.#place(write);
        return;
      }
    }
    this.#end(write);
  }

  #end(write: ChunkWrite): void {
    this.#giveSlot(write);
    write.state = write.status === 0 ? WRITE_WRITTEN : WRITE_IDLE;
    write.written(write.status);
  }

  #unreserve(write: ChunkWrite): void {
    this.unreserve(write.runs);
  }

  /** Makes freed blocks durable, so that they can be used again. */
  #flush(): void {
    const { store } = this.#context;
    // With everything durable, only reads under way hold blocks back: their end frees them.
    if (this.#flushing || store.durableSequence === store.commitSequence) return;
    this.#flushing = true;
    store.flush((error) => {
      this.#flushing = false;
      if (error === undefined) {
        this.#context.scheduler.requestTurn();
        return;
      }
      const waiting = this.#waitingForSpace;
      this.#waitingForSpace = [];
      for (const write of waiting) this.fail(write, errno.EIO);
    });
  }
}
