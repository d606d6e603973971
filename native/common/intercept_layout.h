// Goal: what a preloaded program (native/intercept) and the mount process (native/intercept_host)
// show each other, declared once. docs/intercept.md has the same as tables, and the reasons.
//
//   region (a sealed memfd of the mount process, one for each program):
//     0        Header
//     4096     Lane[kLanes]                  one for each thread that is in a call
//     65536    data area[kLanes]             kDataBytes each: what lane i writes or has read
//
//   lane:  free ── program: fill request, state = submitted, bell bit ──> submitted
//            ^                                                             │ mount: request copied
//            └── program: reply read ── done <── mount: reply, state ──────┘
//
// The program may write anywhere at any time: the mount process copies a request once, judges the
// copy, and believes nothing that it has not written outside of this memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::intercept {

constexpr uint32_t kMagic = 0x53464c31;  // "SFL1"; another layout gets another number
constexpr uint32_t kLanes = 64;          // bits of the bell
constexpr uint32_t kDataBytes = 1 << 20;
constexpr uint32_t kLanesOffset = 4096;
constexpr uint32_t kDataOffset = 65536;
constexpr uint64_t kRegionBytes = kDataOffset + uint64_t{kLanes} * kDataBytes;

// Versions: a second memfd, one for each mount, that only the mount process can write to. Counts of
// what its answers depend on, by hash, and their sum, which is changed last.
constexpr uint32_t kVersionCells = 16386;  // src/client/leases/change-marks.ts: 0 to 16384
constexpr uint32_t kMountsCell = 16385;    // the host's own: something was mounted, or unmounted
constexpr uint32_t kVersionsFirst = 16;    // words before cell 0; word 0 is the sum
constexpr uint32_t kVersionsBytes = 69632;
static_assert((kVersionsFirst + kVersionCells) * 4 <= kVersionsBytes);
constexpr uint32_t kDependenciesMax = 24;

enum class Operation : uint32_t {
  kOpen =
      1,  // descriptor `handle` of the program, of inode `offset`: value is the handle for others
  kClose = 2,             // of a handle; nothing is waited for
  kRead = 3,              // handle, offset, length: value bytes lie in the data area
  kWrite = 4,             // handle, offset, length: from the data area; value: bytes
  kStat = 5,              // handle (0: none), length bytes of path: a StatReply in the data area
  kFileStat = 6,          // handle: the same of an open file
  kFileSync = 7,          // handle: fsync(2)
  kFileTruncate = 8,      // handle, offset: the new length
  kFileChangeMode = 9,    // handle, flags: mode
  kFileSetTimes = 10,     // handle, length: of Times in the data area
  kFileAllocate = 11,     // handle, flags: fallocate(2)'s mode, offset: the first byte, length and
                          // second_length: how many, low and high half
  kFileChangeOwner = 12,  // handle, offset: as kChangeOwner
  // By path below the directory `handle`, `length` bytes in the data area, as kStat.
  kUnlink = 16,
  kRemoveDirectory = 17,
  kMakeDirectory = 18,  // flags: mode, kUmaskShift: the caller's umask
  kAccess = 19,         // flags: access(2)'s mode
  kReadLink = 20,       // value: bytes of the link's text, in the data area
  // A second text of `second_length` bytes lies behind the first: a path below `second_handle`, …
  kRename = 21,   // … the new one; flags: renameat2(2)'s
  kLink = 22,     // … the new one; flags: kNoFollow
  kSymlink = 23,  // … or what the link says: `second_handle` is 0
  // By path, again.
  kTruncate = 24,    // offset: the new length
  kChangeMode = 25,  // flags: mode
  kChangeOwner =
      26,          // offset: user, kGroupShift: group, of which kUnchanged stay; flags: kNoFollow
  kSetTimes = 27,  // Times lie behind the path; flags: kNoFollow
  kMakeNode = 28,  // flags: as kMakeDirectory; a file, a FIFO or a socket
  // By path, the attribute's name behind it; or with length 0 of the file `handle` itself.
  kGetXattr = 29,   // offset: room for the value; value: bytes of it, in the data area
  kSetXattr = 30,   // offset: bytes of the value, which lies behind the name; kXattrFlagsShift
  kListXattr = 31,  // offset: room; value: bytes of the names, each with a NUL; no second text
  kRemoveXattr = 32,
  // Handle of a directory, offset: cookie of the entry before, 0: none, length: room. The data area
  // has ListedEntry records then; value: their bytes, and kListingEnds.
  kReadDirectory = 48
};
// No fewer than operations.
constexpr uint32_t kOperations = 64;

// Of kStat, kLink, kChangeOwner, kSetTimes and those of extended attributes.
constexpr uint32_t kNoFollow = 1;
// Of kSetXattr: setxattr(2)'s, XATTR_CREATE and XATTR_REPLACE.
constexpr uint32_t kXattrFlagsShift = 1;
constexpr uint32_t kXattrFlags = 3;
constexpr uint32_t kXattrNameMax = 255;
constexpr uint32_t kXattrValueMax = 65536;
// Of kFileAllocate: FALLOC_FL_KEEP_SIZE, _PUNCH_HOLE and _ZERO_RANGE.
constexpr uint32_t kAllocateModes = 0x13;
// Of kMakeDirectory and kMakeNode.
constexpr uint32_t kUmaskShift = 16;
constexpr uint32_t kDirectoryModeMask = 01777;
constexpr uint32_t kNodeModeMask = 0177777;  // with the kind
constexpr uint32_t kUmaskMask = 0777;
// Of kChangeMode and kChangeOwner.
constexpr uint32_t kModeMask = 07777;
constexpr uint32_t kGroupShift = 32;
constexpr uint32_t kUnchanged = ~0u;
// Without the NUL, as PATH_MAX has it.
constexpr uint32_t kPathBytesMax = 4095;

