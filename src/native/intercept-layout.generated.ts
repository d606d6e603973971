/** Generated from schema/ by `npm run generate`; do not edit. Byte offsets of fixed structs; SIZE is a struct's length. */

export const CallKind = {
  /** a program has attached; no answer. `offset`: its process id */
  Hello: 0,
  /** it has gone; no answer. No call of it follows */
  Gone: 1,
  /** it has a descriptor of `inode`; value: the core's handle */
  Open: 2,
  /** of `handle`; no answer */
  Close: 3,
  /** value: bytes in the slot */
  Read: 4,
  /** value: bytes */
  Write: 5,
  /** of a path below `inode`, lying in the slot; wire.Attributes are to be put there */
  Stat: 6,
  /** of `inode`, which is open; likewise */
  FileStat: 7,
  /** of `handle` */
  FileSync: 8,
  /** of `inode`, which is open for writing as `handle`; offset: the new length */
  FileTruncate: 9,
  /** of `inode`, which is open; else as ChangeMode */
  FileChangeMode: 10,
  /** likewise, as SetTimes */
  FileSetTimes: 11,
  /** of `handle`, open for writing; flags: fallocate(2)'s mode; offset; secondInode: bytes */
  FileAllocate: 12,
  /** of `inode`, which is open; else as ChangeOwner */
  FileChangeOwner: 13,
  /** of a path below `inode`, as Stat */
  Unlink: 16,
  RemoveDirectory: 17,
  /** flags: mode, and the caller's umask shifted by 16 */
  MakeDirectory: 18,
  /** flags: access(2)'s mode */
  Access: 19,
  /** value: bytes of the text, which is to be put in the slot */
  ReadLink: 20,
  /** a second path below `secondInode` lies behind the first; flags: renameat2(2)'s */
  Rename: 21,
  /** likewise, the new name; flags: bit 0 links are not followed */
  Link: 22,
  /** behind the path lies the link's text */
  Symlink: 23,
  /** of a path; offset: the new length */
  Truncate: 24,
  /** flags: mode */
  ChangeMode: 25,
  /** offset: user; gid: group; 2^32-1 leaves it; flags: bit 0 links are not followed */
  ChangeOwner: 26,
  /** behind the path, from the next multiple of 8 on, lie Times; flags: likewise */
  SetTimes: 27,
  /** flags: as MakeDirectory, with the kind: a file, a FIFO or a socket */
  MakeNode: 28,
  /** offset: room, 0: only its size is asked for; value: bytes of it */
  GetXattr: 29,
  /** offset: bytes of the value; flags: setxattr(2)'s, shifted by 1 */
  SetXattr: 30,
  /** as GetXattr, without a name: names, each with a NUL */
  ListXattr: 31,
  RemoveXattr: 32,
  /** of `handle`; offset: the core's cookie; value: bytes of DirEntry records in the slot, and 2^32: nothing follows */
  ReadDirectory: 48,
} as const;

export const CallRecord = {
  SIZE: 64,
  /** uint */
  kind: 0,
  /** uint: names the call in its answer */
  call: 4,
  /** uint */
  program: 8,
  /** uint: Open, Read, Write: open(2) flags of the descriptor; Stat: bit 0 links are not followed */
  flags: 12,
  /** ulong */
  inode: 16,
  /** ulong: the core's */
  handle: 24,
  /** ulong */
  offset: 32,
  /** uint */
  lengthBytes: 40,
  /** uint: arena offset of data or text; the host's again with the answer */
  slot: 44,
  /** ulong: of the directory that a second path begins at; FileAllocate: bytes */
  secondInode: 48,
  /** uint: of the second path or text */
  secondBytes: 56,
  /** uint: ChangeOwner */
  gid: 60,
} as const;

export const AnswerRecord = {
  SIZE: 16,
  /** uint */
  call: 0,
  /** uint: 0, an errno, or a Fallback of native/common/intercept_layout.h */
  status: 4,
  /** ulong */
  value: 8,
} as const;
