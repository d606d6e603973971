// Protects the checks of native/rdma/protocol.h: what a peer says is taken as it was meant or
// refused, and no bytes whatever make them read or accept what lies outside of the bounds. Needs no
// device. SEALFS_FUZZ_SEED repeats a run.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <random>
#include <vector>

#include "native/rdma/protocol.h"

namespace sealfs::rdma {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kArena = 0x7f00'0000'0000;
constexpr uint64_t kArenaBytes = 64 << 20;
const Peer kPeer{kArena, kArenaBytes, 16, true};

Hello good_hello() {
  Hello h{};
  h.magic = kMagic;
  h.version = kVersion;
  h.flags = kHelloWindows;
  h.arena_address = kArena;
  h.arena_bytes = kArenaBytes;
  h.credits = 16;
  h.message_bytes = kMessageSlot;
  h.reads_max = 4;
  return h;
}

uint16_t refusal(const Hello& h) {
  Peer peer;
  return check_hello(&h, sizeof h, &peer);
}

constexpr auto kMalformed = static_cast<uint16_t>(RefusalCode::kMalformed);

TEST(RdmaProtocolTest, TakesAHelloAsItWasMeant) {
  uint8_t padded[56] = {};
  const Hello h = good_hello();
  memcpy(padded, &h, sizeof h);
  Peer peer;
  ASSERT_EQ(check_hello(padded, sizeof padded, &peer), 0);
  EXPECT_EQ(peer.arena_address, kArena);
  EXPECT_EQ(peer.arena_bytes, kArenaBytes);
  EXPECT_EQ(peer.credits, 16u);
  EXPECT_TRUE(peer.windows);
}

TEST(RdmaProtocolTest, RefusesAHelloThatIsWrong) {
  Peer peer;
  const Hello good = good_hello();
  EXPECT_EQ(check_hello(&good, sizeof good - 1, &peer), kMalformed);
  EXPECT_EQ(check_hello(nullptr, 0, &peer), kMalformed);
  Hello h = good;
  h.version = 2;
  EXPECT_EQ(refusal(h), static_cast<uint16_t>(RefusalCode::kVersion));
  const std::vector<std::function<void(Hello&)>> changes{
      [](Hello& x) { x.magic++; },
      [](Hello& x) { x.flags = 2; },
      [](Hello& x) { x.arena_bytes = uint64_t{1} << 32; },
      [](Hello& x) { x.arena_address = UINT64_MAX - 5; },
      [](Hello& x) { x.credits = kCreditsMin - 1; },
      [](Hello& x) { x.credits = kCreditsMax + 1; },
      [](Hello& x) { x.message_bytes = 4096; },
      [](Hello& x) { x.reserved0 = 1; },
      [](Hello& x) { x.reserved1 = 1; },
      [](Hello& x) { x.reserved2 = 1; },
  };
  for (size_t i = 0; i < changes.size(); i++) {
    h = good;
    changes[i](h);
    EXPECT_EQ(refusal(h), kMalformed) << i;
  }
}

TEST(RdmaProtocolTest, NamesWhyAPeerRefused) {
  Refusal r{kMagic, static_cast<uint16_t>(RefusalCode::kVersion), 7, 0};
  EXPECT_EQ(refusal_reason(&r, sizeof r), Reason::kVersionMismatch);
  r.code = static_cast<uint16_t>(RefusalCode::kNoReceiveBuffers);
  EXPECT_EQ(refusal_reason(&r, sizeof r), Reason::kPeerNoReceiveBuffers);
  r.code = 77;
  EXPECT_EQ(refusal_reason(&r, sizeof r), Reason::kRejected);
  r.magic = 0;
  EXPECT_EQ(refusal_reason(&r, sizeof r), Reason::kRejected);
  EXPECT_EQ(refusal_reason(&r, 3), Reason::kRejected);
  EXPECT_EQ(refusal_reason(nullptr, 0), Reason::kRejected);
}

// A SEND in 8-aligned memory, as a receive buffer is.
struct Send {
  FramePrefix prefix{};
  std::vector<Descriptor> descriptors;
  wire::FrameHeader header{};
  uint32_t message_bytes = 64;

