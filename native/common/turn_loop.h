// Goal: a thread's turns and the decision when to sleep, without libuv and without Node, so that
// it can be tested under a clock of the test's own. native/core/poller.cc puts it on the loop.
//
//             ┌────────────── something harvested ─────────────┐
//             v                                                │
//   wake ─> turn: harvest all ─> JavaScript ─> submit all ─> poll: harvest all, yield
//             ^                                                │ nothing for the spin limit,
//             └──────────── a descriptor is ready ── sleep <───┘ and arm() found nothing
//
// Waking a sleeping core costs more than a whole request, so a thread polls on for a short time
// before it sleeps. How long is learnt (SpinLimit): polls that find something lengthen it, polls
// that find nothing shorten it, at once when other threads want the processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "native/common/event_source.h"
#include "native/common/turn_state.generated.h"

namespace sealfs {

constexpr uint32_t kSourcesMax = 32;

// Memory shared with JavaScript (schema/core.fbs): the state, and what each source harvested.
struct TurnMemory {
  TurnState state;
  uint32_t counts[kSourcesMax];
};
static_assert(offsetof(TurnMemory, counts) == sizeof(TurnState));

// How long to poll before sleeping, learnt from what polling and sleeping brought.
class SpinLimit {
 public:
  explicit SpinLimit(uint64_t max_ns) : max_ns_(max_ns), now_ns_(max_ns) {}
  uint64_t nanoseconds() const { return now_ns_; }
  void set_max(uint64_t max_ns) { max_ns_ = now_ns_ = max_ns; }
  // Polling found an event.
  void hit();
  // Polling found nothing; `contended`: a yield let another thread run.
  void miss(bool contended);
  // A sleep ended after so long: a short one says that polling would have paid.
  void woke_after(uint64_t slept_ns);

 private:
  uint64_t max_ns_;
  uint64_t now_ns_;
};

class TurnLoop {
 public:
  using Clock = uint64_t (*)();  // monotonic nanoseconds

  static constexpr uint64_t kSpinNs = 50'000;          // nothing outstanding
  static constexpr uint64_t kSpinWaitingNs = 200'000;  // an answer is on its way
  static constexpr uint64_t kSliceNs = 1'000'000;      // then the rest of the loop has its turn
  static constexpr uint64_t kSlowYieldNs = 15'000;     // a longer yield: another thread ran

  // `on_turn` is the one JavaScript call of a turn.
  explicit TurnLoop(std::function<void()> on_turn, Clock clock = monotonic_ns);
  ~TurnLoop();
  TurnLoop(const TurnLoop&) = delete;
  TurnLoop& operator=(const TurnLoop&) = delete;

  // The source's number, or -1 with errno set (ENOSPC: too many). Its descriptor is watched.
  int add(std::shared_ptr<EventSource> source);
  void remove(uint32_t number);
  void close();  // drops all sources; run() then does nothing

  // Takes turns and polls until it is time to sleep (false) or the slice is over (true: call again
  // after the rest of the loop had its turn).
  bool run();
  // Outside a turn: starts what JavaScript has put into submission rings; the next run polls.
  void kick();
  void stamp_wall_clock();

  int fd() const { return epoll_fd_; }  // readable when a source is
  bool in_turn() const { return in_turn_; }
  TurnMemory& memory() { return memory_; }
  TurnState& state() { return memory_.state; }
  void set_spin(uint64_t idle_ns, uint64_t waiting_ns);

  static uint64_t monotonic_ns();

 private:
  bool turn();
  bool work_before_sleep();
  SpinLimit& spin();
  void submit_all();

  TurnMemory memory_{};
  std::function<void()> on_turn_;
  Clock clock_;
  int epoll_fd_;
  std::vector<std::shared_ptr<EventSource>> sources_;
  SpinLimit idle_{kSpinNs};
  SpinLimit waiting_{kSpinWaitingNs};
  bool in_turn_ = false;
  bool asleep_ = true;
  bool contended_ = false;
  uint64_t last_event_ns_ = 0;
  uint64_t slept_at_ns_ = 0;
  uint32_t empty_polls_ = 0;
};

}  // namespace sealfs
