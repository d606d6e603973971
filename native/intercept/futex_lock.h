// Goal: a lock of this process's threads that costs no system call when nobody waits. Method: a
// word of its owner's, 0: free, 1: taken, 2: taken, and somebody may wait. In the child of a fork
// its owner sets it to 0.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

namespace sealfs::intercept {

class FutexLock {
 public:
  explicit FutexLock(std::atomic<uint32_t>* word) : word_(word) {
    uint32_t free = 0;
    if (word_->compare_exchange_strong(free, 1)) return;
    while (word_->exchange(2) != 0) {
      syscall(SYS_futex, word_, FUTEX_WAIT_PRIVATE, 2, &kLook, nullptr, 0);
    }
  }
  ~FutexLock() {
    if (word_->exchange(0) == 2) {
      syscall(SYS_futex, word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    }
  }
  FutexLock(const FutexLock&) = delete;
  FutexLock& operator=(const FutexLock&) = delete;

 private:
  static constexpr timespec kLook{0, 1'000'000};
  std::atomic<uint32_t>* const word_;
};

}  // namespace sealfs::intercept
