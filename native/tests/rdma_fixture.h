// Goal: two engines in one process for the tests of native/rdma, the client at 10.77.0.1 and the
// server at 10.77.0.2 of the Soft-RoCE machine. Where there is no device the tests skip themselves.
#pragma once

#include <errno.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "native/rdma/discover.h"
#include "native/rdma/engine.h"

namespace sealfs::rdma {

using Bytes = std::vector<uint8_t>;

constexpr const char* kClientAddress = "10.77.0.1";
constexpr const char* kServerAddress = "10.77.0.2";
constexpr uint32_t kMessages = 256;
constexpr uint32_t kBulks = 20;
constexpr uint32_t kShares = 2;

inline Bytes random_bytes(size_t count, uint32_t seed) {
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

// One process's side: an arena and the engine over it.
struct Side {
  std::shared_ptr<Arena> arena;
  std::shared_ptr<Engine> engine;
  std::vector<Seen> seen;

  void begin(const Options& options, uint32_t areas = 2) {
    std::string error;
    arena = Arena::create({kMessages, kBulks, areas, kShares}, &error);
    ASSERT_TRUE(arena) << error;
    engine = Engine::create(arena, options, &error);
    ASSERT_TRUE(engine) << error;
  }

  void end() {
    if (!engine) return;
    engine->shutdown();
    EXPECT_EQ(arena->free_messages(), kMessages);
    EXPECT_EQ(arena->free_bulk(), kBulks);
    engine.reset();
    // Areas come back with the engine.
    EXPECT_NE(arena->take_receive_area(), 0u);
  }

  void step() {
    const uint32_t count = engine->harvest();
    for (uint32_t i = 0; i < count; i++) {
      Seen one;
      one.record = *reinterpret_cast<Record*>(engine->records().record(i));
      const Record& r = one.record;
      if (r.message_bytes > 0) {
        EXPECT_EQ(r.message_offset % 8, 0u);
        const uint8_t* at = arena->at(r.message_offset);
        one.message.assign(at, at + r.message_bytes);
      }
      if (r.bulk_offset != 0) {
        const uint8_t* at = arena->at(r.bulk_offset);
        one.bulk.assign(at, at + r.bulk_bytes);
      }
      if (r.owns_slot) {
        EXPECT_TRUE(arena->give_bulk(r.bulk_offset));
      }
      seen.push_back(std::move(one));
    }
    engine->submit();
  }

  void push(SubmissionKind kind, uint32_t connection, uint32_t offset = 0, uint32_t bytes = 0,
            bool release = false, uint32_t tag = 0) {
    auto* s = reinterpret_cast<Submission*>(engine->submissions().push());
    ASSERT_NE(s, nullptr);
    *s = {static_cast<uint32_t>(kind), connection, offset, bytes, release ? 1u : 0u, tag};
  }

  // A frame in a message slot, given back when it is out.
  void send(uint32_t connection, uint32_t bytes, uint8_t fill = 7, bool reply = false,
            uint32_t tag = static_cast<uint32_t>(wire::kNoTag)) {
    const uint32_t offset = arena->take_message();
    ASSERT_NE(offset, 0u);
    memset(arena->at(offset), fill, bytes);
    wire::FrameHeader header{};
    header.magic = wire::kFrameMagic;
    header.message_bytes = bytes;
    header.bulk_tag = tag;
    header.count = 1;
    header.flags = reply ? 1 : 0;
    memcpy(arena->at(offset), &header, sizeof header);
    push(SubmissionKind::kFrame, connection, offset, bytes, true);
  }

  // A bulk slot with these bytes; its payload's offset.
  uint32_t bulk(const Bytes& bytes) {
    const uint32_t offset = arena->take_bulk();
    EXPECT_NE(offset, 0u);
    memcpy(arena->at(offset), bytes.data(), bytes.size());
    return offset;
  }

  // Landings and their ends are submitted like frames.
  void land(uint32_t connection, uint32_t tag, uint32_t offset, uint32_t bytes) {
    push(SubmissionKind::kLanding, connection, offset, bytes, false, tag);
  }

  const Seen* find(RecordKind kind) const {
    for (const Seen& one : seen) {
      if (one.record.kind == static_cast<uint32_t>(kind)) return &one;
    }
    return nullptr;
  }
  std::vector<Seen> messages() const {
    std::vector<Seen> out;
    for (const Seen& one : seen) {
      if (one.record.kind == static_cast<uint32_t>(RecordKind::kMessage)) out.push_back(one);
    }
    return out;
  }
};

class RdmaEngineTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!why_no_rdma(discover_devices()).empty()) GTEST_SKIP() << "no RDMA device";
    client_.begin({GetParam(), 2});
    server_.begin({GetParam(), 2});
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_EQ(server_.engine->listen(kServerAddress, &port_), 0);
  }

  void TearDown() override {
    client_.end();
    server_.end();
  }

  // Wanted, and there.
  bool windows() const {
    const auto devices = discover_devices();
    const auto has = [](const DeviceInfo& device) { return device.windows; };
    return GetParam() && std::all_of(devices.begin(), devices.end(), has);
  }

  // Harvests both until `done`; false when that takes too long.
  bool until(const std::function<bool()>& done, int seconds = 20) {
    const time_t end = time(nullptr) + seconds;
    for (;;) {
      client_.step();
      server_.step();
      if (done()) return true;
      if (time(nullptr) > end) return false;
      sched_yield();
    }
  }

  // Both ends of a new connection.
  void open() {
    const uint32_t id = client_.engine->reserve();
    ASSERT_TRUE(client_.engine->connect(id, kServerAddress, port_, kClientAddress));
    ASSERT_TRUE(until([&] {
      return client_.find(RecordKind::kOpened) != nullptr &&
             server_.find(RecordKind::kAccepted) != nullptr;
    })) << (client_.seen.empty() ? 0 : client_.seen.back().record.code);
    here_ = id;
    there_ = server_.find(RecordKind::kAccepted)->record.connection;
    client_.seen.clear();
    server_.seen.clear();
  }

  static bool closed(const Side& side) { return side.find(RecordKind::kClosed) != nullptr; }
  static uint32_t close_code(const Side& side) {
    const Seen* one = side.find(RecordKind::kClosed);
    return one == nullptr ? 0 : one->record.code;
  }

  Side client_;
  Side server_;
  uint16_t port_ = 0;
  uint32_t here_ = 0;   // the client's number of the connection
  uint32_t there_ = 0;  // the server's
};

}  // namespace sealfs::rdma
