// Goal and method: versions.h.
#include "native/intercept_host/versions.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace sealfs::intercept {

std::unique_ptr<Versions> Versions::create() {
  const int fd = memfd_create("sealfs-versions", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  void* words = MAP_FAILED;
  if (ftruncate(fd, kVersionsBytes) == 0) {
    words = mmap(nullptr, kVersionsBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  // What is mapped already stays writable.
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  if (words == MAP_FAILED || fcntl(fd, F_ADD_SEALS, seals) != 0) {
    if (words != MAP_FAILED) munmap(words, kVersionsBytes);
    ::close(fd);
    return nullptr;
  }
  std::unique_ptr<Versions> versions(new Versions(fd, static_cast<uint32_t*>(words)));
  return versions->watch_mounts() ? std::move(versions) : nullptr;
}

Versions::~Versions() {
  if (watcher_.joinable()) {
    eventfd_write(end_fd_, 1);
    watcher_.join();
  }
  if (mounts_fd_ >= 0) ::close(mounts_fd_);
  if (end_fd_ >= 0) ::close(end_fd_);
  munmap(words_, kVersionsBytes);
  ::close(fd_);
}

uint32_t Versions::of(uint32_t cell) const {
  return __atomic_load_n(&words_[kVersionsFirst + cell], __ATOMIC_SEQ_CST);
}

void Versions::bump(uint32_t cell) {
  __atomic_fetch_add(&words_[kVersionsFirst + cell], 1, __ATOMIC_SEQ_CST);
  __atomic_fetch_add(&words_[0], 1, __ATOMIC_SEQ_CST);
}

// A thread of its own: nobody rings while programs answer themselves, and the news of an epoll
// descriptor would be taken by the one that looks first (mounts.h).
bool Versions::watch_mounts() {
  mounts_fd_ = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  end_fd_ = eventfd(0, EFD_CLOEXEC);
  if (mounts_fd_ < 0 || end_fd_ < 0) return false;
  watcher_ = std::thread([this] {
    pollfd watched[2] = {{mounts_fd_, POLLPRI, 0}, {end_fd_, POLLIN, 0}};
    for (;;) {
      const int ready = poll(watched, 2, -1);
      if (ready < 0 && errno == EINTR) continue;
      if (ready < 0 || watched[1].revents != 0) return;
      bump(kMountsCell);
    }
  });
  return true;
}

}  // namespace sealfs::intercept
