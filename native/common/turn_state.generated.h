// Generated from schema/ by `npm run generate`; do not edit.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sealfs {

struct TurnState {
  uint32_t turn_wanted;
  uint32_t reserved;
  double wall_seconds;
  double wall_nanoseconds;
  double turns;
  double records;
  double polls;
  double sleeps;
  double spin_hits;
  double spin_nanoseconds;
};
static_assert(sizeof(TurnState) == 72);
static_assert(offsetof(TurnState, turn_wanted) == 0);
static_assert(offsetof(TurnState, reserved) == 4);
static_assert(offsetof(TurnState, wall_seconds) == 8);
static_assert(offsetof(TurnState, wall_nanoseconds) == 16);
static_assert(offsetof(TurnState, turns) == 24);
static_assert(offsetof(TurnState, records) == 32);
static_assert(offsetof(TurnState, polls) == 40);
static_assert(offsetof(TurnState, sleeps) == 48);
static_assert(offsetof(TurnState, spin_hits) == 56);
static_assert(offsetof(TurnState, spin_nanoseconds) == 64);

}  // namespace sealfs
