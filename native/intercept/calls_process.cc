// Goal: the report of programs that end without exit(3), or that execute another one, by which all
// that they have counted is lost. The calls are the kernel's, made so that nothing has to be looked
// up then: in the child of a fork, a thread that is not there may hold the loader's locks.
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<int(const char*, char* const*)> next_execvp{"execvp"};
Next<int(const char*, char* const*, char* const*)> next_execvpe{"execvpe"};

__attribute__((constructor)) void start() {
  next_execvp.look_up();
  next_execvpe.look_up();
}

// Returns only if it failed.
template <typename Call>
int execute(const char* path, Call call) {
  // Not in a child on its parent's memory, whose report it is.
  const bool tells = report::wanted() && descriptors::is_at_home();
  if (tells) {
    report::end_program();
    report::executes(getpid(), path);
  }
  const int result = static_cast<int>(call());
  if (tells) {
    const int because = errno;
    report::executed_not();
    errno = because;
  }
  return result;
}

}  // namespace
}  // namespace sealfs::intercept

using namespace sealfs::intercept;

SEALFS_ENTRY int execve(const char* path, char* const arguments[],
                        char* const environment[]) noexcept {
  return execute(path, [&] { return syscall(SYS_execve, path, arguments, environment); });
}
SEALFS_ENTRY int execv(const char* path, char* const arguments[]) noexcept {
  return execute(path, [&] { return syscall(SYS_execve, path, arguments, environ); });
}
SEALFS_ENTRY int execvp(const char* path, char* const arguments[]) noexcept {
  return execute(path, [&] { return next_execvp(path, arguments); });
}
SEALFS_ENTRY int execvpe(const char* path, char* const arguments[],
                         char* const environment[]) noexcept {
  return execute(path, [&] { return next_execvpe(path, arguments, environment); });
}
SEALFS_ENTRY void _exit(int status) {
  if (descriptors::is_at_home()) report::end_program();
  for (;;) syscall(SYS_exit_group, status);
}
SEALFS_ENTRY void _Exit(int status) noexcept { _exit(status); }
