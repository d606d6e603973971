// Goal: stat(2) of a path that was asked for before, without a system call and without a question.
// Method: the mount process says with its answer what it depends on: cells of the versions that it
// shows (native/common/intercept_layout.h), and for how long it holds. What is remembered is given
// again while all these cells are what they were. The sum of all versions saves looking at them
// while nothing at all has changed.
//
// A table of fixed size in this process's memory: nothing in it is missed when it is gone.
#pragma once

#include <cstdint>

#include "native/common/intercept_layout.h"
#include "native/intercept/places.h"

namespace sealfs::intercept::remembered {

struct Answer {
  uint32_t status = 0;  // 0 or ENOENT
  StatReply attributes;
};

// Longer paths are not remembered.
constexpr size_t kPathBytes = 192;

// A clock that costs no system call; milliseconds, a few behind.
uint64_t now_ms();
// Nothing was ever kept.
bool is_empty();
// False: it is not known, or at `now`, as of now_ms, not any more.
bool find(const Place& place, bool follows, uint64_t now, Answer* answer);
// What was asked for at `asked_ms`. False: it is not to be remembered.
bool keep(const Place& place, bool follows, uint32_t status, const StatAnswer& answer,
          uint64_t asked_ms);
// In the child of a fork.
void forget();

}  // namespace sealfs::intercept::remembered
