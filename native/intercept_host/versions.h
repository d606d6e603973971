// Goal: counts that programs read without asking, by which they see that what they remember may
// have changed. Method: shared memory that nobody else can write to (F_SEAL_FUTURE_WRITE); the core
// counts in it (src/client/leases/versions.ts), and a thread that waits for mounts to change does:
// what was remembered of a path is not true any more when something is mounted on its way.
#pragma once

#include <cstdint>
#include <memory>
#include <thread>

#include "native/common/intercept_layout.h"

namespace sealfs::intercept {

class Versions {
 public:
  // Null, with errno set.
  static std::unique_ptr<Versions> create();
  ~Versions();
  Versions(const Versions&) = delete;
  Versions& operator=(const Versions&) = delete;

  int fd() const { return fd_; }
  uint32_t* words() const { return words_; }
  uint32_t of(uint32_t cell) const;

 private:
  Versions(int fd, uint32_t* words) : fd_(fd), words_(words) {}
  bool watch_mounts();
  void bump(uint32_t cell);

  const int fd_;
  uint32_t* const words_;
  int mounts_fd_ = -1;
  int end_fd_ = -1;
  std::thread watcher_;
};

}  // namespace sealfs::intercept
