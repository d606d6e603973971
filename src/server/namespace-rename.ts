/**
 * Rename within one target: both directories are here. What needs another target answers EXDEV:
 * a directory that moves to another parent while its own inode, an ancestor of the new place, or
 * an empty directory that it replaces lives elsewhere.
 */
import { errno, ESTALE } from '../common/errno.js';
import { linkCountMax } from '../protocol/limits.generated.js';
import { RenameRequest } from '../protocol/wire.generated.js';
import { readU16 } from '../protocol/u53.js';
import { S_IFDIR } from './inode-record.js';
import { checkNameBytes, type Call, type Namespace } from './namespace.js';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
/** Deeper than any path: PATH_MAX / 2. */
const DEPTH_MAX = 2048;

/** One rename's place: directory and name. `found` holds its entry. */
interface Side {
  /** Offset of the directory's record. */
  directory: number;
  parent: number;
  /** Offset of the name in the call's memory. */
  name: number;
  nameBytes: number;
}

export function rename(ns: Namespace, call: Call): number {
  const { words } = call.memory;
  const oldBytes = readU16(words, call.body + RenameRequest.oldNameBytes);
  const newBytes = readU16(words, call.body + RenameRequest.newNameBytes);
  const flags = words[(call.body + RenameRequest.flags) >>> 2]!;
  if ((flags & ~3) !== 0 || flags === 3) return errno.EINVAL;
  let refused = checkNameBytes(call, RenameRequest.SIZE, oldBytes);
  if (refused !== 0) return refused;
  refused = checkNameBytes(call, RenameRequest.SIZE + oldBytes, newBytes);
  if (refused !== 0) return refused;
  const newParent = ns.inodeField(call, RenameRequest.newParent);
  const from = ns.loadDirectory(ns.inodeField(call, RenameRequest.oldParent));
  if (from < 0) return -from;
  if (newParent !== 0 && !ns.ownsInode(newParent)) return errno.EXDEV;
  const to = ns.loadDirectory(newParent);
  if (to < 0) return -to;
  const name = call.body + RenameRequest.SIZE;
  const source = { directory: from, parent: ns.inodes.inode(from), name, nameBytes: oldBytes };
  const target = {
    directory: to,
    parent: newParent,
    name: name + oldBytes,
    nameBytes: newBytes,
  };
  return renameSides(ns, call, source, target, flags);
}

function renameSides(ns: Namespace, call: Call, from: Side, to: Side, flags: number): number {
  const { bytes } = call.memory;
  if (!ns.dentries.find(from.parent, bytes, from.name, from.nameBytes, ns.found)) {
    return errno.ENOENT;
  }
  const exists = ns.dentries.find(to.parent, bytes, to.name, to.nameBytes, ns.found2);
  if (exists && (flags & RENAME_NOREPLACE) !== 0) return errno.EEXIST;
  if (!exists && (flags & RENAME_EXCHANGE) !== 0) return errno.ENOENT;
  const moved = from.parent !== to.parent;
  if (moved && ns.found.mode === S_IFDIR) {
    const refused = checkMove(ns, ns.found.inode, to.parent);
    if (refused !== 0) return refused;
  }
  if (exists && ns.found.inode === ns.found2.inode) return 0;
  if ((flags & RENAME_EXCHANGE) !== 0) return exchange(ns, call, from, to);
  if (exists) return replace(ns, call, from, to);
  if (ns.found2.cookie < 0) return errno.ENOSPC;
  if (moved && ns.found.mode === S_IFDIR && ns.inodes.linkCount(to.directory) >= linkCountMax) {
    return errno.EMLINK;
  }
  move(ns, call, from, to);
  return 0;
}

/** Whether directory `inode` may go below `directory`: 0, EINVAL (a loop), EXDEV (not known here). */
function checkMove(ns: Namespace, inode: number, directory: number): number {
  if (!ns.ownsInode(inode)) return errno.EXDEV;
  if (ns.inodes.load(inode) < 0) return ESTALE;
  let at = directory;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (at === inode) return errno.EINVAL;
    if (!ns.ownsInode(at)) return errno.EXDEV;
    const record = ns.inodes.load(at);
    if (record < 0) return ESTALE;
    at = ns.inodes.parent(record);
    if (at === 0) return 0;
  }
  return errno.ELOOP;
}

