// Goal: the state of one connection of the socket engine (engine.h), and the limits of all.
//
//   reserved ─connect─> connecting ─> open ─> (gone)       number given by reserve()
//       ^                   │failed
//       └───────────────────┘                              accepted ones begin open
#pragma once

#include <cstdint>
#include <vector>

#include "native/common/arena.h"
#include "native/common/connection_table.h"
#include "native/common/engine_rings.h"
#include "native/common/frames.h"
#include "native/common/landings.h"
#include "native/common/wire.generated.h"

namespace sealfs::tcp {

using engine::Counters;
using engine::Landing;
using engine::Reason;
using engine::Record;
using engine::RecordKind;
using engine::Segment;
using engine::Submission;
using engine::SubmissionKind;

constexpr uint32_t kAcceptsPerHarvest = 64;

// Reading. A frame is at least its header long, so a read of n bytes makes at most n / 32 records
// and one more that was held.
constexpr uint32_t kReadMaxBytes = 256 << 10;
constexpr uint32_t kReadMinBytes = 4 << 10;
constexpr uint32_t kReadStartBytes = 16 << 10;
// What is read beyond a bulk in the same call; small, because what it holds of the next bulk must
// be copied.
constexpr uint32_t kReadBeyondBulkBytes = 4 << 10;
constexpr uint32_t kReadsPerHarvest = 4;  // of one connection: then the others have their turn
// With so few connections open, sockets are asked directly instead of through epoll.
constexpr uint32_t kDirectConnections = 4;
constexpr uint32_t kDirectMissesMax = 256;
// A connection that holds a bulk slot and brings nothing for so many ticks (of tcp.ts) is closed.
constexpr uint32_t kStallTicks = 6;

// Writing.
constexpr uint32_t kGatherSegments = 256;
constexpr uint32_t kSendSegmentsMax = 16384;  // beyond: the connection is closed
// A client that does not read its replies is not read from either beyond this (accepted
// connections only: were both sides to wait, neither would go on).
constexpr uint32_t kBacklogSegments = 512;
constexpr uint64_t kBacklogBytes = 4 << 20;

static_assert(kReadMaxBytes / engine::kFrameHeaderBytes <= engine::kRecordsMax);
static_assert(kReadMaxBytes + 2 * kMessageSlot <= kReceiveAreaBytes);
static_assert(kBacklogSegments * 2 <= kSendSegmentsMax);

enum class State : uint8_t { kReserved, kConnecting, kOpen };

struct Connection {
  uint32_t id = 0;
  int fd = -1;
  State state = State::kReserved;
  bool incoming = false;

  // ---- receiving
  bool readable = false;  // the socket may have data; cleared when a read drained it
  bool hung_up = false;   // the end of the stream is near: read until it is seen
  bool listed = false;    // in the engine's ready list
  bool hot = false;       // in the engine's list of sockets asked directly
  bool waiting = false;   // `held` begins with a frame whose bulk found no free slot
  uint32_t misses = 0;    // direct reads in a row that found nothing
  uint32_t read_bytes = kReadStartBytes;
  uint32_t progress_tick = 0;
  // Bytes of a frame that is not complete; while bulk arrives: its message.
  std::vector<uint8_t> held;
  uint32_t skip_bytes = 0;  // padding behind a bulk, still to come

  // ---- bulk on its way in, while bulk_left > 0
  uint32_t bulk_offset = 0;
  uint32_t bulk_bytes = 0;
  uint32_t bulk_left = 0;
  uint32_t bulk_tag = 0;        // of a landing
  bool bulk_owns_slot = false;  // a request's: bulk_offset is a bulk slot
  bool bulk_dropped = false;    // its landing was withdrawn
  uint32_t message_offset = 0;  // of its message, in the receive area, within one harvest; else 0
  uint32_t message_bytes = 0;
  engine::Landings<> landings;

  // ---- sending
  std::vector<Segment> queue;
  size_t queue_head = 0;
  uint32_t head_sent_bytes = 0;  // of the segment at the head
  uint64_t queued_bytes = 0;
  bool blocked = false;  // the socket took no more; its EPOLLOUT edge follows
  bool dirty = false;    // in the engine's list of connections to flush
  bool backlogged = false;
  uint32_t awaiting = 0;  // frames sent, less frames received, of a connection that we opened

  size_t queued_segments() const { return queue.size() - queue_head; }
};

}  // namespace sealfs::tcp
