// Goal and method: path_call.h.
#include "native/intercept/path_call.h"

#include <string.h>

namespace sealfs::intercept {

PathCall::~PathCall() {
  if (lane_ >= 0) place_.attachment->end(lane_);
}

bool PathCall::find(int directory, const char* path, Place* place, size_t* bytes) {
  if (path == nullptr || !places::may_be_below(path)) return false;
  *place = places::find(directory, path);
  if (place->attachment == nullptr) return false;
  *bytes = strlen(place->path);
  return *bytes > 0 && *bytes <= kPathBytesMax;
}

bool PathCall::begin(int directory, const char* path) {
  return find(directory, path, &place_, &bytes_);
}

bool PathCall::add_path(int directory, const char* path) {
  if (!find(directory, path, &second_, &second_bytes_)) return false;
  text_ = second_.path;
  // Between two mounts the kernel says EXDEV.
  return second_.attachment == place_.attachment;
}

bool PathCall::add_text(const char* text) {
  text_ = text;
  second_bytes_ = text == nullptr ? 0 : strnlen(text, kPathBytesMax + 1);
  return second_bytes_ > 0 && second_bytes_ <= kPathBytesMax;
}

bool PathCall::add_times(const Times& times) {
  text_ = &times;
  second_bytes_ = sizeof times;
  return true;
}

void PathCall::add_value(const void* value, size_t bytes) {
  third_ = value;
  third_bytes_ = bytes;
}

uint32_t PathCall::make(report::Call call, Operation operation, uint32_t flags, uint64_t offset) {
  lane_ = place_.attachment->begin();
  if (lane_ < 0) return kNoLane;
  uint8_t* data = place_.attachment->data(lane_);
  memcpy(data, place_.path, bytes_);
  if (second_bytes_ > 0) memcpy(data + bytes_, text_, second_bytes_);
  if (third_bytes_ > 0) memcpy(data + bytes_ + second_bytes_, third_, third_bytes_);
  Request request{};
  request.operation = static_cast<uint32_t>(operation);
  request.handle = place_.handle;
  request.offset = offset;
  request.length = static_cast<uint32_t>(bytes_);
  request.flags = flags;
  request.second_handle = second_.handle;
  request.second_length = static_cast<uint32_t>(second_bytes_);
  const Reply reply = place_.attachment->call(lane_, request);
  value_ = reply.value;
  report::count(call, reply.status);
  return reply.status;
}

}  // namespace sealfs::intercept
