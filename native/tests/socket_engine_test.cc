// Protects the framing of native/socket against every way in which a stream can be cut, bulk's way
// into its slot, and the rule that a bad frame closes one connection and harms no other. The peer
// is the other end of a socketpair, driven byte by byte.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <random>

#include "native/socket/engine.h"

namespace sealfs::tcp {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kReply = 1;

Bytes operator+(Bytes a, const Bytes& b) {
  const size_t before = a.size();
  a.resize(before + b.size());
  std::copy(b.begin(), b.end(), a.begin() + static_cast<ptrdiff_t>(before));
  return a;
}

// A frame as a peer would send it; `bulk` is followed by its padding.
Bytes frame(uint32_t message_bytes, const Bytes& bulk = {}, uint32_t flags = 0,
            uint32_t tag = static_cast<uint32_t>(wire::kNoTag), uint8_t fill = 7) {
  Bytes out(message_bytes, fill);
  wire::FrameHeader header{};
  header.magic = wire::kFrameMagic;
  header.message_bytes = message_bytes;
  header.bulk_bytes = static_cast<uint32_t>(bulk.size());
  header.bulk_tag = tag;
  header.count = 1;
  header.flags = flags;
  memcpy(out.data(), &header, sizeof header);
  out = out + bulk;
  while (out.size() % 8 != 0) out.push_back(0);
  return out;
}

Bytes random_bytes(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  Bytes out(count);
  for (auto& byte : out) byte = static_cast<uint8_t>(generator());
  return out;
}

// A record with its memory copied, since that is good until the next harvest only.
struct Seen {
  Record record;
  Bytes message;
  Bytes bulk;
};

class SocketEngineTest : public testing::Test {
 protected:
  static constexpr uint32_t kMessages = 32;
  static constexpr uint32_t kBulks = 3;

  void SetUp() override {
    std::string error;
    arena_ = Arena::create({kMessages, kBulks, 1}, &error);
    ASSERT_TRUE(arena_) << error;
    engine_ = Engine::create(arena_, &error);
    ASSERT_TRUE(engine_) << error;
  }

  void TearDown() override {
    for (int fd : peers_) ::close(fd);
    engine_->shutdown();
    // Whatever happened, every slot has come back.
    EXPECT_EQ(arena_->free_messages(), kMessages);
    EXPECT_EQ(arena_->free_bulk(), kBulks);
  }

  // The engine's connection, its peer's descriptor in *peer.
  uint32_t pair(int* peer, bool incoming = true) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    peers_.push_back(ends[1]);
    *peer = ends[1];
    const uint32_t id = engine_->adopt(ends[0], incoming);
    EXPECT_NE(id, 0u);
    EXPECT_EQ(harvest().at(0).record.connection, id);
    return id;
  }

  // Gives requests' bulk slots back, as their receiver would.
  std::vector<Seen> harvest() {
    std::vector<Seen> out;
    const uint32_t count = engine_->harvest();
    for (uint32_t i = 0; i < count; i++) {
      Seen seen;
      seen.record = *reinterpret_cast<Record*>(engine_->records().record(i));
      const Record& r = seen.record;
      if (r.message_bytes > 0) {
        EXPECT_EQ(r.message_offset % 8, 0u);
        const uint8_t* at = arena_->at(r.message_offset);
        seen.message.assign(at, at + r.message_bytes);
      }
      if (r.bulk_offset != 0) {
        const uint8_t* at = arena_->at(r.bulk_offset);
        seen.bulk.assign(at, at + r.bulk_bytes);
      }
      if (r.owns_slot) {
        EXPECT_TRUE(arena_->give_bulk(r.bulk_offset));
      }
      out.push_back(std::move(seen));
    }
    return out;
  }

  // Harvests until nothing more comes.
  std::vector<Seen> drain() {
    std::vector<Seen> all;
    for (int empty = 0; empty < 6;) {
      auto some = harvest();
      empty = some.empty() && !engine_->arm() ? empty + 1 : 0;
      for (auto& seen : some) all.push_back(std::move(seen));
    }
    return all;
  }

