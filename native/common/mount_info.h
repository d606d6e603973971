// Goal: the kernel's table of mounts, line by line, and whether it has changed. Source:
// proc_pid_mountinfo(5): "36 35 0:45 / /mnt rw,noatime shared:1 - fuse.sealfs sealfs rw".
#pragma once

#include <string>
#include <string_view>

namespace sealfs {

// Views of the text; a field that the line has not is empty. Paths are as the kernel writes them.
struct MountLine {
  std::string_view id;
  std::string_view parent;
  std::string_view device;  // "major:minor"
  std::string_view mountpoint;
  std::string_view options;
  std::string_view super_options;  // of all mounts of the device
};

class MountLines {
 public:
  explicit MountLines(std::string_view mountinfo) : rest_(mountinfo) {}
  // False: there are no more.
  bool next(MountLine* line);

 private:
  std::string_view rest_;
};

// A path of mountinfo as it is: blanks, tabs, newlines and backslashes stand there in octal.
std::string unescape_mount_path(std::string_view text);

// /proc/self/mountinfo, read again and again. Of one thread. Asking touches no file system that is
// mounted (it may be ours, waiting for this very thread, or dead).
class MountInfo {
 public:
  MountInfo();
  ~MountInfo();
  MountInfo(const MountInfo&) = delete;
  MountInfo& operator=(const MountInfo&) = delete;

  bool is_open() const { return fd_ >= 0; }
  // Since this was asked last, or never yet. By poll(2), which tells of each change once; not by an
  // epoll descriptor, since several look at that, and one takes the news from the others.
  bool has_changed();
  // As of now. False: not all of it.
  bool read(std::string* text);

 private:
  const int fd_;
  bool asked_ = false;
};

}  // namespace sealfs
