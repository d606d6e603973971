// Goal: what is mounted at a path, or on what is mounted there. Method: native/common/mount_info.h.
#pragma once

#include <string>
#include <string_view>

#include "native/common/mount_info.h"

namespace sealfs::fuse {

// "major:minor" of the topmost mount at exactly `path` (absolute, resolved); empty: none is there.
std::string device_mounted_at(const std::string& path);

// The same over the text of a mountinfo file.
std::string find_mount(std::string_view mountinfo, std::string_view path);

// Anything is mounted on the file system with this device number, wherever that is mounted itself.
bool has_mounts_on(std::string_view mountinfo, std::string_view device);

// The same as of now, for one device, asked again and again. Of one thread.
class Submounts {
 public:
  explicit Submounts(std::string device);
  // True also when it cannot be known.
  bool any();

 private:
  const std::string device_;
  MountInfo table_;
  bool any_ = true;
};

}  // namespace sealfs::fuse
