// Goal and method: working_directory.h.
#include "native/intercept/working_directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "native/intercept/entry.h"
#include "native/intercept/next.h"

namespace sealfs::intercept {
namespace {

// How often the kernel may be told to forget the name again between look-up and question.
constexpr int kAttemptsMax = 16;
constexpr std::string_view kDeleted = " (deleted)";

Next<char*(char*, size_t)> next_getcwd{"getcwd"};
Next<char*(char*)> next_getwd{"getwd"};
Next<char*()> next_get_current_dir_name{"get_current_dir_name"};
Next<char*(const char*, char*)> next_realpath{"realpath"};

bool ask(const char* path, struct statx* shown) {
  const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW |
                    (*path == '\0' ? AT_EMPTY_PATH : 0);
  return syscall(SYS_statx, AT_FDCWD, path, flags, STATX_TYPE | STATX_INO, shown) == 0;
}

bool leads_here(const char* path) {
  struct statx here;
  struct statx there;
  return ask(path, &there) && ask("", &here) && there.stx_ino == here.stx_ino &&
         there.stx_dev_major == here.stx_dev_major && there.stx_dev_minor == here.stx_dev_minor;
}

// What `call` returns, unless the kernel knew the path in a moment.
template <typename Result, typename Call>
Result ask_again(Result failed, Call call) {
  const int before = errno;
  for (int attempt = 0;; attempt++) {
    const Result result = call();
    if (result != failed) {
      errno = before;
      return result;
    }
    if (errno != ENOENT) return result;
    const bool is_there = attempt < kAttemptsMax && working_directory::look_up();
    errno = ENOENT;
    if (!is_there) return result;
    errno = before;
  }
}

char* get(char* to, size_t bytes) {
  return ask_again<char*>(nullptr, [=] { return next_getcwd(to, bytes); });
}

// libc asks for the working directory where we do not see it.
char* resolve(const char* path, char* to) {
  const int before = errno;
  char* found = next_realpath(path, to);
  if (found != nullptr || errno != ENOENT || *path == '/' || *path == '\0') return found;
  char whole[2 * PATH_MAX];
  const ssize_t bytes = working_directory::path(whole, PATH_MAX);
  const size_t rest = strlen(path) + 1;
  const bool fits = bytes > 0 && static_cast<size_t>(bytes) + rest <= sizeof whole;
  if (!fits || whole[0] != '/') {
    errno = ENOENT;
    return nullptr;
  }
  whole[bytes - 1] = '/';
  memcpy(whole + bytes, path, rest);
  errno = before;
  return next_realpath(whole, to);
}

}  // namespace

bool working_directory::look_up() {
  char path[PATH_MAX];
  const long got =
      syscall(SYS_readlinkat, AT_FDCWD, "/proc/thread-self/cwd", path, sizeof path - 1);
  if (got <= 0 || path[0] != '/') return false;
  path[got] = '\0';
  const std::string_view shown(path, static_cast<size_t>(got));
  // Somebody else has looked it up meanwhile.
  if (!shown.ends_with(kDeleted)) return leads_here(path);
  path[shown.size() - kDeleted.size()] = '\0';
  return leads_here(path);
}

ssize_t working_directory::path(char* to, size_t bytes) {
  return ask_again<ssize_t>(-1, [=] { return syscall(SYS_getcwd, to, bytes); });
}

}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY char* getcwd(char* to, size_t bytes) noexcept { return get(to, bytes); }
SEALFS_ENTRY char* getwd(char* to) noexcept {
  return ask_again<char*>(nullptr, [=] { return next_getwd(to); });
}
SEALFS_ENTRY char* get_current_dir_name() noexcept {
  return ask_again<char*>(nullptr, [] { return next_get_current_dir_name(); });
}
SEALFS_ENTRY char* realpath(const char* path, char* to) noexcept { return resolve(path, to); }
SEALFS_ENTRY char* canonicalize_file_name(const char* path) noexcept {
  return resolve(path, nullptr);
}
// Of programs that were compiled with _FORTIFY_SOURCE.
SEALFS_ENTRY char* __getcwd_chk(char* to, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return get(to, bytes);
}
SEALFS_ENTRY char* __getwd_chk(char* to, size_t room) { return get(to, room); }
SEALFS_ENTRY char* __realpath_chk(const char* path, char* to, size_t room) {
  if (room < PATH_MAX) __builtin_trap();
  return resolve(path, to);
}