  // Sends all of `bytes`, harvesting whenever the socket is full.
  std::vector<Seen> feed(int peer, const Bytes& bytes) {
    std::vector<Seen> all;
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n =
          send(peer, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) break;
      if (n > 0) sent += static_cast<size_t>(n);
      for (auto& seen : harvest()) all.push_back(std::move(seen));
    }
    for (auto& seen : drain()) all.push_back(std::move(seen));
    return all;
  }

  // Reads `count` bytes at the peer, having the engine write as the socket empties.
  Bytes read_peer(int peer, size_t count) {
    Bytes out(count);
    size_t have = 0;
    for (int idle = 0; have < count && idle < 1000;) {
      const ssize_t n = recv(peer, out.data() + have, count - have, MSG_DONTWAIT);
      if (n > 0) have += static_cast<size_t>(n);
      idle = n > 0 ? 0 : idle + 1;
      engine_->harvest();
    }
    out.resize(have);
    return out;
  }

  void push(SubmissionKind kind, uint32_t connection, uint32_t offset = 0, uint32_t bytes = 0,
            bool release = false, uint32_t tag = 0) {
    auto* s = reinterpret_cast<Submission*>(engine_->submissions().push());
    ASSERT_NE(s, nullptr);
    *s = {static_cast<uint32_t>(kind), connection, offset, bytes, release ? 1u : 0u, tag};
  }

  // A message slot filled with a frame of the size.
  uint32_t message(uint32_t bytes, uint8_t fill = 9) {
    const uint32_t offset = arena_->take_message();
    EXPECT_NE(offset, 0u);
    const Bytes content = frame(bytes, {}, 0, static_cast<uint32_t>(wire::kNoTag), fill);
    memcpy(arena_->at(offset), content.data(), content.size());
    return offset;
  }

  void expect_closed(const std::vector<Seen>& seen, uint32_t id, Reason reason) {
    ASSERT_FALSE(seen.empty());
    EXPECT_EQ(seen.back().record.kind, static_cast<uint32_t>(RecordKind::kClosed));
    EXPECT_EQ(seen.back().record.connection, id);
    EXPECT_EQ(seen.back().record.code, static_cast<uint32_t>(reason));
  }

  std::shared_ptr<Arena> arena_;
  std::shared_ptr<Engine> engine_;
  std::vector<int> peers_;
};

TEST_F(SocketEngineTest, FramesCutAtEveryByteArriveWhole) {
  const Bytes bulk = random_bytes(203, 1);  // with padding behind it
  const Bytes stream = frame(48) + frame(120, bulk) + frame(32) + frame(64);
  for (size_t cut = 0; cut <= stream.size(); cut++) {
    int peer;
    const uint32_t id = pair(&peer);
    auto seen = feed(peer, Bytes(stream.begin(), stream.begin() + static_cast<ptrdiff_t>(cut)));
    for (auto& more :
         feed(peer, Bytes(stream.begin() + static_cast<ptrdiff_t>(cut), stream.end()))) {
      seen.push_back(std::move(more));
    }
    ASSERT_EQ(seen.size(), 4u) << "cut at " << cut;
    EXPECT_EQ(seen[0].message, frame(48));
    EXPECT_EQ(seen[1].bulk, bulk) << "cut at " << cut;
    EXPECT_EQ(Bytes(seen[1].message.begin() + 32, seen[1].message.end()), Bytes(88, 7));
    EXPECT_EQ(seen[2].message, frame(32));
    EXPECT_EQ(seen[3].message, frame(64));
    push(SubmissionKind::kClose, id);
    engine_->submit();
    drain();
  }
  EXPECT_EQ(engine_->counters().protocol_errors, 0);
}

TEST_F(SocketEngineTest, ByteByByte) {
  int peer;
  pair(&peer);
  const Bytes bulk = random_bytes(41, 2);
  const Bytes stream = frame(40, bulk) + frame(48);
  std::vector<Seen> seen;
  for (const uint8_t byte : stream) {
    for (auto& one : feed(peer, {byte})) seen.push_back(std::move(one));
  }
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].bulk, bulk);
  EXPECT_EQ(seen[1].message, frame(48));
}

TEST_F(SocketEngineTest, ManyFramesInOneRead) {
  int peer;
  const uint32_t id = pair(&peer);
  Bytes stream;
  for (uint32_t i = 0; i < 2000; i++) {
    stream = stream + frame(32 + i % 5 * 8, {}, 0, 0, static_cast<uint8_t>(i));
  }
  const auto seen = feed(peer, stream);
  ASSERT_EQ(seen.size(), 2000u);
  for (uint32_t i = 0; i < 2000; i++) {
    EXPECT_EQ(seen[i].record.connection, id);
    ASSERT_EQ(seen[i].message.size(), 32 + i % 5 * 8);
    if (i % 5 == 0) continue;
    EXPECT_EQ(seen[i].message.back(), static_cast<uint8_t>(i));
  }
}

