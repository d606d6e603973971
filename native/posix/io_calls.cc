// Reading and writing in less usual ways, limits of the process, and memory that is not there.
#include <fcntl.h>
#include <linux/stat.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// pwritev FD OFFSET FLAGS TEXT…: OFFSET -1 with the descriptor's own place
std::string call_pwritev(Context& context, const Words& words) {
  std::vector<iovec> parts;
  for (size_t i = 4; i < words.size(); i++) {
    parts.push_back({const_cast<char*>(words[i].data()), words[i].size()});
  }
  return outcome(pwritev2(descriptor(context, words[1]), parts.data(),
                          static_cast<int>(parts.size()), number(words, 2),
                          static_cast<int>(flags(words, 3))));
}

// preadv FD OFFSET FLAGS LENGTH…
std::string call_preadv(Context& context, const Words& words) {
  size_t all = 0;
  for (size_t i = 4; i < words.size(); i++) all += static_cast<size_t>(number(words, i));
  std::vector<char> buffer(all + 1);
  std::vector<iovec> parts;
  size_t at = 0;
  for (size_t i = 4; i < words.size(); i++) {
    const size_t bytes = static_cast<size_t>(number(words, i));
    parts.push_back({buffer.data() + at, bytes});
    at += bytes;
  }
  return outcome_bytes(
      preadv2(descriptor(context, words[1]), parts.data(), static_cast<int>(parts.size()),
              number(words, 2), static_cast<int>(flags(words, 3))),
      buffer.data());
}

// vectors FD COUNT: writev of that many empty parts; -1: a negative number of them
std::string call_vectors(Context& context, const Words& words) {
  const int count = static_cast<int>(number(words, 2));
  std::vector<iovec> parts(count > 0 ? static_cast<size_t>(count) : 1, iovec{nullptr, 0});
  return outcome(syscall(SYS_writev, descriptor(context, words[1]), parts.data(), count));
}

// bad CALL FD: the call with memory that is not there
std::string call_bad(Context& context, const Words& words) {
  const int fd = descriptor(context, words[2]);
  void* nowhere = reinterpret_cast<void*>(8);
  const char* no_name = static_cast<const char*>(nowhere);
  const std::string& what = words[1];
  if (what == "read") return outcome(syscall(SYS_pread64, fd, nowhere, 4, 0));
  if (what == "write") return outcome(syscall(SYS_pwrite64, fd, nowhere, 4, 0));
  if (what == "readv") return outcome(syscall(SYS_readv, fd, nowhere, 1));
  if (what == "getdents") return outcome(syscall(SYS_getdents64, fd, nowhere, 4096));
  if (what == "fstat") return outcome(syscall(SYS_newfstatat, fd, "", nowhere, AT_EMPTY_PATH));
  if (what == "open") return outcome(syscall(SYS_openat, AT_FDCWD, no_name, O_RDONLY));
  if (what == "stat") return outcome(syscall(SYS_newfstatat, AT_FDCWD, ".", nowhere, 0));
  if (what == "mkdir") return outcome(syscall(SYS_mkdirat, AT_FDCWD, no_name, 0755));
  if (what == "rename") {
    return outcome(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, no_name, 0));
  }
  if (what == "readlink") return outcome(syscall(SYS_readlinkat, AT_FDCWD, "link", nowhere, 100));
  if (what == "utimens") return outcome(syscall(SYS_utimensat, AT_FDCWD, ".", nowhere, 0));
  if (what == "fgetxattr") return outcome(syscall(SYS_fgetxattr, fd, "user.a", nowhere, 100));
  refuse("no bad call " + what);
}

// writes FD OFFSET LENGTH: how much one pwrite of that much memory takes
std::string call_writes(Context& context, const Words& words) {
  const std::vector<char> data(static_cast<size_t>(number(words, 3)), 'w');
  return outcome(pwrite(descriptor(context, words[1]), data.data(), data.size(), number(words, 2)));
}

