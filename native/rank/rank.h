// What the phases of one rank share: who it is, where its files lie, its one buffer, and the
// outcome of a phase.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/rank/pattern.h"

namespace sealfs::rank {

constexpr size_t kHardRecordBytes = 47008;  // ior-hard, from the IO500's rules
constexpr size_t kHardFileBytes = 3901;     // mdtest-hard, likewise
constexpr size_t kRandomReadBytes = 4096;   // ior-rnd4K

struct Rank {
  uint64_t rank;
  uint64_t np;
  uint64_t seed;
  const char* dir;  // absolute path of the data directory
  uint8_t* buffer;  // page-aligned, bufferBytes long, allocated once
  size_t bufferBytes;
};

// Untimed part of a phase, from the words of its `prepare` line, then the timed part. A phase
// fails by fail(): it returns only when its work is complete and verified.
struct Outcome {
  uint64_t count = 0;  // transfers, records, files
  uint64_t startNs = 0;
  uint64_t endNs = 0;
  uint64_t found = 0;  // find only
};

using Prepare = void (*)(const Rank&, const char* arguments);
using Run = void (*)(const Rank&, Outcome&);

struct Phase {
  const char* name;
  Prepare prepare;
  Run run;
};

void prepareIorEasy(const Rank&, const char* arguments);
void prepareIorHard(const Rank&, const char* arguments);
void prepareMdtestEasy(const Rank&, const char* arguments);
void prepareMdtestHard(const Rank&, const char* arguments);
void prepareFind(const Rank&, const char* arguments);

void iorEasyWrite(const Rank&, Outcome&);
void iorEasyRead(const Rank&, Outcome&);
void iorRandomRead(const Rank&, Outcome&);
void iorHardWrite(const Rank&, Outcome&);
void iorHardRead(const Rank&, Outcome&);
void mdtestEasyWrite(const Rank&, Outcome&);
void mdtestEasyStat(const Rank&, Outcome&);
void mdtestHardWrite(const Rank&, Outcome&);
void mdtestHardStat(const Rank&, Outcome&);
void mdtestHardRead(const Rank&, Outcome&);
void mdtestDelete(const Rank&, Outcome&);
void find(const Rank&, Outcome&);

// Whole transfers at a position of a file; `path` is for the message of a failure.
void writeFully(int fd, const uint8_t* data, size_t bytes, uint64_t position, const char* path);
void readFully(int fd, uint8_t* data, size_t bytes, uint64_t position, const char* path);

// sealfs_rank stat|create-close|seq-write|seq-read …; returns the exit status.
int runMicro(int argc, char** argv);

// A page-aligned buffer that lives until the process ends.
uint8_t* allocateBuffer(size_t bytes);

}  // namespace sealfs::rank
