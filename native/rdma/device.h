// Goal: what the connections of one engine on one RDMA device share: protection domain, the arena's
// registrations, completion queue and channel, shared receive queue, and the device's limits.
//
// Who may reach what (of the slots; a share as well, by keys of its own, keys.h): with memory
// windows the arena is registered for local access, and a window opens a slot for the time of a
// request. Without them an engine that connects out must register it for remote access; it does so
// in a protection domain of its own, for outgoing connections only, so that no peer that connects
// to us can reach anything. Hence up to two Devices for one context.
//
// Receive buffers in the shared queue are promised to connections (credits); those of a connection
// that is gone stay in the queue and are promised to the next (`spare`). When the last connection
// is gone the queue is destroyed, which brings all of them back for certain.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "native/common/arena.h"
#include "native/rdma/buffers.h"
#include "native/rdma/device_use.h"
#include "native/rdma/keys.h"
#include "native/rdma/verbs.h"

namespace sealfs::rdma {

// wr_id: what completed. Sends carry their connection and their place in its send queue.
//   [ 63 receive | 62..32 connection | 31..0 sequence, or buffer ]
constexpr uint64_t kReceiveWork = uint64_t{1} << 63;
constexpr uint64_t send_work(uint32_t connection, uint32_t sequence) {
  return uint64_t{connection} << 32 | sequence;
}

// Bounds of docs/formats/rdma.md, "Limits and profiles", after the device was asked.
struct Limits {
  uint32_t send_depth_out = 512;
  uint32_t send_depth_in = 256;
  uint32_t gather_max = 16;   // pieces of memory in one work request
  uint32_t inline_max = 256;  // asked for; a queue pair may have more or less
  uint8_t reads_out = 16;     // RDMA READs that we have under way on a connection
  uint8_t reads_in = 16;      // and that we answer
  uint8_t rnr_timer = 14;     // 1.28 ms
};

class Device {
 public:
  // `lends`: connections made over it lend memory of the arena without windows. Null, with the code
  // of a Reason in *why, when the device refuses.
  static std::unique_ptr<Device> create(ibv_context* verbs, bool lends, bool windows_wanted,
                                        std::shared_ptr<Arena> arena, uint32_t* why);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Makes room in the completion queue for so many more completions; false: the device has not.
  bool reserve_completions(uint32_t count);
  void release_completions(uint32_t count) { completions_reserved_ -= count; }

  // Makes the shared receive queue when it is not there.
  bool ready_to_receive(const Buffers& buffers);
  // Buffers into the shared receive queue. How many went; the device refuses the others, which are
  // the caller's still.
  uint32_t post_receives(const Buffers& buffers, const uint32_t* indexes, uint32_t count);
  // Destroys the shared receive queue: its buffers are free again.
  void drop_receives(Buffers& buffers);
  // A posted buffer came back with a completion.
  void received(uint32_t buffer) { posted_[buffer] = false; }

  // ---- notification
  bool armed() const { return armed_; }
  // False: the device is gone.
  bool request_notification();
  // After a sleep: takes events from the channel, so that its descriptor is quiet again.
  void take_notifications();

  // Keeps librdmacm from closing the device under us, and hears of its removal. Destroyed last.
  ConnectionId anchor;
  ibv_context* const verbs;
  const bool lends;
  bool windows = false;  // of type 2, with send and invalidate
  bool rxe = false;      // Soft-RoCE
  bool siw = false;      // Soft-iWARP
  bool iwarp = false;
  bool gone = false;  // removed from the machine
  Limits limits;
  uint32_t connections = 0;
  uint32_t spare = 0;                             // posted and promised to nobody
  std::unordered_map<uint32_t, uint32_t> owners;  // queue pair number to connection

  ibv_pd* pd() const { return pd_.get(); }
  const Keys& keys() const { return keys_; }
  ibv_cq* cq() const { return cq_.get(); }
  ibv_srq* srq() const { return srq_.get(); }
  int channel_fd() const { return channel_->fd; }

 private:
  Device(ibv_context* context, bool lends_memory, std::shared_ptr<Arena> arena)
      : verbs(context), lends(lends_memory), use_(context), arena_(std::move(arena)) {}
  bool query(bool windows_wanted);
  uint32_t set_up();

  DeviceUse use_;  // outlives what is made of the device, not the anchor
  std::shared_ptr<Arena> arena_;
  uint32_t completions_max_ = 0;
  uint32_t completions_reserved_ = 0;
  uint32_t receives_max_ = 0;
  bool armed_ = false;
  unsigned unacked_ = 0;
  std::vector<bool> posted_;  // by buffer

  // Destroyed from the last to the first: the queue pairs of connections are gone by then.
  ProtectionDomain pd_;
  Keys keys_;
  CompletionChannel channel_;
  CompletionQueue cq_;
  SharedReceiveQueue srq_;
};

}  // namespace sealfs::rdma