TEST_F(SocketEngineTest, LargestMessageAndLargestBulk) {
  int peer;
  pair(&peer);
  const Bytes bulk = random_bytes(wire::kMaxBulkBytes, 3);
  const Bytes stream = frame(kMessageSlot) + frame(kMessageSlot, bulk) + frame(kMessageSlot);
  const auto seen = feed(peer, stream + stream);
  ASSERT_EQ(seen.size(), 6u);
  EXPECT_EQ(seen[1].bulk, bulk);
  EXPECT_EQ(seen[4].bulk, bulk);
  EXPECT_EQ(seen[5].message, frame(kMessageSlot));
}

TEST_F(SocketEngineTest, BulkAfterBulkIsReceivedInPlace) {
  int peer;
  pair(&peer);
  const Bytes bulk = random_bytes(500'001, 4);
  Bytes stream;
  for (int i = 0; i < 8; i++) stream = stream + frame(64, bulk);
  const auto seen = feed(peer, stream);
  ASSERT_EQ(seen.size(), 8u);
  for (const auto& one : seen) EXPECT_EQ(one.bulk, bulk);
  // Only the first frame, read before it was known that bulk comes, may be copied further.
  const Counters& counters = engine_->counters();
  EXPECT_LE(
      counters.copied_below4k + counters.copied_below64k + counters.copied_above,
      kReadStartBytes + 7 * kReadBeyondBulkBytes + 8 * 2 * 64);  // and messages, held and back
}

TEST_F(SocketEngineTest, RequestsWithoutAFreeSlotWaitAndOthersGoOn) {
  int peer;
  int other;
  const uint32_t id = pair(&peer);
  pair(&other);
  const Bytes bulk = random_bytes(1000, 5);
  uint32_t taken[kBulks];
  for (auto& slot : taken) slot = arena_->take_bulk();
  EXPECT_TRUE(feed(peer, frame(64, bulk) + frame(48)).empty());
  EXPECT_EQ(feed(other, frame(40)).size(), 1u);
  EXPECT_FALSE(engine_->arm());  // nothing can be done: sleep
  EXPECT_TRUE(arena_->give_bulk(taken[0]));
  EXPECT_TRUE(engine_->arm());  // now it can, though no descriptor shows it
  const auto seen = drain();
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].record.connection, id);
  EXPECT_EQ(seen[0].bulk, bulk);
  for (uint32_t i = 1; i < kBulks; i++) EXPECT_TRUE(arena_->give_bulk(taken[i]));
}

TEST_F(SocketEngineTest, AWaitingConnectionThatClosesIsForgotten) {
  int peer;
  const uint32_t id = pair(&peer);
  uint32_t taken[kBulks];
  for (auto& slot : taken) slot = arena_->take_bulk();
  EXPECT_TRUE(feed(peer, frame(64, random_bytes(100, 6))).empty());
  push(SubmissionKind::kClose, id);
  engine_->submit();
  expect_closed(drain(), id, Reason::kClosedHere);
  for (const uint32_t slot : taken) EXPECT_TRUE(arena_->give_bulk(slot));
  EXPECT_TRUE(drain().empty());
}

TEST_F(SocketEngineTest, ReplyBulkGoesToItsLanding) {
  int peer;
  const uint32_t id = pair(&peer, false);
  const Bytes bulk = random_bytes(9'999, 7);
  const uint32_t landing = arena_->take_bulk();
  push(SubmissionKind::kLanding, id, landing + 100, 10'000, false, 5);
  engine_->submit();
  const auto seen = feed(peer, frame(48, bulk, kReply, 5) + frame(40));
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].record.bulk_offset, landing + 100);
  EXPECT_EQ(seen[0].record.owns_slot, 0u);
  EXPECT_EQ(seen[0].bulk, bulk);
  // Arrival has withdrawn it: a second bulk has no right to the memory.
  expect_closed(feed(peer, frame(48, bulk, kReply, 5)), id, Reason::kNoLanding);
  EXPECT_TRUE(arena_->give_bulk(landing));
}

