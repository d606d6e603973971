// Micro modes: N processes do one thing on a directory for a number of seconds, and one line of
// JSON says at what rate. They are the load of the FUSE benches, and a quick look at any file
// system.
//
// The parent forks; a shared page holds the start signal and the results, so that setting up is
// not measured and nothing is exchanged while measuring.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "native/rank/channel.h"
#include "native/rank/rank.h"

namespace sealfs::rank {
namespace {

constexpr uint64_t kProcessesMax = 256;
constexpr uint64_t kTransferBytes = 1 << 20;
constexpr uint64_t kSmallBytes = 4096;
constexpr uint64_t kSmallStride = 7919;  // a prime, so that all pieces are met
constexpr uint64_t kDefaultFiles = 1000;
constexpr uint64_t kDefaultBytes = 256 << 20;
constexpr useconds_t kPollUs = 200;

struct Options {
  const char* mode = nullptr;
  const char* dir = nullptr;
  uint64_t processes = 1;
  double seconds = 3;
  uint64_t count = UINT64_MAX;  // operations of one process at most
  uint64_t files = kDefaultFiles;
  uint64_t bytes = kDefaultBytes;
  bool direct = false;
  bool shared = false;
};

struct Result {
  uint64_t operations;
  uint64_t startNs;
  uint64_t endNs;
};

struct Shared {
  std::atomic<uint64_t> ready;
  std::atomic<bool> go;
  Result results[kProcessesMax];
};

// One process: its options, its directory, and where it reports.
struct Worker {
  const Options* options;
  Shared* shared;
  uint64_t index;
  char dir[PATH_MAX];
  char path[PATH_MAX + 32];

  const char* fileAt(uint64_t i) {
    std::snprintf(path, sizeof path, "%s/f.%llu.%llu", dir, static_cast<unsigned long long>(index),
                  static_cast<unsigned long long>(i));
    return path;
  }

  void createFile(uint64_t i) {
    fileAt(i);
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0) fail("create %s: %s", path, std::strerror(errno));
    if (close(fd) != 0) fail("close %s: %s", path, std::strerror(errno));
  }

  void removeFile(uint64_t i) {
    if (unlink(fileAt(i)) != 0) fail("unlink %s: %s", path, std::strerror(errno));
  }

  void removeFiles(uint64_t files) {
    for (uint64_t i = 0; i < files; i++) removeFile(i);
  }

