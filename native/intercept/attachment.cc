// Goal and method: attachment.h.
#include "native/intercept/attachment.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace sealfs::intercept {
namespace {

// Learnt as the turn loop of the mount process learns (native/common/turn_loop.h), but shorter:
// that one polls while it has work, and where cores are few both would want the same one.
constexpr uint32_t kSpinMaxNs = 20'000;
constexpr uint32_t kSpinMinNs = 1'000;
// A longer yield: another thread ran, and wants the processor.
constexpr uint64_t kSlowYieldNs = 15'000;
// How often a sleeper makes sure that somebody is there to wake it.
constexpr long kLookSeconds = 1;
// Where programs seldom have descriptors, and few loops over all of them get to.
constexpr int kHighDescriptor = 800;
constexpr int kWelcomeSeconds = 10;

uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void pause_briefly() {
  for (int i = 0; i < 32; i++) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("" ::: "memory");
#endif
  }
}

void learn_spin(std::atomic<uint32_t>* spin_ns, uint32_t before, uint32_t wanted_ns) {
  const uint32_t next = std::clamp(wanted_ns, kSpinMinNs, kSpinMaxNs);
  if (next != before) spin_ns->store(next, std::memory_order_relaxed);
}

// System calls are raw ones: libc's may end a thread in the middle (pthreads(7), "Cancellation
// points"), and it would take its lane with it.
int connect_to(const char* name) {
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t bytes = std::min(strlen(name), sizeof address.sun_path - 1);
  memcpy(address.sun_path + 1, name, bytes);
  // A mount process that is stopped must not stop the program's first call for ever.
  const timeval limit{kWelcomeSeconds, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + bytes);
  if (syscall(SYS_connect, socket, &address, length) == 0) return socket;
  syscall(SYS_close, socket);
  return -1;
}

// Anybody may take a name of the abstract name space: who answers must be root, or be us.
bool is_trusted(int socket) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

// What comes with the welcome.
struct Memories {
  int region = -1;
  int versions = -1;
};

// 0, or an errno.
int receive_welcome(int socket, Memories* memories) {
  Welcome welcome{};
  iovec part{&welcome, sizeof welcome};
  int fds[2];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long got = syscall(SYS_recvmsg, socket, &message, MSG_CMSG_CLOEXEC);
  if (got != sizeof welcome || welcome.magic != kMagic) return EPROTO;
  if (welcome.status != 0) return static_cast<int>(welcome.status);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof fds)) {
    return EPROTO;
  }
  memcpy(fds, CMSG_DATA(header), sizeof fds);
  *memories = {fds[0], fds[1]};
  return 0;
}

// Null: there is no room.
void* map(int fd, size_t bytes, int protection) {
  void* base = mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  return base == MAP_FAILED ? nullptr : base;
}

void unmap(const void* base, size_t bytes) {
  if (base != nullptr) munmap(const_cast<void*>(base), bytes);
}

}  // namespace

int Attachment::attach(uint32_t device_major, uint32_t device_minor) {
  char name[64];
  snprintf(name, sizeof name, "%s%u:%u", kSocketPrefix, device_major, device_minor);
  const int low = connect_to(name);
  if (low < 0) return ENOENT;
  Memories memories;
  const int refusal = is_trusted(low) ? receive_welcome(low, &memories) : EPERM;
  if (refusal != 0) {
    syscall(SYS_close, low);
    return refusal;
  }
  void* base = map(memories.region, kRegionBytes, PROT_READ | PROT_WRITE);
  // A child that was forked behind our back may read it still.
  void* versions = map(memories.versions, kVersionsBytes, PROT_READ);
  const int high = static_cast<int>(syscall(SYS_fcntl, low, F_DUPFD_CLOEXEC, kHighDescriptor));
  if (high >= 0) syscall(SYS_close, low);
  socket_ = high >= 0 ? high : low;
  struct stat entry;
  if (base == nullptr || versions == nullptr || madvise(base, kRegionBytes, MADV_DONTFORK) != 0 ||
      fstat(socket_, &entry) != 0) {
    unmap(base, kRegionBytes);
    unmap(versions, kVersionsBytes);
    syscall(SYS_close, socket_);
    socket_ = -1;
    return ENOMEM;
  }
  base_ = static_cast<uint8_t*>(base);
  versions_ = static_cast<const uint32_t*>(versions);
  socket_inode_ = entry.st_ino;
  major_ = device_major;
  minor_ = device_minor;
  used_ = 0;
  posted_ = 0;
  for (auto& each : spin_ns_) each = kSpinMaxNs;
  dead_ = false;
  attached_.store(true, std::memory_order_release);
  return 0;
}

void Attachment::forget() {
  if (!attached_) return;
  if (is_socket()) syscall(SYS_close, socket_);
  attached_ = false;
  base_ = nullptr;
  unmap(versions_, kVersionsBytes);
  versions_ = nullptr;
  socket_ = -1;
}

bool Attachment::is_socket() const {
  struct stat entry;
  return fstat(socket_, &entry) == 0 && S_ISSOCK(entry.st_mode) && entry.st_ino == socket_inode_;
}

Lane* Attachment::lane(int index) const {
  return reinterpret_cast<Lane*>(base_ + kLanesOffset) + index;
}

uint8_t* Attachment::data(int lane) const {
  return base_ + kDataOffset + static_cast<size_t>(lane) * kDataBytes;
}

