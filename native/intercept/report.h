// Goal: how often calls went through a lane, and why not, for `sealfs intercept --report`. Method:
// counters of this process; with SEALFS_INTERCEPT_REPORT set, its value is a file that a line of
// JSON is appended to when the process ends by exit(3).
#pragma once

#include <cstdint>

namespace sealfs::intercept::report {

enum Call : uint32_t { kOpen, kRead, kWrite, kStat, kFileStat, kCalls };

// Reasons of this side, beside those of native/common/intercept_layout.h.
constexpr uint32_t kNotOurs = 4201;       // the kernel's descriptor: not counted
constexpr uint32_t kSharedOffset = 4202;  // the offset is not this process's alone
constexpr uint32_t kOpenMode = 4203;      // append, or a limit on file sizes

// `status`: 0 or an errno, answered through the lane; or the reason why the kernel was asked.
void count(Call call, uint32_t status);
void write_at_exit();

}  // namespace sealfs::intercept::report
