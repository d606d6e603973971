/**
 * Directory entries: key (directory, 44 bits of the name's hash, collision number), value the inode,
 * its type and the name. Entries whose hashes are equal have the collision numbers 0, 1, 2, … without
 * gaps: a lookup tries them in turn until one is missing, and a removal moves the last one down.
 */
import { nameHash44 } from '../placement/hash.js';
import { nameBytesMax } from '../protocol/limits.generated.js';
import { S_IFDIR } from './inode-record.js';
import { COLLISIONS, COOKIE_LIMIT, cookieOfDentryKey, dentryEndKey, dentryKey } from './keys.js';
import type { Touched } from './leases/touched.js';
import type { MetaStore } from './meta-store-api.js';

const TWO_32 = 4294967296;

/** Value of a dentry; the name follows (byte table: docs/formats/metadata.md). */
export const Dentry = {
  inode: 0, // u64
  mode: 8, // u16: type bits
  name: 10,
} as const;

export type NameHash = (bytes: Uint8Array, offset: number, lengthBytes: number) => number;

/** An entry that was found, and where. Reused by its owner. */
export class FoundEntry {
  inode = 0;
  /** Type bits. */
  mode = 0;
  cookie = 0;
}

/** The hash that a lease of the entry is known by: that of its cookie, never 0. */
export function entryHash(nameHash: number): number {
  return nameHash === 0 ? 1 : nameHash;
}

export interface DirectoryVisitor {
  /** One entry; name bytes lie in value from Dentry.name on. False stops. */
  (cookie: number, inode: number, mode: number, value: Uint8Array): boolean;
}

/** Whether this value can be an entry: others are passed over, as if they were not there. */
function isDentry(value: Uint8Array): boolean {
  const nameBytes = value.length - Dentry.name;
  if (nameBytes < 1 || nameBytes > nameBytesMax) return false;
  return value[Dentry.inode + 7] === 0 && value[Dentry.inode + 6]! < 0x20; // below 2^53
}

export function dentryInode(value: Uint8Array): number {
  const low = (value[0]! | (value[1]! << 8) | (value[2]! << 16) | (value[3]! << 24)) >>> 0;
  const high = (value[4]! | (value[5]! << 8) | (value[6]! << 16) | (value[7]! << 24)) >>> 0;
  return high * TWO_32 + low;
}

function dentryMode(value: Uint8Array): number {
  return value[8]! | (value[9]! << 8);
}

export class DentryTable {
  readonly #meta: MetaStore;
  readonly #hash: NameHash;
  readonly #touched: Touched;
  readonly #value = new Uint8Array(Dentry.name + nameBytesMax);
  readonly #views: Uint8Array[] = [];
  /** Called for each entry that is put or removed. */
  onChange: ((directory: number, isPut: boolean) => void) | undefined;

  /** `hash`: replaced by tests, to make names collide. */
  constructor(meta: MetaStore, touched: Touched, hash: NameHash = nameHash44) {
    this.#meta = meta;
    this.#touched = touched;
    this.#hash = hash;
    for (let length = 0; length <= this.#value.length; length++) {
      this.#views.push(this.#value.subarray(0, length));
    }
  }

  /**
   * Whether the directory has this name; then `found` is filled. If not, `found.cookie` is where it
   * would go, -1 when too many names share its hash.
   */
  find(
    directory: number,
    bytes: Uint8Array,
    offset: number,
    lengthBytes: number,
    found: FoundEntry,
  ): boolean {
    const first = this.#firstCookie(bytes, offset, lengthBytes);
    for (let cookie = first; cookie < first + COLLISIONS; cookie++) {
      const value = this.#meta.get(dentryKey(directory, cookie));
      if (value === undefined) {
        found.cookie = cookie;
        return false;
      }
      if (!sameName(value, bytes, offset, lengthBytes) || !isDentry(value)) continue;
      found.inode = dentryInode(value);
      found.mode = dentryMode(value);
      found.cookie = cookie;
      return true;
    }
    found.cookie = -1;
    return false;
  }

