// Protects the mount process from programs: a region whose every byte may be garbage, what the
// kernel says of descriptors, handles of others. The hostile program is this test, writing to the
// region's memory, and a child that attaches over the socket.
#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <set>
#include <thread>

#include "native/common/wire.generated.h"
#include "native/intercept_host/host.h"

namespace sealfs::intercept {
namespace {

Lane* lane_of(const Region& region, uint32_t index) {
  return reinterpret_cast<Lane*>(region.base() + kLanesOffset) + index;
}

Header* header_of(const Region& region) { return reinterpret_cast<Header*>(region.base()); }

TEST(InterceptRegion, CannotBeCut) {
  const auto region = Region::create();
  ASSERT_NE(region, nullptr);
  EXPECT_NE(ftruncate(region->fd(), 0), 0);
  EXPECT_EQ(errno, EPERM);
}

TEST(InterceptRegion, GivesALaneOnceUntilItIsDone) {
  const auto region = Region::create();
  header_of(*region)->bell = 0b101;
  EXPECT_EQ(region->take_bells(), 0b101u);
  header_of(*region)->bell = 0b111;
  EXPECT_EQ(region->take_bells(), 0b010u);
  region->done(0, 0, 7);
  EXPECT_EQ(lane_of(*region, 0)->state, static_cast<uint32_t>(kDone));
  EXPECT_EQ(lane_of(*region, 0)->reply.value, 7u);
  header_of(*region)->bell = 0b111;
  EXPECT_EQ(region->take_bells(), 0b001u);
}

TEST(InterceptRegion, FindsAgainWhatWasPutBack) {
  const auto region = Region::create();
  header_of(*region)->bell = 0b11;
  EXPECT_EQ(region->take_bells(), 0b11u);
  region->put_back(0b10);
  EXPECT_TRUE(region->bell_rung());
  EXPECT_EQ(region->take_bells(), 0b10u);
  EXPECT_FALSE(region->bell_rung());
}

TEST(InterceptHandles, NameNothingOfOthersAndNothingTwice) {
  Handles handles;
  const uint32_t one = handles.add(1, 100, 5, O_RDWR);
  ASSERT_NE(one, 0u);
  EXPECT_NE(handles.find(1, one), nullptr);
  EXPECT_EQ(handles.find(2, one), nullptr);
  EXPECT_EQ(handles.find(0, one), nullptr);
  EXPECT_EQ(handles.find(1, 0), nullptr);
  EXPECT_EQ(handles.find(1, 0xffffffff), nullptr);
  handles.remove(one);
  EXPECT_EQ(handles.find(1, one), nullptr);
  const uint32_t two = handles.add(1, 100, 6, O_RDWR);
  EXPECT_NE(one, two);
  EXPECT_EQ(handles.find(1, one), nullptr);
  EXPECT_EQ(handles.find(1, two)->core, 6u);
}

TEST(InterceptWitness, ReadsDescriptorsAndMounts) {
  Descriptor descriptor;
  uint64_t mount = 0;
  const char* text = "pos:\t0\nflags:\t02100002\nmnt_id:\t36\nino:\t5651077450956801\n";
  ASSERT_TRUE(parse_fdinfo(text, &descriptor, &mount));
  EXPECT_EQ(descriptor.inode, 5651077450956801u);
  EXPECT_EQ(descriptor.flags & O_ACCMODE, static_cast<uint32_t>(O_RDWR));
  EXPECT_EQ(mount, 36u);
  EXPECT_FALSE(parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t36\n", &descriptor, &mount));
  EXPECT_FALSE(parse_fdinfo("flags:\t9\nmnt_id:\t36\nino:\t1\n", &descriptor, &mount));
  EXPECT_FALSE(parse_fdinfo("", &descriptor, &mount));
  const char* mounts =
      "25 1 8:1 / / rw - ext4 /dev/x rw\n36 25 0:45 / /mnt rw - fuse.sealfs s rw\n";
  EXPECT_TRUE(is_mount_of(mounts, 36, "0:45"));
  EXPECT_FALSE(is_mount_of(mounts, 25, "0:45"));
  EXPECT_FALSE(is_mount_of(mounts, 36, "0:4"));
  EXPECT_FALSE(is_mount_of(mounts, 3, "0:45"));
  EXPECT_FALSE(is_mount_of("", 36, "0:45"));
}

TEST(InterceptMounts, KnowsWhatLiesBelow) {
  const char* text =
      "25 1 8:1 / / rw - ext4 x rw\n36 25 0:45 / /mnt/a\\040b rw - fuse.sealfs s rw\n";
  EXPECT_TRUE(covers_part_of(text, "/mnt"));
  EXPECT_FALSE(covers_part_of(text, "/mnt/a b"));
  EXPECT_FALSE(covers_part_of(text, "/mn"));
  const char* more = "40 36 0:50 / /mnt/a\\040b/c rw - tmpfs t rw\n";
  EXPECT_TRUE(covers_part_of(more, "/mnt/a b"));
  EXPECT_FALSE(covers_part_of("", "/mnt"));
  EXPECT_FALSE(covers_part_of("garbage", "/mnt"));
}

TEST(InterceptMounts, KnowsWhatMustNotBeChanged) {
  const std::string other = "25 1 8:1 / / ro,relatime - ext4 x ro\n";
  const std::string both = "36 25 0:45 / /m rw,nosuid shared:1 - fuse.sealfs s rw,user_id=0\n";
  EXPECT_FALSE(shows_read_only(other + both, "0:45"));
  EXPECT_TRUE(shows_read_only(other + both, "8:1"));
  EXPECT_FALSE(shows_read_only(other + both, "0:4"));
  EXPECT_TRUE(shows_read_only(both + "40 25 0:45 /a /b ro,nosuid - fuse.sealfs s rw\n", "0:45"));
  EXPECT_TRUE(shows_read_only(both + "40 25 0:45 /a /b rw,nosuid - fuse.sealfs s ro\n", "0:45"));
  EXPECT_FALSE(shows_read_only(both + "40 25 0:45 /a /b rw - fuse.sealfs ro rw,ro\n", "0:45"));
  EXPECT_TRUE(shows_read_only("40 25 0:45 cut", "0:45"));
  EXPECT_FALSE(shows_read_only("", "0:45"));
}

// A host over an arena, and a program of it that is this process.
class InterceptHost : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    arena_ = Arena::create({.message_slots = 64, .bulk_slots = 8, .shares = shares()}, &error);
    ASSERT_NE(arena_, nullptr) << error;
    // On a file system whose files are on the device that it is mounted as: not all are.
    char file[] = "/dev/shm/sealfs-intercept-XXXXXX";
    file_ = mkostemp(file, O_CLOEXEC);
    unlink(file);
    directory_ = ::open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC);
    socket_name_ = "test-" + std::to_string(getpid());
    HostOptions options;
    options.device = device_of(file_);
    options.socket_name = socket_name_;
    options.mountpoint = "/nowhere";
    options.any_user = true;
    options.keep_bulk = 1;
    options.keep_messages = 2;
    host_ = Host::create(arena_, options, &error);
    ASSERT_NE(host_, nullptr) << error;
    free_messages_ = arena_->free_messages();
    free_bulk_ = arena_->free_bulk();
  }

