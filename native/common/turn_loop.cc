// Goal and diagram: turn_loop.h.
#include "native/common/turn_loop.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sealfs {
namespace {

// A spin shorter than this finds nothing that a sleep would not have found as fast.
constexpr uint64_t kSpinMinNs = 5'000;

}  // namespace

void SpinLimit::hit() { now_ns_ = std::min(max_ns_, now_ns_ * 2); }

void SpinLimit::miss(bool contended) {
  const uint64_t less = contended ? now_ns_ / 2 : now_ns_ - now_ns_ / 8;
  now_ns_ = std::max(std::min(kSpinMinNs, max_ns_), less);
}

void SpinLimit::woke_after(uint64_t slept_ns) {
  // The sleep includes the price of waking, which polling would not have paid: hence twice.
  if (slept_ns <= 2 * max_ns_) now_ns_ = max_ns_;
}

uint64_t TurnLoop::monotonic_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

TurnLoop::TurnLoop(std::function<void()> on_turn, Clock clock)
    : on_turn_(std::move(on_turn)), clock_(clock), epoll_fd_(epoll_create1(EPOLL_CLOEXEC)) {}

TurnLoop::~TurnLoop() {
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

int TurnLoop::add(std::shared_ptr<EventSource> source) {
  size_t number = 0;
  while (number < sources_.size() && sources_[number]) number++;
  if (number == kSourcesMax) {
    errno = ENOSPC;
    return -1;
  }
  if (source->fd() >= 0) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, source->fd(), &event) != 0) return -1;
  }
  if (number == sources_.size()) sources_.emplace_back();
  sources_[number] = std::move(source);
  memory_.counts[number] = 0;
  return static_cast<int>(number);
}

void TurnLoop::remove(uint32_t number) {
  if (number >= sources_.size() || !sources_[number]) return;
  // The engine may have closed its descriptor already, which ended the watch by itself.
  if (sources_[number]->fd() >= 0) {
    (void)epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, sources_[number]->fd(), nullptr);
  }
  sources_[number].reset();
  memory_.counts[number] = 0;
}

void TurnLoop::close() {
  for (uint32_t i = 0; i < sources_.size(); i++) remove(i);
}

void TurnLoop::set_spin(uint64_t idle_ns, uint64_t waiting_ns) {
  idle_.set_max(idle_ns);
  waiting_.set_max(waiting_ns);
}

void TurnLoop::stamp_wall_clock() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  memory_.state.wall_seconds = static_cast<double>(now.tv_sec);
  memory_.state.wall_nanoseconds = static_cast<double>(now.tv_nsec);
}

void TurnLoop::submit_all() {
  for (size_t i = 0; i < sources_.size(); i++) {
    if (sources_[i]) sources_[i]->submit();
  }
}

void TurnLoop::kick() {
  if (in_turn_) return;  // submit follows by itself
  submit_all();
  asleep_ = false;
  empty_polls_ = 0;
  last_event_ns_ = clock_();
}

bool TurnLoop::turn() {
  uint32_t total = 0;
  for (size_t i = 0; i < sources_.size(); i++) {
    const uint32_t count = sources_[i] ? sources_[i]->harvest() : 0;
    memory_.counts[i] = count;
    total += count;
  }
  if (total == 0 && memory_.state.turn_wanted == 0) {
    memory_.state.polls++;
    return false;
  }
  memory_.state.turn_wanted = 0;
  memory_.state.turns++;
  memory_.state.records += total;
  stamp_wall_clock();
  in_turn_ = true;
  on_turn_();
  in_turn_ = false;
  submit_all();
  return true;
}

SpinLimit& TurnLoop::spin() {
  for (const auto& source : sources_) {
    if (source && source->outstanding() > 0) return waiting_;
  }
  return idle_;
}

bool TurnLoop::work_before_sleep() {
  bool work = memory_.state.turn_wanted != 0;
  // All of them, without a short cut: each may have to request its notification.
  for (const auto& source : sources_) {
    if (source && source->arm()) work = true;
  }
  return work;
}

bool TurnLoop::run() {
  const uint64_t began = clock_();
  bool woke = asleep_;
  if (woke) {
    asleep_ = false;
    last_event_ns_ = began;
    empty_polls_ = 0;
  }
  for (;;) {
    uint64_t now;
    if (turn()) {
      if (woke) {
        spin().woke_after(began - slept_at_ns_);
      } else if (empty_polls_ > 0) {
        spin().hit();
        memory_.state.spin_hits++;
      }
      woke = false;
      empty_polls_ = 0;
      contended_ = false;
      now = last_event_ns_ = clock_();
    } else {
      empty_polls_++;
      now = clock_();
      SpinLimit& limit = spin();
      if (now - last_event_ns_ < limit.nanoseconds()) {
        sched_yield();
        const uint64_t after = clock_();
        if (after - now > kSlowYieldNs) contended_ = true;
        now = after;
      } else if (!work_before_sleep()) {
        limit.miss(contended_);
        memory_.state.spin_nanoseconds = static_cast<double>(idle_.nanoseconds());
        memory_.state.sleeps++;
        contended_ = false;
        asleep_ = true;
        slept_at_ns_ = now;
        return false;
      }
    }
    if (now - began >= kSliceNs) return true;
  }
}

}  // namespace sealfs
