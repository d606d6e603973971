// Calls that make, change and remove names.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

// mkdir PATH MODE
std::string call_mkdir(Context&, const Words& words) {
  return outcome(mkdir(words[1].c_str(), static_cast<mode_t>(octal(words, 2))));
}

std::string call_rmdir(Context&, const Words& words) { return outcome(rmdir(words[1].c_str())); }

std::string call_unlink(Context&, const Words& words) { return outcome(unlink(words[1].c_str())); }

// mknod PATH fifo|socket|char|block|file MODE [MAJOR MINOR]
std::string call_mknod(Context&, const Words& words) {
  const std::string& type = words[2];
  mode_t mode = static_cast<mode_t>(octal(words, 3));
  if (type == "fifo") mode |= S_IFIFO;
  if (type == "socket") mode |= S_IFSOCK;
  if (type == "char") mode |= S_IFCHR;
  if (type == "block") mode |= S_IFBLK;
  if (type == "file") mode |= S_IFREG;
  if (type == "directory") mode |= S_IFDIR;
  const dev_t device =
      makedev(static_cast<unsigned>(number(words, 4)), static_cast<unsigned>(number(words, 5)));
  return outcome(mknod(words[1].c_str(), mode, device));
}

// link OLD NEW [FLAGS]
std::string call_link(Context&, const Words& words) {
  return outcome(linkat(AT_FDCWD, words[1].c_str(), AT_FDCWD, words[2].c_str(),
                        static_cast<int>(flags(words, 3))));
}

// symlink TARGET PATH
std::string call_symlink(Context&, const Words& words) {
  return outcome(symlink(words[1].c_str(), words[2].c_str()));
}

// readlink PATH [BYTES]
std::string call_readlink(Context&, const Words& words) {
  char buffer[PATH_MAX];
  const size_t bytes = words.size() > 2 ? static_cast<size_t>(number(words, 2)) : sizeof buffer;
  return outcome_bytes(readlink(words[1].c_str(), buffer, std::min(bytes, sizeof buffer)), buffer);
}

// rename OLD NEW [FLAGS]
std::string call_rename(Context&, const Words& words) {
  return outcome(renameat2(AT_FDCWD, words[1].c_str(), AT_FDCWD, words[2].c_str(),
                           static_cast<unsigned>(flags(words, 3))));
}

// list PATH: all names but "." and "..", sorted
std::string call_list(Context&, const Words& words) {
  DIR* directory = opendir(words[1].c_str());
  if (directory == nullptr) return outcome(-1);
  Words names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return joined(names);
}

// deep NAME COUNT: makes COUNT nested directories called NAME and comes back; the first failure
std::string call_deep(Context&, const Words& words) {
  char start[PATH_MAX];
  if (getcwd(start, sizeof start) == nullptr) return outcome(-1);
  std::string answer = "0";
  for (long long i = 0; i < number(words, 2); i++) {
    if (mkdir(words[1].c_str(), 0755) == 0 && chdir(words[1].c_str()) == 0) continue;
    answer = outcome(-1) + " at " + std::to_string(i);
    break;
  }
  if (chdir(start) != 0) refuse("cannot go back");
  return answer;
}

}  // namespace

Table name_calls() {
  return {
      {"mkdir", 3, call_mkdir},   {"rmdir", 2, call_rmdir},       {"unlink", 2, call_unlink},
      {"mknod", 4, call_mknod},   {"link", 3, call_link},         {"symlink", 3, call_symlink},
      {"rename", 3, call_rename}, {"readlink", 2, call_readlink}, {"list", 2, call_list},
      {"deep", 3, call_deep},
  };
}

}  // namespace sealfs::posix
