/** An open file of the promise API. Data is copied to and from the arena's bulk slots. */
import { errno } from '../common/errno.js';
import { LOCK_LAST, LOCK_NONE, LOCK_READ, LOCK_WRITE } from '../common/lock-ranges.js';
import type { ArenaMemory } from '../native/arena-memory.js';
import { chunkBytes } from '../protocol/limits.generated.js';
import { FileError } from './answer.js';
import type { FileStats } from './answer.js';
import { AttributeChange, SET_SIZE } from './attributes.js';
import type { FileLockRequest } from './file-locks/file-locks.js';
import { FAMILY_FCNTL } from './file-locks/lock-owners.js';
import type { ClientRequest } from './request.js';
import type { SlotWaiters } from './slot-waiters.js';
import type { VolumeFiles } from './volume-files.js';

/** Bytes `start` to `start + lengthBytes`, the whole file by default; positions below 2^53. */
export interface FileLockOptions {
  start?: number;
  lengthBytes?: number;
  /** Others may read-lock it, too. */
  shared?: boolean;
  /** Default true; false: rejects with EAGAIN when another's lock is in the way. */
  wait?: boolean;
  /** Gives up waiting: rejects with EINTR, unless it is granted just then. */
  signal?: AbortSignal;
}

/** Handles are owners of locks; no process of a kernel has this high word. */
const HANDLE_OWNER = 0xffffffff;

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
    const stats = await this.stat();
    if (stats.isDirectory()) throw new FileError(errno.EISDIR, 'read', this.#path);
    const { size } = stats;
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

  /**
   * Locks as open-file-description locks do (fcntl(2)): between this handle and all others, here and on
   * mounts. Goes with `unlock`, `close` and this process. Rejects with EDEADLK for a ring of waiters.
   */
  async lock(options: FileLockOptions = {}): Promise<void> {
    const { shared = false, wait = true, signal } = options;
    const asked = this.#lockRequest(shared ? LOCK_READ : LOCK_WRITE, options, wait);
    let waiting: ClientRequest | undefined;
    const abort = (): void => {
      if (waiting !== undefined) this.#files.core.signal(waiting);
    };
    signal?.addEventListener('abort', abort);
    try {
      await this.#files.call('fcntl', this.#path, (request) => {
        waiting = request;
        this.#files.core.lock(request, this.#handle, asked);
        if (signal?.aborted === true) abort();
      });
    } finally {
      waiting = undefined;
      signal?.removeEventListener('abort', abort);
    }
  }

  async unlock(options: Pick<FileLockOptions, 'start' | 'lengthBytes'> = {}): Promise<void> {
    const asked = this.#lockRequest(LOCK_NONE, options, false);
    await this.#files.call('fcntl', this.#path, (request) => {
      this.#files.core.lock(request, this.#handle, asked);
    });
  }

  #lockRequest(
    kind: number,
    { start = 0, lengthBytes = Infinity }: FileLockOptions,
    wait: boolean,
  ): FileLockRequest {
    const last = Math.min(LOCK_LAST, start + lengthBytes - 1);
    const family = FAMILY_FCNTL;
    return {
      family,
      ownerLow: this.#handle,
      ownerHigh: HANDLE_OWNER,
      kind,
      start,
      last,
      pid: process.pid,
      wait,
    };
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
