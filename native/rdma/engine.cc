// Goal and method: engine.h. Here: the harvest, and the end of connections.
#include "native/rdma/engine.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace sealfs::rdma {
namespace {

constexpr int kPollBatch = 32;
constexpr uint32_t kPollMax = 1024;  // completions of a device in one harvest
// Asking the connection manager costs a system call. It is asked after each sleep; while the thread
// does not sleep, once in so many harvests, more often while connections open.
constexpr uint32_t kCmPeriod = 64;
constexpr uint32_t kCmPeriodOpening = 8;
constexpr uint32_t kLingerTicks = 2;
constexpr uint64_t kShutdownNs = 50'000'000;

uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

uint32_t completion_reason(const ibv_wc& completion) {
  const bool receive = (completion.wr_id & kReceiveWork) != 0;
  switch (completion.status) {
    case IBV_WC_LOC_LEN_ERR:
    case IBV_WC_LOC_QP_OP_ERR:  // rxe says this of a message that does not fit
      return code(receive ? Reason::kBadMessageBytes : Reason::kCompletionError);
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
      return code(Reason::kLocalProtection);
    case IBV_WC_MW_BIND_ERR:
      return code(Reason::kNoWindow);
    case IBV_WC_WR_FLUSH_ERR:
      return code(Reason::kFlushedByPeer);
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_ABORT_ERR:
      return code(Reason::kRemoteOperation);
    case IBV_WC_REM_ACCESS_ERR:
      return code(Reason::kRemoteAccess);
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return code(Reason::kPeerUnreachable);
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return code(Reason::kReceiverNotReady);
    case IBV_WC_FATAL_ERR:
      return code(Reason::kDeviceGone);
    default:
      return code(Reason::kCompletionError);
  }
}

Engine::Engine(std::shared_ptr<Arena> arena, const Options& options, EventChannel channel,
               int epoll_fd, int timer_fd)
    : arena_(std::move(arena)),
      options_(options),
      epoll_fd_(epoll_fd),
      timer_fd_(timer_fd),
      gathered_(*arena_),
      buffers_(arena_, options.areas_max),
      chain_(std::make_unique<Chain>()),
      channel_(std::move(channel)) {}

Engine::~Engine() {
  shutdown();
  ::close(timer_fd_);
  ::close(epoll_fd_);
}

// ---------------------------------------------------------------- harvest

uint32_t Engine::harvest() {
  records_.clear();
  const bool slept = std::exchange(slept_, false);
  if (slept) {
    for (auto& device : devices_) {
      if (device->armed()) device->take_notifications();
    }
    uint64_t expired;
    if (timer_set_ && read(timer_fd_, &expired, sizeof expired) > 0) timer_set_ = false;
  }
  settle_owing();
  recycle();
  if (!events_.emit(records_)) return records_.count();  // no message before these
  if (!stash_.empty()) {
    std::vector<Stashed> stashed;
    stashed.swap(stash_);
    for (const Stashed& one : stashed) process(*one.device, one.completion);
  }
  serve_stuck();
  for (size_t i = 0; i < devices_.size(); i++) poll(*devices_[i]);
  const uint32_t period = opening_ > 0 ? kCmPeriodOpening : kCmPeriod;
  if (slept || ++harvests_ % period == 0) handle_cm();
  serve_waiting();
  if (!draining_.empty()) end_drains();
  pump_dirty();
  bury_doomed();
  drop_gone_devices();
  (void)events_.emit(records_);  // what is left goes first the next time
  return records_.count();
}

bool Engine::arm() {
  settle_owing();
  pump_dirty();
  bury_doomed();
  for (auto& device : devices_) {
    if (device->armed()) device->take_notifications();
    if (!device->request_notification()) device->gone = true;
    stash(*device);
  }
  drop_gone_devices();
  const bool work = !events_.empty() || !stash_.empty() || !handed_.empty() || !stuck_.empty() ||
                    (!waiting_.empty() && arena_->free_bulk() > 0);
  slept_ = !work;
  return work;
}

// Buffers whose messages JavaScript has seen go back to where the peer may use them.
void Engine::recycle() {
  for (size_t i = 0; i < handed_.size();) {
    const uint32_t id = handed_[i].connection;
    Connection* c = connections_.find(id);
    repost_.clear();
    for (; i < handed_.size() && handed_[i].connection == id; i++) {
      if (c == nullptr || !c->usable()) {
        buffers_.give(handed_[i].buffer);
      } else if (c->backlogged) {
        c->withheld.push_back(handed_[i].buffer);
      } else {
        repost_.push_back(handed_[i].buffer);
      }
    }
    if (repost_.empty()) continue;
    repost(*c, repost_.data(), static_cast<uint32_t>(repost_.size()));
  }
  handed_.clear();
}

void Engine::repost(Connection& c, const uint32_t* buffers, uint32_t count) {
  const uint32_t posted = c.device->post_receives(buffers_, buffers, count);
  for (uint32_t i = posted; i < count; i++) buffers_.give(buffers[i]);
  c.granted += posted;
  mark_owing(c);
}

void Engine::mark_owing(Connection& c) {
  if (c.owing) return;
  c.owing = true;
  owing_.push_back(c.id);
}

// What was granted in the last harvest and has not left with a frame since, leaves by itself.
void Engine::settle_owing() {
  for (const uint32_t id : owing_) {
    Connection* c = connections_.find(id);
    if (c == nullptr) continue;
    c->owing = false;
    if (c->granted - c->told < c->credits / 2 && !c->pull_due) continue;
    c->credit_due = true;
    mark_dirty(*c);
  }
  owing_.clear();
}

void Engine::poll(Device& device) {
  ibv_wc completions[kPollBatch];
  for (uint32_t total = 0; total < kPollMax; total += kPollBatch) {
    const int count = ibv_poll_cq(device.cq(), kPollBatch, completions);
    for (int i = 0; i < count; i++) process(device, completions[i]);
    if (count < kPollBatch) return;
  }
}

void Engine::process(Device& device, const ibv_wc& completion) {
  if (completion.wr_id & kReceiveWork) {
    counters_.receive_completions++;
    on_receive(device, completion);
  } else {
    counters_.signalled_completions++;
    on_sent(completion);
  }
}

void Engine::stash(Device& device) {
  ibv_wc completions[kPollBatch];
  int count;
  do {
    count = ibv_poll_cq(device.cq(), kPollBatch, completions);
    for (int i = 0; i < count; i++) stash_.push_back({&device, completions[i]});
  } while (count == kPollBatch);
}

// The device has no connection left: nothing stashed for it has an owner.
void Engine::forget_stash(Device& device) {
  size_t kept = 0;
  for (const Stashed& one : stash_) {
    if (one.device != &device) {
      stash_[kept++] = one;
    } else if (one.completion.wr_id & kReceiveWork) {
      const uint32_t buffer = static_cast<uint32_t>(one.completion.wr_id);
      device.received(buffer);
      buffers_.give(buffer);
    }
  }
  stash_.resize(kept);
}

void Engine::serve_waiting() {
  if (!waiting_.empty() && arena_->free_bulk() > 0) {
    scratch_.swap(waiting_);
    for (const uint32_t id : scratch_) {
      Connection* c = connections_.find(id);
      if (c == nullptr) continue;
      c->waiting = false;
      mark_dirty(*c);
    }
    scratch_.clear();
  }
  if (starved_.empty()) return;
  scratch_.swap(starved_);
  for (const uint32_t id : scratch_) {
    if (Connection* c = connections_.find(id)) mark_dirty(*c);
  }
  scratch_.clear();
}

void Engine::serve_stuck() {
  if (stuck_.empty()) return;
  scratch_.swap(stuck_);
  for (const uint32_t id : scratch_) {
    Connection* c = connections_.find(id);
    if (c == nullptr) continue;
    c->stuck = false;
    hand_up_ready(*c);
  }
  scratch_.clear();
}

void Engine::pump_dirty() {
  for (size_t i = 0; i < dirty_.size(); i++) {
    Connection* c = connections_.find(dirty_[i]);
    if (c == nullptr) continue;
    c->dirty = false;
    pump(*c);
  }
  dirty_.clear();
}

// Something is to be found by a harvest that nothing else would wake the thread for.
void Engine::wake_after(uint32_t milliseconds) {
  itimerspec when{};
  when.it_value.tv_sec = milliseconds / 1000;
  when.it_value.tv_nsec = milliseconds == 0 ? 1 : milliseconds % 1000 * 1'000'000;
  if (timerfd_settime(timer_fd_, 0, &when, nullptr) == 0) timer_set_ = true;
}

// ---------------------------------------------------------------- the end of connections

// What was queued still leaves; the other end's acknowledgement of the last of it ends the wait.
void Engine::begin_close(Connection& c) {
  if (c.state != State::kOpen) {
    if (c.state != State::kDraining) condemn(c, code(Reason::kClosedHere));
    return;
  }
  c.state = State::kDraining;
  c.drain_until_ns = now_ns() + uint64_t{kDrainMs} * 1'000'000;
  if (draining_.empty()) wake_after(kDrainMs + 1);
  draining_.push_back(c.id);
  // Frames that wait for their bulk have no reader any more.
  for (const Inbound& inbound : c.inbox) {
    if (inbound.stage == Inbound::Stage::kReady) (void)hand_up(c, inbound);
  }
  std::erase_if(c.inbox, [](const Inbound& i) { return i.stage == Inbound::Stage::kReady; });
  mark_dirty(c);
}

void Engine::end_drains() {
  const uint64_t now = now_ns();
  size_t ended = 0;
  for (; ended < draining_.size(); ended++) {
    Connection* c = connections_.find(draining_[ended]);
    if (c == nullptr || c->state == State::kDoomed) continue;
    if (c->drain_until_ns > now) break;
    condemn(*c, code(Reason::kClosedHere));
  }
  draining_.erase(draining_.begin(), draining_.begin() + static_cast<ptrdiff_t>(ended));
  if (draining_.empty() || timer_set_) return;
  const Connection* next = connections_.find(draining_.front());
  const uint64_t left = next != nullptr ? next->drain_until_ns - now : 0;
  wake_after(static_cast<uint32_t>(left / 1'000'000) + 1);
}

// Kept, a device that was removed would wake the thread for ever.
void Engine::drop_gone_devices() {
  const auto gone = [](const std::unique_ptr<Device>& device) { return device->gone; };
  if (std::any_of(devices_.begin(), devices_.end(), gone)) {
    connections_.each([this](Connection& c) {
      if (c.device != nullptr && c.device->gone) condemn(c, code(Reason::kDeviceGone));
    });
    bury_doomed();
    for (auto& device : devices_) {
      if (!device->gone) continue;
      forget_stash(*device);
      device->drop_receives(buffers_);
    }
    std::erase_if(devices_, gone);
  }
  // Ids go last: librdmacm may free the device with the last of them.
  std::erase_if(lingering_, [](const Lingering& l) { return l.removed; });
}

// From here on the connection does nothing; bury_doomed() follows soon.
void Engine::condemn(Connection& c, uint32_t reason) {
  if (c.state == State::kDoomed) return;
  if (c.state == State::kResolving || c.state == State::kConnecting ||
      c.state == State::kAccepted) {
    opening_--;
  }
  c.state = State::kDoomed;
  c.reason = reason;
  doomed_.push_back(c.id);
}

void Engine::bury_doomed() {
  for (size_t i = 0; i < doomed_.size(); i++) {
    if (Connection* c = connections_.find(doomed_[i])) bury(*c);
  }
  doomed_.clear();
}

void Engine::bury(Connection& c) {
  if (engine::is_protocol_error(c.reason)) counters_.protocol_errors++;
  detach(c);
  release_all_of(c);
  awaiting_ -= c.awaiting;
  counters_.connections--;
  if (c.announced) events_.push(RecordKind::kClosed, c.id, c.reason);
  connections_.remove(c).reset();
}

// Takes the connection off its device. In this order: the queue pair goes to its error state, which
// completes what it has begun; completions are taken, since a receive among them holds a buffer;
// windows go, as they refer to the queue pair; the queue pair goes, and after that the device
// touches no memory for this connection.
void Engine::detach(Connection& c) {
  if (c.completions > 0) {
    Device& device = *c.device;
    if (c.cm->qp != nullptr) destroy_queue_pair(c);
    device.release_completions(c.completions);
    // Receives in the stash that were this connection's are found without an owner, and then taken
    // from the spare ones.
    device.spare += c.granted - c.received;
    device.connections--;
    if (device.connections == 0) {
      forget_stash(device);
      device.drop_receives(buffers_);
    }
  }
  const bool removed = c.device != nullptr && c.device->gone;
  c.device = nullptr;
  c.completions = 0;
  c.granted = c.received = c.told = 0;
  if (c.connected || removed) {
    // Destroyed at once it would not repeat its good-bye, should that be lost.
    c.cm->context = nullptr;
    lingering_.push_back({std::move(c.cm), tick_, removed});
    c.connected = false;
  }
  c.cm.reset();
}

void Engine::destroy_queue_pair(Connection& c) {
  const uint32_t number = c.cm->qp->qp_num;
  if (c.connected) {
    (void)rdma_disconnect(c.cm.get());  // moves it to the error state, tells the peer
  } else {
    ibv_qp_attr attr{};
    attr.qp_state = IBV_QPS_ERR;
    (void)ibv_modify_qp(c.cm->qp, &attr, IBV_QP_STATE);
  }
  stash(*c.device);
  c.windows.clear();
  rdma_destroy_qp(c.cm.get());
  stash(*c.device);
  c.device->owners.erase(number);
}

void Engine::release_all_of(Connection& c) {
  for (const Sent& sent : c.sent) give_back(sent.segment);
  for (const Lent& lent : c.lent) give_back(lent.segment);
  for (const Lent& lent : c.ended) give_back(lent.segment);
  for (const Outgoing& frame : c.queue) give_back(frame.message);
  for (const Segment& segment : c.segments) give_back(segment);
  for (const Inbound& inbound : c.inbox) {
    buffers_.give(inbound.buffer);
    if (inbound.owns_slot) (void)arena_->give_bulk(inbound.bulk_offset);
  }
  for (const uint32_t buffer : c.withheld) buffers_.give(buffer);
  reads_ -= c.reads;
}

void Engine::tick() {
  tick_++;
  std::erase_if(lingering_, [this](const Lingering& l) { return tick_ - l.tick > kLingerTicks; });
  for (Listener& listener : listeners_) {
    if (!listener.id) (void)open_listener(listener);  // until its device is back
  }
  connections_.each([this](Connection& c) {
    if (c.state != State::kOpen) return;
    const uint32_t quiet = tick_ - c.active_tick;
    const bool under_way = static_cast<int32_t>(c.signalled - c.completed) > 0;
    // The client chose how often its acknowledgements are waited for: perhaps for ever.
    if (c.incoming && (!c.queue.empty() || under_way) && quiet > kStallTicks) {
      condemn(c, code(Reason::kStalled));
    } else if (quiet > kProbeTicks && !under_way) {
      c.probe_due = true;
      mark_dirty(c);
    }
  });
  pump_dirty();
  bury_doomed();
  if (!events_.empty()) wake_after(0);
}

// A last word (a reply, a good-bye) that has just been posted would go with its queue pair: waits a
// moment until what was sent has arrived.
void Engine::finish_sends() {
  connections_.each([this](Connection& c) {
    if (c.state == State::kOpen) begin_close(c);
  });
  pump_dirty();
  const uint64_t until = now_ns() + kShutdownNs;
  const auto sending = [this] {
    return std::any_of(draining_.begin(), draining_.end(), [this](uint32_t id) {
      const Connection* c = connections_.find(id);
      return c != nullptr && c->state == State::kDraining;
    });
  };
  while (sending() && now_ns() < until) {
    for (auto& device : devices_) poll(*device);
    pump_dirty();
  }
}

void Engine::shutdown() {
  listeners_.clear();
  finish_sends();
  connections_.each([this](Connection& c) {
    c.announced = false;
    condemn(c, code(Reason::kClosedHere));
  });
  bury_doomed();
  lingering_.clear();
  for (const HandedUp& one : handed_) buffers_.give(one.buffer);
  handed_.clear();
  devices_.clear();
  gathered_.drop_bulk();
  events_.clear();
  records_.clear();
  submissions_.clear();
}

void Engine::break_queue_pair(uint32_t id) {
  Connection* c = connections_.find(id);
  if (c == nullptr || !c->cm || c->cm->qp == nullptr) return;
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_ERR;
  (void)ibv_modify_qp(c->cm->qp, &attr, IBV_QP_STATE);
  // Nothing may be under way whose completion would tell: this one does.
  c->probe_due = true;
  mark_dirty(*c);
  pump_dirty();
}

bool Engine::uses_windows(uint32_t id) {
  const Connection* c = connections_.find(id);
  return c != nullptr && c->device != nullptr && c->device->windows;
}

}  // namespace sealfs::rdma
