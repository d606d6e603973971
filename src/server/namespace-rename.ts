/**
 * Rename, executed where the new parent is. What lies there alone is one transaction; the old entry,
 * the moved inode, an inode that is replaced and the right to give directories another parent may
 * each be a step on another target (docs/transactions.md).
 *
 *   source (the old entry) ──> a directory that moves ──> types ──> what it replaces ──> decide ──> change
 *
 * Everything above the decision only looks, and may answer PENDING: it is executed anew when what it
 * needs is prepared.
 */
import { errno, ESTALE } from '../common/errno.js';
import { linkCountMax } from '../protocol/limits.generated.js';
import { RenameRequest } from '../protocol/wire.generated.js';
import { readU16 } from '../protocol/u53.js';
import type { Mutation } from './batch.js';
import { S_IFDIR } from './inode-record.js';
import { checkNameBytes } from './check-name.js';
import type { Namespace } from './namespace.js';
import { dropOtherDirectory, dropPartitions } from './namespace-directories.js';
import { dropOtherLink } from './namespace-remove.js';
import { LOCK_MOVE, LOCK_TOKEN } from './transactions/locks.js';
import {
  PENDING,
  STEP_REMOVE_ENTRY,
  STEP_REPLACE_ENTRY,
  STEP_SET_PARENT,
  STEP_TOKEN,
  STEP_TOUCH,
  STEP_WALK,
  StepRequest,
} from './transactions/step.js';

const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
/** Deeper than any path: PATH_MAX / 2. */
const DEPTH_MAX = 2048;

/** One rename's place: directory and name. */
interface Side {
  /** Inode of the directory, or of the partition that the name belongs to. */
  parent: number;
  /** Inode of the directory. */
  home: number;
  /** Offset of its record; -1: it lies on another target. */
  directory: number;
  /** Offset of the name in the mutation's memory. */
  name: number;
  nameBytes: number;
  /** What is there; 0: nothing. */
  inode: number;
  /** Type bits. */
  mode: number;
  /** Where its entry is, or would go. */
  cookie: number;
}

interface Rename {
  mutation: Mutation;
  from: Side;
  to: Side;
  root: number;
  flags: number;
}

export function rename(ns: Namespace, _call: unknown, mutation: Mutation): number {
  const { words } = mutation.memory;
  const { body } = mutation;
  const oldBytes = readU16(words, body + RenameRequest.oldNameBytes);
  const newBytes = readU16(words, body + RenameRequest.newNameBytes);
  const flags = words[(body + RenameRequest.flags) >>> 2]!;
  if ((flags & ~3) !== 0 || flags === 3) return errno.EINVAL;
  let status = checkNameBytes(mutation, RenameRequest.SIZE, oldBytes);
  if (status !== 0) return status;
  status = checkNameBytes(mutation, RenameRequest.SIZE + oldBytes, newBytes);
  if (status !== 0) return status;
  const oldParent = ns.inodeField(mutation, RenameRequest.oldParent);
  const newParent = ns.inodeField(mutation, RenameRequest.newParent);
  const root = ns.inodeField(mutation, RenameRequest.root);
  if (oldParent === 0) return errno.EINVAL;
  const directory = ns.loadDirectory(newParent);
  if (directory < 0) return -directory;
  const name = body + RenameRequest.SIZE;
  const to = sideOf(newParent, directory, name + oldBytes, newBytes);
  to.home = ns.directoryOf(directory);
  const from = sideOf(oldParent, -1, name, oldBytes);
  from.home = ns.inodeField(mutation, RenameRequest.oldDirectory) || oldParent;
  if (ns.ownsInode(oldParent)) {
    from.directory = ns.loadDirectory(oldParent);
    if (from.directory < 0) return -from.directory;
    from.home = ns.directoryOf(from.directory);
  }
  return renameSides(ns, { mutation, from, to, root, flags });
}

function sideOf(parent: number, directory: number, name: number, nameBytes: number): Side {
  const nothing = { inode: 0, mode: 0, cookie: 0 };
  return { parent, home: parent, directory, name, nameBytes, ...nothing };
}

