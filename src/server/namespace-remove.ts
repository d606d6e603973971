/** Operations that take a name away: Unlink, the halves of rmdir, the end of a volume's root. */
import { errno, ESTALE } from '../common/errno.js';
import {
  DropDirInodeRequest,
  InodeRequest,
  NameRequest,
  UnlinkDirEntryRequest,
  UnlinkReply,
} from '../protocol/wire.generated.js';
import { readU16, writeU53 } from '../protocol/u53.js';
import { S_IFDIR } from './inode-record.js';
import type { Call, Namespace } from './namespace.js';

export function unlink(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, NameRequest.nameBytes, NameRequest.SIZE);
  if (refused !== 0) return refused;
  const directory = ns.loadDirectory(ns.inodeField(call, NameRequest.parent));
  if (directory < 0) return -directory;
  const nameBytes = readU16(call.memory.words, call.body + NameRequest.nameBytes);
  const parent = ns.inodes.inode(directory);
  const name = call.body + NameRequest.SIZE;
  if (!ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) return errno.ENOENT;
  if (ns.found.mode === S_IFDIR) return errno.EISDIR;
  const { inode, cookie } = ns.found;
  const at = ns.inodes.load(inode);
  ns.dentries.remove(parent, cookie);
  ns.inodes.setChanged(directory, ns.host.now());
  ns.inodes.touch(directory);
  let remaining = 0;
  if (at >= 0) {
    remaining = ns.inodes.linkCount(at) - 1;
    ns.dropLink(at);
  }
  replyUnlink(call, inode, remaining);
  call.result0 = inode;
  call.result1 = remaining;
  return 0;
}

export function replyUnlink(call: Call, inode: number, remaining: number): void {
  writeU53(call.out.words, call.reply + UnlinkReply.inode, inode);
  call.out.words[(call.reply + UnlinkReply.linkCount) >>> 2] = remaining;
  call.out.words[(call.reply + UnlinkReply.reserved) >>> 2] = 0;
  call.replyBytes = UnlinkReply.SIZE;
}

/** rmdir, first half: the directory's inode, if nothing is in it. */
export function dropDirInode(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, DropDirInodeRequest.inode);
  const at = ns.loadDirectory(inode);
  if (at < 0) return -at;
  if (ns.inodes.parent(at) === 0) return errno.EBUSY;
  if (!ns.dentries.isEmpty(inode)) return errno.ENOTEMPTY;
  ns.dropInode(at);
  return 0;
}

/** rmdir, second half. */
export function unlinkDirEntry(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, UnlinkDirEntryRequest.nameBytes, UnlinkDirEntryRequest.SIZE);
  if (refused !== 0) return refused;
  const directory = ns.loadDirectory(ns.inodeField(call, UnlinkDirEntryRequest.parent));
  if (directory < 0) return -directory;
  const inode = ns.inodeField(call, UnlinkDirEntryRequest.inode);
  const nameBytes = readU16(call.memory.words, call.body + UnlinkDirEntryRequest.nameBytes);
  const parent = ns.inodes.inode(directory);
  const name = call.body + UnlinkDirEntryRequest.SIZE;
  if (!ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) return errno.ENOENT;
  if (ns.found.mode !== S_IFDIR || ns.found.inode !== inode) return errno.ENOENT;
  ns.dentries.remove(parent, ns.found.cookie);
  ns.inodes.setLinkCount(directory, Math.max(2, ns.inodes.linkCount(directory) - 1));
  ns.inodes.setChanged(directory, ns.host.now());
  ns.inodes.touch(directory);
  return 0;
}

/** A volume is deleted: its root goes, if nothing is in it. One that is gone already is fine. */
export function ensureEmptyRoot(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  if (inode === 0) return errno.EINVAL;
  if (!ns.ownsInode(inode)) return ESTALE;
  const at = ns.inodes.load(inode);
  if (at < 0) return 0;
  if (!ns.inodes.isDirectory(at) || ns.inodes.parent(at) !== 0) return errno.EINVAL;
  if (!ns.dentries.isEmpty(inode)) return errno.ENOTEMPTY;
  ns.dropInode(at);
  return 0;
}
