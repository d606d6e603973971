// Goal: calls that make, copy, change and end descriptors and processes. Each is the kernel's, as
// every descriptor is; here the table hears of it (descriptors.h).
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/directory_streams.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/places.h"
#include "native/intercept/remembered.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<int(int, const char*, int, ...)> next_openat{"openat64"};
Next<int(int)> next_close{"close"};
Next<int(unsigned, unsigned, int)> next_close_range{"close_range"};
Next<int(int)> next_dup{"dup"};
Next<int(int, int)> next_dup2{"dup2"};
Next<int(int, int, int)> next_dup3{"dup3"};
Next<int(int, int, ...)> next_fcntl{"fcntl64"};
Next<void*(void*, size_t, int, int, int, off_t)> next_mmap{"mmap64"};
Next<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)> next_copy{"copy_file_range"};
Next<ssize_t(int, const msghdr*, int)> next_sendmsg{"sendmsg"};
Next<int(__rlimit_resource_t, const rlimit*)> next_setrlimit{"setrlimit64"};
Next<int(pid_t, __rlimit_resource, const rlimit*, rlimit*)> next_prlimit{"prlimit64"};
using Spawn = int(pid_t*, const char*, const posix_spawn_file_actions_t*, const posix_spawnattr_t*,
                  char* const*, char* const*);
Next<Spawn> next_posix_spawn{"posix_spawn"};
Next<Spawn> next_posix_spawnp{"posix_spawnp"};
Next<int(const char*)> next_system{"system"};
Next<FILE*(const char*, const char*)> next_popen{"popen"};
using CloneStart = int(void*);
Next<int(CloneStart*, void*, int, void*, ...)> next_clone{"clone"};

int open_at(int directory, const char* path, int flags, unsigned mode) {
  const report::Timing timing(report::kOpen);
  const int fd = next_openat(directory, path, flags, mode);
  if (fd >= 0) descriptors::opened(fd);
  return fd;
}

bool has_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int copied(int from, int to) {
  if (to >= 0) descriptors::copied(from, to);
  return to;
}

bool is_lock(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_GETLK ||
         command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
}

int change(int fd, int command, unsigned long argument) {
  const report::Timing timing(report::kLock);
  if (is_lock(command)) (void)descriptors::count_kernels_call(fd, report::kLock);
  const int result = next_fcntl(fd, command, argument);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) return copied(fd, result);
  if (command == F_SETFL) descriptors::forget(fd);
  return result;
}

void* map(void* address, size_t bytes, int protection, int flags, int fd, off_t offset) {
  const report::Timing timing(report::kMap);
  if ((flags & MAP_ANONYMOUS) == 0) (void)descriptors::count_kernels_call(fd, report::kMap);
  // The kernel's idea of the size decides which pages there are: it has to be today's.
  if ((flags & MAP_ANONYMOUS) == 0 && descriptors::mapped(fd)) {
    struct statx shown;
    syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &shown);
  }
  return next_mmap(address, bytes, protection, flags, fd, offset);
}

void limited(int resource, const rlimit* limit) {
  if (resource == RLIMIT_FSIZE && limit != nullptr && limit->rlim_cur != RLIM_INFINITY) {
    descriptors::stop_writes();
  }
}

__attribute__((constructor)) void start() {
  descriptors::start();
  pthread_atfork(nullptr, nullptr, forget_offset_locks);
  pthread_atfork(nullptr, nullptr, [] {
    places::forget();
    remembered::forget();
    streams::forget();
  });
  pthread_atfork(nullptr, nullptr, report::begin_child);
  report::begin_program();
}

__attribute__((destructor)) void end() { report::end_program(); }

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

// ---- open(2), openat(2), creat(2), and what they are called by programs with checks

#define SEALFS_MODE(flags)         \
  unsigned mode = 0;               \
  if (has_mode(flags)) {           \
    va_list list;                  \
    va_start(list, flags);         \
    mode = va_arg(list, unsigned); \
    va_end(list);                  \
  }

