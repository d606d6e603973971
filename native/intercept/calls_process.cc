// Goal: the report of programs that end without exit(3), or that execute another one, by which all
// that they have counted is lost. The calls are the kernel's.
#include <errno.h>
#include <unistd.h>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<int(const char*, char* const*, char* const*)> next_execve{"execve"};
Next<int(const char*, char* const*)> next_execv{"execv"};
Next<int(const char*, char* const*)> next_execvp{"execvp"};
Next<int(const char*, char* const*, char* const*)> next_execvpe{"execvpe"};
Next<void(int)> next_exit{"_exit"};

// Returns only if it failed.
template <typename... Arguments>
int execute(Next<int(const char*, Arguments...)>* next, const char* path, Arguments... arguments) {
  // Not in a child on its parent's memory, whose report it is.
  const bool tells = report::wanted() && descriptors::is_at_home();
  if (tells) {
    report::end_program();
    report::executes(getpid(), path);
  }
  const int result = (*next)(path, arguments...);
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
  return execute(&next_execve, path, arguments, environment);
}
SEALFS_ENTRY int execv(const char* path, char* const arguments[]) noexcept {
  return execute(&next_execv, path, arguments);
}
SEALFS_ENTRY int execvp(const char* path, char* const arguments[]) noexcept {
  return execute(&next_execvp, path, arguments);
}
SEALFS_ENTRY int execvpe(const char* path, char* const arguments[],
                         char* const environment[]) noexcept {
  return execute(&next_execvpe, path, arguments, environment);
}
SEALFS_ENTRY void _exit(int status) {
  if (descriptors::is_at_home()) report::end_program();
  next_exit(status);
  __builtin_unreachable();
}
SEALFS_ENTRY void _Exit(int status) noexcept { _exit(status); }
