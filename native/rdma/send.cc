// Goal and method: engine.h. Here: from the submission ring to chains of work requests.
//
// A frame is prefix, descriptors and message, gathered from scratch memory or a prefix slot and the
// message slot. What must stay until the device has read it is in `sent`, by its place in the send
// queue; memory lent to the peer is in `lent` (windows.cc).
#include <algorithm>
#include <cstring>

#include "native/rdma/engine.h"

namespace sealfs::rdma {

// ---------------------------------------------------------------- submissions

void Engine::submit() {
  const uint32_t count = submissions_.count();
  for (uint32_t i = 0; i < count; i++) {
    const Submission& s = engine::submission(submissions_, i);
    switch (static_cast<SubmissionKind>(s.kind)) {
      case SubmissionKind::kBulk:
        gathered_.add(s);
        break;
      case SubmissionKind::kFrame:
        take_frame(s);
        break;
      case SubmissionKind::kLanding:
      case SubmissionKind::kCancelLanding:
      case SubmissionKind::kEndLanding:
        take_landing(s);
        break;
      case SubmissionKind::kClose:
        if (Connection* c = connections_.find(s.connection)) begin_close(*c);
        break;
    }
  }
  submissions_.clear();
  pump_dirty();
  bury_doomed();
}

// Moves the frame with the bulk before it to its connection's queue.
void Engine::take_frame(const Submission& s) {
  bool valid = gathered_.end(s);
  Connection* c = connections_.find(s.connection);
  const bool gone = c == nullptr || c->state == State::kDoomed || c->state == State::kDraining;
  const bool room =
      !gone && c->segments.size() + c->queue.size() + gathered_.bulk().size() < kQueuedSegmentsMax;
  if (!valid || !room) {
    gathered_.drop();
    if (!gone) condemn(*c, code(valid ? Reason::kSendOverflow : Reason::kBadSubmission));
    return;
  }
  const wire::FrameHeader& header = gathered_.header();
  Outgoing frame;
  frame.message = gathered_.message();
  frame.segments = static_cast<uint32_t>(gathered_.bulk().size());
  frame.bulk_bytes = gathered_.bulk_bytes();
  frame.tag = header.bulk_tag;
  frame.reply = (header.flags & engine::kRepliesFlag) != 0;
  c->segments.insert(c->segments.end(), gathered_.bulk().begin(), gathered_.bulk().end());
  c->queue.push_back(frame);
  c->queued_bytes += uint64_t{frame.message.bytes} + frame.bulk_bytes;
  gathered_.clear();
  if (!c->incoming) {
    c->awaiting++;
    awaiting_++;
  }
  mark_dirty(*c);
}

void Engine::take_landing(const Submission& s) {
  Connection* c = connections_.find(s.connection);
  if (c == nullptr || c->state == State::kDoomed || s.tag >= wire::kRpcSlots) return;
  switch (static_cast<SubmissionKind>(s.kind)) {
    case SubmissionKind::kLanding: {
      if (!arena_->contains(s.offset, s.length_bytes) || s.length_bytes == 0) {
        condemn(*c, code(Reason::kBadSubmission));
        return;
      }
      end_landing(*c, s.tag);
      const Landing* before = c->landings.find(s.tag);
      const bool listed = before != nullptr && before->listed;
      const auto most = std::min<uint32_t>(s.length_bytes, wire::kMaxBulkBytes);
      c->landings.set(s.tag, s.offset, most).listed = true;
      if (!listed) c->untold.push_back(static_cast<uint16_t>(s.tag));
      return;
    }
    case SubmissionKind::kEndLanding:
      end_landing(*c, s.tag);
      return;
    default:
      withdraw(s.connection, s.tag);
  }
}

void Engine::mark_dirty(Connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty_.push_back(c.id);
}

// ---------------------------------------------------------------- posting

void Engine::pump(Connection& c) {
  if (!c.usable()) return;
  chain_->begin(c);
  post_invalidations(c);
  if (c.usable()) start_reads(c);
  if (c.usable()) send_frames(c);
  if (c.usable() && c.credit_due) send_credit(c);
  if (c.usable() && c.probe_due) send_probe(c);
  if (c.usable() && c.state == State::kDraining) check_drained(c);
  if (c.usable()) (void)flush_chain(c);
  if (c.usable()) check_backlog(c);
  chain_->drop(*arena_);  // empty, unless the connection was condemned
}

// False: the connection is condemned.
bool Engine::flush_chain(Connection& c) {
  if (chain_->post(*arena_, counters_)) return true;
  condemn(c, code(Reason::kCompletionError));
  return false;
}

void Engine::send_frames(Connection& c) {
  while (!c.queue.empty()) {
    Outgoing& frame = c.queue.front();
    if (c.credit() < 2) {  // the last one is for credit frames
      if (!frame.stalled) counters_.credit_stalls++;
      frame.stalled = true;
      return;
    }
    const Plan how = plan(c, frame);
    if (how.work > kFrameWorkMax) {
      condemn(c, code(Reason::kBadSubmission));
      return;
    }
    if (how.work > c.room()) return;  // a completion will come
    if (how.work > chain_->room() && !flush_chain(c)) return;
    if (!send_frame(c, how)) return;
  }
}

// The next `count` segments of the queue, neighbours in memory made one.
void Engine::merge_segments(const Connection& c, uint32_t count) {
  merged_.clear();
  for (uint32_t i = 0; i < count; i++) {
    const Segment& segment = c.segments[i];
    if (segment.bytes == 0) continue;
    if (!merged_.empty() && merged_.back().offset + merged_.back().bytes == segment.offset) {
      merged_.back().bytes += segment.bytes;
    } else {
      merged_.push_back({segment.offset, segment.bytes, 0});
    }
  }
}

Engine::Plan Engine::plan(Connection& c, const Outgoing& frame) {
  Plan out;
  merge_segments(c, frame.segments);
  const auto pieces = static_cast<uint32_t>(merged_.size());
  uint32_t lent = 0;
  for (const uint16_t tag : c.untold) {
    const Landing& landing = *c.landings.find(tag);
    out.descriptors += landing.use != Landing::Use::kNone || landing.forget ? 1 : 0;
    lent += landing.use == Landing::Use::kSet ? 1 : 0;
  }
  if (pieces > 0 && frame.reply) {
    const bool known = frame.tag < wire::kRpcSlots;
    const RemoteLanding none{};
    const RemoteLanding& landing = known ? c.remote[frame.tag] : none;
    out.write = landing.use == RemoteLanding::Use::kSet && frame.bulk_bytes <= landing.bytes;
    out.drop = !out.write;
    const uint32_t gather = c.device->limits.gather_max;
    if (out.write) out.work += (pieces + gather - 1) / gather;
  } else if (pieces > 0) {
    out.descriptors += pieces;
    lent += pieces;
    if (pieces > kSourcesMax) out.work = kFrameWorkMax + 1;
  }
  if (c.device->windows) out.work += lent;
  return out;
}

// Whether slots wait for this frame's bulk to be read.
bool Engine::releases_bulk(const Connection& c, const Outgoing& frame) {
  return std::any_of(c.segments.begin(), c.segments.begin() + frame.segments,
                     [](const Segment& segment) { return segment.flags != 0; });
}

// Posts the frame at the head of the queue into the chain. False: it stays there, or the connection
// is condemned.
bool Engine::send_frame(Connection& c, const Plan& how) {
  const Outgoing frame = c.queue.front();
  const uint32_t prefix_bytes = kPrefixBytes + how.descriptors * uint32_t{sizeof(Descriptor)};
  uint32_t prefix_slot = 0;
  if (prefix_bytes + frame.message.bytes > c.inline_max) {
    prefix_slot = buffers_.take_prefix();
    if (prefix_slot == 0) {
      starved_.push_back(c.id);
      return false;
    }
    if (buffers_.prefixes_scarce()) chain_->signal_end();
  }
  descriptors_.clear();
  bool told = tell_landings(c);
  if (told && !frame.reply && !merged_.empty()) told = tell_sources(c);
  if (!told) {
    if (prefix_slot != 0) buffers_.give_prefix(prefix_slot);
    return false;
  }
  FramePrefix prefix{};
  prefix.credits = c.granted;
  prefix.pulled = c.pulled;
  prefix.descriptor_count = static_cast<uint16_t>(descriptors_.size());
  prefix.flags = how.drop ? kPrefixDropped : 0;
  if (!frame.reply && !merged_.empty() && releases_bulk(c, frame))
    prefix.flags |= kPrefixAwaitsPull;
  RemoteLanding landing;
  if (how.write) {
    landing = c.remote[frame.tag];
    write_bulk(c, landing);
  }
  if (frame.reply && frame.tag < wire::kRpcSlots && frame.bulk_bytes > 0) {
    c.remote[frame.tag].use = RemoteLanding::Use::kNone;
  }
  send_message(c, frame.message, prefix_slot, prefix, how.write && c.peer.windows, landing.rkey);
  if (frame.reply || merged_.empty()) {  // else they are lent
    for (uint32_t i = 0; i < frame.segments; i++) {
      if (c.segments[i].flags == 0) continue;
      c.sent.push_back({chain_->last_sequence(), c.segments[i]});
      chain_->signal_end();
    }
  }
  c.queue.pop_front();
  c.segments.erase(c.segments.begin(), c.segments.begin() + frame.segments);
  c.queued_bytes -= uint64_t{frame.message.bytes} + frame.bulk_bytes;
  counters_.frames_sent++;
  counters_.bytes_sent +=
      static_cast<double>(frame.message.bytes) + (how.drop ? 0 : frame.bulk_bytes);
  return true;
}

// Bulk of a reply (merged_) into the peer's landing.
void Engine::write_bulk(Connection& c, const RemoteLanding& landing) {
  uint64_t to = landing.address;
  for (size_t i = 0; i < merged_.size();) {
    ibv_send_wr& work = chain_->add(IBV_WR_RDMA_WRITE);
    work.wr.rdma.remote_addr = to;
    work.wr.rdma.rkey = landing.rkey;
    for (uint32_t n = 0; n < c.device->limits.gather_max && i < merged_.size(); n++, i++) {
      chain_->piece(arena_->at(merged_[i].offset), merged_[i].bytes);
      to += merged_[i].bytes;
    }
    counters_.bulk_writes++;
  }
}

// One SEND: prefix, descriptors_, message. `prefix_slot` 0: it goes inline.
void Engine::send_message(Connection& c, const Segment& message, uint32_t prefix_slot,
                          const FramePrefix& prefix, bool invalidates, uint32_t rkey) {
  ibv_send_wr& work = chain_->add(invalidates ? IBV_WR_SEND_WITH_INV : IBV_WR_SEND);
  if (invalidates) work.invalidate_rkey = rkey;
  const size_t more = descriptors_.size() * sizeof(Descriptor);
  uint8_t* head = prefix_slot != 0 ? arena_->at(prefix_slot) : chain_->inline_memory();
  memcpy(head, &prefix, kPrefixBytes);
  if (more > 0) memcpy(head + kPrefixBytes, descriptors_.data(), more);
  chain_->piece(head, static_cast<uint32_t>(kPrefixBytes + more));
  if (message.bytes > 0) chain_->piece(arena_->at(message.offset), message.bytes);
  if (prefix_slot == 0) {
    work.send_flags |= IBV_SEND_INLINE;
    counters_.inline_sends++;
    engine::count_copy(counters_, kPrefixBytes + more + message.bytes);
    if (message.flags != 0) chain_->release_after(message);
  } else {
    c.sent.push_back({chain_->last_sequence(), {prefix_slot, 0, Sent::kPrefix}});
    if (message.flags != 0) {
      c.sent.push_back({chain_->last_sequence(), message});
      chain_->signal_end();
    }
  }
  c.told = prefix.credits;
  c.credit_due = c.pull_due = false;
  c.frames_sent++;
  c.active_tick = tick_;
}

// Says what was granted and pulled, when no frame does.
void Engine::send_credit(Connection& c) {
  if (c.granted - c.told < c.credits / 2 && !c.pull_due) {
    c.credit_due = false;
    return;
  }
  if (c.credit() < 1 || c.room() < 1) return;
  if (chain_->room() == 0 && !flush_chain(c)) return;
  uint32_t prefix_slot = 0;
  if (c.inline_max < kPrefixBytes && (prefix_slot = buffers_.take_prefix()) == 0) {
    starved_.push_back(c.id);
    return;
  }
  descriptors_.clear();
  FramePrefix prefix{};
  prefix.credits = c.granted;
  prefix.pulled = c.pulled;
  prefix.flags = kPrefixNoMessage;
  send_message(c, Segment{}, prefix_slot, prefix, false, 0);
  counters_.credit_frames++;
}

// An empty write: its completion tells that all before it has arrived, or that the peer is gone.
void Engine::send_probe(Connection& c) {
  if (c.room() < 1) return;
  if (chain_->room() == 0 && !flush_chain(c)) return;
  c.probe_due = false;
  chain_->add(IBV_WR_RDMA_WRITE);
  chain_->signal();
  // From now on it may take until it counts as stalled; the next probe is due as before.
  if (c.queue.empty()) c.active_tick = tick_ - kProbeTicks;
}

// A draining connection ends when everything has arrived.
void Engine::check_drained(Connection& c) {
  if (!c.queue.empty()) return;
  if (c.posted == c.completed && c.reads == 0) {
    condemn(c, code(Reason::kClosedHere));
  } else if (c.signalled != c.posted) {
    send_probe(c);
  }
}

// A peer that does not take its replies gets no credits for more requests.
void Engine::check_backlog(Connection& c) {
  if (!c.incoming) return;
  const size_t segments = c.segments.size() + c.queue.size();
  if (!c.backlogged) {
    c.backlogged = segments > kBacklogSegments || c.queued_bytes > kBacklogBytes;
  } else if (segments <= kBacklogSegments / 2 && c.queued_bytes <= kBacklogBytes / 2) {
    c.backlogged = false;
    for (const uint32_t buffer : c.withheld) handed_.push_back({buffer, c.id});
    c.withheld.clear();
  }
}

// ---------------------------------------------------------------- completions

void Engine::on_sent(const ibv_wc& completion) {
  Connection* c = connections_.find(static_cast<uint32_t>(completion.wr_id >> 32));
  if (c == nullptr || !c->usable()) return;
  if (completion.status != IBV_WC_SUCCESS) {
    condemn(*c, completion_reason(completion));
    return;
  }
  const auto sequence = static_cast<uint32_t>(completion.wr_id);
  if (c->reads > 0) finish_read(*c, sequence);
  if (static_cast<int32_t>(sequence - c->completed) >= 0) c->completed = sequence + 1;
  while (!c->sent.empty() && static_cast<int32_t>(sequence - c->sent.front().sequence) >= 0) {
    give_back(c->sent.front().segment);
    c->sent.pop_front();
  }
  const bool more = !c->queue.empty() || !c->inbox.empty() || !c->ended.empty();
  if (more || c->credit_due || c->probe_due || c->state == State::kDraining) mark_dirty(*c);
}

void Engine::give_back(const Segment& segment) {
  if (segment.flags & Sent::kPrefix) {
    buffers_.give_prefix(segment.offset);
  } else {
    engine::release(*arena_, segment);
  }
}

}  // namespace sealfs::rdma
