/**
 * A block device as the data side sees it: 4 KiB blocks to and from arena memory, by pooled I/O
 * records, without closures or promises. The real one is ExtentDevice (extent-device.ts), the
 * simulator's MemoryBlockDevice (memory-device.ts).
 *
 * Memory of an I/O belongs to the device from the call until `ended`, which is never called from
 * inside the call.
 */

/** One outstanding operation at a time; pooled by whoever submits it. */
export abstract class DeviceIo {
  /** `status`: 0 or an errno. Everything was transferred when it is 0. */
  abstract ended(status: number): void;
}

/** One whose owner has a single thing to do when it has ended. */
export class CallbackIo extends DeviceIo {
  readonly #ended: (status: number) => void;

  constructor(ended: (status: number) => void) {
    super();
    this.#ended = ended;
  }

  override ended(status: number): void {
    this.#ended(status);
  }
}

export interface BlockDevice {
  /** Its number in the target, as extents have it; constant. */
  readonly number: number;
  /** For messages: the path. */
  readonly name: string;
  /** How I/O is done, for a person: 'io_uring, O_DIRECT'. */
  readonly mode: string;
  readonly totalBlocks: number;
  /** Reads `count` blocks from `block` on into the arena at `arenaOffset`, a multiple of 4096. */
  read(io: DeviceIo, block: number, count: number, arenaOffset: number): void;
  write(io: DeviceIo, block: number, count: number, arenaOffset: number): void;
  /** Makes every write that has ended power-safe. */
  sync(io: DeviceIo): void;
  /** When nothing is outstanding. */
  close(): void;
}