function renameSides(ns: Namespace, rename: Rename): number {
  const { mutation, from, to, flags } = rename;
  let status = findHere(ns, mutation, to);
  if (status > 0 && status !== errno.ENOENT) return status;
  if (status < 0) return status;
  const isExchange = (flags & RENAME_EXCHANGE) !== 0;
  if (isExchange && to.inode === 0) return errno.ENOENT;
  status = findSource(ns, rename);
  if (status !== 0) return status;
  if (to.inode !== 0 && (flags & RENAME_NOREPLACE) !== 0) return errno.EEXIST;
  // The same place, or two names of one file: nothing happens. What is prepared is given up.
  if (from.inode === to.inode) return 0;
  if (to.inode === 0 && to.cookie < 0) return errno.ENOSPC;
  // A loop comes before types, as in Linux.
  status = needMoves(ns, rename);
  if (status !== 0) return status;
  status = checkTypes(ns, rename);
  if (status !== 0) return status;
  if (to.inode !== 0 && !isExchange) {
    status = needVictim(ns, mutation, to);
    if (status !== 0) return status;
  }
  status = ns.host.coordinator.decide(mutation);
  if (status !== 0) return status;
  if (isExchange) exchange(ns, rename);
  else move(ns, rename);
  return 0;
}

/** Fills a side that lies here: 0, ENOENT or BLOCKED. */
function findHere(ns: Namespace, mutation: Mutation, side: Side): number {
  const { parent, name, nameBytes } = side;
  const locked = ns.checkEntryLock(mutation, parent, name, nameBytes);
  if (locked !== 0) return locked;
  const exists = ns.dentries.find(parent, mutation.memory.bytes, name, nameBytes, ns.found);
  side.cookie = ns.found.cookie;
  if (!exists) return errno.ENOENT;
  side.inode = ns.found.inode;
  side.mode = ns.found.mode;
  return 0;
}

/** The old entry: here, or prepared where it lies. */
function findSource(ns: Namespace, rename: Rename): number {
  const { mutation, from, to, flags } = rename;
  if (from.directory >= 0) return findHere(ns, mutation, from);
  const isExchange = (flags & RENAME_EXCHANGE) !== 0;
  const request = new StepRequest(isExchange ? STEP_REPLACE_ENTRY : STEP_REMOVE_ENTRY, from.parent);
  request.name = mutation.memory.bytes.slice(from.name, from.name + from.nameBytes);
  if (isExchange) {
    request.other = to.inode;
    request.mode = to.mode;
  }
  const found = ns.host.coordinator.need(mutation, request);
  if (found === undefined) return PENDING;
  from.inode = found.inode;
  from.mode = found.mode;
  return 0;
}

function checkTypes(ns: Namespace, rename: Rename): number {
  const { from, to, flags } = rename;
  if ((flags & RENAME_EXCHANGE) !== 0) return 0;
  const isDirectory = from.mode === S_IFDIR;
  if (to.inode !== 0) {
    const replacesDirectory = to.mode === S_IFDIR;
    if (replacesDirectory && !isDirectory) return errno.EISDIR;
    return isDirectory && !replacesDirectory ? errno.ENOTDIR : 0;
  }
  if (!isDirectory || from.parent === to.parent) return 0;
  return ns.inodes.linkCount(to.directory) >= linkCountMax ? errno.EMLINK : 0;
}

/** What the inodes need that get another place: 0, an errno, PENDING or BLOCKED. */
function needMoves(ns: Namespace, rename: Rename): number {
  const { from, to, flags } = rename;
  const isExchange = (flags & RENAME_EXCHANGE) !== 0;
  const changesParent = from.home !== to.home;
  const first = changesParent && from.mode === S_IFDIR;
  const second = changesParent && isExchange && to.mode === S_IFDIR;
  if ((first || second) && !isAllHere(ns, rename, first, second)) {
    return needDirectoryMoves(ns, rename, first, second);
  }
  let pending = 0;
  if (first) pending ||= checkLoop(ns, rename.mutation, from.inode, to.parent);
  if (second) pending ||= checkLoop(ns, rename.mutation, to.inode, from.parent);
  if (pending !== 0) return pending;
  if (!first) pending = needTouch(ns, rename.mutation, from.inode);
  if (isExchange && !second) pending = needTouch(ns, rename.mutation, to.inode) || pending;
  return pending;
}

