// Goal: one call by path, or by two, on its way through a lane. Method: each path is cut where a
// directory that the mount process knows begins it (places.h); what is left of it lies in the data
// area of the lane, the second text behind the first.
#pragma once

#include "native/intercept/attachment.h"
#include "native/intercept/places.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {

class PathCall {
 public:
  PathCall() = default;
  PathCall(const PathCall&) = delete;
  PathCall& operator=(const PathCall&) = delete;
  // Gives the lane back.
  ~PathCall();

  // Each returns false when the kernel is to be asked; then nothing has been asked of anybody.
  bool begin(int directory, const char* path);
  bool add_path(int directory, const char* path);
  bool add_text(const char* text);
  bool add_times(const Times& times);
  // Behind the second text; its length is the `offset` of `make`.
  void add_value(const void* value, size_t bytes);

  // Once. 0, an errno, or a reason to ask the kernel (kFallbackFirst and above).
  uint32_t make(report::Call call, Operation operation, uint32_t flags, uint64_t offset = 0);

  // Of the answer, until the end of this.
  const uint8_t* data() const { return place_.attachment->data(lane_); }
  uint64_t value() const { return value_; }
  // Where the first path begins.
  const struct statx& directory() const { return place_.directory; }
  const Place& place() const { return place_; }

 private:
  bool find(int directory, const char* path, Place* place, size_t* bytes);

  Place place_;
  Place second_;
  const void* text_ = nullptr;  // behind the first path
  size_t bytes_ = 0;
  size_t second_bytes_ = 0;
  const void* third_ = nullptr;
  size_t third_bytes_ = 0;
  int lane_ = -1;
  uint64_t value_ = 0;
};

}  // namespace sealfs::intercept
