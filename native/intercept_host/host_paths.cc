// Goal: host.h. Here: calls by path. What is judged here is their form, and where they begin;
// permissions on the way are src/client/path-walk.ts.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "native/common/arena.h"
#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

// renameat2(2), of which the others are the kernel's.
constexpr uint32_t kRenameFlags = 3;
static_assert(2 * kPathBytesMax <= kMessageSlot);

bool has_second_path(CallKind kind) { return kind == CallKind::kRename || kind == CallKind::kLink; }

bool has_second_text(CallKind kind) {
  return has_second_path(kind) || kind == CallKind::kSymlink || kind == CallKind::kSetTimes;
}

bool changes(const Request& request, CallKind kind) {
  // "May I write?" has another answer where nothing may be changed.
  if (kind == CallKind::kAccess) return (request.flags & W_OK) != 0;
  return kind != CallKind::kStat && kind != CallKind::kReadLink;
}

uint32_t known_flags(CallKind kind) {
  switch (kind) {
    case CallKind::kStat:
    case CallKind::kLink:
    case CallKind::kChangeOwner:
    case CallKind::kSetTimes:
      return kNoFollow;
    case CallKind::kChangeMode:
      return kModeMask;
    case CallKind::kMakeDirectory:
      return kDirectoryModeMask | kUmaskMask << kUmaskShift;
    case CallKind::kMakeNode:
      return kNodeModeMask | kUmaskMask << kUmaskShift;
    case CallKind::kAccess:
      return R_OK | W_OK | X_OK;
    case CallKind::kRename:
      return kRenameFlags;
    default:
      return 0;
  }
}

// Devices are the kernel's, which asks who may make them.
bool is_plain_node(uint32_t mode) { return S_ISREG(mode) || S_ISFIFO(mode) || S_ISSOCK(mode); }

bool is_in_order(const Request& request, CallKind kind) {
  if (request.length > kPathBytesMax || request.second_length > kPathBytesMax) return false;
  if (kind == CallKind::kMakeNode && !is_plain_node(request.flags)) return false;
  if (kind == CallKind::kTruncate && request.offset > wire::kFileBytesMax) return false;
  if (kind == CallKind::kSetTimes && request.second_length != sizeof(Times)) return false;
  const bool has_length = request.second_length > 0;
  const bool has_handle = request.second_handle != 0;
  return (request.flags & ~known_flags(kind)) == 0 && has_length == has_second_text(kind) &&
         has_handle == has_second_path(kind);
}

// Where Times lie behind a path, as JavaScript reads them.
uint32_t times_offset(const Request& request) { return (request.length + 7) & ~7u; }
static_assert(kPathBytesMax + 8 + sizeof(Times) <= kMessageSlot);

bool is_directory(const OpenHandle* handle) { return (handle->flags & O_DIRECTORY) != 0; }

}  // namespace

void set_owner(const Request& request, CallRecord* fields) {
  fields->offset = request.offset & UINT32_MAX;
  fields->gid = static_cast<uint32_t>(request.offset >> kGroupShift);
}

// False: the kernel knows what the path leads to, or whether it may be changed.
bool Host::may_walk(const Program& program, const Request& request, CallKind kind) {
  if (mounts_.is_covered()) return false;
  // Changes ask more of who makes them: one that is somebody else by now is asked by the kernel.
  return !changes(request, kind) || may_change(program);
}

bool Host::may_change(const Program& program) {
  return !mounts_.is_read_only() && program.witness.is_same();
}

// Path and second text, or Times. False: these are not in order.
bool Host::copy_texts(const Program& program, uint32_t lane, const Request& request, CallKind kind,
                      uint8_t* to) {
  const uint8_t* from = program.region->data(lane);
  if (kind != CallKind::kSetTimes) {
    memcpy(to, from, request.length + request.second_length);
    return true;
  }
  Times times;
  memcpy(&times, from + request.length, sizeof times);
  memcpy(to, from, request.length);
  memcpy(to + times_offset(request), &times, sizeof times);
  return are_in_order(times);
}

// False: there is no slot for it now.
bool Host::take_path(Program* program, uint32_t lane, const Request& request, CallKind kind) {
  const OpenHandle* base = handles_.find(program->number, request.handle);
  const bool has_second = has_second_path(kind);
  const uint32_t mounts_version = versions_->of(kMountsCell);
  const OpenHandle* second =
      has_second ? handles_.find(program->number, request.second_handle) : base;
  if (!is_in_order(request, kind)) {
    refuse(program, lane, Fallback::kBadRequest);
  } else if (base == nullptr || second == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
  } else if (!is_directory(base) || !is_directory(second)) {
    refuse(program, lane, Fallback::kMode);
  } else if (!may_walk(*program, request, kind)) {
    refuse(program, lane, Fallback::kPath);
  } else {
    const uint32_t slot = take_slot(kMessageSlot);
    if (slot == 0) return false;
    if (!copy_texts(*program, lane, request, kind, arena_->at(slot))) {
      give_slot(slot);
      refuse(program, lane, Fallback::kBadRequest);
      return true;
    }
    CallRecord fields{};
    if (kind == CallKind::kTruncate) fields.offset = request.offset;
    if (kind == CallKind::kChangeOwner) set_owner(request, &fields);
    fields.flags = request.flags;
    fields.handle = base->core;
    fields.length_bytes = request.length;
    fields.second_inode = has_second ? second->inode : 0;
    fields.second_bytes = request.second_length;
    push_call(program,
              {.lane = lane,
               .kind = kind,
               .slot = slot,
               .inode = base->inode,
               .mounts_version = mounts_version},
              fields);
  }
  return true;
}

}  // namespace sealfs::intercept
