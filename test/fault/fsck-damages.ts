/**
 * One damage of each kind, for fsck.test.ts: what is changed, what must be found (and nothing else),
 * and what a repair leaves.
 */
import type { FindingKind } from '../../src/fsck/findings.js';
import { isRootNumber } from '../../src/fsck/inode-book.js';
import { KEY } from '../../src/fsck/parsed-key.js';
import { makeInode } from '../../src/placement/inode-number.js';
import { nameHash44 } from '../../src/placement/hash.js';
import { firstSequence } from '../../src/protocol/limits.generated.js';
import { ChunkExtent, ChunkHeader } from '../../src/protocol/data-format.generated.js';
import { chunkKey } from '../../src/server/data/keys.js';
import { Dentry } from '../../src/server/dentries.js';
import { InodeRecord } from '../../src/server/inode-record.js';
import {
  batchStatusesKey,
  decisionKey,
  dentryKey,
  inodeKey,
  intentKey,
  linkTargetKey,
  nextSequenceKey,
  orphanKey,
  partitionsKey,
  propertyKey,
  reclaimKey,
  xattrsKey,
} from '../../src/server/keys.js';
import type { Change, DamagedStores, Pair } from './fsck-stores.js';

export interface Damage {
  name: string;
  make(stores: DamagedStores): Change[];
  /** Kinds of findings, each as often as it is found; more of one kind count once. */
  finds: FindingKind[];
  /**
   * back: every pair is as it was before the damage. clean: nothing is found any more. no: what
   * was damaged stays as it is, and is found again.
   */
  repair: 'back' | 'clean' | 'no';
}

const DIRECTORY = 0o040000;
const FILE = 0o100000;

function put(pair: Pair, value: Uint8Array): Change {
  return { target: pair.target, key: pair.key, value };
}

function remove(pair: Pair): Change {
  return { target: pair.target, key: pair.key, value: undefined };
}

/** The value with some bytes changed. */
function edited(pair: Pair, edit: (value: Buffer) => void): Change {
  const value = Buffer.from(pair.value);
  edit(value);
  return put(pair, value);
}

function cookieOf(name: string, collision = 0): number {
  const bytes = Buffer.from(name);
  return nameHash44(bytes, 0, bytes.length) * 256 + collision;
}

function entryValue(inode: number, mode: number, name: string): Buffer {
  const value = Buffer.alloc(Dentry.name + name.length);
  value.writeBigUInt64LE(BigInt(inode), Dentry.inode);
  value.writeUInt16LE(mode, Dentry.mode);
  value.write(name, Dentry.name);
  return value;
}

/** A new entry in the directory that `folder` names. */
function added(
  stores: DamagedStores,
  folder: string,
  name: string,
  inode: number,
  mode: number,
): Change {
  const { names, target } = { ...stores.entry(folder), target: stores.record(folder).target };
  const key = dentryKey(names, cookieOf(name)).slice();
  return { target, key, value: entryValue(inode, mode, name) };
}

function links(stores: DamagedStores, name: string, change: number): Change {
  return edited(stores.record(name), (value) => {
    value.writeUInt32LE(value.readUInt32LE(InodeRecord.linkCount) + change, InodeRecord.linkCount);
  });
}

/** An inode number of the record's bucket that was reserved and never used. */
function unused(stores: DamagedStores, near: Pair): number {
  const next = stores.get((pair) => {
    return pair.kind === KEY.sequence && pair.bucket === near.bucket;
  }, 'next sequence');
  return makeInode(near.bucket, Number(next.value.readBigUInt64LE()) - 1);
}

/** A copy of the record for an inode that has no name, and the count of inodes as it would be. */
function nameless(stores: DamagedStores, model: Pair, edit: (value: Buffer) => void): Change[] {
  const inode = unused(stores, model);
  const value = Buffer.from(model.value);
  value.writeBigUInt64LE(BigInt(inode), InodeRecord.inode);
  edit(value);
  const counter = stores.property('inodes', model.target);
  return [
    { target: model.target, key: inodeKey(inode).slice(), value },
    edited(counter, (count) => count.writeBigUInt64LE(count.readBigUInt64LE() + 1n)),
  ];
}

