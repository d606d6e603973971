// The disk engine, once with each backend: what is written is read back, many operations deep;
// bad arguments and the end of the file are reported and harm nothing; the eventfd wakes a sleeper.
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>

#include "native/extent/engine.h"

namespace sealfs::extent {
namespace {

constexpr uint64_t kFileBytes = 64u << 20;

class ExtentTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/sealfs-extent-test-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
    path_ = folder_ + "/data";
    std::string error;
    arena_ = Arena::create({.message_slots = 4, .bulk_slots = 16}, &error);
    ASSERT_TRUE(arena_) << error;
    engine_ =
        Engine::create(arena_, {.depth = 8, .threads = 4, .force_threads = GetParam()}, &error);
    ASSERT_TRUE(engine_) << error;
    if (!GetParam() && engine_->mode().rfind("io_uring", 0) != 0) GTEST_SKIP() << engine_->mode();
    const OpenResult opened = engine_->open(path_, true, kFileBytes);
    ASSERT_EQ(opened.error, 0);
    EXPECT_EQ(opened.bytes, kFileBytes);
    EXPECT_FALSE(opened.block_device);
    file_ = opened.file;
  }

  void TearDown() override {
    engine_.reset();
    unlink(path_.c_str());
    rmdir(folder_.c_str());
  }

  void push(Opcode opcode, uint32_t memory, uint32_t length, uint32_t block, uint32_t tag) {
    uint32_t* record = engine_->submissions().push();
    ASSERT_NE(record, nullptr);
    const Submission submission{
        static_cast<uint32_t>(opcode), file_, memory, length, block, tag, 0, 0};
    memcpy(record, &submission, sizeof submission);
  }

  // Tag -> result of the next `count` completions, sleeping on the descriptor between them.
  std::map<uint32_t, int32_t> wait_for(size_t count) {
    std::map<uint32_t, int32_t> results;
    engine_->submit();
    for (int round = 0; round < 10000 && results.size() < count; round++) {
      const uint32_t ready = engine_->harvest();
      for (uint32_t i = 0; i < ready; i++) {
        const uint32_t* record = engine_->completions().record(i);
        EXPECT_TRUE(results.emplace(record[0], static_cast<int32_t>(record[1])).second);
      }
      if (ready == 0 && !engine_->arm()) {
        pollfd waited{engine_->fd(), POLLIN, 0};
        EXPECT_EQ(poll(&waited, 1, 5000), 1) << "no completion woke the sleeper";
      }
    }
    EXPECT_EQ(results.size(), count);
    EXPECT_EQ(engine_->outstanding(), 0u);
    return results;
  }

  std::string folder_, path_;
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<Engine> engine_;
  uint32_t file_ = 0;
};

TEST_P(ExtentTest, ModeTellsTheBackend) {
  EXPECT_EQ(engine_->mode().rfind(GetParam() ? "threads (asked for)" : "io_uring", 0), 0u)
      << engine_->mode();
}

TEST_P(ExtentTest, ReadsBackWhatWasWrittenDeeperThanTheQueue) {
  // 48 transfers of one slot in pieces of 64 KiB, at a depth of 8.
  const uint32_t from = arena_->take_bulk(), to = arena_->take_bulk();
  constexpr uint32_t kPiece = 65536, kPieces = 16;
  for (uint32_t i = 0; i < kPiece * kPieces; i++) {
    arena_->at(from)[i] = static_cast<uint8_t>(i * 7 + (i >> 12));
  }
  for (uint32_t i = 0; i < kPieces; i++) {
    push(Opcode::kWrite, from + i * kPiece, kPiece, 100 + i * 32, i);
  }
  for (const auto& [tag, result] : wait_for(kPieces)) EXPECT_EQ(result, int32_t{kPiece}) << tag;
  push(Opcode::kSync, 0, 0, 0, 77);
  EXPECT_EQ(wait_for(1)[77], 0);
  for (uint32_t i = 0; i < kPieces; i++) {
    push(Opcode::kRead, to + i * kPiece, kPiece, 100 + i * 32, i);
  }
  for (const auto& [tag, result] : wait_for(kPieces)) EXPECT_EQ(result, int32_t{kPiece}) << tag;
  for (uint32_t i = 0; i < kPieces; i++) {
    EXPECT_EQ(memcmp(arena_->at(from) + i * kPiece, arena_->at(to) + i * kPiece, kPiece), 0);
  }
}

