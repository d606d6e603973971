// Goal: fsync(2), ftruncate(2) and changes of attributes of descriptors that are read or written
// through lanes. Others, and what only the kernel can do (pages that a mapping has made dirty), are
// the kernel's. So is fchown(2): of an open file, the kernel goes on believing the owner that it
// knows.
#include <errno.h>
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
Next<int(int, mode_t)> next_fchmod{"fchmod"};
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
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int fsync(int fd) { return sync_file(fd, &next_fsync); }
SEALFS_ENTRY int fdatasync(int fd) { return sync_file(fd, &next_fdatasync); }
SEALFS_ENTRY int ftruncate(int fd, off_t bytes) noexcept { return truncate_file(fd, bytes); }
SEALFS_ENTRY int ftruncate64(int fd, off64_t bytes) noexcept { return truncate_file(fd, bytes); }
SEALFS_ENTRY int fchmod(int fd, mode_t mode) noexcept { return change_mode(fd, mode); }
SEALFS_ENTRY int futimens(int fd, const timespec* times) noexcept {
  return set_times(fd, times, &next_futimens);
}
SEALFS_ENTRY int futimes(int fd, const timeval* times) noexcept {
  return set_times(fd, times, &next_futimes);
}
