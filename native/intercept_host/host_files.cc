// Goal: host.h. Here: calls by a descriptor that move no data but change a file or make it durable.
#include <fcntl.h>

#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

bool is_in_order(const Request& request, CallKind kind) {
  const uint64_t offset_max = kind == CallKind::kFileTruncate ? wire::kFileBytesMax : 0;
  return request.length == 0 && request.flags == 0 && request.second_handle == 0 &&
         request.second_length == 0 && request.offset <= offset_max;
}

bool is_opened_for(const OpenHandle& handle, CallKind kind) {
  if ((handle.flags & O_DIRECTORY) != 0) return false;
  return kind != CallKind::kFileTruncate || may_write(handle.flags);
}

}  // namespace

// False: there is no slot for it now.
bool Host::take_file(Program* program, uint32_t lane, const Request& request, CallKind kind) {
  const OpenHandle* handle = handles_.find(program->number, request.handle);
  if (handle == nullptr) {
    refuse(program, lane, Fallback::kBadHandle);
  } else if (!is_in_order(request, kind)) {
    refuse(program, lane, Fallback::kBadRequest);
  } else if (!is_opened_for(*handle, kind)) {
    refuse(program, lane, Fallback::kMode);
  } else {
    CallRecord fields{};
    fields.handle = handle->core;
    fields.offset = request.offset;
    Call call;
    call.lane = lane;
    call.kind = kind;
    call.inode = handle->inode;
    push_call(program, call, fields);
  }
  return true;
}

}  // namespace sealfs::intercept