const partitions: Damage[] = [
  {
    name: 'a directory in partitions without its table',
    make: (s) => [remove(s.table('grown'))],
    finds: ['partition-table'],
    repair: 'back',
  },
  {
    name: 'a table that cannot be taken apart',
    make: (s) => [edited(s.table('grown'), (value) => value.writeUInt32LE(9, 12))],
    finds: ['partition-table'],
    repair: 'back',
  },
  {
    name: 'a table that has a partition begin elsewhere',
    make: (s) => [edited(s.table('grown'), (value) => value.writeUInt8(7, 32))],
    finds: ['partition-table'],
    repair: 'back',
  },
  {
    name: 'a partition that its directory does not know',
    make: (s) => {
      const range = s.range();
      const model = s.recordOf(range.inode);
      const made = nameless(s, model, (value) => {
        value.writeUInt32LE(2, InodeRecord.linkCount);
      });
      const key = partitionsKey(unused(s, model)).slice();
      return [...made, { target: range.target, key, value: range.value }];
    },
    finds: ['stray-partition'],
    repair: 'back',
  },
  {
    name: 'a partition that is gone',
    make: (s) => {
      const range = s.range();
      return [remove(range), remove(s.recordOf(range.inode))];
    },
    finds: ['lost-partition', 'stray-entry', 'inode-count'],
    repair: 'no',
  },
  {
    name: 'an entry in another partition than its name is looked for in',
    make: (s) => {
      const range = s.range();
      const isIn = (pair: Pair): boolean => pair.kind === KEY.entry && pair.inode === range.inode;
      const entry = s.get(isIn, 'entry of a partition');
      const { names, target } = { ...s.entry('grown'), target: s.record('grown').target };
      const key = dentryKey(names, entry.number).slice();
      return [remove(entry), { target, key, value: entry.value }];
    },
    finds: ['outside-range'],
    repair: 'back',
  },
];

