/**
 * The typed face of the addon sealfs_extent: disk I/O between an arena and device files. The data
 * path is two rings in shared memory (records: schema/extent.fbs): `push` writes a submission,
 * the thread's poller (or `submit`) starts it, `next` reads completions after a harvest.
 *
 * Memory of a submission belongs to the engine until its completion. Completions come in any
 * order. Short transfers are continued by the engine: fewer bytes than asked mean the end of the
 * file.
 */
import { Completion, Submission } from './extent-layout.generated.js';
import { loadAddon } from './load.js';

export { Opcode as DiskOpcode } from './extent-layout.generated.js';

const RING_HEADER_WORDS = 16;
const SUBMISSION_WORDS = Submission.SIZE / 4;
const COMPLETION_WORDS = Completion.SIZE / 4;

type NativeOpen = [file: number, direct: boolean, blockDevice: boolean, bytes: number];

interface NativeEngine {
  open(path: string, create: boolean, bytes: number): NativeOpen;
  closeFile(file: number): void;
  submit(): void;
  harvest(): number;
  source(): unknown;
  memory(): [ArrayBuffer, ArrayBuffer];
  mode(): string;
  outstanding(): number;
  destroy(): void;
}

interface ExtentAddon {
  Engine: new (arena: unknown, depth: number, threads: number, force: boolean) => NativeEngine;
  fallocate(path: string, offset: number, lengthBytes: number): number;
  isDax(folder: string): boolean;
}

export interface ExtentFile {
  /** Number for submissions. */
  readonly file: number;
  /** False: the file system has no O_DIRECT (tmpfs); the page cache is used. */
  readonly direct: boolean;
  readonly blockDevice: boolean;
  readonly bytes: number;
}

export interface ExtentEngineOptions {
  /** Operations handed to the kernel at a time; more wait in the engine. */
  depth?: number;
  /** Threads of the pool where io_uring is refused. */
  threads?: number;
  /** `threads` never tries io_uring. Default: SEALFS_EXTENT_ENGINE, else `auto`. */
  engine?: 'auto' | 'threads';
}

export class ExtentEngine {
  /** 'io_uring', 'io_uring (buffers not registered: why)' or 'threads (why)'. */
  readonly mode: string;
  readonly #native: NativeEngine;
  readonly #submissions: Uint32Array;
  readonly #completions: Int32Array;
  readonly #capacity: number;

  /**
   * Over a native arena, of which `arenaHandle` is the external. Throws SealfsError UNSUPPORTED
   * when the addon is missing, Error UNSUPPORTED when neither io_uring nor threads can be had.
   */
  constructor(arenaHandle: unknown, options: ExtentEngineOptions = {}) {
    const addon = loadAddon<ExtentAddon>('sealfs_extent');
    const engine = options.engine ?? process.env['SEALFS_EXTENT_ENGINE'] ?? 'auto';
    this.#native = new addon.Engine(
      arenaHandle,
      options.depth ?? 128,
      options.threads ?? 8,
      engine === 'threads',
    );
    const [submissions, completions] = this.#native.memory();
    this.#submissions = new Uint32Array(submissions);
    this.#completions = new Int32Array(completions);
    this.#capacity = (this.#submissions.length - RING_HEADER_WORDS) / SUBMISSION_WORDS;
    this.mode = this.#native.mode();
  }

  /** The handle for `Reactor.addSource`. */
  source(): unknown {
    return this.#native.source();
  }

  /** Opens an existing file or block device and locks it. Throws a system error (`code`). */
  open(path: string): ExtentFile {
    return toFile(this.#native.open(path, false, 0));
  }

  /** Makes a file with `bytes` allocated; nothing is left on failure. Throws a system error. */
  create(path: string, bytes: number): ExtentFile {
    return toFile(this.#native.open(path, true, bytes));
  }

  /** After its last completion. */
  closeFile(file: number): void {
    this.#native.closeFile(file);
  }

  /** Queues one DiskOpcode; the ring empties itself when it is full. */
  push(
    opcode: number,
    file: number,
    arenaOffset: number,
    length: number,
    block: number,
    tag: number,
  ): void {
    const ring = this.#submissions;
    let count = ring[0]!;
    if (count === this.#capacity) {
      this.#native.submit();
      count = 0;
    }
    const at = RING_HEADER_WORDS + count * SUBMISSION_WORDS;
    ring[at + Submission.opcode / 4] = opcode;
    ring[at + Submission.file / 4] = file;
    ring[at + Submission.memory / 4] = arenaOffset;
    ring[at + Submission.length / 4] = length;
    ring[at + Submission.block / 4] = block;
    ring[at + Submission.tag / 4] = tag;
    ring[0] = count + 1;
  }

  /** Starts what was pushed; the poller does it after every turn. */
  submit(): void {
    if (this.#submissions[0]! > 0) this.#native.submit();
  }

  /** Without a poller: collects completions, never blocks; returns their number. */
  harvest(): number {
    return this.#native.harvest();
  }

  completionTag(index: number): number {
    const at = RING_HEADER_WORDS + index * COMPLETION_WORDS;
    return this.#completions[at + Completion.tag / 4]! >>> 0;
  }

  /** Bytes, 0, or an errno negated. */
  completionResult(index: number): number {
    const at = RING_HEADER_WORDS + index * COMPLETION_WORDS;
    return this.#completions[at + Completion.result / 4]!;
  }

  get outstanding(): number {
    return this.#native.outstanding();
  }

  /** Lets go of the engine; it ends when the poller has let go too. */
  destroy(): void {
    this.#native.destroy();
  }
}

function toFile([file, direct, blockDevice, bytes]: NativeOpen): ExtentFile {
  return { file, direct, blockDevice, bytes };
}

/** fallocate(2) of [offset, offset + lengthBytes) of an existing file: 0 or an errno. */
export function fallocate(path: string, offset: number, lengthBytes: number): number {
  return loadAddon<ExtentAddon>('sealfs_extent').fallocate(path, offset, lengthBytes);
}

/**
 * Whether files made in `folder` lie on persistent memory without a page cache between (DAX; statx(2),
 * STATX_ATTR_DAX). Throws a system error when nothing can be made there.
 */
export function isDax(folder: string): boolean {
  return loadAddon<ExtentAddon>('sealfs_extent').isDax(folder);
}
