// Protects an Engine from peers that lie: whatever a hostile client or server says or does costs
// its own connection and nothing else. Not the engine's memory, not its slots, not other
// connections. The liar is bare verbs (rdma_liar.h); every lie has an honest twin, so that a test
// cannot pass because nothing came through at all. In the Soft-RoCE machine:
//
//   bash ci/rdma/boot.sh -- build/tests/native/tests/rdma_liar_test
#include "native/tests/rdma_liar.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <time.h>

#include <functional>

#include "native/rdma/discover.h"
#include "native/rdma/engine.h"

namespace sealfs::rdma {
namespace {

constexpr const char* kClientAddress = "10.77.0.1";
constexpr const char* kServerAddress = "10.77.0.2";
constexpr uint32_t kMessages = 64;
constexpr uint32_t kBulks = 8;

struct Message {
  uint32_t connection;
  Bytes bytes;
  Bytes bulk;
};

// The end that is lied to.
struct Victim {
  std::shared_ptr<Arena> arena;
  std::shared_ptr<Engine> engine;
  std::vector<Record> events;  // all but messages
  std::vector<Message> messages;

  void begin(bool windows) {
    std::string error;
    arena = Arena::create({kMessages, kBulks, 2}, &error);
    ASSERT_TRUE(arena) << error;
    engine = Engine::create(arena, {windows, 2}, &error);
    ASSERT_TRUE(engine) << error;
  }

  void end() {
    if (!engine) return;
    engine->shutdown();
    EXPECT_EQ(arena->free_messages(), kMessages);
    EXPECT_EQ(arena->free_bulk(), kBulks);
  }

  void step() {
    const uint32_t count = engine->harvest();
    for (uint32_t i = 0; i < count; i++) {
      const auto& r = *reinterpret_cast<Record*>(engine->records().record(i));
      if (r.kind != static_cast<uint32_t>(RecordKind::kMessage)) {
        events.push_back(r);
        continue;
      }
      Message message{r.connection, {}, {}};
      message.bytes.assign(arena->at(r.message_offset),
                           arena->at(r.message_offset) + r.message_bytes);
      if (r.bulk_offset != 0) {
        message.bulk.assign(arena->at(r.bulk_offset), arena->at(r.bulk_offset) + r.bulk_bytes);
      }
      if (r.owns_slot) {
        EXPECT_TRUE(arena->give_bulk(r.bulk_offset));
      }
      messages.push_back(std::move(message));
    }
    engine->submit();
  }

  void push(SubmissionKind kind, uint32_t connection, uint32_t offset, uint32_t bytes, bool release,
            uint32_t tag) {
    auto* s = reinterpret_cast<Submission*>(engine->submissions().push());
    ASSERT_NE(s, nullptr);
    *s = {static_cast<uint32_t>(kind), connection, offset, bytes, release ? 1u : 0u, tag};
  }

