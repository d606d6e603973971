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

// Maps `bytes` of a new memfd; false leaves nothing behind and sets errno.
bool map_memfd(unsigned flags, size_t bytes, int* fd, uint8_t** base) {
  const int file = memfd_create("sealfs-arena", MFD_CLOEXEC | flags);
  if (file < 0) return false;
  void* memory = MAP_FAILED;
  if (ftruncate(file, static_cast<off_t>(bytes)) == 0) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  }
  if (memory == MAP_FAILED) {
    const int why = errno;
    ::close(file);
    errno = why;
    return false;
  }
  *fd = file;
  *base = static_cast<uint8_t*>(memory);
  return true;
}

}  // namespace

std::shared_ptr<Arena> Arena::create(ArenaShape shape, std::string* error) {
  if (shape.message_slots > kArenaSlotsMax || shape.bulk_slots > kArenaSlotsMax ||
      shape.receive_areas > kReceiveAreasMax) {
    *error = "too many slots of a kind";
    return nullptr;
  }
  const uint64_t bulk_offset = kArenaSlotsOffset + uint64_t{shape.message_slots} * kMessageSlot;
  const uint64_t receive_offset = bulk_offset + uint64_t{shape.bulk_slots} * kBulkStride;
  const uint64_t bytes = receive_offset + uint64_t{shape.receive_areas} * kReceiveAreaBytes;
  if (round_up(bytes, kHugePageBytes) >= uint64_t{1} << 32) {
    *error = "an arena must be smaller than 4 GiB";
    return nullptr;
  }
  std::shared_ptr<Arena> arena(new Arena());
  arena->shape_ = shape;
  arena->bulk_offset_ = static_cast<uint32_t>(bulk_offset);
  arena->receive_offset_ = static_cast<uint32_t>(receive_offset);
  // Reserved huge pages are claimed by the mapping itself: too few, and it fails here, not later.
  arena->bytes_ = round_up(bytes, kHugePageBytes);
  arena->huge_pages_ =
      map_memfd(MFD_HUGETLB | MFD_HUGE_2MB, arena->bytes_, &arena->fd_, &arena->base_);
  if (!arena->huge_pages_) {
    arena->bytes_ = round_up(bytes, 4096);
    if (!map_memfd(0, arena->bytes_, &arena->fd_, &arena->base_)) {
      *error = std::string("arena of ") + std::to_string(bytes) + " bytes: " + strerror(errno);
      return nullptr;
    }
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
  if (base_ != nullptr) munmap(base_, bytes_);
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

void Arena::give_receive_area(uint32_t offset) {
  const uint32_t i = (offset - receive_offset_) / kReceiveAreaBytes;
  if (offset >= receive_offset_ && i < shape_.receive_areas) receive_taken_ &= ~(uint64_t{1} << i);
}

}  // namespace sealfs
