/** Operations that give something a name: Create, Symlink, the halves of mkdir, Link, roots. */
import { errno, ESTALE } from '../common/errno.js';
import { bucketOfInode } from '../placement/inode-number.js';
import { bucketCount, linkCountMax, symlinkBytesMax } from '../protocol/limits.generated.js';
import {
  AttributesReply,
  CreateRequest,
  EnsureRootRequest,
  LinkDirEntryReply,
  LinkDirEntryRequest,
  LinkRequest,
  MakeDirInodeRequest,
  SymlinkRequest,
} from '../protocol/wire.generated.js';
import { isAcl } from '../protocol/posix-acl.js';
import { readU16, readU53 } from '../protocol/u53.js';
import {
  DIRECTORY_BYTES,
  FLAG_DEFAULT_ACL,
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
import { ACCESS_ACL, DEFAULT_ACL, inheritPermissions, storeXattrs } from './inode-xattrs.js';
import { linkTargetKey } from './keys.js';
import { checkNameBytes, type Call, type Namespace } from './namespace.js';

export const CREATE_EXCLUSIVE = 1;
export const CREATE_OPEN = 2;
const CREATE_EXISTED = 1;
const REPLACE_STALE = 1;
const HAS_INHERITED = 2;
const PERMISSION_BITS = 0o7777;

function word(call: Call, field: number): number {
  return call.memory.words[(call.body + field) >>> 2]!;
}

/** A new inode of this directory, group by its set-group-ID bit. Returns its offset, 0 links. */
function addInode(
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
function undoInode(ns: Namespace, at: number, status: number): number {
  ns.inodes.remove(at);
  ns.countInodes(-1);
  return status;
}

/** The entry at `ns.found.cookie`, and what a directory shows of having changed. */
function addEntry(
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
  const at = ns.inodes.load(ns.found.inode);
  if (at < 0) return ESTALE;
  ns.replyAttributes(call, at, CREATE_EXISTED);
  call.result0 = ns.found.inode;
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

/** mkdir, first half. What the directory inherits, the caller has found out before. */
export function makeDirInode(ns: Namespace, call: Call): number {
  const bucket = word(call, MakeDirInodeRequest.bucket);
  const parent = ns.inodeField(call, MakeDirInodeRequest.parent);
  if (bucket >= bucketCount || parent === 0) return errno.EINVAL;
  if (!ns.host.owns(bucket)) return ESTALE;
  const inode = ns.allocateInode(bucket);
  if (inode === 0) return errno.ENOSPC;
  const mode = S_IFDIR | (word(call, MakeDirInodeRequest.mode) & PERMISSION_BITS);
  const uid = word(call, MakeDirInodeRequest.uid);
  const at = addInode(ns, inode, -1, mode, uid, word(call, MakeDirInodeRequest.gid));
  const status = addAcls(ns, call, at);
  if (status !== 0) return undoInode(ns, at, status);
  ns.inodes.setLinkCount(at, 2);
  ns.inodes.setSize(at, DIRECTORY_BYTES);
  ns.inodes.setParent(at, parent);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
  return 0;
}

/** The ACLs that the caller has inherited for the new directory: 0 or an errno. */
function addAcls(ns: Namespace, call: Call, at: number): number {
  const { words, bytes } = call.memory;
  const accessBytes = readU16(words, call.body + MakeDirInodeRequest.accessAclBytes);
  const defaultBytes = readU16(words, call.body + MakeDirInodeRequest.defaultAclBytes);
  if (accessBytes + defaultBytes === 0) return 0;
  const first = call.body + MakeDirInodeRequest.SIZE;
  const second = first + accessBytes;
  if (second + defaultBytes > call.body + call.bodyBytes) return errno.EINVAL;
  const acls = [];
  if (accessBytes > 0) acls.push({ name: ACCESS_ACL, value: bytes.subarray(first, second) });
  if (defaultBytes > 0) {
    acls.push({ name: DEFAULT_ACL, value: bytes.subarray(second, second + defaultBytes) });
  }
  if (acls.some((each) => !isAcl(each.value))) return errno.EINVAL;
  return storeXattrs(ns, at, acls);
}

/** Whether a new directory gets something of this one: its group, its default ACL. */
function bequeaths(ns: Namespace, directory: number): boolean {
  const acl = ns.inodes.get32(directory, InodeRecord.flags) & FLAG_DEFAULT_ACL;
  return acl !== 0 || (ns.inodes.mode(directory) & S_ISGID) !== 0;
}

/** mkdir, second half: refused where the inode would have to have inherited and has not. */
export function linkDirEntry(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, LinkDirEntryRequest.nameBytes, LinkDirEntryRequest.SIZE);
  if (refused !== 0) return refused;
  const inode = ns.inodeField(call, LinkDirEntryRequest.inode);
  const directory = ns.loadDirectory(ns.inodeField(call, LinkDirEntryRequest.parent));
  if (directory < 0) return -directory;
  if (inode === 0) return errno.EINVAL;
  const { words, bytes } = call.memory;
  const nameBytes = readU16(words, call.body + LinkDirEntryRequest.nameBytes);
  const flags = readU16(words, call.body + LinkDirEntryRequest.flags);
  const parent = ns.inodes.inode(directory);
  const name = call.body + LinkDirEntryRequest.SIZE;
  const exists = ns.dentries.find(parent, bytes, name, nameBytes, ns.found);
  if (exists) {
    const stale = readU53(words, call.body + LinkDirEntryRequest.staleInode);
    const replaces = (flags & REPLACE_STALE) !== 0 && ns.found.mode === S_IFDIR;
    if (!replaces || ns.found.inode !== stale) return errno.EEXIST;
  } else if (ns.found.cookie < 0) return errno.ENOSPC;
  if ((flags & HAS_INHERITED) === 0 && bequeaths(ns, directory)) return errno.EAGAIN;
  if (!exists) {
    const count = ns.inodes.linkCount(directory);
    if (count >= linkCountMax) return errno.EMLINK;
    ns.inodes.setLinkCount(directory, count + 1);
  }
  addEntry(ns, call, directory, inode, S_IFDIR, LinkDirEntryRequest.SIZE, nameBytes);
  const { out, reply } = call;
  out.words[(reply + LinkDirEntryReply.parentMode) >>> 2] = ns.inodes.mode(directory);
  out.words[(reply + LinkDirEntryReply.parentGid) >>> 2] = ns.inodes.get32(
    directory,
    InodeRecord.gid,
  );
  call.replyBytes = LinkDirEntryReply.SIZE;
  call.result0 = parent;
  return 0;
}

export function link(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, LinkRequest.nameBytes, LinkRequest.SIZE);
  if (refused !== 0) return refused;
  const inode = ns.inodeField(call, LinkRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const directory = ns.loadDirectory(ns.inodeField(call, LinkRequest.parent));
  if (directory < 0) return -directory;
  const { words, bytes } = call.memory;
  const nameBytes = readU16(words, call.body + LinkRequest.nameBytes);
  const parent = ns.inodes.inode(directory);
  const name = call.body + LinkRequest.SIZE;
  if (ns.dentries.find(parent, bytes, name, nameBytes, ns.found)) return errno.EEXIST;
  if (!ns.ownsInode(inode)) return errno.EXDEV;
  const at = ns.inodes.load(inode);
  if (at < 0) return ESTALE;
  if (ns.inodes.isDirectory(at)) return errno.EPERM;
  const count = ns.inodes.linkCount(at);
  if (count === 0) return errno.ENOENT;
  if (count >= linkCountMax) return errno.EMLINK;
  if (ns.found.cookie < 0) return errno.ENOSPC;
  ns.inodes.setLinkCount(at, count + 1);
  ns.inodes.setCtime(at, ns.host.now());
  ns.inodes.touch(at);
  const type = ns.inodes.mode(at) & S_IFMT;
  addEntry(ns, call, directory, inode, type, LinkRequest.SIZE, nameBytes);
  ns.replyAttributes(call, at, 0);
  call.result0 = inode;
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
