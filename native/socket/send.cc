// Goal and method: engine.h. Here: from the submission ring to the sockets.
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include "native/socket/engine.h"

namespace sealfs::tcp {

void Engine::submit() {
  const uint32_t count = submissions_.count();
  for (uint32_t i = 0; i < count; i++) {
    const Submission& s = engine::submission(submissions_, i);
    switch (static_cast<SubmissionKind>(s.kind)) {
      case SubmissionKind::kBulk:
        gatherer_.add(s);
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
        if (Connection* c = find(s.connection)) {
          // A last word (a refusal) should reach the peer if its socket takes it now.
          if (c->state == State::kOpen && !c->blocked) flush(*c);
          c = find(s.connection);
          if (c != nullptr) close_connection(*c, engine::code(Reason::kClosedHere));
        }
        break;
    }
  }
  submissions_.clear();
  for (const uint32_t id : dirty_) {
    Connection* c = find(id);
    if (c == nullptr) continue;
    c->dirty = false;
    if (c->blocked) {
      check_backlog(*c);
    } else {
      flush(*c);
    }
  }
  dirty_.clear();
}

// Moves the frame with the bulk before it to its connection's queue.
void Engine::take_frame(const Submission& s) {
  const bool valid = gatherer_.end(s);
  Connection* c = find(s.connection);
  const std::vector<Segment>& bulk = gatherer_.bulk();
  if (c == nullptr || !valid || c->queued_segments() + bulk.size() + 2 > kSendSegmentsMax) {
    gatherer_.drop();
    if (c == nullptr) return;
    close_connection(*c, engine::code(valid ? Reason::kSendOverflow : Reason::kBadSubmission));
    return;
  }
  c->queue.push_back(gatherer_.message());
  c->queue.insert(c->queue.end(), bulk.begin(), bulk.end());
  const uint32_t bulk_bytes = gatherer_.bulk_bytes();
  gatherer_.clear();
  const uint32_t padding = (8 - bulk_bytes % 8) % 8;
  if (padding > 0) c->queue.push_back({kArenaZeroOffset, padding, 0});
  c->queue.back().flags |= Segment::kFrameEnd;
  c->queued_bytes += uint64_t{s.length_bytes} + bulk_bytes + padding;
  if (!c->incoming) {
    c->awaiting++;
    awaiting_++;
  }
  if (!c->dirty) {
    c->dirty = true;
    dirty_.push_back(c->id);
  }
}

void Engine::take_landing(const Submission& s) {
  Connection* c = find(s.connection);
  if (c == nullptr || s.tag >= wire::kRpcSlots) return;
  if (static_cast<SubmissionKind>(s.kind) == SubmissionKind::kLanding) {
    if (!arena_->contains(s.offset, s.length_bytes)) {
      close_connection(*c, engine::code(Reason::kBadSubmission));
      return;
    }
    (void)c->landings.set(s.tag, s.offset, s.length_bytes);
    return;
  }
  if (static_cast<SubmissionKind>(s.kind) == SubmissionKind::kEndLanding) {
    c->landings.end(s.tag);
    return;
  }
  if (c->bulk_left > 0 && !c->bulk_owns_slot && c->bulk_tag == s.tag) c->bulk_dropped = true;
  (void)c->landings.withdraw(s.tag);
}

// Writes what the socket takes; c may be gone afterwards.
void Engine::flush(Connection& c) {
  if (c.state != State::kOpen) return;
  while (c.queued_segments() > 0) {
    size_t sent = 0;
    if (!send_some(c, &sent)) return;
    if (c.blocked) break;
    consume(c, sent);
  }
  if (c.queued_segments() == 0) {
    c.queue.clear();
    c.queue_head = 0;
  } else if (c.queue_head > kGatherSegments) {
    c.queue.erase(c.queue.begin(), c.queue.begin() + static_cast<ptrdiff_t>(c.queue_head));
    c.queue_head = 0;
  }
  check_backlog(c);
}

// One gathered send. False: c is gone.
bool Engine::send_some(Connection& c, size_t* sent) {
  iovec parts[kGatherSegments];
  const size_t count = std::min<size_t>(c.queued_segments(), kGatherSegments);
  for (size_t i = 0; i < count; i++) {
    const Segment& segment = c.queue[c.queue_head + i];
    parts[i] = {arena_->at(segment.offset), segment.bytes};
  }
  parts[0].iov_base = static_cast<uint8_t*>(parts[0].iov_base) + c.head_sent_bytes;
  parts[0].iov_len -= c.head_sent_bytes;
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  ssize_t n;
  do {
    n = sendmsg(c.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n >= 0) {
    *sent = static_cast<size_t>(n);
    return true;
  }
  if (errno == EAGAIN) {
    c.blocked = true;
    return true;
  }
  close_connection(c, static_cast<uint32_t>(errno));
  return false;
}

void Engine::consume(Connection& c, size_t sent) {
  counters_.bytes_sent += static_cast<double>(sent);
  c.queued_bytes -= sent;
  sent += c.head_sent_bytes;
  while (c.queued_segments() > 0) {
    const Segment& segment = c.queue[c.queue_head];
    if (sent < segment.bytes) break;
    sent -= segment.bytes;
    if (segment.flags & Segment::kFrameEnd) counters_.frames_sent++;
    engine::release(*arena_, segment);
    c.queue_head++;
  }
  c.head_sent_bytes = static_cast<uint32_t>(sent);
}

void Engine::check_backlog(Connection& c) {
  if (!c.incoming) return;
  if (!c.backlogged) {
    c.backlogged = c.queued_segments() > kBacklogSegments || c.queued_bytes > kBacklogBytes;
  } else if (c.queued_segments() <= kBacklogSegments / 2 && c.queued_bytes <= kBacklogBytes / 2) {
    c.backlogged = false;
    if (c.readable) mark_readable(c);
  }
}

}  // namespace sealfs::tcp
