// Goal and method: report.h.
#include "native/intercept/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

namespace sealfs::intercept::report {
namespace {

constexpr uint32_t kFirstReason = 4097;
constexpr uint32_t kReasons = 128;
constexpr const char* kNames[kCalls] = {"open", "read", "write", "stat", "fstat"};

std::atomic<uint64_t> answered[kCalls];
std::atomic<uint64_t> left[kCalls][kReasons];

}  // namespace

void count(Call call, uint32_t status) {
  if (status == kNotOurs) return;
  if (status < kFirstReason || status >= kFirstReason + kReasons) {
    answered[call].fetch_add(1, std::memory_order_relaxed);
  } else {
    left[call][status - kFirstReason].fetch_add(1, std::memory_order_relaxed);
  }
}

// {"pid":1,"calls":{"read":{"shim":3,"4100":1}}}
void write_at_exit() {
  const char* path = getenv("SEALFS_INTERCEPT_REPORT");
  if (path == nullptr || *path == '\0') return;
  uint64_t calls = 0;
  for (uint32_t call = 0; call < kCalls; call++) {
    calls += answered[call].load();
    for (const auto& times : left[call]) calls += times.load();
  }
  if (calls == 0) return;
  char line[4096];
  size_t used = 0;
  const auto add = [&](const char* format, auto... values) {
    const int bytes = snprintf(line + used, sizeof line - used, format, values...);
    if (bytes > 0) used = std::min(sizeof line - 1, used + static_cast<size_t>(bytes));
  };
  add("{\"pid\":%d,\"calls\":{", static_cast<int>(getpid()));
  for (uint32_t call = 0; call < kCalls; call++) {
    add("%s\"%s\":{\"shim\":%llu", call == 0 ? "" : ",", kNames[call],
        static_cast<unsigned long long>(answered[call].load()));
    for (uint32_t reason = 0; reason < kReasons; reason++) {
      const unsigned long long times = left[call][reason].load();
      if (times > 0) add(",\"%u\":%llu", kFirstReason + reason, times);
    }
    add("}");
  }
  add("}}\n");
  const int fd = ::open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  (void)!::write(fd, line, used);
  ::close(fd);
}

}  // namespace sealfs::intercept::report
