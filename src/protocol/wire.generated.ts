/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const Opcode = {
  /** first request on every connection; body: control.fbs Hello / HelloReply */
  Hello: 0,
  /** body is returned as it came */
  Echo: 1,
  Lookup: 2,
  GetAttr: 3,
  SetAttr: 4,
  /** regular file, fifo, socket or device: entry and inode in one transaction */
  Create: 5,
  Symlink: 6,
  ReadLink: 7,
  /** to the parent's target, which has the inode made where the client wants it */
  MakeDir: 8,
  /** to the parent's target */
  RemoveDir: 11,
  Unlink: 12,
  Link: 13,
  Rename: 14,
  Open: 15,
  Release: 16,
  ReadDir: 17,
  StatFs: 18,
  Read: 19,
  Write: 20,
  /** a striped file's size and mtime, merged by the client */
  Extend: 21,
  /** the file is about to have chunks beyond the first */
  MarkStriped: 22,
  /** target to target: drop a file's data from a byte on */
  Cut: 23,
  Fsync: 24,
  /** a volume's root directory exists */
  EnsureRoot: 25,
  /** O_APPEND beyond the first chunk: claims [old size, old size + length) */
  Reserve: 26,
  /** counters, as JSON text */
  TargetStats: 27,
  /** refused with ENOTEMPTY unless the volume's root is empty; then dropped */
  EnsureEmptyRoot: 28,
  /** an extended attribute, or an access control list */
  SetXattr: 29,
  GetXattr: 30,
  ListXattr: 31,
  RemoveXattr: 32,
  /** when inodes were last read; stored where relatime asks for it */
  Accessed: 33,
  /** the pairs of the target's store from a key on, those of sessions left out: for fsck of a cluster that runs */
  Inventory: 34,
  /** makes holes, promises space, among the chunks that the target holds */
  ChangeSpace: 36,
  /** where data, or a hole, begins among the chunks that the target holds */
  SeekData: 37,
  /** the file's chunks beyond the first will lie where another's do; marks it striped */
  AdoptLayout: 38,
  /** chunks of one file come to share the blocks of another's */
  CloneRange: 39,
  /** target to target: a step of a transaction is checked, locked, recorded */
  Prepare: 40,
  /** target to target: what was prepared for a transaction is done, or forgotten */
  Resolve: 41,
  /** target to target: what has become of a transaction of the target asked */
  TransactionStatus: 42,
  /** target to target: the directory that a directory stands in */
  GetParent: 43,
  /** O_TMPFILE: an inode without a name, registered as open */
  TmpFile: 45,
  /** kept outstanding by a client that wants leases or locks: answered when there are notices */
  Await: 46,
  /** what these notices recalled is held no more */
  Returned: 47,
  /** the client has done: leases, locks and open files of its session are given back */
  EndSession: 49,
  /** many names: docs/batches.md */
  BatchLookup: 60,
  /** many inodes */
  BatchGetAttr: 61,
  /** many names, with the contents of small files */
  BatchRead: 62,
  /** many files are made, or made empty, each with its whole content */
  BatchWrite: 63,
  /** many names */
  BatchUnlink: 64,
  /** locks, unlocks, or waits for a lock: the answer is then EINPROGRESS, and a notice follows */
  SetLock: 53,
  /** the first lock that stands in the way of such a SetLock */
  GetLock: 54,
  /** a waiter gives up; ENOENT: it waits no more, and its notice is on the way */
  CancelLock: 55,
  /** passed on to those whom a waiter waits for: a ring over several targets brings it back */
  LockProbe: 56,
  /** the pieces of a directory that has grown */
  GetPartitions: 70,
  /** target to target: entries of a piece that is being made */
  MoveEntries: 71,
  /** target to target: what a directory's attributes are made of, of the pieces that lie there */
  PartitionSums: 72,
} as const;

export const FrameHeader = {
  SIZE: 32,
  /** uint: frameMagic */
  magic: 0,
  /** uint: 32 .. messageSlotBytes */
  messageBytes: 4,
  /** uint: 0 .. maxBulkBytes; if not 0 the frame holds exactly one request or reply */
  bulkBytes: 8,
  /** uint: reply: the RPC slot whose landing area the bulk goes to; request: noTag */
  bulkTag: 12,
  /** uint: requests or replies in the message, at least 1 */
  count: 16,
  /** uint: bit 0: replies (else requests) */
  flags: 20,
  /** uint */
  reserved0: 24,
  /** uint */
  reserved1: 28,
} as const;