  Send() {
    header.magic = wire::kFrameMagic;
    header.message_bytes = message_bytes;
    header.count = 1;
  }
  void add(DescriptorKind kind, uint64_t address, uint32_t bytes, uint16_t tag = 0) {
    descriptors.push_back({static_cast<uint16_t>(kind), tag, 7, address, bytes, 0});
  }
  Bytes bytes() {
    prefix.descriptor_count = static_cast<uint16_t>(descriptors.size());
    const size_t more = descriptors.size() * sizeof(Descriptor);
    const bool bare = (prefix.flags & kPrefixNoMessage) != 0;
    Bytes out(kPrefixBytes + more + (bare ? 0 : message_bytes));
    memcpy(out.data(), &prefix, kPrefixBytes);
    if (more > 0) memcpy(out.data() + kPrefixBytes, descriptors.data(), more);
    if (!bare) memcpy(out.data() + kPrefixBytes + more, &header, sizeof header);
    return out;
  }
  uint32_t judge(Frame* frame) {
    const Bytes all = bytes();
    return parse_frame(kPeer, all.data(), static_cast<uint32_t>(all.size()), frame);
  }
  uint32_t judge() {
    Frame frame;
    return judge(&frame);
  }
};

Send request_with_bulk() {
  Send send;
  send.header.bulk_bytes = 5000;
  send.add(DescriptorKind::kSource, kArena + 4096, 3000);
  send.add(DescriptorKind::kSource, kArena + kArenaBytes - 2000, 2000);
  send.add(DescriptorKind::kLanding, kArena, 1 << 20, 63);
  return send;
}

TEST(RdmaProtocolTest, TakesAFrameAsItWasMeant) {
  Send send = request_with_bulk();
  Frame frame;
  ASSERT_EQ(send.judge(&frame), 0u);
  EXPECT_EQ(frame.sources, 2u);
  EXPECT_EQ(frame.message_at, kPrefixBytes + 3 * sizeof(Descriptor));
  EXPECT_EQ(frame.message_bytes, 64u);
  EXPECT_FALSE(frame.reply());
  Send credit;
  credit.prefix.flags = kPrefixNoMessage;
  ASSERT_EQ(credit.judge(&frame), 0u);
  EXPECT_EQ(frame.message_bytes, 0u);
  Send dropped;
  dropped.header.flags = engine::kRepliesFlag;
  dropped.header.bulk_bytes = 10;
  dropped.prefix.flags = kPrefixDropped;
  EXPECT_EQ(dropped.judge(&frame), 0u);
  EXPECT_TRUE(frame.dropped());
}

TEST(RdmaProtocolTest, RefusesAFrameThatIsWrong) {
  struct Case {
    const char* what;
    Reason reason;
    std::function<void(Send&)> change;
  };
  const std::vector<Case> cases{
      {"unknown flag", Reason::kBadPrefix, [](Send& s) { s.prefix.flags = 8; }},
      {"reserved", Reason::kBadPrefix, [](Send& s) { s.prefix.reserved = 1; }},
      {"descriptors without a message", Reason::kBadPrefix,
       [](Send& s) { s.prefix.flags = kPrefixNoMessage; }},
      {"a request's bulk dropped", Reason::kBadPrefix,
       [](Send& s) { s.prefix.flags = kPrefixDropped; }},
      {"magic", Reason::kBadMagic, [](Send& s) { s.header.magic++; }},
      {"shorter than it says", Reason::kBadMessageBytes,
       [](Send& s) { s.header.message_bytes = 72; }},
      {"longer than it says", Reason::kBadMessageBytes, [](Send& s) { s.message_bytes = 72; }},
      {"bulk too long", Reason::kBadBulkBytes, [](Send& s) { s.header.bulk_bytes = 1 << 21; }},
      {"sources of another sum", Reason::kBadDescriptor, [](Send& s) { s.header.bulk_bytes++; }},
      {"sources of a reply", Reason::kBadDescriptor,
       [](Send& s) { s.header.flags = engine::kRepliesFlag; }},
      {"unknown kind", Reason::kBadDescriptor, [](Send& s) { s.descriptors[0].kind = 4; }},
      {"reserved of a descriptor", Reason::kBadDescriptor,
       [](Send& s) { s.descriptors[1].reserved = 1; }},
      {"before the arena", Reason::kBadDescriptor,
       [](Send& s) { s.descriptors[0].address = kArena - 1; }},
      {"past the arena", Reason::kBadDescriptor, [](Send& s) { s.descriptors[1].address++; }},
      {"around the end of memory", Reason::kBadDescriptor,
       [](Send& s) { s.descriptors[1].address = UINT64_MAX - 100; }},
      {"empty source", Reason::kBadDescriptor, [](Send& s) { s.descriptors[0].length_bytes = 0; }},
      {"source with a tag", Reason::kBadDescriptor, [](Send& s) { s.descriptors[0].tag = 1; }},
      {"landing's tag", Reason::kBadDescriptor, [](Send& s) { s.descriptors[2].tag = 64; }},
      {"landing too long", Reason::kBadDescriptor,
       [](Send& s) { s.descriptors[2].length_bytes = (1 << 20) + 1; }},
      {"withdrawn with an address", Reason::kBadDescriptor,
       [](Send& s) { s.add(DescriptorKind::kWithdrawn, kArena, 0, 1); }},
      {"too many descriptors", Reason::kBadPrefix,
       [](Send& s) {
         while (s.descriptors.size() <= kDescriptorsMax) {
           s.add(DescriptorKind::kLanding, kArena, 8, 1);
         }
       }},
      {"too many sources", Reason::kBadDescriptor,
       [](Send& s) {
         s.header.bulk_bytes = 0;
         s.descriptors.clear();
         for (uint32_t i = 0; i <= kSourcesMax; i++, s.header.bulk_bytes++) {
           s.add(DescriptorKind::kSource, kArena, 1);
         }
       }},
  };
  for (const Case& one : cases) {
    Send send = request_with_bulk();
    one.change(send);
    EXPECT_EQ(send.judge(), code(one.reason)) << one.what;
  }
}

TEST(RdmaProtocolTest, RefusesAFrameCutAnywhere) {
  const Bytes whole = request_with_bulk().bytes();
  for (size_t cut = 0; cut < whole.size(); cut++) {
    const Bytes part(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut));
    Frame frame;
    EXPECT_NE(parse_frame(kPeer, part.data(), static_cast<uint32_t>(cut), &frame), 0u) << cut;
  }
}

