// Goal: host.h. Here: extended attributes, by path or of an open file. What is judged here is the
// form of a call; which names are anybody's but the kernel's, and who may read or change them, is
// src/client/xattr-call.ts.
#include <fcntl.h>
#include <string.h>

#include "native/common/arena.h"
#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

static_assert(kXattrNameMax == wire::kXattrNameBytesMax);
static_assert(kXattrValueMax == wire::kXattrValueBytesMax);
static_assert(kPathBytesMax + kXattrNameMax + 8 + kXattrValueMax <= wire::kBulkSlotBytes);

bool changes(CallKind kind) {
  return kind == CallKind::kSetXattr || kind == CallKind::kRemoveXattr;
}

bool is_in_order(const Request& request, CallKind kind) {
  const uint32_t set_flags = kind == CallKind::kSetXattr ? kXattrFlags << kXattrFlagsShift : 0;
  const uint32_t follow_flags = request.length > 0 ? kNoFollow : 0;
  const uint64_t value_max = kind == CallKind::kRemoveXattr ? 0 : kXattrValueMax;
  const bool has_name = request.second_length > 0;
  return request.length <= kPathBytesMax && request.second_length <= kXattrNameMax &&
         has_name == (kind != CallKind::kListXattr) && request.offset <= value_max &&
         (request.flags & ~(set_flags | follow_flags)) == 0 && request.second_handle == 0;
}

// Where a value lies in the slot, behind the texts: as JavaScript reads it.
uint32_t value_offset(const Request& request) {
  return (request.length + request.second_length + 7) & ~7u;
}

}  // namespace

// False: there is no slot for it now.
bool Host::take_xattr(Program* program, uint32_t lane, const Request& request, CallKind kind) {
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  const bool by_path = request.length > 0;
  if (!is_in_order(request, kind)) {
    refuse(program, lane, Fallback::kBadRequest);
  } else if (handle == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
  } else if (by_path != ((handle->flags & O_DIRECTORY) != 0)) {
    refuse(program, lane, Fallback::kMode);
  } else if ((by_path && mounts_.is_covered()) || (changes(kind) && !may_change(*program))) {
    refuse(program, lane, Fallback::kPath);
  } else {
    const auto value_bytes = static_cast<uint32_t>(request.offset);
    const uint32_t texts = request.length + request.second_length;
    const uint32_t value_at = value_offset(request);
    const uint32_t slot = take_slot(value_at + value_bytes);
    if (slot == 0) return false;
    const uint8_t* from = program->region->data(lane);
    memcpy(arena_->at(slot), from, texts);
    if (kind == CallKind::kSetXattr) {
      memcpy(arena_->at(slot) + value_at, from + texts, value_bytes);
    }
    CallRecord fields{};
    fields.flags = request.flags;
    fields.handle = handle->core;
    fields.offset = value_bytes;
    fields.length_bytes = request.length;
    fields.second_bytes = request.second_length;
    push_call(program,
              {.lane = lane,
               .kind = kind,
               .slot = slot,
               .length = value_bytes,
               .value_at = value_at,
               .inode = handle->inode},
              fields);
  }
  return true;
}

}  // namespace sealfs::intercept