int Attachment::begin() {
  for (uint64_t posted = posted_.load(); posted != 0; posted &= posted - 1) {
    const int index = __builtin_ctzll(posted);
    if (__atomic_load_n(&lane(index)->state, __ATOMIC_ACQUIRE) != kDone) continue;
    // Whoever takes the bit away ends the lane.
    const uint64_t bit = uint64_t{1} << index;
    if ((posted_.fetch_and(~bit) & bit) != 0) end(index);
  }
  uint64_t used = used_.load();
  while (used != ~uint64_t{0}) {
    const int index = __builtin_ctzll(~used);
    if (used_.compare_exchange_weak(used, used | uint64_t{1} << index)) return index;
  }
  return -1;
}

void Attachment::end(int index) {
  __atomic_store_n(&lane(index)->state, kFree, __ATOMIC_RELAXED);
  used_.fetch_and(~(uint64_t{1} << index));
}

void Attachment::submit(int index, const Request& request) {
  Lane* to = lane(index);
  to->request = request;
  __atomic_store_n(&to->state, kSubmitted, __ATOMIC_RELEASE);
  Header* shared = header();
  __atomic_fetch_or(&shared->bell, uint64_t{1} << index, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&shared->asleep, __ATOMIC_SEQ_CST) == 0) return;
  if (__atomic_exchange_n(&shared->asleep, 0, __ATOMIC_SEQ_CST) == 0) return;
  // The number may be somebody else's by now, if the program closed it behind our back.
  constexpr int kFlags = MSG_NOSIGNAL | MSG_DONTWAIT;
  if (!is_socket() || syscall(SYS_sendto, socket_, "!", 1, kFlags, nullptr, 0) < 0) dead_ = true;
}

bool Attachment::has_gone() {
  char byte;
  constexpr int kFlags = MSG_PEEK | MSG_DONTWAIT;
  if (is_socket() && syscall(SYS_recvfrom, socket_, &byte, 1, kFlags, nullptr, nullptr) < 0 &&
      errno == EAGAIN) {
    return false;
  }
  dead_ = true;
  return true;
}

// False: nobody will answer.
bool Attachment::wait(Lane* lane, std::atomic<uint32_t>* spin_ns) {
  const uint32_t limit = spin_ns->load(std::memory_order_relaxed);
  const uint64_t began = now_ns();
  bool contended = false;
  for (uint64_t now = began; now - began <= limit;) {
    if (__atomic_load_n(&lane->state, __ATOMIC_ACQUIRE) == kDone) {
      learn_spin(spin_ns, limit, contended ? limit / 4 : limit * 2);
      return true;
    }
    pause_briefly();
    now = now_ns();
    // Who sleeps in a moment need not give way first: on a busy machine that is a whole slice.
    if (limit == kSpinMinNs) continue;
    // On a busy machine the mount process may need this very processor.
    const uint64_t before = now;
    sched_yield();
    now = now_ns();
    if (now - before > kSlowYieldNs) contended = true;
  }
  learn_spin(spin_ns, limit, contended ? limit / 4 : limit / 2);
  const bool answered = sleep(lane);
  // A longer spin would have found it.
  if (!contended && now_ns() - began < kSpinMaxNs) learn_spin(spin_ns, limit, kSpinMaxNs);
  return answered;
}

bool Attachment::sleep(Lane* lane) {
  const timespec look{kLookSeconds, 0};
  __atomic_store_n(&lane->waiting, 1, __ATOMIC_SEQ_CST);
  bool answered = true;
  while (__atomic_load_n(&lane->state, __ATOMIC_SEQ_CST) != kDone) {
    const long status = syscall(SYS_futex, &lane->state, FUTEX_WAIT, kSubmitted, &look, nullptr, 0);
    if (status != 0 && errno == ETIMEDOUT && has_gone()) {
      // An answer that was given before the end counts.
      answered = __atomic_load_n(&lane->state, __ATOMIC_SEQ_CST) == kDone;
      break;
    }
  }
  __atomic_store_n(&lane->waiting, 0, __ATOMIC_RELAXED);
  return answered;
}

Reply Attachment::call(int index, const Request& request) {
  submit(index, request);
  std::atomic<uint32_t>* spin_ns = &spin_ns_[request.operation % kOperations];
  if (wait(lane(index), spin_ns)) return lane(index)->reply;
  return Reply{kNoLane, 0, 0};
}

Reply Attachment::introduce(int fd, uint64_t inode) {
  const int lane = begin();
  if (lane < 0) return Reply{kNoLane, 0, 0};
  Request request{};
  request.operation = static_cast<uint32_t>(Operation::kOpen);
  request.handle = static_cast<uint32_t>(fd);
  // The number may be another file's by the time that the mount process looks at it.
  request.offset = inode;
  const Reply reply = call(lane, request);
  end(lane);
  return reply;
}

void Attachment::release(uint32_t handle) {
  const int lane = alive() ? begin() : -1;
  if (lane < 0) return;
  Request request{};
  request.operation = static_cast<uint32_t>(Operation::kClose);
  request.handle = handle;
  post(lane, request);
}

void Attachment::post(int index, const Request& request) {
  submit(index, request);
  posted_.fetch_or(uint64_t{1} << index);
}

}  // namespace sealfs::intercept
