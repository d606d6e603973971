// Goal: fsync(2) and ftruncate(2) of descriptors that are read or written through lanes. Others,
// and what only the kernel can do (pages that a mapping has made dirty), are the kernel's.
#include <errno.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<int(int)> next_fsync{"fsync"};
Next<int(int)> next_fdatasync{"fdatasync"};
Next<int(int, off_t)> next_ftruncate{"ftruncate64"};

// 0 or an errno; or a reason to ask the kernel.
uint32_t make(report::Call call, const Use& use, Request request) {
  const int lane = use.attachment->begin();
  uint32_t status = kNoLane;
  if (lane >= 0) {
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
    Request request{};
    request.operation = static_cast<uint32_t>(Operation::kFileSync);
    status = make(report::kFileSync, use, request);
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
    request.operation = static_cast<uint32_t>(Operation::kFileTruncate);
    request.offset = static_cast<uint64_t>(bytes);
    // The kernel's old size may be larger than the file is by then.
    descriptors::wrote(shown.stx_ino);
    status = make(report::kFileTruncate, use, request);
    learn(fd, status);
  }
  return answered(status, before, &result) ? result : next_ftruncate(fd, bytes);
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int fsync(int fd) { return sync_file(fd, &next_fsync); }
SEALFS_ENTRY int fdatasync(int fd) { return sync_file(fd, &next_fdatasync); }
SEALFS_ENTRY int ftruncate(int fd, off_t bytes) noexcept { return truncate_file(fd, bytes); }
SEALFS_ENTRY int ftruncate64(int fd, off64_t bytes) noexcept { return truncate_file(fd, bytes); }
