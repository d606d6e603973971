// Goal: the times of utimensat(2) and its elders, as the mount process reads them. False: the
// kernel is to be asked, for it says EINVAL of them, does nothing, or cuts what is far away.
#pragma once

#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

#include "native/common/intercept_layout.h"

namespace sealfs::intercept {

inline bool is_shown(const timespec& time) {
  if (time.tv_nsec == UTIME_NOW || time.tv_nsec == UTIME_OMIT) return true;
  return time.tv_nsec >= 0 && time.tv_nsec < 1'000'000'000 && time.tv_sec >= -kSecondsMax &&
         time.tv_sec <= kSecondsMax;
}

// Null: both are now.
inline bool read_times(const timespec* from, Times* to) {
  constexpr timespec kNow[2] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
  if (from == nullptr) from = kNow;
  if (!is_shown(from[0]) || !is_shown(from[1])) return false;
  if (from[0].tv_nsec == UTIME_OMIT && from[1].tv_nsec == UTIME_OMIT) return false;
  *to = Times{from[0].tv_sec, from[1].tv_sec, static_cast<uint32_t>(from[0].tv_nsec),
              static_cast<uint32_t>(from[1].tv_nsec)};
  return true;
}

inline bool read_times(const timeval* from, Times* to) {
  if (from == nullptr) return read_times(static_cast<const timespec*>(nullptr), to);
  timespec times[2];
  for (int i = 0; i < 2; i++) {
    if (from[i].tv_usec < 0 || from[i].tv_usec >= 1'000'000) return false;
    times[i] = {from[i].tv_sec, from[i].tv_usec * 1000};
  }
  return read_times(times, to);
}

inline bool read_times(const utimbuf* from, Times* to) {
  if (from == nullptr) return read_times(static_cast<const timespec*>(nullptr), to);
  const timespec times[2] = {{from->actime, 0}, {from->modtime, 0}};
  return read_times(times, to);
}

}  // namespace sealfs::intercept
