// Goal: calls that change names, and readlink(2). Method: all that can go through a lane do, since
// the kernel cannot answer them from memory. Whatever the mount process leaves to the kernel has
// changed nothing (path_call.h).
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/path_call.h"
#include "native/intercept/places.h"

namespace sealfs::intercept {
namespace {

Next<int(int, const char*, int)> next_unlinkat{"unlinkat"};
Next<int(int, const char*, mode_t)> next_mkdirat{"mkdirat"};
Next<int(int, const char*, mode_t, dev_t)> next_mknodat{"mknodat"};
Next<int(int, const char*, int, const char*, unsigned)> next_renameat2{"renameat2"};
Next<int(int, const char*, int, const char*, int)> next_linkat{"linkat"};
Next<int(const char*, int, const char*)> next_symlinkat{"symlinkat"};
Next<ssize_t(int, const char*, char*, size_t)> next_readlinkat{"readlinkat"};
Next<mode_t(mode_t)> next_umask{"umask"};

// Not yet asked for.
constexpr uint32_t kNoUmask = ~0u;
constinit std::atomic<uint32_t> known_umask{kNoUmask};

// Of /proc/self/status; kNoUmask when it does not say. umask(2) cannot be asked without setting it.
uint32_t read_umask() {
  char text[1024];
  const int fd =
      static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/proc/self/status", O_RDONLY | O_CLOEXEC, 0));
  if (fd < 0) return kNoUmask;
  const long got = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  text[got > 0 ? got : 0] = '\0';
  const char* line = strstr(text, "\nUmask:");
  if (line == nullptr) return kNoUmask;
  return static_cast<uint32_t>(strtoul(line + 7, nullptr, 8)) & kUmaskMask;
}

// kNoUmask: not known.
uint32_t own_umask() {
  uint32_t mask = known_umask.load(std::memory_order_acquire);
  if (mask != kNoUmask) return mask;
  const uint32_t read = read_umask();
  // A thread that sets it meanwhile knows better.
  if (known_umask.compare_exchange_strong(mask, read)) return read;
  return mask;
}

int unlink_at(int directory, const char* path, int flags) {
  const bool removes = flags == AT_REMOVEDIR;
  const report::Call kind = removes ? report::kRemoveDirectory : report::kUnlink;
  const report::Timing timing(kind);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if (removes || flags == 0) {
    PathCall call;
    if (call.begin(directory, path)) {
      status = call.make(kind, removes ? Operation::kRemoveDirectory : Operation::kUnlink, 0);
    }
  }
  return answered(status, before, &result) ? result : next_unlinkat(directory, path, flags);
}

int make_directory(int directory, const char* path, mode_t mode) {
  const report::Timing timing(report::kMakeDirectory);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  {
    PathCall call;
    const bool is_found = call.begin(directory, path);
    const uint32_t mask = is_found ? own_umask() : kNoUmask;
    if (mask != kNoUmask) {
      status = call.make(report::kMakeDirectory, Operation::kMakeDirectory,
                         (mode & kDirectoryModeMask) | mask << kUmaskShift);
    }
  }
  return answered(status, before, &result) ? result : next_mkdirat(directory, path, mode);
}

// What mknod(2) makes without asking who the caller is; 0: something else.
mode_t plain_kind(mode_t mode) {
  const mode_t kind = mode & S_IFMT;
  if (kind == 0) return S_IFREG;
  return S_ISREG(kind) || S_ISFIFO(kind) || S_ISSOCK(kind) ? kind : 0;
}

int make_node(int directory, const char* path, mode_t mode, dev_t device) {
  const report::Timing timing(report::kMakeNode);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  const mode_t kind = plain_kind(mode);
  if (kind != 0) {
    PathCall call;
    const bool is_found = call.begin(directory, path);
    const uint32_t mask = is_found ? own_umask() : kNoUmask;
    if (mask != kNoUmask) {
      status = call.make(report::kMakeNode, Operation::kMakeNode,
                         kind | (mode & kModeMask) | mask << kUmaskShift);
    }
  }
  return answered(status, before, &result) ? result : next_mknodat(directory, path, mode, device);
}

int rename_at(int from, const char* path, int to, const char* new_path, unsigned flags) {
  const report::Timing timing(report::kRename);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) == 0 &&
      flags != (RENAME_NOREPLACE | RENAME_EXCHANGE)) {
    PathCall call;
    if (call.begin(from, path) && call.add_path(to, new_path)) {
      status = call.make(report::kRename, Operation::kRename, flags);
    }
  }
  if (answered(status, before, &result)) return result;
  const int moved = next_renameat2(from, path, to, new_path, flags);
  // It may have been a directory above a mount point.
  places::look_again();
  return moved;
}

int link_at(int from, const char* path, int to, const char* new_path, int flags) {
  const report::Timing timing(report::kLink);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if ((flags & ~AT_SYMLINK_FOLLOW) == 0) {
    PathCall call;
    if (call.begin(from, path) && call.add_path(to, new_path)) {
      status = call.make(report::kLink, Operation::kLink, flags == 0 ? kNoFollow : 0);
    }
  }
  if (answered(status, before, &result)) return result;
  return next_linkat(from, path, to, new_path, flags);
}

