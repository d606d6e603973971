// The mdtest phases: empty files in a directory of each rank (easy), files of 3,901 bytes of all
// ranks in one shared directory (hard). Every operation names its file by its whole path, as an
// application would. Names are those of mdtest, because find's pattern depends on them.
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

struct {
  char path[PATH_MAX + 64];
  size_t nameAt;       // where the file's name begins in path
  size_t numberAt;     // where its running number begins
  size_t directoryAt;  // hard, several directories: where the directory's number begins
  uint64_t limit;
  uint64_t stonewallNs;
  uint64_t peer;
  uint64_t filesPerDirectory;  // 0: all in one
  uint64_t currentDirectory;
  uint64_t fileBytes;  // what stat must find
} md;

size_t appendNumber(char* at, uint64_t value) {
  char digits[20];
  size_t count = 0;
  do {
    digits[count++] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value > 0);
  for (size_t i = 0; i < count; i++) at[i] = digits[count - 1 - i];
  at[count] = '\0';
  return count;
}

void enterName() {
  int n = std::snprintf(md.path + md.nameAt, sizeof md.path - md.nameAt, "/file.mdtest.%llu.",
                        static_cast<unsigned long long>(md.peer));
  md.numberAt = md.nameAt + static_cast<size_t>(n);
}

void enterDirectory(uint64_t directory) {
  md.currentDirectory = directory;
  md.nameAt = md.directoryAt + appendNumber(md.path + md.directoryAt, directory);
  enterName();
}

// The path of the phase's file number i, in place.
const char* fileAt(uint64_t i) {
  if (md.filesPerDirectory != 0 && i / md.filesPerDirectory != md.currentDirectory) {
    enterDirectory(i / md.filesPerDirectory);
  }
  appendNumber(md.path + md.numberAt, i);
  return md.path;
}

void makeDirectory() {
  char separator = md.path[md.nameAt];
  md.path[md.nameAt] = '\0';
  if (mkdir(md.path, 0755) != 0 && errno != EEXIST) {
    fail("mkdir %s: %s", md.path, std::strerror(errno));
  }
  md.path[md.nameAt] = separator;
}

void readParameters(const char* arguments) {
  md.limit = numberIn(arguments, "limit");
  md.stonewallNs = numberIn(arguments, "stonewall-ms") * 1'000'000;
  md.peer = numberIn(arguments, "peer");
}

// What is created is on stable storage before a write phase ends. syncfs alone does not reach a
// file system in user space, so the directory itself is synced too.
void syncDirectory() {
  md.path[md.nameAt] = '\0';
  int fd = open(md.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) fail("open %s: %s", md.path, std::strerror(errno));
  if (syncfs(fd) != 0) fail("syncfs %s: %s", md.path, std::strerror(errno));
  if (fsync(fd) != 0 && errno != EINVAL) fail("fsync %s: %s", md.path, std::strerror(errno));
  close(fd);
  md.path[md.nameAt] = '/';
}

int createFile(const char* path) {
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) fail("create %s: %s", path, std::strerror(errno));
  return fd;
}

void closeFile(int fd, const char* path) {
  if (close(fd) != 0) fail("close %s: %s", path, std::strerror(errno));
}

void statAll(Outcome& outcome) {
  forEach(outcome.startNs, md.limit, [](uint64_t i) {
    const char* path = fileAt(i);
    struct stat status;
    if (stat(path, &status) != 0) fail("stat %s: %s", path, std::strerror(errno));
    if (static_cast<uint64_t>(status.st_size) != md.fileBytes) {
      fail("verification failed: %s is %lld bytes long, not %llu", path,
           static_cast<long long>(status.st_size), static_cast<unsigned long long>(md.fileBytes));
    }
  });
  outcome.count = md.limit;
}

// Numbers of one writer's files are its records; 4 KiB apart, so that no stamps coincide.
uint64_t contentId(uint64_t i) { return i * 4096; }

}  // namespace

void prepareMdtestEasy(const Rank& rank, const char* arguments) {
  readParameters(arguments);
  md.filesPerDirectory = 0;
  md.fileBytes = 0;
  int n = std::snprintf(md.path, sizeof md.path, "%s/mdtest-easy/test-dir.0-0/mdtest_tree.%llu.0",
                        rank.dir, static_cast<unsigned long long>(md.peer));
  md.nameAt = static_cast<size_t>(n);
  enterName();
  if (md.peer == rank.rank) makeDirectory();
}

void prepareMdtestHard(const Rank& rank, const char* arguments) {
  readParameters(arguments);
  md.filesPerDirectory = numberIn(arguments, "files-per-dir");
  md.fileBytes = kHardFileBytes;
  int n =
      std::snprintf(md.path, sizeof md.path, "%s/mdtest-hard/test-dir.0-0/mdtest_tree.", rank.dir);
  md.directoryAt = static_cast<size_t>(n);
  enterDirectory(0);
  if (md.peer == rank.rank) makeDirectory();
  Pattern(rank.seed, FileKind::kMdtestHard, md.peer).fill(rank.buffer, kHardFileBytes);
}

void mdtestEasyWrite(const Rank&, Outcome& outcome) {
  outcome.count = untilFastest(outcome.startNs, md.stonewallNs, md.limit, [](uint64_t i) {
    const char* path = fileAt(i);
    closeFile(createFile(path), path);
  });
  syncDirectory();
}

void mdtestHardWrite(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kMdtestHard, md.peer);
  outcome.count = untilFastest(outcome.startNs, md.stonewallNs, md.limit, [&](uint64_t i) {
    uint64_t before = md.currentDirectory;
    const char* path = fileAt(i);
    if (md.currentDirectory != before) makeDirectory();
    pattern.stamp(rank.buffer, kHardFileBytes, contentId(i));
    int fd = createFile(path);
    writeFully(fd, rank.buffer, kHardFileBytes, 0, path);
    closeFile(fd, path);
  });
  syncDirectory();
}

void mdtestEasyStat(const Rank&, Outcome& outcome) { statAll(outcome); }

void mdtestHardStat(const Rank&, Outcome& outcome) { statAll(outcome); }

void mdtestHardRead(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kMdtestHard, md.peer);
  forEach(outcome.startNs, md.limit, [&](uint64_t i) {
    const char* path = fileAt(i);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("open %s: %s", path, std::strerror(errno));
    readFully(fd, rank.buffer, kHardFileBytes, 0, path);
    size_t right = pattern.verify(rank.buffer, kHardFileBytes, 0, contentId(i));
    if (right != kHardFileBytes) {
      fail("verification failed: %s holds a wrong byte at %zu", path, right);
    }
    closeFile(fd, path);
  });
  outcome.count = md.limit;
}

void mdtestDelete(const Rank&, Outcome& outcome) {
  forEach(outcome.startNs, md.limit, [](uint64_t i) {
    const char* path = fileAt(i);
    if (unlink(path) != 0) fail("unlink %s: %s", path, std::strerror(errno));
  });
  outcome.count = md.limit;
}

}  // namespace sealfs::rank