SEALFS_ENTRY int open(const char* path, int flags, ...) {
  SEALFS_MODE(flags)
  return open_at(AT_FDCWD, path, flags, mode);
}
SEALFS_ENTRY int open64(const char* path, int flags, ...) {
  SEALFS_MODE(flags)
  return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
SEALFS_ENTRY int openat(int directory, const char* path, int flags, ...) {
  SEALFS_MODE(flags)
  return open_at(directory, path, flags, mode);
}
SEALFS_ENTRY int openat64(int directory, const char* path, int flags, ...) {
  SEALFS_MODE(flags)
  return open_at(directory, path, flags | O_LARGEFILE, mode);
}
SEALFS_ENTRY int __open_2(const char* path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
SEALFS_ENTRY int __open64_2(const char* path, int flags) {
  return open_at(AT_FDCWD, path, flags, 0);
}
SEALFS_ENTRY int __openat_2(int directory, const char* path, int flags) {
  return open_at(directory, path, flags, 0);
}
SEALFS_ENTRY int __openat64_2(int directory, const char* path, int flags) {
  return open_at(directory, path, flags, 0);
}
SEALFS_ENTRY int creat(const char* path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
SEALFS_ENTRY int creat64(const char* path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

// ---- close(2), close_range(2)

SEALFS_ENTRY int close(int fd) {
  if (descriptors::is_own(fd)) {
    errno = EBADF;
    return -1;
  }
  descriptors::forget(fd);
  return next_close(fd);
}
SEALFS_ENTRY int close_range(unsigned first, unsigned last, int flags) noexcept {
  descriptors::forget_range(first, last);
  // Around what the program does not know of.
  for (unsigned own; first <= last && descriptors::first_own(first, last, &own); first = own + 1) {
    if (own > first && next_close_range(first, own - 1, flags) != 0) return -1;
    if (own == last) return 0;
  }
  return next_close_range(first, last, flags);
}

// ---- dup(2), fcntl(2)

SEALFS_ENTRY int dup(int fd) noexcept { return copied(fd, next_dup(fd)); }
SEALFS_ENTRY int dup2(int from, int to) noexcept {
  if (from != to) descriptors::forget(to);
  const int result = next_dup2(from, to);
  return from == to ? result : copied(from, result);
}
SEALFS_ENTRY int dup3(int from, int to, int flags) noexcept {
  descriptors::forget(to);
  return copied(from, next_dup3(from, to, flags));
}

#define SEALFS_ARGUMENT(command)                              \
  va_list list;                                               \
  va_start(list, command);                                    \
  const unsigned long argument = va_arg(list, unsigned long); \
  va_end(list);

SEALFS_ENTRY int fcntl(int fd, int command, ...) {
  SEALFS_ARGUMENT(command)
  return change(fd, command, argument);
}
SEALFS_ENTRY int fcntl64(int fd, int command, ...) {
  SEALFS_ARGUMENT(command)
  return change(fd, command, argument);
}

// ---- mmap(2), setrlimit(2), copy_file_range(2)

SEALFS_ENTRY void* mmap(void* address, size_t bytes, int protection, int flags, int fd,
                        off_t offset) noexcept {
  return map(address, bytes, protection, flags, fd, offset);
}
SEALFS_ENTRY void* mmap64(void* address, size_t bytes, int protection, int flags, int fd,
                          off_t offset) noexcept {
  return map(address, bytes, protection, flags, fd, offset);
}
SEALFS_ENTRY int setrlimit(__rlimit_resource_t resource, const rlimit* limit) noexcept {
  limited(static_cast<int>(resource), limit);
  return next_setrlimit(resource, limit);
}
SEALFS_ENTRY int prlimit(pid_t pid, __rlimit_resource resource, const rlimit* limit,
                         rlimit* before) noexcept {
  limited(static_cast<int>(resource), limit);
  return next_prlimit(pid, resource, limit, before);
}

// The kernel copies no more than what it thinks that there is.
SEALFS_ENTRY ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset,
                                     size_t bytes, unsigned flags) {
  const report::Timing timing(report::kCopyRange);
  (void)(descriptors::count_kernels_call(from, report::kCopyRange) ||
         descriptors::count_kernels_call(to, report::kCopyRange));
  descriptors::refresh(from);
  return next_copy(from, from_offset, to, to_offset, bytes, flags);
}

// ---- ways in which another process gets our open file descriptions (fork(2) tells by itself)

SEALFS_ENTRY ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  if (message != nullptr && message->msg_controllen > 0) descriptors::all_shared();
  return next_sendmsg(socket, message, flags);
}
SEALFS_ENTRY int posix_spawn(pid_t* pid, const char* path,
                             const posix_spawn_file_actions_t* actions,
                             const posix_spawnattr_t* attributes, char* const* arguments,
                             char* const* environment) {
  descriptors::all_shared();
  report::executes(0, path);
  return next_posix_spawn(pid, path, actions, attributes, arguments, environment);
}
SEALFS_ENTRY int posix_spawnp(pid_t* pid, const char* path,
                              const posix_spawn_file_actions_t* actions,
                              const posix_spawnattr_t* attributes, char* const* arguments,
                              char* const* environment) {
  descriptors::all_shared();
  report::executes(0, path);
  return next_posix_spawnp(pid, path, actions, attributes, arguments, environment);
}
SEALFS_ENTRY int system(const char* command) {
  descriptors::all_shared();
  return next_system(command);
}
SEALFS_ENTRY FILE* popen(const char* command, const char* type) {
  descriptors::all_shared();
  return next_popen(command, type);
}
// A child that runs on its parent's memory cannot be stood in front of; what it may do, a fork can.
SEALFS_ENTRY pid_t vfork(void) noexcept { return fork(); }
SEALFS_ENTRY int clone(int (*function)(void*), void* stack, int flags, void* argument,
                       ...) noexcept {
  va_list list;
  va_start(list, argument);
  void* parent = va_arg(list, void*);
  void* storage = va_arg(list, void*);
  void* child = va_arg(list, void*);
  va_end(list);
  descriptors::all_shared();
  return next_clone(function, stack, flags, argument, parent, storage, child);
}