export const RequestHeader = {
  SIZE: 16,
  /** ushort: header and body, a multiple of 8 */
  bytes: 0,
  /** ubyte */
  opcode: 2,
  /** ubyte: bit 0: retransmission */
  flags: 3,
  /** ushort: 0 .. rpcSlots - 1 */
  slot: 4,
  /** ushort */
  reserved: 6,
  /** uint: of this slot; starts at 1, wraps to 1 */
  sequence: 8,
  /** uint: epoch of the cluster map that the sender placed by */
  mapEpoch: 12,
} as const;

export const ReplyHeader = {
  SIZE: 16,
  /** ushort */
  bytes: 0,
  /** ubyte */
  opcode: 2,
  /** ubyte: bit 0: replayed from the session's record */
  flags: 3,
  /** ushort */
  slot: 4,
  /** ushort: 0, or an errno of Linux */
  status: 6,
  /** uint */
  sequence: 8,
  /** uint: epoch of the map that the target holds */
  mapEpoch: 12,
} as const;

export const ReplyRecord = {
  SIZE: 24,
  /** uint */
  sequence: 0,
  /** ushort */
  status: 4,
  /** ubyte */
  opcode: 6,
  /** ubyte */
  reserved: 7,
  /** ulong: Create, TmpFile, Symlink, MakeDir, Link, Prepare: inode; Write, Reserve: offset written at */
  result0: 8,
  /** ulong: Write, Reserve, Extend: the file's size afterwards; Create: 1 if the file was there */
  result1: 16,
} as const;

export const Attributes = {
  SIZE: 96,
  /** ulong */
  inode: 0,
  /** ulong */
  sizeBytes: 8,
  /** ulong: units of 512 bytes */
  blocks: 16,
  /** long: signed */
  atimeSeconds: 24,
  /** long */
  mtimeSeconds: 32,
  /** long */
  ctimeSeconds: 40,
  /** uint */
  atimeNanoseconds: 48,
  /** uint */
  mtimeNanoseconds: 52,
  /** uint */
  ctimeNanoseconds: 56,
  /** uint: type and permission bits, as st_mode */
  mode: 60,
  /** uint */
  linkCount: 64,
  /** uint */
  uid: 68,
  /** uint */
  gid: 72,
  /** uint */
  rdev: 76,
  /** uint: bit 0: striped (has or had chunks beyond the first), 1: has extended attributes, 2: among them an access ACL, 3: a default ACL, 4: promised space, 5: security.capability, 6: has never had a name (TmpFile), 7: a directory with partitions, 8: a partition */
  flags: 80,
  /** uint */
  reserved: 84,
  /** ulong: of a file: the inode whose number places its chunks beyond the first, 0: its own; of a directory: the one it stands in */
  layout: 88,
} as const;

/** GetAttr, ReadLink, MarkStriped, Fsync, Release, EnsureEmptyRoot */
export const InodeRequest = {
  SIZE: 8,
  /** ulong */
  inode: 0,
} as const;

/** GetAttr, SetAttr, Create, TmpFile, Symlink, Open, SetXattr, RemoveXattr */
export const AttributesReply = {
  SIZE: 104,
  /** Attributes */
  attributes: 0,
  /** uint: bit 0 (Create): the file existed already; bits 1 to 3: leases, as in LookupReply; bit 4: of the pages; bit 5 (GetAttr): of a directory's permissions */
  flags: 96,
  /** uint */
  reserved: 100,
} as const;

/** MarkStriped */
export const LayoutReply = {
  SIZE: 8,
  /** ulong: as in Attributes */
  layout: 0,
} as const;

/** Lookup, Unlink: the name follows */
export const NameRequest = {
  SIZE: 16,
  /** ulong */
  parent: 0,
  /** ushort */
  nameBytes: 8,
  /** ushort */
  reserved0: 10,
  /** uint */
  reserved1: 12,
} as const;

export const LookupReply = {
  SIZE: 112,
  /** ulong */
  inode: 0,
  /** uint: type bits only, when attributes are absent */
  mode: 8,
  /** uint: bit 0: attributes follow, else the inode lives on another target, ask there; leases that are granted: bit 1 of the inode, 2 of the entry, 3 of all entries (MakeDir: of the new directory's) */
  flags: 12,
  /** Attributes */
  attributes: 16,
} as const;

