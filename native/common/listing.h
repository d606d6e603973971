// Goal: a directory's listing as it comes from the core, on its way to a kernel (native/fuse) or to
// a program (native/intercept_host): packed DirEntry records of the wire, and what the cookies
// mean.
//
// Cookies: what is told is the wire's cookie + kDots, so that "." and ".." have 1 and 2. It is the
// same to both, so a listing may go on with the one where the other has stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "native/common/wire.generated.h"

namespace sealfs {

constexpr uint64_t kDots = 2;

// Of what is told, the part that concerns the core.
inline uint64_t wire_cookie(uint64_t told) { return told < kDots ? 0 : told - kDots; }
// How many of "." and ".." come first: 0, 1 (only ".."), 2.
inline uint32_t dots_behind(uint64_t told) {
  return told < kDots ? static_cast<uint32_t>(kDots - told) : 0;
}

// Walks the records; every length in them is checked.
class ListingCursor {
 public:
  ListingCursor(const uint8_t* records, size_t bytes) : records_(records), left_(bytes) {}

  // False at the end, and at a record that is malformed.
  bool next() {
    if (left_ == 0) return false;
    malformed_ = true;
    if (!take(&entry_, sizeof entry_)) return false;
    if (has_attributes() && !take(&attributes_, sizeof attributes_)) return false;
    const size_t padded = (size_t{entry_.name_bytes} + 7) & ~size_t{7};
    if (entry_.name_bytes == 0 || entry_.name_bytes > wire::kNameBytesMax) return false;
    if (left_ < padded) return false;
    memcpy(name_, records_, entry_.name_bytes);
    name_[entry_.name_bytes] = '\0';
    records_ += padded;
    left_ -= padded;
    malformed_ = false;
    return true;
  }
  bool malformed() const { return malformed_; }

  const wire::DirEntry& entry() const { return entry_; }
  bool has_attributes() const { return entry_.has_attributes != 0; }
  const wire::Attributes& attributes() const { return attributes_; }
  // Of `entry().name_bytes`, with a NUL behind it.
  const char* name() const { return name_; }

 private:
  bool take(void* to, size_t bytes) {
    if (left_ < bytes) return false;
    memcpy(to, records_, bytes);
    records_ += bytes;
    left_ -= bytes;
    return true;
  }

  const uint8_t* records_;
  size_t left_;
  bool malformed_ = false;
  wire::DirEntry entry_{};
  wire::Attributes attributes_{};
  char name_[wire::kNameBytesMax + 1];
};

}  // namespace sealfs