const tree: Damage[] = [
  {
    name: 'an entry whose inode is not there',
    make: (s) => [added(s, 'many', 'ghost', unused(s, s.record('many')), FILE)],
    finds: ['dangling-entry'],
    repair: 'back',
  },
  {
    name: 'an entry of a directory that is not there',
    make: (s) => [
      added(s, 'many', 'ghost', unused(s, s.record('many')), DIRECTORY),
      links(s, 'many', 1),
    ],
    finds: ['dangling-entry'],
    repair: 'back',
  },
  {
    name: 'an entry in a directory that is not there',
    make: (s) => {
      const model = s.record('many');
      const key = dentryKey(unused(s, model), cookieOf('lost')).slice();
      const value = entryValue(unused(s, model), FILE, 'lost');
      return [{ target: model.target, key, value }];
    },
    finds: ['stray-entry', 'dangling-entry'],
    repair: 'back',
  },
  {
    name: 'a directory with two parents',
    make: (s) => [added(s, 'many', 'c-again', s.entry('c').names, DIRECTORY), links(s, 'many', 1)],
    finds: ['doubled-entry'],
    repair: 'back',
  },
  {
    name: 'a directory with two names in its parent',
    make: (s) => [added(s, 'b', 'c-again', s.entry('c').names, DIRECTORY), links(s, 'b', 1)],
    finds: ['doubled-entry'],
    repair: 'no',
  },
  {
    name: "a name of a volume's root",
    make: (s) => {
      const root = s.get((pair) => pair.kind === KEY.inode && isRootNumber(pair.inode), 'root');
      return [added(s, 'many', 'root', root.inode, DIRECTORY)];
    },
    finds: ['doubled-entry'],
    repair: 'back',
  },
  {
    name: 'a name that stands twice for one inode',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, entry.cookie + 1).slice();
      return [{ target: entry.target, key, value: entry.value }, links(s, 'file-5', 1)];
    },
    finds: ['doubled-name'],
    repair: 'back',
  },
  {
    name: 'a name that stands twice for two inodes',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, entry.cookie + 1).slice();
      const value = entryValue(s.entry('file-6').names, FILE, 'file-5');
      return [{ target: entry.target, key, value }, links(s, 'file-6', 1)];
    },
    finds: ['doubled-name'],
    repair: 'no',
  },
  {
    name: 'collision numbers with a gap',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, entry.cookie + 1).slice();
      return [remove(entry), { target: entry.target, key, value: entry.value }];
    },
    finds: ['collision-gap'],
    repair: 'back',
  },
  {
    name: 'an entry where its name is not looked for',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, cookieOf('another')).slice();
      return [remove(entry), { target: entry.target, key, value: entry.value }];
    },
    finds: ['misplaced-entry'],
    repair: 'back',
  },
  {
    name: 'an entry of another type than its inode',
    make: (s) => [
      edited(s.entry('file-5'), (value) => value.writeUInt16LE(DIRECTORY, Dentry.mode)),
    ],
    finds: ['entry-type'],
    repair: 'back',
  },
  {
    name: "a file's wrong link count",
    make: (s) => [links(s, 'small', 3)],
    finds: ['link-count'],
    repair: 'back',
  },
  {
    name: "a directory's wrong link count",
    make: (s) => [links(s, 'a', -1)],
    finds: ['link-count'],
    repair: 'back',
  },
  {
    name: 'a wrong parent',
    make: (s) => [
      edited(s.record('c'), (value) => {
        value.writeBigUInt64LE(BigInt(s.entry('many').names), InodeRecord.parent);
      }),
    ],
    finds: ['wrong-parent'],
    repair: 'back',
  },
  {
    name: 'a file without a name that says that it has one',
    make: (s) => [remove(s.entry('file-5'))],
    finds: ['orphan-inode'],
    repair: 'clean',
  },
  {
    name: 'a tree without a name',
    make: (s) => [remove(s.entry('b')), links(s, 'a', -1)],
    finds: ['orphan-inode'],
    repair: 'clean',
  },
  {
    name: 'a chunk of what is no file',
    make: (s) => {
      const chunk = s.chunk('file-5');
      const { inode, bucket, target } = s.record('many');
      return [{ target, key: chunkKey(bucket, inode, 0).slice(), value: chunk.value }];
    },
    finds: ['stray-chunk'],
    repair: 'no',
  },
  {
    name: 'a file without a name that says so',
    make: (s) => {
      return nameless(s, s.record('file-0'), (value) =>
        value.writeUInt32LE(0, InodeRecord.linkCount),
      );
    },
    finds: ['orphan-inode'],
    repair: 'back',
  },
  {
    name: 'an empty directory without a name',
    make: (s) => nameless(s, s.record('empty'), () => undefined),
    finds: ['orphan-inode'],
    repair: 'back',
  },
  {
    name: 'a loop',
    make: (s) => [
      remove(s.entry('b')),
      added(s, 'c', 'b', s.entry('b').names, DIRECTORY),
      edited(s.record('b'), (value) => {
        value.writeBigUInt64LE(BigInt(s.entry('c').names), InodeRecord.parent);
      }),
      links(s, 'a', -1),
      links(s, 'c', 1),
    ],
    finds: ['loop'],
    repair: 'no',
  },
  {
    name: 'an orphan that has a name',
    make: (s) => {
      const { target, inode } = s.record('file-5');
      return [{ target, key: orphanKey(inode).slice(), value: Buffer.alloc(0) }];
    },
    finds: ['orphan-list'],
    repair: 'back',
  },
  {
    name: 'an orphan that is not there',
    make: (s) => {
      const model = s.record('file-5');
      const key = orphanKey(unused(s, model)).slice();
      return [{ target: model.target, key, value: Buffer.alloc(0) }];
    },
    finds: ['orphan-list'],
    repair: 'back',
  },
];

function flags(pair: Pair, set: number, clear = 0): Change {
  return edited(pair, (value) => {
    const before = value.readUInt32LE(InodeRecord.flags);
    value.writeUInt32LE((before | set) & ~clear, InodeRecord.flags);
  });
}

function xattrsOf(s: DamagedStores, name: string): Pair {
  const { names } = s.entry(name);
  return s.get((pair) => pair.kind === KEY.attributes && pair.inode === names, 'attributes');
}