/** Lookup of a name that is not there (status ENOENT), if a lease is granted */
export const AbsentReply = {
  SIZE: 8,
  /** uint: as in LookupReply */
  flags: 0,
  /** uint */
  reserved: 4,
} as const;

export const SetAttrRequest = {
  SIZE: 56,
  /** ulong */
  inode: 0,
  /** ulong */
  sizeBytes: 8,
  /** long */
  atimeSeconds: 16,
  /** long */
  mtimeSeconds: 24,
  /** uint */
  atimeNanoseconds: 32,
  /** uint */
  mtimeNanoseconds: 36,
  /** uint: bit 0 mode, 1 uid, 2 gid, 3 size, 4 atime, 5 mtime, 6 atime now, 7 mtime now, 8 drop set-ID bits */
  valid: 40,
  /** uint */
  mode: 44,
  /** uint */
  uid: 48,
  /** uint */
  gid: 52,
} as const;

/** Create: the name follows; TmpFile: there is none */
export const CreateRequest = {
  SIZE: 32,
  /** ulong */
  parent: 0,
  /** uint */
  mode: 8,
  /** uint */
  uid: 12,
  /** uint */
  gid: 16,
  /** uint */
  rdev: 20,
  /** ushort */
  nameBytes: 24,
  /** ushort: bit 0: exclusive (EEXIST if there), bit 1: register an open handle, bit 2: the lease on pages is wanted */
  flags: 26,
  /** uint: applied unless the parent has a default ACL */
  umask: 28,
} as const;

/** the name, then the target path follow */
export const SymlinkRequest = {
  SIZE: 24,
  /** ulong */
  parent: 0,
  /** uint */
  uid: 8,
  /** uint */
  gid: 12,
  /** ushort */
  nameBytes: 16,
  /** ushort */
  targetBytes: 18,
  /** uint */
  reserved: 20,
} as const;

/** the name follows; the answer is a LookupReply */
export const MakeDirRequest = {
  SIZE: 32,
  /** ulong */
  parent: 0,
  /** uint: where the client wants the new directory */
  bucket: 8,
  /** uint */
  mode: 12,
  /** uint */
  uid: 16,
  /** uint */
  gid: 20,
  /** uint: applied unless the parent has a default ACL */
  umask: 24,
  /** ushort */
  nameBytes: 28,
  /** ushort */
  reserved: 30,
} as const;

export const UnlinkReply = {
  SIZE: 32,
  /** ulong */
  inode: 0,
  /** long: of the directory's mtime and ctime; a repeated reply has 0 */
  changeSeconds: 8,
  /** uint */
  changeNanoseconds: 16,
  /** uint: that remain */
  linkCount: 20,
  /** uint: bit 1: the lease on the directory's inode is still held */
  flags: 24,
  /** uint */
  reserved: 28,
} as const;

/** the name follows; the answer is a LookupReply */
export const LinkRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ulong */
  parent: 8,
  /** ushort */
  nameBytes: 16,
  /** ushort */
  reserved0: 18,
  /** uint */
  reserved1: 20,
} as const;

/** the old name, then the new name follow */
export const RenameRequest = {
  SIZE: 40,
  /** ulong */
  oldParent: 0,
  /** ulong */
  newParent: 8,
  /** ulong: of the volume: where directories that change their parent are serialised */
  root: 16,
  /** ushort */
  oldNameBytes: 24,
  /** ushort */
  newNameBytes: 26,
  /** uint: RENAME_NOREPLACE 1, RENAME_EXCHANGE 2 */
  flags: 28,
  /** ulong: oldParent, or the directory that it is a partition of */
  oldDirectory: 32,
} as const;

export const PrepareRequest = {
  SIZE: 80,
  /** ulong: number, of the coordinator's */
  transaction: 0,
  /** ulong: of the directory whose entry it is, or of the inode itself */
  inode: 8,
  /** ulong: ReplaceEntry: the new inode; MakeDir, SetParent: the parent */
  other: 16,
  /** long: MakeDir: the time of its birth */
  seconds: 24,
  /** uint */
  nanoseconds: 32,
  /** uint: MakeDir: type and permissions; ReplaceEntry: the new inode's type */
  mode: 36,
  /** uint */
  uid: 40,
  /** uint */
  gid: 44,
  /** uint: MakeDir: where */
  bucket: 48,
  /** ushort: RemoveEntry 1, ReplaceEntry 2, MakeDir 3, DropDir 4, AddLink 5, DropLink 6, SetParent 7, Touch 8, Token 9, MakePartition 11, AddRange 12, Inherit 13, Absorb 14, RemoveRange 15 */
  step: 52,
  /** ushort */
  coordinatorBytes: 54,
  /** ushort */
  nameBytes: 56,
  /** ushort: 0: none */
  accessAclBytes: 58,
  /** ushort */
  defaultAclBytes: 60,
  /** ushort */
  reserved: 62,
  /** ulong: of a partition: its hashes are [first, end) */
  first: 64,
  /** ulong */
  end: 72,
} as const;

