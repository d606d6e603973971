// Goal: where the bulk of a connection's replies may go, by tag (docs/internals.md, "Transport").
//
//   none ──set──> set ──take──> none    bulk comes: it may be written there, once
//                  ├──end──> none       no bulk may come any more: its request was answered
//                  └──withdraw──> withdrawn ──take, end──> none   bulk that still comes is dropped
//
// An engine that keeps more about each (an rkey) gives a type derived from Landing.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "native/common/engine_layout.generated.h"
#include "native/common/wire.generated.h"

namespace sealfs::engine {

struct Landing {
  enum class Use : uint32_t { kNone, kSet, kWithdrawn };
  uint32_t offset = 0;
  uint32_t max_bytes = 0;
  Use use = Use::kNone;
};

template <typename L = Landing>
class Landings {
 public:
  // Null when `tag` is out of bounds or none was ever set; its use may be kNone.
  L* find(uint32_t tag) {
    return tag < wire::kRpcSlots && landings_ ? &(*landings_)[tag] : nullptr;
  }

  // `tag` is below wire::kRpcSlots and [offset, offset + max_bytes) in the arena. What is returned
  // is for the engine's own members.
  L& set(uint32_t tag, uint32_t offset, uint32_t max_bytes) {
    if (!landings_) landings_ = std::make_unique<std::array<L, wire::kRpcSlots>>();
    L& landing = (*landings_)[tag];
    landing = L{};
    landing.offset = offset;
    landing.max_bytes = max_bytes;
    landing.use = Landing::Use::kSet;
    return landing;
  }

  // True when it was set and is withdrawn now.
  bool withdraw(uint32_t tag) {
    L* landing = find(tag);
    if (landing == nullptr || landing->use != Landing::Use::kSet) return false;
    landing->use = Landing::Use::kWithdrawn;
    return true;
  }

  // Bulk that still comes for it is one that nobody asked for.
  void end(uint32_t tag) {
    L* landing = find(tag);
    if (landing != nullptr) landing->use = Landing::Use::kNone;
  }

  // For `bytes` of bulk that came with a peer's `tag`: 0 and its landing as it was before (set, or
  // withdrawn: drop the bulk) in *out, or the Reason to close.
  uint32_t take(uint32_t tag, uint32_t bytes, L* out) {
    if (tag >= wire::kRpcSlots) return static_cast<uint32_t>(Reason::kBadBulkTag);
    L* landing = find(tag);
    if (landing == nullptr || landing->use == Landing::Use::kNone ||
        (landing->use == Landing::Use::kSet && bytes > landing->max_bytes)) {
      return static_cast<uint32_t>(Reason::kNoLanding);
    }
    *out = *landing;
    landing->use = Landing::Use::kNone;
    return 0;
  }

 private:
  std::unique_ptr<std::array<L, wire::kRpcSlots>> landings_;  // most connections have none
};

}  // namespace sealfs::engine
