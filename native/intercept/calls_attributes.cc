// Goal: calls that change attributes by path. Method: as calls that change names: through a lane
// wherever that can be, since the kernel cannot answer them from memory; what the mount process
// leaves to the kernel has changed nothing (path_call.h).
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <utime.h>

#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/path_call.h"
#include "native/intercept/times.h"

namespace sealfs::intercept {
namespace {

Next<int(const char*, off_t)> next_truncate{"truncate64"};
Next<int(int, const char*, mode_t, int)> next_fchmodat{"fchmodat"};
Next<int(int, const char*, uid_t, gid_t, int)> next_fchownat{"fchownat"};
Next<int(int, const char*, const timespec*, int)> next_utimensat{"utimensat"};
Next<int(const char*, const timeval*)> next_utimes{"utimes"};
Next<int(const char*, const timeval*)> next_lutimes{"lutimes"};
Next<int(int, const char*, const timeval*)> next_futimesat{"futimesat"};
Next<int(const char*, const utimbuf*)> next_utime{"utime"};

// The kernel sends the signal.
bool are_sizes_limited() {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
}

int truncate_path(const char* path, off_t bytes) {
  const report::Timing timing(report::kTruncate);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if (bytes >= 0) {
    PathCall call;
    if (call.begin(AT_FDCWD, path)) {
      status = report::kOpenMode;
      if (are_sizes_limited()) {
        report::count(report::kTruncate, status);
      } else {
        status =
            call.make(report::kTruncate, Operation::kTruncate, 0, static_cast<uint64_t>(bytes));
      }
    }
  }
  return answered(status, before, &result) ? result : next_truncate(path, bytes);
}

int change_mode(int directory, const char* path, mode_t mode, int flags) {
  const report::Timing timing(report::kChangeMode);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if (flags == 0) {
    PathCall call;
    if (call.begin(directory, path)) {
      status = call.make(report::kChangeMode, Operation::kChangeMode, mode & kModeMask);
    }
  }
  return answered(status, before, &result) ? result : next_fchmodat(directory, path, mode, flags);
}

// fchownat(2) of what `fd` is itself.
int change_owner_at(int fd, uid_t user, gid_t group) {
  const report::Timing timing(report::kFileChangeOwner);
  const int before = errno;
  int result;
  const uint32_t status = change_owner_of_file(fd, user, group);
  if (answered(status, before, &result)) return result;
  return next_fchownat(fd, "", user, group, AT_EMPTY_PATH);
}

int change_owner(int directory, const char* path, uid_t user, gid_t group, int flags) {
  if (flags == AT_EMPTY_PATH && path != nullptr && *path == '\0') {
    return change_owner_at(directory, user, group);
  }
  const report::Timing timing(report::kChangeOwner);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if ((flags & ~AT_SYMLINK_NOFOLLOW) == 0) {
    PathCall call;
    if (call.begin(directory, path)) {
      const uint64_t owner = user | uint64_t{group} << kGroupShift;
      const uint32_t link = flags == 0 ? 0 : kNoFollow;
      status = call.make(report::kChangeOwner, Operation::kChangeOwner, link, owner);
    }
  }
  if (answered(status, before, &result)) return result;
  return next_fchownat(directory, path, user, group, flags);
}

// `kernel`: the program's own call.
template <typename Given, typename Kernel>
int set_times(int directory, const char* path, const Given* given, int flags, Kernel kernel) {
  const report::Timing timing(report::kSetTimes);
  const int before = errno;
  uint32_t status = kNoLane;
  int result;
  if ((flags & ~AT_SYMLINK_NOFOLLOW) == 0) {
    PathCall call;
    Times times;
    if (call.begin(directory, path) && read_times(given, &times) && call.add_times(times)) {
      const uint32_t link = flags == 0 ? 0 : kNoFollow;
      status = call.make(report::kSetTimes, Operation::kSetTimes, link);
    }
  }
  return answered(status, before, &result) ? result : kernel();
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int truncate(const char* path, off_t bytes) noexcept {
  return truncate_path(path, bytes);
}
SEALFS_ENTRY int truncate64(const char* path, off64_t bytes) noexcept {
  return truncate_path(path, bytes);
}
SEALFS_ENTRY int chmod(const char* path, mode_t mode) noexcept {
  return change_mode(AT_FDCWD, path, mode, 0);
}
SEALFS_ENTRY int fchmodat(int directory, const char* path, mode_t mode, int flags) noexcept {
  return change_mode(directory, path, mode, flags);
}
SEALFS_ENTRY int chown(const char* path, uid_t user, gid_t group) noexcept {
  return change_owner(AT_FDCWD, path, user, group, 0);
}
SEALFS_ENTRY int lchown(const char* path, uid_t user, gid_t group) noexcept {
  return change_owner(AT_FDCWD, path, user, group, AT_SYMLINK_NOFOLLOW);
}
SEALFS_ENTRY int fchownat(int directory, const char* path, uid_t user, gid_t group,
                          int flags) noexcept {
  return change_owner(directory, path, user, group, flags);
}
SEALFS_ENTRY int utimensat(int directory, const char* path, const timespec* times,
                           int flags) noexcept {
  return set_times(directory, path, times, flags,
                   [=] { return next_utimensat(directory, path, times, flags); });
}
SEALFS_ENTRY int utimes(const char* path, const timeval* times) noexcept {
  return set_times(AT_FDCWD, path, times, 0, [=] { return next_utimes(path, times); });
}
SEALFS_ENTRY int lutimes(const char* path, const timeval* times) noexcept {
  return set_times(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW,
                   [=] { return next_lutimes(path, times); });
}
SEALFS_ENTRY int futimesat(int directory, const char* path, const timeval* times) noexcept {
  return set_times(directory, path, times, 0,
                   [=] { return next_futimesat(directory, path, times); });
}
SEALFS_ENTRY int utime(const char* path, const utimbuf* times) noexcept {
  return set_times(AT_FDCWD, path, times, 0, [=] { return next_utime(path, times); });
}
