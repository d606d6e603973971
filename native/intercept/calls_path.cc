// Goal: stat(2), access(2) and their like by path. Method: the kernel remembers names and
// attributes under leases, and answers from memory faster than anybody else could; so it is asked
// first whether it knows the path (RESOLVE_CACHED, openat2(2)). One that it does not know goes to
// the mount process, once: a path that is asked for again soon is the kernel's to learn.
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
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
#include "native/intercept/report.h"
#include "native/intercept/shown.h"

namespace sealfs::intercept {
namespace {

Next<int(int, const char*, struct stat*, int)> next_fstatat{"fstatat"};
Next<int(int, const char*, int, unsigned, struct statx*)> next_statx{"statx"};
Next<int(int, const char*, int, int)> next_faccessat{"faccessat"};

constexpr int kKnownFlags =
    AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC;

struct Found {
  // 0, an errno, or a reason to ask the kernel.
  uint32_t status = kNoLane;
  StatReply attributes;
  struct statx directory;
};

// Paths that went through a lane lately, by hash: each place has room for one.
constexpr uint32_t kLately = 4096;
constinit std::atomic<uint32_t> lately[kLately];

bool was_asked_lately(uint64_t directory, const char* path) {
  uint64_t hash = directory ^ 0xcbf29ce484222325u;
  for (const char* at = path; *at != '\0'; at++) {
    hash = (hash ^ static_cast<unsigned char>(*at)) * 0x100000001b3u;
  }
  const auto sign = static_cast<uint32_t>(hash >> 32) | 1;
  return lately[hash % kLately].exchange(sign, std::memory_order_relaxed) == sign;
}

bool kernel_knows(int directory, const char* path, int flags) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC;
  if ((flags & AT_SYMLINK_NOFOLLOW) != 0) how.flags |= O_NOFOLLOW;
  how.resolve = RESOLVE_CACHED;
  const long fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
  if (fd >= 0) syscall(SYS_close, fd);
  // Kernels that do not know the question (before 5.12) know nothing.
  return fd >= 0 || (errno != EAGAIN && errno != EINVAL && errno != ENOSYS);
}

// The question costs as much as the answer that follows. So after paths that were known it is
// asked less and less: who looks at what the kernel knows goes on doing so, mostly. The first path
// that it does not know makes it asked each time again.
constexpr uint32_t kUnaskedMax = 63;
std::atomic<uint32_t> unasked{0};       // paths that are taken for known from here on
std::atomic<uint32_t> next_unasked{0};  // when the next one proves to be known

bool is_known_to_kernel(int directory, const char* path, int flags) {
  uint32_t left = unasked.load(std::memory_order_relaxed);
  if (left > 0 && unasked.compare_exchange_strong(left, left - 1, std::memory_order_relaxed)) {
    return true;
  }
  const bool known = kernel_knows(directory, path, flags);
  const uint32_t next = next_unasked.load(std::memory_order_relaxed);
  unasked.store(known ? next : 0, std::memory_order_relaxed);
  next_unasked.store(known ? std::min(2 * next + 1, kUnaskedMax) : 0, std::memory_order_relaxed);
  return known;
}

bool is_forced() { return descriptors::is_always(); }

bool asks_kernel(uint32_t status) { return status >= kFallbackFirst; }

// Whether the path is to be asked for through `call`, which it then begins.
bool is_for_lane(PathCall* call, report::Call kind, int directory, const char* path, int flags) {
  if (path == nullptr || !places::may_be_below(path)) return false;
  const bool is_known = !is_forced() && is_known_to_kernel(directory, path, flags);
  // Whether it is a path of a mount is of interest only to who wants to know.
  if (is_known && !report::wanted()) return false;
  if (!call->begin(directory, path)) return false;
  const uint64_t base = call->directory().stx_ino;
  if (!is_known && (is_forced() || !was_asked_lately(base, call->place().path))) return true;
  report::count(kind, report::kRemembered);
  return false;
}

Found look(int directory, const char* path, int flags) {
  Found found;
  PathCall call;
  if ((flags & ~kKnownFlags) != 0) return found;
  if (!is_for_lane(&call, report::kStat, directory, path, flags)) return found;
  const uint32_t link = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? kNoFollow : 0;
  found.status = call.make(report::kStat, Operation::kStat, link);
  if (found.status == 0) memcpy(&found.attributes, call.data(), sizeof found.attributes);
  found.directory = call.directory();
  return found;
}

int access_at(int directory, const char* path, int mode, int flags) {
  const report::Timing timing(report::kAccess);
  const int before = errno;
  uint32_t status = kNoLane;
  PathCall call;
  const bool plain = (flags & ~AT_EACCESS) == 0 && (mode & ~(R_OK | W_OK | X_OK)) == 0;
  if (plain && is_for_lane(&call, report::kAccess, directory, path, 0)) {
    status = call.make(report::kAccess, Operation::kAccess, static_cast<uint32_t>(mode));
  }
  errno = before;
  if (asks_kernel(status)) return next_faccessat(directory, path, mode, flags);
  if (status != 0) errno = static_cast<int>(status);
  return status == 0 ? 0 : -1;
}

// 0 or -1, as stat(2); false: the kernel is to be asked.
bool answer(const Found& found, int* result) {
  if (asks_kernel(found.status)) return false;
  if (found.status != 0) errno = static_cast<int>(found.status);
  *result = found.status == 0 ? 0 : -1;
  return true;
}

int stat_at(int directory, const char* path, struct stat* to, int flags) {
  const report::Timing timing(report::kStat);
  const int before = errno;
  const Found found = look(directory, path, flags);
  errno = before;
  int result;
  if (!answer(found, &result)) return next_fstatat(directory, path, to, flags);
  if (result == 0) *to = shown_as(found.attributes, found.directory);
  return result;
}

int stat_at64(int directory, const char* path, struct stat64* to, int flags) {
  return stat_at(directory, path, reinterpret_cast<struct stat*>(to), flags);
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int stat(const char* path, struct stat* to) noexcept {
  return stat_at(AT_FDCWD, path, to, 0);
}
SEALFS_ENTRY int stat64(const char* path, struct stat64* to) noexcept {
  return stat_at64(AT_FDCWD, path, to, 0);
}
SEALFS_ENTRY int lstat(const char* path, struct stat* to) noexcept {
  return stat_at(AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW);
}
SEALFS_ENTRY int lstat64(const char* path, struct stat64* to) noexcept {
  return stat_at64(AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW);
}
SEALFS_ENTRY int fstatat(int directory, const char* path, struct stat* to, int flags) noexcept {
  return stat_at(directory, path, to, flags);
}
SEALFS_ENTRY int fstatat64(int directory, const char* path, struct stat64* to, int flags) noexcept {
  return stat_at64(directory, path, to, flags);
}
SEALFS_ENTRY int statx(int directory, const char* path, int flags, unsigned mask,
                       struct statx* to) noexcept {
  constexpr unsigned kKnown = STATX_BASIC_STATS | STATX_BTIME;
  const report::Timing timing(report::kStat);
  const int before = errno;
  Found found;
  if ((mask & ~kKnown) == 0) found = look(directory, path, flags);
  errno = before;
  int result;
  if (!answer(found, &result)) return next_statx(directory, path, flags, mask, to);
  if (result == 0) *to = shown_as_statx(found.attributes, found.directory);
  return result;
}
// Of programs that were linked before glibc 2.33; `version` is of a layout that is the only one.
SEALFS_ENTRY int __xstat(int version, const char* path, struct stat* to) noexcept {
  return stat_at(AT_FDCWD, path, to, 0);
}
SEALFS_ENTRY int __xstat64(int version, const char* path, struct stat64* to) noexcept {
  return stat_at64(AT_FDCWD, path, to, 0);
}
SEALFS_ENTRY int __lxstat(int version, const char* path, struct stat* to) noexcept {
  return stat_at(AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW);
}
SEALFS_ENTRY int __lxstat64(int version, const char* path, struct stat64* to) noexcept {
  return stat_at64(AT_FDCWD, path, to, AT_SYMLINK_NOFOLLOW);
}
SEALFS_ENTRY int __fxstatat(int version, int directory, const char* path, struct stat* to,
                            int flags) noexcept {
  return stat_at(directory, path, to, flags);
}
SEALFS_ENTRY int __fxstatat64(int version, int directory, const char* path, struct stat64* to,
                              int flags) noexcept {
  return stat_at64(directory, path, to, flags);
}
SEALFS_ENTRY int access(const char* path, int mode) noexcept {
  return access_at(AT_FDCWD, path, mode, 0);
}
SEALFS_ENTRY int eaccess(const char* path, int mode) noexcept {
  return access_at(AT_FDCWD, path, mode, AT_EACCESS);
}
SEALFS_ENTRY int euidaccess(const char* path, int mode) noexcept {
  return access_at(AT_FDCWD, path, mode, AT_EACCESS);
}
SEALFS_ENTRY int faccessat(int directory, const char* path, int mode, int flags) noexcept {
  return access_at(directory, path, mode, flags);
}