// A reply's status: 0, an errno, or one of these: the program is to ask the kernel instead.
enum class Fallback : uint32_t {
  kBadHandle = 4097,   // not a handle of this program
  kNotHere = 4098,     // the descriptor is of no file of this mount
  kMode = 4099,        // a descriptor opened in a way that only the kernel serves
  kInKernel = 4100,    // pages or locks of the file are in the kernel
  kPath = 4101,        // a path that only the kernel can follow: links, "..", mounts, ACLs
  kBadRequest = 4102,  // the request contradicts the protocol
  kFull = 4103,        // no room for more handles or requests
  kOverloaded = 4104,  // the core refused for a reason of its own
};
constexpr uint32_t kFallbackFirst = 4097;
constexpr uint32_t kFallbackLast = 4104;

// Words that both sides change at the same time are accessed by atomic builtins only.
struct Header {
  uint32_t magic;  // constant once the region is handed out
  uint32_t lanes;
  uint32_t data_bytes;
  uint32_t reserved0;
  uint8_t padding0[48];
  uint64_t bell;  // program: bit i, lane i is submitted; mount: takes them all
  uint8_t padding1[56];
  uint32_t asleep;  // mount: 1, it sleeps; who makes it 0 sends a byte on the socket
  uint8_t padding2[60];
};
static_assert(offsetof(Header, bell) == 64 && offsetof(Header, asleep) == 128);
static_assert(sizeof(Header) == 192);

enum LaneState : uint32_t { kFree = 0, kSubmitted = 1, kDone = 2 };

struct Request {
  uint32_t operation;
  uint32_t handle;
  uint64_t offset;
  uint32_t length;
  uint32_t flags;
  uint32_t second_handle = 0;  // of calls with two paths
  uint32_t second_length = 0;
};
static_assert(sizeof(Request) == 32);

struct Reply {
  uint32_t status;
  uint32_t reserved;
  uint64_t value;
};
static_assert(sizeof(Reply) == 16);

struct Lane {
  uint32_t state;    // a futex word
  uint32_t waiting;  // program: 1, it sleeps on `state`, or is about to
  Request request;
  uint8_t padding0[24];
  Reply reply;
  uint8_t padding1[48];
};
static_assert(offsetof(Lane, reply) == 64 && sizeof(Lane) == 128);
static_assert(kLanesOffset + kLanes * sizeof(Lane) <= kDataOffset);

// As statx(2) shows it.
struct StatReply {
  uint64_t inode;
  uint64_t size;
  uint64_t blocks;  // of 512 bytes
  int64_t atime_seconds;
  int64_t mtime_seconds;
  int64_t ctime_seconds;
  uint32_t atime_nanoseconds;
  uint32_t mtime_nanoseconds;
  uint32_t ctime_nanoseconds;
  uint32_t mode;
  uint32_t links;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
};
static_assert(sizeof(StatReply) == 80);

struct Dependency {
  uint32_t cell;
  uint32_t version;
};

// The answer to kStat and kFileStat. It may be given again for `valid_ms` milliseconds from when it
// was asked for, as long as all these cells have these versions. 0: it may not. Behind an ENOENT of
// kStat it stands, too, without attributes.
struct StatAnswer {
  StatReply attributes;
  uint32_t valid_ms;
  uint32_t count;
  Dependency dependencies[kDependenciesMax];
};
static_assert(sizeof(StatAnswer) == 88 + 8 * kDependenciesMax);

// One entry of kReadDirectory, as getdents64(2) has it, so programs read it where it lies. The next
// one follows after `record_bytes`, a multiple of 8.
struct ListedEntry {
  uint64_t inode;
  uint64_t cookie;  // the kernel's offset behind it
  uint16_t record_bytes;
  uint8_t type;  // DT_*
  char name[5];  // and more; ends with a NUL
};
static_assert(offsetof(ListedEntry, name) == 19 && sizeof(ListedEntry) == 24);
// Of the answer's value: nothing follows these entries.
constexpr uint64_t kListingEnds = uint64_t{1} << 32;
// The least room: for any entry, and then some.
constexpr uint32_t kListingBytesMin = 4096;

// As utimensat(2) has them, with UTIME_NOW and UTIME_OMIT for nanoseconds.
struct Times {
  int64_t atime_seconds;
  int64_t mtime_seconds;
  uint32_t atime_nanoseconds;
  uint32_t mtime_nanoseconds;
};
static_assert(sizeof(Times) == 24);
// Of seconds, either way; what is beyond is the kernel's to cut.
constexpr int64_t kSecondsMax = (int64_t{1} << 53) - 1;

// The first and only message of the mount process on the socket; with it come two memfds: the
// region's and the one of versions. From then on the connection says by its end that either side
// has gone.
struct Welcome {
  uint32_t magic;
  uint32_t status;  // 0, or the errno with which the program is refused; then nothing comes with it
};

// Name of the socket in the abstract name space: this, and the device of the mount as
// "major:minor".
constexpr char kSocketPrefix[] = "sealfs-intercept/";

}  // namespace sealfs::intercept
