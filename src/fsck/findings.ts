/**
 * What a check finds: one object for each damage, with what it rests on and what would mend it. The
 * kinds, and why some have no repair, are the table of docs/fsck.md (a test holds it against
 * `findingKinds`).
 */
export const findingKinds = [
  // the tree
  'dangling-entry',
  'stray-entry',
  'doubled-entry',
  'doubled-name',
  'collision-gap',
  'misplaced-entry',
  'entry-type',
  'link-count',
  'wrong-parent',
  'orphan-inode',
  'loop',
  'orphan-list',
  // directories in partitions
  'partition-table',
  'stray-partition',
  'lost-partition',
  'outside-range',
  // what hangs on an inode
  'attributes',
  'inode-size',
  'symlink',
  // data
  'stray-chunk',
  'misplaced-chunk',
  'beyond-size',
  'double-use',
  'shared-count',
  'unmarked-block',
  'leaked-block',
  'outside-device',
  'checksum',
  'unreadable',
  // books of a target
  'promised-count',
  'inode-count',
  'next-sequence',
  'foreign-key',
  'malformed',
] as const;
export type FindingKind = (typeof findingKinds)[number];

/** A change of one value: its result is put, undefined removes it. Edits of one key are composed. */
export interface Edit {
  /** Index in the cluster's targets. */
  target: number;
  key: Uint8Array;
  apply(value: Uint8Array | undefined): Uint8Array | undefined;
}

/**
 * What a finding rests on, looked at again in a cluster that runs: the key is absent (null), there
 * (whatever its value), has this value, or is an inode record with this ctime. Every change of an
 * inode's names sets its ctime, so an unchanged one says that they were counted rightly.
 */
export interface Evidence {
  target: number;
  key: Uint8Array;
  expect: null | 'there' | Uint8Array | { ctimeSeconds: number; ctimeNanoseconds: number };
}

export interface Finding {
  kind: FindingKind;
  /** Index in the cluster's targets: where the damage lies. */
  target: number;
  /** The inode that it is about; 0: none. */
  inode: number;
  /** What is wrong, without kind, target and path. */
  text: string;
  /** The same damage has the same text here in every check of the target. */
  id: string;
  /** Of an entry: where it stands; the path is then that of this name. */
  directory?: number;
  name?: string;
  /** What --repair does; '': nothing, there is no one right answer. */
  repair: string;
  edits: Edit[];
  /** Undefined: the target is counted anew instead. */
  evidence: Evidence[] | undefined;
  /** Filled at the end, where it is known. */
  path?: string;
}

export interface CheckCounts {
  pairs: number;
  inodes: number;
  directories: number;
  entries: number;
  chunks: number;
  extents: number;
  /** Blocks that extents use, shared ones once. */
  usedBlocks: number;
  /** Of `--data`: what was read and compared. */
  verifiedBytes: number;
  /** Chunks behind the end of a striped file: writes that were cut short. No damage. */
  unfinishedWrites: number;
  /** Steps of transactions across targets that were under way. */
  openTransactions: number;
  /** Targets with suspicious sums that never came to rest: nothing is known of those. */
  busyTargets: number;
}

export interface CheckResult {
  findings: Finding[];
  counts: CheckCounts;
}

export function newCounts(): CheckCounts {
  return {
    pairs: 0,
    inodes: 0,
    directories: 0,
    entries: 0,
    chunks: 0,
    extents: 0,
    usedBlocks: 0,
    verifiedBytes: 0,
    unfinishedWrites: 0,
    openTransactions: 0,
    busyTargets: 0,
  };
}

/** Bytes of their own: `slice` of a Buffer, which stores hand out, would be a view. */
export function copyOf(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}

/** An edit that removes the key. */
export function removal(target: number, key: Uint8Array): Edit {
  return { target, key: copyOf(key), apply: () => undefined };
}

/** An edit that puts this value, whatever is there. */
export function replacement(target: number, key: Uint8Array, value: Uint8Array): Edit {
  const copy = copyOf(value);
  return { target, key: copyOf(key), apply: () => copy };
}

/** A name, which may be any bytes, on one line of a terminal. */
export function printableName(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  return text.replace(/\p{C}/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}
