// Goal: fstat(2) of descriptors that are read or written through lanes, whose attributes the kernel
// has therefore often been told to forget. What the mount cannot know (device, block size) is the
// kernel's.
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"
#include "native/intercept/shown.h"

namespace sealfs::intercept {
namespace {

Next<int(int, struct stat*)> next_fstat{"fstat"};

// False: the kernel is to be asked.
bool ask_mount(int fd, struct stat* to) {
  struct statx kernel;
  const Use use = descriptors::use_if_known(fd, &kernel);
  if (use.attachment == nullptr) return false;
  const int lane = use.attachment->begin();
  if (lane < 0) return false;
  Request request{};
  request.operation = static_cast<uint32_t>(Operation::kFileStat);
  request.handle = use.handle;
  const Reply reply = use.attachment->call(lane, request);
  StatReply found;
  memcpy(&found, use.attachment->data(lane) + offsetof(StatAnswer, attributes), sizeof found);
  use.attachment->end(lane);
  report::count(report::kFileStat, reply.status);
  if (reply.status != 0) return false;
  *to = shown_as(found, kernel);
  return true;
}

int stat_of(int fd, struct stat* to) {
  const report::Timing timing(report::kFileStat);
  const int before = errno;
  const bool answered = ask_mount(fd, to);
  errno = before;
  return answered ? 0 : next_fstat(fd, to);
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

// On 64-bit systems both structs are the same.
static_assert(sizeof(struct stat) == sizeof(struct stat64));

SEALFS_ENTRY int fstat(int fd, struct stat* to) noexcept { return stat_of(fd, to); }
SEALFS_ENTRY int fstat64(int fd, struct stat64* to) noexcept {
  return stat_of(fd, reinterpret_cast<struct stat*>(to));
}
// Of programs that were linked before glibc 2.33; `version` is of a layout that is the only one.
SEALFS_ENTRY int __fxstat(int version, int fd, struct stat* to) noexcept { return stat_of(fd, to); }
SEALFS_ENTRY int __fxstat64(int version, int fd, struct stat64* to) noexcept {
  return stat_of(fd, reinterpret_cast<struct stat*>(to));
}
