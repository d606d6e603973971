/**
 * The real arena: a memfd that native engines share with TypeScript. Layout and rules:
 * docs/internals.md, "Arena". The memory is given back when the ArrayBuffer and the last engine
 * over it are gone.
 */
import { coreAddon, type NativeHandle } from './core.js';
import { ArenaMemory, type ArenaShape } from './arena-memory.js';

export class NativeArena extends ArenaMemory {
  /** For the constructors of native engines. */
  readonly handle: NativeHandle;
  /** The memfd, owned by the arena; another process may map it. */
  readonly fd: number;
  /** Whether it lies in reserved huge pages; otherwise the kernel was advised to use its own. */
  readonly hugePages: boolean;

  /** Throws when the memory cannot be had, or SealfsError UNSUPPORTED without the addon. */
  constructor(shape: ArenaShape) {
    const native = coreAddon().createArena(
      shape.messageSlots,
      shape.bulkSlots,
      shape.receiveAreas ?? 0,
      shape.shares ?? 0,
    );
    super(native.buffer, shape);
    this.handle = native.handle;
    this.fd = native.fd;
    this.hugePages = native.hugePages;
  }
}
