/** Operations that take a name away from something that is no directory, and a volume's root. */
import { errno, ESTALE } from '../common/errno.js';
import type { WallClock } from '../common/scheduler.js';
import { InodeRequest, NameRequest, UnlinkReply } from '../protocol/wire.generated.js';
import { readU16, writeI53, writeU53 } from '../protocol/u53.js';
import type { Mutation } from './batch.js';
import { S_IFDIR } from './inode-record.js';
import type { Call, Namespace } from './namespace.js';
import { dropOtherPieces, dropPartitions } from './namespace-directories.js';
import { PENDING, STEP_DROP_LINK, StepRequest } from './transactions/step.js';

const NEVER: Readonly<WallClock> = { seconds: 0, nanoseconds: 0 };

export function unlink(ns: Namespace, call: Call, mutation: Mutation): number {
  const refused = ns.checkName(call, NameRequest.nameBytes, NameRequest.SIZE);
  if (refused !== 0) return refused;
  const directory = ns.loadDirectory(ns.inodeField(call, NameRequest.parent));
  if (directory < 0) return -directory;
  const nameBytes = readU16(call.memory.words, call.body + NameRequest.nameBytes);
  const parent = ns.inodes.inode(directory);
  const name = call.body + NameRequest.SIZE;
  const locked = ns.checkEntryLock(call, parent, name, nameBytes);
  if (locked !== 0) return locked;
  if (!ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) return errno.ENOENT;
  if (ns.found.mode === S_IFDIR) return errno.EISDIR;
  const { inode, cookie } = ns.found;
  const remaining = dropOtherLink(ns, call, mutation, inode);
  if (remaining < 0) return remaining;
  const decided = ns.host.coordinator.decide(mutation);
  if (decided !== 0) return decided;
  const at = ns.inodes.load(inode);
  ns.dentries.remove(parent, cookie);
  ns.inodes.setChanged(directory, ns.host.now());
  ns.inodes.touch(directory);
  if (at >= 0) ns.dropLink(at);
  replyUnlink(call, inode, remaining, ns.host.now());
  call.result0 = inode;
  call.result1 = remaining;
  return 0;
}

/**
 * A name of this inode, which is no directory, is about to go: how many remain, or PENDING or BLOCKED.
 * Where the inode lies here the caller drops the link.
 */
export function dropOtherLink(
  ns: Namespace,
  call: Call,
  mutation: Mutation,
  inode: number,
): number {
  if (!ns.ownsInode(inode)) {
    const dropped = ns.host.coordinator.need(mutation, new StepRequest(STEP_DROP_LINK, inode));
    return dropped === undefined ? PENDING : dropped.count;
  }
  const held = ns.checkInodeLock(call, inode);
  if (held !== 0) return held;
  const at = ns.inodes.load(inode);
  return at < 0 ? 0 : Math.max(0, ns.inodes.linkCount(at) - 1);
}

/** `now`: of the directory's change; a reply that is given again does not know it. */
export function replyUnlink(call: Call, inode: number, remaining: number, now = NEVER): void {
  const { words } = call.out;
  const { reply } = call;
  writeU53(words, reply + UnlinkReply.inode, inode);
  writeI53(words, reply + UnlinkReply.changeSeconds, now.seconds);
  words[(reply + UnlinkReply.changeNanoseconds) >>> 2] = now.nanoseconds;
  words[(reply + UnlinkReply.linkCount) >>> 2] = remaining;
  words[(reply + UnlinkReply.flags) >>> 2] = 0;
  words[(reply + UnlinkReply.reserved) >>> 2] = 0;
  call.replyBytes = UnlinkReply.SIZE;
}

/** A volume is deleted: its root goes, if nothing is in it. One that is gone already is fine. */
export function ensureEmptyRoot(ns: Namespace, call: Call, mutation: Mutation): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  if (inode === 0) return errno.EINVAL;
  if (!ns.ownsInode(inode)) return ESTALE;
  const at = ns.inodes.load(inode);
  if (at < 0) return 0;
  if (!ns.inodes.isDirectory(at) || ns.inodes.parent(at) !== 0) return errno.EINVAL;
  if (!ns.dentries.isEmpty(inode)) return errno.ENOTEMPTY;
  const held = ns.checkInodeLock(call, inode);
  if (held !== 0) return held;
  const refusal = dropOtherPieces(ns, call, mutation, inode);
  if (refusal !== 0) return refusal;
  const decided = ns.host.coordinator.decide(mutation);
  if (decided !== 0) return decided;
  ns.dropInode(at);
  dropPartitions(ns);
  return 0;
}
