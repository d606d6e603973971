/** Bits and kinds of leases on the wire (docs/leases.md). */

/** LookupReply.flags: the attributes follow. */
export const HAS_ATTRIBUTES = 1;
/** Leases that a reply grants: flags of LookupReply, AbsentReply, AttributesReply, ReadDirReply. */
export const LEASE_INODE = 2;
export const LEASE_ENTRY = 4;
export const LEASE_DIRECTORY = 8;
/** AttributesReply of Open, Create and TmpFile. */
export const LEASE_PAGES = 16;
/** AttributesReply of GetAttr: of what a directory's permissions are made of, apart from the rest. */
export const LEASE_PERMISSIONS = 32;

/** OpenRequest.flags, CreateRequest.flags: the client asks for it. */
export const OPEN_WANTS_PAGES = 8;
export const CREATE_WANTS_PAGES = 4;

/** Notice.kind */
export const NOTICE_INODE = 1;
export const NOTICE_ENTRY = 2;
export const NOTICE_DIRECTORY = 3;
export const NOTICE_LOCK = 4;
export const NOTICE_LOCK_PROBE = 5;
export const NOTICE_PAGES = 6;
export const NOTICE_PERMISSIONS = 7;

/** AwaitRequest.flags */
export const AWAIT_LEASES = 1;
/** AwaitRequest.incarnation: 32 bits of a target's incarnation, FNV-1a of its UTF-16 units. */
export function incarnationTag(incarnation: string): number {
  let tag = 0x811c9dc5;
  for (let i = 0; i < incarnation.length; i++) {
    tag = Math.imul(tag ^ incarnation.charCodeAt(i), 0x01000193);
  }
  return tag >>> 0;
}

/** Notices of one reply, at most. */
export const NOTICES_MAX = 256;

/** An Await without notices is answered after this time. */
export const AWAIT_BEAT_MS = 2000;
/** A client trusts leases for so long after it sent the last request that was answered. */
export const LEASE_TRUST_MS = 12_000;
/** A session that has not answered a recall is closed after. */
export const RECALL_LIMIT_MS = 15_000;
/** After this without an answer to a recall, an Await's answer extends no trust: it has run out when the session is closed. */
export const RECALL_OVERDUE_MS = RECALL_LIMIT_MS - LEASE_TRUST_MS;
/** NoticesReply.flags */
export const NOTICES_OVERDUE = 1;
