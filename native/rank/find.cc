// The find phase: which files below the data directory are newer than the timestamp file, 3,901
// bytes long and have "01" in their name? The coordinator hands out directories; a rank reads one,
// gives its subdirectories back, and looks at the inode only of files whose name matches.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "native/rank/channel.h"
#include "native/rank/rank.h"

namespace sealfs::rank {
namespace {

timespec newer_than;

bool isNewer(const struct stat& status) {
  if (status.st_mtim.tv_sec != newer_than.tv_sec) {
    return status.st_mtim.tv_sec > newer_than.tv_sec;
  }
  return status.st_mtim.tv_nsec > newer_than.tv_nsec;
}

void statEntry(int directory, const char* path, const char* name, struct stat& status) {
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
    fail("stat %s/%s: %s", path, name, std::strerror(errno));
  }
}

void visit(int directory, const char* path, const dirent64& entry, Outcome& outcome) {
  const char* name = entry.d_name;
  if (std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0) return;
  struct stat status;
  bool known = false;
  bool isDirectory = entry.d_type == DT_DIR;
  if (entry.d_type == DT_UNKNOWN) {
    statEntry(directory, path, name, status);
    known = true;
    isDirectory = S_ISDIR(status.st_mode);
  }
  if (isDirectory) {
    sendLine("dir %s/%s", path, name);
    return;
  }
  outcome.count++;
  if (std::strstr(name, "01") == nullptr) return;
  if (!known) statEntry(directory, path, name, status);
  if (status.st_size == static_cast<off_t>(kHardFileBytes) && isNewer(status)) outcome.found++;
}

void scan(const Rank& rank, const char* path, Outcome& outcome, Progress& progress) {
  char absolute[PATH_MAX];
  int length = std::snprintf(absolute, sizeof absolute, "%s/%s", rank.dir, path);
  if (length < 0 || static_cast<size_t>(length) >= sizeof absolute) fail("too long: %s", path);
  int directory = open(absolute, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) fail("open %s: %s", absolute, std::strerror(errno));
  for (;;) {
    ssize_t bytes = getdents64(directory, rank.buffer, rank.bufferBytes);
    if (bytes < 0) fail("read directory %s: %s", absolute, std::strerror(errno));
    if (bytes == 0) break;
    for (ssize_t at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const dirent64*>(rank.buffer + at);
      visit(directory, path, *entry, outcome);
      at += entry->d_reclen;
    }
    progress.at(outcome.count, nowNs());
  }
  close(directory);
}

}  // namespace

void prepareFind(const Rank& rank, const char* arguments) {
  char path[PATH_MAX];
  std::snprintf(path, sizeof path, "%s/timestampfile", rank.dir);
  struct stat status;
  if (stat(path, &status) != 0) fail("stat %s: %s", path, std::strerror(errno));
  newer_than = status.st_mtim;
}

void find(const Rank& rank, Outcome& outcome) {
  Progress progress(outcome.startNs);
  char path[PATH_MAX];
  for (;;) {
    sendLine("idle");
    const char* line = receiveLine();
    // The coordinator went away.
    if (line == nullptr) _exit(1);
    if (std::strcmp(line, "end") == 0) return;
    if (std::strncmp(line, "scan ", 5) != 0) fail("expected 'scan PATH' or 'end', got '%s'", line);
    std::snprintf(path, sizeof path, "%s", line + 5);
    scan(rank, path, outcome, progress);
  }
}

}  // namespace sealfs::rank
