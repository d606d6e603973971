/**
 * Keys of the metadata store (table: docs/formats/metadata.md). Big endian, so that byte order is
 * number order; keys of a bucket begin with it, keys of the target itself with 0xffff and a kind
 * byte that no bucket uses. Each function fills one buffer of its own and returns it: it is valid
 * until the next call of the same function.
 */
import { SEQUENCE_LIMIT } from '../placement/inode-number.js';

const TWO_32 = 4294967296;

/** Kinds of keys within a bucket. */
const INODE = 0x49; // 'I'
const DENTRY = 0x44; // 'D'
const LINK_TARGET = 0x4c; // 'L'
const XATTRS = 0x58; // 'X'
const PARTITIONS = 0x47; // 'G'
/** Kinds of the target's own keys. */
const HOLDER = 0x48; // 'H'
const BATCH_STATUSES = 0x42; // 'B'
const DECISION = 0x4b; // 'K'
const NEXT_SEQUENCE = 0x4e; // 'N'
const ORPHAN = 0x4f; // 'O'
const INTENT = 0x50; // 'P'
const RECLAIM = 0x51; // 'Q'
const SESSION = 0x53; // 'S'
const PROPERTY = 0x54; // 'T'

/** A name's hash (44 bits) and collision number (8 bits): the key's tail and the readdir cookie. */
export const COLLISIONS = 256;
export const COOKIE_LIMIT = 2 ** 52;

const inodeBuffer = new Uint8Array(8);
const linkTargetBuffer = new Uint8Array(8);
const xattrsBuffer = new Uint8Array(8);
const partitionsBuffer = new Uint8Array(8);
const dentryBuffer = new Uint8Array(15);
const dentryEndBuffer = new Uint8Array(15);
const sequenceBuffer = new Uint8Array(5);
const orphanBuffer = new Uint8Array(10);
const reclaimBuffer = new Uint8Array(10);
const sessionBuffer = new Uint8Array(19);
const holderBuffer = new Uint8Array(19);
const statusesBuffer = new Uint8Array(20);
const intentBuffer = new Uint8Array(10);
const decisionBuffer = new Uint8Array(10);

/** Bucket, kind and the 40 bits of the sequence: the first eight bytes of a bucket's keys. */
function fillInode(key: Uint8Array, inode: number, kind: number): void {
  const bucket = Math.floor(inode / SEQUENCE_LIMIT);
  const low = inode >>> 0;
  key[0] = bucket >>> 8;
  key[1] = bucket;
  key[2] = kind;
  key[3] = (inode / TWO_32) & 31;
  key[4] = low >>> 24;
  key[5] = low >>> 16;
  key[6] = low >>> 8;
  key[7] = low;
}

/** `value`: below 2^53. */
function fill56(key: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32);
  const low = value >>> 0;
  key[at] = high >>> 16;
  key[at + 1] = high >>> 8;
  key[at + 2] = high;
  key[at + 3] = low >>> 24;
  key[at + 4] = low >>> 16;
  key[at + 5] = low >>> 8;
  key[at + 6] = low;
}

function read56(key: Uint8Array, at: number): number {
  const high = (key[at]! << 16) | (key[at + 1]! << 8) | key[at + 2]!;
  const low =
    ((key[at + 3]! << 24) | (key[at + 4]! << 16) | (key[at + 5]! << 8) | key[at + 6]!) >>> 0;
  return high * TWO_32 + low;
}

export function inodeKey(inode: number): Uint8Array {
  fillInode(inodeBuffer, inode, INODE);
  return inodeBuffer;
}

export function linkTargetKey(inode: number): Uint8Array {
  fillInode(linkTargetBuffer, inode, LINK_TARGET);
  return linkTargetBuffer;
}

/** All extended attributes of an inode. */
export function xattrsKey(inode: number): Uint8Array {
  fillInode(xattrsBuffer, inode, XATTRS);
  return xattrsBuffer;
}

/** Of a directory that has grown, its table of partitions; of a partition, its range. */
export function partitionsKey(inode: number): Uint8Array {
  fillInode(partitionsBuffer, inode, PARTITIONS);
  return partitionsBuffer;
}

