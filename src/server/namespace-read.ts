/** Operations that change nothing: Lookup, GetAttr, ReadLink, ReadDir. They see what is committed. */
import { errno, ESTALE } from '../common/errno.js';
import {
  Attributes,
  DirEntry,
  InodeRequest,
  LookupReply,
  NameRequest,
} from '../protocol/wire.generated.js';
import { symlinkBytesMax } from '../protocol/limits.generated.js';
import { readU16, readU53, writeU16, writeU53 } from '../protocol/u53.js';
import { Dentry } from './dentries.js';
import { InodeRecord, modeOf, S_IFDIR, S_IFLNK, S_IFMT, storedInode } from './inode-record.js';
import { linkTargetKey } from './keys.js';
import type { Call, Namespace, WireMemory } from './namespace.js';

/** Bytes that a LookupReply needs while it is written: a record is copied whole. */
export const LOOKUP_ROOM = LookupReply.attributes + InodeRecord.SIZE;

export function lookup(ns: Namespace, call: Call): number {
  const refused = ns.checkName(call, NameRequest.nameBytes, NameRequest.SIZE);
  if (refused !== 0) return refused;
  const parent = ns.inodeField(call, NameRequest.parent);
  if (parent === 0) return errno.EINVAL;
  const nameBytes = readU16(call.memory.words, call.body + NameRequest.nameBytes);
  const name = call.body + NameRequest.SIZE;
  if (!ns.dentries.find(parent, call.memory.bytes, name, nameBytes, ns.found)) {
    // Entries are only where their directory is: only a miss has to ask what the directory is.
    const directory = storedInode(ns.meta, parent);
    if (directory === undefined) return ESTALE;
    return (modeOf(directory) & S_IFMT) === S_IFDIR ? errno.ENOENT : errno.ENOTDIR;
  }
  const { words, bytes } = call.out;
  const { inode, mode } = ns.found;
  // An entry whose inode is gone (half of an rmdir) looks like one whose inode is elsewhere: the
  // client asks for it by number, learns that it is gone, and removes the entry.
  const record = ns.ownsInode(inode) ? storedInode(ns.meta, inode) : undefined;
  const hasAttributes = record === undefined ? 0 : 1;
  const at = call.reply + LookupReply.attributes;
  if (record === undefined) bytes.fill(0, at, at + Attributes.SIZE);
  else bytes.set(record, at);
  writeU53(words, call.reply + LookupReply.inode, inode);
  words[(call.reply + LookupReply.mode) >>> 2] = mode;
  words[(call.reply + LookupReply.hasAttributes) >>> 2] = hasAttributes;
  call.replyBytes = LookupReply.SIZE;
  return 0;
}

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
  bytes = 0;
  entries = 0;
  ended = false;
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
  let at = offset;
  let entries = 0;
  listing.ended = true;
  ns.dentries.list(directory, cookie, (entryCookie, inode, mode, value) => {
    const nameBytes = value.length - Dentry.name;
    // Attributes that are about to change are asked for one by one: then the answer can wait.
    const isLocked = ns.locks.size > 0 && ns.locks.attributes(inode) !== undefined;
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
    writeU16(out.words, at + DirEntry.hasAttributes, attributes);
    out.words[(at + DirEntry.mode) >>> 2] = mode;
    for (let i = 0; i < nameBytes; i++) out.bytes[name + i] = value[Dentry.name + i]!;
    for (let i = name + nameBytes; i < end; i++) out.bytes[i] = 0;
    at = end;
    entries++;
    return true;
  });
  if (withAttributes) at = fillAttributes(ns, out, offset, at);
  listing.bytes = at - offset;
  listing.entries = entries;
  // Not even one entry fits: the caller's buffer is too small, and silence would look like the end.
  return entries === 0 && !listing.ended ? errno.EINVAL : 0;
}

/** Returns the new end: an entry whose inode is gone loses the room for its attributes. */
function fillAttributes(ns: Namespace, out: WireMemory, offset: number, end: number): number {
  let at = offset;
  while (at < end) {
    const nameBytes = readU16(out.words, at + DirEntry.nameBytes);
    const room = readU16(out.words, at + DirEntry.hasAttributes) * Attributes.SIZE;
    const next = (at + DirEntry.SIZE + room + nameBytes + 7) & ~7;
    if (room === 0) {
      at = next;
      continue;
    }
    const record = storedInode(ns.meta, readU53(out.words, at + DirEntry.inode));
    const attributes = at + DirEntry.SIZE;
    if (record !== undefined) {
      out.bytes.set(record.subarray(0, Attributes.SIZE), attributes);
      at = next;
      continue;
    }
    writeU16(out.words, at + DirEntry.hasAttributes, 0);
    out.bytes.copyWithin(attributes, attributes + Attributes.SIZE, end);
    end -= Attributes.SIZE;
    at = next - Attributes.SIZE;
  }
  return end;
}
