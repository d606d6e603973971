// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::fuse {

enum class Operation : uint8_t {
  kLookup = 1,
  kGetAttr = 3,
  kSetAttr = 4,
  kReadLink = 5,
  kSymlink = 6,
  kMkNod = 8,
  kMkDir = 9,
  kUnlink = 10,
  kRmDir = 11,
  kRename = 12,
  kLink = 13,
  kOpen = 14,
  kRead = 15,
  kWrite = 16,
  kStatFs = 17,
  kRelease = 18,
  kFsync = 20,
  kSetXattr = 21,
  kGetXattr = 22,
  kListXattr = 23,
  kRemoveXattr = 24,
  kFlush = 25,
  kOpenDir = 27,
  kReadDir = 28,
  kReleaseDir = 29,
  kFsyncDir = 30,
  kGetLock = 31,
  kSetLock = 32,
  kSetLockWait = 33,
  kCreate = 35,
  kFallocate = 43,
  kReadDirPlus = 44,
  kSeek = 46,
  kCopyFileRange = 47,
  kTmpFile = 51,
};

enum class EventKind : uint8_t {
  kRequest = 0,
  kInterrupt = 1,
  kReady = 2,
  kNamesKept = 6,
  kNotified = 4,
  kPagesDropped = 5,
  kEnded = 3,
};

enum class ReplyKind : uint8_t {
  kStatus = 0,
  kEntry = 1,
  kAttributes = 2,
  kCreate = 3,
  kOpen = 4,
  kWritten = 5,
  kData = 6,
  kDirectory = 7,
  kSeek = 9,
  kXattrSize = 10,
  kStatFs = 8,
  kLock = 11,
  kNotice = 12,
};

enum class OpenFlag : uint8_t {
  kDirectIo = 1,
  kKeepCache = 2,
  kNonSeekable = 4,
  kCacheDirectory = 8,
  kNoFlush = 32,
  kParallelDirectWrites = 64,
};

enum class NoticeKind : uint8_t {
  kAttributes = 0,
  kEpoch = 1,
  kPages = 2,
};

struct RequestRecord {
  uint32_t operation;
  uint32_t generation;
  uint64_t inode;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint32_t flags;
  uint64_t handle;
  uint64_t offset;
  uint32_t size_bytes;
  uint32_t mode;
  uint32_t rdev;
  uint32_t data_offset;
  uint32_t name_offset;
  uint32_t name_bytes;
  uint32_t name2_offset;
  uint32_t name2_bytes;
  uint32_t slot;
  uint32_t umask;
  uint32_t valid;
  uint32_t set_uid;
  uint32_t set_gid;
  uint32_t dots_left;
  int64_t atime_seconds;
  int64_t mtime_seconds;
  uint32_t atime_nanoseconds;
  uint32_t mtime_nanoseconds;
  uint64_t length_bytes;
  uint64_t other_handle;
  uint64_t other_offset;
  uint64_t lock_owner;
  uint64_t lock_end;
  uint32_t lock_type;
  uint32_t lock_pid;
};
static_assert(sizeof(RequestRecord) == 176);
static_assert(offsetof(RequestRecord, operation) == 0);
static_assert(offsetof(RequestRecord, generation) == 4);
static_assert(offsetof(RequestRecord, inode) == 8);
static_assert(offsetof(RequestRecord, uid) == 16);
static_assert(offsetof(RequestRecord, gid) == 20);
static_assert(offsetof(RequestRecord, pid) == 24);
static_assert(offsetof(RequestRecord, flags) == 28);
static_assert(offsetof(RequestRecord, handle) == 32);
static_assert(offsetof(RequestRecord, offset) == 40);
static_assert(offsetof(RequestRecord, size_bytes) == 48);
static_assert(offsetof(RequestRecord, mode) == 52);
static_assert(offsetof(RequestRecord, rdev) == 56);
static_assert(offsetof(RequestRecord, data_offset) == 60);
static_assert(offsetof(RequestRecord, name_offset) == 64);
static_assert(offsetof(RequestRecord, name_bytes) == 68);
static_assert(offsetof(RequestRecord, name2_offset) == 72);
static_assert(offsetof(RequestRecord, name2_bytes) == 76);
static_assert(offsetof(RequestRecord, slot) == 80);
static_assert(offsetof(RequestRecord, umask) == 84);
static_assert(offsetof(RequestRecord, valid) == 88);
static_assert(offsetof(RequestRecord, set_uid) == 92);
static_assert(offsetof(RequestRecord, set_gid) == 96);
static_assert(offsetof(RequestRecord, dots_left) == 100);
static_assert(offsetof(RequestRecord, atime_seconds) == 104);
static_assert(offsetof(RequestRecord, mtime_seconds) == 112);
static_assert(offsetof(RequestRecord, atime_nanoseconds) == 120);
static_assert(offsetof(RequestRecord, mtime_nanoseconds) == 124);
static_assert(offsetof(RequestRecord, length_bytes) == 128);
static_assert(offsetof(RequestRecord, other_handle) == 136);
static_assert(offsetof(RequestRecord, other_offset) == 144);
static_assert(offsetof(RequestRecord, lock_owner) == 152);
static_assert(offsetof(RequestRecord, lock_end) == 160);
static_assert(offsetof(RequestRecord, lock_type) == 168);
static_assert(offsetof(RequestRecord, lock_pid) == 172);

