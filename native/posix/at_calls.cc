// The calls that take a directory's descriptor, and names for open files that have none.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// openat DIR PATH FLAGS [MODE]
std::string call_openat(Context& context, const Words& words) {
  return outcome(openat(directory_of(context, words[1]), words[2].c_str(),
                        static_cast<int>(flags(words, 3)) | O_CLOEXEC,
                        static_cast<mode_t>(octal(words, 4))));
}

// opens PATH FLAGS [MODE]: open and close; what it opened
std::string call_opens(Context&, const Words& words) {
  const int fd = open(words[1].c_str(), static_cast<int>(flags(words, 2)) | O_CLOEXEC,
                      static_cast<mode_t>(octal(words, 3)));
  if (fd < 0) return outcome(fd);
  struct stat status {};
  const int result = fstat(fd, &status);
  close(fd);
  if (result != 0) return "fstat: " + outcome(result);
  return std::to_string(status.st_nlink) + " links, type " + std::to_string(status.st_mode >> 12);
}

// creat PATH MODE
std::string call_creat(Context&, const Words& words) {
  return outcome(creat(words[1].c_str(), static_cast<mode_t>(octal(words, 2))));
}

// mkdirat DIR PATH MODE
std::string call_mkdirat(Context& context, const Words& words) {
  return outcome(mkdirat(directory_of(context, words[1]), words[2].c_str(),
                         static_cast<mode_t>(octal(words, 3))));
}

// unlinkat DIR PATH FLAGS
std::string call_unlinkat(Context& context, const Words& words) {
  return outcome(unlinkat(directory_of(context, words[1]), words[2].c_str(),
                          static_cast<int>(flags(words, 3))));
}

// symlinkat TARGET DIR PATH
std::string call_symlinkat(Context& context, const Words& words) {
  return outcome(symlinkat(words[1].c_str(), directory_of(context, words[2]), words[3].c_str()));
}

// readlinkat DIR PATH [BYTES]
std::string call_readlinkat(Context& context, const Words& words) {
  char buffer[PATH_MAX];
  const size_t bytes = words.size() > 3 ? static_cast<size_t>(number(words, 3)) : sizeof buffer;
  return outcome_bytes(readlinkat(directory_of(context, words[1]), words[2].c_str(), buffer, bytes),
                       buffer);
}

// linkat DIR OLD DIR NEW [FLAGS]
std::string call_linkat(Context& context, const Words& words) {
  return outcome(linkat(directory_of(context, words[1]), words[2].c_str(),
                        directory_of(context, words[3]), words[4].c_str(),
                        static_cast<int>(flags(words, 5))));
}

// fdlink FD NEW [FLAGS]: a name for an open file, by way of /proc
std::string call_fdlink(Context& context, const Words& words) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor(context, words[1]));
  const int how = words.size() > 3 ? static_cast<int>(flags(words, 3)) : AT_SYMLINK_FOLLOW;
  return outcome(linkat(AT_FDCWD, path.c_str(), AT_FDCWD, words[2].c_str(), how));
}

// fdopen FD FLAGS: opens what is open once more, by way of /proc
std::string call_fdopen(Context& context, const Words& words) {
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor(context, words[1]));
  return outcome(open(path.c_str(), static_cast<int>(flags(words, 2)) | O_CLOEXEC));
}

// renameat DIR OLD DIR NEW [FLAGS]
std::string call_renameat(Context& context, const Words& words) {
  return outcome(renameat2(directory_of(context, words[1]), words[2].c_str(),
                           directory_of(context, words[3]), words[4].c_str(),
                           static_cast<unsigned>(flags(words, 5))));
}

// chmodat DIR PATH MODE [FLAGS]
std::string call_chmodat(Context& context, const Words& words) {
  return outcome(fchmodat(directory_of(context, words[1]), words[2].c_str(),
                          static_cast<mode_t>(octal(words, 3)), static_cast<int>(flags(words, 4))));
}

// chownat DIR PATH UID GID [FLAGS]
std::string call_chownat(Context& context, const Words& words) {
  return outcome(fchownat(directory_of(context, words[1]), words[2].c_str(),
                          static_cast<uid_t>(number(words, 3)),
                          static_cast<gid_t>(number(words, 4)), static_cast<int>(flags(words, 5))));
}

// accessat DIR PATH MODE [FLAGS]
std::string call_accessat(Context& context, const Words& words) {
  return outcome(faccessat(directory_of(context, words[1]), words[2].c_str(),
                           static_cast<int>(flags(words, 3)), static_cast<int>(flags(words, 4))));
}

// chdir PATH
std::string call_chdir(Context&, const Words& words) { return outcome(chdir(words[1].c_str())); }

// fchdir FD
std::string call_fchdir(Context& context, const Words& words) {
  return outcome(fchdir(descriptor(context, words[1])));
}

// getcwd: whether there is one
std::string call_getcwd(Context&, const Words&) {
  char buffer[PATH_MAX];
  return getcwd(buffer, sizeof buffer) == nullptr ? outcome(-1) : "ok";
}

// samefile PATH PATH: whether both are one inode
std::string call_samefile(Context&, const Words& words) {
  struct stat one {};
  struct stat other {};
  if (lstat(words[1].c_str(), &one) != 0 || lstat(words[2].c_str(), &other) != 0) {
    return outcome(-1);
  }
  return one.st_ino == other.st_ino && one.st_dev == other.st_dev ? "same" : "different";
}

}  // namespace

Table at_calls() {
  return {
      {"openat", 4, call_openat},         {"opens", 3, call_opens},
      {"creat", 3, call_creat},           {"mkdirat", 4, call_mkdirat},
      {"unlinkat", 4, call_unlinkat},     {"symlinkat", 4, call_symlinkat},
      {"readlinkat", 3, call_readlinkat}, {"linkat", 5, call_linkat},
      {"fdlink", 3, call_fdlink},         {"fdopen", 3, call_fdopen},
      {"renameat", 5, call_renameat},     {"chmodat", 4, call_chmodat},
      {"chownat", 5, call_chownat},       {"accessat", 4, call_accessat},
      {"chdir", 2, call_chdir},           {"fchdir", 2, call_fchdir},
      {"getcwd", 1, call_getcwd},         {"samefile", 3, call_samefile},
  };
}

}  // namespace sealfs::posix
