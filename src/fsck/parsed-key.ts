/** Keys of a target's store, taken apart (table: docs/formats/metadata.md). */
import { SEQUENCE_LIMIT } from '../placement/inode-number.js';

const TWO_32 = 4294967296;
const OWN = 0xffff;

export const KEY = {
  inode: 0x49, // 'I'
  entry: 0x44, // 'D'
  linkTarget: 0x4c, // 'L'
  attributes: 0x58, // 'X'
  partitions: 0x47, // 'G'
  chunk: 0x43, // 'C'
  sequence: 0x4e, // 'N'
  orphan: 0x4f, // 'O'
  cut: 0x51, // 'Q'
  shared: 0x52, // 'R'
  session: 0x53, // 'S'
  holder: 0x48, // 'H'
  property: 0x54, // 'T'
  region: 0x41, // 'A'
  prepared: 0x50, // 'P'
  decision: 0x4b, // 'K'
  batchStatuses: 0x42, // 'B'
} as const;

/** Length of the keys of each kind; 0: it varies. */
const lengths = new Map<number, number>([
  [KEY.inode, 8],
  [KEY.entry, 15],
  [KEY.linkTarget, 8],
  [KEY.attributes, 8],
  [KEY.partitions, 8],
  [KEY.chunk, 17],
  [KEY.sequence, 5],
  [KEY.orphan, 10],
  [KEY.cut, 10],
  [KEY.shared, 9],
  [KEY.session, 19],
  [KEY.holder, 19],
  [KEY.property, 0],
  [KEY.region, 9],
  [KEY.prepared, 10],
  [KEY.decision, 10],
  [KEY.batchStatuses, 20],
]);

/** One object, filled anew for each key. */
export class ParsedKey {
  /** One of KEY; 0: no key of this format. */
  kind = 0;
  /** Of a bucket's keys, and of 'N'; -1 of the target's other own keys. */
  bucket = 0;
  /** I, L, X, G: the inode; D: the directory; C, O: the inode; Q, P, K: its number. */
  inode = 0;
  /** D: the cookie; C: the chunk; A: the region; R: the end. */
  number = 0;
  /** A, R: the device. */
  device = 0;
  name = '';

  parse(key: Uint8Array): void {
    this.kind = 0;
    this.bucket = -1;
    if (key.length < 4) return;
    const kind = key[2]!;
    const length = lengths.get(kind);
    if (length === undefined || (length !== 0 && key.length !== length)) return;
    const bucket = (key[0]! << 8) | key[1]!;
    switch (kind) {
      case KEY.inode:
      case KEY.linkTarget:
      case KEY.attributes:
      case KEY.partitions:
      case KEY.entry:
        if (!this.#parseInode(key, bucket)) return;
        if (kind === KEY.entry) this.number = read56(key, 8);
        break;
      case KEY.chunk:
        this.inode = read56(key, 3);
        this.number = read56(key, 10);
        this.bucket = bucket;
        break;
      default:
        if (bucket !== OWN) return;
        this.#parseOwn(key, kind);
    }
    this.kind = kind;
  }

  #parseInode(key: Uint8Array, bucket: number): boolean {
    const high = key[3]!;
    if (high > 31) return false;
    this.bucket = bucket;
    this.inode = bucket * SEQUENCE_LIMIT + high * TWO_32 + read32(key, 4);
    return true;
  }

  #parseOwn(key: Uint8Array, kind: number): void {
    switch (kind) {
      case KEY.sequence:
        this.bucket = (key[3]! << 8) | key[4]!;
        return;
      case KEY.orphan:
      case KEY.cut:
      case KEY.prepared:
      case KEY.decision:
        this.inode = read56(key, 3);
        return;
      case KEY.region:
      case KEY.shared:
        this.device = (key[3]! << 8) | key[4]!;
        this.number = read32(key, 5);
        return;
      case KEY.property:
        this.name = Buffer.from(key.buffer, key.byteOffset + 3, key.length - 3).toString();
        return;
    }
  }
}

function read32(key: Uint8Array, at: number): number {
  return ((key[at]! << 24) | (key[at + 1]! << 16) | (key[at + 2]! << 8) | key[at + 3]!) >>> 0;
}

function read56(key: Uint8Array, at: number): number {
  return ((key[at]! << 16) | (key[at + 1]! << 8) | key[at + 2]!) * TWO_32 + read32(key, at + 3);
}

/** As messages name a key that nobody knows. */
export function hexOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('hex');
}
