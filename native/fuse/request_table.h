// Goal: the requests that the kernel waits for, each under an index that JavaScript names it by.
// Method: a table in the session's block of the arena, so that JavaScript reads a request in
// place; libfuse's handle and the index's generation stand beside it in private memory.
//
//   free --open()--> active --close()--> free (generation + 1)
//                      |
//                      +-- orphan(): the kernel has its answer, JavaScript not yet finished
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "native/common/arena.h"
#include "native/fuse/layout.generated.h"

struct fuse_req;

namespace sealfs::fuse {

class RequestTable {
 public:
  static constexpr uint32_t kCapacity = 2048;
  static constexpr uint32_t kNameBytes = 256;
  static constexpr uint32_t kRecordBytes = sizeof(RequestRecord) + kNameBytes;
  static constexpr uint32_t kBytes = kCapacity * kRecordBytes;

  // Over `kBytes` of the arena at `offset`.
  RequestTable(std::shared_ptr<Arena> arena, uint32_t offset);

  bool full() const { return free_count_ == 0; }
  uint32_t active() const { return kCapacity - free_count_; }

  // Index of a cleared record; the table must not be full.
  uint32_t open(fuse_req* request);
  RequestRecord* record(uint32_t index) const;
  uint32_t generation(uint32_t index) const { return entries_[index].generation; }

  // True when `index` is active in this `generation`; `request` is null when it is an orphan.
  bool find(uint32_t index, uint32_t generation, fuse_req** request) const;

  // Frees the index and gives back the slot that its record still holds.
  void close(uint32_t index);

  // Calls visit(fuse_req*) for every request that the kernel still waits for and orphans it.
  template <typename Visit>
  void orphan_all(Visit visit) {
    for (Entry& entry : entries_) {
      if (!entry.active || entry.request == nullptr) continue;
      fuse_req* request = entry.request;
      entry.request = nullptr;
      visit(request);
    }
  }

  // Stores a name (or a symlink's target) that lies in the request's receive slot `slot`: behind
  // the record while there is room (`*used` bytes of it are taken), otherwise where it is, and the
  // record holds the slot. Returns its arena offset.
  uint32_t keep_name(RequestRecord* record, std::string_view name, uint32_t slot, uint32_t* used);

 private:
  struct Entry {
    fuse_req* request = nullptr;
    uint32_t generation = 1;
    bool active = false;
  };

  const std::shared_ptr<Arena> arena_;
  const uint32_t offset_;
  uint32_t free_count_ = kCapacity;
  std::array<uint32_t, kCapacity> free_;  // the last freed on top: its record is in the cache
  std::array<Entry, kCapacity> entries_;
};

// Gives back the bulk or message slot that holds `offset`; false: it is in none.
bool give_slot(Arena* arena, uint32_t offset);

}  // namespace sealfs::fuse
