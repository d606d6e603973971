// Goal: what is mounted at a path, asked without touching the file system that is mounted there
// (it may be ours, waiting for this very thread, or dead). Method: /proc/self/mountinfo, proc(5).
#pragma once

#include <string>
#include <string_view>

namespace sealfs::fuse {

// "major:minor" of the topmost mount at exactly `path` (absolute, resolved); empty: none is there.
std::string device_mounted_at(const std::string& path);

// The same over the text of a mountinfo file.
std::string find_mount(std::string_view mountinfo, std::string_view path);

}  // namespace sealfs::fuse
