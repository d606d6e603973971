/**
 * What the kernel would let a program do with an inode, decided from mode, owner and the program's credentials as
 * the kernel decides it: path_resolution(7), acl(5), capabilities(7), sticky directories of unlink(2) and rename(2).
 * Whatever depends on an access control list is left to the kernel: Fallback.Path.
 */
import { errno } from '../common/errno.js';
import { Fallback } from '../native/intercept.js';
import { FLAG_ACCESS_ACL } from './attributes.js';
import type { FileAttributes } from './attributes.js';
import type { Credentials } from './credentials.js';

/** As access(2) has them. */
export const EXECUTE = 1;
export const WRITE = 2;
export const READ = 4;
const S_ISVTX = 0o1000;

/** By the mode alone: 0, EACCES, or Fallback.Path. */
function judgeMode(attributes: FileAttributes, who: Credentials, wanted: number): number {
  const { mode, gid } = attributes;
  let bits = mode;
  if (attributes.uid === who.uid) {
    bits = mode >> 6;
  } else {
    if ((attributes.flags & FLAG_ACCESS_ACL) !== 0) return Fallback.Path;
    if (gid === who.gid || who.groups.includes(gid)) bits = mode >> 3;
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
