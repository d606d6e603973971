// Goal: the registrations of an arena with one protection domain, by where memory lies: one of the
// slots for as long as the device is there, one for each share while it is lent
// (native/common/arena.h).
//
// A share has a registration of its own, made when it is opened: its pages are pinned then, and no
// later program's are. Its end is begun when the share is closed. Windows may be bound to it for a
// moment more; a device says so, and is asked again with the next share and before it sleeps.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "native/common/arena.h"
#include "native/rdma/verbs.h"

namespace sealfs::rdma {

class Keys final : public ShareWatcher {
 public:
  ~Keys() override;
  // False, with errno: the device refuses.
  bool open(std::shared_ptr<Arena> arena, ibv_pd* pd, int access);

  // No piece of memory begins in the slots and ends in a share. For what is in no open share, and
  // so of nobody any more, the slots': the device refuses it.
  ibv_mr* at(const void* address) const {
    const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(base_);
    const uint64_t place = (offset - slot_bytes_) / kShareBytes;
    if (offset < slot_bytes_ || place >= shares_.size() || !shares_[place]) return slots_.get();
    return shares_[place].get();
  }
  ibv_mr* slots() const { return slots_.get(); }

  bool opened(uint32_t offset) override;
  void closed(uint32_t offset) override;
  // Ends what could not be ended before.
  void settle() {
    if (!ending_.empty()) end();
  }

 private:
  void end();

  std::shared_ptr<Arena> arena_;
  const uint8_t* base_ = nullptr;
  uint64_t slot_bytes_ = 0;
  ibv_pd* pd_ = nullptr;
  int access_ = 0;
  MemoryRegion slots_;
  std::vector<MemoryRegion> shares_;  // by place in the arena
  std::vector<MemoryRegion> ending_;
};

}  // namespace sealfs::rdma
