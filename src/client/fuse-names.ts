/** The names of a request of the kernel, where they lie in the arena; each is valid until the next one is asked for. */
import type { ArenaMemory } from '../native/arena-memory.js';
import type { FuseRequest } from '../native/fuse.js';
import { NameReference } from './request.js';

export class FuseNames {
  readonly #arena: ArenaMemory;
  readonly #first = new NameReference();
  readonly #second = new NameReference();

  constructor(arena: ArenaMemory) {
    this.#arena = arena;
  }

  first(fuse: FuseRequest): NameReference {
    return this.#first.set(this.#arena.bytes, fuse.nameOffset, fuse.nameBytes);
  }

  second(fuse: FuseRequest): NameReference {
    return this.#second.set(this.#arena.bytes, fuse.name2Offset, fuse.name2Bytes);
  }
}
