// Protects the decisions of a thread's turns: what is called in which order, when it sleeps, that a
// busy source cannot starve the rest of the loop, and the rings' bounds.
#include "native/common/turn_loop.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <string>

#include "native/common/record_ring.h"

namespace sealfs {
namespace {

uint64_t now_ns = 0;
uint64_t clock_step_ns = 0;

// Every look at the clock lets some time pass.
uint64_t test_clock() { return now_ns += clock_step_ns; }

class FakeSource : public EventSource {
 public:
  FakeSource() : fd_(eventfd(0, EFD_NONBLOCK)) {}
  ~FakeSource() override { ::close(fd_); }
  uint32_t harvest() override {
    harvests++;
    if (ready_every > 0 && harvests % ready_every == 0) return 1;
    const uint32_t count = pending;
    pending = 0;
    return count;
  }
  void submit() override {
    submits++;
    if (journal != nullptr) *journal += "submit ";
  }
  int fd() const override { return fd_; }
  bool arm() override {
    arms++;
    return pending > 0;
  }
  uint32_t outstanding() const override { return in_flight; }

  uint32_t pending = 0;
  uint32_t ready_every = 0;
  uint32_t in_flight = 0;
  int harvests = 0;
  int submits = 0;
  int arms = 0;
  std::string* journal = nullptr;

 private:
  const int fd_;
};

class TurnLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    now_ns = 1'000'000'000;
    clock_step_ns = 1'000;
  }
  std::string journal_;
  int turns_ = 0;
  TurnLoop loop_{[this] {
                   turns_++;
                   journal_ += "turn ";
                 },
                 test_clock};
  std::shared_ptr<FakeSource> source_ = std::make_shared<FakeSource>();
};

TEST_F(TurnLoopTest, HarvestsCallsJavaScriptOnceAndSubmits) {
  auto other = std::make_shared<FakeSource>();
  source_->journal = other->journal = &journal_;
  ASSERT_EQ(loop_.add(source_), 0);
  ASSERT_EQ(loop_.add(other), 1);
  source_->pending = 3;
  other->pending = 2;
  EXPECT_FALSE(loop_.run());
  EXPECT_EQ(journal_, "turn submit submit ");
  EXPECT_EQ(loop_.state().records, 5);
  EXPECT_EQ(loop_.state().turns, 1);
}

TEST_F(TurnLoopTest, SleepsWithoutATurnWhenNothingComes) {
  loop_.add(source_);
  EXPECT_FALSE(loop_.run());
  EXPECT_EQ(turns_, 0);
  EXPECT_EQ(loop_.state().sleeps, 1);
  EXPECT_GE(source_->arms, 1);
}

TEST_F(TurnLoopTest, PollsLongerWhileSomethingIsOutstanding) {
  loop_.add(source_);
  loop_.run();
  const int without = source_->harvests;
  source_->harvests = 0;
  source_->in_flight = 1;
  loop_.kick();
  loop_.run();
  EXPECT_GT(source_->harvests, 2 * without);
}

TEST_F(TurnLoopTest, ABusySourceEndsTheSlice) {
  loop_.add(source_);
  source_->ready_every = 1;
  EXPECT_TRUE(loop_.run());  // call again, but let others have their turn
  const uint64_t slice = TurnLoop::kSliceNs / clock_step_ns;
  EXPECT_LE(static_cast<uint64_t>(turns_), slice);
  EXPECT_GT(turns_, 10);
}

TEST_F(TurnLoopTest, DoesNotSleepOverWorkThatOnlyArmSees) {
  class Late : public FakeSource {
   public:
    bool arm() override {
      if (arms++ == 0) pending = 1;  // arrives in the moment of going to sleep
      return pending > 0;
    }
  };
  auto late = std::make_shared<Late>();
  loop_.add(late);
  EXPECT_FALSE(loop_.run());
  EXPECT_EQ(turns_, 1);
}

TEST_F(TurnLoopTest, AWantedTurnComesWithoutRecords) {
  loop_.add(source_);
  loop_.state().turn_wanted = 1;
  loop_.run();
  EXPECT_EQ(turns_, 1);
  EXPECT_EQ(loop_.state().turn_wanted, 0u);
}

TEST_F(TurnLoopTest, TheDescriptorShowsAReadySource) {
  loop_.add(source_);
  pollfd watch{loop_.fd(), POLLIN, 0};
  EXPECT_EQ(poll(&watch, 1, 0), 0);
  eventfd_write(source_->fd(), 1);
  EXPECT_EQ(poll(&watch, 1, 0), 1);
  loop_.remove(0);
  EXPECT_EQ(poll(&watch, 1, 0), 0);
}

TEST_F(TurnLoopTest, SourcesMayGoDuringTheirTurn) {
  TurnLoop* self = nullptr;
  TurnLoop loop([&] { self->close(); }, test_clock);
  self = &loop;
  loop.add(source_);
  source_->pending = 1;
  EXPECT_FALSE(loop.run());
  EXPECT_EQ(source_->submits, 0);
  EXPECT_EQ(source_.use_count(), 1);
}

TEST_F(TurnLoopTest, RefusesMoreSourcesThanItHasCounts) {
  std::vector<std::shared_ptr<FakeSource>> sources;
  for (uint32_t i = 0; i < kSourcesMax; i++) {
    sources.push_back(std::make_shared<FakeSource>());
    EXPECT_EQ(loop_.add(sources.back()), static_cast<int>(i));
  }
  EXPECT_EQ(loop_.add(source_), -1);
  loop_.remove(5);
  EXPECT_EQ(loop_.add(source_), 5);
}

TEST(SpinLimit, LearnsFromHitsMissesAndSleeps) {
  SpinLimit limit(50'000);
  for (int i = 0; i < 100; i++) limit.miss(false);
  const uint64_t low = limit.nanoseconds();
  EXPECT_LT(low, 10'000u);
  EXPECT_GT(low, 0u);
  limit.hit();
  EXPECT_EQ(limit.nanoseconds(), 2 * low);
  limit.woke_after(1'000'000);  // a long sleep: polling would not have paid
  EXPECT_EQ(limit.nanoseconds(), 2 * low);
  limit.woke_after(60'000);
  EXPECT_EQ(limit.nanoseconds(), 50'000u);
  limit.miss(true);
  EXPECT_EQ(limit.nanoseconds(), 25'000u);
}

TEST(Ring, StopsAtItsCapacityAndDistrustsTheCount) {
  RecordRing<2> ring(3);
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t* record = ring.push();
    ASSERT_NE(record, nullptr);
    record[0] = i;
  }
  EXPECT_TRUE(ring.full());
  EXPECT_EQ(ring.push(), nullptr);
  EXPECT_EQ(ring.record(1)[0], 1u);
  EXPECT_EQ(ring.bytes(), 64u + 3 * 8);
  static_cast<uint32_t*>(ring.memory())[0] = 1'000'000;  // as a bug in JavaScript might
  EXPECT_EQ(ring.count(), 3u);
  ring.clear();
  EXPECT_EQ(ring.count(), 0u);
}

}  // namespace
}  // namespace sealfs
