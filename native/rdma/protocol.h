// Goal: everything that a peer says beside the frames themselves is judged here, before anything of
// it is used. Method: pure functions over bytes, so that tests and fuzzers reach them without a
// device. Format: docs/formats/rdma.md.
//
//   Hello    ── check_hello ──> Peer            what the peer's memory and credits are
//   a SEND   ── parse_frame(Peer) ──> Frame     prefix, descriptors, message: all within bounds
#pragma once

#include <cstdint>
#include <cstring>

#include "native/common/arena.h"
#include "native/common/frames.h"
#include "native/rdma/protocol.generated.h"

namespace sealfs::rdma {

using engine::code;
using engine::Reason;

constexpr uint32_t kMagic = 0x31524653;  // 'SFR1', little endian
constexpr uint16_t kVersion = 1;
constexpr uint16_t kHelloWindows = 1;  // Hello.flags

constexpr uint16_t kPrefixNoMessage = 1;  // FramePrefix.flags
constexpr uint16_t kPrefixDropped = 2;
constexpr uint16_t kPrefixAwaitsPull = 4;
constexpr uint16_t kPrefixFlags = kPrefixNoMessage | kPrefixDropped | kPrefixAwaitsPull;

constexpr uint32_t kCreditsMin = 4;
constexpr uint32_t kCreditsMax = 256;
constexpr uint32_t kSourcesMax = 20;
constexpr uint32_t kDescriptorsMax = 84;  // of one frame: sources, and each tag's landing once
constexpr uint32_t kPrefixBytes = sizeof(FramePrefix);
constexpr uint32_t kPrefixBytesMax = kPrefixBytes + kDescriptorsMax * sizeof(Descriptor);
constexpr uint32_t kReceiveBytes = 18'432;  // one receive buffer

static_assert(kSourcesMax + wire::kRpcSlots <= kDescriptorsMax);
static_assert(kPrefixBytesMax + kMessageSlot <= kReceiveBytes);
static_assert(sizeof(Hello) == 48 && sizeof(Hello) <= 56);  // what the connection manager carries

// What a peer announced, after check_hello.
struct Peer {
  uint64_t arena_address = 0;
  uint64_t arena_bytes = 0;
  uint32_t credits = 0;
  bool windows = false;
};

// 0 and the peer in *out, or the RefusalCode that answers it. Private data is padded with zeros by
// the connection manager, so `bytes` may be more than a Hello.
inline uint16_t check_hello(const void* data, size_t bytes, Peer* out) {
  Hello h;
  if (data == nullptr || bytes < sizeof h) return static_cast<uint16_t>(RefusalCode::kMalformed);
  memcpy(&h, data, sizeof h);
  if (h.magic != kMagic) return static_cast<uint16_t>(RefusalCode::kMalformed);
  if (h.version != kVersion) return static_cast<uint16_t>(RefusalCode::kVersion);
  const bool valid = (h.flags & ~kHelloWindows) == 0 && h.arena_bytes < uint64_t{1} << 32 &&
                     h.arena_address <= UINT64_MAX - h.arena_bytes && h.credits >= kCreditsMin &&
                     h.credits <= kCreditsMax && h.message_bytes == kMessageSlot &&
                     h.reserved0 == 0 && h.reserved1 == 0 && h.reserved2 == 0;
  if (!valid) return static_cast<uint16_t>(RefusalCode::kMalformed);
  *out = {h.arena_address, h.arena_bytes, h.credits, (h.flags & kHelloWindows) != 0};
  return 0;
}

// Why a peer refused us, from a rejection's private data; what is no Refusal is a plain rejection.
inline Reason refusal_reason(const void* data, size_t bytes) {
  Refusal r;
  if (data == nullptr || bytes < sizeof r) return Reason::kRejected;
  memcpy(&r, data, sizeof r);
  if (r.magic != kMagic) return Reason::kRejected;
  switch (static_cast<RefusalCode>(r.code)) {
    case RefusalCode::kVersion:
      return Reason::kVersionMismatch;
    case RefusalCode::kNoReceiveBuffers:
      return Reason::kPeerNoReceiveBuffers;
    case RefusalCode::kNoQueuePair:
      return Reason::kPeerNoQueuePair;
    case RefusalCode::kMalformed:
      break;
  }
  return Reason::kRejected;
}

// One SEND, its parts where they were received. Offsets are from its first byte.
struct Frame {
  FramePrefix prefix;
  const Descriptor* descriptors = nullptr;  // prefix.descriptor_count of them, checked
  uint32_t sources = 0;                     // how many of them are sources
  uint32_t message_at = 0;
  uint32_t message_bytes = 0;  // 0: none
  wire::FrameHeader header{};