  virtual uint32_t shares() const { return 0; }

  void TearDown() override {
    if (base_ != nullptr) munmap(base_, kRegionBytes);
    if (socket_ >= 0) ::close(socket_);
    if (versions_fd_ >= 0) ::close(versions_fd_);
    ::close(file_);
    ::close(directory_);
  }

  // "major:minor" as mountinfo has it for the mount that the file lies in.
  static std::string device_of(int fd) {
    const auto read_all = [](const std::string& path) {
      std::string text;
      char buffer[4096];
      const int from = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
      for (ssize_t got; (got = ::read(from, buffer, sizeof buffer)) > 0;) {
        text.append(buffer, static_cast<size_t>(got));
      }
      ::close(from);
      return text;
    };
    Descriptor descriptor;
    uint64_t mount = 0;
    EXPECT_TRUE(
        parse_fdinfo(read_all("/proc/self/fdinfo/" + std::to_string(fd)), &descriptor, &mount));
    const std::string mounts = "\n" + read_all("/proc/self/mountinfo");
    const std::string start = "\n" + std::to_string(mount) + " ";
    size_t at = mounts.find(' ', mounts.find(start) + start.size()) + 1;
    return mounts.substr(at, mounts.find(' ', at) - at);
  }

  // The handle of `file_`, opened as JavaScript would answer.
  uint32_t open_file() { return open_descriptor(file_); }

  uint32_t open_descriptor(int fd) {
    struct stat entry;
    EXPECT_EQ(fstat(fd, &entry), 0);
    auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
    lane->request = Request{static_cast<uint32_t>(Operation::kOpen), static_cast<uint32_t>(fd),
                            entry.st_ino, 0, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    answer_all(host_->harvest(), 0);
    EXPECT_EQ(lane->reply.status, 0u);
    return static_cast<uint32_t>(lane->reply.value);
  }

  void attach() {
    socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = kSocketPrefix + socket_name_;
    memcpy(address.sun_path + 1, name.data(), name.size());
    const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    ASSERT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), bytes), 0);
    look();
    Welcome welcome{};
    iovec part{&welcome, sizeof welcome};
    int fds[2];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ASSERT_EQ(recvmsg(socket_, &message, MSG_DONTWAIT), static_cast<ssize_t>(sizeof welcome));
    ASSERT_EQ(welcome.magic, kMagic);
    ASSERT_EQ(welcome.status, 0u);
    ASSERT_EQ(CMSG_FIRSTHDR(&message)->cmsg_len, CMSG_LEN(sizeof fds));
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fds);
    void* base = mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    ::close(fds[0]);
    versions_fd_ = fds[1];
    ASSERT_NE(base, MAP_FAILED);
    base_ = static_cast<uint8_t*>(base);
  }

  // As after a sleep: sockets are looked at, too.
  uint32_t look() {
    host_->arm();
    return host_->harvest();
  }

  CallRecord record(uint32_t index) {
    CallRecord copy;
    memcpy(&copy, host_->records().record(index), sizeof copy);
    return copy;
  }

  // As JavaScript would: every call gets some answer.
  void answer_all(uint32_t count, uint32_t status) {
    for (uint32_t i = 0; i < count; i++) {
      const CallRecord call = record(i);
      const auto kind = static_cast<CallKind>(call.kind);
      const bool ends = kind == CallKind::kClose || kind == CallKind::kGone;
      if (ends || kind == CallKind::kHello) continue;
      if (call.slot != 0) {
        const uint32_t bytes = call.length_bytes + call.second_bytes;
        ASSERT_TRUE(arena_->contains(call.slot, std::max(bytes, 96u)));
        // As far as a value may reach behind its texts.
        const bool has_value = kind >= CallKind::kGetXattr && kind <= CallKind::kListXattr;
        const uint64_t value = has_value ? call.offset : 0;
        ASSERT_TRUE(arena_->contains(call.slot, ((bytes + 7) & ~7u) + value));
        if (value > 0) memset(arena_->at(call.slot) + ((bytes + 7) & ~7u), 'v', value);
      }
      const AnswerRecord answer{call.call, status, call.length_bytes};
      memcpy(host_->answers().push(), &answer, sizeof answer);
    }
    host_->submit();
  }

  std::string socket_name_;
  int file_ = -1;
  int directory_ = -1;
  std::shared_ptr<Arena> arena_;
  std::shared_ptr<Host> host_;
  uint32_t free_messages_ = 0;
  uint32_t free_bulk_ = 0;
  int socket_ = -1;
  uint8_t* base_ = nullptr;
  int versions_fd_ = -1;
};

TEST_F(InterceptHost, ShowsVersionsThatNobodyElseChanges) {
  attach();
  const uint32_t word = 1;
  EXPECT_EQ(pwrite(versions_fd_, &word, sizeof word, 0), -1);
  const int protection = PROT_READ | PROT_WRITE;
  EXPECT_EQ(mmap(nullptr, kVersionsBytes, protection, MAP_SHARED, versions_fd_, 0), MAP_FAILED);
  EXPECT_NE(ftruncate(versions_fd_, 0), 0);
  void* shown = mmap(nullptr, kVersionsBytes, PROT_READ, MAP_SHARED, versions_fd_, 0);
  ASSERT_NE(shown, MAP_FAILED);
  __atomic_fetch_add(&host_->versions().words()[kVersionsFirst + 7], 1, __ATOMIC_SEQ_CST);
  EXPECT_EQ(static_cast<const uint32_t*>(shown)[kVersionsFirst + 7], 1u);
  EXPECT_EQ(host_->versions().of(7), 1u);
  munmap(shown, kVersionsBytes);
}

