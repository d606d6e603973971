// Goal and source: mount_table.h.
#include "native/fuse/mount_table.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sealfs::fuse {

std::string find_mount(std::string_view mountinfo, std::string_view path) {
  std::string device;
  MountLines lines(mountinfo);
  // The last line of a mount point is the one on top.
  for (MountLine line; lines.next(&line);) {
    if (unescape_mount_path(line.mountpoint) == path) device = line.device;
  }
  return device;
}

std::string device_mounted_at(const std::string& path) {
  std::string text;
  MountInfo table;
  return table.read(&text) ? find_mount(text, path) : std::string();
}

bool has_mounts_on(std::string_view mountinfo, std::string_view device) {
  std::vector<std::string_view> mounts;
  MountLines lines(mountinfo);
  for (MountLine line; lines.next(&line);) {
    if (line.device == device) mounts.push_back(line.id);
  }
  MountLines again(mountinfo);
  for (MountLine line; again.next(&line);) {
    if (std::find(mounts.begin(), mounts.end(), line.parent) != mounts.end()) return true;
  }
  return false;
}

Submounts::Submounts(std::string device) : device_(std::move(device)) {}

bool Submounts::any() {
  if (!table_.is_open() || !table_.has_changed()) return any_;
  std::string text;
  any_ = !table_.read(&text) || has_mounts_on(text, device_);
  return any_;
}

}  // namespace sealfs::fuse
