// The ior phases: large sequential transfers to a file of one's own (easy), interleaved small
// records in one shared file (hard), and random 4 KiB reads. What a rank reads was written by
// another one, and every byte is checked.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "native/rank/channel.h"
#include "native/rank/rank.h"

namespace sealfs::rank {
namespace {

// Parameters of the phase that is prepared; a process runs one at a time.
struct {
  char path[PATH_MAX];
  uint64_t transferBytes;
  uint64_t limit;  // write: most transfers; read: how many there are
  uint64_t stonewallNs;
  uint64_t peer;  // whose data: the rank itself when it writes
  int openFlags;
} ior;

int openFile(int flags) {
  int fd = open(ior.path, flags | ior.openFlags | O_CLOEXEC, 0644);
  if (fd < 0) fail("open %s: %s", ior.path, std::strerror(errno));
  return fd;
}

void syncAndClose(int fd) {
  if (fsync(fd) != 0) fail("fsync %s: %s", ior.path, std::strerror(errno));
  if (close(fd) != 0) fail("close %s: %s", ior.path, std::strerror(errno));
}

void closeFile(int fd) {
  if (close(fd) != 0) fail("close %s: %s", ior.path, std::strerror(errno));
}

void readAndVerify(const Rank& rank, const Pattern& pattern, int fd, size_t bytes, size_t inRecord,
                   uint64_t record) {
  uint64_t position = record + inRecord;
  readFully(fd, rank.buffer, bytes, position, ior.path);
  size_t right = pattern.verify(rank.buffer, bytes, inRecord, record);
  if (right != bytes) {
    fail("verification failed: %s holds a wrong byte at %llu (read of %zu bytes at %llu)", ior.path,
         static_cast<unsigned long long>(position + right), bytes,
         static_cast<unsigned long long>(position));
  }
}

uint64_t hardPosition(const Rank& rank, uint64_t segment) {
  return (segment * rank.np + ior.peer) * kHardRecordBytes;
}

// xorshift64*: fast and good enough to spread reads.
uint64_t nextRandom(uint64_t& state) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1d;
}

}  // namespace

void writeFully(int fd, const uint8_t* data, size_t bytes, uint64_t position, const char* path) {
  while (bytes > 0) {
    ssize_t n = pwrite(fd, data, bytes, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write %s: %s", path, n == 0 ? "wrote nothing" : std::strerror(errno));
    data += n;
    bytes -= static_cast<size_t>(n);
    position += static_cast<uint64_t>(n);
  }
}

void readFully(int fd, uint8_t* data, size_t bytes, uint64_t position, const char* path) {
  while (bytes > 0) {
    ssize_t n = pread(fd, data, bytes, static_cast<off_t>(position));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("read %s: %s", path, std::strerror(errno));
    if (n == 0) {
      fail("verification failed: %s ends at %llu, %zu bytes too early", path,
           static_cast<unsigned long long>(position), bytes);
    }
    data += n;
    bytes -= static_cast<size_t>(n);
    position += static_cast<uint64_t>(n);
  }
}

void prepareIorEasy(const Rank& rank, const char* arguments) {
  ior.transferBytes = numberIn(arguments, "transfer");
  ior.limit = numberIn(arguments, "limit");
  ior.stonewallNs = numberIn(arguments, "stonewall-ms") * 1'000'000;
  ior.peer = numberIn(arguments, "peer");
  ior.openFlags = numberIn(arguments, "direct") != 0 ? O_DIRECT : 0;
  if (ior.transferBytes > rank.bufferBytes || ior.transferBytes % kRandomReadBytes != 0) {
    fail("a transfer of %llu bytes is not a multiple of 4 KiB up to %zu",
         static_cast<unsigned long long>(ior.transferBytes), rank.bufferBytes);
  }
  std::snprintf(ior.path, sizeof ior.path, "%s/ior-easy/ior_file_easy.%08llu", rank.dir,
                static_cast<unsigned long long>(ior.peer));
  Pattern(rank.seed, FileKind::kIorEasy, ior.peer).fill(rank.buffer, ior.transferBytes);
}

void prepareIorHard(const Rank& rank, const char* arguments) {
  ior.transferBytes = kHardRecordBytes;
  ior.limit = numberIn(arguments, "limit");
  ior.stonewallNs = numberIn(arguments, "stonewall-ms") * 1'000'000;
  ior.peer = numberIn(arguments, "peer");
  ior.openFlags = 0;
  std::snprintf(ior.path, sizeof ior.path, "%s/ior-hard/file", rank.dir);
  Pattern(rank.seed, FileKind::kIorHard, ior.peer).fill(rank.buffer, kHardRecordBytes);
}

void iorEasyWrite(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kIorEasy, ior.peer);
  int fd = openFile(O_WRONLY | O_CREAT);
  outcome.count = untilFastest(outcome.startNs, ior.stonewallNs, ior.limit, [&](uint64_t i) {
    uint64_t position = i * ior.transferBytes;
    pattern.stamp(rank.buffer, ior.transferBytes, position);
    writeFully(fd, rank.buffer, ior.transferBytes, position, ior.path);
  });
  syncAndClose(fd);
}

void iorEasyRead(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kIorEasy, ior.peer);
  int fd = openFile(O_RDONLY);
  forEach(outcome.startNs, ior.limit, [&](uint64_t i) {
    readAndVerify(rank, pattern, fd, ior.transferBytes, 0, i * ior.transferBytes);
  });
  outcome.count = ior.limit;
  closeFile(fd);
}

void iorRandomRead(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kIorEasy, ior.peer);
  int fd = openFile(O_RDONLY);
  uint64_t pages = ior.limit * (ior.transferBytes / kRandomReadBytes);
  uint64_t state = rank.seed ^ (rank.rank * 0x9e3779b97f4a7c15 + 1);
  if (state == 0) state = 1;
  Progress progress(outcome.startNs);
  uint64_t now = outcome.startNs;
  while (pages > 0 && now - outcome.startNs < ior.stonewallNs) {
    uint64_t position = nextRandom(state) % pages * kRandomReadBytes;
    uint64_t inTransfer = position % ior.transferBytes;
    readAndVerify(rank, pattern, fd, kRandomReadBytes, inTransfer, position - inTransfer);
    outcome.count++;
    now = nowNs();
    progress.at(outcome.count, now);
  }
  closeFile(fd);
}

void iorHardWrite(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kIorHard, ior.peer);
  int fd = openFile(O_WRONLY | O_CREAT);
  outcome.count = untilFastest(outcome.startNs, ior.stonewallNs, ior.limit, [&](uint64_t segment) {
    uint64_t position = hardPosition(rank, segment);
    pattern.stamp(rank.buffer, kHardRecordBytes, position);
    writeFully(fd, rank.buffer, kHardRecordBytes, position, ior.path);
  });
  syncAndClose(fd);
}

void iorHardRead(const Rank& rank, Outcome& outcome) {
  Pattern pattern(rank.seed, FileKind::kIorHard, ior.peer);
  int fd = openFile(O_RDONLY);
  forEach(outcome.startNs, ior.limit, [&](uint64_t segment) {
    readAndVerify(rank, pattern, fd, kHardRecordBytes, 0, hardPosition(rank, segment));
  });
  outcome.count = ior.limit;
  closeFile(fd);
}

}  // namespace sealfs::rank