/** Over something that is there: it is dropped. */
function replace(ns: Namespace, call: Call, from: Side, to: Side): number {
  const victim = ns.found2.inode;
  const isDirectory = ns.found.mode === S_IFDIR;
  if (ns.found2.mode === S_IFDIR) {
    if (!isDirectory) return errno.EISDIR;
    if (!ns.ownsInode(victim)) return errno.EXDEV;
    if (!ns.dentries.isEmpty(victim)) return errno.ENOTEMPTY;
    const at = ns.inodes.load(victim);
    if (at >= 0) ns.dropInode(at);
    ns.inodes.setLinkCount(to.directory, ns.inodes.linkCount(to.directory) - 1);
  } else {
    if (isDirectory) return errno.ENOTDIR;
    const at = ns.inodes.load(victim);
    if (at >= 0) ns.dropLink(at);
  }
  move(ns, call, from, to);
  return 0;
}

/** `found` goes to `found2`'s place; everything is checked. */
function move(ns: Namespace, call: Call, from: Side, to: Side): void {
  const { inode, mode, cookie } = ns.found;
  const { bytes } = call.memory;
  ns.dentries.put(to.parent, ns.found2.cookie, inode, mode, bytes, to.name, to.nameBytes);
  // After the put: a removal moves the last of the names with the same hash, which may be the new.
  ns.dentries.remove(from.parent, cookie);
  if (mode === S_IFDIR && from.parent !== to.parent) {
    ns.inodes.setLinkCount(from.directory, ns.inodes.linkCount(from.directory) - 1);
    ns.inodes.setLinkCount(to.directory, ns.inodes.linkCount(to.directory) + 1);
    setParent(ns, inode, to.parent);
  }
  setChanged(ns, inode, from, to);
}

function exchange(ns: Namespace, call: Call, from: Side, to: Side): number {
  const { found, found2 } = ns;
  const moved = from.parent !== to.parent;
  if (moved && found2.mode === S_IFDIR) {
    const refused = checkMove(ns, found2.inode, from.parent);
    if (refused !== 0) return refused;
  }
  const { bytes } = call.memory;
  const { dentries, inodes } = ns;
  const second = found2.inode;
  dentries.put(from.parent, found.cookie, second, found2.mode, bytes, from.name, from.nameBytes);
  dentries.put(to.parent, found2.cookie, found.inode, found.mode, bytes, to.name, to.nameBytes);
  if (moved) {
    const shift = (found.mode === S_IFDIR ? 1 : 0) - (found2.mode === S_IFDIR ? 1 : 0);
    inodes.setLinkCount(from.directory, inodes.linkCount(from.directory) - shift);
    inodes.setLinkCount(to.directory, inodes.linkCount(to.directory) + shift);
    if (found.mode === S_IFDIR) setParent(ns, found.inode, to.parent);
    if (found2.mode === S_IFDIR) setParent(ns, second, from.parent);
  }
  setChanged(ns, found.inode, from, to);
  setChanged(ns, second, from, to);
  return 0;
}

function setParent(ns: Namespace, inode: number, parent: number): void {
  const at = ns.inodes.load(inode);
  if (at < 0) return;
  ns.inodes.setParent(at, parent);
  ns.inodes.touch(at);
}

/** Times: both directories changed; of what moved, the ctime, where its inode is here. */
function setChanged(ns: Namespace, inode: number, from: Side, to: Side): void {
  const now = ns.host.now();
  ns.inodes.setChanged(from.directory, now);
  ns.inodes.touch(from.directory);
  ns.inodes.setChanged(to.directory, now);
  ns.inodes.touch(to.directory);
  const at = ns.inodes.load(inode);
  if (at < 0) return;
  ns.inodes.setCtime(at, now);
  ns.inodes.touch(at);
}