export function dentryKey(directory: number, cookie: number): Uint8Array {
  fillInode(dentryBuffer, directory, DENTRY);
  fill56(dentryBuffer, 8, cookie);
  return dentryBuffer;
}

/** After the last possible entry of the directory, or where this cookie would be. */
export function dentryEndKey(directory: number, cookie = COOKIE_LIMIT): Uint8Array {
  fillInode(dentryEndBuffer, directory, DENTRY);
  fill56(dentryEndBuffer, 8, cookie);
  return dentryEndBuffer;
}

export function cookieOfDentryKey(key: Uint8Array): number {
  return read56(key, 8);
}

function fillOwn(key: Uint8Array, kind: number): void {
  key[0] = 0xff;
  key[1] = 0xff;
  key[2] = kind;
}

export function nextSequenceKey(bucket: number): Uint8Array {
  fillOwn(sequenceBuffer, NEXT_SEQUENCE);
  sequenceBuffer[3] = bucket >>> 8;
  sequenceBuffer[4] = bucket;
  return sequenceBuffer;
}

export function orphanKey(inode: number): Uint8Array {
  fillOwn(orphanBuffer, ORPHAN);
  fill56(orphanBuffer, 3, inode);
  return orphanBuffer;
}

export function reclaimKey(sequence: number): Uint8Array {
  fillOwn(reclaimBuffer, RECLAIM);
  fill56(reclaimBuffer, 3, sequence);
  return reclaimBuffer;
}

/** A step that is prepared for another target's transaction; `number` is this target's own. */
export function intentKey(number: number): Uint8Array {
  fillOwn(intentBuffer, INTENT);
  fill56(intentBuffer, 3, number);
  return intentBuffer;
}

/** A transaction of this target's that has been decided. */
export function decisionKey(transaction: number): Uint8Array {
  fillOwn(decisionBuffer, DECISION);
  fill56(decisionBuffer, 3, transaction);
  return decisionBuffer;
}

/** The number in the key of an orphan, a cut, an intent or a decision. */
export function numberOfOwnKey(key: Uint8Array): number {
  return read56(key, 3);
}

/** `id`: 16 bytes. */
export function sessionKey(id: Uint8Array): Uint8Array {
  fillOwn(sessionBuffer, SESSION);
  sessionBuffer.set(id, 3);
  return sessionBuffer;
}

/** Of a session that may hold leases and locks; `id`: 16 bytes. */
export function holderKey(id: Uint8Array): Uint8Array {
  fillOwn(holderBuffer, HOLDER);
  holderBuffer.set(id, 3);
  return holderBuffer;
}

/** The statuses of a session's last batch in this slot; `id`: 16 bytes. */
export function batchStatusesKey(id: Uint8Array, slot: number): Uint8Array {
  fillOwn(statusesBuffer, BATCH_STATUSES);
  statusesBuffer.set(id, 3);
  statusesBuffer[19] = slot;
  return statusesBuffer;
}

export function propertyKey(name: string): Uint8Array {
  const text = Buffer.from(name);
  const key = new Uint8Array(3 + text.length);
  fillOwn(key, PROPERTY);
  key.set(text, 3);
  return key;
}

export type OwnKind =
  'batchStatuses' | 'decision' | 'holder' | 'intent' | 'orphan' | 'reclaim' | 'session';
const KINDS: Readonly<Record<OwnKind, number>> = {
  batchStatuses: BATCH_STATUSES,
  decision: DECISION,
  holder: HOLDER,
  intent: INTENT,
  orphan: ORPHAN,
  reclaim: RECLAIM,
  session: SESSION,
};

/** All of the target's own keys of one kind: [start, end). */
export function ownRange(kind: OwnKind): { start: Uint8Array; end: Uint8Array } {
  const byte = KINDS[kind];
  return { start: Uint8Array.of(0xff, 0xff, byte), end: Uint8Array.of(0xff, 0xff, byte + 1) };
}
