// Goal: what programs call their open files by. A handle is an index and a generation, belongs to
// one program, and is checked at every use: a stale or foreign one names nothing.
#pragma once

#include <fcntl.h>

#include <cstdint>
#include <vector>

namespace sealfs::intercept {

// By open(2) flags: through a lane.
inline bool may_write(uint32_t flags) {
  return (flags & (O_PATH | O_DIRECTORY | O_APPEND)) == 0 && (flags & O_ACCMODE) != O_RDONLY;
}

struct OpenHandle {
  uint64_t inode = 0;
  uint64_t core = 0;     // the core's number
  uint32_t flags = 0;    // open(2) flags of the descriptor
  uint32_t program = 0;  // 0: free
  uint32_t generation = 1;
};

class Handles {
 public:
  static constexpr uint32_t kMax = 65535;

  // 0: there is no room.
  uint32_t add(uint32_t program, uint64_t inode, uint64_t core, uint32_t flags) {
    uint32_t index;
    if (!free_.empty()) {
      index = free_.back();
      free_.pop_back();
    } else if (all_.size() < kMax) {
      index = static_cast<uint32_t>(all_.size());
      all_.emplace_back();
    } else {
      return 0;
    }
    OpenHandle& handle = all_[index];
    handle.inode = inode;
    handle.core = core;
    handle.flags = flags;
    handle.program = program;
    return (index + 1) | handle.generation << 16;
  }

  // Null: no open handle of this program.
  const OpenHandle* find(uint32_t program, uint32_t number) const {
    const uint32_t index = (number & 0xffff) - 1;
    if (index >= all_.size()) return nullptr;
    const OpenHandle& handle = all_[index];
    const bool is_it = handle.program == program && handle.generation == number >> 16;
    return is_it && program != 0 ? &handle : nullptr;
  }

  // One that find() has found.
  void remove(uint32_t number) {
    const uint32_t index = (number & 0xffff) - 1;
    free_at(index);
  }

  // visit(const OpenHandle&) for each of the program's, which are gone afterwards.
  template <typename Visit>
  void remove_all(uint32_t program, Visit visit) {
    for (uint32_t i = 0; i < all_.size(); i++) {
      if (all_[i].program != program) continue;
      visit(all_[i]);
      free_at(i);
    }
  }

 private:
  void free_at(uint32_t index) {
    OpenHandle& handle = all_[index];
    handle.program = 0;
    handle.generation = (handle.generation + 1) & 0xffff;
    free_.push_back(index);
  }

  std::vector<OpenHandle> all_;
  std::vector<uint32_t> free_;
};

}  // namespace sealfs::intercept