function linkTargetOf(s: DamagedStores, name: string): Pair {
  const { names } = s.entry(name);
  return s.get((pair) => pair.kind === KEY.linkTarget && pair.inode === names, 'link target');
}

const inodes: Damage[] = [
  {
    name: 'attributes that the flags do not know of',
    make: (s) => {
      const { target, inode } = s.record('file-5');
      return [{ target, key: xattrsKey(inode).slice(), value: xattrsOf(s, 'medium').value }];
    },
    finds: ['attributes'],
    repair: 'clean',
  },
  {
    name: 'attributes whose flag is cleared',
    make: (s) => [flags(s.record('medium'), 0, 2)],
    finds: ['attributes'],
    repair: 'back',
  },
  {
    name: 'a flag without attributes',
    make: (s) => [flags(s.record('file-5'), 2)],
    finds: ['attributes'],
    repair: 'back',
  },
  {
    name: 'attributes of an inode that is not there',
    make: (s) => {
      const model = s.record('file-5');
      const key = xattrsKey(unused(s, model)).slice();
      return [{ target: model.target, key, value: xattrsOf(s, 'medium').value }];
    },
    finds: ['attributes'],
    repair: 'back',
  },
  {
    name: "a file's wrong number of blocks",
    make: (s) => [
      edited(s.record('medium'), (value) => value.writeBigUInt64LE(99n, InodeRecord.blocks)),
    ],
    finds: ['inode-size'],
    repair: 'back',
  },
  {
    name: "a directory's wrong size",
    make: (s) => [
      edited(s.record('many'), (value) => value.writeBigUInt64LE(5n, InodeRecord.sizeBytes)),
    ],
    finds: ['inode-size'],
    repair: 'back',
  },
  {
    name: 'a symbolic link without a target',
    make: (s) => [remove(linkTargetOf(s, 'link'))],
    finds: ['symlink'],
    repair: 'no',
  },
  {
    name: 'a symbolic link of another size than its target',
    make: (s) => [
      edited(s.record('link'), (value) => {
        value.writeBigUInt64LE(100n, InodeRecord.sizeBytes);
        value.writeBigUInt64LE(1n, InodeRecord.blocks);
      }),
    ],
    finds: ['symlink'],
    repair: 'back',
  },
  {
    name: 'the target of a link that is not there',
    make: (s) => {
      const { target, inode } = s.record('file-5');
      return [{ target, key: linkTargetKey(inode).slice(), value: Buffer.from('x') }];
    },
    finds: ['symlink'],
    repair: 'back',
  },
];

/** First block of the file's first chunk, which is one extent. */
function blockOf(pair: Pair): number {
  return pair.value.readUInt32LE(ChunkHeader.SIZE + ChunkExtent.block);
}

function movedTo(pair: Pair, block: number): Change {
  return edited(pair, (value) => {
    value.writeUInt32LE(block, ChunkHeader.SIZE + ChunkExtent.block);
  });
}

/** The bitmap that has the blocks of this file. */
function bitmapOf(s: DamagedStores, name: string): Pair {
  const { target } = s.chunk(name);
  return s.get((pair) => pair.kind === KEY.region && pair.target === target, 'bitmap');
}

const BITMAP_FREE_BYTE = 1000;