// What the core has said is handed on, with the version of what is mounted where.
TEST_F(InterceptHost, SaysWhatAStatDependsOn) {
  attach();
  const uint32_t base = open_descriptor(directory_);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  for (const uint32_t status : {0u, static_cast<uint32_t>(ENOENT), static_cast<uint32_t>(EACCES)}) {
    memcpy(base_ + kDataOffset, "name", 4);
    lane->request = Request{static_cast<uint32_t>(Operation::kStat), base, 0, 4, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    ASSERT_EQ(host_->harvest(), 1u);
    // Behind the attributes: milliseconds, how many, and they.
    const uint32_t said[] = {5000, 2, 7, 1, 16384, 3};
    memcpy(arena_->at(record(0).slot) + 96, said, sizeof said);
    answer_all(1, status);
    EXPECT_EQ(lane->reply.status, status);
    StatAnswer answer;
    memcpy(&answer, base_ + kDataOffset, sizeof answer);
    if (status == EACCES) continue;
    EXPECT_EQ(answer.valid_ms, 5000u);
    ASSERT_EQ(answer.count, 3u);
    EXPECT_EQ(answer.dependencies[0].cell, 7u);
    EXPECT_EQ(answer.dependencies[1].version, 3u);
    EXPECT_EQ(answer.dependencies[2].cell, kMountsCell);
    memset(base_ + kDataOffset, 0, sizeof answer);
  }
}

TEST_F(InterceptHost, TellsWhoAttachesAndWhoLeaves) {
  attach();
  ASSERT_EQ(host_->records().count(), 1u);
  EXPECT_EQ(record(0).kind, static_cast<uint32_t>(CallKind::kHello));
  EXPECT_EQ(record(0).offset, static_cast<uint64_t>(getpid()));
  ::close(socket_);
  socket_ = -1;
  ASSERT_EQ(look(), 1u);
  EXPECT_EQ(record(0).kind, static_cast<uint32_t>(CallKind::kGone));
}

TEST_F(InterceptHost, RefusesDescriptorsOfOtherMounts) {
  attach();
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  lane->request =
      Request{static_cast<uint32_t>(Operation::kOpen), static_cast<uint32_t>(fd), 1, 0, 0};
  reinterpret_cast<Header*>(base_)->bell = 1;
  EXPECT_EQ(host_->harvest(), 0u);
  EXPECT_EQ(lane->state, static_cast<uint32_t>(kDone));
  EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(Fallback::kNotHere));
  ::close(fd);
}

// The kernel's text of an epoll descriptor grows with what it watches, and takes as long.
TEST_F(InterceptHost, IsNotHeldUpByWhatIsLongToTell) {
  attach();
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const int watcher = epoll_create1(EPOLL_CLOEXEC);
  std::vector<int> copies;
  for (int i = 0; i < 4000; i++) {
    const int copy = fcntl(ends[0], F_DUPFD_CLOEXEC, 0);
    epoll_event event{};
    if (copy < 0 || epoll_ctl(watcher, EPOLL_CTL_ADD, copy, &event) != 0) break;
    copies.push_back(copy);
  }
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  auto best = std::chrono::steady_clock::duration::max();
  for (int round = 0; round < 10; round++) {
    for (uint32_t i = 0; i < kLanes; i++) {
      lane[i].request =
          Request{static_cast<uint32_t>(Operation::kOpen), static_cast<uint32_t>(watcher), 1, 0, 0};
    }
    reinterpret_cast<Header*>(base_)->bell = ~uint64_t{0};
    const auto began = std::chrono::steady_clock::now();
    EXPECT_EQ(host_->harvest(), 0u);
    best = std::min(best, std::chrono::steady_clock::now() - began);
    EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(Fallback::kNotHere));
  }
  EXPECT_LT(best, std::chrono::milliseconds(50));
  for (const int copy : copies) ::close(copy);
  ::close(watcher);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(InterceptHost, PassesOnWhatIsInOrder) {
  attach();
  const uint32_t handle = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset) + 5;
  lane->request = Request{static_cast<uint32_t>(Operation::kWrite), handle, 4096, 3, 0};
  memcpy(base_ + kDataOffset + 5 * kDataBytes, "abc", 3);
  reinterpret_cast<Header*>(base_)->bell = 1 << 5;
  ASSERT_EQ(host_->harvest(), 1u);
  EXPECT_EQ(record(0).kind, static_cast<uint32_t>(CallKind::kWrite));
  EXPECT_EQ(record(0).offset, 4096u);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot), "abc", 3), 0);
  answer_all(1, 0);
  EXPECT_EQ(lane->state, static_cast<uint32_t>(kDone));
  EXPECT_EQ(lane->reply.value, 3u);
}

class InterceptShare : public InterceptHost {
 protected:
  uint32_t shares() const override { return 1; }
};

// The arena shows what the program has, while it is there; lanes beyond the share are copied.
TEST_F(InterceptShare, IsReadAndWrittenInPlace) {
  attach();
  const uint32_t handle = open_file();
  for (const uint32_t index : {0u, 3u, 4u}) {
    auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset) + index;
    uint8_t* data = base_ + kDataOffset + size_t{index} * kDataBytes;
    const bool in_place = index < 4;
    lane->request = Request{static_cast<uint32_t>(Operation::kWrite), handle, 0, kDataBytes, 0};
    memcpy(data, "abc", 3);
    reinterpret_cast<Header*>(base_)->bell = uint64_t{1} << index;
    ASSERT_EQ(host_->harvest(), 1u);
    const uint32_t slot = record(0).slot;
    EXPECT_EQ(slot >= arena_->bytes(), in_place);
    EXPECT_EQ(arena_->free_bulk(), in_place ? free_bulk_ : free_bulk_ - 1);
    data[kDataBytes - 1] = 'z';
    EXPECT_EQ(memcmp(arena_->at(slot), "abc", 3), 0);
    EXPECT_EQ(arena_->at(slot)[kDataBytes - 1] == 'z', in_place);
    answer_all(1, 0);

    lane->request = Request{static_cast<uint32_t>(Operation::kRead), handle, 0, 5, 0};
    reinterpret_cast<Header*>(base_)->bell = uint64_t{1} << index;
    ASSERT_EQ(host_->harvest(), 1u);
    memcpy(arena_->at(record(0).slot), "hello", 5);
    answer_all(1, 0);
    EXPECT_EQ(memcmp(data, "hello", 5), 0);
    EXPECT_EQ(arena_->free_bulk(), free_bulk_);
    EXPECT_EQ(arena_->free_messages(), free_messages_);
  }
}

