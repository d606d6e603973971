// Notices to the kernel, against a function in place of the device: order, numbers, lanes that do
// not hold up one another, bounds, and the end while a write is under way.
#include "native/fuse/notifier.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace sealfs::fuse {
namespace {

constexpr int kEpochCode = 8;

// Records frames; holds frames of one inode back until it is opened; knows some inodes only.
class Device {
 public:
  Notifier::Write writer() {
    return [this](const NoticeFrame& frame) { return take(frame); };
  }

  int take(const NoticeFrame& frame) {
    std::unique_lock<std::mutex> lock(mutex_);
    const bool held = frame.header.error == FUSE_NOTIFY_INVAL_INODE && frame.inode.ino == held_;
    if (held) {
      entered_ = true;
      change_.notify_all();
      change_.wait(lock, [this] { return held_ == 0; });
    }
    frames_.push_back(frame);
    return frame.header.error == FUSE_NOTIFY_INVAL_INODE && frame.inode.ino >= kUnknown ? ENOENT
                                                                                        : 0;
  }

  void hold(uint64_t inode) {
    const std::lock_guard<std::mutex> lock(mutex_);
    held_ = inode;
  }

  void open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    held_ = 0;
    change_.notify_all();
  }

  void await_entry() {
    std::unique_lock<std::mutex> lock(mutex_);
    change_.wait(lock, [this] { return entered_; });
  }

  std::vector<NoticeFrame> frames() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return frames_;
  }

  static constexpr uint64_t kUnknown = 1000;

 private:
  std::mutex mutex_;
  std::condition_variable change_;
  std::vector<NoticeFrame> frames_;
  uint64_t held_ = 0;
  bool entered_ = false;
};

Notice notice(NoticeKind kind, uint64_t inode = 0) {
  return {inode, 0, 0, static_cast<uint32_t>(kind), 0};
}

// As the loop does: sleeps on the descriptor where arm() allows it.
uint32_t await(Notifier* notifier, Notifier::Lane lane, uint32_t count) {
  uint32_t taken = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (taken < count && std::chrono::steady_clock::now() < end) {
    taken += notifier->take_written(lane);
    if (taken >= count || notifier->arm()) continue;
    pollfd wait = {notifier->fd(), POLLIN, 0};
    poll(&wait, 1, 1000);
  }
  return taken;
}

bool uncovered() { return false; }

TEST(Notifier, WritesInOrderAndRaisesTheEpochOnceForMany) {
  Device device;
  const auto notifier = Notifier::create(device.writer(), true, uncovered);
  std::vector<Notice> notices;
  for (uint64_t i = 1; i <= 10; i++) {
    notices.push_back(notice(NoticeKind::kAttributes, i));
    notices.push_back(notice(NoticeKind::kEpoch));
  }
  notifier->post(notices, Notifier::kAttributes);
  EXPECT_TRUE(notifier->pending());
  EXPECT_EQ(await(notifier.get(), Notifier::kAttributes, 20), 20u);
  EXPECT_FALSE(notifier->pending());
  const auto frames = device.frames();
  ASSERT_EQ(frames.size(), 11u);
  for (uint64_t i = 0; i < 10; i++) {
    EXPECT_EQ(frames[i].header.len, sizeof(NoticeFrame));
    EXPECT_EQ(frames[i].header.unique, 0u);
    EXPECT_EQ(frames[i].inode.ino, i + 1);
    EXPECT_LT(frames[i].inode.off, 0) << "attributes, not pages";
  }
  EXPECT_EQ(frames[10].header.error, kEpochCode);
  EXPECT_EQ(frames[10].header.len, sizeof(fuse_out_header));
  EXPECT_EQ(notifier->counters().epochs, 1u);
}