function needTouch(ns: Namespace, mutation: Mutation, inode: number): number {
  if (ns.ownsInode(inode)) return 0;
  const touched = ns.host.coordinator.need(mutation, new StepRequest(STEP_TOUCH, inode));
  return touched === undefined ? PENDING : 0;
}

/** Whether the directories that move, and all above where they go, lie here. */
function isAllHere(ns: Namespace, rename: Rename, first: boolean, second: boolean): boolean {
  const { from, to } = rename;
  if (first && !(ns.ownsInode(from.inode) && isWayHere(ns, to.parent))) return false;
  return !second || (ns.ownsInode(to.inode) && isWayHere(ns, from.parent));
}

function isWayHere(ns: Namespace, directory: number): boolean {
  let at = directory;
  for (let depth = 0; depth < DEPTH_MAX && at !== 0; depth++) {
    if (!ns.ownsInode(at)) return false;
    const record = ns.inodes.load(at);
    if (record < 0) return true;
    at = ns.inodes.parent(record);
  }
  return true;
}

/**
 * Whether directory `inode` may go below `directory`, all of whose ancestors lie here: 0, EINVAL (a
 * loop), BLOCKED. No token is needed: who holds it has locked what it moves before it looks.
 */
function checkLoop(ns: Namespace, mutation: Mutation, inode: number, directory: number): number {
  const held = ns.checkInodeLock(mutation, inode);
  if (held !== 0) return held;
  let at = directory;
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    if (at === inode) return errno.EINVAL;
    const blocked = ns.checkInodeLock(mutation, at);
    if (blocked !== 0) return blocked;
    const record = ns.inodes.load(at);
    if (record < 0) return ESTALE;
    at = ns.inodes.parent(record);
    if (at === 0) return 0;
  }
  return errno.ELOOP;
}

/** Token, then the locks of what moves, then the way up from each new place. */
function needDirectoryMoves(
  ns: Namespace,
  rename: Rename,
  first: boolean,
  second: boolean,
): number {
  const { mutation, from, to, root } = rename;
  let status = needToken(ns, mutation, root);
  if (status !== 0) return status;
  if (first) status = needParent(ns, mutation, from.inode, to.home);
  if (second) status = needParent(ns, mutation, to.inode, from.home) || status;
  if (!first) status = needTouch(ns, mutation, from.inode) || status;
  if (!second && (rename.flags & RENAME_EXCHANGE) !== 0) {
    status = needTouch(ns, mutation, to.inode) || status;
  }
  if (status !== 0) return status;
  if (first) status = needWay(ns, mutation, to.parent, from.inode, root);
  if (second) status = needWay(ns, mutation, from.parent, to.inode, root) || status;
  return status;
}

function needToken(ns: Namespace, mutation: Mutation, root: number): number {
  const { coordinator } = ns.host;
  if (root === 0) return errno.EINVAL;
  if (ns.ownsInode(root)) {
    const at = ns.loadDirectory(root);
    if (at < 0) return -at;
    if (ns.inodes.parent(at) !== 0) return errno.EINVAL;
    return coordinator.lock(mutation, LOCK_TOKEN, root);
  }
  const token = coordinator.need(mutation, new StepRequest(STEP_TOKEN, root));
  return token === undefined ? PENDING : 0;
}

function needParent(ns: Namespace, mutation: Mutation, inode: number, parent: number): number {
  const { coordinator } = ns.host;
  if (ns.ownsInode(inode)) {
    const at = ns.loadDirectory(inode);
    if (at < 0) return -at;
    return coordinator.lock(mutation, LOCK_MOVE, inode);
  }
  const request = new StepRequest(STEP_SET_PARENT, inode);
  request.other = parent;
  return coordinator.need(mutation, request) === undefined ? PENDING : 0;
}

