// Goal and method: host.h. Here: a program's calls, checked, on their way to JavaScript and back.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <algorithm>

#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

// Descriptors that are opened in these ways are the kernel's alone: see docs/intercept.md.
constexpr uint32_t kKernelModes = O_DIRECT;
// What the kernel calls the root of a mount.
constexpr uint64_t kRootNode = 1;

bool may_read(uint32_t flags) {
  return (flags & (O_PATH | O_DIRECTORY)) == 0 && (flags & O_ACCMODE) != O_WRONLY;
}

StatReply stat_reply(const wire::Attributes& from) {
  StatReply to{};
  to.inode = from.inode;
  to.size = from.size_bytes;
  to.blocks = from.blocks;
  to.atime_seconds = from.atime_seconds;
  to.mtime_seconds = from.mtime_seconds;
  to.ctime_seconds = from.ctime_seconds;
  to.atime_nanoseconds = from.atime_nanoseconds;
  to.mtime_nanoseconds = from.mtime_nanoseconds;
  to.ctime_nanoseconds = from.ctime_nanoseconds;
  to.mode = from.mode;
  to.links = from.link_count;
  to.uid = from.uid;
  to.gid = from.gid;
  to.rdev = from.rdev;
  return to;
}

bool is_stat(CallKind kind) { return kind == CallKind::kStat || kind == CallKind::kFileStat; }

bool answers_xattr(CallKind kind) {
  return kind == CallKind::kGetXattr || kind == CallKind::kListXattr;
}

}  // namespace

void Host::refuse(Program* program, uint32_t lane, Fallback why) {
  counters_.fallbacks++;
  program->region->done(lane, static_cast<uint32_t>(why), 0);
}

// Room for one more call, and for the record of a close or a death beside it.
bool Host::has_room() const { return !free_.empty() && !records_.full(); }

uint32_t Host::take_slot(uint32_t bytes) {
  if (bytes <= kMessageSlot && arena_->free_messages() > options_.keep_messages) {
    return arena_->take_message();
  }
  return arena_->free_bulk() > options_.keep_bulk ? arena_->take_bulk() : 0;
}

void Host::give_slot(uint32_t slot) {
  if (slot != 0 && !arena_->give_message(slot)) (void)arena_->give_bulk(slot);
}

// Arena offset of a lane's data; 0: it is not in the arena, or not all of it.
uint32_t Host::data_in_share(const Program& program, uint32_t lane) {
  const bool has_one = program.share != 0 && lane < kShareBytes / kDataBytes;
  return has_one ? program.share + lane * kDataBytes : 0;
}

void Host::take_calls(Program* program) {
  uint64_t lanes = program->region->take_bells();
  while (lanes != 0) {
    const auto lane = static_cast<uint32_t>(__builtin_ctzll(lanes));
    if (!has_room() || !take_call(program, lane)) {
      program->region->put_back(lanes);
      return;
    }
    lanes &= lanes - 1;
  }
}