  bool reply() const { return (header.flags & engine::kRepliesFlag) != 0; }
  bool dropped() const { return (prefix.flags & kPrefixDropped) != 0; }
};

inline bool in_arena(const Peer& peer, uint64_t address, uint64_t bytes) {
  return address >= peer.arena_address && bytes <= peer.arena_bytes &&
         address - peer.arena_address <= peer.arena_bytes - bytes;
}

inline bool check_descriptor(const Peer& peer, const Descriptor& d) {
  if (d.reserved != 0) return false;
  switch (static_cast<DescriptorKind>(d.kind)) {
    case DescriptorKind::kSource:
      return d.tag == 0 && d.length_bytes > 0 && d.length_bytes <= wire::kMaxBulkBytes &&
             in_arena(peer, d.address, d.length_bytes);
    case DescriptorKind::kLanding:
      return d.tag < wire::kRpcSlots && d.length_bytes > 0 &&
             d.length_bytes <= wire::kMaxBulkBytes && in_arena(peer, d.address, d.length_bytes);
    case DescriptorKind::kWithdrawn:
      return d.tag < wire::kRpcSlots && d.rkey == 0 && d.address == 0 && d.length_bytes == 0;
  }
  return false;
}

inline uint32_t check_descriptors(const Peer& peer, Frame* out) {
  uint64_t source_bytes = 0;
  for (uint32_t i = 0; i < out->prefix.descriptor_count; i++) {
    const Descriptor& d = out->descriptors[i];
    if (!check_descriptor(peer, d)) return code(Reason::kBadDescriptor);
    if (static_cast<DescriptorKind>(d.kind) != DescriptorKind::kSource) continue;
    out->sources++;
    source_bytes += d.length_bytes;
  }
  if (out->sources > kSourcesMax) return code(Reason::kBadDescriptor);
  if (source_bytes != (out->reply() ? 0 : out->header.bulk_bytes)) {
    return code(Reason::kBadDescriptor);
  }
  return 0;
}

// 0 and the frame in *out, or the Reason to close as a code. `data` is 8-aligned and stays.
inline uint32_t parse_frame(const Peer& peer, const uint8_t* data, uint32_t bytes, Frame* out) {
  *out = Frame{};
  if (bytes < kPrefixBytes) return code(Reason::kBadPrefix);
  memcpy(&out->prefix, data, kPrefixBytes);
  const FramePrefix& prefix = out->prefix;
  if ((prefix.flags & ~kPrefixFlags) != 0 || prefix.reserved != 0 ||
      prefix.descriptor_count > kDescriptorsMax) {
    return code(Reason::kBadPrefix);
  }
  const uint32_t at = kPrefixBytes + prefix.descriptor_count * uint32_t{sizeof(Descriptor)};
  if (prefix.flags & kPrefixNoMessage) {
    const bool bare =
        bytes == kPrefixBytes && prefix.descriptor_count == 0 && prefix.flags == kPrefixNoMessage;
    return bare ? 0 : code(Reason::kBadPrefix);
  }
  if (bytes < at) return code(Reason::kBadPrefix);
  if (bytes - at < engine::kFrameHeaderBytes) return code(Reason::kBadMessageBytes);
  memcpy(&out->header, data + at, engine::kFrameHeaderBytes);
  const uint32_t wrong = engine::check_header(out->header, bytes - at);
  if (wrong != 0) return wrong;
  if (out->header.message_bytes != bytes - at) return code(Reason::kBadMessageBytes);
  const bool bulk = out->header.bulk_bytes > 0;
  const bool awaits = (prefix.flags & kPrefixAwaitsPull) != 0;
  if ((out->dropped() && !(bulk && out->reply())) || (awaits && !(bulk && !out->reply()))) {
    return code(Reason::kBadPrefix);
  }
  out->descriptors = reinterpret_cast<const Descriptor*>(data + kPrefixBytes);
  out->message_at = at;
  out->message_bytes = bytes - at;
  return check_descriptors(peer, out);
}

}  // namespace sealfs::rdma
