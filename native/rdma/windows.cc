// Goal and method: engine.h. Here: memory lent to peers, and taken back.
//
//   source   lent with a request that has bulk ── the peer's `pulled` covers it ──> ended
//   landing  lent with the first frame after it was set ── its reply's bulk invalidates it ──> free
//                                                       └─ ended or replaced ──> ended
//
// With windows a key opens exactly the bytes of one source or landing to this queue pair. An ended
// window is invalidated by a work request of ours; the send queue executes that before it binds the
// window anew, under another key.
#include <utility>

#include "native/rdma/engine.h"

namespace sealfs::rdma {

// Opens memory to the peer: *rkey, and the window if it is one. False: the connection is condemned.
// The chain has room for one more.
bool Engine::lend(Connection& c, uint32_t offset, uint32_t bytes, int access, uint32_t* window,
                  uint32_t* rkey) {
  *window = kNoWindow;
  Device& device = *c.device;
  if (!device.windows) {
    *rkey = device.keys().at(arena_->at(offset))->rkey;
    if (device.lends) return true;
    condemn(c, code(Reason::kBadSubmission));  // an accepted connection has nothing to lend
    return false;
  }
  if (c.free_windows.empty()) {
    MemoryWindow fresh(ibv_alloc_mw(device.pd(), IBV_MW_TYPE_2));
    if (!fresh) {
      condemn(c, code(Reason::kNoWindow));
      return false;
    }
    const uint32_t first = fresh->rkey;
    c.free_windows.push_back(static_cast<uint32_t>(c.windows.size()));
    c.windows.push_back({std::move(fresh), first});
  }
  *window = c.free_windows.back();
  c.free_windows.pop_back();
  Window& w = c.windows[*window];
  w.rkey = *rkey = ibv_inc_rkey(w.rkey);
  ibv_send_wr& work = chain_->add(IBV_WR_BIND_MW);
  work.sg_list = nullptr;
  chain_->bind(w.handle.get(), w.rkey);
  work.bind_mw.bind_info.mr = device.keys().at(arena_->at(offset));
  work.bind_mw.bind_info.addr = reinterpret_cast<uint64_t>(arena_->at(offset));
  work.bind_mw.bind_info.length = bytes;
  work.bind_mw.bind_info.mw_access_flags = static_cast<unsigned>(access);
  counters_.windows_bound++;
  return true;
}

// Describes the landings that the peer does not know yet. False: the connection is condemned.
bool Engine::tell_landings(Connection& c) {
  for (const uint16_t tag : c.untold) {
    Landing& landing = *c.landings.find(tag);
    landing.listed = false;
    const bool forget = landing.use == Landing::Use::kNone && landing.forget;
    if (landing.use == Landing::Use::kWithdrawn || forget) {
      landing.forget = false;
      Descriptor d{};
      d.kind = static_cast<uint16_t>(DescriptorKind::kWithdrawn);
      d.tag = tag;
      descriptors_.push_back(d);
    } else if (landing.use == Landing::Use::kSet && !landing.told) {
      uint32_t rkey = 0;
      const int access = IBV_ACCESS_REMOTE_WRITE;
      if (!lend(c, landing.offset, landing.max_bytes, access, &landing.window, &rkey)) return false;
      landing.told = true;
      descriptors_.push_back({static_cast<uint16_t>(DescriptorKind::kLanding), tag, rkey,
                              reinterpret_cast<uint64_t>(arena_->at(landing.offset)),
                              landing.max_bytes, 0});
    }
  }
  c.untold.clear();
  return true;
}

// Describes the bulk (merged_) of the request at the head of the queue, and remembers what to give
// back when the peer has pulled it. False: the connection is condemned.
bool Engine::tell_sources(Connection& c) {
  const uint32_t number = ++c.bulks_sent;
  for (const Segment& run : merged_) {
    uint32_t window = kNoWindow;
    uint32_t rkey = 0;
    if (!lend(c, run.offset, run.bytes, IBV_ACCESS_REMOTE_READ, &window, &rkey)) return false;
    if (window != kNoWindow) c.lent.push_back({number, window, {}});
    descriptors_.push_back({static_cast<uint16_t>(DescriptorKind::kSource), 0, rkey,
                            reinterpret_cast<uint64_t>(arena_->at(run.offset)), run.bytes, 0});
  }
  for (uint32_t i = 0; i < c.queue.front().segments; i++) {
    if (c.segments[i].flags != 0) c.lent.push_back({number, kNoWindow, c.segments[i]});
  }
  return true;
}

// The peer has read the bulk of so many requests.
void Engine::pulled(Connection& c, uint32_t count) {
  c.bulks_pulled = count;
  while (!c.lent.empty() && static_cast<int32_t>(count - c.lent.front().bulk) >= 0) {
    if (c.device->windows) {
      c.ended.push_back(c.lent.front());
      mark_dirty(c);
    } else {
      give_back(c.lent.front().segment);
    }
    c.lent.pop_front();
  }
}

void Engine::end_landing(Connection& c, uint32_t tag) {
  Landing* landing = c.landings.find(tag);
  if (landing == nullptr) return;
  if (landing->use == Landing::Use::kSet) {
    // Without a window to close the peer is told.
    landing->forget = landing->told && landing->window == kNoWindow;
    if (landing->forget && !landing->listed) {
      landing->listed = true;
      c.untold.push_back(static_cast<uint16_t>(tag));
    }
    end_window(c, std::exchange(landing->window, kNoWindow));
  }
  c.landings.end(tag);
}

void Engine::end_window(Connection& c, uint32_t window) {
  if (window == kNoWindow) return;
  c.ended.push_back({0, window, {}});
  mark_dirty(c);
}

// Slots are given back when the invalidations before them are done, which the last of those tells.
void Engine::post_invalidations(Connection& c) {
  while (!c.ended.empty()) {
    const Lent ended = c.ended.front();
    if (ended.window == kNoWindow) {
      c.sent.push_back({c.posted - 1, ended.segment});
      c.ended.pop_front();
      continue;
    }
    if (c.room() == 0 || (chain_->room() == 0 && !flush_chain(c))) return;
    c.ended.pop_front();
    ibv_send_wr& work = chain_->add(IBV_WR_LOCAL_INV);
    work.sg_list = nullptr;
    work.invalidate_rkey = c.windows[ended.window].rkey;
    if (!c.ended.empty() && c.ended.front().window == kNoWindow) chain_->signal();
    c.free_windows.push_back(ended.window);
  }
}

void Engine::withdraw(uint32_t id, uint32_t tag) {
  Connection* c = connections_.find(id);
  Landing* landing = c == nullptr ? nullptr : c->landings.find(tag);
  if (landing == nullptr || landing->use != Landing::Use::kSet) return;
  if (!landing->told) {
    (void)c->landings.withdraw(tag);  // the next frame says so
    return;
  }
  condemn(*c, code(Reason::kLandingWithdrawn));
  bury_doomed();
  wake_after(0);
}

}  // namespace sealfs::rdma
