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

// The line at `*at`, which is set to the next.
std::string_view next_line(std::string_view text, size_t* at) {
  const size_t end = std::min(text.find('\n', *at), text.size());
  const std::string_view line = text.substr(*at, end - *at);
  *at = end + 1;
  return line;
}

// What follows `count` fields.
std::string_view behind_fields(std::string_view line, int count) {
  for (int i = 0; i < count && !line.empty(); i++) {
    line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
  }
  return line;
}

// Options that begin with "ro", as the kernel writes them.
bool begins_read_only(std::string_view options) {
  return options == "ro" || options.starts_with("ro,") || options.starts_with("ro ");
}

}  // namespace

bool covers_part_of(std::string_view mountinfo, std::string_view mountpoint) {
  const std::string below = escaped(mountpoint) + "/";
  for (size_t at = 0; at < mountinfo.size();) {
    // The fifth field is the mount point.
    if (behind_fields(next_line(mountinfo, &at), 4).starts_with(below)) return true;
  }
  return false;
}

bool shows_read_only(std::string_view mountinfo, std::string_view device) {
  const std::string field = std::string(device) + " ";
  for (size_t at = 0; at < mountinfo.size();) {
    const std::string_view line = next_line(mountinfo, &at);
    if (!behind_fields(line, 2).starts_with(field)) continue;
    // Its own options are the sixth field, those of all mounts of it the third behind the dash.
    const size_t dash = line.find(" - ");
    if (dash == line.npos || begins_read_only(behind_fields(line, 5))) return true;
    if (begins_read_only(behind_fields(line.substr(dash + 3), 2))) return true;
  }
  return false;
}

Mounts::~Mounts() {
  if (fd_ >= 0) ::close(fd_);
}

bool Mounts::watch(std::string mountpoint, std::string device) {
  mountpoint_ = std::move(mountpoint);
  device_ = std::move(device);
  fd_ = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  look();
  return fd_ >= 0;
}

bool Mounts::is_covered() {
  look_if_changed();
  return covered_;
}

bool Mounts::is_read_only() {
  look_if_changed();
  return read_only_;
}

void Mounts::look_if_changed() {
  pollfd changed{fd_, POLLPRI, 0};
  if (poll(&changed, 1, 0) != 0) look();
}

void Mounts::look() {
  covered_ = true;
  read_only_ = true;
  if (fd_ < 0 || lseek(fd_, 0, SEEK_SET) != 0) return;
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = ::read(fd_, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<size_t>(got));
  }
  covered_ = got < 0 || covers_part_of(text, mountpoint_);
  read_only_ = got < 0 || shows_read_only(text, device_);
}

}  // namespace sealfs::intercept
