// Goal and source: mount_table.h.
#include "native/fuse/mount_table.h"

#include <fcntl.h>
#include <unistd.h>

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

}  // namespace

std::string find_mount(std::string_view mountinfo, std::string_view path) {
  std::string device;
  while (!mountinfo.empty()) {
    const size_t end = mountinfo.find('\n');
    std::string_view line = mountinfo.substr(0, end);
    mountinfo.remove_prefix(end == std::string_view::npos ? mountinfo.size() : end + 1);
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
  char buffer[16384];
  for (ssize_t n = 0; (n = read(fd, buffer, sizeof buffer)) > 0;) text.append(buffer, n);
  close(fd);
  return find_mount(text, path);
}

}  // namespace sealfs::fuse
