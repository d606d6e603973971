// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::extent {

enum class Opcode : uint32_t {
  kRead = 1,
  kWrite = 2,
  kSync = 3,
  kAllocate = 4,
};

struct Submission {
  uint32_t opcode;
  uint32_t file;
  uint32_t memory;
  uint32_t length;
  uint32_t block;
  uint32_t tag;
  uint32_t reserved0;
  uint32_t reserved1;
};
static_assert(sizeof(Submission) == 32);
static_assert(offsetof(Submission, opcode) == 0);
static_assert(offsetof(Submission, file) == 4);
static_assert(offsetof(Submission, memory) == 8);
static_assert(offsetof(Submission, length) == 12);
static_assert(offsetof(Submission, block) == 16);
static_assert(offsetof(Submission, tag) == 20);
static_assert(offsetof(Submission, reserved0) == 24);
static_assert(offsetof(Submission, reserved1) == 28);

struct Completion {
  uint32_t tag;
  int32_t result;
};
static_assert(sizeof(Completion) == 8);
static_assert(offsetof(Completion, tag) == 0);
static_assert(offsetof(Completion, result) == 4);

}  // namespace sealfs::extent