export const PrepareReply = {
  SIZE: 16,
  /** ulong: RemoveEntry, ReplaceEntry: the entry's; MakeDir: the new one */
  inode: 0,
  /** uint: type, of the entry or the inode */
  mode: 8,
  /** uint: AddLink, DropLink: links afterwards; RemoveEntry, ReplaceEntry: 1 if the inode is here, too; DropDir: partitions besides it */
  count: 12,
} as const;

/** the coordinator's target id follows */
export const ResolveRequest = {
  SIZE: 16,
  /** ulong */
  transaction: 0,
  /** uint: 0: abort */
  commit: 8,
  /** ushort */
  coordinatorBytes: 12,
  /** ushort */
  reserved: 14,
} as const;

export const TransactionStatusRequest = {
  SIZE: 8,
  /** ulong */
  transaction: 0,
} as const;

export const TransactionStatusReply = {
  SIZE: 8,
  /** uint: 0: aborted, 1: under way, 2: committed */
  state: 0,
  /** uint */
  reserved: 4,
} as const;

export const ParentReply = {
  SIZE: 8,
  /** ulong: 0: a volume's root */
  parent: 0,
} as const;

/** GetPartitions: PartitionRange structs follow, by hash; none: the directory is in one piece */
export const PartitionsReply = {
  SIZE: 8,
  /** uint */
  count: 0,
  /** uint */
  reserved: 4,
} as const;

/** up to where the next one begins */
export const PartitionRange = {
  SIZE: 16,
  /** ulong: hash */
  first: 0,
  /** ulong */
  inode: 8,
} as const;

/** DirEntry records follow */
export const MoveEntriesRequest = {
  SIZE: 24,
  /** ulong: of the partition */
  inode: 0,
  /** ulong: that makes it, or has it take them in */
  transaction: 8,
  /** uint */
  count: 16,
  /** uint */
  reserved: 20,
} as const;

/** the partitions' inodes, ulong each, follow */
export const PartitionSumsRequest = {
  SIZE: 8,
  /** uint */
  count: 0,
  /** uint */
  reserved: 4,
} as const;

export const PartitionSumsReply = {
  SIZE: 40,
  /** ulong */
  subdirectories: 0,
  /** ulong: differs when a count of subdirectories has changed */
  changes: 8,
  /** long: the latest */
  mtimeSeconds: 16,
  /** long */
  ctimeSeconds: 24,
  /** uint */
  mtimeNanoseconds: 32,
  /** uint */
  ctimeNanoseconds: 36,
} as const;

export const OpenRequest = {
  SIZE: 16,
  /** ulong */
  inode: 0,
  /** uint: bit 0: truncate to zero, bit 1: re-registration after a reconnect, bit 2: drop set-ID bits with it, bit 3: the lease on pages is wanted */
  flags: 8,
  /** uint */
  reserved: 12,
} as const;

/** the reply's bulk (or, when small, its body) is packed DirEntry records */
export const ReadDirRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ulong: 0 from the start, else the cookie of the last entry seen */
  cookie: 8,
  /** uint */
  maxBytes: 16,
  /** uint: bit 0: with attributes (readdirplus) */
  flags: 20,
} as const;

/** the records follow in the body when `inlineBytes` is not 0 */
export const ReadDirReply = {
  SIZE: 24,
  /** uint */
  inlineBytes: 0,
  /** uint */
  entryCount: 4,
  /** uint: 1: nothing after these in this partition */
  endOfDirectory: 8,
  /** uint: bit 3: all entries are leased, asked for with cookie 0 */
  flags: 12,
  /** ulong: hash that the directory goes on with in another partition; 2^44: in none */
  rangeEnd: 16,
} as const;

