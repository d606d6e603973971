// Goal: what is mounted at a path, or on what is mounted there, asked without touching the file
// system that is mounted there (it may be ours, waiting for this very thread, or dead). Method:
// /proc/self/mountinfo, proc(5).
#pragma once

#include <string>
#include <string_view>

namespace sealfs::fuse {

// "major:minor" of the topmost mount at exactly `path` (absolute, resolved); empty: none is there.
std::string device_mounted_at(const std::string& path);

// The same over the text of a mountinfo file.
std::string find_mount(std::string_view mountinfo, std::string_view path);

// Anything is mounted on the file system with this device number, wherever that is mounted itself.
bool has_mounts_on(std::string_view mountinfo, std::string_view device);

// The same as of now, for one device, asked again and again: the file is ready for poll(2), once,
// when it has changed, and is read then. Of one thread.
class Submounts {
 public:
  explicit Submounts(std::string device);
  ~Submounts();
  Submounts(const Submounts&) = delete;
  Submounts& operator=(const Submounts&) = delete;

  // True also when it cannot be known.
  bool any();

 private:
  const std::string device_;
  const int fd_;
  bool looked_ = false;
  bool any_ = true;
};

}  // namespace sealfs::fuse