struct EventRecord {
  uint32_t kind;
  uint32_t value;
};
static_assert(sizeof(EventRecord) == 8);
static_assert(offsetof(EventRecord, kind) == 0);
static_assert(offsetof(EventRecord, value) == 4);

struct ReplyRecord {
  uint32_t bytes;
  uint32_t kind;
  uint32_t index;
  uint32_t generation;
  uint32_t status;
  uint32_t count;
  uint64_t handle;
  uint32_t open_flags;
  uint32_t entry_timeout_ms;
  uint32_t attributes_timeout_ms;
  uint32_t reserved;
};
static_assert(sizeof(ReplyRecord) == 48);
static_assert(offsetof(ReplyRecord, bytes) == 0);
static_assert(offsetof(ReplyRecord, kind) == 4);
static_assert(offsetof(ReplyRecord, index) == 8);
static_assert(offsetof(ReplyRecord, generation) == 12);
static_assert(offsetof(ReplyRecord, status) == 16);
static_assert(offsetof(ReplyRecord, count) == 20);
static_assert(offsetof(ReplyRecord, handle) == 24);
static_assert(offsetof(ReplyRecord, open_flags) == 32);
static_assert(offsetof(ReplyRecord, entry_timeout_ms) == 36);
static_assert(offsetof(ReplyRecord, attributes_timeout_ms) == 40);
static_assert(offsetof(ReplyRecord, reserved) == 44);

struct Notice {
  uint64_t inode;
  uint64_t offset;
  uint64_t length_bytes;
  uint32_t kind;
  uint32_t reserved;
};
static_assert(sizeof(Notice) == 32);
static_assert(offsetof(Notice, inode) == 0);
static_assert(offsetof(Notice, offset) == 8);
static_assert(offsetof(Notice, length_bytes) == 16);
static_assert(offsetof(Notice, kind) == 24);
static_assert(offsetof(Notice, reserved) == 28);

struct FileLock {
  uint64_t start;
  uint64_t end;
  uint32_t type;
  uint32_t pid;
};
static_assert(sizeof(FileLock) == 24);
static_assert(offsetof(FileLock, start) == 0);
static_assert(offsetof(FileLock, end) == 8);
static_assert(offsetof(FileLock, type) == 16);
static_assert(offsetof(FileLock, pid) == 20);

struct Segment {
  uint32_t offset;
  uint32_t length_bytes;
  uint32_t flags;
  uint32_t reserved;
};
static_assert(sizeof(Segment) == 16);
static_assert(offsetof(Segment, offset) == 0);
static_assert(offsetof(Segment, length_bytes) == 4);
static_assert(offsetof(Segment, flags) == 8);
static_assert(offsetof(Segment, reserved) == 12);

}  // namespace sealfs::fuse