TEST_F(InterceptShare, StaysUntilTheLastCallOfTheDeadHasEnded) {
  attach();
  const uint32_t handle = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  lane->request = Request{static_cast<uint32_t>(Operation::kRead), handle, 0, 4096, 0};
  reinterpret_cast<Header*>(base_)->bell = 1;
  ASSERT_EQ(host_->harvest(), 1u);
  const CallRecord call = record(0);
  ::close(socket_);
  socket_ = -1;
  look();
  EXPECT_TRUE(arena_->contains(call.slot, 4096));
  memset(arena_->at(call.slot), 7, 4096);
  const AnswerRecord answer{call.call, 0, 4096};
  memcpy(host_->answers().push(), &answer, sizeof answer);
  host_->submit();
  EXPECT_FALSE(arena_->contains(call.slot, 1));
  // Who comes next has the room.
  munmap(base_, kRegionBytes);
  ::close(versions_fd_);
  attach();
  const uint32_t again = open_file();
  lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  lane->request = Request{static_cast<uint32_t>(Operation::kRead), again, 0, 4096, 0};
  reinterpret_cast<Header*>(base_)->bell = 1;
  ASSERT_EQ(host_->harvest(), 1u);
  EXPECT_EQ(record(0).slot, call.slot);
  EXPECT_EQ(arena_->at(call.slot)[0], 0);
  answer_all(1, 0);
}

TEST_F(InterceptHost, CutsOnlyWhatWasOpenedForWriting) {
  attach();
  const std::string path = "/proc/self/fd/" + std::to_string(file_);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND}) {
    const auto is_taken = [&](const Request& request) {
      lane->request = request;
      reinterpret_cast<Header*>(base_)->bell = 1;
      return host_->harvest() == 1;
    };
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    const uint32_t handle = open_descriptor(fd);
    const bool is_allowed = flags == O_WRONLY || flags == O_RDWR;
    lane->request = Request{static_cast<uint32_t>(Operation::kFileTruncate), handle, 4096, 0, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    ASSERT_EQ(host_->harvest(), is_allowed ? 1u : 0u);
    if (is_allowed) {
      EXPECT_EQ(record(0).offset, 4096u);
      answer_all(1, 0);
    } else {
      EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(Fallback::kMode));
    }
    const auto allocate = static_cast<uint32_t>(Operation::kFileAllocate);
    ASSERT_EQ(is_taken({allocate, handle, 77, 5, 0x11, 0, 1}), is_allowed);
    if (is_allowed) {
      EXPECT_EQ(record(0).offset, 77u);
      EXPECT_EQ(record(0).second_inode, (uint64_t{1} << 32) + 5);
      EXPECT_EQ(record(0).flags, 0x11u);
      answer_all(1, 0);
    } else {
      EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(Fallback::kMode));
    }
    lane->request = Request{static_cast<uint32_t>(Operation::kFileSync), handle, 0, 0, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    ASSERT_EQ(host_->harvest(), 1u);
    answer_all(1, EIO);
    EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(EIO));
    ::close(fd);
  }
}

TEST_F(InterceptHost, RefusesWhatIsOutOfBounds) {
  attach();
  const uint32_t handle = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  const Request wrong[] = {
      {static_cast<uint32_t>(Operation::kRead), handle, 0, kDataBytes + 1, 0},
      {static_cast<uint32_t>(Operation::kRead), handle, 0, 0, 0},
      {static_cast<uint32_t>(Operation::kRead), handle, UINT64_MAX, 10, 0},
      {static_cast<uint32_t>(Operation::kWrite), handle, wire::kFileBytesMax, 1, 0},
      {static_cast<uint32_t>(Operation::kWrite), handle + 1, 0, 1, 0},
      {static_cast<uint32_t>(Operation::kStat), handle, 0, 1, 0},
      {static_cast<uint32_t>(Operation::kFileSync), handle + 1, 0, 0, 0},
      {static_cast<uint32_t>(Operation::kFileSync), handle, 1, 0, 0},
      {static_cast<uint32_t>(Operation::kFileSync), handle, 0, 1, 0},
      {static_cast<uint32_t>(Operation::kFileTruncate), handle, wire::kFileBytesMax + 1, 0, 0},
      {static_cast<uint32_t>(Operation::kFileTruncate), handle, UINT64_MAX, 0, 0},
      {static_cast<uint32_t>(Operation::kFileTruncate), handle, 0, 0, 1},
      {static_cast<uint32_t>(Operation::kFileTruncate), handle, 0, 0, 0, handle, 0},
      {static_cast<uint32_t>(Operation::kFileChangeMode), handle, 0, 0, 010000},
      {static_cast<uint32_t>(Operation::kFileChangeMode), handle, 1, 0, 0644},
      {static_cast<uint32_t>(Operation::kFileChangeOwner), handle, 0, 1, 0},
      {static_cast<uint32_t>(Operation::kFileChangeOwner), handle, 0, 0, 1},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle, 0, 0, 0},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle, 0, 1, 0x20},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle, 0, 1, 0, handle},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle, 0, 1, 0, 0, UINT32_MAX},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle, wire::kFileBytesMax + 1, 1, 0},
      {static_cast<uint32_t>(Operation::kFileAllocate), handle + 1, 0, 1, 0},
      {static_cast<uint32_t>(Operation::kFileSetTimes), handle, 0, 0, 0},
      {static_cast<uint32_t>(Operation::kFileSetTimes), handle, 0, sizeof(Times) + 1, 0},
      {static_cast<uint32_t>(Operation::kFileSetTimes), handle, 0, UINT32_MAX, 0},
      {77, handle, 0, 1, 0},
  };
  for (const Request& request : wrong) {
    lane->request = request;
    reinterpret_cast<Header*>(base_)->bell = 1;
    EXPECT_EQ(host_->harvest(), 0u);
    EXPECT_GE(lane->reply.status, kFallbackFirst);
    EXPECT_LE(lane->reply.status, kFallbackLast);
  }
}

