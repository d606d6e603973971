// Goal and method: region.h.
#include "native/intercept_host/region.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <new>

namespace sealfs::intercept {

std::unique_ptr<Region> Region::create() {
  const int fd = memfd_create("sealfs-intercept", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return nullptr;
  // Shorter, it would be a SIGBUS here.
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  void* base = MAP_FAILED;
  if (ftruncate(fd, kRegionBytes) == 0 && fcntl(fd, F_ADD_SEALS, seals) == 0) {
    base = mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  if (base == MAP_FAILED) {
    ::close(fd);
    return nullptr;
  }
  return std::unique_ptr<Region>(new Region(fd, static_cast<uint8_t*>(base)));
}

Region::Region(int fd, uint8_t* base) : fd_(fd), base_(base) {
  Header* first = header();
  first->magic = kMagic;
  first->lanes = kLanes;
  first->data_bytes = kDataBytes;
}

Region::~Region() {
  munmap(base_, kRegionBytes);
  ::close(fd_);
}

Lane* Region::lane(uint32_t index) const {
  return reinterpret_cast<Lane*>(base_ + kLanesOffset) + index;
}

uint8_t* Region::data(uint32_t lane) const {
  return base_ + kDataOffset + size_t{lane} * kDataBytes;
}

bool Region::bell_rung() const {
  return kept_ != 0 || __atomic_load_n(&header()->bell, __ATOMIC_RELAXED) != 0;
}

uint64_t Region::take_bells() {
  if (!bell_rung()) return 0;
  uint64_t lanes = __atomic_exchange_n(&header()->bell, 0, __ATOMIC_ACQUIRE) | kept_;
  kept_ = 0;
  lanes &= ~busy_;
  busy_ |= lanes;
  return lanes;
}

void Region::put_back(uint64_t lanes) {
  busy_ &= ~lanes;
  kept_ |= lanes;
}

Request Region::request(uint32_t index) const {
  const Request* from = &lane(index)->request;
  Request copy;
  copy.operation = __atomic_load_n(&from->operation, __ATOMIC_RELAXED);
  copy.handle = __atomic_load_n(&from->handle, __ATOMIC_RELAXED);
  copy.offset = __atomic_load_n(&from->offset, __ATOMIC_RELAXED);
  copy.length = __atomic_load_n(&from->length, __ATOMIC_RELAXED);
  copy.flags = __atomic_load_n(&from->flags, __ATOMIC_RELAXED);
  copy.second_handle = __atomic_load_n(&from->second_handle, __ATOMIC_RELAXED);
  copy.second_length = __atomic_load_n(&from->second_length, __ATOMIC_RELAXED);
  return copy;
}

void Region::done(uint32_t index, uint32_t status, uint64_t value) {
  Lane* to = lane(index);
  busy_ &= ~(uint64_t{1} << index);
  __atomic_store_n(&to->reply.status, status, __ATOMIC_RELAXED);
  __atomic_store_n(&to->reply.value, value, __ATOMIC_RELAXED);
  // Ordered against the program's "I wait", then "is it still submitted?".
  __atomic_store_n(&to->state, kDone, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&to->waiting, __ATOMIC_SEQ_CST) == 0) return;
  syscall(SYS_futex, &to->state, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Region::set_asleep(bool asleep) {
  __atomic_store_n(&header()->asleep, asleep ? 1u : 0u, __ATOMIC_SEQ_CST);
}

}  // namespace sealfs::intercept
