/** Operations that give something a name, but for mkdir: Create, Symlink, Link, roots. */
import { errno, ESTALE } from '../common/errno.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { linkCountMax, symlinkBytesMax } from '../protocol/limits.generated.js';
import {
  Attributes,
  AttributesReply,
  CreateRequest,
  EnsureRootRequest,
  LinkRequest,
  LookupReply,
  SymlinkRequest,
} from '../protocol/wire.generated.js';
import { readU16, writeU53 } from '../protocol/u53.js';
import type { Mutation } from './batch.js';
import {
  DIRECTORY_BYTES,
  InodeRecord,
  S_IFCHR,
  S_IFBLK,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
} from './inode-record.js';
import { inheritPermissions } from './inode-xattrs.js';
import { linkTargetKey } from './keys.js';
import { checkNameBytes } from './check-name.js';
import type { Call, Namespace } from './namespace.js';
import { addLink, isNameable } from './unnamed.js';
import { PENDING, STEP_ADD_LINK, StepRequest } from './transactions/step.js';

export const CREATE_EXCLUSIVE = 1;
export const CREATE_OPEN = 2;
/** AttributesReply.flags, and in the record of the reply. */
export const CREATE_EXISTED = 1;
const PERMISSION_BITS = 0o7777;

function word(call: Call, field: number): number {
  return call.memory.words[(call.body + field) >>> 2]!;
}

/** A new inode of this directory, group by its set-group-ID bit. Returns its offset, 0 links. */
export function addInode(
  ns: Namespace,
  inode: number,
  directory: number,
  mode: number,
  uid: number,
  gid: number,
): number {
  const inherits = directory >= 0 && (ns.inodes.mode(directory) & S_ISGID) !== 0;
  const group = inherits ? ns.inodes.get32(directory, InodeRecord.gid) : gid;
  const at = ns.inodes.add(inode);
  const now = ns.host.now();
  ns.inodes.setMode(at, mode);
  ns.inodes.set32(at, InodeRecord.uid, uid);
  ns.inodes.set32(at, InodeRecord.gid, group);
  ns.inodes.setAtime(at, now.seconds, now.nanoseconds);
  ns.inodes.setChanged(at, now);
  ns.countInodes(1);
  return at;
}

/** Nothing of the new inode is stored. Returns `status`. */
export function undoInode(ns: Namespace, at: number, status: number): number {
  ns.inodes.remove(at);
  ns.countInodes(-1);
  return status;
}

/** A LookupReply; without attributes the client asks where the inode lies. */
export function replyEntry(
  call: Call,
  inode: number,
  mode: number,
  from?: Uint32Array,
  at = 0,
): void {
  const { words } = call.out;
  const { reply } = call;
  writeU53(words, reply + LookupReply.inode, inode);
  words[(reply + LookupReply.mode) >>> 2] = mode;
  words[(reply + LookupReply.flags) >>> 2] = from === undefined ? 0 : 1;
  const to = (reply + LookupReply.attributes) >>> 2;
  const source = at >>> 2;
  for (let i = 0; i < Attributes.SIZE / 4; i++) words[to + i] = from?.[source + i] ?? 0;
  call.replyBytes = LookupReply.SIZE;
}

/** The entry at `ns.found.cookie`, and what a directory shows of having changed. */
export function addEntry(
  ns: Namespace,
  call: Call,
  directory: number,
  inode: number,
  mode: number,
  name: number,
  nameBytes: number,
): void {
  const parent = ns.inodes.inode(directory);
  const { bytes } = call.memory;
  ns.dentries.put(parent, ns.found.cookie, inode, mode, bytes, call.body + name, nameBytes);
  ns.inodes.setChanged(directory, ns.host.now());
  ns.inodes.touch(directory);
}

