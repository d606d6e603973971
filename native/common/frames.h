// Goal: frames as every transport engine takes them from JavaScript and from a peer: the segments
// of one frame gathered from the submission ring, checked, given back to the arena; and the checks
// of a header that came. Nothing else may trust a length.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "native/common/arena.h"
#include "native/common/engine_layout.generated.h"
#include "native/common/wire.generated.h"

namespace sealfs::engine {

constexpr uint32_t kFrameHeaderBytes = sizeof(wire::FrameHeader);
constexpr uint32_t kRepliesFlag = 1;  // FrameHeader.flags

constexpr uint32_t code(Reason reason) { return static_cast<uint32_t>(reason); }

// A piece of the arena that leaves, and what becomes of it then.
struct Segment {
  static constexpr uint32_t kReleaseMessage = 1;
  static constexpr uint32_t kReleaseBulk = 2;
  static constexpr uint32_t kFrameEnd = 4;
  uint32_t offset;
  uint32_t bytes;
  uint32_t flags;
};

// Gives the slot of a segment back, if that is due.
inline void release(Arena& arena, const Segment& segment) {
  if (segment.flags & Segment::kReleaseMessage) (void)arena.give_message(segment.offset);
  if (segment.flags & Segment::kReleaseBulk) (void)arena.give_bulk(segment.offset);
}

inline void release_all(Arena& arena, const std::vector<Segment>& segments, size_t from = 0) {
  for (size_t i = from; i < segments.size(); i++) release(arena, segments[i]);
}

// The frame that is submitted next. Bulk submissions are added; the Frame submission ends it:
//
//   add(bulk) … add(bulk) end(frame) ──> message(), bulk(), bulk_bytes() ──> clear() or drop()
class FrameGatherer {
 public:
  explicit FrameGatherer(Arena& arena) : arena_(arena) {}

  void add(const Submission& s) {
    bulk_.push_back({s.offset, s.length_bytes, s.release ? Segment::kReleaseBulk : 0});
  }

  // False: the frame or its bulk is not wholly in the arena, or too long: drop() it and close with
  // kBadSubmission. True: the header's bulkBytes is now filled in.
  bool end(const Submission& s) {
    message_ = {s.offset, s.length_bytes, s.release ? Segment::kReleaseMessage : 0};
    bool valid = s.offset % 8 == 0 && s.length_bytes % 8 == 0 &&
                 s.length_bytes >= kFrameHeaderBytes && s.length_bytes <= kMessageSlot &&
                 arena_.contains(s.offset, s.length_bytes);
    uint64_t bulk = 0;
    for (const Segment& segment : bulk_) {
      bulk += segment.bytes;
      valid = valid && arena_.contains(segment.offset, segment.bytes);
    }
    if (!valid || bulk > wire::kMaxBulkBytes) return false;
    bulk_bytes_ = static_cast<uint32_t>(bulk);
    memcpy(arena_.at(s.offset) + offsetof(wire::FrameHeader, bulk_bytes), &bulk_bytes_,
           sizeof bulk_bytes_);
    return true;
  }

  const Segment& message() const { return message_; }
  const std::vector<Segment>& bulk() const { return bulk_; }
  uint32_t bulk_bytes() const { return bulk_bytes_; }
  const wire::FrameHeader& header() const {
    return *reinterpret_cast<const wire::FrameHeader*>(arena_.at(message_.offset));
  }

  // The frame is the engine's now: forgets it.
  void clear() { bulk_.clear(); }
  // Nobody takes the frame: gives its slots back. Without a frame ended: those of bulk added.
  void drop() {
    release(arena_, message_);
    drop_bulk();
  }
  void drop_bulk() {
    release_all(arena_, bulk_);
    bulk_.clear();
  }

 private:
  Arena& arena_;
  Segment message_{};
  std::vector<Segment> bulk_;
  uint32_t bulk_bytes_ = 0;
};

// A peer's header: 0, or the Reason to close as a code. `available` bytes of it are there, at least
// the magic's; what is not there is not judged.
inline uint32_t check_header(const wire::FrameHeader& h, uint32_t available) {
  if (h.magic != wire::kFrameMagic) return code(Reason::kBadMagic);
  if (available < kFrameHeaderBytes) return 0;
  if (h.message_bytes < kFrameHeaderBytes || h.message_bytes > kMessageSlot ||
      h.message_bytes % 8) {
    return code(Reason::kBadMessageBytes);
  }
  if (h.bulk_bytes > wire::kMaxBulkBytes) return code(Reason::kBadBulkBytes);
  return 0;
}

// Whether a connection that closed for this shows a peer that breaks the rules (or broke off in the
// middle), for the counter; errno, and what we or the network did, do not.
inline bool is_protocol_error(uint32_t reason) {
  return reason > code(Reason::kPeerClosed) && reason <= code(Reason::kVersionMismatch) &&
         reason != code(Reason::kBadSubmission) && reason != code(Reason::kClosedHere);
}

// A copy by the CPU in user space, of messages or bulk, either way.
inline void count_copy(Counters& counters, size_t bytes) {
  double& by_size = bytes < 4096    ? counters.copied_below4k
                    : bytes < 65536 ? counters.copied_below64k
                                    : counters.copied_above;
  by_size += static_cast<double>(bytes);
}

}  // namespace sealfs::engine
