/** An open file of the promise API. Data is copied to and from the arena's bulk slots. */
import type { ArenaMemory } from '../native/arena-memory.js';
import { chunkBytes } from '../protocol/limits.generated.js';
import type { FileStats } from './answer.js';
import { AttributeChange, SET_SIZE } from './attributes.js';
import type { ClientRequest } from './request.js';
import type { SlotWaiters } from './slot-waiters.js';
import type { VolumeFiles } from './volume-files.js';

/** Bytes that one copy is asked for. */
const COPY_BYTES = 2 ** 30;

export class FileHandle {
  readonly inode: number;
  /** Writes go to the end, wherever that is. */
  append = false;
  /** Writes are power-safe when they are done. */
  synchronous = false;
  readonly #files: VolumeFiles;
  readonly #slots: SlotWaiters;
  readonly #arena: ArenaMemory;
  readonly #handle: number;
  readonly #path: string;
  #closed = false;

  constructor(
    files: VolumeFiles,
    slots: SlotWaiters,
    arena: ArenaMemory,
    inode: number,
    handle: number,
    path: string,
  ) {
    this.#files = files;
    this.#slots = slots;
    this.#arena = arena;
    this.inode = inode;
    this.#handle = handle;
    this.#path = path;
  }

  /** Fills `target` from byte `position` of the file; returns how much there was. */
  async read(target: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const wanted = Math.min(chunkBytes, target.length - done);
      const bytes = await this.#slots.use(async (landing) => {
        const answer = await this.#files.call('read', this.#path, (request) => {
          this.#files.core.read(request, this.#handle, position + done, wanted, landing);
        });
        const from = this.#arena.bytes.subarray(landing, landing + answer.lengthBytes);
        target.set(from, done);
        return answer.lengthBytes;
      });
      done += bytes;
      if (bytes < wanted) break;
    }
    return done;
  }

  async readAll(): Promise<Uint8Array> {
    const { size } = await this.stat();
    // One byte more than there should be, so that a file that grew is seen.
    let content = new Uint8Array(size + 1);
    let done = 0;
    for (;;) {
      done += await this.read(content.subarray(done), done);
      if (done < content.length) return content.subarray(0, done);
      const larger = new Uint8Array(content.length * 2);
      larger.set(content);
      content = larger;
    }
  }

  /** Writes all of `source` at byte `position` (append mode: at the end), 1 MiB at a time. */
  async write(source: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < source.length; done += chunkBytes) {
      const part = source.subarray(done, done + chunkBytes);
      await this.#slots.use((data) => {
        this.#arena.bytes.set(part, data);
        const { append, synchronous } = this;
        const write = (request: ClientRequest): void => {
          const at = position + done;
          this.#files.core.write(request, this.#handle, at, part.length, data, append);
        };
        return this.#files.call('write', this.#path, write, synchronous);
      });
    }
  }

  async stat(): Promise<FileStats> {
    const answer = await this.#files.call('fstat', this.#path, (request) => {
      this.#files.core.getAttributes(request, this.inode);
    });
    return answer.stats!;
  }

  async truncate(sizeBytes: number): Promise<void> {
    const change = new AttributeChange();
    change.valid = SET_SIZE;
    change.sizeBytes = sizeBytes;
    await this.#files.call('ftruncate', this.#path, (request) => {
      this.#files.core.setAttributes(request, this.inode, change);
    });
  }

  /** fallocate(2): `mode` is a sum of FALLOC_…; 0 promises space and makes the file longer. */
  async allocate(mode: number, offset: number, lengthBytes: number): Promise<void> {
    await this.#files.call('fallocate', this.#path, (request) => {
      this.#files.core.allocate(request, this.#handle, mode, offset, lengthBytes);
    });
  }

  /** First byte from `position` on that was written, or was not (`hole`); rejects with ENXIO. */
  async seek(position: number, hole: boolean): Promise<number> {
    const answer = await this.#files.call('lseek', this.#path, (request) => {
      this.#files.core.seek(request, this.#handle, position, hole);
    });
    return answer.offset;
  }

  /** copy_file_range(2), repeated until all is copied; returns how much there was. */
  async copyTo(
    target: FileHandle,
    position = 0,
    targetPosition = position,
    lengthBytes = Infinity,
  ): Promise<number> {
    let done = 0;
    for (;;) {
      const left = Math.min(lengthBytes - done, COPY_BYTES);
      const bytes = await this.#slots.use(async (landing) => {
        const from = position + done;
        const to = targetPosition + done;
        const answer = await this.#files.call('copy_file_range', this.#path, (request) => {
          this.#files.core.copyRange(
            request,
            this.#handle,
            from,
            target.#handle,
            to,
            left,
            landing,
          );
        });
        return answer.lengthBytes;
      });
      done += bytes;
      if (bytes === 0 || done === lengthBytes) return done;
    }
  }

  async sync(): Promise<void> {
    await this.#files.call('fsync', this.#path, (request) => {
      this.#files.core.fsync(request, this.#handle);
    });
  }

  /** Nothing is waited for. A second call does nothing. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#files.core.closeHandle(this.#handle);
  }
}
