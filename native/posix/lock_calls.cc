// Locks: of a process (fcntl), of an open file (F_OFD_…), flock.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

struct flock range_of(const Words& words, size_t first) {
  struct flock range {};
  const std::string& type = words[first];
  range.l_type = type == "read" ? F_RDLCK : type == "write" ? F_WRLCK : F_UNLCK;
  if (type == "wrong") range.l_type = 77;
  range.l_whence = SEEK_SET;
  range.l_start = number(words, first + 1);
  range.l_len = number(words, first + 2);
  return range;
}

// lock FD read|write|none FROM LENGTH
std::string call_lock(Context& context, const Words& words) {
  struct flock range = range_of(words, 2);
  return outcome(fcntl(descriptor(context, words[1]), F_SETLK, &range));
}

// ofdlock FD read|write|none FROM LENGTH
std::string call_ofdlock(Context& context, const Words& words) {
  struct flock range = range_of(words, 2);
  return outcome(fcntl(descriptor(context, words[1]), F_OFD_SETLK, &range));
}

// lockwait FD read|write FROM LENGTH: once nothing stands in the way
std::string call_lockwait(Context& context, const Words& words) {
  struct flock range = range_of(words, 2);
  return outcome(fcntl(descriptor(context, words[1]), F_SETLKW, &range));
}

// ofdlockwait FD read|write FROM LENGTH
std::string call_ofdlockwait(Context& context, const Words& words) {
  struct flock range = range_of(words, 2);
  return outcome(fcntl(descriptor(context, words[1]), F_OFD_SETLKW, &range));
}

// locked FD read|write FROM LENGTH: what stands in the way
std::string call_locked(Context& context, const Words& words) {
  struct flock range = range_of(words, 2);
  const int result = fcntl(descriptor(context, words[1]), F_GETLK, &range);
  if (result != 0) return outcome(result);
  if (range.l_type == F_UNLCK) return "free";
  return std::string(range.l_type == F_RDLCK ? "read " : "write ") + std::to_string(range.l_start) +
         " " + std::to_string(range.l_len) + (range.l_pid == -1 ? " of an open file" : "");
}

// flock FD FLAGS
std::string call_flock(Context& context, const Words& words) {
  return outcome(flock(descriptor(context, words[1]), static_cast<int>(flags(words, 2))));
}

// lockpath PATH read|write FROM LENGTH: with a descriptor of its own, which stays open
std::string call_lockpath(Context&, const Words& words) {
  const int fd = open(words[1].c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return outcome(fd);
  struct flock range = range_of(words, 2);
  return outcome(fcntl(fd, F_SETLK, &range));
}

// flockpath PATH FLAGS
std::string call_flockpath(Context&, const Words& words) {
  const int fd = open(words[1].c_str(), O_RDWR | O_CLOEXEC);
  return fd < 0 ? outcome(fd) : outcome(flock(fd, static_cast<int>(flags(words, 2))));
}

}  // namespace

Table lock_calls() {
  return {
      {"lock", 5, call_lock},         {"ofdlock", 5, call_ofdlock},
      {"locked", 5, call_locked},     {"flock", 3, call_flock},
      {"lockpath", 5, call_lockpath}, {"flockpath", 3, call_flockpath},
      {"lockwait", 5, call_lockwait}, {"ofdlockwait", 5, call_ofdlockwait},
  };
}

}  // namespace sealfs::posix
