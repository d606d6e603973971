/**
 * Operations on many names of one directory: few requests instead of many (docs/batches.md). Names are told apart
 * by target, packed into batches, and those batches sent side by side; what a target answers EAGAIN for is asked
 * for alone, by the ordinary operations. Results come in the order of the names, each a value or a
 * FileError.
 */
import { ESTALE, errno } from '../common/errno.js';
import { inlineDataBytes, nameBytesMax } from '../protocol/limits.generated.js';
import { Opcode } from '../protocol/wire.generated.js';
import { FileError, FileStats } from './answer.js';
import { Batch } from './batch.js';
import type { BatchEntry, BatchOutcome, BatchOwner } from './batch.js';
import type { FileSystemCore } from './core.js';
import { Limiter } from './limiter.js';
import type { SlotWaiters } from './slot-waiters.js';

/** Batches of one call that are under way at one target. */
const BATCHES_MAX = 8;
/** Ordinary operations at a time, for what no batch can do. */
const ALONE_MAX = 32;

/** So many that are left over may be worth another batch. */
const REPEATED_MIN = 4;

const SLASH = 0x2f;
const DOT = 0x2e;

const noBytes = new Uint8Array(0);

/** One of many: what is asked, and what came of it. */
export interface OneOfMany extends BatchEntry {
  /** Whose name it is; `inode` is that of the partition that is asked. */
  directory: number;
  /** -1: not known yet. EAGAIN in the end: the ordinary operation is to be asked. */
  status: number;
  stats: FileStats | undefined;
  /** Of what was found on another target. */
  foundInode: number;
  content: Uint8Array | undefined;
}

export function oneOfMany(inode: number, name: Uint8Array): OneOfMany {
  return {
    directory: inode,
    inode,
    name,
    mode: 0,
    exclusive: false,
    data: noBytes,
    status: -1,
    stats: undefined,
    foundInode: 0,
    content: undefined,
  };
}

/** A batch whose items end in their OneOfMany, and that ends in a promise. */
class PromisedBatch extends Batch {
  readonly #ones: OneOfMany[] = [];
  #settle: (() => void) | undefined;

  addOne(one: OneOfMany): boolean {
    if (!this.add(one)) return false;
    this.#ones.push(one);
    return true;
  }

  call(core: FileSystemCore): Promise<void> {
    return new Promise((resolve) => {
      this.#settle = resolve;
      core.callBatch(this);
    });
  }

  protected override took(i: number, outcome: BatchOutcome): void {
    const one = this.#ones[i]!;
    const { status, attributes, data } = outcome;
    one.status = status;
    one.foundInode = outcome.inode;
    one.stats = status === 0 && attributes !== null ? new FileStats(attributes) : undefined;
    one.content = data?.slice();
  }

  protected override ended(status: number): void {
    if (status !== 0) {
      // Without room for all there may be room for some: nothing of the batch has happened.
      const each = status === errno.ENOSPC ? errno.EAGAIN : status;
      for (const one of this.#ones) one.status = each;
    }
    this.#settle?.();
  }
}

export class ManyFiles {
  readonly #core: FileSystemCore;
  readonly #slots: SlotWaiters;
  readonly #owner: BatchOwner;
  readonly #look: (directory: number, name: Uint8Array) => Promise<void>;
  readonly #alone = new Limiter(ALONE_MAX);

  /** `look` is an ordinary look-up whose outcome does not matter: it never rejects. */
  constructor(
    core: FileSystemCore,
    slots: SlotWaiters,
    owner: BatchOwner,
    look: (directory: number, name: Uint8Array) => Promise<void>,
  ) {
    this.#look = look;
    this.#core = core;
    this.#slots = slots;
    this.#owner = owner;
  }

  /** Sets the status of each, and what a look-up finds. */
  async lookup(ones: readonly OneOfMany[]): Promise<void> {
    await this.#run(Opcode.BatchLookup, ones);
    await this.#askElsewhere(ones);
  }

  /** The same, with the contents of small files. */
  async read(ones: readonly OneOfMany[]): Promise<void> {
    await this.#run(Opcode.BatchRead, ones);
    await this.#askElsewhere(ones);
  }

  /** Makes each file, or empties it, and writes `data`; longer data than inlineDataBytes is EAGAIN. */
  async write(ones: readonly OneOfMany[]): Promise<void> {
    await this.#run(Opcode.BatchWrite, ones);
  }

  async unlink(ones: readonly OneOfMany[]): Promise<void> {
    await this.#run(Opcode.BatchUnlink, ones);
  }

