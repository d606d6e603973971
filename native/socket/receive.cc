// Goal and diagram: engine.h. Here: from a readable socket to records.
//
// Every length that a peer sends is checked against its bounds before it is used; the checks stand
// in check_header (frames.h) and begin_bulk, and nothing else reads a header.
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>

#include "native/socket/engine.h"

namespace sealfs::tcp {
namespace {

using engine::kFrameHeaderBytes;

constexpr uint32_t kNoSlot = UINT32_MAX;  // begin_bulk: try again when a bulk slot is free

constexpr uint32_t align_up(uint32_t value, uint32_t unit) {
  return (value + unit - 1) / unit * unit;
}

}  // namespace

void Engine::push_message(Connection& c, uint32_t offset, uint32_t bytes, uint32_t bulk_offset,
                          uint32_t bulk_bytes, bool owns_slot) {
  // There is room: reads are limited to what the ring can take.
  engine::push_message(records_, c.id, offset, bytes, bulk_offset, bulk_bytes, owns_slot);
  counters_.frames_received++;
  if (c.awaiting > 0) {
    c.awaiting--;
    awaiting_--;
  }
}

// Reads and parses for a while; c may be gone afterwards.
void Engine::receive(Connection& c) {
  const uint32_t id = c.id;
  bool more = c.held.empty() || c.bulk_left > 0 || parse_held(c);
  for (uint32_t i = 0; more && i < kReadsPerHarvest && c.readable; i++) more = read_once(c);
  Connection* alive = find(id);
  if (alive == nullptr || alive->bulk_left == 0 || alive->message_offset == 0) return;
  // The bulk will come in a later turn: its message must outlive the receive area's content.
  const uint8_t* message = arena_->at(alive->message_offset);
  alive->held.assign(message, message + alive->message_bytes);
  engine::count_copy(counters_, alive->message_bytes);
  alive->message_offset = 0;
}

// False: stop reading this connection for now (it may be gone).
bool Engine::read_once(Connection& c) {
  const uint32_t records_left = records_.capacity() - records_.count();
  const uint32_t needed = static_cast<uint32_t>(c.held.size()) + 2 * kMessageSlot;
  if (records_left * kFrameHeaderBytes < kReadMinBytes + kMessageSlot ||
      area_end_ - cursor_ < needed + kReadMinBytes) {
    area_full_ = true;
    return false;
  }
  return c.bulk_left > 0 ? read_bulk(c) : read_frames(c);
}

// The bytes read; 0: nothing now; -1: c is gone.
ssize_t Engine::read_into(Connection& c, iovec* parts, int count, size_t asked) {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = static_cast<size_t>(count);
  ssize_t n;
  do {
    n = count == 1 ? recv(c.fd, parts->iov_base, parts->iov_len, MSG_DONTWAIT)
                   : recvmsg(c.fd, &message, MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n > 0) {
    counters_.bytes_received += static_cast<double>(n);
    // Less than asked for: the socket is drained, its next edge will tell of more (epoll(7)).
    if (static_cast<size_t>(n) < asked && !c.hung_up) c.readable = false;
    c.progress_tick = tick_;
    c.misses = 0;
    if (!c.hot && hot_.size() < kDirectConnections) {
      c.hot = true;
      hot_.push_back(c.id);
    }
    return n;
  }
  if (n < 0 && errno == EAGAIN) {
    c.readable = false;
    c.misses++;
    return 0;
  }
  if (n == 0) {
    const bool inside_frame = !c.held.empty() || c.bulk_left > 0 || c.skip_bytes > 0;
    close_connection(
        c, static_cast<uint32_t>(inside_frame ? Reason::kTruncated : Reason::kPeerClosed));
  } else {
    close_connection(c, static_cast<uint32_t>(errno));
  }
  return -1;
}

bool Engine::read_frames(Connection& c) {
  // Frames lie aligned in the stream; what is read keeps its position modulo 8.
  const uint32_t start = cursor_ + (8 - c.skip_bytes) % 8;
  const uint32_t held = static_cast<uint32_t>(c.held.size());
  const uint32_t records_left = records_.capacity() - records_.count();
  const uint32_t asked = std::min({c.read_bytes, area_end_ - start - held - kMessageSlot,
                                   records_left * kFrameHeaderBytes - kMessageSlot});
  iovec part{arena_->at(start + held), asked};
  const ssize_t n = read_into(c, &part, 1, asked);
  if (n <= 0) return false;
  // What was held is the beginning of a frame; the read goes behind it.
  if (held > 0) {
    memcpy(arena_->at(start), c.held.data(), held);
    engine::count_copy(counters_, held);
    c.held.clear();
  }
  if (static_cast<uint32_t>(n) == asked) {
    c.read_bytes = std::min(kReadMaxBytes, c.read_bytes * 2);
  }
  return parse(c, start, start + held + static_cast<uint32_t>(n));
}

bool Engine::read_bulk(Connection& c) {
  const uint32_t start = cursor_ + c.bulk_bytes % 8;  // aligned as in read_frames
  iovec parts[2];
  int count = 2;
  parts[0] = {arena_->at(c.bulk_offset + (c.bulk_bytes - c.bulk_left)), c.bulk_left};
  parts[1] = {arena_->at(start), kReadBeyondBulkBytes};
  if (c.bulk_dropped) {
    const uint32_t room = area_end_ - start - kReadBeyondBulkBytes;
    parts[0] = {arena_->at(start + kReadBeyondBulkBytes), std::min(c.bulk_left, room)};
    if (parts[0].iov_len < c.bulk_left) count = 1;
  }
  const size_t asked = parts[0].iov_len + (count == 2 ? parts[1].iov_len : 0);
  const ssize_t n = read_into(c, parts, count, asked);
  if (n <= 0) return false;
  const uint32_t bulk =
      static_cast<uint32_t>(std::min<size_t>(static_cast<size_t>(n), parts[0].iov_len));
  c.bulk_left -= bulk;
  if (c.bulk_left > 0) return true;
  const uint32_t end = start + static_cast<uint32_t>(n) - bulk;
  cursor_ = align_up(end, 64);
  if (c.message_offset == 0) {
    c.message_offset = cursor_;
    memcpy(arena_->at(cursor_), c.held.data(), c.held.size());
    engine::count_copy(counters_, c.held.size());
    cursor_ = align_up(cursor_ + static_cast<uint32_t>(c.held.size()), 64);
    c.held.clear();
  }
  finish_bulk(c);
  const uint32_t behind = cursor_;
  const bool alive = parse(c, start, end);
  cursor_ = std::max(cursor_, behind);
  return alive;
}

// Parses again what was held for want of a bulk slot.
bool Engine::parse_held(Connection& c) {
  if (c.waiting) return false;
  const uint32_t start = cursor_;
  const uint32_t held = static_cast<uint32_t>(c.held.size());
  if (held < kFrameHeaderBytes) return true;
  wire::FrameHeader header;
  memcpy(&header, c.held.data(), kFrameHeaderBytes);
  if (held < header.message_bytes) return true;  // incomplete: read on
  if (area_end_ - start < held + kMessageSlot ||
      (records_.capacity() - records_.count()) * kFrameHeaderBytes < held) {
    c.waiting = true;
    waiting_.push_back(c.id);
    area_full_ = true;
    return false;
  }
  memcpy(arena_->at(start), c.held.data(), held);
  engine::count_copy(counters_, held);
  c.held.clear();
  return parse(c, start, start + held);
}

// Takes the frames that lie at [position, end) of the receive area, begun at `cursor_`. False: c is
// gone, or waits for a bulk slot.
bool Engine::parse(Connection& c, uint32_t position, uint32_t end) {
  const uint32_t records_before = records_.count();
  while (position < end) {
    if (c.skip_bytes > 0) {
      const uint32_t skipped = std::min(c.skip_bytes, end - position);
      c.skip_bytes -= skipped;
      position += skipped;
      continue;
    }
    const uint32_t available = end - position;
    if (available < sizeof(uint32_t)) break;
    const auto& header = *reinterpret_cast<const wire::FrameHeader*>(arena_->at(position));
    uint32_t reason = engine::check_header(header, available);
    if (reason != 0) {
      close_connection(c, reason);
      return false;
    }
    if (available < kFrameHeaderBytes || available < header.message_bytes) break;
    if (header.bulk_bytes == 0) {
      push_message(c, position, header.message_bytes, 0, 0, false);
      position += header.message_bytes;
      continue;
    }
    reason = begin_bulk(c, header);
    if (reason == kNoSlot) {
      c.waiting = true;
      waiting_.push_back(c.id);
      break;
    }
    if (reason != 0) {
      close_connection(c, reason);
      return false;
    }
    c.message_offset = position;
    c.message_bytes = header.message_bytes;
    position += header.message_bytes;
    copy_bulk(c, &position, end);
  }
  if (position < end) {
    c.held.assign(arena_->at(position), arena_->at(end));
    engine::count_copy(counters_, end - position);
  }
  // The area is used up only by what a record or the message of a bulk points at.
  if (records_.count() > records_before || c.message_offset != 0) {
    cursor_ = std::max(cursor_, align_up(position, 64));
  }
  return !c.waiting;
}

// Finds where the bulk goes. 0, kNoSlot, or the reason to close.
uint32_t Engine::begin_bulk(Connection& c, const wire::FrameHeader& header) {
  c.bulk_dropped = false;
  c.bulk_owns_slot = (header.flags & engine::kRepliesFlag) == 0;
  if (c.bulk_owns_slot) {
    const uint32_t slot = arena_->take_bulk();
    if (slot == 0) return kNoSlot;
    c.bulk_offset = slot;
  } else {
    Landing landing;
    const uint32_t reason = c.landings.take(header.bulk_tag, header.bulk_bytes, &landing);
    if (reason != 0) return reason;
    c.bulk_dropped = landing.use == Landing::Use::kWithdrawn;
    c.bulk_offset = landing.offset;
    c.bulk_tag = header.bulk_tag;
  }
  c.bulk_bytes = c.bulk_left = header.bulk_bytes;
  c.read_bytes = kReadBeyondBulkBytes;
  return 0;
}

// Takes what of the bulk came with its message.
void Engine::copy_bulk(Connection& c, uint32_t* position, uint32_t end) {
  const uint32_t bytes = std::min(c.bulk_left, end - *position);
  if (!c.bulk_dropped && bytes > 0) {
    memcpy(arena_->at(c.bulk_offset), arena_->at(*position), bytes);
    engine::count_copy(counters_, bytes);
  }
  *position += bytes;
  c.bulk_left -= bytes;
  if (c.bulk_left == 0) finish_bulk(c);
}

void Engine::finish_bulk(Connection& c) {
  push_message(c, c.message_offset, c.message_bytes, c.bulk_dropped ? 0 : c.bulk_offset,
               c.bulk_bytes, c.bulk_owns_slot);
  c.message_offset = 0;
  c.skip_bytes = align_up(c.bulk_bytes, 8) - c.bulk_bytes;
}

}  // namespace sealfs::tcp
