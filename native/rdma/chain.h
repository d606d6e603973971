// Goal: the work requests of one connection that leave together, with one ring of the doorbell.
// Method: fixed scratch memory of the engine, filled anew for each connection.
//
//   begin(c) ── add(opcode).piece(…) … ──> post()
//
// Signalled are: what asks for it (signal()), the last of a chain that holds slots to be given back
// (signal_end()), and otherwise one in a quarter of the send queue's depth, so that room is learnt.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "native/common/engine_layout.generated.h"
#include "native/rdma/connection.h"

namespace sealfs::rdma {

constexpr uint32_t kChainMax = 128;
constexpr uint32_t kGatherMax = 16;
constexpr uint32_t kInlineMax = 512;
// Of one frame: the rest of a send queue of 128 holds at most a quarter that is not signalled.
constexpr uint32_t kFrameWorkMax = 96;

static_assert(kSourcesMax + wire::kRpcSlots + 1 <= kFrameWorkMax && kFrameWorkMax <= kChainMax);

class Chain {
 public:
  void begin(Connection& c) {
    connection_ = &c;
    count_ = pieces_ = 0;
    signal_end_ = false;
  }

  uint32_t room() const { return kChainMax - count_; }
  uint32_t count() const { return count_; }
  uint32_t last_sequence() const { return connection_->posted - 1; }

  // The caller has seen to it that the chain and the send queue have room.
  ibv_send_wr& add(ibv_wr_opcode opcode) {
    Connection& c = *connection_;
    ibv_send_wr& work = work_[count_++];
    work = {};
    work.opcode = opcode;
    work.sg_list = &sges_[pieces_];
    work.wr_id = send_work(c.id, c.posted++);
    // siw sends what is not signalled out of the memory itself, also after a later completion.
    if (c.posted - c.signalled >= c.depth / 4 || c.device->siw) signal();
    return work;
  }

  // One more piece of memory for the work request added last.
  void piece(const void* address, uint32_t bytes) {
    sges_[pieces_++] = {reinterpret_cast<uint64_t>(address), bytes,
                        connection_->device->keys().at(address)->lkey};
    work_[count_ - 1].num_sge++;
  }

  // Memory for what goes inline with the work request added last.
  uint8_t* inline_memory() { return inline_[count_ - 1].data(); }

  // Binds a window anew with the work request added last. Its handle says the key that it has until
  // then, which some devices want to know.
  void bind(ibv_mw* window, uint32_t rkey) {
    work_[count_ - 1].bind_mw.mw = window;
    work_[count_ - 1].bind_mw.rkey = rkey;
    bound_.push_back({window, rkey});
  }

  void signal() {
    work_[count_ - 1].send_flags |= IBV_SEND_SIGNALED;
    connection_->signalled = connection_->posted;
  }
  void signal_end() { signal_end_ = true; }

  // Frees `segment` when the chain is posted: its bytes went inline.
  void release_after(const Segment& segment) { after_.push_back(segment); }

  // The connection was condemned: nothing of what was added leaves.
  void drop(Arena& arena) {
    count_ = 0;
    bound_.clear();
    engine::release_all(arena, after_);
    after_.clear();
  }

  // False: the device refused. What was added is then gone with the connection.
  bool post(Arena& arena, engine::Counters& counters) {
    if (count_ == 0) return true;
    if (signal_end_) signal();
    for (uint32_t i = 0; i + 1 < count_; i++) work_[i].next = &work_[i + 1];
    ibv_send_wr* bad = nullptr;
    const bool posted = ibv_post_send(connection_->cm->qp, work_.data(), &bad) == 0;
    engine::release_all(arena, after_);
    after_.clear();
    for (const Bound& bound : bound_) bound.window->rkey = bound.rkey;
    bound_.clear();
    counters.work_requests += count_;
    counters.doorbells++;
    begin(*connection_);
    return posted;
  }

 private:
  struct Bound {
    ibv_mw* window;
    uint32_t rkey;
  };

  Connection* connection_ = nullptr;
  uint32_t count_ = 0;
  uint32_t pieces_ = 0;
  bool signal_end_ = false;
  std::array<ibv_send_wr, kChainMax> work_;
  std::array<ibv_sge, size_t{kChainMax} * kGatherMax> sges_;
  std::array<std::array<uint8_t, kInlineMax>, kChainMax> inline_;
  std::vector<Segment> after_;
  std::vector<Bound> bound_;
};

}  // namespace sealfs::rdma