// False: there is no slot for it now.
bool Host::take_call(Program* program, uint32_t lane) {
  const Request request = program->region->request(lane);
  switch (static_cast<Operation>(request.operation)) {
    case Operation::kOpen:
      return take_open(program, lane, request);
    case Operation::kClose:
      take_close(program, lane, request);
      return true;
    case Operation::kRead:
      return take_data(program, lane, request, CallKind::kRead);
    case Operation::kWrite:
      return take_data(program, lane, request, CallKind::kWrite);
    case Operation::kStat:
      return take_path(program, lane, request, CallKind::kStat);
    case Operation::kFileStat:
      return take_data(program, lane, request, CallKind::kFileStat);
    case Operation::kFileSync:
      return take_file(program, lane, request, CallKind::kFileSync);
    case Operation::kFileTruncate:
      return take_file(program, lane, request, CallKind::kFileTruncate);
    case Operation::kFileChangeMode:
      return take_file(program, lane, request, CallKind::kFileChangeMode);
    case Operation::kFileSetTimes:
      return take_file(program, lane, request, CallKind::kFileSetTimes);
    case Operation::kFileAllocate:
      return take_file(program, lane, request, CallKind::kFileAllocate);
    case Operation::kFileChangeOwner:
      return take_file(program, lane, request, CallKind::kFileChangeOwner);
    case Operation::kUnlink:
      return take_path(program, lane, request, CallKind::kUnlink);
    case Operation::kRemoveDirectory:
      return take_path(program, lane, request, CallKind::kRemoveDirectory);
    case Operation::kMakeDirectory:
      return take_path(program, lane, request, CallKind::kMakeDirectory);
    case Operation::kAccess:
      return take_path(program, lane, request, CallKind::kAccess);
    case Operation::kReadLink:
      return take_path(program, lane, request, CallKind::kReadLink);
    case Operation::kRename:
      return take_path(program, lane, request, CallKind::kRename);
    case Operation::kLink:
      return take_path(program, lane, request, CallKind::kLink);
    case Operation::kSymlink:
      return take_path(program, lane, request, CallKind::kSymlink);
    case Operation::kTruncate:
      return take_path(program, lane, request, CallKind::kTruncate);
    case Operation::kChangeMode:
      return take_path(program, lane, request, CallKind::kChangeMode);
    case Operation::kChangeOwner:
      return take_path(program, lane, request, CallKind::kChangeOwner);
    case Operation::kSetTimes:
      return take_path(program, lane, request, CallKind::kSetTimes);
    case Operation::kMakeNode:
      return take_path(program, lane, request, CallKind::kMakeNode);
    case Operation::kReadDirectory:
      return take_listing(program, lane, request);
    case Operation::kGetXattr:
      return take_xattr(program, lane, request, CallKind::kGetXattr);
    case Operation::kSetXattr:
      return take_xattr(program, lane, request, CallKind::kSetXattr);
    case Operation::kListXattr:
      return take_xattr(program, lane, request, CallKind::kListXattr);
    case Operation::kRemoveXattr:
      return take_xattr(program, lane, request, CallKind::kRemoveXattr);
  }
  refuse(program, lane, Fallback::kBadRequest);
  return true;
}

void Host::push_call(Program* program, Call call, CallRecord fields) {
  const uint32_t index = free_.back();
  free_.pop_back();
  call.program = program;
  calls_[index] = call;
  program->calls++;
  counters_.calls++;
  fields.call = index;
  fields.slot = call.slot;
  fields.inode = call.inode;
  push(call.kind, *program, fields);
}

bool Host::take_open(Program* program, uint32_t lane, const Request& request) {
  Descriptor descriptor;
  const bool is_there = program->witness.descriptor(request.handle, options_.device, &descriptor);
  if (descriptor.inode == kRootNode) descriptor.inode = options_.root_inode;
  const bool by_name = (descriptor.flags & O_PATH) != 0 && (descriptor.flags & O_DIRECTORY) == 0;
  if (!is_there || descriptor.inode != request.offset) {
    refuse(program, lane, Fallback::kNotHere);
  } else if ((descriptor.flags & kKernelModes) != 0 || by_name) {
    refuse(program, lane, Fallback::kMode);
  } else {
    CallRecord fields{};
    fields.flags = descriptor.flags;
    push_call(program,
              {.lane = lane,
               .kind = CallKind::kOpen,
               .inode = descriptor.inode,
               .flags = descriptor.flags},
              fields);
  }
  return true;
}

void Host::take_close(Program* program, uint32_t lane, const Request& request) {
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  if (handle != nullptr) {
    CallRecord fields{};
    fields.handle = handle->core;
    push(CallKind::kClose, *program, fields);
    handles_.remove(request.handle);
    program->handles--;
  }
  program->region->done(lane, 0, 0);
}