  const Record* event(RecordKind kind) const {
    for (const Record& one : events) {
      if (one.kind == static_cast<uint32_t>(kind)) return &one;
    }
    return nullptr;
  }
};

wire::FrameHeader header(uint32_t message_bytes, uint32_t bulk_bytes = 0, bool reply = false,
                         uint32_t tag = static_cast<uint32_t>(wire::kNoTag)) {
  wire::FrameHeader out{};
  out.magic = wire::kFrameMagic;
  out.message_bytes = message_bytes;
  out.bulk_bytes = bulk_bytes;
  out.bulk_tag = tag;
  out.count = 1;
  out.flags = reply ? 1 : 0;
  return out;
}

// A frame of the liar's: prefix, descriptors, header, zeros up to the message's length.
Bytes frame(const wire::FrameHeader& head, const std::vector<Descriptor>& descriptors = {}) {
  FramePrefix prefix{};
  prefix.credits = 32;
  prefix.descriptor_count = static_cast<uint16_t>(descriptors.size());
  Bytes out(sizeof prefix + descriptors.size() * sizeof(Descriptor) + head.message_bytes);
  uint8_t* at = out.data();
  memcpy(at, &prefix, sizeof prefix);
  at += sizeof prefix;
  if (!descriptors.empty()) {
    memcpy(at, descriptors.data(), descriptors.size() * sizeof(Descriptor));
  }
  memcpy(at + descriptors.size() * sizeof(Descriptor), &head, sizeof head);
  return out;
}

class RdmaLiarTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!why_no_rdma(discover_devices()).empty()) GTEST_SKIP() << "no RDMA device";
  }
  void TearDown() override { victim_.end(); }

  bool until(const std::function<bool()>& condition, int seconds = 20) {
    const time_t end = time(nullptr) + seconds;
    for (;;) {
      victim_.step();
      liar_.step();
      honest_.step();
      if (condition()) return true;
      if (time(nullptr) > end) return false;
      sched_yield();
    }
  }

  // The reason that the liar's connection was closed for; 0: it was not. An end that the device
  // alone has ended, without a word, is noticed by the engine's probe.
  uint32_t closed_for() {
    for (int second = 0; second < 20; second++) {
      if (until([&] { return victim_.event(RecordKind::kClosed) != nullptr; }, 1)) {
        return victim_.event(RecordKind::kClosed)->code;
      }
      victim_.engine->tick();
    }
    return 0;
  }

  Victim victim_;
  Liar liar_;
  Liar honest_;
};

// ---------------------------------------------------------------- hostile clients

class RdmaLyingClientTest : public RdmaLiarTest {
 protected:
  void SetUp() override {
    RdmaLiarTest::SetUp();
    if (IsSkipped()) return;
    victim_.begin(true);
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_EQ(victim_.engine->listen(kServerAddress, &port_), 0);
  }

  void TearDown() override {
    if (honest_.established) {
      // Somebody else's connection goes on as if nothing had been.
      victim_.messages.clear();
      honest_.send(frame(header(64)));
      EXPECT_TRUE(until([&] { return !victim_.messages.empty(); }));
      EXPECT_FALSE(honest_.gone);
      EXPECT_EQ(victim_.arena->free_bulk(), kBulks);
    }
    RdmaLiarTest::TearDown();
  }

  void connect(Liar& liar) {
    liar.connect(kClientAddress, kServerAddress, port_);
    ASSERT_TRUE(until([&] {
      liar.step();
      return liar.established || liar.rejected;
    }));
  }

  // An honest connection, then the liar's.
  void open() {
    connect(honest_);
    ASSERT_TRUE(honest_.established);
    connect(liar_);
    ASSERT_TRUE(liar_.established);
    ASSERT_TRUE(until([&] { return victim_.events.size() == 2; }));
    victim_.events.clear();
  }

  // What the server answers to a request for a connection with this Hello.
  Refusal refused(const std::function<void(Hello&)>& lie) {
    Liar liar;
    lie(liar.hello);
    liar.connect(kClientAddress, kServerAddress, port_);
    Refusal out{};
    EXPECT_TRUE(until([&] {
      liar.step();
      return liar.established || liar.rejected;
    }));
    EXPECT_TRUE(liar.rejected);
    if (liar.answer.size() >= sizeof out) memcpy(&out, liar.answer.data(), sizeof out);
    EXPECT_EQ(out.magic, kMagic);
    return out;
  }

  uint16_t port_ = 0;
};

TEST_F(RdmaLyingClientTest, AnotherVersionIsRefusedWithTheServersOwn) {
  const Refusal refusal = refused([](Hello& hello) { hello.version = 2; });
  EXPECT_EQ(refusal.code, static_cast<uint16_t>(RefusalCode::kVersion));
  EXPECT_EQ(refusal.version, kVersion);
  EXPECT_GT(victim_.engine->counters().protocol_errors, 0);
}

