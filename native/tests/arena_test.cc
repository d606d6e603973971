// Protects the arena's layout and its free stacks, which TypeScript shares.
#include "native/common/arena.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <set>
#include <vector>

namespace sealfs {
namespace {

std::shared_ptr<Arena> make(ArenaShape shape) {
  std::string error;
  auto arena = Arena::create(shape, &error);
  EXPECT_TRUE(arena) << error;
  return arena;
}

TEST(Arena, SlotsAreDisjointAlignedAndInside) {
  auto arena = make({16, 4, 2});
  std::set<uint32_t> seen;
  for (int i = 0; i < 16; i++) {
    const uint32_t slot = arena->take_message();
    EXPECT_EQ((slot - kArenaSlotsOffset) % kMessageSlot, 0u);
    EXPECT_TRUE(arena->contains(slot, kMessageSlot));
    EXPECT_TRUE(seen.insert(slot).second);
  }
  EXPECT_EQ(arena->take_message(), 0u);
  for (int i = 0; i < 4; i++) {
    const uint32_t payload = arena->take_bulk();
    EXPECT_EQ(payload % 4096, 0u);
    EXPECT_EQ((payload - kBulkHeadroom - kArenaSlotsOffset - 16 * kMessageSlot) % kBulkStride, 0u);
    EXPECT_TRUE(arena->contains(payload - kBulkHeadroom, kBulkStride));
    EXPECT_TRUE(seen.insert(payload).second);
  }
  EXPECT_EQ(arena->take_bulk(), 0u);
}

TEST(Arena, GivesBackByAnyOffsetInsideTheSlot) {
  auto arena = make({4, 2, 0});
  const uint32_t message = arena->take_message();
  const uint32_t bulk = arena->take_bulk();
  EXPECT_EQ(arena->free_messages(), 3u);
  EXPECT_TRUE(arena->give_message(message + 100));
  EXPECT_TRUE(arena->give_bulk(bulk + kBulkPayload + 10));
  EXPECT_EQ(arena->take_message(), message);  // last in, first out
  EXPECT_EQ(arena->take_bulk(), bulk);
}

TEST(Arena, RefusesOffsetsOutsideItsSlotsAndGivesBeyondFull) {
  auto arena = make({4, 2, 0});
  EXPECT_FALSE(arena->give_message(kArenaSlotsOffset));  // all are free already
  const uint32_t message = arena->take_message();
  EXPECT_FALSE(arena->give_message(0));
  EXPECT_FALSE(arena->give_message(kArenaSlotsOffset + 4 * kMessageSlot));
  EXPECT_FALSE(arena->give_bulk(message));
  EXPECT_TRUE(arena->give_message(message));
}

TEST(Arena, ContainsKeepsTheControlAreaAndTheEndOut) {
  auto arena = make({4, 0, 0});
  EXPECT_FALSE(arena->contains(0, 16));
  EXPECT_FALSE(arena->contains(kArenaZeroOffset - 1, 16));
  EXPECT_TRUE(arena->contains(kArenaZeroOffset, kArenaZeroBytes));
  EXPECT_TRUE(arena->contains(arena->bytes() - 8, 8));
  EXPECT_FALSE(arena->contains(arena->bytes() - 8, 9));
  EXPECT_FALSE(arena->contains(UINT32_MAX, UINT64_MAX));
}

TEST(Arena, ReceiveAreasAreLentOnceEach) {
  auto arena = make({1, 1, 2});
  const uint32_t first = arena->take_receive_area();
  const uint32_t second = arena->take_receive_area();
  EXPECT_NE(first, 0u);
  EXPECT_GE(second, first + kReceiveAreaBytes);
  EXPECT_TRUE(arena->contains(second, kReceiveAreaBytes));
  EXPECT_EQ(arena->take_receive_area(), 0u);
  arena->give_receive_area(first);
  EXPECT_EQ(arena->take_receive_area(), first);
}

// Counts what is open, and refuses on demand.
struct Watcher final : ShareWatcher {
  bool opened(uint32_t offset) override {
    if (refuses) return false;
    open.push_back(offset);
    return true;
  }
  void closed(uint32_t offset) override { std::erase(open, offset); }
  std::vector<uint32_t> open;
  bool refuses = false;
};

TEST(Arena, WhoWatchesHearsOfEachShareAndMayRefuseIt) {
  auto arena = make({.message_slots = 2, .shares = 2});
  const int fd = memfd_create("share", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, kShareBytes), 0);
  Watcher early;
  ASSERT_TRUE(arena->watch_shares(&early));
  const uint32_t first = arena->open_share(fd, 0);
  EXPECT_EQ(early.open, std::vector{first});
  Watcher late;
  late.refuses = true;
  EXPECT_FALSE(arena->watch_shares(&late));
  late.refuses = false;
  ASSERT_TRUE(arena->watch_shares(&late));
  EXPECT_EQ(late.open, early.open);