bool Host::take_data(Program* program, uint32_t lane, const Request& request, CallKind kind) {
  const bool reads = kind == CallKind::kRead;
  const bool writes = kind == CallKind::kWrite;
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  if (handle == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
    return true;
  }
  if ((reads && !may_read(handle->flags)) || (writes && !may_write(handle->flags)) ||
      (handle->flags & O_DIRECTORY) != 0) {
    refuse(program, lane, Fallback::kMode);
    return true;
  }
  const bool is_data = reads || writes;
  const uint32_t length_max = is_data ? kDataBytes : 0;
  const bool fits = request.length <= length_max && (!is_data || request.length > 0) &&
                    request.offset <= wire::kFileBytesMax - request.length;
  if (!fits) {
    refuse(program, lane, Fallback::kBadRequest);
    return true;
  }
  const uint32_t shared = is_data ? data_in_share(*program, lane) : 0;
  const uint32_t slot = shared != 0 ? shared : take_slot(is_data ? request.length : kMessageSlot);
  if (slot == 0) return false;
  if (writes && shared == 0) memcpy(arena_->at(slot), program->region->data(lane), request.length);

  CallRecord fields{};
  fields.flags = handle->flags;
  fields.handle = handle->core;
  fields.offset = request.offset;
  fields.length_bytes = request.length;
  push_call(program,
            {.lane = lane,
             .kind = kind,
             .slot = slot,
             .in_share = shared != 0,
             .length = request.length,
             .inode = handle->inode},
            fields);
  return true;
}

// Into the data area: how much it is.
uint64_t Host::reply_stat(const Call& call, uint32_t status) {
  const uint8_t* slot = arena_->at(call.slot);
  StatAnswer answer{};
  if (status == 0) {
    wire::Attributes attributes;
    memcpy(&attributes, slot, sizeof attributes);
    answer.attributes = stat_reply(attributes);
  }
  if (call.kind == CallKind::kStat) {
    uint32_t head[2];
    memcpy(head, slot + sizeof(wire::Attributes), sizeof head);
    const uint32_t count = std::min(head[1], kDependenciesMax - 1);
    answer.valid_ms = count == 0 ? 0 : head[0];
    memcpy(answer.dependencies, slot + sizeof(wire::Attributes) + sizeof head,
           count * sizeof(Dependency));
    answer.dependencies[count] = {kMountsCell, call.mounts_version};
    answer.count = count + 1;
  }
  memcpy(call.program->region->data(call.lane), &answer, sizeof answer);
  return sizeof answer;
}

void Host::submit() {
  for (uint32_t i = 0; i < answers_.count(); i++) {
    AnswerRecord record;
    memcpy(&record, answers_.record(i), sizeof record);
    answer(record);
  }
  answers_.clear();
}

void Host::answer(const AnswerRecord& record) {
  if (record.call >= kCalls || calls_[record.call].program == nullptr) return;
  const Call call = calls_[record.call];
  calls_[record.call].program = nullptr;
  free_.push_back(record.call);
  reply(call, record);
  if (!call.in_share) give_slot(call.slot);
  Program* program = call.program;
  program->calls--;
  if (program->gone) sweep();
}

void Host::reply(const Call& call, const AnswerRecord& record) {
  Program& program = *call.program;
  uint32_t status = record.status;
  uint64_t value = record.value;
  if (status == 0 && call.kind == CallKind::kOpen) {
    const bool has_room = !program.gone && program.handles < kHandlesMax;
    const uint32_t handle =
        has_room ? handles_.add(program.number, call.inode, value, call.flags) : 0;
    if (handle != 0) {
      program.handles++;
    } else {
      CallRecord fields{};
      fields.handle = value;
      push(CallKind::kClose, program, fields);
      status = static_cast<uint32_t>(Fallback::kFull);
    }
    value = handle;
  }
  if (program.gone) return;
  if (status == 0 && call.kind == CallKind::kRead) {
    value = std::min<uint64_t>(value, call.length);
    if (!call.in_share) memcpy(program.region->data(call.lane), arena_->at(call.slot), value);
  } else if (status == 0 && call.kind == CallKind::kReadLink) {
    value = std::min<uint64_t>(value, kPathBytesMax);
    memcpy(program.region->data(call.lane), arena_->at(call.slot), value);
  } else if (status == 0 && call.kind == CallKind::kReadDirectory) {
    if (!reply_listing(call, &value)) status = static_cast<uint32_t>(Fallback::kOverloaded);
  } else if (status == 0 && answers_xattr(call.kind)) {
    if (call.length > 0) value = std::min<uint64_t>(value, call.length);
    const uint64_t copied = call.length > 0 ? value : 0;
    memcpy(program.region->data(call.lane), arena_->at(call.slot) + call.value_at, copied);
  } else if ((status == 0 || status == ENOENT) && is_stat(call.kind)) {
    value = reply_stat(call, status);
  }
  program.region->done(call.lane, status, value);
}

}  // namespace sealfs::intercept