int symlink_at(const char* text, int directory, const char* path) {
  const report::Timing timing(report::kSymlink);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  {
    PathCall call;
    if (call.begin(directory, path) && call.add_text(text)) {
      status = call.make(report::kSymlink, Operation::kSymlink, 0);
    }
  }
  return answered(status, before, &result) ? result : next_symlinkat(text, directory, path);
}

ssize_t read_link(int directory, const char* path, char* to, size_t bytes) {
  const report::Timing timing(report::kReadLink);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  size_t length = 0;
  if (bytes > 0 && bytes <= SSIZE_MAX) {
    PathCall call;
    if (call.begin(directory, path)) status = call.make(report::kReadLink, Operation::kReadLink, 0);
    if (status == 0) {
      length = std::min({bytes, static_cast<size_t>(call.value()), size_t{kPathBytesMax}});
      memcpy(to, call.data(), length);
    }
  }
  if (!answered(status, before, &result)) return next_readlinkat(directory, path, to, bytes);
  return result == 0 ? static_cast<ssize_t>(length) : -1;
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int unlink(const char* path) noexcept { return unlink_at(AT_FDCWD, path, 0); }
SEALFS_ENTRY int unlinkat(int directory, const char* path, int flags) noexcept {
  return unlink_at(directory, path, flags);
}
SEALFS_ENTRY int rmdir(const char* path) noexcept {
  return unlink_at(AT_FDCWD, path, AT_REMOVEDIR);
}
// libc's own calls unlink and rmdir where we do not see it.
SEALFS_ENTRY int remove(const char* path) noexcept {
  if (unlink_at(AT_FDCWD, path, 0) == 0) return 0;
  return errno == EISDIR ? unlink_at(AT_FDCWD, path, AT_REMOVEDIR) : -1;
}
SEALFS_ENTRY int mkdir(const char* path, mode_t mode) noexcept {
  return make_directory(AT_FDCWD, path, mode);
}
SEALFS_ENTRY int mkdirat(int directory, const char* path, mode_t mode) noexcept {
  return make_directory(directory, path, mode);
}
SEALFS_ENTRY int mknod(const char* path, mode_t mode, dev_t device) noexcept {
  return make_node(AT_FDCWD, path, mode, device);
}
SEALFS_ENTRY int mknodat(int directory, const char* path, mode_t mode, dev_t device) noexcept {
  return make_node(directory, path, mode, device);
}
// Of programs that were linked before glibc 2.33; `version` is of a layout that is the only one.
SEALFS_ENTRY int __xmknod(int version, const char* path, mode_t mode, dev_t* device) noexcept {
  return make_node(AT_FDCWD, path, mode, *device);
}
SEALFS_ENTRY int __xmknodat(int version, int directory, const char* path, mode_t mode,
                            dev_t* device) noexcept {
  return make_node(directory, path, mode, *device);
}
SEALFS_ENTRY int mkfifo(const char* path, mode_t mode) noexcept {
  return make_node(AT_FDCWD, path, (mode & kModeMask) | S_IFIFO, 0);
}
SEALFS_ENTRY int mkfifoat(int directory, const char* path, mode_t mode) noexcept {
  return make_node(directory, path, (mode & kModeMask) | S_IFIFO, 0);
}
SEALFS_ENTRY int rename(const char* from, const char* to) noexcept {
  return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}
SEALFS_ENTRY int renameat(int from, const char* path, int to, const char* new_path) noexcept {
  return rename_at(from, path, to, new_path, 0);
}
SEALFS_ENTRY int renameat2(int from, const char* path, int to, const char* new_path,
                           unsigned flags) noexcept {
  return rename_at(from, path, to, new_path, flags);
}
SEALFS_ENTRY int link(const char* from, const char* to) noexcept {
  return link_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}
SEALFS_ENTRY int linkat(int from, const char* path, int to, const char* new_path,
                        int flags) noexcept {
  return link_at(from, path, to, new_path, flags);
}
SEALFS_ENTRY int symlink(const char* text, const char* path) noexcept {
  return symlink_at(text, AT_FDCWD, path);
}
SEALFS_ENTRY int symlinkat(const char* text, int directory, const char* path) noexcept {
  return symlink_at(text, directory, path);
}
SEALFS_ENTRY ssize_t readlink(const char* path, char* to, size_t bytes) noexcept {
  return read_link(AT_FDCWD, path, to, bytes);
}
SEALFS_ENTRY ssize_t readlinkat(int directory, const char* path, char* to, size_t bytes) noexcept {
  return read_link(directory, path, to, bytes);
}
// Of programs that were compiled with _FORTIFY_SOURCE.
SEALFS_ENTRY ssize_t __readlink_chk(const char* path, char* to, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return read_link(AT_FDCWD, path, to, bytes);
}
SEALFS_ENTRY ssize_t __readlinkat_chk(int directory, const char* path, char* to, size_t bytes,
                                      size_t room) {
  if (bytes > room) __builtin_trap();
  return read_link(directory, path, to, bytes);
}
SEALFS_ENTRY mode_t umask(mode_t mask) noexcept {
  const mode_t before = next_umask(mask);
  // The child of a vfork has one of its own, in its parent's memory.
  if (descriptors::is_at_home()) known_umask.store(mask & kUmaskMask, std::memory_order_release);
  return before;
}