// getfl FD: of the flags that can change, those that are set
std::string call_getfl(Context& context, const Words& words) {
  const int all = fcntl(descriptor(context, words[1]), F_GETFL);
  if (all < 0) return outcome(all);
  std::string text = (all & O_ACCMODE) == O_RDONLY   ? "read"
                     : (all & O_ACCMODE) == O_WRONLY ? "write"
                                                     : "both";
  if (all & O_APPEND) text += " append";
  if (all & O_DIRECT) text += " direct";
  if (all & O_NONBLOCK) text += " nonblock";
  if (all & O_NOATIME) text += " noatime";
  if (all & O_PATH) text += " path";
  return text;
}

// setfl FD FLAGS
std::string call_setfl(Context& context, const Words& words) {
  return outcome(fcntl(descriptor(context, words[1]), F_SETFL, flags(words, 2)));
}

// dup FD
std::string call_dup(Context& context, const Words& words) {
  return outcome(dup(descriptor(context, words[1])));
}

// fsizelimit BYTES: RLIMIT_FSIZE; -1: none
std::string call_fsizelimit(Context&, const Words& words) {
  const long long bytes = number(words, 1);
  const rlimit limit = {bytes < 0 ? RLIM_INFINITY : static_cast<rlim_t>(bytes), RLIM_INFINITY};
  return outcome(setrlimit(RLIMIT_FSIZE, &limit));
}

// statfs PATH: what any file system must say
std::string call_statfs(Context&, const Words& words) {
  struct statfs all {};
  const int result = statfs(words[1].c_str(), &all);
  if (result != 0) return outcome(result);
  const bool sane = all.f_bsize > 0 && all.f_bavail <= all.f_bfree && all.f_bfree <= all.f_blocks &&
                    all.f_ffree <= all.f_files && all.f_files > 0;
  return std::string(sane ? "sane" : "not sane") + ", names " + std::to_string(all.f_namelen);
}

// statx PATH FLAGS: the fields of stat that are there, and what they say where all must agree
std::string call_statx(Context& context, const Words& words) {
  struct statx status {};
  const bool by_fd = words[1].size() > 1 && words[1][0] == '$';
  const long result =
      syscall(SYS_statx, by_fd ? descriptor(context, words[1]) : AT_FDCWD,
              by_fd ? "" : words[1].c_str(), flags(words, 2), STATX_BASIC_STATS, &status);
  if (result != 0) return outcome(result);
  char text[96];
  std::snprintf(text, sizeof text, "mask %x mode %o links %u size %llu",
                status.stx_mask & STATX_BASIC_STATS, status.stx_mode, status.stx_nlink,
                S_ISDIR(status.stx_mode) ? 0ULL : static_cast<unsigned long long>(status.stx_size));
  return text;
}

// birth PATH: whether its file system knows when it was made
std::string call_birth(Context&, const Words& words) {
  struct statx status {};
  const long result = syscall(SYS_statx, AT_FDCWD, words[1].c_str(), 0, STATX_BTIME, &status);
  if (result != 0) return outcome(result);
  return (status.stx_mask & STATX_BTIME) != 0 ? "yes" : "no";
}

// readonly PATH: from here on the directory PATH is mounted over itself, read-only, for this
// process
std::string call_readonly(Context&, const Words& words) {
  const char* path = words[1].c_str();
  if (unshare(CLONE_NEWNS) != 0) return outcome(-1);
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return outcome(-1);
  if (mount(path, path, nullptr, MS_BIND, nullptr) != 0) return outcome(-1);
  return outcome(mount(nullptr, path, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr));
}

}  // namespace

Table io_calls() {
  return {
      {"pwritev", 5, call_pwritev}, {"preadv", 5, call_preadv}, {"vectors", 3, call_vectors},
      {"bad", 3, call_bad},         {"writes", 4, call_writes}, {"getfl", 2, call_getfl},
      {"setfl", 3, call_setfl},     {"dup", 2, call_dup},       {"fsizelimit", 2, call_fsizelimit},
      {"statfs", 2, call_statfs},   {"statx", 3, call_statx},   {"readonly", 2, call_readonly},
      {"birth", 2, call_birth},
  };
}

}  // namespace sealfs::posix