TEST_F(RdmaLyingClientTest, AMalformedHelloIsRefused) {
  const std::function<void(Hello&)> lies[] = {
      [](Hello& hello) { hello.magic++; },
      [](Hello& hello) { hello.credits = 0; },
      [](Hello& hello) { hello.credits = 1 << 20; },
      [](Hello& hello) { hello.message_bytes = 1 << 30; },
      [](Hello& hello) { hello.flags = 0x8000; },
      [](Hello& hello) { hello.arena_bytes = uint64_t{1} << 40; },
      [](Hello& hello) { hello.arena_address = UINT64_MAX - 4096; },
  };
  for (const auto& lie : lies) {
    EXPECT_EQ(refused(lie).code, static_cast<uint16_t>(RefusalCode::kMalformed));
  }
  EXPECT_EQ(victim_.events.size(), 0u);
}

TEST_F(RdmaLyingClientTest, ArenasOfOtherSizesAreFine) {
  honest_.hello.arena_bytes = 4096;
  connect(honest_);
  ASSERT_TRUE(honest_.established);
  liar_.hello.arena_bytes = (uint64_t{1} << 32) - 1;
  connect(liar_);
  EXPECT_TRUE(liar_.established);
}

TEST_F(RdmaLyingClientTest, HonestBulkIsRead) {
  open();
  for (uint32_t i = 0; i < 70'000; i++) liar_.arena()[i + 100] = static_cast<uint8_t>(i * 7);
  liar_.send(frame(header(64, 70'000), {liar_.source(100, 70'000)}));
  ASSERT_TRUE(until([&] { return !victim_.messages.empty(); }));
  const Bytes expected(liar_.arena() + 100, liar_.arena() + 70'100);
  EXPECT_EQ(victim_.messages[0].bulk, expected);
}

TEST_F(RdmaLyingClientTest, AKeyThatIsNobodys) {
  open();
  Descriptor source = liar_.source(0, 4096);
  source.rkey ^= 0x5a5a00;
  liar_.send(frame(header(64, 4096), {source}));
  EXPECT_EQ(closed_for(), code(Reason::kRemoteAccess));
}

TEST_F(RdmaLyingClientTest, AKeyOfAnotherClient) {
  open();
  Descriptor source = liar_.source(0, 4096);
  source.rkey = honest_.rkey();
  liar_.send(frame(header(64, 4096), {source}));
  EXPECT_EQ(closed_for(), code(Reason::kRemoteAccess));
  EXPECT_TRUE(victim_.messages.empty());
}

TEST_F(RdmaLyingClientTest, AddressesAndLengthsOutOfBounds) {
  const std::function<Descriptor(Liar&)> lies[] = {
      [](Liar& liar) { return liar.source(0, (1 << 20) + 8); },      // past a slot
      [](Liar& liar) { return liar.source(kLiarArena - 8, 4096); },  // past the arena
      [](Liar& liar) { return liar.source(0u - 4096, 4096); },       // before it
      [](Liar& liar) { return liar.source(0, 0); },
      [](Liar& liar) {
        Descriptor landing = liar.source(0, 4096);
        landing.kind = static_cast<uint16_t>(DescriptorKind::kLanding);
        landing.tag = 64;
        return landing;
      },
      [](Liar& liar) {
        Descriptor landing = liar.source(kLiarArena - 8, 4096);
        landing.kind = static_cast<uint16_t>(DescriptorKind::kLanding);
        return landing;
      },
      [](Liar& liar) {
        Descriptor none = liar.source(0, 4096);
        none.kind = 9;
        return none;
      },
  };
  for (const auto& lie : lies) {
    Liar liar;
    connect(liar);
    ASSERT_TRUE(liar.established);
    victim_.events.clear();
    const Descriptor descriptor = lie(liar);
    liar.send(frame(header(64, descriptor.length_bytes), {descriptor}));
    const uint32_t why = closed_for();
    EXPECT_TRUE(why == code(Reason::kBadDescriptor) || why == code(Reason::kBadBulkBytes)) << why;
    EXPECT_TRUE(victim_.messages.empty());
  }
}

TEST_F(RdmaLyingClientTest, SourcesThatDoNotAddUp) {
  open();
  liar_.send(frame(header(64, 8192), {liar_.source(0, 4096)}));
  EXPECT_EQ(closed_for(), code(Reason::kBadDescriptor));
}

TEST_F(RdmaLyingClientTest, AMessageLongerThanAReceiveBuffer) {
  open();
  liar_.send(Bytes(kReceiveBytes + 8));
  ASSERT_TRUE(until([&] { return !liar_.done.empty(); }));
  EXPECT_NE(liar_.done[0].status, IBV_WC_SUCCESS);
  EXPECT_NE(closed_for(), 0u);
}

TEST_F(RdmaLyingClientTest, AMessageShorterThanItSays) {
  open();
  Bytes bytes = frame(header(256));
  bytes.resize(bytes.size() - 64);
  liar_.send(bytes);
  EXPECT_EQ(closed_for(), code(Reason::kBadMessageBytes));
}

TEST_F(RdmaLyingClientTest, BadPrefixes) {
  const std::function<void(FramePrefix&)> lies[] = {
      [](FramePrefix& prefix) { prefix.descriptor_count = 81; },
      [](FramePrefix& prefix) { prefix.flags = 0x4000; },
      [](FramePrefix& prefix) { prefix.flags = kPrefixNoMessage; },  // but there is one
      [](FramePrefix& prefix) { prefix.flags = kPrefixDropped; },    // of no bulk
      [](FramePrefix& prefix) { prefix.credits = 1'000'000; },
      [](FramePrefix& prefix) { prefix.credits = 0; },  // taken back
      [](FramePrefix& prefix) { prefix.pulled = 1; },   // of nothing
      [](FramePrefix& prefix) { prefix.reserved = 1; },
  };
  for (const auto& lie : lies) {
    Liar liar;
    connect(liar);
    ASSERT_TRUE(liar.established);
    victim_.events.clear();
    Bytes bytes = frame(header(64));
    FramePrefix prefix;
    memcpy(&prefix, bytes.data(), sizeof prefix);
    lie(prefix);
    memcpy(bytes.data(), &prefix, sizeof prefix);
    liar.send(bytes);
    EXPECT_EQ(closed_for(), code(Reason::kBadPrefix));
  }
}

TEST_F(RdmaLyingClientTest, AFloodPastTheCredits) {
  open();
  Hello server;
  ASSERT_GE(liar_.answer.size(), sizeof server);
  memcpy(&server, liar_.answer.data(), sizeof server);
  // All before the server looks even once, so that it can have returned no credit.
  for (uint32_t i = 0; i < server.credits + 4; i++) liar_.send(frame(header(64)));
  EXPECT_EQ(closed_for(), code(Reason::kCreditOverrun));
}

TEST_F(RdmaLyingClientTest, AsManyFramesAsThereAreCreditsAreFine) {
  open();
  Hello server;
  memcpy(&server, liar_.answer.data(), sizeof server);
  for (uint32_t i = 0; i < server.credits; i++) liar_.send(frame(header(64)));
  ASSERT_TRUE(until([&] { return victim_.messages.size() == server.credits; }));
  EXPECT_EQ(victim_.event(RecordKind::kClosed), nullptr);
  // And their buffers come back to it.
  ASSERT_TRUE(until([&] { return !liar_.heard.empty(); }));
  EXPECT_GT(liar_.heard.back().prefix().credits, server.credits);
}

TEST_F(RdmaLyingClientTest, TheServersMemoryIsOutOfReach) {
  open();
  Hello server;
  memcpy(&server, liar_.answer.data(), sizeof server);
  const uint32_t offset = victim_.arena->take_bulk();
  ASSERT_NE(offset, 0u);
  memset(victim_.arena->at(offset), 0x11, 4096);
  memset(liar_.arena(), 0x99, 4096);
  // Its own key is as good a guess as any: devices count them up.
  liar_.access(IBV_WR_RDMA_WRITE, server.arena_address + offset, liar_.rkey(), 4096);
  ASSERT_TRUE(until([&] { return !liar_.done.empty(); }));
  EXPECT_NE(liar_.done[0].status, IBV_WC_SUCCESS);
  for (uint32_t i = 0; i < 4096; i++) ASSERT_EQ(victim_.arena->at(offset)[i], 0x11);
  EXPECT_TRUE(victim_.arena->give_bulk(offset));
}

TEST_F(RdmaLyingClientTest, AClientThatVanishesInTheMiddleOfABulk) {
  open();
  liar_.send(frame(header(64, 1 << 20), {liar_.source(0, 1 << 20)}));
  // Its device has said that the message has arrived; the server has not looked yet.
  while (liar_.done.empty()) liar_.step();
  liar_.vanish();
  EXPECT_NE(closed_for(), 0u);
  EXPECT_TRUE(victim_.messages.empty());
}

// ---------------------------------------------------------------- hostile servers

class RdmaLyingServerTest : public RdmaLiarTest {
 protected:
  static constexpr uint32_t kTag = 5;
  static constexpr uint32_t kBytes = 12'000;

  void begin(bool windows) {
    victim_.begin(windows);
    ASSERT_FALSE(HasFatalFailure());
    id_ = victim_.engine->reserve();
    const uint16_t port = liar_.listen(kServerAddress);
    ASSERT_TRUE(victim_.engine->connect(id_, kServerAddress, port, kClientAddress));
  }

  void open(bool windows = true) {
    begin(windows);
    ASSERT_TRUE(until([&] { return victim_.event(RecordKind::kOpened) && liar_.established; }));
    windows_ = victim_.engine->uses_windows(id_);
    if (windows && !windows_) GTEST_SKIP() << "the device has no memory windows";
  }

  // A request whose reply may write kBytes to landing_; what the server was told of it.
  Descriptor ask() {
    landing_ = victim_.arena->take_bulk();
    EXPECT_NE(landing_, 0u);
    memset(victim_.arena->at(landing_), 0x11, wire::kBulkSlotBytes);
    victim_.push(SubmissionKind::kLanding, id_, landing_, kBytes, false, kTag);
    const uint32_t message = victim_.arena->take_message();
    const wire::FrameHeader head = header(64);
    memcpy(victim_.arena->at(message), &head, sizeof head);
    victim_.push(SubmissionKind::kFrame, id_, message, 64, true, 0);
    EXPECT_TRUE(until([&] { return !liar_.heard.empty(); }));
    const Heard& request = liar_.heard.back();
    EXPECT_EQ(request.prefix().descriptor_count, 1u);
    memset(liar_.arena(), 0x99, wire::kMaxBulkBytes);
    return request.descriptor(0);
  }

  // The victim's bytes from `at` of the landing on are as they were.
  void expect_untouched(uint32_t at) {
    for (uint32_t i = at; i < wire::kBulkSlotBytes; i++) {
      ASSERT_EQ(victim_.arena->at(landing_)[i], 0x11) << i;
    }
  }

  void TearDown() override {
    if (landing_ != 0) {
      victim_.engine->shutdown();
      EXPECT_TRUE(victim_.arena->give_bulk(landing_));
    }
    RdmaLiarTest::TearDown();
  }

  static std::string device_kind() { return discover_devices()[0].kind; }

  void expect_refused() {
    ASSERT_TRUE(until([&] { return !liar_.done.empty(); }));
    EXPECT_EQ(liar_.done.back().status, IBV_WC_REM_ACCESS_ERR);
    EXPECT_NE(closed_for(), 0u);
  }

  uint32_t id_ = 0;
  uint32_t landing_ = 0;
  bool windows_ = false;
};

TEST_F(RdmaLyingServerTest, AnotherVersionIsSaid) {
  const Refusal refusal{kMagic, static_cast<uint16_t>(RefusalCode::kVersion), 2, 0};
  const auto* bytes = reinterpret_cast<const uint8_t*>(&refusal);
  liar_.accepts = false;
  liar_.refusal.assign(bytes, bytes + sizeof refusal);
  begin(true);
  ASSERT_TRUE(until([&] { return victim_.event(RecordKind::kConnectFailed) != nullptr; }));
  EXPECT_EQ(victim_.event(RecordKind::kConnectFailed)->code, code(Reason::kVersionMismatch));
}

TEST_F(RdmaLyingServerTest, AnAcceptanceInAnotherVersionIsNone) {
  liar_.hello.version = 2;
  begin(true);
  ASSERT_TRUE(until([&] { return victim_.event(RecordKind::kConnectFailed) != nullptr; }));
  EXPECT_EQ(victim_.event(RecordKind::kConnectFailed)->code, code(Reason::kVersionMismatch));
}

TEST_F(RdmaLyingServerTest, AnHonestReplyLands) {
  open();
  const Descriptor landing = ask();
  EXPECT_EQ(landing.length_bytes, kBytes);
  liar_.access(IBV_WR_RDMA_WRITE, landing.address, landing.rkey, kBytes);
  liar_.send(frame(header(64, kBytes, true, kTag)), landing.rkey);
  ASSERT_TRUE(until([&] { return !victim_.messages.empty(); }));
  EXPECT_EQ(victim_.messages[0].bulk, Bytes(kBytes, 0x99));
  expect_untouched(kBytes);
}

TEST_F(RdmaLyingServerTest, AKeyIsOfNoUseAfterItsReply) {
  open();
  const Descriptor landing = ask();
  liar_.access(IBV_WR_RDMA_WRITE, landing.address, landing.rkey, 100);
  liar_.send(frame(header(64, 100, true, kTag)), landing.rkey);
  ASSERT_TRUE(until([&] { return !victim_.messages.empty() && liar_.done.size() == 2; }));
  liar_.access(IBV_WR_RDMA_WRITE, landing.address + 100, landing.rkey, 100);
  expect_refused();
  expect_untouched(100);
}

TEST_F(RdmaLyingServerTest, AKeyForWritingDoesNotRead) {
  open();
  const Descriptor landing = ask();
  liar_.access(IBV_WR_RDMA_READ, landing.address, landing.rkey, 100);
  expect_refused();
  EXPECT_EQ(liar_.arena()[0], 0x99);
}

TEST_F(RdmaLyingServerTest, AKeyOpensItsSlotAndNothingElse) {
  open();
  const Descriptor landing = ask();
  liar_.access(IBV_WR_RDMA_WRITE, landing.address, landing.rkey, kBytes + 4096);
  ASSERT_TRUE(until([&] { return !liar_.done.empty(); }));
  if (liar_.done[0].status == IBV_WC_SUCCESS && device_kind() == "rxe") {
    // Linux 6.1 checks the bounds of the window's region only: docs/security.md.
    GTEST_SKIP() << "rxe of this kernel does not check the bounds of memory windows";
  }
  expect_refused();
  expect_untouched(kBytes);
}

TEST_F(RdmaLyingServerTest, AReplyThatDoesNotEndItsKey) {
  open();
  const Descriptor landing = ask();
  liar_.access(IBV_WR_RDMA_WRITE, landing.address, landing.rkey, 100);
  liar_.send(frame(header(64, 100, true, kTag)));
  EXPECT_EQ(closed_for(), code(Reason::kBadDescriptor));
}

TEST_F(RdmaLyingServerTest, BulkThatNobodyAskedFor) {
  open();
  liar_.send(frame(header(64, 100, true, 9)));
  EXPECT_EQ(closed_for(), code(Reason::kNoLanding));
}

TEST_F(RdmaLyingServerTest, BulkLongerThanItsLanding) {
  open();
  const Descriptor landing = ask();
  liar_.send(frame(header(64, kBytes + 8, true, kTag)), landing.rkey);
  EXPECT_EQ(closed_for(), code(Reason::kNoLanding));
}

TEST_F(RdmaLyingServerTest, ARequestFromAServerReadsNothing) {
  open();
  // A server's memory may be lent to nobody; a client that is asked to read it does not trust it.
  Descriptor source = liar_.source(0, 4096);
  source.rkey ^= 0x5a5a00;
  liar_.send(frame(header(64, 4096), {source}));
  EXPECT_NE(closed_for(), 0u);
}

}  // namespace
}  // namespace sealfs::rdma
