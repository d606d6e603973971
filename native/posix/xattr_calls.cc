// Extended attributes. Each call on a path, on a link itself (l…), and on a descriptor (f…).
#include <sys/xattr.h>

#include <algorithm>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// Beyond XATTR_SIZE_MAX and XATTR_LIST_MAX.
constexpr size_t kRoom = 1 << 17;

// setxattr PATH NAME VALUE [FLAGS]
std::string call_setxattr(Context&, const Words& words) {
  return outcome(setxattr(words[1].c_str(), words[2].c_str(), words[3].data(), words[3].size(),
                          static_cast<int>(flags(words, 4))));
}

std::string call_lsetxattr(Context&, const Words& words) {
  return outcome(lsetxattr(words[1].c_str(), words[2].c_str(), words[3].data(), words[3].size(),
                           static_cast<int>(flags(words, 4))));
}

std::string call_fsetxattr(Context& context, const Words& words) {
  return outcome(fsetxattr(descriptor(context, words[1]), words[2].c_str(), words[3].data(),
                           words[3].size(), static_cast<int>(flags(words, 4))));
}

size_t room_of(const Words& words, size_t index) {
  return words.size() > index ? static_cast<size_t>(number(words, index)) : kRoom;
}

// What was read; with room 0 only how much there is.
std::string show(ssize_t result, const std::string& buffer, size_t room) {
  return room == 0 ? outcome(result) : outcome_bytes(result, buffer.data());
}

// getxattr PATH NAME [BYTES]
std::string call_getxattr(Context&, const Words& words) {
  const size_t room = room_of(words, 3);
  std::string buffer(room, 0);
  return show(getxattr(words[1].c_str(), words[2].c_str(), buffer.data(), room), buffer, room);
}

std::string call_lgetxattr(Context&, const Words& words) {
  const size_t room = room_of(words, 3);
  std::string buffer(room, 0);
  return show(lgetxattr(words[1].c_str(), words[2].c_str(), buffer.data(), room), buffer, room);
}

std::string call_fgetxattr(Context& context, const Words& words) {
  const size_t room = room_of(words, 3);
  std::string buffer(room, 0);
  const int fd = descriptor(context, words[1]);
  return show(fgetxattr(fd, words[2].c_str(), buffer.data(), room), buffer, room);
}

// Names sorted. A security module's label is on one file system and not on the other.
std::string show_list(ssize_t result, const std::string& buffer, size_t room) {
  if (result <= 0 || room == 0) return outcome(result);
  Words names;
  for (size_t at = 0; at < static_cast<size_t>(result);) {
    const std::string name = buffer.c_str() + at;
    at += name.size() + 1;
    if (name != "security.selinux") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return joined(names);
}

// listxattr PATH [BYTES]
std::string call_listxattr(Context&, const Words& words) {
  const size_t room = room_of(words, 2);
  std::string buffer(room, 0);
  return show_list(listxattr(words[1].c_str(), buffer.data(), room), buffer, room);
}

std::string call_llistxattr(Context&, const Words& words) {
  const size_t room = room_of(words, 2);
  std::string buffer(room, 0);
  return show_list(llistxattr(words[1].c_str(), buffer.data(), room), buffer, room);
}

std::string call_flistxattr(Context& context, const Words& words) {
  const size_t room = room_of(words, 2);
  std::string buffer(room, 0);
  return show_list(flistxattr(descriptor(context, words[1]), buffer.data(), room), buffer, room);
}

// removexattr PATH NAME
std::string call_removexattr(Context&, const Words& words) {
  return outcome(removexattr(words[1].c_str(), words[2].c_str()));
}

std::string call_lremovexattr(Context&, const Words& words) {
  return outcome(lremovexattr(words[1].c_str(), words[2].c_str()));
}

std::string call_fremovexattr(Context& context, const Words& words) {
  return outcome(fremovexattr(descriptor(context, words[1]), words[2].c_str()));
}

// hexxattr PATH NAME HEX: sets a value of any bytes
std::string call_hexxattr(Context&, const Words& words) {
  std::string value;
  for (size_t at = 0; at + 1 < words[3].size(); at += 2) {
    value.push_back(static_cast<char>(std::stoi(words[3].substr(at, 2), nullptr, 16)));
  }
  return outcome(setxattr(words[1].c_str(), words[2].c_str(), value.data(), value.size(), 0));
}

}  // namespace

Table xattr_calls() {
  return {
      {"setxattr", 4, call_setxattr},         {"lsetxattr", 4, call_lsetxattr},
      {"fsetxattr", 4, call_fsetxattr},       {"getxattr", 3, call_getxattr},
      {"lgetxattr", 3, call_lgetxattr},       {"fgetxattr", 3, call_fgetxattr},
      {"listxattr", 2, call_listxattr},       {"llistxattr", 2, call_llistxattr},
      {"flistxattr", 2, call_flistxattr},     {"removexattr", 3, call_removexattr},
      {"lremovexattr", 3, call_lremovexattr}, {"fremovexattr", 3, call_fremovexattr},
      {"hexxattr", 4, call_hexxattr},
  };
}

}  // namespace sealfs::posix