/** the name follows, padded with zeros to a multiple of 8 */
export const DirEntry = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ulong */
  cookie: 8,
  /** ushort */
  nameBytes: 16,
  /** ushort: bit 0: Attributes follow this struct, before the name; leases: bits 1 (inode), 2 (entry) */
  hasAttributes: 18,
  /** uint: type bits */
  mode: 20,
} as const;

export const AwaitRequest = {
  SIZE: 16,
  /** ulong: number of the last notice that has arrived */
  acknowledged: 0,
  /** uint: bit 0: the session wants leases */
  flags: 8,
  /** uint: tag of the target's incarnation: of what others granted the client holds nothing */
  incarnation: 12,
} as const;

/** the Notices follow, oldest first */
export const NoticesReply = {
  SIZE: 8,
  /** uint */
  count: 0,
  /** uint: 1: a recall is overdue, so this is no reason to go on believing what was granted */
  flags: 4,
} as const;

export const Notice = {
  SIZE: 32,
  /** ulong: of the session's, they grow by 1 */
  number: 0,
  /** ulong: that is recalled; of an entry: its directory; Lock: the file; LockProbe: the token */
  inode: 8,
  /** ulong: Entry: of the name; Lock: the waiter; LockProbe: the owner that is in the way */
  hash: 16,
  /** ushort: Inode 1, Entry 2, Directory 3, Lock 4, LockProbe 5, Pages 6, Permissions 7 */
  kind: 24,
  /** ushort: Lock: 0, it is held, or an errno; LockProbe: waiters passed */
  status: 26,
  /** uint */
  reserved: 28,
} as const;

/** `count` u64 numbers of notices follow */
export const ReturnedRequest = {
  SIZE: 8,
  /** uint */
  count: 0,
  /** uint */
  reserved: 4,
} as const;

/** SetLock, GetLock */
export const SetLockRequest = {
  SIZE: 48,
  /** ulong */
  inode: 0,
  /** ulong: a number of the session's choice */
  owner: 8,
  /** ulong: the first byte */
  start: 16,
  /** ulong: the last, included; 2^53 - 1 is that byte and all behind it */
  last: 24,
  /** uint: a number of the session's choice, by which notices and CancelLock name the request */
  waiter: 32,
  /** uint: for GetLock of the same client */
  pid: 36,
  /** ushort: unlock 0, read 1, write 2 */
  kind: 40,
  /** ushort: bit 0: flock, else fcntl; bit 1: wait; bit 2: claimed again after a restart */
  flags: 42,
  /** uint */
  reserved: 44,
} as const;

/** GetLock */
export const LockReply = {
  SIZE: 24,
  /** ulong */
  start: 0,
  /** ulong */
  last: 8,
  /** uint: 0: nothing is in the way */
  kind: 16,
  /** uint: 0: of another client */
  pid: 20,
} as const;

export const CancelLockRequest = {
  SIZE: 8,
  /** uint */
  waiter: 0,
  /** uint */
  reserved: 4,
} as const;

export const LockProbeRequest = {
  SIZE: 16,
  /** ulong: of the waiter that asks: random, and different from all others */
  token: 0,
  /** uint: who waits at this target */
  waiter: 8,
  /** uint: so many waiters were passed */
  hops: 12,
} as const;

export const StatFsReply = {
  SIZE: 32,
  /** ulong */
  totalBytes: 0,
  /** ulong */
  freeBytes: 8,
  /** ulong: in use */
  inodes: 16,
  /** ulong */
  freeInodes: 24,
} as const;

export const ReadRequest = {
  SIZE: 32,
  /** ulong */
  inode: 0,
  /** ulong: of the file, as in Attributes */
  layout: 8,
  /** ulong */
  chunk: 16,
  /** uint: in the chunk */
  offset: 24,
  /** uint: offset + length <= chunkBytes */
  lengthBytes: 28,
} as const;

/** the data follows in the body when `inlineBytes` is not 0, else it is the bulk */
export const ReadReply = {
  SIZE: 24,
  /** ulong: of the file; meaningful from the inode's target (chunk 0) only */
  sizeBytes: 0,
  /** uint: of the data; short only where the chunk's data ends: the rest is zeros */
  lengthBytes: 8,
  /** uint */
  inlineBytes: 12,
  /** uint: CRC-32C of the data as sent */
  checksum: 16,
  /** uint */
  reserved: 20,
} as const;

