// Goal: a few words that many threads read and few change, without a lock that a signal handler or
// the child of a fork could wait for. Method: a sequence number that is odd while somebody writes;
// a reader who has seen it change has read nothing, a second writer gives up.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sealfs::intercept {

template <size_t kWords>
class GuardedWords {
 public:
  // Odd: being written.
  uint32_t sequence() const { return sequence_.load(std::memory_order_acquire); }
  uint64_t word(size_t index) const { return words_[index].load(std::memory_order_relaxed); }
  // What was read since `sequence` belongs together.
  bool is_still(uint32_t sequence) const {
    std::atomic_thread_fence(std::memory_order_acquire);
    return sequence % 2 == 0 && sequence_.load(std::memory_order_relaxed) == sequence;
  }

  // False: another thread is writing, or a signal handler's thread is.
  bool begin() {
    uint32_t before = sequence_.load(std::memory_order_relaxed);
    if (before % 2 != 0 || !sequence_.compare_exchange_strong(before, before + 1)) return false;
    std::atomic_thread_fence(std::memory_order_release);
    return true;
  }
  void set(size_t index, uint64_t value) { words_[index].store(value, std::memory_order_relaxed); }
  void end() { sequence_.fetch_add(1, std::memory_order_release); }

  // In the child of a fork, where nobody writes any more.
  void reset() {
    words_[0].store(0, std::memory_order_relaxed);
    sequence_.store((sequence_.load() | 1) + 1);
  }

 private:
  std::atomic<uint32_t> sequence_{0};
  std::atomic<uint64_t> words_[kWords] = {};
};

}  // namespace sealfs::intercept
