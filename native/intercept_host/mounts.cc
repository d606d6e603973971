// Goal and method: mounts.h.
#include "native/intercept_host/mounts.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sealfs::intercept {
namespace {

// As mountinfo shows it: blanks, tabs, newlines and backslashes in octal.
std::string escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == ' ') {
      out += "\\040";
    } else if (c == '\t') {
      out += "\\011";
    } else if (c == '\n') {
      out += "\\012";
    } else if (c == '\\') {
      out += "\\134";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

bool covers_part_of(std::string_view mountinfo, std::string_view mountpoint) {
  const std::string below = escaped(mountpoint) + "/";
  size_t at = 0;
  while (at < mountinfo.size()) {
    const size_t end = std::min(mountinfo.find('\n', at), mountinfo.size());
    std::string_view line = mountinfo.substr(at, end - at);
    at = end + 1;
    // The fifth field is the mount point.
    for (int i = 0; i < 4 && !line.empty(); i++) {
      line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
    }
    if (line.starts_with(below)) return true;
  }
  return false;
}

Mounts::~Mounts() {
  if (fd_ >= 0) ::close(fd_);
}

bool Mounts::watch(std::string mountpoint) {
  mountpoint_ = std::move(mountpoint);
  fd_ = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  look();
  return fd_ >= 0;
}

bool Mounts::is_covered() {
  pollfd changed{fd_, POLLPRI, 0};
  if (poll(&changed, 1, 0) != 0) look();
  return covered_;
}

void Mounts::look() {
  covered_ = true;
  if (fd_ < 0 || lseek(fd_, 0, SEEK_SET) != 0) return;
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = ::read(fd_, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
  }
  covered_ = got < 0 || covers_part_of(text, mountpoint_);
}

}  // namespace sealfs::intercept