TEST_F(InterceptHost, PassesOnPathsThatAreInOrder) {
  attach();
  const uint32_t handle = open_descriptor(directory_);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset) + 5;
  lane->request = Request{static_cast<uint32_t>(Operation::kRename), handle, 0, 3, 1, handle, 4};
  memcpy(base_ + kDataOffset + 5 * kDataBytes, "oldnew!", 7);
  reinterpret_cast<Header*>(base_)->bell = 1 << 5;
  const uint32_t records = host_->harvest();
  if (lane->reply.status == static_cast<uint32_t>(Fallback::kPath)) {
    GTEST_SKIP() << "something of the device of /dev/shm is mounted read-only here";
  }
  ASSERT_EQ(records, 1u);
  EXPECT_EQ(record(0).kind, static_cast<uint32_t>(CallKind::kRename));
  EXPECT_EQ(record(0).length_bytes, 3u);
  EXPECT_EQ(record(0).second_bytes, 4u);
  EXPECT_EQ(record(0).second_inode, record(0).inode);
  EXPECT_EQ(record(0).flags, 1u);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot), "oldnew!", 7), 0);
  answer_all(1, 0);
  EXPECT_EQ(lane->reply.status, 0u);
}

TEST_F(InterceptHost, RefusesPathsThatAreNot) {
  attach();
  const uint32_t file = open_file();
  const uint32_t handle = open_descriptor(directory_);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  const auto number = [](Operation operation) { return static_cast<uint32_t>(operation); };
  const Request wrong[] = {
      {number(Operation::kUnlink), file, 0, 1, 0},
      {number(Operation::kUnlink), handle + 1, 0, 1, 0},
      {number(Operation::kUnlink), handle, 0, kPathBytesMax + 1, 0},
      {number(Operation::kUnlink), handle, 0, 1, 1},
      {number(Operation::kUnlink), handle, 0, 1, 0, handle, 1},
      {number(Operation::kMakeDirectory), handle, 0, 1, 02755},
      {number(Operation::kMakeDirectory), handle, 0, 1, 01000 << kUmaskShift},
      {number(Operation::kAccess), handle, 0, 1, 8},
      {number(Operation::kRename), handle, 0, 1, 4, handle, 1},
      {number(Operation::kRename), handle, 0, 1, 0, handle, 0},
      {number(Operation::kRename), handle, 0, 1, 0, file, 1},
      {number(Operation::kRename), handle, 0, 1, 0, 0, 1},
      {number(Operation::kLink), handle, 0, 1, 0, handle, UINT32_MAX},
      {number(Operation::kSymlink), handle, 0, 1, 0, handle, 1},
      {number(Operation::kSymlink), handle, 0, 1, 0, 0, kPathBytesMax + 1},
      {number(Operation::kMakeNode), handle, 0, 1, 0644},
      {number(Operation::kMakeNode), handle, 0, 1, S_IFDIR | 0755},
      {number(Operation::kMakeNode), handle, 0, 1, S_IFCHR | 0644},
      {number(Operation::kMakeNode), handle, 0, 1, S_IFBLK | 0644},
      {number(Operation::kMakeNode), handle, 0, 1, S_IFREG | 01000 << kUmaskShift},
      {number(Operation::kMakeNode), handle, 0, 1, S_IFREG, 0, 1},
      {number(Operation::kTruncate), handle, wire::kFileBytesMax + 1, 1, 0},
      {number(Operation::kTruncate), handle, 0, 1, 1},
      {number(Operation::kTruncate), file, 0, 1, 0},
      {number(Operation::kChangeMode), handle, 0, 1, 010000},
      {number(Operation::kChangeMode), handle, 0, 1, 0644, 0, 1},
      {number(Operation::kChangeOwner), handle, 0, 1, 2},
      {number(Operation::kChangeOwner), handle, 0, 1, 0, handle, 0},
      {number(Operation::kSetTimes), handle, 0, 1, 0},
      {number(Operation::kSetTimes), handle, 0, 1, 0, 0, sizeof(Times) - 1},
      {number(Operation::kSetTimes), handle, 0, 1, 0, handle, sizeof(Times)},
      {number(Operation::kSetTimes), handle, 0, kPathBytesMax + 1, 0, 0, sizeof(Times)},
      {number(Operation::kSetTimes), handle, 0, 1, 2, 0, sizeof(Times)},
      {number(Operation::kFileChangeMode), handle, 0, 0, 0644},
      {number(Operation::kFileSync), handle, 0, 0, 0},
  };
  for (const Request& request : wrong) {
    lane->request = request;
    lane->reply.status = 0;
    reinterpret_cast<Header*>(base_)->bell = 1;
    EXPECT_EQ(host_->harvest(), 0u) << request.operation;
    EXPECT_GE(lane->reply.status, kFallbackFirst);
    EXPECT_LE(lane->reply.status, kFallbackLast);
  }
}

TEST_F(InterceptHost, PassesOnAttributesThatAreInOrder) {
  attach();
  const uint32_t handle = open_descriptor(directory_);
  const uint32_t file = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  auto* data = base_ + kDataOffset;
  const auto take = [&](const Request& request) {
    lane->request = request;
    reinterpret_cast<Header*>(base_)->bell = 1;
    return host_->harvest();
  };
  const auto number = [](Operation operation) { return static_cast<uint32_t>(operation); };
  memcpy(data, "path", 4);
  const uint64_t owner = 1000 | uint64_t{kUnchanged} << kGroupShift;
  const uint32_t records = take({number(Operation::kChangeOwner), handle, owner, 4, kNoFollow});
  if (lane->reply.status == static_cast<uint32_t>(Fallback::kPath)) {
    GTEST_SKIP() << "something of the device of /dev/shm is mounted read-only here";
  }
  ASSERT_EQ(records, 1u);
  EXPECT_EQ(record(0).offset, 1000u);
  EXPECT_EQ(record(0).gid, kUnchanged);
  EXPECT_EQ(record(0).flags, kNoFollow);
  answer_all(1, 0);
  ASSERT_EQ(take({number(Operation::kTruncate), handle, 4096, 4, 0}), 1u);
  EXPECT_EQ(record(0).offset, 4096u);
  answer_all(1, 0);
  ASSERT_EQ(take({number(Operation::kChangeMode), handle, 99, 4, 07777}), 1u);
  EXPECT_EQ(record(0).offset, 0u);
  EXPECT_EQ(record(0).flags, 07777u);
  answer_all(1, 0);
  const uint32_t mode = S_IFIFO | 06755;
  ASSERT_EQ(take({number(Operation::kMakeNode), handle, 0, 4, mode | 0777 << kUmaskShift}), 1u);
  EXPECT_EQ(record(0).flags, mode | 0777 << kUmaskShift);
  answer_all(1, 0);
  const Times times{-5, 7, UTIME_NOW, 999'999'999};
  memcpy(data + 4, &times, sizeof times);
  ASSERT_EQ(take({number(Operation::kSetTimes), handle, 0, 4, 0, 0, sizeof times}), 1u);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot), "path", 4), 0);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot) + 8, &times, sizeof times), 0);
  answer_all(1, 0);
  memcpy(data, &times, sizeof times);
  ASSERT_EQ(take({number(Operation::kFileSetTimes), file, 0, sizeof times, 0}), 1u);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot), &times, sizeof times), 0);
  answer_all(1, 0);
  EXPECT_EQ(arena_->free_messages(), free_messages_);
}