const data: Damage[] = [
  {
    name: 'a chunk of a file that is not there',
    make: (s) => {
      const model = s.chunk('file-5');
      const inode = unused(s, s.record('file-5'));
      const key = chunkKey(model.bucket, inode, 0).slice();
      return [{ target: model.target, key, value: model.value }];
    },
    finds: ['stray-chunk'],
    repair: 'back',
  },
  {
    name: 'chunks whose file is gone',
    make: (s) => [remove(s.entry('striped')), remove(s.record('striped'))],
    finds: ['stray-chunk', 'inode-count'],
    repair: 'clean',
  },
  {
    name: 'a chunk where the layout does not look for it',
    make: (s) => {
      const chunk = s.chunk('medium');
      const bucket = s.emptyBucket(chunk.target, true);
      const key = chunkKey(bucket, chunk.inode, 0).slice();
      return [remove(chunk), { target: chunk.target, key, value: chunk.value }];
    },
    finds: ['misplaced-chunk'],
    repair: 'no',
  },
  {
    name: "data behind the file's end",
    make: (s) => [
      edited(s.record('medium'), (value) => {
        value.writeBigUInt64LE(1000n, InodeRecord.sizeBytes);
        value.writeBigUInt64LE(2n, InodeRecord.blocks);
      }),
    ],
    finds: ['beyond-size'],
    repair: 'no',
  },
  {
    name: 'further chunks of a file that is not marked',
    make: (s) => [flags(s.record('sparse'), 0, 1)],
    finds: ['beyond-size'],
    repair: 'back',
  },
  {
    name: 'blocks in use twice',
    make: (s) => [movedTo(s.chunk('medium'), blockOf(s.chunk('another')))],
    finds: ['checksum', 'double-use', 'leaked-block'],
    repair: 'no',
  },
  {
    name: 'shared blocks that are not counted',
    make: (s) => [remove(s.some(KEY.shared))],
    finds: ['shared-count'],
    repair: 'back',
  },
  {
    name: 'shared blocks that are counted too often',
    make: (s) => [edited(s.some(KEY.shared), (value) => value.writeUInt32LE(9, 4))],
    finds: ['shared-count'],
    repair: 'back',
  },
  {
    name: 'used blocks that are not marked',
    make: (s) => {
      const byte = Math.floor(blockOf(s.chunk('medium')) / 8) + 1;
      return [edited(bitmapOf(s, 'medium'), (value) => value.writeUInt8(0, byte))];
    },
    finds: ['unmarked-block'],
    repair: 'back',
  },
  {
    name: 'marked blocks that nobody uses',
    make: (s) => [
      edited(bitmapOf(s, 'medium'), (value) => value.writeUInt8(0x3c, BITMAP_FREE_BYTE)),
    ],
    finds: ['leaked-block'],
    repair: 'back',
  },
  {
    name: "the superblock's block marked",
    make: (s) => [edited(bitmapOf(s, 'medium'), (value) => value.writeUInt8(value[0]! | 1, 0))],
    finds: ['leaked-block'],
    repair: 'back',
  },
  {
    name: "an extent behind the device's end",
    make: (s) => [movedTo(s.chunk('medium'), 1e9)],
    finds: ['outside-device', 'leaked-block'],
    repair: 'no',
  },
  {
    name: 'a device that cannot be read',
    make: (s) => {
      const devices = s.property('devices', s.chunk('medium').target);
      const moved = devices.value.toString().replace(/"path":"[^"]*"/, '"path":"/nonexistent"');
      return [put(devices, Buffer.from(moved))];
    },
    finds: ['unreadable'],
    repair: 'no',
  },
];

const short = Buffer.from([1, 2, 3]);

function inodeCount(s: DamagedStores): Pair {
  return s.property('inodes', s.record('many').target);
}

const books: Damage[] = [
  {
    name: 'a wrong number of promised blocks',
    make: () => [
      {
        target: 1,
        key: propertyKey('promised'),
        value: new Uint8Array(Float64Array.of(7).buffer),
      },
    ],
    finds: ['promised-count'],
    repair: 'clean',
  },
  {
    name: 'a wrong number of inodes',
    make: (s) => [edited(inodeCount(s), (value) => value.writeBigUInt64LE(1234n))],
    finds: ['inode-count'],
    repair: 'back',
  },
  {
    name: 'a next sequence that is in use',
    make: (s) => {
      const { target, bucket } = s.record('file-5');
      const value = Buffer.alloc(8);
      value.writeBigUInt64LE(BigInt(firstSequence));
      return [{ target, key: nextSequenceKey(bucket).slice(), value }];
    },
    finds: ['next-sequence'],
    repair: 'back',
  },
  {
    name: 'a next transaction that is in use',
    make: (s) => {
      const [target, value] = [s.record('many').target, Buffer.from('nobody')];
      return [{ target, key: decisionKey(2 ** 40).slice(), value }];
    },
    finds: ['next-sequence'],
    repair: 'clean',
  },
  {
    name: 'a number of transactions that is none',
    make: (s) => {
      return [{ target: s.record('many').target, key: propertyKey('transactions'), value: short }];
    },
    finds: ['next-sequence'],
    repair: 'clean',
  },
  {
    name: 'a key of a bucket of another target',
    make: (s) => {
      const inode = makeInode(s.emptyBucket(0, false), firstSequence + 5);
      return [{ target: 0, key: linkTargetKey(inode).slice(), value: Buffer.from('x') }];
    },
    finds: ['foreign-key'],
    repair: 'no',
  },
];

