// Goal: one block of memory per thread that every engine reads and writes in place (sockets, disk,
// FUSE, later RDMA). Method: a memfd, mapped once, cut into slots; positions are u32 byte offsets
// ("arena offsets"). Layout: docs/internals.md, "Arena"; the same figures are in
// src/native/arena-memory.ts.
//
// Free slots stand on two stacks in the control area that native code and TypeScript of the same
// thread push and pop; nothing here is thread-safe.
//
// Behind the slots there may be room for shares: memory that another process has, too, and that
// lies at arena offsets while it is lent, so that sockets and devices send from it and receive into
// it. Who registers memory hears of each. What lies there may change at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "native/common/wire.generated.h"

namespace sealfs {

constexpr uint32_t kArenaMessageFreeOffset = 0;
constexpr uint32_t kArenaBulkFreeOffset = 32768;
constexpr uint32_t kArenaZeroOffset = 65536;
constexpr uint32_t kArenaZeroBytes = 65536;
constexpr uint32_t kArenaSlotsOffset = 131072;
// Entries that fit in one free stack behind its count.
constexpr uint32_t kArenaSlotsMax = 8191;
constexpr uint32_t kMessageSlot = wire::kMessageSlotBytes;
constexpr uint32_t kBulkPayload = wire::kBulkSlotBytes;
constexpr uint32_t kBulkHeadroom = wire::kBulkHeadroomBytes;
constexpr uint32_t kBulkStride = kBulkPayload + 2 * kBulkHeadroom;
// One receive area: where a socket engine reads into; see native/socket/engine.h.
constexpr uint32_t kReceiveAreaBytes = 1 << 20;
constexpr uint32_t kShareBytes = 4 << 20;
constexpr uint32_t kSharesMax = 64;

static_assert(kArenaBulkFreeOffset + 4 * (1 + kArenaSlotsMax) <= kArenaZeroOffset);
static_assert(kMessageSlot % 4096 == 0 && kBulkStride % 4096 == 0 && kBulkHeadroom % 4096 == 0);

struct ArenaShape {
  uint32_t message_slots = 0;
  uint32_t bulk_slots = 0;
  uint32_t receive_areas = 0;
  uint32_t shares = 0;
};

// Hears of the shares of an arena.
class ShareWatcher {
 public:
  virtual ~ShareWatcher() = default;
  // Memory is at this offset now. False: it cannot be used, and is not lent.
  virtual bool opened(uint32_t offset) = 0;
  // Nobody uses it any more; it is still there.
  virtual void closed(uint32_t offset) = 0;
};

class Arena {
 public:
  // Null on failure, with a reason in `error`. Huge pages: reserved ones (MFD_HUGETLB) when there
  // are enough, else transparent ones by madvise.
  static std::shared_ptr<Arena> create(ArenaShape shape, std::string* error);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  uint8_t* base() const { return base_; }
  uint8_t* at(uint32_t offset) const { return base_ + offset; }
  size_t bytes() const { return bytes_; }  // a multiple of the page size used; without shares
  size_t span_bytes() const { return bytes_ + size_t{shape_.shares} * kShareBytes; }
  int fd() const { return fd_; }  // the memfd, owned by the arena
  const ArenaShape& shape() const { return shape_; }
  bool huge_pages() const { return huge_pages_; }

  // True when [offset, offset + length) lies in the arena behind its control area, or in one share.
  bool contains(uint64_t offset, uint64_t length) const {
    if (offset >= bytes_) return shares_contain(offset, length);
    return offset >= kArenaZeroOffset && length <= bytes_ && offset <= bytes_ - length;
  }

  // Arena offset of a free slot's payload, owned by the caller until given back; 0: none is free.
  uint32_t take_message() {
    return take(kArenaMessageFreeOffset, kArenaSlotsOffset, kMessageSlot, 0);
  }
  uint32_t take_bulk() {
    return take(kArenaBulkFreeOffset, bulk_offset_, kBulkStride, kBulkHeadroom);
  }
  // Take any offset inside the slot. False: it is not in a slot of this kind, or all are free.
  bool give_message(uint32_t offset) {
    return give(kArenaMessageFreeOffset, kArenaSlotsOffset, kMessageSlot, shape_.message_slots,
                offset);
  }
  bool give_bulk(uint32_t offset) {
    return give(kArenaBulkFreeOffset, bulk_offset_, kBulkStride, shape_.bulk_slots, offset);
  }
  uint32_t free_messages() const { return words(kArenaMessageFreeOffset)[0]; }
  uint32_t free_bulk() const { return words(kArenaBulkFreeOffset)[0]; }

  // A receive area for an engine, until given back; 0: none is left.
  uint32_t take_receive_area();
  void give_receive_area(uint32_t offset);

  // Maps kShareBytes of `fd` from `position` (of whole pages) on. Arena offset; 0: no room, not
  // mappable, or a watcher cannot use it. `fd` may be closed then; it must never become shorter.
  uint32_t open_share(int fd, int64_t position);
  void close_share(uint32_t offset);
  // Tells of those that are open at once. False: one of them cannot be used, and nobody watches.
  bool watch_shares(ShareWatcher* watcher);
  void unwatch_shares(ShareWatcher* watcher);

 private:
  Arena() = default;
  bool shares_contain(uint64_t offset, uint64_t length) const;
  uint32_t share_offset(uint32_t i) const {
    return static_cast<uint32_t>(bytes_ + size_t{i} * kShareBytes);
  }
  bool tell_opened(uint32_t offset);
  uint32_t* words(uint32_t offset) const { return reinterpret_cast<uint32_t*>(base_ + offset); }

  uint32_t take(uint32_t stack, uint32_t first, uint32_t stride, uint32_t headroom) {
    uint32_t* free_slots = words(stack);
    const uint32_t count = free_slots[0];
    if (count == 0) return 0;
    free_slots[0] = count - 1;
    return first + free_slots[count] * stride + headroom;
  }
  bool give(uint32_t stack, uint32_t first, uint32_t stride, uint32_t capacity, uint32_t offset) {
    uint32_t* free_slots = words(stack);
    const uint32_t count = free_slots[0];
    if (offset < first || (offset - first) / stride >= capacity || count >= capacity) return false;
    free_slots[1 + count] = (offset - first) / stride;
    free_slots[0] = count + 1;
    return true;
  }

  ArenaShape shape_;
  int fd_ = -1;
  uint8_t* base_ = nullptr;
  size_t bytes_ = 0;
  bool huge_pages_ = false;
  uint32_t bulk_offset_ = 0;
  uint32_t receive_offset_ = 0;
  uint64_t receive_taken_ = 0;  // one bit an area
  uint64_t shares_taken_ = 0;   // one bit a share
  std::vector<ShareWatcher*> share_watchers_;
  uint8_t* reserved_ = nullptr;
  size_t reserved_bytes_ = 0;
};

}  // namespace sealfs
