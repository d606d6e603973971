// Goal: a directory listing as the kernel wants it, from the wire's packed DirEntry records as the
// client core has them in hand. Method: one pass, libfuse packs; what does not fit is left out, the
// kernel asks again with the cookie of the last entry that it got. Cookies:
// native/common/listing.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/common/listing.h"
#include "native/common/wire.generated.h"
#include "native/fuse/libfuse.h"

namespace sealfs::fuse {

struct Timeouts {
  uint32_t entry_ms = 0;
  uint32_t attributes_ms = 0;
};

struct Listing {
  fuse_req_t request = nullptr;  // libfuse wants it; may be null
  bool plus = false;             // READDIRPLUS: records with attributes count as lookups
  uint32_t dots = 0;             // dots_behind()
  uint64_t inode = 0;            // of the directory, for "."
  uint64_t parent = 0;           // for ".."
  uint64_t root = 0;             // inode that the kernel knows as FUSE_ROOT_ID
  Timeouts timeouts;
};

// Packs `bytes` of records at `records` into `out`; returns the bytes written, at most `out_bytes`,
// or -1 when a record is malformed.
ptrdiff_t pack_directory(const Listing& listing, const uint8_t* records, size_t bytes, char* out,
                         size_t out_bytes);

// The kernel's attributes from the wire's. Block size: the wire's block.
void to_kernel_attributes(const wire::Attributes& from, fuse_attr* to);
void to_kernel_entry(const wire::Attributes& from, uint64_t root, const Timeouts& timeouts,
                     fuse_entry_out* to);

}  // namespace sealfs::fuse