// What was accepted lies within its bounds, whatever came.
void expect_sound(const Bytes& bytes, const Frame& frame) {
  EXPECT_LE(uint64_t{frame.message_at} + frame.message_bytes, bytes.size());
  EXPECT_LE(frame.message_bytes, kMessageSlot);
  uint64_t sources = 0;
  for (uint32_t i = 0; frame.message_bytes > 0 && i < frame.prefix.descriptor_count; i++) {
    const Descriptor& d = frame.descriptors[i];
    EXPECT_LT(d.tag, wire::kRpcSlots);
    if (static_cast<DescriptorKind>(d.kind) == DescriptorKind::kWithdrawn) continue;
    EXPECT_GE(d.address, kArena);
    EXPECT_LE(d.address + d.length_bytes, kArena + kArenaBytes);
    if (static_cast<DescriptorKind>(d.kind) == DescriptorKind::kSource) sources += d.length_bytes;
  }
  EXPECT_LE(sources, wire::kMaxBulkBytes);
}

TEST(RdmaProtocolTest, SurvivesRandomAndMutatedBytes) {
  const char* given = getenv("SEALFS_FUZZ_SEED");
  const auto seed = given != nullptr ? static_cast<uint32_t>(strtoul(given, nullptr, 10))
                                     : std::random_device{}();
  SCOPED_TRACE("SEALFS_FUZZ_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  const Bytes whole = request_with_bulk().bytes();
  const Hello hello = good_hello();
  uint32_t accepted = 0;
  for (int round = 0; round < 200'000; round++) {
    Bytes bytes;
    if (round % 4 == 0) {
      bytes.resize(random() % 200);
      for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
    } else {
      bytes = whole;
      for (uint32_t n = random() % 4; n > 0; n--) {
        bytes[random() % bytes.size()] =
            static_cast<uint8_t>(random() % 3 ? random() % 4 : random());
      }
      if (random() % 8 == 0) bytes.resize(random() % (bytes.size() + 1));
    }
    bytes.shrink_to_fit();  // so that a sanitizer sees each byte behind it
    Frame frame;
    if (parse_frame(kPeer, bytes.data(), static_cast<uint32_t>(bytes.size()), &frame) == 0) {
      accepted++;
      expect_sound(bytes, frame);
    }
    Bytes said(sizeof hello);
    memcpy(said.data(), &hello, sizeof hello);
    said[random() % said.size()] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) said.resize(random() % said.size());
    Peer peer;
    if (check_hello(said.data(), said.size(), &peer) == 0) {
      EXPECT_LE(peer.arena_bytes, UINT32_MAX);
      EXPECT_LE(peer.arena_address, UINT64_MAX - peer.arena_bytes);
      EXPECT_GE(peer.credits, kCreditsMin);
      EXPECT_LE(peer.credits, kCreditsMax);
    }
  }
  EXPECT_GT(accepted, 100u);  // otherwise nothing was tested
}

}  // namespace
}  // namespace sealfs::rdma
