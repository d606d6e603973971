// Goal: stat(2), access(2) and their like by path. Method: what was asked for again and again is
// remembered here (remembered.h). The kernel remembers names and attributes, too, and is asked of a
// path that is new whether it knows it (RESOLVE_CACHED, openat2(2)): if so it answers. One that it
// does not know goes to the mount process, and so does one that is asked for the third time.
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
#include "native/intercept/remembered.h"
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

// Paths that were asked for lately, by hash: each place has room for one. In its last bits, how
// often; kLeft: it went through a lane, and was not to be remembered.
constexpr uint32_t kLately = 4096;
constexpr uint32_t kTimes = 3;
constexpr uint32_t kThird = 2;
constexpr uint32_t kLeft = 3;
constinit std::atomic<uint32_t> lately[kLately];

struct Asked {
  std::atomic<uint32_t>* place;
  uint32_t sign;
  uint32_t times;  // before now, at most kThird; or kLeft
};

// The working directory is not looked at: whoever asks for the same name in several asks sooner.
Asked asked_lately(int directory, const char* path) {
  uint64_t hash = static_cast<uint32_t>(directory) ^ 0xcbf29ce484222325u;
  for (const char* at = path; *at != '\0'; at++) {
    hash = (hash ^ static_cast<unsigned char>(*at)) * 0x100000001b3u;
  }
  const uint32_t sign = static_cast<uint32_t>(hash >> 32) & ~kTimes;
  std::atomic<uint32_t>& place = lately[hash % kLately];
  const uint32_t before = place.load(std::memory_order_relaxed);
  const uint32_t times = (before & ~kTimes) == sign ? before & kTimes : 0;
  // What was left to the kernel is tried once more after it.
  const uint32_t next = times == kLeft ? kThird : std::min(times + 1, kThird);
  place.store(sign | next, std::memory_order_relaxed);
  return {&place, sign, times};
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

// Whether the path is to be asked for through `call`, which it then begins. `is_kernels`: the
// kernel is to learn it, or knows it.
bool is_for_lane(PathCall* call, report::Call kind, int directory, const char* path,
                 bool is_kernels) {
  // Whether it is a path of a mount is of interest only to who wants to know.
  if (is_kernels && !report::wanted()) return false;
  if (!call->begin(directory, path)) return false;
  if (!is_kernels) return true;
  report::count(kind, report::kRemembered);
  return false;
}

bool is_remembered(const Place& place, bool follows, uint64_t now, Found* found) {
  remembered::Answer answer;
  if (place.attachment == nullptr || !remembered::find(place, follows, now, &answer)) return false;
  found->status = answer.status;
  found->attributes = answer.attributes;
  found->directory = place.directory;
  report::count(report::kStat, answer.status);
  return true;
}

Found look(int directory, const char* path, int flags) {
  Found found;
  PathCall call;
  if ((flags & ~kKnownFlags) != 0 || path == nullptr) return found;
  const bool follows = (flags & AT_SYMLINK_NOFOLLOW) == 0;
  const bool may_be_remembered = !remembered::is_empty();
  const uint64_t now = may_be_remembered ? remembered::now_ms() : 0;
  Place place;
  const bool is_again = may_be_remembered && places::find_again(path, now, &place);
  if (is_again && is_remembered(place, follows, now, &found)) return found;
  if (!places::may_be_below(path)) return found;
  if (may_be_remembered && !is_again &&
      is_remembered(places::find(directory, path), follows, now, &found)) {
    return found;
  }
  const Asked asked = asked_lately(directory, path);
  const bool is_kernels = !is_forced() && asked.times != kThird &&
                          (asked.times == kLeft || is_known_to_kernel(directory, path, flags));
  if (!is_for_lane(&call, report::kStat, directory, path, is_kernels)) return found;
  const uint64_t asked_ms = remembered::now_ms();
  found.status = call.make(report::kStat, Operation::kStat, follows ? 0 : kNoFollow);
  if (found.status != 0 && found.status != ENOENT) return found;
  StatAnswer answer;
  memcpy(&answer, call.data(), sizeof answer);
  found.attributes = answer.attributes;
  found.directory = call.directory();
  const bool is_kept = remembered::keep(call.place(), follows, found.status, answer, asked_ms);
  if (!is_kept && asked.times == kThird) asked.place->store(asked.sign | kLeft);
  return found;
}

int access_at(int directory, const char* path, int mode, int flags) {
  const report::Timing timing(report::kAccess);
  const int before = errno;
  uint32_t status = kNoLane;
  PathCall call;
  const bool plain = (flags & ~AT_EACCESS) == 0 && (mode & ~(R_OK | W_OK | X_OK)) == 0 &&
                     path != nullptr && places::may_be_below(path);
  // A path that is asked for again is the kernel's to learn.
  const bool is_kernels =
      plain && !is_forced() &&
      (is_known_to_kernel(directory, path, 0) || asked_lately(directory, path).times != 0);
  if (plain && is_for_lane(&call, report::kAccess, directory, path, is_kernels)) {
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
