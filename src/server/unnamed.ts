/**
 * Inodes that were made without a name (O_TMPFILE, namespace-tmpfile.ts): the first link to one.
 * With O_EXCL there must be none: the kernel of its mount sees to that.
 */
import { FLAG_UNNAMED, InodeRecord } from './inode-record.js';
import { orphanKey } from './keys.js';
import type { Namespace } from './namespace.js';

/** Whether an inode with a link count of 0 may get a name. */
export function isNameable(ns: Namespace, at: number): boolean {
  return (ns.inodes.get32(at, InodeRecord.flags) & FLAG_UNNAMED) !== 0;
}

/** One name more, perhaps the first; the caller touches the record. */
export function addLink(ns: Namespace, at: number): void {
  const count = ns.inodes.linkCount(at);
  ns.inodes.setLinkCount(at, count + 1);
  if (count > 0) return;
  ns.inodes.set32(at, InodeRecord.flags, ns.inodes.get32(at, InodeRecord.flags) & ~FLAG_UNNAMED);
  // `orphans` keeps it: should this transaction fail it is one still, and else the key decides.
  ns.meta.remove(orphanKey(ns.inodes.inode(at)));
}
