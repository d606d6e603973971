// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::intercept {

enum class CallKind : uint32_t {
  kHello = 0,
  kGone = 1,
  kOpen = 2,
  kClose = 3,
  kRead = 4,
  kWrite = 5,
  kStat = 6,
  kFileStat = 7,
  kFileSync = 8,
  kFileTruncate = 9,
  kFileChangeMode = 10,
  kFileSetTimes = 11,
  kFileAllocate = 12,
  kFileChangeOwner = 13,
  kUnlink = 16,
  kRemoveDirectory = 17,
  kMakeDirectory = 18,
  kAccess = 19,
  kReadLink = 20,
  kRename = 21,
  kLink = 22,
  kSymlink = 23,
  kTruncate = 24,
  kChangeMode = 25,
  kChangeOwner = 26,
  kSetTimes = 27,
  kMakeNode = 28,
  kGetXattr = 29,
  kSetXattr = 30,
  kListXattr = 31,
  kRemoveXattr = 32,
  kReadDirectory = 48,
};

struct CallRecord {
  uint32_t kind;
  uint32_t call;
  uint32_t program;
  uint32_t flags;
  uint64_t inode;
  uint64_t handle;
  uint64_t offset;
  uint32_t length_bytes;
  uint32_t slot;
  uint64_t second_inode;
  uint32_t second_bytes;
  uint32_t gid;
};
static_assert(sizeof(CallRecord) == 64);
static_assert(offsetof(CallRecord, kind) == 0);
static_assert(offsetof(CallRecord, call) == 4);
static_assert(offsetof(CallRecord, program) == 8);
static_assert(offsetof(CallRecord, flags) == 12);
static_assert(offsetof(CallRecord, inode) == 16);
static_assert(offsetof(CallRecord, handle) == 24);
static_assert(offsetof(CallRecord, offset) == 32);
static_assert(offsetof(CallRecord, length_bytes) == 40);
static_assert(offsetof(CallRecord, slot) == 44);
static_assert(offsetof(CallRecord, second_inode) == 48);
static_assert(offsetof(CallRecord, second_bytes) == 56);
static_assert(offsetof(CallRecord, gid) == 60);

struct AnswerRecord {
  uint32_t call;
  uint32_t status;
  uint64_t value;
};
static_assert(sizeof(AnswerRecord) == 16);
static_assert(offsetof(AnswerRecord, call) == 0);
static_assert(offsetof(AnswerRecord, status) == 4);
static_assert(offsetof(AnswerRecord, value) == 8);

}  // namespace sealfs::intercept
