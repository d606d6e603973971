/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const Operation = {
  Lookup: 1,
  GetAttr: 3,
  SetAttr: 4,
  ReadLink: 5,
  Symlink: 6,
  MkNod: 8,
  MkDir: 9,
  Unlink: 10,
  RmDir: 11,
  Rename: 12,
  Link: 13,
  Open: 14,
  Read: 15,
  Write: 16,
  StatFs: 17,
  Release: 18,
  Fsync: 20,
  SetXattr: 21,
  GetXattr: 22,
  ListXattr: 23,
  RemoveXattr: 24,
  Flush: 25,
  OpenDir: 27,
  ReadDir: 28,
  ReleaseDir: 29,
  FsyncDir: 30,
  /** locks: only where the session asked for them */
  GetLock: 31,
  SetLock: 32,
  SetLockWait: 33,
  Create: 35,
  Fallocate: 43,
  ReadDirPlus: 44,
  Seek: 46,
  CopyFileRange: 47,
  /** Create without a name: `inode` is the directory */
  TmpFile: 51,
} as const;

export const EventKind = {
  /** a new request stands in record `value` */
  Request: 0,
  /** the caller of request `value` was signalled; it should be answered soon */
  Interrupt: 1,
  /** the kernel and we have agreed; value is 0 */
  Ready: 2,
  /** an epoch among the notices that are reported next was not raised: something is mounted below */
  NamesKept: 6,
  /** `value` more notices of attributes and names are written */
  Notified: 4,
  /** `value` more notices of pages are written */
  PagesDropped: 5,
  /** unmounted or aborted; value is an errno, ENODEV in the usual case; the last event */
  Ended: 3,
} as const;

export const ReplyKind = {
  /** errno, or 0 where an operation answers nothing else */
  Status: 0,
  Entry: 1,
  Attributes: 2,
  /** entry and handle */
  Create: 3,
  Open: 4,
  Written: 5,
  /** gathered segments: Read, ReadLink */
  Data: 6,
  /** one segment of packed wire.DirEntry */
  Directory: 7,
  /** the byte, in the place of the handle */
  Seek: 9,
  /** GetXattr, ListXattr of size 0: `count` is the length */
  XattrSize: 10,
  /** wire.StatFsReply in the place of the attributes */
  StatFs: 8,
  /** FileLock: GetLock */
  Lock: 11,
  /** Notice: answers nothing, tells the kernel */
  Notice: 12,
} as const;

export const OpenFlag = {
  DirectIo: 1,
  KeepCache: 2,
  NonSeekable: 4,
  CacheDirectory: 8,
  NoFlush: 32,
  /** with DirectIo: writes that do not extend the file need no lock */
  ParallelDirectWrites: 64,
} as const;

export const NoticeKind = {
  /** of the inode are no longer valid */
  Attributes: 0,
  /** all names are no longer valid */
  Epoch: 1,
  /** of the inode, and its attributes */
  Pages: 2,
} as const;

