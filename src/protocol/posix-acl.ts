/**
 * POSIX access control lists as the kernel hands them over in the extended attributes
 * system.posix_acl_access and system.posix_acl_default (linux/posix_acl_xattr.h, little endian):
 * u32 version 2, then entries of u16 tag, u16 permissions, u32 uid or gid, sorted by tag. The rules
 * are acl(5)'s: what mode an ACL shows, how chmod changes it, what a new file inherits.
 */
import { aclBytesMax } from './limits.generated.js';

const VERSION = 2;
const HEADER_BYTES = 4;
const ENTRY_BYTES = 8;

const USER_OBJ = 1;
const USER = 2;
const GROUP_OBJ = 4;
const GROUP = 8;
const MASK = 16;
const OTHER = 32;

const tags = [USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER];
const PERMISSIONS = 0o777;

/** No entries: the same as no ACL. */
export function isEmptyAcl(acl: Uint8Array): boolean {
  return acl.length <= HEADER_BYTES;
}

/**
 * Whether this is an ACL: entries of known tags in ascending order, one each of owner, group and
 * others, a mask (at most one) if there is a named entry.
 */
export function isAcl(acl: Uint8Array): boolean {
  if (acl.length < HEADER_BYTES || acl.length > aclBytesMax) return false;
  if ((acl.length - HEADER_BYTES) % ENTRY_BYTES !== 0) return false;
  const view = new DataView(acl.buffer, acl.byteOffset, acl.length);
  if (view.getUint32(0, true) !== VERSION) return false;
  const counts = new Map<number, number>();
  let last = 0;
  for (let at = HEADER_BYTES; at < acl.length; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    if (!tags.includes(tag) || tag < last || view.getUint16(at + 2, true) > 7) return false;
    counts.set(tag, (counts.get(tag) ?? 0) + 1);
    last = tag;
  }
  const named = counts.has(USER) || counts.has(GROUP);
  if (counts.get(USER_OBJ) !== 1 || counts.get(GROUP_OBJ) !== 1 || counts.get(OTHER) !== 1) {
    return false;
  }
  return named ? counts.get(MASK) === 1 : (counts.get(MASK) ?? 0) <= 1;
}

/** The entries of an ACL that the mode shows: offsets of their permissions, -1 where there is none. */
interface Classes {
  owner: number;
  group: number;
  mask: number;
  other: number;
  named: boolean;
}

function classesOf(view: DataView): Classes {
  const classes = { owner: -1, group: -1, mask: -1, other: -1, named: false };
  for (let at = HEADER_BYTES; at + ENTRY_BYTES <= view.byteLength; at += ENTRY_BYTES) {
    const tag = view.getUint16(at, true);
    if (tag === USER_OBJ) classes.owner = at + 2;
    else if (tag === GROUP_OBJ) classes.group = at + 2;
    else if (tag === MASK) classes.mask = at + 2;
    else if (tag === OTHER) classes.other = at + 2;
    else classes.named = true;
  }
  return classes;
}

function permissionsAt(view: DataView, at: number): number {
  return at < 0 ? 0 : view.getUint16(at, true) & 7;
}

function viewOf(acl: Uint8Array): DataView {
  return new DataView(acl.buffer, acl.byteOffset, acl.length);
}

/** The nine bits of the mode; `equivalent`: they say all that the ACL says. */
export function modeOfAcl(acl: Uint8Array): { permissions: number; equivalent: boolean } {
  const view = viewOf(acl);
  const { owner, group, mask, other, named } = classesOf(view);
  const groupClass = permissionsAt(view, mask < 0 ? group : mask);
  const permissions =
    (permissionsAt(view, owner) << 6) | (groupClass << 3) | permissionsAt(view, other);
  return { permissions, equivalent: mask < 0 && !named };
}

/** chmod: a copy whose owner, mask (without one: group) and others are the mode's. */
export function aclOfMode(acl: Uint8Array, mode: number): Uint8Array {
  const changed = Uint8Array.from(acl);
  const view = viewOf(changed);
  const { owner, group, mask, other } = classesOf(view);
  const groupClass = mask < 0 ? group : mask;
  if (owner >= 0) view.setUint16(owner, (mode >>> 6) & 7, true);
  if (groupClass >= 0) view.setUint16(groupClass, (mode >>> 3) & 7, true);
  if (other >= 0) view.setUint16(other, mode & 7, true);
  return changed;
}

export interface Inherited {
  /** Of the new file: what it was asked for, as far as the ACL permits. */
  mode: number;
  /** Its access ACL; null: the mode says it all. */
  access: Uint8Array | null;
  /** A copy of the default ACL, for a directory. */
  copy: Uint8Array;
}

/** What a file that is made with `mode` gets from the default ACL of its directory. */
export function inheritAcl(defaultAcl: Uint8Array, mode: number): Inherited {
  const copy = Uint8Array.from(defaultAcl);
  const { permissions, equivalent } = modeOfAcl(copy);
  const granted = mode & permissions;
  const access = equivalent ? null : aclOfMode(copy, granted);
  return { mode: (mode & ~PERMISSIONS) | granted, access, copy };
}
