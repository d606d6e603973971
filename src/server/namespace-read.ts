/** Operations that change nothing: Lookup, GetAttr, ReadLink, ReadDir. They see what is committed. */
import { EREMCHG, errno, ESTALE } from '../common/errno.js';
import {
  Attributes,
  DirEntry,
  InodeRequest,
  LookupReply,
  NameRequest,
  PartitionRange,
  PartitionsReply,
} from '../protocol/wire.generated.js';
import { HAS_ATTRIBUTES } from '../protocol/leases.js';
import { symlinkBytesMax } from '../protocol/limits.generated.js';
import { readU16, readU53, writeU16, writeU53 } from '../protocol/u53.js';
import { Dentry, type DirectoryVisitor } from './dentries.js';
import {
  FLAG_SPLIT,
  InodeRecord,
  modeOf,
  S_IFDIR,
  S_IFLNK,
  S_IFMT,
  storedInode,
  storedMode,
} from './inode-record.js';
import { COLLISIONS, linkTargetKey } from './keys.js';
import type { ListedGrants } from './leases/listed-grants.js';
import type { Call, Namespace, WireMemory } from './namespace.js';
import {
  flagsOf,
  hashAfter,
  isDivided,
  PARTITIONS_MAX,
  rangeOf,
  readTable,
} from './partitions/table.js';
import { LOCK_TABLE } from './transactions/locks.js';

/** Bytes that a LookupReply needs while it is written: a record is copied whole. */
export const LOOKUP_ROOM = LookupReply.attributes + InodeRecord.SIZE;

export function lookup(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, NameRequest.nameBytes, NameRequest.SIZE);
  if (refused !== 0) return refused;
  const parent = ns.inodeField(call, NameRequest.parent);
  if (parent === 0) return errno.EINVAL;
  const nameBytes = readU16(call.memory.words, call.body + NameRequest.nameBytes);
  const name = call.body + NameRequest.SIZE;
  const { memory } = call;
  // A partition that takes another's entries in has them already, but they are not its own yet.
  const isTaking = ns.locks.size > 0 && ns.locks.inode(parent)?.kind === LOCK_TABLE;
  if (isTaking && !holdsName(ns, parent, memory, name, nameBytes)) return EREMCHG;
  if (!ns.dentries.find(parent, memory.bytes, name, nameBytes, ns.found)) {
    // Entries are only where their directory is: only a miss has to ask what the directory is.
    const directory = storedInode(ns.meta, parent);
    if (directory === undefined) return ESTALE;
    if ((modeOf(directory) & S_IFMT) !== S_IFDIR) return errno.ENOTDIR;
    return holdsName(ns, parent, memory, name, nameBytes) ? errno.ENOENT : EREMCHG;
  }
  const { words, bytes } = call.out;
  const { inode, mode } = ns.found;
  // An entry whose inode is gone (half of an rmdir) looks like one whose inode is elsewhere: the
  // client asks for it by number, learns that it is gone, and removes the entry.
  const record = ns.ownsInode(inode) ? shownInode(ns, inode) : undefined;
  const hasAttributes = record === undefined ? 0 : 1;
  const at = call.reply + LookupReply.attributes;
  if (record === undefined) bytes.fill(0, at, at + Attributes.SIZE);
  else bytes.set(record, at);
  writeU53(words, call.reply + LookupReply.inode, inode);
  words[(call.reply + LookupReply.mode) >>> 2] = mode;
  words[(call.reply + LookupReply.flags) >>> 2] = hasAttributes;
  call.replyBytes = LookupReply.SIZE;
  return 0;
}

/** The stored record, if it is all there is to be shown of the inode. */
function shownInode(ns: Namespace, inode: number): Uint8Array | undefined {
  const record = storedInode(ns.meta, inode);
  if (record === undefined || (flagsOf(record) & FLAG_SPLIT) !== 0) return undefined;
  return record;
}

function holdsName(
  ns: Namespace,
  parent: number,
  { bytes }: WireMemory,
  name: number,
  nameBytes: number,
): boolean {
  return ns.holdsStored(parent, ns.dentries.hashOf(bytes, name, nameBytes));
}

/** GetPartitions. */
export function getPartitions(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const mode = storedMode(ns.meta, inode);
  if (mode === 0) return ESTALE;
  if ((mode & S_IFMT) !== S_IFDIR) return errno.ENOTDIR;
  const rows = readTable(ns.meta, inode)?.rows ?? [];
  const { words } = call.out;
  words[(call.reply + PartitionsReply.count) >>> 2] = rows.length;
  words[(call.reply + PartitionsReply.reserved) >>> 2] = 0;
  let at = call.reply + PartitionsReply.SIZE;
  for (const row of rows) {
    writeU53(words, at + PartitionRange.first, row.first);
    writeU53(words, at + PartitionRange.inode, row.inode);
    at += PartitionRange.SIZE;
  }
  call.replyBytes = at - call.reply;
  return 0;
}

export const PARTITIONS_ROOM = PartitionsReply.SIZE + PARTITIONS_MAX * PartitionRange.SIZE;

export function getAttr(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  return inode === 0 ? errno.EINVAL : ns.replyStored(call, inode, true);
}

