// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs::rdma {

enum class RefusalCode : uint16_t {
  kVersion = 1,
  kMalformed = 2,
  kNoReceiveBuffers = 3,
  kNoQueuePair = 4,
};

enum class DescriptorKind : uint16_t {
  kSource = 1,
  kLanding = 2,
  kWithdrawn = 3,
};

struct Hello {
  uint32_t magic;
  uint16_t version;
  uint16_t flags;
  uint64_t arena_address;
  uint64_t arena_bytes;
  uint32_t credits;
  uint32_t message_bytes;
  uint16_t reads_max;
  uint16_t reserved0;
  uint32_t reserved1;
  uint64_t reserved2;
};
static_assert(sizeof(Hello) == 48);
static_assert(offsetof(Hello, magic) == 0);
static_assert(offsetof(Hello, version) == 4);
static_assert(offsetof(Hello, flags) == 6);
static_assert(offsetof(Hello, arena_address) == 8);
static_assert(offsetof(Hello, arena_bytes) == 16);
static_assert(offsetof(Hello, credits) == 24);
static_assert(offsetof(Hello, message_bytes) == 28);
static_assert(offsetof(Hello, reads_max) == 32);
static_assert(offsetof(Hello, reserved0) == 34);
static_assert(offsetof(Hello, reserved1) == 36);
static_assert(offsetof(Hello, reserved2) == 40);

struct Refusal {
  uint32_t magic;
  uint16_t code;
  uint16_t version;
  uint64_t reserved;
};
static_assert(sizeof(Refusal) == 16);
static_assert(offsetof(Refusal, magic) == 0);
static_assert(offsetof(Refusal, code) == 4);
static_assert(offsetof(Refusal, version) == 6);
static_assert(offsetof(Refusal, reserved) == 8);

struct FramePrefix {
  uint32_t credits;
  uint32_t pulled;
  uint16_t descriptor_count;
  uint16_t flags;
  uint32_t reserved;
};
static_assert(sizeof(FramePrefix) == 16);
static_assert(offsetof(FramePrefix, credits) == 0);
static_assert(offsetof(FramePrefix, pulled) == 4);
static_assert(offsetof(FramePrefix, descriptor_count) == 8);
static_assert(offsetof(FramePrefix, flags) == 10);
static_assert(offsetof(FramePrefix, reserved) == 12);

struct Descriptor {
  uint16_t kind;
  uint16_t tag;
  uint32_t rkey;
  uint64_t address;
  uint32_t length_bytes;
  uint32_t reserved;
};
static_assert(sizeof(Descriptor) == 24);
static_assert(offsetof(Descriptor, kind) == 0);
static_assert(offsetof(Descriptor, tag) == 2);
static_assert(offsetof(Descriptor, rkey) == 4);
static_assert(offsetof(Descriptor, address) == 8);
static_assert(offsetof(Descriptor, length_bytes) == 16);
static_assert(offsetof(Descriptor, reserved) == 20);

}  // namespace sealfs::rdma