/** checksumCount CRC-32C words follow, then inlineBytes of data */
export const WriteRequest = {
  SIZE: 48,
  /** ulong */
  inode: 0,
  /** ulong: of the file, as in Attributes */
  layout: 8,
  /** ulong */
  chunk: 16,
  /** uint: in the chunk; ignored with append */
  offset: 24,
  /** uint */
  lengthBytes: 28,
  /** uint: bit 0: append (chunk 0 only; EAGAIN in the status if it would leave chunk 0), bit 1: drop set-ID bits */
  flags: 32,
  /** uint: 0: the data is the bulk */
  inlineBytes: 36,
  /** uint: one for each started 4 KiB of the data, zero-padded to 4 KiB */
  checksumCount: 40,
  /** uint */
  reserved: 44,
} as const;

export const WriteReply = {
  SIZE: 16,
  /** ulong: in the file, where the data went */
  offset: 0,
  /** ulong: of the file; 0 from a target that is not the inode's */
  sizeBytes: 8,
} as const;

export const ExtendRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ulong: the file is at least this long; 0: only mtime */
  sizeBytes: 8,
  /** uint: bit 0: drop set-ID bits */
  flags: 16,
  /** uint */
  reserved: 20,
} as const;

/** Extend */
export const SizeReply = {
  SIZE: 8,
  /** ulong */
  sizeBytes: 0,
} as const;

export const CutRequest = {
  SIZE: 32,
  /** ulong */
  inode: 0,
  /** ulong: of the file, as in Attributes */
  layout: 8,
  /** ulong: 0: everything */
  fromByte: 16,
  /** uint: bit 0: the file is deleted, later writes to it are refused */
  flags: 24,
  /** uint */
  reserved: 28,
} as const;

export const ChangeSpaceRequest = {
  SIZE: 48,
  /** ulong */
  inode: 0,
  /** ulong: of the file, as in Attributes */
  layout: 8,
  /** ulong */
  fromByte: 16,
  /** ulong */
  toByte: 24,
  /** ulong: for the inode's target: the file is at least this long afterwards */
  sizeBytes: 32,
  /** uint: bit 0: data goes, bit 1: what has no data is promised space, bit 2: drop set-ID bits */
  how: 40,
  /** uint */
  reserved: 44,
} as const;

/** ChangeSpace, CloneRange */
export const ChangeSpaceReply = {
  SIZE: 16,
  /** ulong: toByte: done; less: to be called again from there */
  nextByte: 0,
  /** ulong: of the file; 0 from a target that is not the inode's */
  sizeBytes: 8,
} as const;

export const AdoptLayoutRequest = {
  SIZE: 16,
  /** ulong */
  inode: 0,
  /** ulong: for a file that is not striped; others keep theirs */
  layout: 8,
} as const;

/** EXDEV: a chunk of the source is not on this target */
export const CloneRangeRequest = {
  SIZE: 48,
  /** ulong: the clone */
  inode: 0,
  /** ulong: of both files, as in Attributes, but never 0 */
  layout: 8,
  /** ulong */
  source: 16,
  /** ulong */
  fromByte: 24,
  /** ulong */
  toByte: 32,
  /** uint: bit 0: drop set-ID bits */
  flags: 40,
  /** uint */
  reserved: 44,
} as const;

export const SeekDataRequest = {
  SIZE: 40,
  /** ulong */
  inode: 0,
  /** ulong: of the file, as in Attributes */
  layout: 8,
  /** ulong */
  fromByte: 16,
  /** ulong */
  toByte: 24,
  /** uint: 0: where data begins, 1: where a hole begins */
  hole: 32,
  /** uint */
  reserved: 36,
} as const;

export const SeekDataReply = {
  SIZE: 16,
  /** ulong: the first; not `found`: nothing before this byte */
  byte: 0,
  /** uint */
  found: 8,
  /** uint */
  reserved: 12,
} as const;

export const EnsureRootRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** uint */
  mode: 8,
  /** uint */
  uid: 12,
  /** uint */
  gid: 16,
  /** uint */
  reserved: 20,
} as const;

export const ReserveRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ulong */
  lengthBytes: 8,
  /** uint: bit 0: drop set-ID bits */
  flags: 16,
  /** uint */
  reserved: 20,
} as const;

export const ReserveReply = {
  SIZE: 16,
  /** ulong */
  offset: 0,
  /** ulong */
  sizeBytes: 8,
} as const;