/** The target's bytes; the padding behind them is zeros, which no target holds. */
export function readLink(ns: Namespace, call: Call): number {
  const inode = ns.inodeField(call, InodeRequest.inode);
  if (inode === 0) return errno.EINVAL;
  const target = ns.meta.get(linkTargetKey(inode));
  if (target !== undefined) {
    if (target.length > symlinkBytesMax) return errno.EIO;
    call.out.bytes.set(target, call.reply);
    call.replyBytes = target.length;
    return 0;
  }
  const record = storedInode(ns.meta, inode);
  if (record === undefined) return ESTALE;
  return (modeOf(record) & S_IFMT) === S_IFLNK ? errno.EIO : errno.EINVAL;
}

/** What `listDirectory` has written. */
export class Listing {
  /** What is granted with its entries; null: nothing. */
  grants: ListedGrants | null = null;
  bytes = 0;
  entries = 0;
  ended = false;
  /** The hash that the directory goes on with elsewhere. */
  rangeEnd = 0;
}

/**
 * Packs entries after `cookie` as DirEntry records at `offset` of `out`, at most `maxBytes`. Status.
 * The caller's memory is filled in two passes, because a scan allows no other read: entries with
 * room for their attributes, then the attributes.
 */
export function listDirectory(
  ns: Namespace,
  directory: number,
  cookie: number,
  withAttributes: boolean,
  out: WireMemory,
  offset: number,
  maxBytes: number,
  listing: Listing,
): number {
  const record = storedInode(ns.meta, directory);
  if (record === undefined) return ESTALE;
  if ((modeOf(record) & S_IFMT) !== S_IFDIR) return errno.ENOTDIR;
  const flags = flagsOf(record);
  const range = rangeOf(ns.meta, directory, flags);
  const begin = hashAfter(cookie);
  if (isDivided(flags) && (begin < range.first || begin >= range.end)) return EREMCHG;
  listing.rangeEnd = range.end;
  let at = offset;
  let entries = 0;
  listing.ended = true;
  const visit: DirectoryVisitor = (entryCookie, inode, mode, value) => {
    const nameBytes = value.length - Dentry.name;
    // Attributes that are about to change are asked for one by one: then the answer can wait.
    const isLocked =
      (ns.locks.size > 0 && ns.locks.attributes(inode) !== undefined) ||
      ns.recalls.inode(inode) !== undefined;
    const attributes = withAttributes && !isLocked && ns.ownsInode(inode) ? 1 : 0;
    const name = at + DirEntry.SIZE + attributes * Attributes.SIZE;
    const end = (name + nameBytes + 7) & ~7;
    if (end - offset > maxBytes) {
      listing.ended = false;
      return false;
    }
    writeU53(out.words, at + DirEntry.inode, inode);
    writeU53(out.words, at + DirEntry.cookie, entryCookie);
    writeU16(out.words, at + DirEntry.nameBytes, nameBytes);
    const leases = listing.grants?.entry(Math.floor(entryCookie / COLLISIONS)) ?? 0;
    writeU16(out.words, at + DirEntry.hasAttributes, attributes | leases);
    out.words[(at + DirEntry.mode) >>> 2] = mode;
    for (let i = 0; i < nameBytes; i++) out.bytes[name + i] = value[Dentry.name + i]!;
    for (let i = name + nameBytes; i < end; i++) out.bytes[i] = 0;
    at = end;
    entries++;
    return true;
  };
  ns.dentries.list(directory, cookie, visit, range.end * COLLISIONS);
  if (withAttributes) at = fillAttributes(ns, out, offset, at, listing.grants);
  listing.bytes = at - offset;
  listing.entries = entries;
  // Not even one entry fits: the caller's buffer is too small, and silence would look like the end.
  return entries === 0 && !listing.ended ? errno.EINVAL : 0;
}

/** Returns the new end: an entry whose inode is gone loses the room for its attributes. */
function fillAttributes(
  ns: Namespace,
  out: WireMemory,
  offset: number,
  endOfPlain: number,
  grants: ListedGrants | null,
): number {
  let end = endOfPlain;
  let at = offset;
  while (at < end) {
    const nameBytes = readU16(out.words, at + DirEntry.nameBytes);
    const flags = readU16(out.words, at + DirEntry.hasAttributes);
    const room = (flags & HAS_ATTRIBUTES) * Attributes.SIZE;
    const next = (at + DirEntry.SIZE + room + nameBytes + 7) & ~7;
    if (room === 0) {
      at = next;
      continue;
    }
    const inode = readU53(out.words, at + DirEntry.inode);
    const record = shownInode(ns, inode);
    const attributes = at + DirEntry.SIZE;
    if (record !== undefined) {
      out.bytes.set(record.subarray(0, Attributes.SIZE), attributes);
      const leased = grants?.inode(inode, isDivided(flagsOf(record))) ?? 0;
      if (leased !== 0) writeU16(out.words, at + DirEntry.hasAttributes, flags | leased);
      at = next;
      continue;
    }
    writeU16(out.words, at + DirEntry.hasAttributes, flags & ~HAS_ATTRIBUTES);
    out.bytes.copyWithin(attributes, attributes + Attributes.SIZE, end);
    end -= Attributes.SIZE;
    at = next - Attributes.SIZE;
  }
  return end;
}
