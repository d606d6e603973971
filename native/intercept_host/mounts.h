// Goal: whether anything is mounted below our mount point: then a path may leave the volume where
// the mount process does not see it, and only the kernel can follow it; and whether our volume is
// mounted read-only anywhere: then only the kernel knows which way a change comes. Method:
// native/common/mount_info.h, asked before each path, so that a mount that was made before is
// always seen.
#pragma once

#include <string>
#include <string_view>

#include "native/common/mount_info.h"

namespace sealfs::intercept {

// By the text of a mountinfo file: a mount point begins with `mountpoint` and a slash.
bool covers_part_of(std::string_view mountinfo, std::string_view mountpoint);
// A mount of the device "major:minor" is read-only, itself or as a whole.
bool shows_read_only(std::string_view mountinfo, std::string_view device);

class Mounts {
 public:
  // False: it cannot be watched.
  bool watch(std::string mountpoint, std::string device);
  // As of now; true also when it cannot be known.
  bool is_covered();
  bool is_read_only();

 private:
  void look_if_changed();

  std::string mountpoint_;
  std::string device_;
  MountInfo table_;
  bool covered_ = true;
  bool read_only_ = true;
};

}  // namespace sealfs::intercept
