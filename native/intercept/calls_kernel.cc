// Goal: calls on descriptors that are always the kernel's, for the report alone. Each is passed on
// as it is; one of what is known for a file of a mount is counted.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<ssize_t(int, int, off64_t*, size_t)> next_sendfile{"sendfile64"};
Next<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)> next_splice{"splice"};
Next<ssize_t(int, const iovec*, int, off64_t, int)> next_preadv2{"preadv64v2"};
Next<ssize_t(int, const iovec*, int, off64_t, int)> next_pwritev2{"pwritev64v2"};
Next<int(int, off64_t, off64_t, int)> next_fadvise{"posix_fadvise64"};
Next<int(int, int)> next_flock{"flock"};
Next<int(int, int, off64_t)> next_lockf{"lockf64"};

// `next`: of a call by one descriptor.
template <typename Result, typename... Arguments>
Result pass_on(report::Call call, Next<Result(int, Arguments...)>* next, int fd,
               Arguments... arguments) {
  const report::Timing timing(call);
  (void)descriptors::count_kernels_call(fd, call);
  return (*next)(fd, arguments...);
}

ssize_t send_file(int to, int from, off64_t* offset, size_t bytes) {
  const report::Timing timing(report::kSendFile);
  (void)(descriptors::count_kernels_call(from, report::kSendFile) ||
         descriptors::count_kernels_call(to, report::kSendFile));
  return next_sendfile(to, from, offset, bytes);
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY ssize_t sendfile(int to, int from, off_t* offset, size_t bytes) noexcept {
  return send_file(to, from, offset, bytes);
}
SEALFS_ENTRY ssize_t sendfile64(int to, int from, off64_t* offset, size_t bytes) noexcept {
  return send_file(to, from, offset, bytes);
}
SEALFS_ENTRY ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset,
                            size_t bytes, unsigned flags) {
  const report::Timing timing(report::kSplice);
  (void)(descriptors::count_kernels_call(from, report::kSplice) ||
         descriptors::count_kernels_call(to, report::kSplice));
  return next_splice(from, from_offset, to, to_offset, bytes, flags);
}
SEALFS_ENTRY ssize_t preadv2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  return pass_on(report::kReadVectors, &next_preadv2, fd, parts, count, offset, flags);
}
SEALFS_ENTRY ssize_t preadv64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
  return pass_on(report::kReadVectors, &next_preadv2, fd, parts, count, offset, flags);
}
SEALFS_ENTRY ssize_t pwritev2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  return pass_on(report::kWriteVectors, &next_pwritev2, fd, parts, count, offset, flags);
}
SEALFS_ENTRY ssize_t pwritev64v2(int fd, const iovec* parts, int count, off64_t offset, int flags) {
  return pass_on(report::kWriteVectors, &next_pwritev2, fd, parts, count, offset, flags);
}
SEALFS_ENTRY int posix_fadvise(int fd, off_t offset, off_t bytes, int advice) noexcept {
  return pass_on(report::kAdvise, &next_fadvise, fd, offset, bytes, advice);
}
SEALFS_ENTRY int posix_fadvise64(int fd, off64_t offset, off64_t bytes, int advice) noexcept {
  return pass_on(report::kAdvise, &next_fadvise, fd, offset, bytes, advice);
}
SEALFS_ENTRY int flock(int fd, int operation) noexcept {
  return pass_on(report::kLock, &next_flock, fd, operation);
}
SEALFS_ENTRY int lockf(int fd, int command, off_t bytes) {
  return pass_on(report::kLock, &next_lockf, fd, command, bytes);
}
SEALFS_ENTRY int lockf64(int fd, int command, off64_t bytes) {
  return pass_on(report::kLock, &next_lockf, fd, command, bytes);
}