export const RequestRecord = {
  SIZE: 176,
  /** uint */
  operation: 0,
  /** uint: of the index; a reply with another is dropped */
  generation: 4,
  /** ulong: the node, or the parent directory; the root is the session's rootInode */
  inode: 8,
  /** uint */
  uid: 16,
  /** uint */
  gid: 20,
  /** uint */
  pid: 24,
  /** uint: GetLock, SetLock, SetLockWait: bit 0 flock(2), else fcntl(2); Seek: SEEK_DATA 3, SEEK_HOLE 4; Open, Create, TmpFile, OpenDir, Read, Write: open(2) flags; Rename: renameat2(2) flags; Fsync: bit 0 data only; SetAttr: bit 0 with a handle; SetXattr: wire.SetXattrRequest.flags */
  flags: 28,
  /** ulong: Read, Write, Release, Flush, locks, Fsync, ReadDir, GetAttr, SetAttr: as given to open */
  handle: 32,
  /** ulong: Read, Write: in the file; ReadDir: cookie; SetAttr: new size; Link, Rename: new parent */
  offset: 40,
  /** uint: Read, ReadDir, GetXattr, ListXattr: at most; Write, SetXattr: of the data */
  sizeBytes: 48,
  /** uint: Fallocate: fallocate(2) mode; Create, TmpFile, MkNod, MkDir, SetAttr; umask not applied */
  mode: 52,
  /** uint: MkNod */
  rdev: 56,
  /** uint: Write, SetXattr: arena offset of the data */
  dataOffset: 60,
  /** uint: arena offset, until the reply; Link: of the new name */
  nameOffset: 64,
  /** uint */
  nameBytes: 68,
  /** uint: Rename: new name; Symlink: target */
  name2Offset: 72,
  /** uint */
  name2Bytes: 76,
  /** uint: arena offset of the slot that holds data or names, given back at the reply; 0: none, or taken */
  slot: 80,
  /** uint: Create, TmpFile, MkNod, MkDir: of the caller */
  umask: 84,
  /** uint: SetAttr, as wire.SetAttrRequest.valid: bit 0 mode, 1 uid, 2 gid, 3 size, 4 atime, 5 mtime, 6 atime now, 7 mtime now; also of Open, Create, Write: 8 drop set-ID bits; Release: bit 9 the flock(2) lock of `lockOwner` goes */
  valid: 88,
  /** uint */
  setUid: 92,
  /** uint */
  setGid: 96,
  /** uint: native's own: ReadDir: how many of "." and ".." are still to be listed */
  dotsLeft: 100,
  /** long */
  atimeSeconds: 104,
  /** long */
  mtimeSeconds: 112,
  /** uint */
  atimeNanoseconds: 120,
  /** uint */
  mtimeNanoseconds: 124,
  /** ulong: Fallocate, CopyFileRange */
  lengthBytes: 128,
  /** ulong: CopyFileRange: of the file that is written; `inode`, `handle`, `offset` are the source's */
  otherHandle: 136,
  /** ulong */
  otherOffset: 144,
  /** ulong: locks, Flush, Release: all 64 bits, the kernel's name for a file table or an open file */
  lockOwner: 152,
  /** ulong: locks: the last byte, `offset` the first; LOCK_OFFSET_MAX (2^53 - 1): that byte and all behind it */
  lockEnd: 160,
  /** uint: locks: F_RDLCK 0, F_WRLCK 1, F_UNLCK 2 */
  lockType: 168,
  /** uint: locks: of the process; 0 in GetLock and when unlocking */
  lockPid: 172,
} as const;

export const EventRecord = {
  SIZE: 8,
  /** uint */
  kind: 0,
  /** uint */
  value: 4,
} as const;

export const ReplyRecord = {
  SIZE: 48,
  /** uint: of the whole submission, a multiple of 8 */
  bytes: 0,
  /** uint */
  kind: 4,
  /** uint */
  index: 8,
  /** uint */
  generation: 12,
  /** uint: errno; not 0: nothing else counts */
  status: 16,
  /** uint: Written: bytes; Data: number of segments */
  count: 20,
  /** ulong: Create, Open; Directory: inode of ".."; Seek: the byte */
  handle: 24,
  /** uint: Create, Open: OpenFlag bits */
  openFlags: 32,
  /** uint */
  entryTimeoutMs: 36,
  /** uint */
  attributesTimeoutMs: 40,
  /** uint */
  reserved: 44,
} as const;

export const Notice = {
  SIZE: 32,
  /** ulong */
  inode: 0,
  /** ulong: Pages: from this byte on … */
  offset: 8,
  /** ulong: … so many; 0: to the end */
  lengthBytes: 16,
  /** uint */
  kind: 24,
  /** uint */
  reserved: 28,
} as const;

export const FileLock = {
  SIZE: 24,
  /** ulong */
  start: 0,
  /** ulong: 2^53 - 1: to the end of every file */
  end: 8,
  /** uint */
  type: 16,
  /** uint: 0: of no process here */
  pid: 20,
} as const;

export const Segment = {
  SIZE: 16,
  /** uint: arena offset; 0: zeros */
  offset: 0,
  /** uint */
  lengthBytes: 4,
  /** uint: bit 0: give back the bulk or message slot that holds it */
  flags: 8,
  /** uint */
  reserved: 12,
} as const;