/** the name, then inlineBytes of the value follow */
export const SetXattrRequest = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** ushort */
  nameBytes: 8,
  /** ushort: bit 0: EEXIST if it is there, bit 1: ENODATA if it is not, bit 2: an access ACL takes the set-group-ID bit */
  flags: 10,
  /** uint */
  valueBytes: 12,
  /** uint: 0: the value is the bulk, or empty */
  inlineBytes: 16,
  /** uint */
  reserved: 20,
} as const;

/** GetXattr, ListXattr, RemoveXattr: the name follows, but for ListXattr */
export const XattrRequest = {
  SIZE: 16,
  /** ulong */
  inode: 0,
  /** ushort */
  nameBytes: 8,
  /** ushort: bit 0 (ListXattr): without those of trusted. */
  flags: 10,
  /** uint: ERANGE if there is more; 0: only the length is asked for */
  maxBytes: 12,
} as const;

/** GetXattr, ListXattr: the bytes follow in the body when `inlineBytes` is not 0 */
export const XattrReply = {
  SIZE: 8,
  /** uint: of the value, or of all names, each with a NUL */
  valueBytes: 0,
  /** uint */
  inlineBytes: 4,
} as const;

/** `count` AccessTime structs follow */
export const AccessedRequest = {
  SIZE: 8,
  /** uint */
  count: 0,
  /** uint */
  reserved: 4,
} as const;

export const AccessTime = {
  SIZE: 24,
  /** ulong */
  inode: 0,
  /** long */
  seconds: 8,
  /** uint */
  nanoseconds: 16,
  /** uint */
  reserved: 20,
} as const;

/** the key to begin at follows */
export const InventoryRequest = {
  SIZE: 16,
  /** ushort: not 0 */
  keyBytes: 0,
  /** ushort */
  reserved0: 2,
  /** uint */
  maxPairs: 4,
  /** uint: of packed pairs; above inlineDataBytes they come as bulk, if a slot is free */
  maxBytes: 8,
  /** uint */
  reserved1: 12,
} as const;

/** InventoryPair records follow when `inlineBytes` is not 0, else they are the bulk. EAGAIN: not one fits without a slot */
export const InventoryReply = {
  SIZE: 24,
  /** ulong: of the target since it started: answers with the same number are of one state */
  commits: 0,
  /** uint */
  inlineBytes: 8,
  /** uint */
  pairCount: 12,
  /** uint: 1: there are no pairs after these */
  end: 16,
  /** uint */
  reserved: 20,
} as const;

/** key, then value follow, padded with zeros to a multiple of 8 */
export const InventoryPair = {
  SIZE: 8,
  /** ushort */
  keyBytes: 0,
  /** ushort: 1: the value is longer than any answer, and left out */
  omitted: 2,
  /** uint */
  valueBytes: 4,
} as const;

export const BatchRequest = {
  SIZE: 8,
  /** ushort: 1 .. batchItemsMax */
  count: 0,
  /** ushort */
  reserved: 2,
  /** uint: BatchWrite: of all contents, one behind the other; BatchRead: contents that may come as bulk */
  dataBytes: 4,
} as const;

export const BatchItem = {
  SIZE: 16,
  /** ushort: with the padding */
  bodyBytes: 0,
  /** ushort: BatchWrite: bit 0: a file that is there loses its set-ID bits; BatchLookup: bit 1: a lease on the absence of the name is wanted */
  flags: 2,
  /** uint: BatchWrite: the file's content, at most inlineDataBytes */
  dataBytes: 4,
  /** uint: CRC-32C of it */
  checksum: 8,
  /** uint */
  reserved: 12,
} as const;

export const BatchReply = {
  SIZE: 8,
  /** ushort: as in the request */
  count: 0,
  /** ushort */
  reserved: 2,
  /** uint: BatchRead: 0: the contents, if any, are the bulk */
  inlineBytes: 4,
} as const;

/** with status 0 a LookupReply follows, of BatchGetAttr an AttributesReply */
export const BatchResult = {
  SIZE: 16,
  /** ushort: of the item; EAGAIN: nothing was done, ask for it alone */
  status: 0,
  /** ushort: BatchRead: 1: it is among the contents, whole */
  hasData: 2,
  /** uint */
  dataBytes: 4,
  /** uint: CRC-32C of the content */
  checksum: 8,
  /** uint: BatchLookup, ENOENT: the bit of a lease on the entry, or 0 */
  leases: 12,
} as const;
