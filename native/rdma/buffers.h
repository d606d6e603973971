// Goal: the engine's own memory in the arena: receive buffers, which the devices' shared receive
// queues share, and small prefix slots, from which frames that are not inline are gathered.
//
// Method: each receive area (1 MiB) is cut into 56 receive buffers, and its tail into prefix slots.
// When those run out a receive buffer is cut into nine more, for good.
//
//   area  [ buffer 0 | buffer 1 | … | buffer 55 | p p p p p p p p ]
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "native/common/arena.h"
#include "native/rdma/protocol.h"

namespace sealfs::rdma {

constexpr uint32_t kBuffersPerArea = kReceiveAreaBytes / kReceiveBytes;
constexpr uint32_t kPrefixSlotBytes = 2048;

static_assert(kReceiveBytes % kPrefixSlotBytes == 0 && kPrefixBytesMax <= kPrefixSlotBytes);

class Buffers {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Takes as many receive areas of the arena as are left, at most `areas_max`.
  Buffers(std::shared_ptr<Arena> arena, uint32_t areas_max) : arena_(std::move(arena)) {
    while (areas_.size() < areas_max) {
      const uint32_t area = arena_->take_receive_area();
      if (area == 0) break;
      for (uint32_t i = 0; i < kBuffersPerArea; i++) {
        free_.push_back(static_cast<uint32_t>(areas_.size()) * kBuffersPerArea + i);
      }
      const uint32_t end = area + kReceiveAreaBytes;
      for (uint32_t at = area + kBuffersPerArea * kReceiveBytes; at + kPrefixSlotBytes <= end;
           at += kPrefixSlotBytes) {
        prefixes_.push_back(at);
      }
      areas_.push_back(area);
    }
    prefix_total_ = prefixes_.size();
  }
  ~Buffers() {
    for (const uint32_t area : areas_) arena_->give_receive_area(area);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  size_t capacity() const { return areas_.size() * kBuffersPerArea; }
  size_t available() const { return free_.size(); }
  // A buffer's number, the caller's until given back; kNone: none is free.
  uint32_t take() {
    if (free_.empty()) return kNone;
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
  }
  void give(uint32_t index) { free_.push_back(index); }
  uint32_t offset(uint32_t index) const {
    return areas_[index / kBuffersPerArea] + index % kBuffersPerArea * kReceiveBytes;
  }

  // Arena offset of a prefix slot; 0: none is left.
  uint32_t take_prefix() {
    if (prefixes_.empty() && !grow_prefixes()) return 0;
    const uint32_t at = prefixes_.back();
    prefixes_.pop_back();
    return at;
  }
  void give_prefix(uint32_t at) { prefixes_.push_back(at); }
  // Those in use should come back soon.
  bool prefixes_scarce() const { return prefixes_.size() < prefix_total_ / 2; }

 private:
  bool grow_prefixes() {
    const uint32_t index = take();
    if (index == kNone) return false;
    for (uint32_t i = 0; i < kReceiveBytes; i += kPrefixSlotBytes) {
      prefixes_.push_back(offset(index) + i);
    }
    prefix_total_ += kReceiveBytes / kPrefixSlotBytes;
    return true;
  }

  std::shared_ptr<Arena> arena_;
  std::vector<uint32_t> areas_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> prefixes_;
  size_t prefix_total_ = 0;
};

}  // namespace sealfs::rdma
