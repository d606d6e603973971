// A rank's conversation with its coordinator: lines on stdin and stdout, described in
// docs/io500.md. A rank that cannot go on says why in one `fail` line and exits; there is nothing
// to unwind, its process is the unit of failure.
#pragma once

#include <cstdint>

namespace sealfs::rank {

// CLOCK_MONOTONIC, comparable between the processes of one machine.
uint64_t nowNs();

// Where fail() reports: a `fail` line for the coordinator, or a line on stderr for a person.
void reportFailuresToCoordinator();

// Prints the message (errno's text is the caller's part) and ends the process with status 1.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// One line out, complete at return.
void sendLine(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The next line without its newline, valid until the next call; null at the end of input.
const char* receiveLine();

// The unsigned number that follows `key` and '=' in a line of `key=value` words; fails without.
uint64_t numberIn(const char* line, const char* key);

// Reads a line that must be `word NUMBER`.
uint64_t expectNumber(const char* word);

// Tells the coordinator a few times a second how far a phase has come.
class Progress {
 public:
  explicit Progress(uint64_t start_ns) : next_ns_(start_ns + kEveryNs) {}

  void at(uint64_t count, uint64_t now_ns) {
    if (now_ns < next_ns_) return;
    next_ns_ = now_ns + kEveryNs;
    sendLine("at %llu", static_cast<unsigned long long>(count));
  }

 private:
  static constexpr uint64_t kEveryNs = 250'000'000;
  uint64_t next_ns_;
};

// Stonewall and wear-out. Runs operation(0), operation(1), … until the time is over or `limit` is
// reached, tells the coordinator, and goes on to the count of the fastest rank, which the
// coordinator answers with. Returns that count.
template <class Operation>
uint64_t untilFastest(uint64_t start_ns, uint64_t stonewall_ns, uint64_t limit,
                      Operation&& operation) {
  Progress progress(start_ns);
  uint64_t count = 0;
  uint64_t now = start_ns;
  while (count < limit && now - start_ns < stonewall_ns) {
    operation(count);
    count++;
    now = nowNs();
    progress.at(count, now);
  }
  sendLine("wall %llu %llu", static_cast<unsigned long long>(count),
           static_cast<unsigned long long>(now - start_ns));
  uint64_t target = expectNumber("until");
  while (count < target) {
    operation(count);
    count++;
    progress.at(count, nowNs());
  }
  return count;
}

template <class Operation>
void forEach(uint64_t start_ns, uint64_t count, Operation&& operation) {
  Progress progress(start_ns);
  for (uint64_t i = 0; i < count; i++) {
    operation(i);
    progress.at(i + 1, nowNs());
  }
}

}  // namespace sealfs::rank