export function create(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, CreateRequest.nameBytes, CreateRequest.SIZE);
  if (refused !== 0) return refused;
  const directory = ns.loadDirectory(ns.inodeField(call, CreateRequest.parent));
  if (directory < 0) return -directory;
  const type = word(call, CreateRequest.mode) & S_IFMT;
  if (!isCreatable(type)) return errno.EINVAL;
  const nameBytes = readU16(call.memory.words, call.body + CreateRequest.nameBytes);
  const flags = readU16(call.memory.words, call.body + CreateRequest.flags);
  const parent = ns.inodes.inode(directory);
  const name = call.body + CreateRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) {
    return createExisting(ns, call, type, flags);
  }
  if (ns.found.cookie < 0) return errno.ENOSPC;
  const inode = ns.allocateInode(bucketOfInode(parent));
  if (inode === 0) return errno.ENOSPC;
  const mode = (type === 0 ? S_IFREG : type) | (word(call, CreateRequest.mode) & PERMISSION_BITS);
  const uid = word(call, CreateRequest.uid);
  const gid = word(call, CreateRequest.gid);
  const at = addInode(ns, inode, directory, mode, uid, gid);
  const inherited = inheritPermissions(ns, directory, at, word(call, CreateRequest.umask));
  if (inherited !== 0) return undoInode(ns, at, inherited);
  ns.inodes.setLinkCount(at, 1);
  ns.inodes.set32(at, InodeRecord.rdev, word(call, CreateRequest.rdev));
  addEntry(ns, call, directory, inode, mode, CreateRequest.SIZE, nameBytes);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  if ((flags & CREATE_OPEN) !== 0) call.openInode = inode;
  return 0;
}

function isCreatable(type: number): boolean {
  switch (type) {
    case 0:
    case S_IFREG:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
    case S_IFBLK:
      return true;
    default:
      return false;
  }
}

/** O_CREAT without O_EXCL on a name that is there. */
function createExisting(ns: Namespace, call: Call, type: number, flags: number): number {
  if ((flags & CREATE_EXCLUSIVE) !== 0) return errno.EEXIST;
  if (type !== 0 && type !== S_IFREG) return errno.EEXIST;
  if (ns.found.mode === S_IFDIR) return errno.EISDIR;
  // Its inode lies elsewhere: the client opens it there.
  if (!ns.ownsInode(ns.found.inode)) return errno.EXDEV;
  const locked = ns.checkInodeLock(call, ns.found.inode);
  if (locked !== 0) return locked;
  const at = ns.inodes.load(ns.found.inode);
  if (at < 0) return ESTALE;
  ns.replyAttributes(call, at, CREATE_EXISTED);
  call.result0 = ns.found.inode;
  call.result1 = CREATE_EXISTED;
  if ((flags & CREATE_OPEN) !== 0) call.openInode = ns.found.inode;
  return 0;
}

export function symlink(ns: Namespace, call: Call): number {
  const { words, bytes } = call.memory;
  const nameBytes = readU16(words, call.body + SymlinkRequest.nameBytes);
  const targetBytes = readU16(words, call.body + SymlinkRequest.targetBytes);
  const refused = checkNameBytes(call, SymlinkRequest.SIZE, nameBytes);
  if (refused !== 0) return refused;
  if (SymlinkRequest.SIZE + nameBytes + targetBytes > call.bodyBytes) return errno.EINVAL;
  if (targetBytes === 0) return errno.ENOENT;
  if (targetBytes > symlinkBytesMax) return errno.ENAMETOOLONG;
  const from = call.body + SymlinkRequest.SIZE + nameBytes;
  const target = bytes.subarray(from, from + targetBytes);
  if (target.includes(0)) return errno.EINVAL;
  const directory = ns.loadDirectory(ns.inodeField(call, SymlinkRequest.parent));
  if (directory < 0) return -directory;
  const parent = ns.inodes.inode(directory);
  const name = call.body + SymlinkRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (ns.dentries.find(parent, bytes, name, nameBytes, ns.found)) return errno.EEXIST;
  if (ns.found.cookie < 0) return errno.ENOSPC;
  const inode = ns.allocateInode(bucketOfInode(parent));
  if (inode === 0) return errno.ENOSPC;
  const mode = S_IFLNK | 0o777;
  const uid = word(call, SymlinkRequest.uid);
  const at = addInode(ns, inode, directory, mode, uid, word(call, SymlinkRequest.gid));
  ns.inodes.setLinkCount(at, 1);
  ns.inodes.setSize(at, targetBytes);
  ns.meta.put(linkTargetKey(inode), target);
  addEntry(ns, call, directory, inode, mode, SymlinkRequest.SIZE, nameBytes);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  return 0;
}

