// One rank of the IO500 load generator.
//
//   sealfs_rank serve RANK NP SEED DIR     obeys a coordinator on stdin and stdout
//   sealfs_rank stat|create-close|seq-write|seq-read --dir DIR …     measures by itself
//
// The protocol and the micro modes are described in docs/io500.md.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "native/rank/channel.h"
#include "native/rank/rank.h"

namespace sealfs::rank {
namespace {

constexpr size_t kBufferBytes = 64 << 20;  // the largest ior-easy transfer
constexpr size_t kHugePageBytes = 2 << 20;

constexpr Phase kPhases[] = {
    {"ior-easy-write", prepareIorEasy, iorEasyWrite},
    {"mdtest-easy-write", prepareMdtestEasy, mdtestEasyWrite},
    {"ior-hard-write", prepareIorHard, iorHardWrite},
    {"mdtest-hard-write", prepareMdtestHard, mdtestHardWrite},
    {"find", prepareFind, find},
    {"ior-easy-read", prepareIorEasy, iorEasyRead},
    {"mdtest-easy-stat", prepareMdtestEasy, mdtestEasyStat},
    {"ior-hard-read", prepareIorHard, iorHardRead},
    {"mdtest-hard-stat", prepareMdtestHard, mdtestHardStat},
    {"mdtest-easy-delete", prepareMdtestEasy, mdtestDelete},
    {"mdtest-hard-read", prepareMdtestHard, mdtestHardRead},
    {"mdtest-hard-delete", prepareMdtestHard, mdtestDelete},
    {"ior-rnd4K-easy-read", prepareIorEasy, iorRandomRead},
};

// `prepare PHASE arguments`: the phase, with `arguments` set to what follows its name.
const Phase& phaseOf(const char* line, const char** arguments) {
  constexpr const char kPrepare[] = "prepare ";
  size_t prefix = sizeof kPrepare - 1;
  if (std::strncmp(line, kPrepare, prefix) != 0) fail("unknown command '%s'", line);
  const char* name = line + prefix;
  size_t length = std::strcspn(name, " ");
  *arguments = name + length;
  for (const Phase& phase : kPhases) {
    if (std::strlen(phase.name) == length && std::strncmp(phase.name, name, length) == 0) {
      return phase;
    }
  }
  fail("unknown phase '%s'", name);
}

void runPhase(const Rank& rank, const char* line) {
  const char* arguments = nullptr;
  const Phase& phase = phaseOf(line, &arguments);
  phase.prepare(rank, arguments);
  sendLine("ready");
  line = receiveLine();
  // The coordinator went away before the phase began.
  if (line == nullptr) _exit(1);
  if (std::strcmp(line, "go") != 0) fail("expected 'go', got '%s'", line);
  Outcome outcome;
  outcome.startNs = nowNs();
  phase.run(rank, outcome);
  outcome.endNs = nowNs();
  sendLine("done %llu %llu %llu %llu", static_cast<unsigned long long>(outcome.count),
           static_cast<unsigned long long>(outcome.startNs),
           static_cast<unsigned long long>(outcome.endNs),
           static_cast<unsigned long long>(outcome.found));
}

int serve(char** arguments) {
  reportFailuresToCoordinator();
  // Ctrl-C reaches the coordinator too, which ends its ranks in its own way.
  signal(SIGINT, SIG_IGN);
  Rank rank{};
  rank.rank = std::strtoull(arguments[0], nullptr, 10);
  rank.np = std::strtoull(arguments[1], nullptr, 10);
  rank.seed = std::strtoull(arguments[2], nullptr, 10);
  rank.dir = arguments[3];
  rank.bufferBytes = kBufferBytes;
  rank.buffer = allocateBuffer(kBufferBytes);
  if (rank.np == 0 || rank.rank >= rank.np) fail("a rank must be below the number of ranks");
  if (std::strlen(rank.dir) > 2048) fail("the data directory's path is longer than 2048 bytes");
  sendLine("hello %llu", static_cast<unsigned long long>(rank.rank));
  while (const char* line = receiveLine()) {
    if (std::strcmp(line, "quit") == 0) break;
    runPhase(rank, line);
  }
  return 0;
}

}  // namespace

uint8_t* allocateBuffer(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, kHugePageBytes, bytes) != 0) fail("no memory for the buffer");
  // Advice only: where there are no huge pages, small ones do.
  madvise(memory, bytes, MADV_HUGEPAGE);
  return static_cast<uint8_t*>(memory);
}

}  // namespace sealfs::rank

int main(int argc, char** argv) {
  if (argc == 6 && std::strcmp(argv[1], "serve") == 0) return sealfs::rank::serve(argv + 2);
  if (argc >= 2 && std::strcmp(argv[1], "serve") != 0) return sealfs::rank::runMicro(argc, argv);
  std::fprintf(
      stderr,
      "usage: sealfs_rank serve RANK NP SEED DIR\n"
      "       sealfs_rank stat|create-close|seq-write|seq-read --dir DIR [--processes N]\n"
      "         [--seconds S] [--count N] [--files N] [--bytes N] [--direct] [--shared]\n");
  return 2;
}
