/** Inodes of a tree that tests make up, and their attributes as a core lends them: good until the next ones. */
import { FileAttributes } from '../../../src/client/attributes.js';
import type { ArenaMemory } from '../../../src/native/arena-memory.js';
import { writeU53 } from '../../../src/protocol/u53.js';
import { Attributes } from '../../../src/protocol/wire.generated.js';

export interface TestNode {
  inode: number;
  mode: number;
  uid: number;
  /** 0 by default, as flags. */
  gid?: number;
  flags?: number;
  /** 1 by default. */
  links?: number;
}

/** All of them in one slot of the arena. */
export function lender(arena: ArenaMemory): (node: TestNode) => FileAttributes {
  const { words } = arena;
  const lent = arena.messages.take();
  return ({ inode, mode, uid, gid, flags, links }) => {
    words.fill(0, lent >>> 2, (lent + Attributes.SIZE) >>> 2);
    writeU53(words, lent + Attributes.inode, inode);
    words[(lent + Attributes.mode) >>> 2] = mode;
    words[(lent + Attributes.uid) >>> 2] = uid;
    words[(lent + Attributes.gid) >>> 2] = gid ?? 0;
    words[(lent + Attributes.flags) >>> 2] = flags ?? 0;
    words[(lent + Attributes.linkCount) >>> 2] = links ?? 1;
    return new FileAttributes(words, lent);
  };
}
