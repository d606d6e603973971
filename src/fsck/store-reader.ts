/**
 * What the checker sees of a cluster: targets whose stores are read as ordered pairs, whether they
 * lie in a directory (offline-stores.ts), behind a running target (online-stores.ts), under changes that
 * are not written yet (overlay.ts), or in memory (tests).
 */
import type { BucketTable } from '../placement/bucket-table.js';
import type { NameHash } from '../server/dentries.js';

export interface StoreReader {
  /**
   * Visits the pairs with keys in [start, end), ascending. Key and value are valid until `visit`
   * returns; it must not read the store.
   */
  scan(
    start: Uint8Array,
    end: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => void,
  ): Promise<void>;
  /** A copy of the value. */
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** Of a store that may change: the same number twice says that between them it has not. */
  version?(): Promise<number>;
}

/** Above every key: none begins with 0xffff and a byte as high. */
export const END_OF_KEYS = Uint8Array.of(0xff, 0xff, 0xff);
export const START_OF_KEYS = Uint8Array.of(0);

/** Reads blocks of a target's device, to compare checksums. */
export interface BlockReader {
  /** Fills `into` from this block on. Throws an Error that says why it cannot. */
  read(device: number, block: number, into: Uint8Array): void;
}

export interface FsckTarget {
  /** As in the cluster map. */
  id: string;
  /** For people: "target-0 of /meta". */
  label: string;
  reader: StoreReader;
  /** Its data devices, where checksums are asked for. */
  blocks?: BlockReader;
}

export interface FsckCluster {
  targets: FsckTarget[];
  /** Index in `targets` of each bucket's holder. */
  holderOf(bucket: number): number;
  /** Changes go on while it is read: findings are looked at again. */
  running: boolean;
  /** Lets time pass, the second look's; replaced by tests. */
  pause?(ms: number): Promise<void>;
  /** Of names; replaced by tests. */
  nameHash?: NameHash;
  /** What a volume is called, by its root's inode; undefined: not known. */
  volumeName?(root: number): string | undefined;
  /** Hears now and then how far it is. */
  onProgress?(phase: string, target: number, pairs: number): void;
}

/** `holderOf` by a bucket table and the place in `targets` of each member; -1: not there. */
export function holdersOf(table: BucketTable, placeOfMember: readonly number[]): Int32Array {
  return Int32Array.from(table.owners, (member) => placeOfMember[member] ?? -1);
}
