// Goal: the same call on every kind of path, thousands of times, and what each did. Method: the
// current directory holds one of everything (kItems); `try CALL` runs a call and, if it succeeds,
// compares all that is there with what was, says what is different, and makes that new. So no
// case depends on the ones before, and none costs the making of a whole directory.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstdio>

#include "native/posix/script.h"

namespace sealfs::posix {
namespace {

struct Item {
  const char* path;
  char type;  // f, d, p (fifo), s (symlink to `text`), l (another name of `text`)
  mode_t mode;
  uid_t uid;
  const char* text;
};

// Parents first.
constexpr Item kItems[] = {
    {"file", 'f', 0644, 0, "hello"},
    {"name2", 'l', 0, 0, "file"},
    {"other", 'f', 0600, 0, "other file"},
    {"mine", 'f', 0644, 1000, "mine"},
    {"dir", 'd', 0755, 0, ""},
    {"dir/file", 'f', 0644, 0, "inside"},
    {"dir/sub", 'd', 0755, 0, ""},
    {"dir/sub/deep", 'd', 0755, 0, ""},
    {"empty", 'd', 0755, 0, ""},
    {"yours", 'd', 0755, 1000, ""},
    {"yours/file", 'f', 0644, 1000, "theirs"},
    {"yours/sub", 'd', 0755, 1000, ""},
    {"yours/root", 'f', 0600, 0, "root's"},
    {"secret", 'd', 0700, 0, ""},
    {"secret/file", 'f', 0666, 0, "hidden"},
    {"secret/sub", 'd', 0777, 0, ""},
    {"sticky", 'd', 01777, 0, ""},
    {"sticky/mine", 'f', 0666, 1000, "1"},
    {"sticky/root", 'f', 0666, 0, "2"},
    {"sticky/dir", 'd', 0777, 0, ""},
    {"fifo", 'p', 0666, 0, ""},
    {"tofile", 's', 0, 0, "file"},
    {"todir", 's', 0, 0, "dir"},
    {"dangling", 's', 0, 0, "nowhere"},
    {"loop", 's', 0, 0, "loop"},
};

// Removes whatever is there, if anything is.
void remove_tree(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) return;
  if (!S_ISDIR(status.st_mode)) {
    unlink(path.c_str());
    return;
  }
  if (DIR* directory = opendir(path.c_str())) {
    while (const dirent* entry = readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") remove_tree(path + "/" + name);
    }
    closedir(directory);
  }
  rmdir(path.c_str());
}

bool make_file(const Item& item) {
  const int fd = open(item.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const size_t bytes = std::char_traits<char>::length(item.text);
  const bool written = write(fd, item.text, bytes) == static_cast<ssize_t>(bytes);
  close(fd);
  return written;
}

void make(const Item& item) {
  bool made = false;
  switch (item.type) {
    case 'f':
      made = make_file(item);
      break;
    case 'd':
      made = mkdir(item.path, 0700) == 0;
      break;
    case 'p':
      made = mkfifo(item.path, 0600) == 0;
      break;
    case 's':
      made = symlink(item.text, item.path) == 0;
      break;
    default:
      made = link(item.text, item.path) == 0;
      break;
  }
  const bool plain = item.type == 's' || item.type == 'l';
  if (made && !plain && item.uid != 0) made = chown(item.path, item.uid, item.uid) == 0;
  if (made && !plain) made = chmod(item.path, item.mode) == 0;
  if (!made) refuse(std::string("the fixture cannot be made: ") + item.path + ": " + outcome(-1));
}

std::string describe(const struct stat& status, const std::string& path) {
  char text[128];
  std::snprintf(text, sizeof text, "%o %u:%u %lu", status.st_mode, status.st_uid, status.st_gid,
                static_cast<unsigned long>(status.st_nlink));
  std::string all = text;
  if (S_ISREG(status.st_mode)) all.append(" ").append(std::to_string(status.st_size));
  if (S_ISLNK(status.st_mode)) {
    char target[PATH_MAX];
    const ssize_t bytes = readlink(path.c_str(), target, sizeof target);
    if (bytes > 0) all.append(" ").append(target, static_cast<size_t>(bytes));
  }
  return all;
}

void survey(const std::string& path, std::map<std::string, std::string>* all) {
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) refuse("the fixture cannot be listed: " + path + ": " + outcome(-1));
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const std::string full = path == "." ? name : path + "/" + name;
    struct stat status {};
    if (lstat(full.c_str(), &status) != 0) {
      (*all)[full] = outcome(-1);
      continue;
    }
    (*all)[full] = describe(status, full);
    if (S_ISDIR(status.st_mode)) survey(full, all);
  }
  closedir(directory);
}

// Directories that lost or got a directory: that is put right below them.
bool only_links_differ(const std::string& before, const std::string& now) {
  const size_t last = before.rfind(' ');
  return before[0] == '4' && before.compare(0, last, now, 0, now.rfind(' ')) == 0;
}

// fixture: makes one of everything in the current directory; later: what is not as it was
std::string call_fixture(Context& context, const Words&) {
  if (!context.baseline.empty()) {
    const std::string effect = mend_fixture(context);
    return effect.empty() ? "unchanged" : effect;
  }
  for (const Item& item : kItems) make(item);
  survey(".", &context.baseline);
  return std::to_string(context.baseline.size()) + " items";
}

}  // namespace

std::string mend_fixture(Context& context) {
  std::map<std::string, std::string> now;
  survey(".", &now);
  Words different;
  bool linked = false;
  for (const auto& [path, text] : context.baseline) {
    const auto found = now.find(path);
    if (found != now.end() && found->second == text) continue;
    const bool gone = found == now.end();
    different.push_back(gone ? "-" + path : "~" + path + ": " + found->second + ";");
    if (path == "file" || path == "name2") linked = true;
    if (!gone && !only_links_differ(text, found->second)) remove_tree(path);
  }
  for (const auto& [path, text] : now) {
    if (context.baseline.count(path) != 0) continue;
    different.push_back("+" + path + ": " + text + ";");
    remove_tree(path);
  }
  if (different.empty()) return "";
  // They share an inode: both are made new.
  if (linked) remove_tree("file");
  if (linked) remove_tree("name2");
  for (const Item& item : kItems) {
    struct stat status {};
    if (lstat(item.path, &status) != 0) make(item);
  }
  return joined(different);
}

Table fixture_calls() { return {{"fixture", 1, call_fixture}}; }

}  // namespace sealfs::posix
