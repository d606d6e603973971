/**
 * Writes checkpoints (checkpoint.ts) of one environment, one at a time:
 *
 *   take(page) ─> barrier, by the owner ─> write(done) or writeNow() ─> take …
 *
 * `take` is called while the snapshot is pinned and fills the slot's bytes; writing makes data.mdb
 * durable first, then the slot. `writeNow` blocks the thread, so it is for persistent memory, where
 * both are a few microseconds: there the file is opened with O_DSYNC, which saves a system call.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fdatasyncSync,
  openSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import {
  CHECKPOINT_BYTES,
  CHECKPOINT_SLOT_BYTES,
  createCheckpointFile,
  encodeCheckpoint,
  slotOffset,
  syncFolder,
  type Checkpoint,
} from './checkpoint.js';

export class CheckpointWriter {
  readonly #dataFd: number;
  readonly #fd: number;
  readonly #atOnce: boolean;
  readonly #slot = Buffer.alloc(CHECKPOINT_SLOT_BYTES);
  /** What `#slot` holds. */
  readonly #checkpoint: Checkpoint;
  /** Of the last one that is on the disk: the next goes to the other slot, however often it fails. */
  #written: number;

  /**
   * Makes what lies in data.mdb now power-safe, with `checkpoint` (whose page is copied) as its first
   * one; blocks. `atOnce`: `writeNow` will be used, not `write`. The data file stays its owner's.
   */
  constructor(path: string, dataFd: number, checkpoint: Checkpoint, atOnce: boolean) {
    this.#dataFd = dataFd;
    this.#atOnce = atOnce;
    this.#checkpoint = { ...checkpoint };
    this.#written = checkpoint.generation;
    fdatasyncSync(dataFd);
    const folder = dirname(path);
    syncFolder(folder);
    syncFolder(dirname(folder));
    createCheckpointFile(path, checkpoint);
    this.#fd = openSync(path, constants.O_RDWR | (atOnce ? constants.O_DSYNC : 0));
  }

  /** The next checkpoint is of the snapshot with this meta page, which is copied. */
  take(metaPage: Buffer, allocatedBytes: number): void {
    const checkpoint = this.#checkpoint;
    checkpoint.generation = this.#written + 1;
    checkpoint.metaPage = metaPage;
    checkpoint.allocatedBytes = allocatedBytes;
    encodeCheckpoint(checkpoint, this.#slot);
  }

  write(done: (error: Error | undefined) => void): void {
    if (this.#atOnce) {
      done(this.writeNow());
      return;
    }
    const slot = this.#slot;
    const at = slotOffset(this.#checkpoint.generation);
    fdatasync(this.#dataFd, (dataError) => {
      if (dataError !== null) {
        done(dataError);
        return;
      }
      write(this.#fd, slot, 0, CHECKPOINT_BYTES, at, (writeError, written) => {
        if (writeError !== null || written !== CHECKPOINT_BYTES) {
          done(writeError ?? partly());
          return;
        }
        fdatasync(this.#fd, (error) => {
          if (error === null) this.#written = this.#checkpoint.generation;
          done(error ?? undefined);
        });
      });
    });
  }

  /** As `write`, before it returns; what went wrong, or undefined. */
  writeNow(): Error | undefined {
    const slot = this.#slot;
    try {
      fdatasyncSync(this.#dataFd);
      const at = slotOffset(this.#checkpoint.generation);
      if (writeSync(this.#fd, slot, 0, CHECKPOINT_BYTES, at) !== CHECKPOINT_BYTES) return partly();
      this.#written = this.#checkpoint.generation;
      return undefined;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function partly(): Error {
  return new Error('the checkpoint was written in part');
}
