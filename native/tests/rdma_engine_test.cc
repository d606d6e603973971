// Protects native/rdma on real queue pairs, between two honest ends: frames, bulk both ways,
// landings, credits, closing, and that whatever happens every slot and buffer comes back.
//
//   bash ci/rdma/boot.sh -- build/tests/native/tests/rdma_engine_test
//
// Every test runs with memory windows and without.
#include <sys/mman.h>

#include "native/tests/rdma_fixture.h"

namespace sealfs::rdma {
namespace {

INSTANTIATE_TEST_SUITE_P(Windows, RdmaEngineTest, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "on" : "off"; });

TEST_P(RdmaEngineTest, CarriesAFrameEachWay) {
  open();
  EXPECT_EQ(client_.engine->uses_windows(here_), windows());
  client_.send(here_, 64, 3);
  ASSERT_TRUE(until([&] { return !server_.messages().empty(); }));
  EXPECT_EQ(server_.messages()[0].message.size(), 64u);
  EXPECT_EQ(server_.messages()[0].message.back(), 3);
  server_.send(there_, 48, 4, true);
  ASSERT_TRUE(until([&] { return !client_.messages().empty(); }));
  EXPECT_EQ(client_.messages()[0].message.back(), 4);
}

TEST_P(RdmaEngineTest, PullsBulkOfRequests) {
  open();
  const uint32_t lengths[] = {1, 7, 4095, 47'008, 500'001, 1 << 20, 3};
  uint32_t seed = 0;
  for (const uint32_t length : lengths) {
    server_.seen.clear();
    const Bytes bulk = random_bytes(length, ++seed);
    const uint32_t slot = client_.bulk(bulk);
    client_.push(SubmissionKind::kBulk, 0, slot, length / 3, false);
    client_.push(SubmissionKind::kBulk, 0, slot + length / 3, length - length / 3, true);
    client_.send(here_, 64);
    client_.send(here_, 40);
    ASSERT_TRUE(until([&] { return server_.messages().size() == 2; })) << length;
    EXPECT_EQ(server_.messages()[0].bulk, bulk) << length;
    EXPECT_EQ(server_.messages()[1].record.bulk_offset, 0u);
    // The slot comes back though the server has nothing to say.
    ASSERT_TRUE(until([&] { return client_.arena->free_bulk() == kBulks; })) << length;
  }
}

TEST_P(RdmaEngineTest, CarriesManyFramesOfAllSizesInOrder) {
  open();
  uint32_t sent = 0;
  uint32_t arrived = 0;
  constexpr uint32_t kFrames = 600;
  ASSERT_TRUE(until([&] {
    while (sent < kFrames && client_.arena->free_messages() > 0) {
      client_.send(here_, 32 + sent * 1368 % 16'352 / 8 * 8, static_cast<uint8_t>(sent));
      sent++;
    }
    for (const Seen& one : server_.messages()) {
      EXPECT_EQ(one.message.size(), 32 + arrived * 1368 % 16'352 / 8 * 8);
      if (one.message.size() > 32) {
        EXPECT_EQ(one.message.back(), static_cast<uint8_t>(arrived));
      }
      arrived++;
    }
    server_.seen.clear();
    return arrived == kFrames;
  }));
  const Counters& counters = client_.engine->counters();
  EXPECT_EQ(counters.frames_sent, kFrames);
  EXPECT_GT(counters.credit_stalls, 0);
  // A frame is one work request, and few of them are signalled.
  EXPECT_LT(counters.work_requests, kFrames + 100);
  EXPECT_LT(counters.doorbells, counters.work_requests);
  // Only what went inline was copied.
  EXPECT_EQ(counters.copied_below64k + counters.copied_above, 0);
  EXPECT_GT(server_.engine->counters().credit_frames, kFrames / 16 / 2);
}

TEST_P(RdmaEngineTest, FramesBehindABulkWaitForItAndOthersGoOn) {
  open();
  std::vector<uint32_t> taken;
  while (const uint32_t slot = server_.arena->take_bulk()) taken.push_back(slot);
  const uint32_t first = here_;
  const Bytes bulk = random_bytes(100'000, 1);
  client_.push(SubmissionKind::kBulk, 0, client_.bulk(bulk), 100'000, true);
  client_.send(here_, 64);
  client_.send(here_, 40);
  open();
  client_.send(here_, 48);
  ASSERT_TRUE(until([&] { return !server_.messages().empty(); }));
  EXPECT_EQ(server_.messages().size(), 1u);
  EXPECT_EQ(server_.messages()[0].message.size(), 48u);
  EXPECT_TRUE(server_.arena->give_bulk(taken.back()));
  EXPECT_TRUE(server_.engine->arm());  // work that no descriptor shows
  ASSERT_TRUE(until([&] { return server_.messages().size() == 3; }));
  EXPECT_EQ(server_.messages()[1].bulk, bulk);
  EXPECT_EQ(server_.messages()[2].message.size(), 40u);
  taken.pop_back();
  for (const uint32_t slot : taken) EXPECT_TRUE(server_.arena->give_bulk(slot));
  EXPECT_NE(first, here_);
}

TEST_P(RdmaEngineTest, WritesBulkOfRepliesWhereTheirRequestsSaid) {
  open();
  const uint32_t landing = client_.arena->take_bulk();
  // More landings than go inline, told with one frame; answered out of order.
  for (uint32_t tag = 0; tag < 40; tag++) client_.land(here_, tag, landing + tag * 20'000, 20'000);
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
  for (uint32_t i = 0; i < 40; i++) {
    const uint32_t tag = i * 7 % 40;
    client_.seen.clear();
    const Bytes bulk = random_bytes(20'000 - tag, tag);
    const uint32_t slot = server_.bulk(bulk);
    // In pieces that are no neighbours once turned around: as many as lie in one work request.
    server_.push(SubmissionKind::kBulk, 0, slot, 5'000, false);
    server_.push(SubmissionKind::kBulk, 0, slot + 5'000, 15'000 - tag, true);
    server_.send(there_, 48, 1, true, tag);
    ASSERT_TRUE(until([&] { return client_.messages().size() == 1; })) << tag;
    EXPECT_EQ(client_.messages()[0].record.bulk_offset, landing + tag * 20'000);
    EXPECT_EQ(client_.messages()[0].record.owns_slot, 0u);
    EXPECT_EQ(client_.messages()[0].bulk, bulk);
  }
  EXPECT_EQ(client_.engine->counters().windows_bound, windows() ? 40 : 0);
  EXPECT_EQ(server_.engine->counters().bulk_writes, 40);
  EXPECT_TRUE(client_.arena->give_bulk(landing));
}

// Of one program after the other, each with memory of its own at the same place of the arena.
TEST_P(RdmaEngineTest, SendsFromAndReceivesIntoMemoryThatIsLent) {
  constexpr uint32_t kLength = 500'000;
  constexpr uint32_t kLanding = 1 << 20;
  uint32_t before = 0;
  for (uint32_t round = 0; round < 6; round++) {
    const int fd = memfd_create("share", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(fd, kShareBytes), 0);
    // Also one that is lent before there is a device.
    const uint32_t share = client_.arena->open_share(fd, 0);
    ASSERT_NE(share, 0u);
    if (round == 0) open();
    if (round > 0) EXPECT_EQ(share, before);
    before = share;
    client_.seen.clear();
    server_.seen.clear();
    const Bytes written = random_bytes(kLength, 2 * round);
    ASSERT_EQ(pwrite(fd, written.data(), kLength, 0), kLength);
    client_.land(here_, 3, share + kLanding, kLength);
    client_.push(SubmissionKind::kBulk, 0, share, kLength, false);
    client_.send(here_, 64);
    ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
    EXPECT_EQ(server_.messages()[0].bulk, written);
    const Bytes answer = random_bytes(kLength, 2 * round + 1);
    server_.push(SubmissionKind::kBulk, 0, server_.bulk(answer), kLength, true);
    server_.send(there_, 48, 1, true, 3);
    ASSERT_TRUE(until([&] { return client_.messages().size() == 1; }));
    Bytes read(kLength);
    ASSERT_EQ(pread(fd, read.data(), kLength, kLanding), kLength);
    EXPECT_EQ(read, answer);
    client_.arena->close_share(share);
    close(fd);
  }
  EXPECT_FALSE(closed(client_));
}

TEST_P(RdmaEngineTest, UsesATagAgainAfterItsLandingEnded) {
  open();
  const uint32_t landing = client_.arena->take_bulk();
  for (uint32_t round = 0; round < 50; round++) {
    client_.seen.clear();
    server_.seen.clear();
    client_.land(here_, 5, landing, 1000);
    client_.send(here_, 64);
    ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
    const bool with_bulk = round % 3 == 0;
    const Bytes bulk = random_bytes(1000, round);
    if (with_bulk) server_.push(SubmissionKind::kBulk, 0, server_.bulk(bulk), 1000, true);
    server_.send(there_, 48, 1, true, with_bulk ? 5 : static_cast<uint32_t>(wire::kNoTag));
    ASSERT_TRUE(until([&] { return client_.messages().size() == 1; }));
    if (with_bulk) {
      EXPECT_EQ(client_.messages()[0].bulk, bulk);
    } else {
      client_.push(SubmissionKind::kEndLanding, here_, 0, 0, false, 5);
    }
  }
  EXPECT_FALSE(closed(client_));
  EXPECT_TRUE(client_.arena->give_bulk(landing));
}

TEST_P(RdmaEngineTest, DropsBulkForALandingThatWasWithdrawnBeforeItWasTold) {
  open();
  const uint32_t landing = client_.arena->take_bulk();
  memset(client_.arena->at(landing), 0x5a, 1000);
  client_.land(here_, 3, landing, 1000);
  client_.engine->submit();
  client_.engine->withdraw(here_, 3);
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
  server_.push(SubmissionKind::kBulk, 0, server_.bulk(random_bytes(1000, 1)), 1000, true);
  server_.send(there_, 48, 1, true, 3);
  ASSERT_TRUE(until([&] { return client_.messages().size() == 1; }));
  EXPECT_EQ(client_.messages()[0].record.bulk_offset, 0u);
  EXPECT_EQ(client_.messages()[0].record.bulk_bytes, 1000u);
  EXPECT_EQ(*client_.arena->at(landing), 0x5a);
  EXPECT_TRUE(client_.arena->give_bulk(landing));
}

TEST_P(RdmaEngineTest, WithdrawingALandingThatWasToldCostsTheConnection) {
  open();
  const uint32_t landing = client_.arena->take_bulk();
  client_.land(here_, 3, landing, 1 << 20);
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
  server_.push(SubmissionKind::kBulk, 0, server_.bulk(random_bytes(1 << 20, 1)), 1 << 20, true);
  server_.send(there_, 48, 1, true, 3);
  server_.step();
  client_.engine->withdraw(here_, 3);
  const uint8_t* at = client_.arena->at(landing);
  const Bytes left(at, at + (1 << 20));
  ASSERT_TRUE(until([&] { return closed(client_) && closed(server_); }));
  EXPECT_EQ(close_code(client_), code(Reason::kLandingWithdrawn));
  EXPECT_EQ(memcmp(at, left.data(), left.size()), 0);
  EXPECT_TRUE(client_.arena->give_bulk(landing));
}

TEST_P(RdmaEngineTest, CloseSendsWhatWasQueued) {
  open();
  for (int i = 0; i < 40; i++) server_.send(there_, 4000, static_cast<uint8_t>(i));
  server_.push(SubmissionKind::kClose, there_);
  ASSERT_TRUE(until([&] { return closed(client_) && closed(server_); }));
  EXPECT_EQ(close_code(server_), code(Reason::kClosedHere));
  EXPECT_EQ(close_code(client_), code(Reason::kPeerClosed));
  EXPECT_EQ(client_.messages().size(), 40u);
  EXPECT_EQ(client_.seen.back().record.kind, static_cast<uint32_t>(RecordKind::kClosed));
}

TEST_P(RdmaEngineTest, CloseWaitsAMomentForCredits) {
  open();
  // The client is not asked for anything any more: after its credits the server's frames stay.
  for (int i = 0; i < 40; i++) server_.send(there_, 4000);
  server_.push(SubmissionKind::kClose, there_);
  server_.engine->submit();
  const time_t began = time(nullptr);
  while (!closed(server_) && time(nullptr) < began + 10) server_.step();
  EXPECT_TRUE(closed(server_));
  EXPECT_EQ(server_.arena->free_messages(), kMessages);
  ASSERT_TRUE(until([&] { return closed(client_); }));
}

TEST_P(RdmaEngineTest, ABrokenQueuePairClosesBothEnds) {
  open();
  for (int i = 0; i < 5; i++) {
    client_.push(SubmissionKind::kBulk, 0, client_.bulk(random_bytes(1 << 20, 1)), 1 << 20, true);
    client_.send(here_, 64);
  }
  client_.step();
  server_.step();
  client_.engine->break_queue_pair(here_);
  ASSERT_TRUE(until([&] { return closed(client_) && closed(server_); }));
  const uint32_t why = close_code(client_);
  EXPECT_TRUE(why == code(Reason::kFlushedByPeer) || why == code(Reason::kPeerClosed)) << why;
  open();  // a new one serves at once
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
}

TEST_P(RdmaEngineTest, SaysWhyAConnectFailed) {
  const auto attempt = [this](const char* address, uint16_t port, const char* source) {
    client_.seen.clear();
    const uint32_t id = client_.engine->reserve();
    client_.send(id, 64);  // given back with the connection
    EXPECT_TRUE(client_.engine->connect(id, address, port, source));
    EXPECT_TRUE(until([&] { return client_.find(RecordKind::kConnectFailed) != nullptr; }));
    const Seen* failed = client_.find(RecordKind::kConnectFailed);
    client_.push(SubmissionKind::kClose, id);
    const uint32_t why = failed == nullptr ? 0 : failed->record.code;
    EXPECT_TRUE(until([&] { return closed(client_); }));
    return why;
  };
  EXPECT_EQ(attempt(kServerAddress, 1, kClientAddress), uint32_t{ECONNREFUSED});
  EXPECT_EQ(attempt("nonsense", 1, ""), uint32_t{EINVAL});
  EXPECT_NE(attempt("10.77.0.99", 1, kClientAddress), 0u);
  EXPECT_NE(attempt(kServerAddress, port_, "192.0.2.1"), 0u);
  EXPECT_NE(attempt("192.0.2.1", 1, ""), 0u);
  uint16_t taken = port_;
  EXPECT_EQ(server_.engine->listen(kServerAddress, &taken), EADDRINUSE);
}

TEST_P(RdmaEngineTest, GivesFewerCreditsWhenBuffersAreScarceAndRefusesWithout) {
  Side small;
  small.begin({GetParam(), 1}, 1);
  uint16_t port = 0;
  ASSERT_EQ(small.engine->listen(kServerAddress, &port), 0);
  uint32_t opened = 0;
  std::vector<uint32_t> ids;
  for (; opened < 30; opened++) {
    client_.seen.clear();
    ids.push_back(client_.engine->reserve());
    ASSERT_TRUE(client_.engine->connect(ids.back(), kServerAddress, port, kClientAddress));
    ASSERT_TRUE(until([&] {
      small.step();
      return !client_.seen.empty();
    }));
    if (client_.find(RecordKind::kOpened) == nullptr) break;
  }
  EXPECT_GE(opened, 12u);
  ASSERT_LT(opened, 30u);
  EXPECT_EQ(client_.seen.back().record.code, code(Reason::kPeerNoReceiveBuffers));
  // Each of them works, and a closed one makes room for another.
  small.seen.clear();
  for (uint32_t i = 0; i < opened; i++) {
    for (int k = 0; k < 10; k++) client_.send(ids[i], 64);
  }
  ASSERT_TRUE(until([&] {
    small.step();
    return small.messages().size() == 10 * opened;
  }));
  client_.push(SubmissionKind::kClose, ids[0]);
  ASSERT_TRUE(until([&] {
    small.step();
    return closed(small);
  }));
  client_.seen.clear();
  const uint32_t again = client_.engine->reserve();
  ASSERT_TRUE(client_.engine->connect(again, kServerAddress, port, kClientAddress));
  ASSERT_TRUE(until([&] {
    small.step();
    return client_.find(RecordKind::kOpened) != nullptr;
  }));
  small.end();
}

TEST_P(RdmaEngineTest, SleepsUntilSomethingComes) {
  open();
  for (int round = 0; round < 5; round++) {
    // Nothing is there: both may sleep.
    ASSERT_TRUE(until([&] { return !server_.engine->arm() && !client_.engine->arm(); }));
    pollfd waiting{server_.engine->fd(), POLLIN, 0};
    client_.send(here_, 64);
    client_.engine->submit();
    EXPECT_EQ(::poll(&waiting, 1, 5000), 1) << round;
    ASSERT_TRUE(until([&] { return !server_.messages().empty(); }));
    server_.seen.clear();
    ASSERT_TRUE(until([&] { return ::poll(&waiting, 1, 0) == 0; })) << "stays readable";
  }
  // A disconnect wakes, too.
  ASSERT_TRUE(until([&] { return !server_.engine->arm(); }));
  client_.engine->shutdown();
  pollfd waiting{server_.engine->fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 5000), 1);
  ASSERT_TRUE(until([&] { return closed(server_); }));
}

TEST_P(RdmaEngineTest, RefusesWhatJavaScriptMustNotAsk) {
  open();
  client_.push(SubmissionKind::kFrame, here_, 8, 64);  // the control area
  ASSERT_TRUE(until([&] { return closed(client_); }));
  EXPECT_EQ(close_code(client_), code(Reason::kBadSubmission));
  open();
  // Bulk of no length is none, and its slot comes back.
  client_.push(SubmissionKind::kBulk, 0, client_.arena->take_bulk(), 0, true);
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return !server_.messages().empty(); }));
  ASSERT_TRUE(until([&] { return client_.arena->free_bulk() == kBulks; }));
  const uint32_t slot = client_.arena->take_bulk();
  for (uint32_t i = 0; i <= kSourcesMax; i++) {
    client_.push(SubmissionKind::kBulk, 0, slot + i * 16, 8, false);
  }
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return closed(client_); }));
  EXPECT_EQ(close_code(client_), code(Reason::kBadSubmission));
  EXPECT_TRUE(client_.arena->give_bulk(slot));
}

TEST_P(RdmaEngineTest, ABackloggedClientIsNotServedUntilItReads) {
  open();
  constexpr uint32_t kReplies = 2 * kBacklogSegments;
  const uint32_t slot = server_.arena->take_message();
  wire::FrameHeader header{};
  header.magic = wire::kFrameMagic;
  header.message_bytes = 64;
  header.flags = 1;
  memcpy(server_.arena->at(slot), &header, sizeof header);
  for (uint32_t i = 0; i < kReplies; i++) {
    server_.push(SubmissionKind::kFrame, there_, slot, 64);
  }
  server_.step();
  for (int i = 0; i < 60; i++) client_.send(here_, 64);
  client_.engine->submit();
  for (int i = 0; i < 2000; i++) server_.step();
  EXPECT_LT(server_.messages().size(), 20u);
  ASSERT_TRUE(until(
      [&] { return client_.messages().size() == kReplies && server_.messages().size() == 60; }));
  EXPECT_TRUE(server_.arena->give_message(slot));
}

// Begins to remove a device of rxe; `removed` says when that is done: when nobody uses it any more.
void remove_device(const std::string& name) {
  const std::string command = "(rdma link delete " + name + "; touch /tmp/no-" + name + ") &";
  ASSERT_EQ(system(command.c_str()), 0);
}

bool removed(const std::string& name) { return access(("/tmp/no-" + name).c_str(), F_OK) == 0; }

void add_device(const std::string& name, const std::string& netdev) {
  const std::string command = "rdma link add " + name + " type rxe netdev " + netdev;
  ASSERT_EQ(system(command.c_str()), 0);
  unlink(("/tmp/no-" + name).c_str());
}

TEST_P(RdmaEngineTest, OutlivesItsDevice) {
  if (system("test -e /sys/class/infiniband/rxe1") != 0) GTEST_SKIP() << "no rxe to remove";
  open();
  client_.push(SubmissionKind::kBulk, 0, client_.bulk(random_bytes(1 << 20, 1)), 1 << 20, true);
  client_.send(here_, 64);
  client_.step();
  remove_device("rxe1");
  EXPECT_TRUE(until([&] { return closed(server_); }));
  EXPECT_EQ(close_code(server_), code(Reason::kDeviceGone));
  EXPECT_TRUE(until([&] { return closed(client_); }));
  EXPECT_TRUE(until([&] { return removed("rxe1"); }));
  // It sleeps well: nothing of the device keeps it awake.
  EXPECT_TRUE(until([&] { return !server_.engine->arm(); }));
  pollfd waiting{server_.engine->fd(), POLLIN, 0};
  EXPECT_TRUE(until([&] { return !server_.engine->arm() && ::poll(&waiting, 1, 0) == 0; }));
  add_device("rxe1", "net1");
  // When the device is back the server listens again, at the same port.
  server_.engine->tick();
  open();
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
}

// librdmacm keeps a device open when it finds no other one in its place.
TEST_P(RdmaEngineTest, LetsGoOfTheLastDevice) {
  if (system("test -e /sys/class/infiniband/rxe1") != 0) GTEST_SKIP() << "no rxe to remove";
  const auto remove_both = [&] {
    for (const char* name : {"rxe0", "rxe1"}) {
      remove_device(name);
      EXPECT_TRUE(until([&] { return removed(name); })) << name;
    }
    add_device("rxe0", "net0");
    add_device("rxe1", "net1");
    server_.engine->tick();
  };
  open();
  remove_both();
  EXPECT_TRUE(closed(client_));
  EXPECT_TRUE(closed(server_));
  remove_both();  // which only a listener uses now
  client_.seen.clear();
  server_.seen.clear();
  open();
  client_.send(here_, 64);
  ASSERT_TRUE(until([&] { return server_.messages().size() == 1; }));
}

}  // namespace
}  // namespace sealfs::rdma