  /** Writes the entry at the cookie that `find` left: of the same name, or where it would go. */
  put(
    directory: number,
    cookie: number,
    inode: number,
    mode: number,
    bytes: Uint8Array,
    offset: number,
    lengthBytes: number,
  ): void {
    const value = this.#value;
    const high = Math.floor(inode / TWO_32);
    value[0] = inode >>> 0;
    value[1] = (inode >>> 0) >>> 8;
    value[2] = (inode >>> 0) >>> 16;
    value[3] = (inode >>> 0) >>> 24;
    value[4] = high;
    value[5] = high >>> 8;
    value[6] = high >>> 16;
    value[7] = high >>> 24;
    value[8] = 0;
    value[9] = (mode & 0xf000) >>> 8;
    for (let i = 0; i < lengthBytes; i++) value[Dentry.name + i] = bytes[offset + i]!;
    this.#touched.entry(directory, Math.floor(cookie / COLLISIONS));
    this.#meta.put(dentryKey(directory, cookie), this.#views[Dentry.name + lengthBytes]!);
    this.onChange?.(directory, true);
  }

  /** Removes the entry; the last of those with its hash takes its place. */
  remove(directory: number, cookie: number): void {
    const end = cookie - (cookie % COLLISIONS) + COLLISIONS;
    this.#touched.entry(directory, Math.floor(cookie / COLLISIONS));
    let last = cookie;
    while (last + 1 < end && this.#meta.get(dentryKey(directory, last + 1)) !== undefined) last++;
    if (last !== cookie) {
      // A copy of its own: collisions are rare, and a damaged entry may be of any length.
      const value = this.#meta.get(dentryKey(directory, last))!.slice();
      this.#meta.put(dentryKey(directory, cookie), value);
    }
    this.#meta.remove(dentryKey(directory, last));
    this.onChange?.(directory, false);
  }

  isEmpty(directory: number): boolean {
    let empty = true;
    this.#meta.scan(dentryKey(directory, 0), dentryEndKey(directory), () => {
      empty = false;
      return false;
    });
    return empty;
  }

  /** Visits the entries after `cookie` (0: all) and before `end` in cookie order. */
  list(directory: number, cookie: number, visit: DirectoryVisitor, end = COOKIE_LIMIT): void {
    this.#meta.scan(
      dentryKey(directory, cookie + 1),
      dentryEndKey(directory, end),
      (key, value) => {
        if (!isDentry(value)) return true;
        return visit(cookieOfDentryKey(key), dentryInode(value), dentryMode(value), value);
      },
    );
  }

  /** Puts an entry whose place is known: it comes from another partition. */
  putValue(directory: number, cookie: number, value: Uint8Array): boolean {
    const key = dentryKey(directory, cookie);
    const isNew = this.#meta.get(key) === undefined;
    this.#meta.put(key, value);
    return isNew;
  }

  /** Removes the entries of these hashes, those that are damaged as well; how many were directories'. */
  removeRange(directory: number, first: number, end: number): number {
    const keys: Uint8Array[] = [];
    let directories = 0;
    const from = dentryKey(directory, first * COLLISIONS);
    this.#meta.scan(from, dentryEndKey(directory, end * COLLISIONS), (key, value) => {
      keys.push(key.slice());
      if (isDentry(value) && dentryMode(value) === S_IFDIR) directories++;
      return true;
    });
    for (const key of keys) this.#meta.remove(key);
    return directories;
  }

  /** What names share that may take each other's place. */
  hashOf(bytes: Uint8Array, offset: number, lengthBytes: number): number {
    return this.#hash(bytes, offset, lengthBytes);
  }

  /** Never 0, which stands for a directory's beginning. */
  #firstCookie(bytes: Uint8Array, offset: number, lengthBytes: number): number {
    return entryHash(this.#hash(bytes, offset, lengthBytes)) * COLLISIONS;
  }
}

function sameName(
  value: Uint8Array,
  bytes: Uint8Array,
  offset: number,
  lengthBytes: number,
): boolean {
  if (value.length !== Dentry.name + lengthBytes) return false;
  for (let i = 0; i < lengthBytes; i++) {
    if (value[Dentry.name + i] !== bytes[offset + i]) return false;
  }
  return true;
}
