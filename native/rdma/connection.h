// Goal: the state of one connection of the rdma engine (engine.h), and the limits of all.
//
//   outgoing  reserved ─connect─> resolving ─> connecting ─established─> open
//                 ^                   │ failed       │
//                 └───────────────────┴──────────────┘
//   incoming  request ─> accepted ─established, or the first frame─> open
//   open ─close─> draining ─queue empty, or time is up─┐
//   any ─error, disconnect, withdrawal─────────────────┴> doomed ─queue pair destroyed─> (gone)
//
// A frame on its way out           A frame on its way in
//   queue ─posted─> sent_ until      inbox: needs a slot ─> needs posting ─> reading ─> ready
//   a completion releases slots      (a frame without bulk is ready at once), handed up in order
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "native/common/frames.h"
#include "native/common/landings.h"
#include "native/rdma/device.h"
#include "native/rdma/protocol.h"
#include "native/rdma/verbs.h"

namespace sealfs::rdma {

using engine::Segment;

constexpr uint32_t kCreditsWanted = 16;
constexpr uint32_t kResolveMs = 2000;
constexpr uint32_t kDrainMs = 1000;
constexpr uint8_t kAckTimeout = 17;  // 2^17 times 4.096 us = 0.54 s
constexpr uint8_t kRetries = 7;
constexpr uint8_t kRnrRetries = 7;               // for ever
constexpr uint32_t kQueuedSegmentsMax = 16'384;  // beyond: the connection is closed
// An accepted connection is closed when for so many ticks its peer gives no credits while frames
// wait, or acknowledges nothing of what is under way.
constexpr uint32_t kStallTicks = 6;
// One with nothing under way is probed when it was quiet for more.
constexpr uint32_t kProbeTicks = 1;
// An accepted connection with so much waiting gets no more credits until it is less.
constexpr uint32_t kBacklogSegments = 512;
constexpr uint64_t kBacklogBytes = 4 << 20;

enum class State : uint8_t {
  kReserved,
  kResolving,
  kConnecting,
  kAccepted,
  kOpen,
  kDraining,
  kDoomed
};

constexpr uint32_t kNoWindow = UINT32_MAX;

// A type 2 window of one connection. Its key changes with every binding.
struct Window {
  MemoryWindow handle;
  uint32_t rkey = 0;  // of the last binding
};

struct Landing : engine::Landing {
  bool listed = false;  // in `untold`
  bool forget = false;  // it has ended, and the peer could still use its key
  bool told = false;
  uint32_t window = kNoWindow;
};

// What the peer told of a landing of its own.
struct RemoteLanding {
  enum class Use : uint8_t { kNone, kSet, kWithdrawn };
  uint64_t address = 0;
  uint32_t bytes = 0;
  uint32_t rkey = 0;
  Use use = Use::kNone;
};

// A frame that waits to leave; its segments of bulk are the next in `segments`.
struct Outgoing {
  Segment message;
  uint32_t segments = 0;
  uint32_t bulk_bytes = 0;
  uint32_t tag = 0;
  bool reply = false;
  bool stalled = false;  // counted as one that waited for credit
};

// Something to give back when the send queue has completed `sequence`.
struct Sent {
  static constexpr uint32_t kPrefix = 1u << 31;  // in segment.flags: a prefix slot
  uint32_t sequence;
  Segment segment;
};

// Memory lent to the peer with request number `bulk`, until it has pulled that.
struct Lent {
  uint32_t bulk;
  uint32_t window;
  Segment segment;
};

// A received frame that is not handed up yet.
struct Inbound {
  enum class Stage : uint8_t { kNeedsSlot, kNeedsPosting, kReading, kReady };
  Stage stage = Stage::kReady;
  bool owns_slot = false;
  bool awaits_pull = false;
  uint32_t buffer = 0;
  uint32_t message_offset = 0;
  uint32_t message_bytes = 0;
  uint32_t bulk_offset = 0;
  uint32_t bulk_bytes = 0;
  uint32_t sources = 0;
  uint32_t read_sequence = 0;  // of its last READ
};

struct Connection {
  uint32_t id = 0;
  State state = State::kReserved;
  bool incoming = false;
  bool announced = false;  // JavaScript knows its number
  uint32_t reason = 0;     // of a doomed one
  Device* device = nullptr;
  ConnectionId cm;
  bool connected = false;  // the peer's end exists: it is told of our end
  Peer peer;
  uint32_t completions = 0;  // reserved of the device's completion queue
  uint64_t drain_until_ns = 0;

  // ---- receiving. Counts run modulo 2^32.
  uint32_t credits = 0;    // buffers that we keep for the peer
  uint32_t granted = 0;    // buffers posted for it since it began
  uint32_t told = 0;       // of which it knows
  uint32_t received = 0;   // frames
  uint32_t pulled = 0;     // requests' bulks read
  bool pull_due = false;   // the peer waits to hear of the last of them
  uint32_t reads = 0;      // frames in stage kReading
  uint32_t read_work = 0;  // their work requests
  bool owing = false;      // in the engine's list of those that may owe a credit frame
  bool waiting = false;    // in the engine's list of those that wait for a bulk slot
  bool stuck = false;      // in the engine's list of those whose ready frames found no record
  bool backlogged = false;
  std::deque<Inbound> inbox;
  std::vector<uint32_t> withheld;  // buffers not posted again while it is backlogged
  engine::Landings<Landing> landings;
  std::vector<uint16_t> untold;  // tags whose landing, or withdrawal, the next frame tells
  RemoteLanding remote[wire::kRpcSlots];

  // ---- sending
  std::deque<Outgoing> queue;
  std::deque<Segment> segments;
  uint64_t queued_bytes = 0;
  uint32_t peer_granted = 0;
  uint32_t frames_sent = 0;   // what costs credit
  uint32_t bulks_sent = 0;    // requests with bulk
  uint32_t bulks_pulled = 0;  // of which the peer has read so many
  std::deque<Lent> lent;
  std::deque<Sent> sent;
  uint32_t depth = 0;  // of the send queue
  uint32_t inline_max = 0;
  uint32_t posted = 0;     // work requests, of which
  uint32_t completed = 0;  // so many are done
  uint32_t signalled = 0;  // `posted` behind the last that will tell
  bool dirty = false;      // in the engine's list of those with something to post
  bool credit_due = false;
  bool probe_due = false;
  uint32_t awaiting = 0;  // frames sent, less frames received, of a connection that we opened
  uint32_t active_tick = 0;
  std::vector<Window> windows;
  std::vector<uint32_t> free_windows;
  std::deque<Lent> ended;  // windows to be invalidated, and what is free after that

  // READs are counted as under way until they say themselves that they are done.
  uint32_t room() const {
    const uint32_t under_way = posted - completed + read_work;
    return under_way < depth ? depth - under_way : 0;
  }
  uint32_t credit() const { return peer_granted - frames_sent; }
  bool usable() const { return state == State::kOpen || state == State::kDraining; }
};

}  // namespace sealfs::rdma