const malformed: Damage[] = [
  {
    name: 'a record that is too short',
    make: (s) => [put(s.record('file-5'), short)],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'the record of another inode',
    make: (s) => [put(s.record('file-5'), s.record('file-6').value)],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'an entry that is none',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, entry.cookie + 1).slice();
      return [{ target: entry.target, key, value: short }];
    },
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'an entry with a slash in its name',
    make: (s) => {
      const entry = s.entry('file-5');
      const key = dentryKey(entry.directory, entry.cookie + 1).slice();
      return [
        { target: entry.target, key, value: entryValue(s.entry('file-6').names, FILE, 'a/b') },
      ];
    },
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'a chunk that is none',
    make: (s) => [put(s.chunk('file-5'), short)],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: "a link's target with a NUL",
    make: (s) => [edited(linkTargetOf(s, 'link'), (value) => value.writeUInt8(0, 1))],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'attributes that are none',
    make: (s) => [put(xattrsOf(s, 'medium'), Buffer.alloc(9, 0xff))],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'a next sequence that is no number',
    make: (s) => {
      const { target, bucket } = s.record('file-5');
      return [{ target, key: nextSequenceKey(bucket).slice(), value: short }];
    },
    finds: ['malformed'],
    repair: 'back',
  },
  {
    name: 'an orphan with a value',
    make: (s) => {
      const { target, inode } = s.record('file-5');
      return [{ target, key: orphanKey(inode).slice(), value: short }];
    },
    finds: ['malformed'],
    repair: 'back',
  },
  {
    name: 'a cut intent that is none',
    make: () => [{ target: 0, key: reclaimKey(77).slice(), value: short }],
    finds: ['malformed'],
    repair: 'no',
  },
  {
    name: 'a prepared step that is none',
    make: () => [{ target: 0, key: intentKey(77).slice(), value: short }],
    finds: ['malformed'],
    repair: 'back',
  },
  {
    name: 'a run of shared blocks that is none',
    make: (s) => [put(s.some(KEY.shared), short)],
    finds: ['malformed', 'shared-count'],
    repair: 'back',
  },
  {
    name: 'a bitmap that is none',
    make: (s) => [put(s.some(KEY.region), short)],
    finds: ['malformed'],
    repair: 'back',
  },
  {
    name: "a session's record that is too short",
    make: (s) => [put(s.some(KEY.session), short)],
    finds: ['malformed'],
    repair: 'clean',
  },
  {
    name: "a session's statuses of a batch that are none",
    make: ({ pairs }) => {
      const key = batchStatusesKey(Buffer.alloc(16, 7), 3).slice();
      return [{ target: pairs[0]!.target, key, value: new Uint8Array(0) }];
    },
    finds: ['malformed'],
    repair: 'back',
  },
  {
    name: 'a list of devices that is none',
    make: (s) => {
      return [put(s.property('devices', s.chunk('medium').target), Buffer.from('{"a'))];
    },
    finds: ['malformed', 'unreadable'],
    repair: 'no',
  },
  {
    name: 'a number of inodes that is none',
    make: (s) => [put(inodeCount(s), short)],
    finds: ['inode-count'],
    repair: 'back',
  },
  {
    name: 'a key of no kind',
    make: () => [{ target: 0, key: Buffer.from([0, 5, 0x7a, 1, 2, 3]), value: short }],
    finds: ['malformed'],
    repair: 'no',
  },
];

/** Checksums are damaged in the device files: fsck.test.ts does it. */
export const damages: Damage[] = [
  ...tree,
  ...partitions,
  ...inodes,
  ...data,
  ...books,
  ...malformed,
];