export function link(ns: Namespace, call: Call, mutation: Mutation): number {
  const refused = ns.checkName(call, LinkRequest.nameBytes, LinkRequest.SIZE);
  if (refused !== 0) return refused;
  const inode = ns.inodeField(call, LinkRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const directory = ns.loadDirectory(ns.inodeField(call, LinkRequest.parent));
  if (directory < 0) return -directory;
  const nameBytes = readU16(call.memory.words, call.body + LinkRequest.nameBytes);
  const parent = ns.inodes.inode(directory);
  const name = call.body + LinkRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) return errno.EEXIST;
  if (ns.found.cookie < 0) return errno.ENOSPC;
  if (!ns.ownsInode(inode)) return linkRemote(ns, call, mutation, directory, inode);
  const held = ns.checkInodeLock(call, inode);
  if (held !== 0) return held;
  const at = ns.inodes.load(inode);
  if (at < 0) return ESTALE;
  if (ns.inodes.isDirectory(at)) return errno.EPERM;
  const count = ns.inodes.linkCount(at);
  if (count === 0 && !isNameable(ns, at)) return errno.ENOENT;
  if (count >= linkCountMax) return errno.EMLINK;
  const decided = ns.host.coordinator.decide(mutation);
  if (decided !== 0) return decided;
  addLink(ns, at);
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  const type = ns.inodes.mode(at) & S_IFMT;
  addEntry(ns, call, directory, inode, type, LinkRequest.SIZE, nameBytes);
  replyEntry(call, inode, type, ns.inodes.words, at);
  call.result0 = inode;
  call.result1 = type;
  return 0;
}

/** The inode's target counts the link. */
function linkRemote(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  directory: number,
  inode: number,
): number {
  const { coordinator } = ns.host;
  const counted = coordinator.need(mutation, new StepRequest(STEP_ADD_LINK, inode));
  if (counted === undefined) return PENDING;
  const decided = coordinator.decide(mutation);
  if (decided !== 0) return decided;
  const nameBytes = readU16(call.memory.words, call.body + LinkRequest.nameBytes);
  addEntry(ns, call, directory, inode, counted.mode, LinkRequest.SIZE, nameBytes);
  replyEntry(call, inode, counted.mode);
  call.result0 = inode;
  call.result1 = counted.mode;
  return 0;
}

/** A volume's root is there afterwards; one that is there already is left as it is. */
export function ensureRoot(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, EnsureRootRequest.inode);
  if (inode === 0) return errno.EINVAL;
  if (!ns.ownsInode(inode)) return ESTALE;
  let at = ns.inodes.load(inode);
  if (at >= 0) {
    if (!ns.inodes.isDirectory(at)) return errno.EEXIST;
  } else {
    const mode = S_IFDIR | (word(call, EnsureRootRequest.mode) & PERMISSION_BITS);
    const uid = word(call, EnsureRootRequest.uid);
    at = addInode(ns, inode, -1, mode, uid, word(call, EnsureRootRequest.gid));
    ns.inodes.setLinkCount(at, 2);
    ns.inodes.setSize(at, DIRECTORY_BYTES);
  }
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  return 0;
}

if (AttributesReply.flags !== InodeRecord.SIZE) throw new Error('a stored record fits its reply');