TEST_F(InterceptHost, PassesOnExtendedAttributesThatAreInOrder) {
  attach();
  const uint32_t handle = open_descriptor(directory_);
  const uint32_t file = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  auto* data = base_ + kDataOffset;
  const auto take = [&](const Request& request) {
    lane->request = request;
    lane->reply.status = 0;
    reinterpret_cast<Header*>(base_)->bell = 1;
    return host_->harvest();
  };
  const auto number = [](Operation operation) { return static_cast<uint32_t>(operation); };
  // What JavaScript has put behind the texts, and its length.
  const auto answer = [&](const std::string& value, uint64_t bytes) {
    const uint32_t at = (record(0).length_bytes + record(0).second_bytes + 7) & ~7u;
    memcpy(arena_->at(record(0).slot) + at, value.data(), value.size());
    const AnswerRecord answered{record(0).call, 0, bytes};
    memcpy(host_->answers().push(), &answered, sizeof answered);
    host_->submit();
  };
  memcpy(data, "pathuser.a", 10);
  ASSERT_EQ(take({number(Operation::kGetXattr), handle, 9000, 4, kNoFollow, 0, 6}), 1u);
  EXPECT_EQ(record(0).flags, kNoFollow);
  EXPECT_EQ(record(0).offset, 9000u);
  EXPECT_EQ(memcmp(arena_->at(record(0).slot), "pathuser.a", 10), 0);
  answer("the value", 9);
  EXPECT_EQ(lane->reply.value, 9u);
  EXPECT_EQ(memcmp(data, "the value", 9), 0);
  // More than there is room for never comes; only its size may.
  memcpy(data, "user.a", 6);
  ASSERT_EQ(take({number(Operation::kGetXattr), file, 4, 0, 0, 0, 6}), 1u);
  answer("much", 4000);
  EXPECT_EQ(lane->reply.value, 4u);
  ASSERT_EQ(take({number(Operation::kListXattr), file, 0, 0, 0}), 1u);
  answer("", 4000);
  EXPECT_EQ(lane->reply.value, 4000u);
  EXPECT_EQ(memcmp(data, "much", 4), 0);
  memcpy(data, "pathuser.b", 10);
  memset(data + 10, 'v', kXattrValueMax);
  const uint32_t flags = 2 << kXattrFlagsShift;
  const uint32_t records =
      take({number(Operation::kSetXattr), handle, kXattrValueMax, 4, flags, 0, 6});
  if (lane->reply.status == static_cast<uint32_t>(Fallback::kPath)) {
    GTEST_SKIP() << "something of the device of /dev/shm is mounted read-only here";
  }
  ASSERT_EQ(records, 1u);
  EXPECT_EQ(record(0).flags, flags);
  const std::string value(kXattrValueMax, 'v');
  EXPECT_EQ(memcmp(arena_->at(record(0).slot) + 16, value.data(), value.size()), 0);
  answer_all(1, 0);
  ASSERT_EQ(take({number(Operation::kRemoveXattr), file, 0, 0, 0, 0, 6}), 1u);
  answer_all(1, EACCES);
  EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(EACCES));
  EXPECT_EQ(arena_->free_messages(), free_messages_);
  EXPECT_EQ(arena_->free_bulk(), free_bulk_);
}

TEST_F(InterceptHost, RefusesExtendedAttributesThatAreNot) {
  attach();
  const uint32_t directory = open_descriptor(directory_);
  const uint32_t file = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  const auto get = static_cast<uint32_t>(Operation::kGetXattr);
  const auto set = static_cast<uint32_t>(Operation::kSetXattr);
  const auto list = static_cast<uint32_t>(Operation::kListXattr);
  const auto remove = static_cast<uint32_t>(Operation::kRemoveXattr);
  const Request wrong[] = {
      {get, directory, 10, kPathBytesMax + 1, 0, 0, 6},
      {get, directory, 10, UINT32_MAX, 0, 0, 6},
      {get, directory, 10, 4, 0, 0, kXattrNameMax + 1},
      {get, directory, 10, 4, 0, 0, UINT32_MAX},
      {get, directory, 10, UINT32_MAX - 3, 0, 0, 6},
      {get, directory, 10, 4, 0, 0, 0},
      {get, directory, kXattrValueMax + 1, 4, 0, 0, 6},
      {get, directory, UINT64_MAX, 4, 0, 0, 6},
      {get, directory, uint64_t{1} << 32, 4, 0, 0, 6},
      {get, directory, 10, 4, 2, 0, 6},
      {get, directory, 10, 4, 0, directory, 6},
      // The attributes of a directory are asked for by path, those of a file are not.
      {get, directory, 10, 0, 0, 0, 6},
      {get, file, 10, 4, 0, 0, 6},
      {get, file, 10, 0, kNoFollow, 0, 6},
      {get, file + 1, 10, 0, 0, 0, 6},
      {set, file, kXattrValueMax + 1, 0, 0, 0, 6},
      {set, file, 10, 0, 8, 0, 6},
      {set, file, 10, 0, 0, 0, 0},
      {list, file, 10, 0, 0, 0, 6},
      {list, directory, kXattrValueMax + 1, 4, 0},
      {remove, file, 1, 0, 0, 0, 6},
      {remove, directory, 0, 4, 2, 0, 6},
  };
  for (const Request& request : wrong) {
    SCOPED_TRACE(std::to_string(request.operation) + " " + std::to_string(request.length));
    lane->request = request;
    lane->reply.status = 0;
    reinterpret_cast<Header*>(base_)->bell = 1;
    EXPECT_EQ(host_->harvest(), 0u);
    EXPECT_GE(lane->reply.status, kFallbackFirst);
    EXPECT_LE(lane->reply.status, kFallbackLast);
  }
  EXPECT_EQ(arena_->free_messages(), free_messages_);
  EXPECT_EQ(arena_->free_bulk(), free_bulk_);
}

