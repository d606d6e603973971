// Goal and method: keys.h.
#include "native/rdma/keys.h"

#include <utility>

namespace sealfs::rdma {

Keys::~Keys() {
  if (arena_) arena_->unwatch_shares(this);
}

bool Keys::open(std::shared_ptr<Arena> arena, ibv_pd* pd, int access) {
  pd_ = pd;
  access_ = access;
  base_ = arena->base();
  slot_bytes_ = arena->bytes();
  slots_.reset(ibv_reg_mr(pd, arena->base(), slot_bytes_, access));
  if (!slots_) return false;
  shares_.resize(arena->shape().shares);
  // It opens what is open already.
  if (!arena->watch_shares(this)) return false;
  arena_ = std::move(arena);
  return true;
}

bool Keys::opened(uint32_t offset) {
  settle();
  auto* memory = const_cast<uint8_t*>(base_) + offset;
  MemoryRegion& share = shares_[(offset - slot_bytes_) / kShareBytes];
  share.reset(ibv_reg_mr(pd_, memory, kShareBytes, access_));
  return share != nullptr;
}

void Keys::closed(uint32_t offset) {
  MemoryRegion& share = shares_[(offset - slot_bytes_) / kShareBytes];
  if (share) ending_.push_back(std::move(share));
  settle();
}

void Keys::end() {
  std::erase_if(ending_, [](MemoryRegion& region) {
    if (ibv_dereg_mr(region.get()) != 0) return false;
    (void)region.release();
    return true;
  });
}

}  // namespace sealfs::rdma
