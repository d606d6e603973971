// Goal: host.h. Here: directories that are read by a descriptor. That it was opened for reading,
// the kernel has judged. The core's records become what getdents64(2) gives (ListedEntry).
#include <fcntl.h>
#include <string.h>

#include <algorithm>

#include "native/common/arena.h"
#include "native/common/listing.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

constexpr uint32_t kTypeDirectory = 4;  // DT_DIR
constexpr uint32_t kTypeShift = 12;     // a mode's type bits are DT_* from here on

constexpr size_t entry_bytes(size_t name_bytes) {
  return (offsetof(ListedEntry, name) + name_bytes + 1 + 7) & ~size_t{7};
}
constexpr size_t kDotBytes = entry_bytes(2);
static_assert(kDotBytes == entry_bytes(1));
// No entry is longer than the core's record of it, so what has room for these has room for all.
static_assert(sizeof(wire::DirEntry) >= offsetof(ListedEntry, name) + 1 + 4);

bool is_opened_for(const OpenHandle& handle) {
  return (handle.flags & O_DIRECTORY) != 0 && (handle.flags & O_PATH) == 0 &&
         (handle.flags & O_ACCMODE) == O_RDONLY;
}

bool is_in_order(const Request& request) {
  return request.length >= kListingBytesMin && request.length <= kDataBytes && request.flags == 0 &&
         request.second_handle == 0 && request.second_length == 0 &&
         request.offset <= wire::kFileBytesMax;
}

class Packer {
 public:
  Packer(uint8_t* out, size_t room) : out_(out), room_(room) {}

  // False: it does not fit.
  bool add(const char* name, size_t name_bytes, uint64_t inode, uint32_t type, uint64_t cookie) {
    const size_t bytes = entry_bytes(name_bytes);
    if (bytes > room_ - used_) return false;
    ListedEntry entry{};
    entry.inode = inode;
    entry.cookie = cookie;
    entry.record_bytes = static_cast<uint16_t>(bytes);
    entry.type = static_cast<uint8_t>(type);
    uint8_t* at = out_ + used_;
    memset(at + bytes - 8, 0, 8);
    memcpy(at, &entry, offsetof(ListedEntry, name));
    memcpy(at + offsetof(ListedEntry, name), name, name_bytes);
    at[offsetof(ListedEntry, name) + name_bytes] = 0;
    used_ += bytes;
    return true;
  }
  size_t used() const { return used_; }

 private:
  uint8_t* const out_;
  const size_t room_;
  size_t used_ = 0;
};

}  // namespace

// False: there is no slot for it now.
bool Host::take_listing(Program* program, uint32_t lane, const Request& request) {
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  if (handle == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
  } else if (!is_in_order(request)) {
    refuse(program, lane, Fallback::kBadRequest);
  } else if (!is_opened_for(*handle)) {
    refuse(program, lane, Fallback::kMode);
  } else {
    const uint32_t slot = take_slot(request.length);
    if (slot == 0) return false;
    const uint32_t dots = dots_behind(request.offset);
    CallRecord fields{};
    fields.flags = handle->flags;
    fields.handle = handle->core;
    fields.offset = wire_cookie(request.offset);
    fields.length_bytes = (request.length - dots * static_cast<uint32_t>(kDotBytes)) & ~7u;
    push_call(program,
              {.lane = lane,
               .kind = CallKind::kReadDirectory,
               .slot = slot,
               .length = request.length,
               .inode = handle->inode,
               .dots = dots},
              fields);
  }
  return true;
}

// Into the data area. `value`: of the records, which lie in the slot; what the program is told
// then.
bool Host::reply_listing(const Call& call, uint64_t* value) {
  const uint64_t records = *value & (kListingEnds - 1);
  bool ends = (*value & kListingEnds) != 0;
  if (records > call.length) return false;
  Packer packer(call.program->region->data(call.lane), call.length);
  if (call.dots >= 2) packer.add(".", 1, call.inode, kTypeDirectory, 1);
  if (call.dots >= 1) packer.add("..", 2, call.inode, kTypeDirectory, kDots);
  ListingCursor cursor(arena_->at(call.slot), records);
  while (cursor.next()) {
    const wire::DirEntry& entry = cursor.entry();
    const uint32_t type = entry.mode >> kTypeShift & 15;
    if (!packer.add(cursor.name(), entry.name_bytes, entry.inode, type, entry.cookie + kDots)) {
      ends = false;
      break;
    }
  }
  *value = packer.used() | (ends ? kListingEnds : 0);
  return !cursor.malformed();
}

}  // namespace sealfs::intercept
