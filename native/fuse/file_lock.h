// Offsets of byte-range locks between the kernel, whose largest is 2^63 - 1, and JavaScript, whose
// numbers are exact below 2^53. No file is that long, so all bytes from there on are one: the last.
#pragma once

#include <algorithm>
#include <cstdint>

#include "native/fuse/layout.generated.h"
#include "native/fuse/libfuse.h"

namespace sealfs::fuse {

constexpr uint64_t kLockOffsetMax = (uint64_t{1} << 53) - 1;
constexpr uint64_t kKernelLockOffsetMax = INT64_MAX;

inline uint64_t lock_offset(uint64_t of_kernel) { return std::min(of_kernel, kLockOffsetMax); }

inline fuse_lk_out to_kernel_lock(const FileLock& lock) {
  fuse_lk_out out = {};
  out.lk.start = lock.start;
  out.lk.end = lock.end >= kLockOffsetMax ? kKernelLockOffsetMax : lock.end;
  out.lk.type = lock.type;
  out.lk.pid = lock.pid;
  return out;
}

}  // namespace sealfs::fuse
