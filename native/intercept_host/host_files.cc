// Goal: host.h. Here: calls by a descriptor that move no data but change a file or make it durable.
// What is judged here is their form, and how the descriptor was opened; who may change attributes
// is src/client/permissions.ts.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "native/common/arena.h"
#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;

uint64_t allocated_bytes(const Request& request) {
  return uint64_t{request.second_length} << 32 | request.length;
}

bool is_time(int64_t seconds, uint32_t nanoseconds) {
  if (nanoseconds == UTIME_NOW || nanoseconds == UTIME_OMIT) return true;
  return nanoseconds < kNanoseconds && seconds >= -kSecondsMax && seconds <= kSecondsMax;
}

bool is_range(const Request& request) {
  const uint64_t bytes = allocated_bytes(request);
  return (request.flags & ~kAllocateModes) == 0 && request.second_handle == 0 && bytes > 0 &&
         bytes <= wire::kFileBytesMax && request.offset <= wire::kFileBytesMax;
}

uint64_t offset_max_of(CallKind kind) {
  if (kind == CallKind::kFileChangeOwner) return UINT64_MAX;
  return kind == CallKind::kFileTruncate ? wire::kFileBytesMax : 0;
}

bool is_in_order(const Request& request, CallKind kind) {
  if (kind == CallKind::kFileAllocate) return is_range(request);
  const uint64_t offset_max = offset_max_of(kind);
  const uint32_t length = kind == CallKind::kFileSetTimes ? sizeof(Times) : 0;
  const uint32_t flags = kind == CallKind::kFileChangeMode ? kModeMask : 0;
  return request.length == length && (request.flags & ~flags) == 0 && request.second_handle == 0 &&
         request.second_length == 0 && request.offset <= offset_max;
}

bool changes_data(CallKind kind) {
  return kind == CallKind::kFileTruncate || kind == CallKind::kFileAllocate;
}

bool is_opened_for(const OpenHandle& handle, CallKind kind) {
  if ((handle.flags & O_DIRECTORY) != 0) return false;
  return !changes_data(kind) || may_write(handle.flags);
}

// However the descriptor was opened, the kernel asks who the caller is, and whether the mount may
// be changed.
bool asks_who(CallKind kind) { return kind != CallKind::kFileSync && !changes_data(kind); }

}  // namespace

bool are_in_order(const Times& times) {
  const bool is_nothing =
      times.atime_nanoseconds == UTIME_OMIT && times.mtime_nanoseconds == UTIME_OMIT;
  return !is_nothing && is_time(times.atime_seconds, times.atime_nanoseconds) &&
         is_time(times.mtime_seconds, times.mtime_nanoseconds);
}

// False: there is no slot for it now.
bool Host::take_file(Program* program, uint32_t lane, const Request& request, CallKind kind) {
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  Times times{};
  if (kind == CallKind::kFileSetTimes) {
    memcpy(&times, program->region->data(lane), sizeof times);
  }
  if (handle == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
  } else if (!is_in_order(request, kind) ||
             (kind == CallKind::kFileSetTimes && !are_in_order(times))) {
    refuse(program, lane, Fallback::kBadRequest);
  } else if (!is_opened_for(*handle, kind)) {
    refuse(program, lane, Fallback::kMode);
  } else if (asks_who(kind) && !may_change(*program)) {
    refuse(program, lane, Fallback::kPath);
  } else {
    const uint32_t slot = kind == CallKind::kFileSetTimes ? take_slot(kMessageSlot) : 0;
    if (kind == CallKind::kFileSetTimes) {
      if (slot == 0) return false;
      memcpy(arena_->at(slot), &times, sizeof times);
    }
    CallRecord fields{};
    fields.flags = request.flags;
    fields.handle = handle->core;
    fields.offset = request.offset;
    if (kind == CallKind::kFileAllocate) fields.second_inode = allocated_bytes(request);
    if (kind == CallKind::kFileChangeOwner) set_owner(request, &fields);
    push_call(program, {.lane = lane, .kind = kind, .slot = slot, .inode = handle->inode}, fields);
  }
  return true;
}

}  // namespace sealfs::intercept