function needWay(
  ns: Namespace,
  mutation: Mutation,
  directory: number,
  moving: number,
  root: number,
): number {
  const request = new StepRequest(STEP_WALK, directory);
  request.other = moving;
  const top = ns.host.coordinator.need(mutation, request);
  if (top === undefined) return PENDING;
  return top.inode === root ? 0 : errno.EINVAL;
}

/** What is there already and goes: 0, an errno, PENDING or BLOCKED. */
function needVictim(ns: Namespace, mutation: Mutation, to: Side): number {
  if (to.mode === S_IFDIR) return dropOtherDirectory(ns, mutation, mutation, to.inode);
  return Math.min(0, dropOtherLink(ns, mutation, mutation, to.inode));
}

/** Everything is checked: the entry goes over, and what was there goes. */
function move(ns: Namespace, rename: Rename): void {
  const { mutation, from, to } = rename;
  const { bytes } = mutation.memory;
  const isDirectory = from.mode === S_IFDIR;
  if (to.inode !== 0) dropVictim(ns, to);
  ns.dentries.put(to.parent, to.cookie, from.inode, from.mode, bytes, to.name, to.nameBytes);
  // After the put: a removal moves the last of the names with the same hash, which may be the new.
  if (from.directory >= 0) ns.dentries.remove(from.parent, from.cookie);
  if (isDirectory && from.parent !== to.parent) {
    if (from.directory >= 0) addLinks(ns, from.directory, -1);
    addLinks(ns, to.directory, 1);
    if (from.home !== to.home) setParent(ns, from.inode, to.home);
  }
  setChanged(ns, from);
  setChanged(ns, to);
  touchInode(ns, from.inode);
}

function dropVictim(ns: Namespace, to: Side): void {
  const at = ns.inodes.load(to.inode);
  if (to.mode !== S_IFDIR) {
    if (at >= 0) ns.dropLink(at);
    return;
  }
  if (at >= 0) ns.dropInode(at);
  dropPartitions(ns);
  addLinks(ns, to.directory, -1);
}

function exchange(ns: Namespace, rename: Rename): void {
  const { mutation, from, to } = rename;
  const { bytes } = mutation.memory;
  const { dentries } = ns;
  dentries.put(to.parent, to.cookie, from.inode, from.mode, bytes, to.name, to.nameBytes);
  if (from.directory >= 0) {
    dentries.put(from.parent, from.cookie, to.inode, to.mode, bytes, from.name, from.nameBytes);
  }
  if (from.parent !== to.parent) {
    const shift = (from.mode === S_IFDIR ? 1 : 0) - (to.mode === S_IFDIR ? 1 : 0);
    if (from.directory >= 0) addLinks(ns, from.directory, -shift);
    addLinks(ns, to.directory, shift);
    if (from.home !== to.home) {
      if (from.mode === S_IFDIR) setParent(ns, from.inode, to.home);
      if (to.mode === S_IFDIR) setParent(ns, to.inode, from.home);
    }
  }
  setChanged(ns, from);
  setChanged(ns, to);
  touchInode(ns, from.inode);
  touchInode(ns, to.inode);
}

function addLinks(ns: Namespace, directory: number, count: number): void {
  ns.inodes.setLinkCount(directory, ns.inodes.linkCount(directory) + count);
  ns.inodes.touch(directory);
}

/** Of an inode that lies here. */
function setParent(ns: Namespace, inode: number, parent: number): void {
  const at = ns.inodes.load(inode);
  if (at < 0) return;
  ns.inodes.setParent(at, parent);
  ns.inodes.touch(at);
}

function setChanged(ns: Namespace, side: Side): void {
  if (side.directory < 0) return;
  ns.inodes.setChanged(side.directory, ns.host.now());
  ns.inodes.touch(side.directory);
}

/** Of an inode that lies here: its ctime is now. */
function touchInode(ns: Namespace, inode: number): void {
  const at = ns.inodes.load(inode);
  if (at < 0) return;
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
}
