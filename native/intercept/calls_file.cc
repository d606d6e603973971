// Goal: fsync(2), ftruncate(2), fallocate(2) and changes of attributes of descriptors that are read
// or written through lanes. Others, and what only the kernel can do (pages that a mapping has made
// dirty), are the kernel's.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/places.h"
#include "native/intercept/report.h"
#include "native/intercept/times.h"

namespace sealfs::intercept {
namespace {

Next<int(int)> next_fsync{"fsync"};
Next<int(int)> next_fdatasync{"fdatasync"};
Next<int(int, off_t)> next_ftruncate{"ftruncate64"};
Next<int(int, int, off_t, off_t)> next_fallocate{"fallocate64"};
Next<int(int, off_t, off_t)> next_posix_fallocate{"posix_fallocate64"};
Next<int(int, mode_t)> next_fchmod{"fchmod"};
Next<int(int, uid_t, gid_t)> next_fchown{"fchown"};
Next<int(int, const timespec*)> next_futimens{"futimens"};
Next<int(int, const timeval*)> next_futimes{"futimes"};

// 0 or an errno; or a reason to ask the kernel.
uint32_t make(report::Call call, const Use& use, Operation operation, Request request,
              const Times* times = nullptr) {
  const int lane = use.attachment->begin();
  uint32_t status = kNoLane;
  if (lane >= 0) {
    if (times != nullptr) {
      memcpy(use.attachment->data(lane), times, sizeof *times);
      request.length = sizeof *times;
    }
    request.operation = static_cast<uint32_t>(operation);
    request.handle = use.handle;
    status = use.attachment->call(lane, request).status;
    use.attachment->end(lane);
  }
  report::count(call, status);
  return status;
}

// As the mount process says: reads and writes would be told the same.
void learn(int fd, uint32_t status) {
  if (status == static_cast<uint32_t>(Fallback::kInKernel)) {
    descriptors::leave_to_kernel(fd, status);
  }
}

int sync_file(int fd, Next<int(int)>* next) {
  const report::Timing timing(report::kFileSync);
  const int before = errno;
  struct statx shown;
  int result;
  uint32_t status = kNoLane;
  const Use use = descriptors::use_if_known(fd, &shown);
  if (use.attachment != nullptr) {
    status = make(report::kFileSync, use, Operation::kFileSync, Request{});
    learn(fd, status);
  } else {
    report::count(report::kFileSync, use.why);
  }
  return answered(status, before, &result) ? result : (*next)(fd);
}

int truncate_file(int fd, off_t bytes) {
  const report::Timing timing(report::kFileTruncate);
  const int before = errno;
  struct statx shown;
  int result;
  uint32_t status = kNoLane;
  const Use use = descriptors::use_if_known(fd, &shown);
  if (use.attachment == nullptr || !use.writes) {
    report::count(report::kFileTruncate, use.attachment == nullptr ? use.why : report::kOpenMode);
  } else if (bytes >= 0) {
    Request request{};
    request.offset = static_cast<uint64_t>(bytes);
    // The kernel's old size may be larger than the file is by then.
    descriptors::wrote(shown.stx_ino);
    status = make(report::kFileTruncate, use, Operation::kFileTruncate, request);
    learn(fd, status);
  }
  return answered(status, before, &result) ? result : next_ftruncate(fd, bytes);
}

// 0, an errno, or a reason to ask the kernel.
uint32_t allocate(int fd, int mode, off_t offset, off_t bytes) {
  struct statx shown;
  uint32_t status = kNoLane;
  const Use use = descriptors::use_if_known(fd, &shown);
  const auto modes = static_cast<uint32_t>(mode);
  if (use.attachment == nullptr || !use.writes) {
    report::count(report::kFileAllocate, use.attachment == nullptr ? use.why : report::kOpenMode);
  } else if (offset >= 0 && bytes > 0 && (modes & ~kAllocateModes) == 0) {
    Request request{};
    request.offset = static_cast<uint64_t>(offset);
    request.length = static_cast<uint32_t>(bytes);
    request.second_length = static_cast<uint32_t>(static_cast<uint64_t>(bytes) >> 32);
    request.flags = modes;
    descriptors::wrote(shown.stx_ino);
    status = make(report::kFileAllocate, use, Operation::kFileAllocate, request);
    learn(fd, status);
  }
  return status;
}

int allocate_file(int fd, int mode, off_t offset, off_t bytes) {
  const report::Timing timing(report::kFileAllocate);
  const int before = errno;
  int result;
  const uint32_t status = allocate(fd, mode, offset, bytes);
  return answered(status, before, &result) ? result : next_fallocate(fd, mode, offset, bytes);
}

// Its result is the error, and errno stays.
int posix_allocate(int fd, off_t offset, off_t bytes) {
  const report::Timing timing(report::kFileAllocate);
  const int before = errno;
  const uint32_t status = allocate(fd, 0, offset, bytes);
  errno = before;
  if (status < kFallbackFirst) return static_cast<int>(status);
  return next_posix_fallocate(fd, offset, bytes);
}

// The use of a descriptor for a call that asks who the caller is: not of a process that has become
// somebody else since it attached.
Use use_as_same(int fd, report::Call call) {
  struct statx shown;
  Use use = descriptors::use_if_known(fd, &shown);
  if (use.attachment != nullptr && places::is_stopped()) {
    use.attachment = nullptr;
    use.why = static_cast<uint32_t>(Fallback::kPath);
  }
  if (use.attachment == nullptr) report::count(call, use.why);
  return use;
}

int change_mode(int fd, mode_t mode) {
  const report::Timing timing(report::kFileChangeMode);
  const int before = errno;
  int result;
  uint32_t status = kNoLane;
  const Use use = use_as_same(fd, report::kFileChangeMode);
  if (use.attachment != nullptr) {
    Request request{};
    request.flags = mode & kModeMask;
    status = make(report::kFileChangeMode, use, Operation::kFileChangeMode, request);
  }
  return answered(status, before, &result) ? result : next_fchmod(fd, mode);
}

template <typename Given>
int set_times(int fd, const Given* given, Next<int(int, const Given*)>* next) {
  const report::Timing timing(report::kFileSetTimes);
  const int before = errno;
  int result;
  uint32_t status = kNoLane;
  const Use use = use_as_same(fd, report::kFileSetTimes);
  Times times;
  if (use.attachment != nullptr && read_times(given, &times)) {
    status = make(report::kFileSetTimes, use, Operation::kFileSetTimes, Request{}, &times);
  }
  return answered(status, before, &result) ? result : (*next)(fd, given);
}

}  // namespace

uint32_t change_owner_of_file(int fd, uid_t user, gid_t group) {
  const Use use = use_as_same(fd, report::kFileChangeOwner);
  if (use.attachment == nullptr) return kNoLane;
  Request request{};
  request.offset = user | uint64_t{group} << kGroupShift;
  return make(report::kFileChangeOwner, use, Operation::kFileChangeOwner, request);
}

}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int fsync(int fd) { return sync_file(fd, &next_fsync); }
SEALFS_ENTRY int fdatasync(int fd) { return sync_file(fd, &next_fdatasync); }
SEALFS_ENTRY int ftruncate(int fd, off_t bytes) noexcept { return truncate_file(fd, bytes); }
SEALFS_ENTRY int ftruncate64(int fd, off64_t bytes) noexcept { return truncate_file(fd, bytes); }
SEALFS_ENTRY int fallocate(int fd, int mode, off_t offset, off_t bytes) {
  return allocate_file(fd, mode, offset, bytes);
}
SEALFS_ENTRY int fallocate64(int fd, int mode, off64_t offset, off64_t bytes) {
  return allocate_file(fd, mode, offset, bytes);
}
SEALFS_ENTRY int posix_fallocate(int fd, off_t offset, off_t bytes) {
  return posix_allocate(fd, offset, bytes);
}
SEALFS_ENTRY int posix_fallocate64(int fd, off64_t offset, off64_t bytes) {
  return posix_allocate(fd, offset, bytes);
}
SEALFS_ENTRY int fchown(int fd, uid_t user, gid_t group) noexcept {
  const report::Timing timing(report::kFileChangeOwner);
  const int before = errno;
  int result;
  const uint32_t status = change_owner_of_file(fd, user, group);
  return answered(status, before, &result) ? result : next_fchown(fd, user, group);
}
SEALFS_ENTRY int fchmod(int fd, mode_t mode) noexcept { return change_mode(fd, mode); }
SEALFS_ENTRY int futimens(int fd, const timespec* times) noexcept {
  return set_times(fd, times, &next_futimens);
}
SEALFS_ENTRY int futimes(int fd, const timeval* times) noexcept {
  return set_times(fd, times, &next_futimes);
}
