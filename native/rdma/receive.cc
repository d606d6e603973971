// Goal and method: engine.h. Here: from a completed receive to a record.
//
// Everything that a peer sends is checked by protocol.h, and what that cannot know (credits, keys,
// landings) here, before anything of it is used. A frame whose bulk is still to be read waits in
// its receive buffer, and so do those behind it:
//
//   inbox  [ reading | reading | needs a slot | ready | ready ]
//            front: handed up as soon as it is ready
#include <algorithm>
#include <cstring>

#include "native/rdma/engine.h"

namespace sealfs::rdma {
namespace {

// rxe copies the kernel's flag into the completion, which libibverbs has at another place; there
// the bit means something that only raw and datagram queue pairs report.
bool with_invalidate(const Device& device, const ibv_wc& completion) {
  const unsigned flags = IBV_WC_WITH_INV | (device.rxe ? unsigned{IBV_WC_IP_CSUM_OK} : 0u);
  return (completion.wc_flags & flags) != 0;
}

}  // namespace

void Engine::on_receive(Device& device, const ibv_wc& completion) {
  const auto buffer = static_cast<uint32_t>(completion.wr_id);
  device.received(buffer);
  const auto owner = device.owners.find(completion.qp_num);
  Connection* c = owner == device.owners.end() ? nullptr : connections_.find(owner->second);
  if (c == nullptr) {
    if (device.spare > 0) device.spare--;
    buffers_.give(buffer);
    return;
  }
  c->received++;
  if (c->state == State::kDoomed) {
    buffers_.give(buffer);
    return;
  }
  uint32_t wrong = 0;
  if (completion.status != IBV_WC_SUCCESS) {
    wrong = completion_reason(completion);
  } else if (c->told - c->received > c->credits) {  // received more than told, modulo 2^32
    wrong = code(Reason::kCreditOverrun);
  }
  if (wrong == 0) {
    // The peer's first frame may overtake the word of the connection manager.
    if (c->state == State::kAccepted) established(*c);
    take_received(*c, buffer, completion);
    return;
  }
  buffers_.give(buffer);
  condemn(*c, wrong);
}

void Engine::take_received(Connection& c, uint32_t buffer, const ibv_wc& completion) {
  const uint32_t at = buffers_.offset(buffer);
  Frame frame;
  Inbound inbound;
  inbound.buffer = buffer;
  uint32_t wrong = parse_frame(c.peer, arena_->at(at), completion.byte_len, &frame);
  if (wrong == 0) wrong = apply_prefix(c, frame.prefix);
  const bool bulk = frame.header.bulk_bytes > 0;
  if (wrong == 0 && bulk && frame.reply()) {
    wrong = take_reply_bulk(c, frame, completion, &inbound);
  } else if (wrong == 0 && with_invalidate(*c.device, completion)) {
    wrong = code(Reason::kBadDescriptor);  // it has made useless what was lent for something else
  }
  if (wrong != 0) {
    buffers_.give(buffer);
    condemn(c, wrong);
    return;
  }
  c.active_tick = tick_;
  if (frame.message_bytes == 0) {
    // Granted again at once, whatever else is held back: an end can always return credits.
    repost(c, &buffer, 1);
    return;
  }
  apply_descriptors(c, frame);
  inbound.message_offset = at + frame.message_at;
  inbound.message_bytes = frame.message_bytes;
  if (bulk && !frame.reply()) {
    inbound.stage = Inbound::Stage::kNeedsSlot;
    inbound.bulk_bytes = frame.header.bulk_bytes;
    inbound.sources = frame.sources;
    inbound.awaits_pull = (frame.prefix.flags & kPrefixAwaitsPull) != 0;
    c.inbox.push_back(inbound);
    mark_dirty(c);
  } else if (!c.inbox.empty() || !hand_up(c, inbound)) {
    c.inbox.push_back(inbound);
  }
}

// Credits and pulled bulks. 0 or the Reason to close.
uint32_t Engine::apply_prefix(Connection& c, const FramePrefix& prefix) {
  if (prefix.credits - c.frames_sent > c.peer.credits ||
      prefix.credits - c.peer_granted > c.peer.credits ||
      prefix.pulled - c.bulks_pulled > c.bulks_sent - c.bulks_pulled) {
    return code(Reason::kBadPrefix);
  }
  if (prefix.credits != c.peer_granted) {
    c.peer_granted = prefix.credits;
    if (!c.queue.empty() || c.credit_due) mark_dirty(c);
  }
  if (prefix.pulled != c.bulks_pulled) pulled(c, prefix.pulled);
  return 0;
}

void Engine::apply_descriptors(Connection& c, const Frame& frame) {
  for (uint32_t i = 0; i < frame.prefix.descriptor_count; i++) {
    const Descriptor& d = frame.descriptors[i];
    if (static_cast<DescriptorKind>(d.kind) == DescriptorKind::kSource) continue;
    const bool set = static_cast<DescriptorKind>(d.kind) == DescriptorKind::kLanding;
    c.remote[d.tag] = {d.address, d.length_bytes, d.rkey,
                       set ? RemoteLanding::Use::kSet : RemoteLanding::Use::kWithdrawn};
  }
}

// The bulk of a reply lies in its landing, or was dropped there. 0 or the Reason to close.
uint32_t Engine::take_reply_bulk(Connection& c, const Frame& frame, const ibv_wc& completion,
                                 Inbound* inbound) {
  Landing landing;
  const uint32_t wrong = c.landings.take(frame.header.bulk_tag, frame.header.bulk_bytes, &landing);
  if (wrong != 0) return wrong;
  const bool invalidated = with_invalidate(*c.device, completion);
  const bool withdrawn = landing.use == Landing::Use::kWithdrawn;
  inbound->bulk_bytes = frame.header.bulk_bytes;
  if (frame.dropped() || withdrawn) {
    // Only what was never told can be withdrawn on an open connection, and only that is dropped.
    const bool agreed = frame.dropped() && withdrawn && !invalidated;
    return agreed ? 0 : code(Reason::kNoLanding);
  }
  if (!landing.told) return code(Reason::kNoLanding);
  inbound->bulk_offset = landing.offset;
  if (landing.window == kNoWindow) {
    return invalidated ? code(Reason::kBadDescriptor) : 0;
  }
  c.free_windows.push_back(landing.window);
  const bool ours = invalidated && completion.invalidated_rkey == c.windows[landing.window].rkey;
  return ours ? 0 : code(Reason::kBadDescriptor);
}

// False: there is no record for it now; it stays in the inbox.
bool Engine::hand_up(Connection& c, const Inbound& inbound) {
  if (c.state == State::kDraining) {  // closed here: nobody reads it any more
    if (inbound.owns_slot) (void)arena_->give_bulk(inbound.bulk_offset);
    handed_.push_back({inbound.buffer, c.id});
    return true;
  }
  if (!events_.emit(records_) || records_.full()) {
    if (!c.stuck) {
      c.stuck = true;
      stuck_.push_back(c.id);
    }
    return false;
  }
  engine::push_message(records_, c.id, inbound.message_offset, inbound.message_bytes,
                       inbound.bulk_offset, inbound.bulk_bytes, inbound.owns_slot);
  handed_.push_back({inbound.buffer, c.id});
  counters_.frames_received++;
  counters_.bytes_received += inbound.message_bytes;
  if (inbound.bulk_offset != 0) counters_.bytes_received += inbound.bulk_bytes;
  if (c.awaiting > 0) {
    c.awaiting--;
    awaiting_--;
  }
  return true;
}

void Engine::hand_up_ready(Connection& c) {
  while (!c.inbox.empty() && c.inbox.front().stage == Inbound::Stage::kReady) {
    if (!hand_up(c, c.inbox.front())) return;
    c.inbox.pop_front();
  }
}

// ---------------------------------------------------------------- bulk of requests

// Posts READs for the frames of the inbox, in order, as far as slots and the send queue go.
void Engine::start_reads(Connection& c) {
  if (c.state != State::kOpen) return;
  for (Inbound& inbound : c.inbox) {
    if (inbound.stage == Inbound::Stage::kNeedsSlot) {
      inbound.bulk_offset = arena_->take_bulk();
      if (inbound.bulk_offset == 0) {
        if (c.waiting) return;
        c.waiting = true;
        waiting_.push_back(c.id);
        return;
      }
      inbound.owns_slot = true;
      inbound.stage = Inbound::Stage::kNeedsPosting;
    }
    if (inbound.stage == Inbound::Stage::kNeedsPosting && !post_read(c, inbound)) return;
  }
}

bool Engine::post_read(Connection& c, Inbound& inbound) {
  if (inbound.sources > c.room()) return false;
  if (inbound.sources > chain_->room() && !flush_chain(c)) return false;
  const auto* d = reinterpret_cast<const Descriptor*>(
      arena_->at(buffers_.offset(inbound.buffer) + kPrefixBytes));
  uint32_t at = inbound.bulk_offset;
  for (uint32_t left = inbound.sources; left > 0; d++) {
    if (static_cast<DescriptorKind>(d->kind) != DescriptorKind::kSource) continue;
    ibv_send_wr& work = chain_->add(IBV_WR_RDMA_READ);
    work.wr.rdma.remote_addr = d->address;
    work.wr.rdma.rkey = d->rkey;
    chain_->piece(arena_->at(at), d->length_bytes);
    at += d->length_bytes;
    left--;
  }
  chain_->signal();
  counters_.bulk_reads += inbound.sources;
  inbound.read_sequence = chain_->last_sequence();
  inbound.stage = Inbound::Stage::kReading;
  c.reads++;
  c.read_work += inbound.sources;
  reads_++;
  return true;
}

// The READ of this place in the send queue is done. Only its own completion says so: siw completes
// a send that was posted behind a READ before it.
void Engine::finish_read(Connection& c, uint32_t sequence) {
  const auto done = std::find_if(c.inbox.begin(), c.inbox.end(), [&](const Inbound& inbound) {
    return inbound.stage == Inbound::Stage::kReading && inbound.read_sequence == sequence;
  });
  if (done == c.inbox.end()) return;
  done->stage = Inbound::Stage::kReady;
  c.pulled++;  // they are done in the order of their frames
  if (done->awaits_pull) {
    c.pull_due = true;
    mark_owing(c);
  }
  c.reads--;
  c.read_work -= done->sources;
  reads_--;
  hand_up_ready(c);
}

}  // namespace sealfs::rdma