  // Setting up is over: waits until all processes are here, then runs `operation(i)` until the
  // time or the count is over, or `limit` reached, and `finish()`, inside the time.
  template <class Operation, class Finish>
  uint64_t measure(Operation&& operation, Finish&& finish, uint64_t limit = UINT64_MAX) {
    shared->ready.fetch_add(1);
    while (!shared->go.load()) usleep(kPollUs);
    Result& result = shared->results[index];
    result.startNs = nowNs();
    uint64_t deadline = result.startNs + static_cast<uint64_t>(options->seconds * 1e9);
    uint64_t i = 0;
    limit = std::min(limit, options->count);
    while (i < limit && nowNs() < deadline) operation(i++);
    finish();
    result.endNs = nowNs();
    result.operations = i;
    return i;
  }
};

void runStat(Worker& worker) {
  uint64_t files = worker.options->files;
  for (uint64_t i = 0; i < files; i++) worker.createFile(i);
  worker.measure(
      [&](uint64_t i) {
        struct stat status;
        if (stat(worker.fileAt(i % files), &status) != 0) {
          fail("stat %s: %s", worker.path, std::strerror(errno));
        }
      },
      [] {});
  worker.removeFiles(files);
}

void runCreateClose(Worker& worker) {
  uint64_t created = worker.measure([&](uint64_t i) { worker.createFile(i); }, [] {});
  worker.removeFiles(created);
}

// Each of its files once, until there are no more.
void runUnlink(Worker& worker) {
  const uint64_t files = worker.options->files;
  for (uint64_t i = 0; i < files; i++) worker.createFile(i);
  uint64_t i = worker.measure([&](uint64_t at) { worker.removeFile(at); }, [] {}, files);
  for (; i < files; i++) worker.removeFile(i);
}

// Files of others, in --dir itself, each once: none of them is known here. Their names
// (bench/strange-names.ts) follow no order, so that nobody looks them up ahead. The first ones are
// not timed: they make the directory known.
void runLookup(Worker& worker) {
  constexpr uint64_t kFirst = 16;
  const auto look = [&](uint64_t i) {
    char name[17] = {};
    uint64_t word = (i + 1) * 0x9e3779b97f4a7c15u;
    for (char& letter : name) {
      if (&letter == &name[16]) break;
      letter = static_cast<char>('a' + (word >> 60));
      word <<= 4;
    }
    std::snprintf(worker.path, sizeof worker.path, "%s/%s", worker.options->dir, name);
    struct stat status;
    if (stat(worker.path, &status) != 0) fail("stat %s: %s", worker.path, std::strerror(errno));
  };
  const uint64_t files = worker.options->files;
  const uint64_t first = std::min(files - 1, kFirst);
  for (uint64_t i = 0; i < first; i++) look(i);
  worker.measure([&](uint64_t i) { look(first + i); }, [] {}, files - first);
}

int openData(Worker& worker, int flags) {
  int direct = worker.options->direct ? O_DIRECT : 0;
  int fd = open(worker.fileAt(0), flags | direct | O_CLOEXEC, 0644);
  if (fd < 0) fail("open %s: %s", worker.path, std::strerror(errno));
  return fd;
}

void syncFile(Worker& worker, int fd) {
  if (fsync(fd) != 0) fail("fsync %s: %s", worker.path, std::strerror(errno));
}

uint64_t transfersOf(const Worker& worker) { return worker.options->bytes / kTransferBytes; }

// Writes the file from its beginning again when --bytes are reached: the rate of a steady stream
// needs no more space than that.
void runSequentialWrite(Worker& worker) {
  uint8_t* buffer = allocateBuffer(kTransferBytes);
  Pattern pattern(1, FileKind::kMicro, worker.index);
  pattern.fill(buffer, kTransferBytes);
  int fd = openData(worker, O_CREAT | O_WRONLY);
  uint64_t transfers = transfersOf(worker);
  worker.measure(
      [&](uint64_t i) {
        uint64_t position = i % transfers * kTransferBytes;
        pattern.stamp(buffer, kTransferBytes, position);
        writeFully(fd, buffer, kTransferBytes, position, worker.path);
      },
      [&] { syncFile(worker, fd); });
  close(fd);
  worker.removeFiles(1);
}

// Reads again from the beginning at the end. Every byte is checked.
void runSequentialRead(Worker& worker) {
  uint8_t* buffer = allocateBuffer(kTransferBytes);
  Pattern pattern(1, FileKind::kMicro, worker.index);
  pattern.fill(buffer, kTransferBytes);
  int fd = openData(worker, O_CREAT | O_RDWR);
  uint64_t transfers = transfersOf(worker);
  for (uint64_t i = 0; i < transfers; i++) {
    pattern.stamp(buffer, kTransferBytes, i * kTransferBytes);
    writeFully(fd, buffer, kTransferBytes, i * kTransferBytes, worker.path);
  }
  syncFile(worker, fd);
  worker.measure(
      [&](uint64_t i) {
        uint64_t position = i % transfers * kTransferBytes;
        readFully(fd, buffer, kTransferBytes, position, worker.path);
        size_t right = pattern.verify(buffer, kTransferBytes, 0, position);
        if (right != kTransferBytes) {
          fail("verification failed: %s holds a wrong byte at %llu", worker.path,
               static_cast<unsigned long long>(position + right));
        }
      },
      [] {});
  close(fd);
  worker.removeFiles(1);
}

// Pieces of 4 KiB, spread over the file, one at a time.
void runSmall(Worker& worker, bool writes) {
  uint8_t* buffer = allocateBuffer(kSmallBytes);
  Pattern pattern(1, FileKind::kMicro, worker.index);
  pattern.fill(buffer, kSmallBytes);
  const int fd = openData(worker, O_CREAT | O_RDWR);
  const uint64_t pieces = worker.options->bytes / kSmallBytes;
  for (uint64_t i = 0; i < pieces; i++) {
    writeFully(fd, buffer, kSmallBytes, i * kSmallBytes, worker.path);
  }
  worker.measure(
      [&](uint64_t i) {
        const uint64_t position = i * kSmallStride % pieces * kSmallBytes;
        if (writes) {
          writeFully(fd, buffer, kSmallBytes, position, worker.path);
        } else {
          readFully(fd, buffer, kSmallBytes, position, worker.path);
        }
      },
      [] {});
  close(fd);
  worker.removeFiles(1);
}

void runSmallRead(Worker& worker) { runSmall(worker, false); }
void runSmallWrite(Worker& worker) { runSmall(worker, true); }

void runOpenClose(Worker& worker) {
  uint64_t files = worker.options->files;
  for (uint64_t i = 0; i < files; i++) worker.createFile(i);
  worker.measure(
      [&](uint64_t i) {
        const int fd = open(worker.fileAt(i % files), O_RDONLY | O_CLOEXEC);
        if (fd < 0) fail("open %s: %s", worker.path, std::strerror(errno));
        close(fd);
      },
      [] {});
  worker.removeFiles(files);
}

struct Mode {
  const char* name;
  void (*run)(Worker&);
  uint64_t unitBytes;  // of one operation; 0: operations are counted
};

constexpr Mode kModes[] = {
    {"stat", runStat, 0},
    {"create-close", runCreateClose, 0},
    {"seq-write", runSequentialWrite, kTransferBytes},
    {"seq-read", runSequentialRead, kTransferBytes},
    {"open-close", runOpenClose, 0},
    {"unlink", runUnlink, 0},
    {"lookup", runLookup, 0},
    {"small-read", runSmallRead, 0},
    {"small-write", runSmallWrite, 0},
};

const Mode& modeOf(const char* name) {
  for (const Mode& mode : kModes) {
    if (std::strcmp(mode.name, name) == 0) return mode;
  }
  fail(
      "unknown mode '%s': one of serve, stat, create-close, open-close, unlink, lookup, seq-write, "
      "seq-read, small-read, small-write",
      name);
}

uint64_t parseNumber(const char* option, const char* text) {
  char* end = nullptr;
  errno = 0;
  uint64_t value = text == nullptr ? 0 : std::strtoull(text, &end, 10);
  if (text == nullptr || end == text || *end != '\0' || *text == '-' || errno != 0 || value == 0) {
    fail("%s needs a positive whole number", option);
  }
  return value;
}

double parseSeconds(const char* text) {
  char* end = nullptr;
  double value = text == nullptr ? 0 : std::strtod(text, &end);
  if (text == nullptr || end == text || *end != '\0' || !(value > 0) || value > 1e6) {
    fail("--seconds needs a positive number");
  }
  return value;
}

Options parseOptions(int argc, char** argv) {
  Options options;
  options.mode = argv[1];
  for (int i = 2; i < argc; i++) {
    const char* name = argv[i];
    auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
    if (is("--direct")) {
      options.direct = true;
    } else if (is("--shared")) {
      options.shared = true;
    } else {
      const char* value = ++i < argc ? argv[i] : nullptr;
      if (is("--dir") && value != nullptr) {
        options.dir = value;
      } else if (is("--seconds")) {
        options.seconds = parseSeconds(value);
      } else if (is("--processes")) {
        options.processes = parseNumber(name, value);
      } else if (is("--count")) {
        options.count = parseNumber(name, value);
      } else if (is("--files")) {
        options.files = parseNumber(name, value);
      } else if (is("--bytes")) {
        options.bytes = parseNumber(name, value);
      } else {
        fail("unknown option or missing value: %s", name);
      }
    }
  }
  if (options.dir == nullptr) fail("--dir DIR is missing");
  if (options.processes > kProcessesMax) {
    fail("--processes is at most %llu", static_cast<unsigned long long>(kProcessesMax));
  }
  if (options.bytes < kTransferBytes) fail("--bytes is at least one transfer of 1048576");
  return options;
}

[[noreturn]] void work(const Options& options, const Mode& mode, Shared* shared, uint64_t index,
                       const char* base) {
  // No child outlives a parent that was killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  static Worker worker{};
  worker.options = &options;
  worker.shared = shared;
  worker.index = index;
  if (options.shared) {
    std::snprintf(worker.dir, sizeof worker.dir, "%s", base);
  } else {
    std::snprintf(worker.dir, sizeof worker.dir, "%.*s/%llu", PATH_MAX - 32, base,
                  static_cast<unsigned long long>(index));
    if (mkdir(worker.dir, 0755) != 0) fail("mkdir %s: %s", worker.dir, std::strerror(errno));
  }
  mode.run(worker);
  if (!options.shared && rmdir(worker.dir) != 0) {
    fail("rmdir %s: %s", worker.dir, std::strerror(errno));
  }
  _exit(0);
}

// Waits for one child; true when it succeeded.
bool reapOne(int options, bool& exited) {
  int status = 0;
  pid_t pid = waitpid(-1, &status, options);
  exited = pid > 0;
  return pid <= 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// Starts the measurement once all are ready, and waits for the end of all. False: one failed; the
// others are killed.
bool superviseAll(const Options& options, Shared* shared, const pid_t* children) {
  uint64_t left = options.processes;
  bool good = true;
  while (left > 0 && good) {
    bool started = shared->go.load();
    if (!started && shared->ready.load() == options.processes) shared->go.store(started = true);
    bool exited = false;
    good = reapOne(started ? 0 : WNOHANG, exited);
    if (exited) left--;
    if (!exited && !started) usleep(kPollUs);
  }
  if (!good) {
    for (uint64_t i = 0; i < options.processes; i++) kill(children[i], SIGKILL);
  }
  while (left > 0) {
    bool exited = false;
    reapOne(0, exited);
    left--;
  }
  return good;
}

void printResult(const Options& options, const Mode& mode, const Shared* shared) {
  uint64_t operations = 0;
  uint64_t start = UINT64_MAX;
  uint64_t end = 0;
  for (uint64_t i = 0; i < options.processes; i++) {
    const Result& result = shared->results[i];
    operations += result.operations;
    start = std::min(start, result.startNs);
    end = std::max(end, result.endNs);
  }
  double seconds = static_cast<double>(end - start) / 1e9;
  double units = static_cast<double>(operations) *
                 (mode.unitBytes != 0 ? static_cast<double>(mode.unitBytes) : 1.0);
  std::printf(
      "{\"mode\":\"%s\",\"processes\":%llu,\"operations\":%llu,\"seconds\":%.6f,\"rate\":%.3f,"
      "\"unit\":\"%s\"}\n",
      mode.name, static_cast<unsigned long long>(options.processes),
      static_cast<unsigned long long>(operations), seconds, units / seconds,
      mode.unitBytes != 0 ? "bytes/s" : "operations/s");
}

}  // namespace

int runMicro(int argc, char** argv) {
  const Mode& mode = modeOf(argv[1]);
  Options options = parseOptions(argc, argv);
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap: %s", std::strerror(errno));
  auto* shared = new (memory) Shared{};
  char base[PATH_MAX];
  int length = std::snprintf(base, sizeof base, "%s/rank-micro.%d", options.dir, getpid());
  if (length < 0 || length > 2048) fail("the path of --dir is too long");
  if (mkdir(base, 0755) != 0) fail("mkdir %s: %s", base, std::strerror(errno));
  static pid_t children[kProcessesMax];
  for (uint64_t i = 0; i < options.processes; i++) {
    children[i] = fork();
    if (children[i] < 0) {
      // Without its peers a child would wait for ever for the start.
      for (uint64_t j = 0; j < i; j++) kill(children[j], SIGKILL);
      fail("fork: %s", std::strerror(errno));
    }
    if (children[i] == 0) work(options, mode, shared, i, base);
  }
  if (!superviseAll(options, shared, children)) {
    fail("a process failed; what it wrote is left in %s", base);
  }
  if (rmdir(base) != 0) fail("rmdir %s: %s", base, std::strerror(errno));
  printResult(options, mode, shared);
  return 0;
}

}  // namespace sealfs::rank