TEST_P(ExtentTest, BadSubmissionsAnswerEinvalAndOthersGoOn) {
  const uint32_t slot = arena_->take_bulk();
  push(Opcode::kRead, 0, 4096, 0, 1);                                              // control area
  push(Opcode::kRead, static_cast<uint32_t>(arena_->bytes()) - 4096, 8192, 0, 2);  // past the end
  push(static_cast<Opcode>(99), slot, 4096, 0, 3);
  push(Opcode::kRead, slot, 0, 0, 4);
  file_ = 63;
  push(Opcode::kRead, slot, 4096, 0, 5);
  file_ = 0xffffffff;
  push(Opcode::kRead, slot, 4096, 0, 6);
  file_ = 0;
  push(Opcode::kRead, slot, 4096, 0, 7);
  auto results = wait_for(7);
  for (uint32_t tag = 1; tag <= 6; tag++) EXPECT_EQ(results[tag], -EINVAL) << tag;
  EXPECT_EQ(results[7], 4096);
}

TEST_P(ExtentTest, EndOfFileIsAShortTransfer) {
  const uint32_t slot = arena_->take_bulk();
  push(Opcode::kRead, slot, 65536, kFileBytes / 4096 - 4, 1);
  push(Opcode::kRead, slot + 65536, 4096, kFileBytes / 4096 + 10, 2);
  auto results = wait_for(2);
  EXPECT_EQ(results[1], 4 * 4096);
  EXPECT_EQ(results[2], 0);
}

TEST_P(ExtentTest, AllocateGrowsTheFile) {
  push(Opcode::kAllocate, 0, 256, kFileBytes / 4096, 1);
  EXPECT_EQ(wait_for(1)[1], 0);
  struct stat status;
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(static_cast<uint64_t>(status.st_size), kFileBytes + 256 * 4096);
}

TEST_P(ExtentTest, OpenRefusesWhatItMust) {
  EXPECT_EQ(engine_->open(path_, true, 4096).error, EEXIST);
  EXPECT_EQ(engine_->open(path_, false, 0).error, EBUSY) << "locked by the first open";
  EXPECT_EQ(engine_->open(folder_ + "/none", false, 0).error, ENOENT);
  EXPECT_EQ(engine_->open(folder_ + "/huge", true, uint64_t{1} << 62).error != 0, true);
  EXPECT_NE(access((folder_ + "/huge").c_str(), F_OK), 0) << "nothing is left behind";
  engine_->close_file(file_);
  EXPECT_EQ(engine_->open(path_, false, 0).error, 0);
}

TEST_P(ExtentTest, MoreThanTheCompletionRingHolds) {
  const uint32_t slot = arena_->take_bulk();
  for (uint32_t round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < kRingRecords; i++) {
      push(Opcode::kRead, slot, 4096, i % 64, round * kRingRecords + i);
    }
    engine_->submit();
  }
  EXPECT_EQ(engine_->outstanding(), 2 * kRingRecords);
  for (const auto& [tag, result] : wait_for(2 * kRingRecords)) EXPECT_EQ(result, 4096) << tag;
}

INSTANTIATE_TEST_SUITE_P(Backends, ExtentTest, testing::Values(false, true),
                         [](const auto& tested) { return tested.param ? "Threads" : "Uring"; });

}  // namespace
}  // namespace sealfs::extent