TEST(Notifier, RaisesTheEpochForAnUnknownInodeWhereItWorks) {
  for (const bool works : {true, false}) {
    Device device;
    const auto notifier = Notifier::create(device.writer(), works, uncovered);
    notifier->post({notice(NoticeKind::kAttributes, Device::kUnknown), notice(NoticeKind::kEpoch)},
                   Notifier::kAttributes);
    EXPECT_EQ(await(notifier.get(), Notifier::kAttributes, 2), 2u);
    EXPECT_EQ(device.frames().size(), works ? 2u : 1u);
    EXPECT_EQ(notifier->counters().unknown, 1u);
    EXPECT_EQ(notifier->counters().failed, 0u);
  }
}

TEST(Notifier, RaisesNoEpochWhileSomethingIsMountedThere) {
  Device device;
  std::atomic<bool> covered{true};
  const auto notifier =
      Notifier::create(device.writer(), true, [&covered] { return covered.load(); });
  const std::vector<Notice> both = {notice(NoticeKind::kAttributes, 1), notice(NoticeKind::kEpoch)};
  notifier->post(both, Notifier::kAttributes);
  EXPECT_EQ(await(notifier.get(), Notifier::kAttributes, 2), 2u);
  EXPECT_EQ(device.frames().size(), 1u);
  EXPECT_TRUE(notifier->take_kept());
  EXPECT_FALSE(notifier->take_kept());
  EXPECT_EQ(notifier->counters().kept, 1u);
  covered = false;
  notifier->post(both, Notifier::kAttributes);
  EXPECT_EQ(await(notifier.get(), Notifier::kAttributes, 2), 2u);
  EXPECT_EQ(device.frames().size(), 3u);
  EXPECT_FALSE(notifier->take_kept());
}

TEST(Notifier, APageThatIsWaitedForHoldsUpNothingElse) {
  Device device;
  device.hold(7);
  const auto notifier = Notifier::create(device.writer(), true, uncovered);
  notifier->post({notice(NoticeKind::kPages, 7)}, Notifier::kPages);
  device.await_entry();
  notifier->post({notice(NoticeKind::kEpoch)}, Notifier::kAttributes);
  EXPECT_EQ(await(notifier.get(), Notifier::kAttributes, 1), 1u);
  EXPECT_EQ(notifier->take_written(Notifier::kPages), 0u);
  device.open();
  EXPECT_EQ(await(notifier.get(), Notifier::kPages, 1), 1u);
  EXPECT_EQ(device.frames().back().inode.off, 0);
}

TEST(Notifier, RefusesWhatItHasNoRoomFor) {
  Device device;
  device.hold(7);
  const auto notifier = Notifier::create(device.writer(), true, uncovered);
  notifier->post({notice(NoticeKind::kPages, 7)}, Notifier::kPages);
  device.await_entry();
  const std::vector<Notice> many(Notifier::kQueueMax + 3, notice(NoticeKind::kPages, 8));
  notifier->post(many, Notifier::kPages);
  EXPECT_EQ(await(notifier.get(), Notifier::kPages, 3), 3u);
  EXPECT_EQ(notifier->counters().failed, 3u);
  device.open();
  const uint32_t rest = Notifier::kQueueMax + 1;
  EXPECT_EQ(await(notifier.get(), Notifier::kPages, rest), rest);
}

TEST(Notifier, StopsWithoutWritingTheRest) {
  Device device;
  device.hold(7);
  const auto notifier = Notifier::create(device.writer(), true, uncovered);
  notifier->post({notice(NoticeKind::kPages, 7), notice(NoticeKind::kPages, 8)}, Notifier::kPages);
  device.await_entry();
  notifier->stop();
  EXPECT_TRUE(notifier->busy());
  device.open();
  notifier->join();
  EXPECT_FALSE(notifier->busy());
  EXPECT_EQ(device.frames().size(), 1u);
  notifier->post({notice(NoticeKind::kEpoch)}, Notifier::kAttributes);
  EXPECT_EQ(device.frames().size(), 1u);
}

}  // namespace
}  // namespace sealfs::fuse
