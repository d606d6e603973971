// Goal and source: mount_info.h.
#include "native/common/mount_info.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

namespace sealfs {
namespace {

// What stands before the separator, which is cut off with it.
std::string_view cut(std::string_view* text, char separator) {
  const size_t end = text->find(separator);
  const std::string_view part = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return part;
}

bool is_octal(std::string_view digits) {
  return digits.size() == 3 && digits.find_first_not_of("01234567") == std::string_view::npos;
}

}  // namespace

bool MountLines::next(MountLine* line) {
  if (rest_.empty()) return false;
  std::string_view text = cut(&rest_, '\n');
  line->id = cut(&text, ' ');
  line->parent = cut(&text, ' ');
  line->device = cut(&text, ' ');
  cut(&text, ' ');  // root within that file system
  line->mountpoint = cut(&text, ' ');
  line->options = cut(&text, ' ');
  // Optional fields end with a dash.
  while (!text.empty() && cut(&text, ' ') != "-") {
  }
  cut(&text, ' ');  // type
  cut(&text, ' ');  // source
  line->super_options = text;
  return true;
}

std::string unescape_mount_path(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && is_octal(text.substr(i + 1, 3))) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                      (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

MountInfo::MountInfo() : fd_(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC)) {}

MountInfo::~MountInfo() {
  if (fd_ >= 0) close(fd_);
}

bool MountInfo::has_changed() {
  pollfd changed = {fd_, POLLPRI, 0};
  const bool told = poll(&changed, 1, 0) != 0;
  return !std::exchange(asked_, true) || told;
}

bool MountInfo::read(std::string* text) {
  if (fd_ < 0 || lseek(fd_, 0, SEEK_SET) != 0) return false;
  text->clear();
  char buffer[16384];
  ssize_t got;
  while ((got = ::read(fd_, buffer, sizeof buffer)) > 0) {
    text->append(buffer, static_cast<size_t>(got));
  }
  return got == 0;
}

}  // namespace sealfs
