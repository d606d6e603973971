// Goal: whether anything is mounted below our mount point: then a path may leave the volume where
// the mount process does not see it, and only the kernel can follow it. Method:
// /proc/self/mountinfo is ready for poll(2), once, when it has changed (proc_pid_mountinfo(5)), and
// is read then. Asked before each path, so that a mount that was made before is always seen; not by
// an epoll descriptor, since several look at that, and one takes the news from the others.
#pragma once

#include <string>
#include <string_view>

namespace sealfs::intercept {

// By the text of a mountinfo file: a mount point begins with `mountpoint` and a slash.
bool covers_part_of(std::string_view mountinfo, std::string_view mountpoint);

class Mounts {
 public:
  Mounts() = default;
  ~Mounts();
  Mounts(const Mounts&) = delete;
  Mounts& operator=(const Mounts&) = delete;

  // False: it cannot be watched.
  bool watch(std::string mountpoint);
  // As of now; true also when it cannot be known.
  bool is_covered();

 private:
  void look();

  std::string mountpoint_;
  int fd_ = -1;
  bool covered_ = true;
};

}  // namespace sealfs::intercept