TEST_F(SocketEngineTest, BulkForAWithdrawnLandingIsDropped) {
  int peer;
  const uint32_t id = pair(&peer, false);
  const uint32_t landing = arena_->take_bulk();
  memset(arena_->at(landing), 0xee, 300'000);
  push(SubmissionKind::kLanding, id, landing, 300'000, false, 1);
  push(SubmissionKind::kLanding, id, landing, 300'000, false, 2);
  push(SubmissionKind::kCancelLanding, id, 0, 0, false, 1);
  engine_->submit();
  // Before it comes, and in the middle of it.
  const Bytes first = frame(48, random_bytes(299'999, 8), kReply, 1);
  auto seen = feed(peer, first);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].record.bulk_offset, 0u);
  EXPECT_EQ(seen[0].record.bulk_bytes, 299'999u);
  EXPECT_EQ(Bytes(arena_->at(landing), arena_->at(landing) + 300'000), Bytes(300'000, 0xee));
  const Bytes second = frame(48, random_bytes(200'000, 9), kReply, 2) + frame(56);
  EXPECT_TRUE(feed(peer, Bytes(second.begin(), second.begin() + 100'000)).empty());
  push(SubmissionKind::kCancelLanding, id, 0, 0, false, 2);
  engine_->submit();
  memset(arena_->at(landing), 0xdd, 300'000);
  seen = feed(peer, Bytes(second.begin() + 100'000, second.end()));
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0].record.bulk_offset, 0u);
  EXPECT_EQ(seen[1].message, frame(56));
  EXPECT_EQ(Bytes(arena_->at(landing), arena_->at(landing) + 300'000), Bytes(300'000, 0xdd));
  EXPECT_TRUE(arena_->give_bulk(landing));
}

TEST_F(SocketEngineTest, BadFramesCloseTheirConnectionOnly) {
  struct Case {
    Reason reason;
    Bytes bytes;
  };
  std::vector<Case> cases;
  Bytes bytes = frame(48);
  bytes[0] ^= 1;
  cases.push_back({Reason::kBadMagic, bytes});
  cases.push_back({Reason::kBadMagic, Bytes(bytes.begin(), bytes.begin() + 4)});
  for (const uint32_t length : {0u, 24u, 33u, kMessageSlot + 8, UINT32_MAX - 7}) {
    bytes = frame(48);
    memcpy(bytes.data() + 4, &length, 4);
    cases.push_back({Reason::kBadMessageBytes, bytes});
  }
  for (const uint32_t length : {uint32_t{wire::kMaxBulkBytes + 1}, UINT32_MAX}) {
    bytes = frame(48);
    memcpy(bytes.data() + 8, &length, 4);
    cases.push_back({Reason::kBadBulkBytes, bytes});
  }
  cases.push_back({Reason::kBadBulkTag, frame(48, Bytes(8), kReply, wire::kRpcSlots)});
  cases.push_back({Reason::kBadBulkTag, frame(48, Bytes(8), kReply, UINT32_MAX)});
  cases.push_back({Reason::kNoLanding, frame(48, Bytes(8), kReply, 0)});
  int good;
  const uint32_t good_id = pair(&good);
  double errors = 0;
  for (const Case& bad : cases) {
    int peer;
    const uint32_t id = pair(&peer);
    auto seen = feed(peer, frame(40) + bad.bytes);
    EXPECT_EQ(seen.at(0).message, frame(40));  // what came before it counts
    expect_closed(seen, id, bad.reason);
    EXPECT_EQ(engine_->counters().protocol_errors, ++errors);
    seen = feed(good, frame(64));
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].record.connection, good_id);
  }
}

TEST_F(SocketEngineTest, TruncatedFramesAreReportedAndGiveTheirSlotBack) {
  const Bytes whole = frame(48, random_bytes(100'000, 10));
  for (const size_t cut : {size_t{2}, size_t{20}, size_t{40}, size_t{60}, size_t{99'000}}) {
    int peer;
    const uint32_t id = pair(&peer);
    feed(peer, Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut)));
    ::shutdown(peer, SHUT_WR);
    expect_closed(drain(), id, Reason::kTruncated);
    EXPECT_EQ(arena_->free_bulk(), kBulks);
  }
  int peer;
  const uint32_t id = pair(&peer);
  ::shutdown(peer, SHUT_WR);
  expect_closed(drain(), id, Reason::kPeerClosed);
}

TEST_F(SocketEngineTest, RandomGarbageNeverDoesMoreThanClose) {
  for (uint32_t seed = 0; seed < 300; seed++) {
    int peer;
    pair(&peer);
    std::mt19937 generator(seed);
    Bytes bytes = frame(48) + frame(64, random_bytes(777, seed), seed % 2, seed % 70) + frame(32);
    for (int i = 0; i < 3; i++) bytes[generator() % bytes.size()] ^= 1 << generator() % 8;
    bytes.resize(generator() % bytes.size());
    feed(peer, bytes);
    ::shutdown(peer, SHUT_RDWR);
    drain();
  }
}

TEST_F(SocketEngineTest, StalledBulkIsClosedAfterItsTicks) {
  int peer;
  const uint32_t id = pair(&peer);
  const Bytes whole = frame(48, Bytes(1000));
  feed(peer, Bytes(whole.begin(), whole.begin() + 500));
  for (uint32_t i = 0; i < kStallTicks; i++) engine_->tick();
  EXPECT_TRUE(drain().empty());
  engine_->tick();
  expect_closed(drain(), id, Reason::kStalled);
}

TEST_F(SocketEngineTest, SendsGatheredFramesAndReleasesSlots) {
  int peer;
  const uint32_t id = pair(&peer);
  const Bytes bulk = random_bytes(3'001, 11);
  const uint32_t slot = arena_->take_bulk();
  memcpy(arena_->at(slot), bulk.data(), bulk.size());
  const uint32_t kept = message(48, 1);
  push(SubmissionKind::kFrame, id, kept, 48, false);
  push(SubmissionKind::kBulk, 0, slot, 1'000, false);
  push(SubmissionKind::kBulk, 0, slot + 1'000, 2'001, true);
  push(SubmissionKind::kFrame, id, message(64, 2), 64, true);
  push(SubmissionKind::kFrame, id, message(40, 3), 40, true);
  engine_->submit();
  const uint32_t none = static_cast<uint32_t>(wire::kNoTag);
  const Bytes expected =
      frame(48, {}, 0, none, 1) + frame(64, bulk, 0, none, 2) + frame(40, {}, 0, none, 3);
  EXPECT_EQ(read_peer(peer, expected.size()), expected);
  EXPECT_EQ(arena_->free_messages(), kMessages - 1);
  EXPECT_EQ(arena_->free_bulk(), kBulks);
  EXPECT_EQ(engine_->counters().frames_sent, 3);
  EXPECT_TRUE(arena_->give_message(kept));
}

TEST_F(SocketEngineTest, PartialWritesGoOnWhereTheyStopped) {
  int peer;
  const uint32_t id = pair(&peer);
  const Bytes bulk = random_bytes(wire::kMaxBulkBytes, 12);
  Bytes expected;
  for (int i = 0; i < static_cast<int>(kBulks); i++) {
    const uint32_t slot = arena_->take_bulk();
    memcpy(arena_->at(slot), bulk.data(), bulk.size());
    push(SubmissionKind::kBulk, 0, slot, static_cast<uint32_t>(bulk.size()), true);
    push(SubmissionKind::kFrame, id, message(56), 56, true);
    expected = expected + frame(56, bulk, 0, static_cast<uint32_t>(wire::kNoTag), 9);
  }
  engine_->submit();
  EXPECT_LT(arena_->free_bulk(), kBulks);  // a socketpair takes far less than 3 MiB
  EXPECT_EQ(read_peer(peer, expected.size()), expected);
}

TEST_F(SocketEngineTest, FramesOfADyingConnectionGiveTheirSlotsBack) {
  int peer;
  const uint32_t id = pair(&peer);
  for (int i = 0; i < static_cast<int>(kBulks); i++) {
    push(SubmissionKind::kBulk, 0, arena_->take_bulk(), kBulkPayload, true);
    push(SubmissionKind::kFrame, id, message(56), 56, true);
  }
  engine_->submit();
  ::close(peer);
  peers_.clear();
  const auto seen = drain();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].record.kind, static_cast<uint32_t>(RecordKind::kClosed));
  EXPECT_EQ(arena_->free_bulk(), kBulks);
  // And a frame for a connection that is gone.
  push(SubmissionKind::kBulk, 0, arena_->take_bulk(), 8, true);
  push(SubmissionKind::kFrame, id, message(56), 56, true);
  engine_->submit();
}

TEST_F(SocketEngineTest, APeerThatDoesNotReadIsNotReadFromForEver) {
  int peer;
  const uint32_t id = pair(&peer);
  const uint32_t echo = message(kMessageSlot);
  const Bytes request = frame(32);
  uint64_t received = 0;
  for (int i = 0; i < 20'000; i++) {
    (void)send(peer, request.data(), request.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    const uint32_t count = engine_->harvest();
    received += count;
    for (uint32_t k = 0; k < count; k++) {
      push(SubmissionKind::kFrame, id, echo, kMessageSlot, false);
    }
    engine_->submit();
  }
  EXPECT_LT(received, kBacklogSegments * 2u);
  // Once it reads, everything goes on.
  Bytes sink(1 << 20);
  for (int i = 0; i < 2000; i++) {
    while (recv(peer, sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
    const uint32_t count = engine_->harvest();
    received += count;
    for (uint32_t k = 0; k < count; k++) {
      push(SubmissionKind::kFrame, id, echo, kMessageSlot, false);
    }
    engine_->submit();
  }
  EXPECT_GT(received, kBacklogSegments);
  push(SubmissionKind::kClose, id);
  engine_->submit();
  EXPECT_TRUE(arena_->give_message(echo));
}

TEST_F(SocketEngineTest, SubmissionsOutsideTheArenaCloseTheConnection) {
  for (const auto& [offset, bytes] : {std::pair<uint32_t, uint32_t>{0, 64},
                                      {0xfffffff0, 64},
                                      {kArenaSlotsOffset + 4, 64},
                                      {kArenaSlotsOffset, 24},
                                      {kArenaSlotsOffset, kMessageSlot + 8}}) {
    int peer;
    const uint32_t id = pair(&peer);
    push(SubmissionKind::kFrame, id, offset, bytes, false);
    engine_->submit();
    expect_closed(drain(), id, Reason::kBadSubmission);
  }
  int peer;
  const uint32_t id = pair(&peer);
  push(SubmissionKind::kBulk, 0, static_cast<uint32_t>(arena_->bytes() - 8), 16, false);
  push(SubmissionKind::kFrame, id, kArenaSlotsOffset, 64, false);
  engine_->submit();
  expect_closed(drain(), id, Reason::kBadSubmission);
}

TEST_F(SocketEngineTest, ConnectsListensAndRefuses) {
  uint16_t port = 0;
  ASSERT_EQ(engine_->listen("127.0.0.1", &port), 0);
  EXPECT_NE(port, 0);
  uint16_t same = port;
  EXPECT_EQ(engine_->listen("127.0.0.1", &same), EADDRINUSE);
  EXPECT_EQ(engine_->listen("no address", &same), EINVAL);
  const uint32_t id = engine_->reserve();
  push(SubmissionKind::kFrame, id, message(48), 48, true);  // waits for the connection
  engine_->submit();
  ASSERT_TRUE(engine_->connect(id, "127.0.0.1", port));
  EXPECT_FALSE(engine_->connect(id + 1, "127.0.0.1", port));
  uint32_t opened = 0;
  uint32_t accepted = 0;
  uint32_t messages = 0;
  for (int i = 0; i < 1000 && messages == 0; i++) {
    for (const auto& seen : harvest()) {
      if (seen.record.kind == static_cast<uint32_t>(RecordKind::kOpened)) opened++;
      if (seen.record.kind == static_cast<uint32_t>(RecordKind::kAccepted)) accepted++;
      if (seen.record.kind == static_cast<uint32_t>(RecordKind::kMessage)) messages++;
    }
    usleep(100);
  }
  EXPECT_EQ(opened, 1u);
  EXPECT_EQ(accepted, 1u);
  EXPECT_EQ(messages, 1u);
  engine_->shutdown();
  const uint32_t refused = engine_->reserve();
  ASSERT_TRUE(engine_->connect(refused, "127.0.0.1", port));
  std::vector<Seen> seen;
  for (int i = 0; i < 1000 && seen.empty(); i++) seen = harvest();
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].record.kind, static_cast<uint32_t>(RecordKind::kConnectFailed));
  EXPECT_EQ(seen[0].record.code, static_cast<uint32_t>(ECONNREFUSED));
}

TEST_F(SocketEngineTest, ConnectionNumbersAreNotReusedSoon) {
  std::vector<uint32_t> seen;
  for (int i = 0; i < 3000; i++) {
    const uint32_t id = engine_->reserve();
    EXPECT_EQ(std::count(seen.begin(), seen.end(), id), 0);
    seen.push_back(id);
    push(SubmissionKind::kClose, id);
    engine_->submit();
    drain();
  }
}

}  // namespace
}  // namespace sealfs::tcp
