// Goal and layout: arena.h. The mapping is shared (MAP_SHARED of a memfd), so that another process
// may map the same memory later; it is given back only by the destructor.
#include "native/common/arena.h"

#include <errno.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace sealfs {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;
constexpr uint32_t kReceiveAreasMax = 64;

size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// Maps a file over what is reserved at `at`. Mapped at an address of the kernel's choice before: a
// mapping that fails (too few huge pages) may have taken away what was at its address, for other
// threads to map.
bool map_at(uint8_t* at, size_t bytes, int fd, off_t position) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  void* first = mmap(nullptr, bytes, kProtection, MAP_SHARED, fd, position);
  if (first == MAP_FAILED) return false;
  const void* mapped = mmap(at, bytes, kProtection, MAP_SHARED | MAP_FIXED, fd, position);
  munmap(first, bytes);
  return mapped != MAP_FAILED;
}

// Maps `bytes` of a new memfd at `base`; false leaves no file behind and sets errno.
bool map_memfd(unsigned flags, size_t bytes, int* fd, uint8_t* base) {
  const int file = memfd_create("sealfs-arena", MFD_CLOEXEC | flags);
  if (file < 0) return false;
  if (ftruncate(file, static_cast<off_t>(bytes)) != 0 || !map_at(base, bytes, file, 0)) {
    const int why = errno;
    ::close(file);
    errno = why;
    return false;
  }
  *fd = file;
  return true;
}

// Addresses without memory, until somebody writes there.
void* reserve(void* at, size_t bytes, int flags) {
  return mmap(at, bytes, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
}

}  // namespace

std::shared_ptr<Arena> Arena::create(ArenaShape shape, std::string* error) {
  if (shape.message_slots > kArenaSlotsMax || shape.bulk_slots > kArenaSlotsMax ||
      shape.receive_areas > kReceiveAreasMax || shape.shares > kSharesMax) {
    *error = "too many slots of a kind";
    return nullptr;
  }
  const uint64_t bulk_offset = kArenaSlotsOffset + uint64_t{shape.message_slots} * kMessageSlot;
  const uint64_t receive_offset = bulk_offset + uint64_t{shape.bulk_slots} * kBulkStride;
  const uint64_t bytes = receive_offset + uint64_t{shape.receive_areas} * kReceiveAreaBytes;
  const uint64_t bytes_max = round_up(bytes, kHugePageBytes);
  const uint64_t span_max = bytes_max + uint64_t{shape.shares} * kShareBytes;
  if (span_max >= uint64_t{1} << 32) {
    *error = "an arena must be smaller than 4 GiB";
    return nullptr;
  }
  std::shared_ptr<Arena> arena(new Arena());
  arena->shape_ = shape;
  arena->bulk_offset_ = static_cast<uint32_t>(bulk_offset);
  arena->receive_offset_ = static_cast<uint32_t>(receive_offset);
  const auto failed = [&] {
    *error = std::string("arena of ") + std::to_string(bytes) + " bytes: " + strerror(errno);
    return nullptr;
  };
  arena->reserved_bytes_ = span_max + kHugePageBytes;
  void* reserved = reserve(nullptr, arena->reserved_bytes_, 0);
  if (reserved == MAP_FAILED) return failed();
  arena->reserved_ = static_cast<uint8_t*>(reserved);
  arena->base_ = reinterpret_cast<uint8_t*>(
      round_up(reinterpret_cast<uintptr_t>(arena->reserved_), kHugePageBytes));
  // Reserved huge pages are claimed by the mapping itself: too few, and it fails here, not later.
  arena->bytes_ = bytes_max;
  arena->huge_pages_ =
      map_memfd(MFD_HUGETLB | MFD_HUGE_2MB, arena->bytes_, &arena->fd_, arena->base_);
  if (!arena->huge_pages_) {
    arena->bytes_ = round_up(bytes, 4096);
    if (!map_memfd(0, arena->bytes_, &arena->fd_, arena->base_)) return failed();
    // Advice only: where the kernel refuses it, the arena works with small pages.
    (void)madvise(arena->base_, arena->bytes_, MADV_HUGEPAGE);
  }
  for (auto [stack, slots] : {std::pair(kArenaMessageFreeOffset, shape.message_slots),
                              std::pair(kArenaBulkFreeOffset, shape.bulk_slots)}) {
    uint32_t* free_slots = arena->words(stack);
    for (uint32_t i = 0; i < slots; i++) free_slots[1 + i] = slots - 1 - i;
    free_slots[0] = slots;
  }
  return arena;
}

Arena::~Arena() {
  if (reserved_ != nullptr) munmap(reserved_, reserved_bytes_);
  if (fd_ >= 0) ::close(fd_);
}

uint32_t Arena::take_receive_area() {
  for (uint32_t i = 0; i < shape_.receive_areas; i++) {
    if ((receive_taken_ >> i & 1) == 0) {
      receive_taken_ |= uint64_t{1} << i;
      return receive_offset_ + i * kReceiveAreaBytes;
    }
  }
  return 0;
}

bool Arena::shares_contain(uint64_t offset, uint64_t length) const {
  const uint64_t i = (offset - bytes_) / kShareBytes;
  const uint64_t from = (offset - bytes_) % kShareBytes;
  return i < shape_.shares && (shares_taken_ >> i & 1) != 0 && length <= kShareBytes - from;
}

uint32_t Arena::open_share(int fd, int64_t position) {
  for (uint32_t i = 0; i < shape_.shares; i++) {
    if ((shares_taken_ >> i & 1) != 0) continue;
    const uint32_t offset = share_offset(i);
    if (!map_at(at(offset), kShareBytes, fd, position)) return 0;
    if (!tell_opened(offset)) {
      (void)reserve(at(offset), kShareBytes, MAP_FIXED);
      return 0;
    }
    shares_taken_ |= uint64_t{1} << i;
    return offset;
  }
  return 0;
}

bool Arena::tell_opened(uint32_t offset) {
  for (size_t i = 0; i < share_watchers_.size(); i++) {
    if (share_watchers_[i]->opened(offset)) continue;
    while (i > 0) share_watchers_[--i]->closed(offset);
    return false;
  }
  return true;
}

void Arena::close_share(uint32_t offset) {
  const size_t i = (offset - bytes_) / kShareBytes;
  if (offset < bytes_ || i >= shape_.shares) return;
  for (ShareWatcher* watcher : share_watchers_) watcher->closed(offset);
  // The addresses stay the arena's.
  (void)reserve(at(offset), kShareBytes, MAP_FIXED);
  shares_taken_ &= ~(uint64_t{1} << i);
}

bool Arena::watch_shares(ShareWatcher* watcher) {
  for (uint32_t i = 0; i < shape_.shares; i++) {
    if ((shares_taken_ >> i & 1) != 0 && !watcher->opened(share_offset(i))) return false;
  }
  share_watchers_.push_back(watcher);
  return true;
}

void Arena::unwatch_shares(ShareWatcher* watcher) { std::erase(share_watchers_, watcher); }

void Arena::give_receive_area(uint32_t offset) {
  const uint32_t i = (offset - receive_offset_) / kReceiveAreaBytes;
  if (offset >= receive_offset_ && i < shape_.receive_areas) receive_taken_ &= ~(uint64_t{1} << i);
}

}  // namespace sealfs
