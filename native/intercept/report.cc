// Goal and method: report.h. The lines, by example, each in one write:
//
//   {"pid":7,"began":"/usr/bin/dd"}
//   {"pid":7,"calls":{"read":{"shim":3,"4100":1}},"ns":{"read":{"shim":9000,"4100":800}}}
//   {"pid":7,"executes":"./tool"}   and then "began", or this: {"pid":7,"stays":1}
#include "native/intercept/report.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "native/intercept/working_directory.h"

namespace sealfs::intercept::report {
namespace {

constexpr uint32_t kFirstReason = 4097;
constexpr uint32_t kReasons = 128;
// Index of an outcome: 0, answered; else 1 + reason - kFirstReason.
constexpr uint32_t kOutcomes = kReasons + 1;
constexpr const char* kNames[kCalls] = {"open",
                                        "introduce",
                                        "read",
                                        "write",
                                        "stat",
                                        "fstat",
                                        "fsync",
                                        "ftruncate",
                                        "fchmod",
                                        "futimens",
                                        "unlink",
                                        "rmdir",
                                        "mkdir",
                                        "access",
                                        "readlink",
                                        "rename",
                                        "link",
                                        "symlink",
                                        "truncate",
                                        "chmod",
                                        "chown",
                                        "utimens",
                                        "mknod",
                                        "readdir",
                                        "fallocate",
                                        "fchown",
                                        "getxattr",
                                        "setxattr",
                                        "listxattr",
                                        "removexattr",
                                        "copy_file_range",
                                        "sendfile",
                                        "splice",
                                        "mmap",
                                        "lock",
                                        "fadvise",
                                        "preadv2",
                                        "pwritev2"};
constexpr size_t kLineBytes = 16 * 1024;

constinit std::atomic<uint64_t> counts[kCalls][kOutcomes];
constinit std::atomic<uint64_t> times_ns[kCalls][kOutcomes];
constinit std::atomic_flag ended = ATOMIC_FLAG_INIT;
// The innermost of this thread.
thread_local Timing* timing __attribute__((tls_model("initial-exec"))) = nullptr;

uint32_t outcome_of(uint32_t status) {
  const bool is_reason = status >= kFirstReason && status < kFirstReason + kReasons;
  return is_reason ? 1 + status - kFirstReason : 0;
}

// By the vDSO: no system call.
uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// A line in the making. What does not fit is missing, and the reader leaves the line out.
class Line {
 public:
  template <typename... Values>
  void add(const char* format, Values... values) {
    const int bytes = snprintf(text_ + used_, sizeof text_ - used_, format, values...);
    if (bytes > 0) used_ = std::min(sizeof text_ - 1, used_ + static_cast<size_t>(bytes));
  }
  // As a string of JSON.
  void add_text(const char* text) {
    add("%s", "\"");
    for (; *text != '\0'; text++) {
      const auto byte = static_cast<unsigned char>(*text);
      if (byte < 0x20 || byte == '"' || byte == '\\') {
        add("\\u%04x", byte);
      } else {
        add("%c", byte);
      }
    }
    add("%s", "\"");
  }
  void write() {
    add("%s", "\n");
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
    const long fd = syscall(SYS_openat, AT_FDCWD, destination, flags, 0600);
    if (fd < 0) return;
    (void)!syscall(SYS_write, fd, text_, used_);
    syscall(SYS_close, fd);
  }

 private:
  char text_[kLineBytes];
  size_t used_ = 0;
};

using Table = std::atomic<uint64_t>[kCalls][kOutcomes];

bool is_empty(const std::atomic<uint64_t> (&row)[kOutcomes]) {
  return std::all_of(row, row + kOutcomes, [](const auto& value) { return value.load() == 0; });
}

void add_table(Line* line, const char* name, const Table& table) {
  line->add("\"%s\":{", name);
  const char* comma = "";
  for (uint32_t call = 0; call < kCalls; call++) {
    if (is_empty(table[call])) continue;
    line->add("%s\"%s\":{\"shim\":%llu", comma, kNames[call],
              static_cast<unsigned long long>(table[call][0].load()));
    comma = ",";
    for (uint32_t i = 1; i < kOutcomes; i++) {
      const unsigned long long value = table[call][i].load();
      if (value > 0) line->add(",\"%u\":%llu", kFirstReason + i - 1, value);
    }
    line->add("%s", "}");
  }
  line->add("%s", "}");
}

void clear(Table* table) {
  for (auto& row : *table) {
    for (auto& value : row) value = 0;
  }
}

}  // namespace

const char* destination = nullptr;

void count(Call call, uint32_t status) {
  if (status == kNotOurs || !wanted()) return;
  counts[call][outcome_of(status)].fetch_add(1, std::memory_order_relaxed);
  if (timing != nullptr && timing->call_ == call) timing->status_ = status;
}

void Timing::begin(Call call) {
  call_ = call;
  outer_ = timing;
  timing = this;
  began_ns_ = now_ns();
}

void Timing::end() {
  timing = outer_;
  if (status_ == kNotOurs) return;
  times_ns[call_][outcome_of(status_)].fetch_add(now_ns() - began_ns_, std::memory_order_relaxed);
}

void begin_program() {
  const char* path = getenv("SEALFS_INTERCEPT_REPORT");
  if (path == nullptr || *path == '\0') return;
  destination = path;
  char program[PATH_MAX];
  const long bytes =
      syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", program, sizeof program - 1);
  program[std::max(bytes, 0L)] = '\0';
  Line line;
  line.add("{\"pid\":%d,\"began\":", static_cast<int>(getpid()));
  line.add_text(program);
  line.add("%s", "}");
  line.write();
}

void begin_child() {
  clear(&counts);
  clear(&times_ns);
  ended.clear();
  timing = nullptr;
}

void end_program() {
  if (!wanted() || ended.test_and_set()) return;
  Line line;
  line.add("{\"pid\":%d,", static_cast<int>(getpid()));
  add_table(&line, "calls", counts);
  line.add("%s", ",");
  add_table(&line, "ns", times_ns);
  line.add("%s", "}");
  line.write();
}

void executes(pid_t pid, const char* path) {
  if (!wanted() || path == nullptr) return;
  // Read when this process may be elsewhere. A bare name is one of PATH.
  char absolute[2 * PATH_MAX];
  if (*path != '/' && strchr(path, '/') != nullptr) {
    char here[PATH_MAX];
    if (working_directory::path(here, sizeof here) > 0) {
      snprintf(absolute, sizeof absolute, "%s/%s", here, path);
      path = absolute;
    }
  }
  Line line;
  line.add("{\"pid\":%d,\"executes\":", static_cast<int>(pid));
  line.add_text(path);
  line.add("%s", "}");
  line.write();
}

void executed_not() {
  if (!wanted()) return;
  Line line;
  line.add("{\"pid\":%d,\"stays\":1}", static_cast<int>(getpid()));
  line.write();
  clear(&counts);
  clear(&times_ns);
  ended.clear();
}

}  // namespace sealfs::intercept::report
