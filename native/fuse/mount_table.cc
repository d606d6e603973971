// Goal and source: mount_table.h.
#include "native/fuse/mount_table.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <utility>
#include <vector>

namespace sealfs::fuse {
namespace {

// The kernel writes space, tab, newline and backslash of a path as \ooo.
std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string_view next_field(std::string_view* line) {
  const size_t end = line->find(' ');
  const std::string_view field = line->substr(0, end);
  line->remove_prefix(end == std::string_view::npos ? line->size() : end + 1);
  return field;
}

std::string_view next_line(std::string_view* text) {
  const size_t end = text->find('\n');
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return line;
}

// False: not all of it.
bool read_all(int fd, std::string* text) {
  char buffer[16384];
  ssize_t n;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) text->append(buffer, n);
  return n == 0;
}

}  // namespace

std::string find_mount(std::string_view mountinfo, std::string_view path) {
  std::string device;
  while (!mountinfo.empty()) {
    std::string_view line = next_line(&mountinfo);
    next_field(&line);  // mount id
    next_field(&line);  // parent id
    const std::string_view numbers = next_field(&line);
    next_field(&line);  // root within that file system
    // The last line of a mount point is the one on top.
    if (unescape(next_field(&line)) == path) device = numbers;
  }
  return device;
}

std::string device_mounted_at(const std::string& path) {
  std::string text;
  const int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  read_all(fd, &text);
  close(fd);
  return find_mount(text, path);
}

bool has_mounts_on(std::string_view mountinfo, std::string_view device) {
  std::vector<std::string_view> mounts;
  for (std::string_view rest = mountinfo; !rest.empty();) {
    std::string_view line = next_line(&rest);
    const std::string_view id = next_field(&line);
    next_field(&line);  // parent id
    if (next_field(&line) == device) mounts.push_back(id);
  }
  while (!mountinfo.empty()) {
    std::string_view line = next_line(&mountinfo);
    next_field(&line);  // mount id
    const std::string_view parent = next_field(&line);
    for (const std::string_view mount : mounts) {
      if (parent == mount) return true;
    }
  }
  return false;
}

Submounts::Submounts(std::string device)
    : device_(std::move(device)), fd_(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

Submounts::~Submounts() {
  if (fd_ >= 0) close(fd_);
}

bool Submounts::any() {
  pollfd changed = {fd_, POLLPRI, 0};
  if (fd_ < 0 || (poll(&changed, 1, 0) == 0 && looked_)) return any_;
  looked_ = true;
  std::string text;
  const bool known = lseek(fd_, 0, SEEK_SET) == 0 && read_all(fd_, &text);
  any_ = !known || has_mounts_on(text, device_);
  return any_;
}

}  // namespace sealfs::fuse
