// Reading directories: streams with marks, and what entries say of themselves.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

Stream& stream_of(Context& context, const Words& words) {
  const auto found = context.streams.find(words[1]);
  if (found == context.streams.end()) refuse("no stream is called " + words[1]);
  return found->second;
}

// dopen STREAM PATH
std::string call_dopen(Context& context, const Words& words) {
  DIR* directory = opendir(words[2].c_str());
  if (directory == nullptr) return outcome(-1);
  context.streams[words[1]] = {directory, {}, {}};
  return "0";
}

// dread STREAM COUNT|all: how many of at most COUNT entries there were, "." and ".." not counted
std::string call_dread(Context& context, const Words& words) {
  Stream& stream = stream_of(context, words);
  const bool all = words[2] == "all";
  long long count = 0;
  while (all || count < number(words, 2)) {
    errno = 0;
    const dirent* entry = readdir(stream.directory);
    if (entry == nullptr && errno != 0) return outcome(-1);
    if (entry == nullptr) return all ? "ok" : std::to_string(count);
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    stream.seen.push_back(name);
    count++;
  }
  return std::to_string(count);
}

// dseen STREAM [PREFIX]: what was read since the last time, of these names, sorted; how many twice
std::string call_dseen(Context& context, const Words& words) {
  Stream& stream = stream_of(context, words);
  std::vector<std::string>& seen = stream.seen;
  std::sort(seen.begin(), seen.end());
  const std::string& prefix = word(words, 2);
  size_t twice = 0;
  Words shown;
  for (size_t i = 0; i < seen.size(); i++) {
    if (i > 0 && seen[i] == seen[i - 1])
      twice++;
    else if (seen[i].rfind(prefix, 0) == 0)
      shown.push_back(seen[i]);
  }
  seen.clear();
  const std::string names =
      shown.size() > 20 ? std::to_string(shown.size()) + " names" : joined(shown);
  return names + ", " + std::to_string(twice) + " twice";
}

// dtell STREAM MARK: remembers the place
std::string call_dtell(Context& context, const Words& words) {
  Stream& stream = stream_of(context, words);
  stream.marks[words[2]] = telldir(stream.directory);
  return "0";
}

// dseek STREAM MARK
std::string call_dseek(Context& context, const Words& words) {
  Stream& stream = stream_of(context, words);
  seekdir(stream.directory, stream.marks[words[2]]);
  return "0";
}

// drewind STREAM
std::string call_drewind(Context& context, const Words& words) {
  rewinddir(stream_of(context, words).directory);
  return "0";
}

// dclose STREAM
std::string call_dclose(Context& context, const Words& words) {
  const int result = closedir(stream_of(context, words).directory);
  context.streams.erase(words[1]);
  return outcome(result);
}

// entries PATH: each with the type that readdir says, and whether its inode number is lstat's
std::string call_entries(Context&, const Words& words) {
  DIR* directory = opendir(words[1].c_str());
  if (directory == nullptr) return outcome(-1);
  Words all;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    struct stat status {};
    if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      all.push_back(name + "=" + outcome(-1));
      continue;
    }
    const bool typed = IFTODT(status.st_mode) == entry->d_type;
    const bool numbered = name == ".." || status.st_ino == entry->d_ino;
    all.push_back(name + "=" + std::to_string(entry->d_type) + (typed ? "" : " wrong type") +
                  (numbered ? "" : " wrong number"));
  }
  closedir(directory);
  std::sort(all.begin(), all.end());
  return joined(all);
}

// getdents FD BYTES: the system call itself; how it ends, and whether there was something
std::string call_getdents(Context& context, const Words& words) {
  std::vector<char> buffer(static_cast<size_t>(number(words, 2)) + 1);
  const long result = syscall(SYS_getdents64, descriptor(context, words[1]), buffer.data(),
                              static_cast<unsigned>(number(words, 2)));
  return result > 0 ? "some" : outcome(result);
}

// many PREFIX FROM TO: makes files PREFIX<n>
std::string call_many(Context&, const Words& words) {
  for (long long i = number(words, 2); i < number(words, 3); i++) {
    const std::string name = words[1] + std::to_string(i);
    if (mknod(name.c_str(), S_IFREG | 0644, 0) != 0) return outcome(-1) + " at " + name;
  }
  return "0";
}

// fewer PREFIX FROM TO: removes them
std::string call_fewer(Context&, const Words& words) {
  for (long long i = number(words, 2); i < number(words, 3); i++) {
    const std::string name = words[1] + std::to_string(i);
    if (unlink(name.c_str()) != 0) return outcome(-1) + " at " + name;
  }
  return "0";
}

// links OLD PREFIX COUNT: that many more names, as far as it goes
std::string call_links(Context&, const Words& words) {
  for (long long i = 0; i < number(words, 3); i++) {
    if (link(words[1].c_str(), (words[2] + std::to_string(i)).c_str()) != 0) {
      return outcome(-1) + " at " + std::to_string(i);
    }
  }
  return "0";
}

}  // namespace

Table directory_calls() {
  return {
      {"dopen", 3, call_dopen},   {"dread", 3, call_dread},     {"dseen", 2, call_dseen},
      {"dtell", 3, call_dtell},   {"dseek", 3, call_dseek},     {"drewind", 2, call_drewind},
      {"dclose", 2, call_dclose}, {"entries", 2, call_entries}, {"getdents", 3, call_getdents},
      {"many", 4, call_many},     {"fewer", 4, call_fewer},     {"links", 4, call_links},
  };
}

}  // namespace sealfs::posix