  // One that cannot use it, and it is lent to nobody.
  late.refuses = true;
  EXPECT_EQ(arena->open_share(fd, 0), 0u);
  EXPECT_EQ(early.open, std::vector{first});
  EXPECT_FALSE(arena->contains(first + kShareBytes, 8));
  late.refuses = false;
  EXPECT_EQ(arena->open_share(fd, 0), first + kShareBytes);
  arena->unwatch_shares(&late);
  arena->close_share(first);
  EXPECT_EQ(early.open, std::vector{first + kShareBytes});
  EXPECT_EQ(late.open.size(), 2u);
  ::close(fd);
}

TEST(Arena, SharesAreOthersMemoryWhileTheyAreOpen) {
  auto arena = make({.message_slots = 2, .shares = 2});
  EXPECT_EQ(arena->span_bytes(), arena->bytes() + 2 * kShareBytes);
  EXPECT_FALSE(arena->contains(arena->bytes(), 8));
  const int fd = memfd_create("share", MFD_CLOEXEC);
  ASSERT_EQ(ftruncate(fd, 4096 + kShareBytes), 0);
  const uint32_t first = arena->open_share(fd, 4096);
  ASSERT_EQ(first, arena->bytes());
  const uint32_t second = arena->open_share(fd, 4096);
  EXPECT_EQ(second, first + kShareBytes);
  EXPECT_EQ(arena->open_share(fd, 4096), 0u);
  arena->at(first)[5] = 42;
  EXPECT_EQ(arena->at(second)[5], 42);
  char seen = 0;
  EXPECT_EQ(pread(fd, &seen, 1, 4096 + 5), 1);
  EXPECT_EQ(seen, 42);

  EXPECT_TRUE(arena->contains(second - 8, 8));
  EXPECT_FALSE(arena->contains(second - 8, 9));
  EXPECT_FALSE(arena->contains(first - 8, 16));
  EXPECT_TRUE(arena->contains(second, kShareBytes));
  EXPECT_FALSE(arena->contains(second, kShareBytes + 1));
  EXPECT_FALSE(arena->contains(second + kShareBytes, 1));
  EXPECT_FALSE(arena->contains(second, UINT64_MAX));

  arena->close_share(first);
  EXPECT_FALSE(arena->contains(first, 8));
  EXPECT_EQ(arena->at(first)[5], 0);  // still the arena's, and no longer theirs
  EXPECT_EQ(arena->at(second)[5], 42);
  EXPECT_EQ(arena->open_share(-1, 0), 0u);
  EXPECT_FALSE(arena->contains(first, 8));
  EXPECT_EQ(arena->open_share(fd, 4096), first);
  ::close(fd);
  EXPECT_EQ(arena->at(first)[5], 42);
}

TEST(Arena, DescriptorShowsTheSameMemory) {
  auto arena = make({2, 0, 0});
  const uint32_t slot = arena->take_message();
  arena->at(slot)[7] = 42;
  void* other = mmap(nullptr, arena->bytes(), PROT_READ, MAP_SHARED, arena->fd(), 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_EQ(static_cast<uint8_t*>(other)[slot + 7], 42);
  munmap(other, arena->bytes());
  EXPECT_TRUE(fcntl(arena->fd(), F_GETFD) & FD_CLOEXEC);
}

TEST(Arena, RefusesWhatDoesNotFitAnOffset) {
  std::string error;
  EXPECT_FALSE(Arena::create({8191, 4096, 0}, &error));
  EXPECT_NE(error.find("4 GiB"), std::string::npos);
  EXPECT_FALSE(Arena::create({8192, 0, 0}, &error));
}

}  // namespace
}  // namespace sealfs
