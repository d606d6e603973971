/**
 * What the kernel would let a program do with an inode, decided from mode, owner and the program's credentials as
 * the kernel decides it: path_resolution(7), acl(5), capabilities(7), sticky directories of unlink(2) and rename(2),
 * chmod(2), chown(2), utimensat(2), truncate(2).
 * Whatever depends on an access control list is left to the kernel: Fallback.Path.
 */
import { errno } from '../common/errno.js';
import { Fallback } from '../native/intercept.js';
import { FLAG_ACCESS_ACL, S_IFMT, S_IFREG, S_ISGID, S_ISVTX } from './attributes.js';
import type { FileAttributes } from './attributes.js';
import type { Credentials } from './credentials.js';

/** As access(2) has them. */
export const EXECUTE = 1;
export const WRITE = 2;
export const READ = 4;
/** Of chown(2): this id stays. */
export const UNCHANGED = 0xffffffff;

function isMember(who: Credentials, gid: number): boolean {
  return gid === who.gid || who.groups.includes(gid);
}

function isOwner(attributes: FileAttributes, who: Credentials): boolean {
  return attributes.uid === who.uid || who.ownsAll;
}

/** By the mode alone: 0, EACCES, or Fallback.Path. */
function judgeMode(attributes: FileAttributes, who: Credentials, wanted: number): number {
  const { mode, gid } = attributes;
  let bits = mode;
  if (attributes.uid === who.uid) {
    bits = mode >> 6;
  } else {
    if ((attributes.flags & FLAG_ACCESS_ACL) !== 0) return Fallback.Path;
    if (isMember(who, gid)) bits = mode >> 3;
  }
  return (bits & wanted) === wanted ? 0 : errno.EACCES;
}

/** 0: `who` may pass through the directory; EACCES; or Fallback.Path. */
export function mayPass(attributes: FileAttributes, who: Credentials): number {
  return who.passesDirectories ? 0 : judgeMode(attributes, who, EXECUTE);
}

/** The same of making and removing names in it. */
export function mayChange(attributes: FileAttributes, who: Credentials): number {
  return who.overrides ? 0 : judgeMode(attributes, who, WRITE | EXECUTE);
}

/**
 * The same of an inode of any kind, `wanted` as of access(2). Whether something is a program that may be executed
 * depends on the mount, too: the kernel's.
 */
export function mayAccess(attributes: FileAttributes, who: Credentials, wanted: number): number {
  if (wanted === 0) return 0;
  const isDirectory = attributes.isDirectory();
  if (!isDirectory && (wanted & EXECUTE) !== 0) return Fallback.Path;
  if (who.overrides) return 0;
  const reads = (wanted & WRITE) === 0;
  return reads && who.passesDirectories ? 0 : judgeMode(attributes, who, wanted);
}

/** Names in the directory may only be removed by who owns it, or the inode that has the name. */
export function isSticky(directory: FileAttributes, who: Credentials): boolean {
  return (directory.mode & S_ISVTX) !== 0 && directory.uid !== who.uid && !who.ownsAll;
}

/** chmod(2): 0, EPERM or Fallback.Path. A list changes with the mode, and the kernel remembers it. */
export function mayChangeMode(attributes: FileAttributes, who: Credentials): number {
  if ((attributes.flags & FLAG_ACCESS_ACL) !== 0) return Fallback.Path;
  return isOwner(attributes, who) ? 0 : errno.EPERM;
}

/** The mode that it gets: who is no member of its group may not have others be taken for one. */
export function modeAllowed(attributes: FileAttributes, who: Credentials, mode: number): number {
  return who.dropsSetId && !isMember(who, attributes.gid) ? mode & ~S_ISGID : mode;
}

/** Programs that are made in the directory would get a group that their maker is no member of: no set-group-ID bit. */
export function dropsSetGroup(directory: FileAttributes, who: Credentials): boolean {
  return (directory.mode & S_ISGID) !== 0 && who.dropsSetId && !isMember(who, directory.gid);
}

/** chown(2), to `uid` and `gid` or UNCHANGED: 0, EPERM or Fallback.Path. */
export function mayChangeOwner(
  attributes: FileAttributes,
  who: Credentials,
  uid: number,
  gid: number,
): number {
  if ((attributes.flags & FLAG_ACCESS_ACL) !== 0) return Fallback.Path;
  if (who.changesOwners) return 0;
  const isOwn = attributes.uid === who.uid;
  const mayUser = uid === UNCHANGED || (isOwn && uid === attributes.uid);
  const mayGroup = gid === UNCHANGED || (isOwn && (gid === attributes.gid || isMember(who, gid)));
  return mayUser && mayGroup ? 0 : errno.EPERM;
}

/** utimensat(2); `areNow`: both times are to be now. 0, EPERM, EACCES or Fallback.Path. */
export function maySetTimes(attributes: FileAttributes, who: Credentials, areNow: boolean): number {
  if (isOwner(attributes, who)) return 0;
  return areNow ? mayAccess(attributes, who, WRITE) : errno.EPERM;
}

/** A program's own extended attributes, to be read or changed: 0, EPERM, EACCES or Fallback.Path. */
export function mayUseXattr(
  attributes: FileAttributes,
  who: Credentials,
  changes: boolean,
): number {
  const isDirectory = attributes.isDirectory();
  // Which others have them, and what they say instead, is the kernel's affair.
  if (!isDirectory && (attributes.mode & S_IFMT) !== S_IFREG) return Fallback.Path;
  const isOthers = isDirectory && (attributes.mode & S_ISVTX) !== 0 && !isOwner(attributes, who);
  if (changes && isOthers) return errno.EPERM;
  return mayAccess(attributes, who, changes ? WRITE : READ);
}

/** truncate(2): 0, EISDIR, EINVAL, EACCES or Fallback.Path. */
export function mayTruncate(attributes: FileAttributes, who: Credentials): number {
  if (attributes.isDirectory()) return errno.EISDIR;
  if ((attributes.mode & S_IFMT) !== S_IFREG) return errno.EINVAL;
  return mayAccess(attributes, who, WRITE);
}