  /**
   * Asks for those alone that are EAGAIN, some at a time, and makes results of all: what `ask` resolves with or
   * the FileError it rejects with, or what `value` makes of a one that has succeeded.
   */
  async settle<T>(
    ones: readonly OneOfMany[],
    syscall: string,
    pathOf: (i: number) => string,
    value: (one: OneOfMany) => T,
    ask: (i: number) => Promise<T>,
  ): Promise<(T | FileError)[]> {
    const settled = ones.map(async (one, i): Promise<T | FileError> => {
      const { status } = one;
      if (status === 0) return value(one);
      if (status !== errno.EAGAIN) {
        return new FileError(status === ESTALE ? errno.ENOENT : status, syscall, pathOf(i));
      }
      try {
        return await this.#alone.run(() => ask(i));
      } catch (error) {
        if (error instanceof FileError) return error;
        throw error;
      }
    });
    return Promise.all(settled);
  }

  /** Attributes of what was found where they are not: those inodes lie on other targets. */
  async #askElsewhere(ones: readonly OneOfMany[]): Promise<void> {
    const found = ones.filter((one) => one.status === 0 && one.stats === undefined);
    const inodes = found.map((one) => oneOfMany(one.foundInode, noBytes));
    await this.#run(Opcode.BatchGetAttr, inodes);
    for (const [i, one] of found.entries()) {
      const { status, stats } = inodes[i]!;
      // Gone meanwhile: perhaps the name is another's now.
      one.status = status === ESTALE ? errno.EAGAIN : status;
      one.stats = stats;
    }
  }

  /**
   * What is EAGAIN may be in another partition of its directory than this client knew: then one ordinary look-up
   * makes it known, and the others are asked for together once more.
   */
  async #run(opcode: number, ones: readonly OneOfMany[]): Promise<void> {
    await this.#runOnce(opcode, ones);
    if (opcode === Opcode.BatchGetAttr) return;
    const left = ones.filter((one) => one.status === errno.EAGAIN);
    if (left.length < REPEATED_MIN) return;
    const samples = new Map(left.map((one) => [one.directory, one.name]));
    await Promise.all([...samples].map(([directory, name]) => this.#look(directory, name)));
    const moved = left.filter(
      ({ directory, name, inode }) => this.#core.partitionOf(directory, name) !== inode,
    );
    if (moved.length > 0) await this.#runOnce(opcode, moved);
  }

  async #runOnce(opcode: number, ones: readonly OneOfMany[]): Promise<void> {
    const groups = new Map<number, OneOfMany[]>();
    for (const one of ones) {
      one.status = this.#refused(opcode, one);
      if (one.status !== -1) continue;
      // A directory may be in several partitions; what has moved meanwhile is EAGAIN.
      const isName = opcode !== Opcode.BatchGetAttr;
      one.inode = isName ? this.#core.partitionOf(one.directory, one.name) : one.inode;
      const target = this.#core.targetOf(one.inode);
      const group = groups.get(target);
      if (group === undefined) groups.set(target, [one]);
      else group.push(one);
    }
    await Promise.all([...groups.values()].map((group) => this.#runGroup(opcode, group)));
    for (const one of ones) {
      if (one.status === ESTALE && one.inode !== one.directory) one.status = errno.EAGAIN;
    }
  }

  /** What needs no target to be known; -1: one has to be asked. */
  #refused(opcode: number, { name, data }: OneOfMany): number {
    if (opcode === Opcode.BatchGetAttr) return -1;
    if (name.length === 0) return errno.ENOENT;
    if (name.length > nameBytesMax) return errno.ENAMETOOLONG;
    if (name.includes(SLASH) || name.includes(0) || isDots(name)) return errno.EINVAL;
    return data.length > inlineDataBytes ? errno.EAGAIN : -1;
  }

  /** All of one target. */
  async #runGroup(opcode: number, group: readonly OneOfMany[]): Promise<void> {
    let next = 0;
    const sender = async (): Promise<void> => {
      while (next < group.length) {
        const batch = new PromisedBatch(opcode, this.#owner);
        while (next < group.length && batch.addOne(group[next]!)) next++;
        await this.#send(batch);
      }
    };
    await Promise.all(Array.from({ length: BATCHES_MAX }, sender));
  }

  async #send(batch: PromisedBatch): Promise<void> {
    if (!batch.needsSlot) {
      await batch.call(this.#core);
      return;
    }
    await this.#slots.use((slot) => {
      batch.slot = slot;
      return batch.call(this.#core);
    });
  }
}

/** '.' or '..', which are nobody's entries. */
function isDots(name: Uint8Array): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}
