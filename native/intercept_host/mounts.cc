// Goal and method: mounts.h.
#include "native/intercept_host/mounts.h"

#include <utility>

namespace sealfs::intercept {
namespace {

// Options that begin with "ro", as the kernel writes them.
bool begins_read_only(std::string_view options) {
  return options == "ro" || options.starts_with("ro,");
}

}  // namespace

bool covers_part_of(std::string_view mountinfo, std::string_view mountpoint) {
  const std::string below = std::string(mountpoint) + "/";
  MountLines lines(mountinfo);
  for (MountLine line; lines.next(&line);) {
    if (unescape_mount_path(line.mountpoint).starts_with(below)) return true;
  }
  return false;
}

bool shows_read_only(std::string_view mountinfo, std::string_view device) {
  MountLines lines(mountinfo);
  for (MountLine line; lines.next(&line);) {
    if (line.device != device) continue;
    const bool is_cut = line.super_options.empty();
    if (is_cut || begins_read_only(line.options) || begins_read_only(line.super_options)) {
      return true;
    }
  }
  return false;
}

bool Mounts::watch(std::string mountpoint, std::string device) {
  mountpoint_ = std::move(mountpoint);
  device_ = std::move(device);
  look_if_changed();
  return table_.is_open();
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
  if (!table_.has_changed()) return;
  std::string text;
  const bool known = table_.read(&text);
  covered_ = !known || covers_part_of(text, mountpoint_);
  read_only_ = !known || shows_read_only(text, device_);
}

}  // namespace sealfs::intercept
