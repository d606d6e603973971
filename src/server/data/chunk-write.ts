/**
 * A write of bytes within one chunk, from its arrival to its commit. A pooled record: its owner
 * (the target's request) extends it, fills the inputs, and uses it again once it is idle.
 *
 *            beginWrite                    commitWrite in a transaction, commit
 *   IDLE ───────────────> WRITING ──written(0)──> WRITTEN ──────────────────────> IDLE
 *     ^                      │ written(errno)        │ abandonWrite, or a rollback keeps it WRITTEN
 *     └──────────────────────┴───────────────────────┘
 *
 * Data comes either in a bulk slot that the write takes over (`ownsSlot`; given back as soon as the
 * data is on the device) or, up to inlineDataBytes, anywhere in the arena: that is copied inside
 * beginWrite.
 */
import { blockBytes, chunkBytes, inlineDataBytes } from '../../protocol/limits.generated.js';
import { BlockRuns } from './splice.js';

export const WRITE_IDLE = 0;
export const WRITE_WRITING = 1;
export const WRITE_WRITTEN = 2;
/** Part of a transaction that is still open. */
export const WRITE_COMMITTING = 3;

export abstract class ChunkWrite {
  // ---- inputs, valid when beginWrite is called
  bucket = 0;
  inode = 0;
  chunk = 0;
  /** In the chunk. `offset + lengthBytes` <= chunkBytes. */
  offset = 0;
  lengthBytes = 0;
  /** Arena offset of the data. */
  dataOffset = 0;
  /** The data begins at the payload of a bulk slot, which becomes the chunk store's. */
  ownsSlot = false;
  /**
   * Arena offset of one CRC-32C for each started 4 KiB of the data (the last block zero-padded);
   * they are checked and copied inside beginWrite. 0: none came, they are computed.
   */
  checksumsOffset = 0;

  // ---- the chunk store's
  state = WRITE_IDLE;
  /** The data lies in `small`: inline, or on its way to a slot. */
  isSmall = false;
  /** The bulk slot that holds the data; 0: none. */
  slot = 0;
  /** Space on devices, in order of the data. */
  readonly runs = new BlockRuns();
  readonly crcs = new Uint32Array(chunkBytes / blockBytes);
  outstanding = 0;
  status = 0;
  attempts = 0;
  #small: Uint8Array | undefined;

  /** Memory for data that came in a message; made when it is first needed. */
  get small(): Uint8Array {
    return (this.#small ??= new Uint8Array(inlineDataBytes));
  }

  /**
   * The data is stored where a commit can name it (0), or an errno: EIO, ENOSPC, EINVAL. May be
   * called from inside beginWrite.
   */
  abstract written(status: number): void;
}