TEST_F(InterceptHost, RefusesTimesThatThereAreNone) {
  attach();
  const uint32_t handle = open_descriptor(directory_);
  const uint32_t file = open_file();
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  const Times wrong[] = {
      {0, 0, 1'000'000'000, 0},         {0, 0, 0, UINT32_MAX},       {0, 0, UTIME_OMIT, UTIME_OMIT},
      {kSecondsMax + 1, 0, 0, 0},       {0, -kSecondsMax - 1, 0, 0}, {INT64_MIN, 0, 0, UTIME_NOW},
      {0, 0, UTIME_NOW, UTIME_NOW + 1},
  };
  for (const Times& times : wrong) {
    for (const bool by_path : {false, true}) {
      lane->request = by_path ? Request{static_cast<uint32_t>(Operation::kSetTimes),
                                        handle,
                                        0,
                                        4,
                                        0,
                                        0,
                                        sizeof times}
                              : Request{static_cast<uint32_t>(Operation::kFileSetTimes), file, 0,
                                        sizeof times, 0};
      memcpy(base_ + kDataOffset + (by_path ? 4 : 0), &times, sizeof times);
      lane->reply.status = 0;
      reinterpret_cast<Header*>(base_)->bell = 1;
      EXPECT_EQ(host_->harvest(), 0u);
      EXPECT_GE(lane->reply.status, kFallbackFirst);
    }
  }
  EXPECT_EQ(arena_->free_messages(), free_messages_);
}

// What the core has listed is what a program's readdir(3) gives, with the kernel's cookies.
TEST_F(InterceptHost, TellsEntriesAsTheKernelDoes) {
  attach();
  const int fd = ::open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const uint32_t handle = open_descriptor(fd);
  struct stat shown;
  ASSERT_EQ(fstat(fd, &shown), 0);
  ::close(fd);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  const auto list = [&](uint64_t cookie, const std::vector<std::string>& names, uint64_t more) {
    lane->request = Request{static_cast<uint32_t>(Operation::kReadDirectory), handle, cookie,
                            kListingBytesMin, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    EXPECT_EQ(host_->harvest(), 1u);
    EXPECT_EQ(record(0).kind, static_cast<uint32_t>(CallKind::kReadDirectory));
    uint8_t* slot = arena_->at(record(0).slot);
    size_t used = 0;
    for (size_t i = 0; i < names.size(); i++) {
      wire::DirEntry entry{};
      entry.inode = 100 + i;
      entry.cookie = 1000 + i;
      entry.mode = S_IFREG;
      entry.name_bytes = static_cast<uint16_t>(names[i].size());
      memcpy(slot + used, &entry, sizeof entry);
      memcpy(slot + used + sizeof entry, names[i].data(), names[i].size());
      used += (sizeof entry + names[i].size() + 7) & ~size_t{7};
    }
    EXPECT_LE(used, record(0).length_bytes);
    const AnswerRecord answer{record(0).call, 0, used | more};
    memcpy(host_->answers().push(), &answer, sizeof answer);
    host_->submit();
    EXPECT_EQ(lane->reply.status, 0u);
    std::vector<std::string> told;
    const uint64_t bytes = lane->reply.value & (kListingEnds - 1);
    for (uint64_t at = 0; at < bytes;) {
      const auto* entry = reinterpret_cast<const ListedEntry*>(base_ + kDataOffset + at);
      told.push_back(std::string(entry->name) + " " + std::to_string(entry->cookie) + " " +
                     std::to_string(entry->inode == shown.st_ino ? 0 : entry->inode) + " " +
                     std::to_string(entry->type));
      EXPECT_EQ(entry->record_bytes % 8, 0);
      at += entry->record_bytes;
    }
    return told;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(list(0, {"a", "bcdefgh"}, kListingEnds),
            (Names{". 1 0 4", ".. 2 0 4", "a 1002 100 8", "bcdefgh 1003 101 8"}));
  EXPECT_EQ(lane->reply.value & kListingEnds, kListingEnds);
  EXPECT_EQ(list(1, {"a"}, 0), (Names{".. 2 0 4", "a 1002 100 8"}));
  EXPECT_EQ(lane->reply.value & kListingEnds, 0u);
  EXPECT_EQ(list(2, {}, kListingEnds), Names{});
  EXPECT_EQ(list(1003, {std::string(255, 'x')}, 0), Names{std::string(255, 'x') + " 1002 100 8"});
  // As many as there is room for, of whatever length, have room as they are told, too.
  for (const size_t bytes : {1, 3, 4, 5, 8, 12, 13, 255}) {
    const size_t record_bytes = (sizeof(wire::DirEntry) + bytes + 7) & ~size_t{7};
    const size_t count = (kListingBytesMin - 48) / record_bytes;
    const Names names(count, std::string(bytes, 'n'));
    EXPECT_EQ(list(0, names, kListingEnds).size(), count + 2);
    EXPECT_EQ(lane->reply.value & kListingEnds, kListingEnds);
  }
  EXPECT_EQ(arena_->free_messages(), free_messages_);
}

TEST_F(InterceptHost, RefusesDirectoriesThatCannotBeRead) {
  attach();
  const int fd = ::open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const uint32_t handle = open_descriptor(fd);
  ::close(fd);
  const uint32_t file = open_file();
  const uint32_t by_path = open_descriptor(directory_);
  auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset);
  constexpr auto kOperation = static_cast<uint32_t>(Operation::kReadDirectory);
  const Request wrong[] = {
      {kOperation, file, 0, 4096, 0},
      {kOperation, by_path, 0, 4096, 0},
      {kOperation, handle + 1, 0, 4096, 0},
      {kOperation, 0, 0, 4096, 0},
      {kOperation, handle + 0x10000, 0, 4096, 0},
      {kOperation, handle, 0, 0, 0},
      {kOperation, handle, 0, kListingBytesMin - 1, 0},
      {kOperation, handle, 0, kDataBytes + 1, 0},
      {kOperation, handle, 0, UINT32_MAX, 0},
      {kOperation, handle, wire::kFileBytesMax + 1, 4096, 0},
      {kOperation, handle, UINT64_MAX, 4096, 0},
      {kOperation, handle, 0, 4096, 1},
      {kOperation, handle, 0, 4096, 0, handle, 0},
      {kOperation, handle, 0, 4096, 0, 0, 1},
  };
  for (const Request& request : wrong) {
    lane->request = request;
    lane->reply.status = 0;
    reinterpret_cast<Header*>(base_)->bell = 1;
    EXPECT_EQ(host_->harvest(), 0u);
    EXPECT_GE(lane->reply.status, kFallbackFirst);
    EXPECT_LE(lane->reply.status, kFallbackLast);
  }
  // Nor is what contradicts the protocol handed on.
  for (const uint64_t value : {uint64_t{4097}, uint64_t{24}, uint64_t{7}, UINT64_MAX}) {
    lane->request = Request{kOperation, handle, 0, 4096, 0};
    reinterpret_cast<Header*>(base_)->bell = 1;
    ASSERT_EQ(host_->harvest(), 1u);
    memset(arena_->at(record(0).slot), 0xff, 4096);
    const AnswerRecord answer{record(0).call, 0, value};
    memcpy(host_->answers().push(), &answer, sizeof answer);
    host_->submit();
    EXPECT_EQ(lane->reply.status, static_cast<uint32_t>(Fallback::kOverloaded));
  }
  EXPECT_EQ(arena_->free_messages(), free_messages_);
}

TEST_F(InterceptHost, SurvivesGarbage) {
  attach();
  const uint32_t handle = open_file();
  const uint32_t by_path = open_descriptor(directory_);
  const int read = ::open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const uint32_t listed = open_descriptor(read);
  ::close(read);
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  auto* words = reinterpret_cast<uint32_t*>(base_);
  auto* header = reinterpret_cast<Header*>(base_);
  for (int round = 0; round < 20'000; round++) {
    for (int i = 0; i < 8; i++) {
      auto* lane = reinterpret_cast<Lane*>(base_ + kLanesOffset) + random() % kLanes;
      auto* request = reinterpret_cast<uint32_t*>(&lane->request);
      // Small numbers are operations, handles and lengths that are nearly right.
      for (size_t w = 0; w < sizeof(Request) / 4; w++) {
        request[w] = random() % 2 == 0 ? random() % 52 : static_cast<uint32_t>(random());
      }
      const uint32_t directory = random() % 2 == 0 ? by_path : listed;
      if (random() % 2 == 0) lane->request.handle = random() % 2 == 0 ? handle : directory;
      if (random() % 2 == 0) lane->request.second_handle = random() % 2 == 0 ? directory : 0;
      if (random() % 2 == 0) lane->request.second_length %= kDataOffset;
      if (random() % 2 == 0) lane->request.flags = 0;
      // Closed, they would be no handles any more, and all requests refused for that alone.
      const bool closes = lane->request.operation == static_cast<uint32_t>(Operation::kClose);
      if (closes) lane->request.handle = handle + 0x10000;
      if (random() % 2 == 0) lane->request.length %= 2 * kDataBytes;
      if (random() % 2 == 0) lane->request.offset %= wire::kFileBytesMax;
      lane->state = static_cast<uint32_t>(random());
      lane->waiting = random() % 2;
    }
    words[random() % (kLanesOffset / 4)] = static_cast<uint32_t>(random());
    __atomic_store_n(&header->bell, uint64_t{random()} << 32 | random(), __ATOMIC_SEQ_CST);
    // Not an empty message: that is how a connection ends.
    if (random() % 64 == 0) (void)!send(socket_, "garbage", 1 + random() % 7, MSG_DONTWAIT);
    answer_all(random() % 16 == 0 ? look() : host_->harvest(), random() % 3 == 0 ? 5 : 0);
  }
  EXPECT_GT(host_->counters().calls, 1000u);
  ::close(socket_);
  socket_ = -1;
  answer_all(look(), 0);
  look();
  EXPECT_EQ(arena_->free_messages(), free_messages_);
  EXPECT_EQ(arena_->free_bulk(), free_bulk_);
  EXPECT_EQ(host_->outstanding(), 0u);
}

// What is judged must be what is used, however it changes in between.
TEST_F(InterceptHost, SurvivesAWriterThatNeverStops) {
  attach();
  const uint32_t handle = open_file();
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    std::mt19937 random(seed);
    const uint32_t wanted[] = {0, 1, 3, 4, 5, 6, 4096, kDataBytes, kDataBytes + 1};
    auto* words = reinterpret_cast<uint32_t*>(base_);
    while (!stop.load(std::memory_order_relaxed)) {
      const uint32_t lane = (kLanesOffset + sizeof(Lane) * (random() % kLanes)) / 4;
      const uint32_t field = random() % 8;
      uint32_t* word = words + lane + field;
      uint32_t value = random() % 64 == 0 ? static_cast<uint32_t>(random())
                                          : wanted[random() % std::size(wanted)];
      if (field == offsetof(Lane, request.handle) / 4 && random() % 4 != 0) value = handle;
      __atomic_store_n(word, value, __ATOMIC_RELAXED);
      const uint64_t bits = uint64_t{random()} << 32 | random();
      if (random() % 16 == 0) {
        __atomic_store_n(&reinterpret_cast<Header*>(base_)->bell, bits, __ATOMIC_SEQ_CST);
      }
    }
  });
  // Long enough on a busy machine, too.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (host_->counters().calls < 50'000 && std::chrono::steady_clock::now() < end) {
    answer_all(host_->harvest(), 0);
  }
  stop = true;
  writer.join();
  EXPECT_GT(host_->counters().calls, 100u);
  ::close(socket_);
  socket_ = -1;
  answer_all(look(), 0);
  look();
  EXPECT_EQ(arena_->free_messages(), free_messages_);
  EXPECT_EQ(arena_->free_bulk(), free_bulk_);
  EXPECT_EQ(host_->outstanding(), 0u);
}

TEST_F(InterceptHost, IgnoresAnswersToNoCall) {
  attach();
  for (const uint32_t call : {0u, 1u, Host::kCalls, 0xffffffffu}) {
    const AnswerRecord answer{call, 0, 1};
    memcpy(host_->answers().push(), &answer, sizeof answer);
  }
  host_->submit();
  EXPECT_EQ(host_->outstanding(), 0u);
}

}  // namespace
}  // namespace sealfs::intercept
