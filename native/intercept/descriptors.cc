// Goal and method: descriptors.h.
#include "native/intercept/descriptors.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "native/intercept/report.h"

namespace sealfs::intercept::descriptors {
namespace {

constexpr int kDescriptors = 65536;
// Attached to so far; those whose mount process has gone stay, for others may be looking at them.
constexpr int kMounts = 16;
constexpr int kStrangers = 16;
// After which somebody may answer for a device: its number has become another mount's.
constexpr uint32_t kStrangerSeconds = 3;

// word of an Entry: handle (32 bits) | epoch of the offset (16) | mount (4) | flags
constexpr uint64_t kKindMask = 3;
constexpr uint64_t kUnknown = 0;
constexpr uint64_t kKernel = 1;
constexpr uint64_t kOurs = 2;
constexpr uint64_t kMeeting = 3;  // a thread asks the mount about it; the handle is its ticket
constexpr uint64_t kReads = 4;
constexpr uint64_t kWrites = 8;
constexpr uint64_t kOwnsOffset = 16;  // as of its epoch
constexpr uint64_t kTried = 32;       // unknown, after one small transfer by the kernel
constexpr int kMountShift = 8;
constexpr int kEpochShift = 16;
constexpr int kHandleShift = 32;
// To introduce a descriptor costs more than the first transfer gains if it is small; and many
// files are opened for just one.
constexpr size_t kWorthMeeting = 32 * 1024;
// Whole pages that the kernel reads may be for a mapping, for all that the mount process can tell,
// which then leaves the file to the kernel.
constexpr size_t kPageBytes = 4096;

struct Entry {
  std::atomic<uint64_t> word{0};
  std::atomic<uint64_t> inode{0};
};

constinit Entry table[kDescriptors];
constinit Attachment attachments[kMounts];
// Devices that nobody answered for (minor number | second << 32), and the next to be replaced.
constinit std::atomic<uint64_t> strangers[kStrangers];
constinit std::atomic<uint32_t> next_stranger{0};

// Inodes, by hash: one that is in it by chance alone is treated with more care than needed.
class InodeSet {
 public:
  void add(uint64_t inode) {
    const uint32_t bit = bit_of(inode);
    const uint64_t mask = uint64_t{1} << (bit % 64);
    auto& word = words_[bit / 64];
    if ((word.load(std::memory_order_relaxed) & mask) == 0) word.fetch_or(mask);
  }
  bool has(uint64_t inode) const {
    const uint32_t bit = bit_of(inode);
    return (words_[bit / 64].load(std::memory_order_relaxed) >> (bit % 64) & 1) != 0;
  }

 private:
  static constexpr uint32_t kBits = 65536;
  static uint32_t bit_of(uint64_t inode) {
    return static_cast<uint32_t>((inode * 0x9e3779b97f4a7c15u) >> 48) & (kBits - 1);
  }
  std::atomic<uint64_t> words_[kBits / 64];
};

constinit InodeSet mapped_inodes;
constinit InodeSet written_inodes;
// Counts the moments at which descriptions came to be shared.
constinit std::atomic<uint16_t> epoch{1};
constinit std::atomic<bool> no_writes{false};
constinit std::atomic<uint32_t> tickets{0};
// No entry behind this one was ever used.
constinit std::atomic<int> top{-1};
constinit std::atomic<pid_t> home{0};
// Held while a connection is made: a thread that finds it taken asks the kernel.
constinit std::atomic_flag attaching = ATOMIC_FLAG_INIT;

Entry* entry_of(int fd) { return fd >= 0 && fd < kDescriptors ? &table[fd] : nullptr; }

void use_up_to(int fd) {
  int highest = top.load(std::memory_order_relaxed);
  while (fd > highest && !top.compare_exchange_weak(highest, fd)) {
  }
}

uint32_t seconds_now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<uint32_t>(now.tv_sec);
}

// Of devices without a driver, whose major number is 0.
bool is_stranger(uint32_t minor) {
  for (const auto& each : strangers) {
    const uint64_t stranger = each.load(std::memory_order_relaxed);
    if (stranger == 0 || static_cast<uint32_t>(stranger) != minor) continue;
    return seconds_now() - static_cast<uint32_t>(stranger >> 32) < kStrangerSeconds;
  }
  return false;
}

void remember_stranger(uint32_t minor) {
  const uint64_t stranger = uint64_t{seconds_now()} << 32 | minor;
  for (auto& each : strangers) {
    uint64_t before = each.load(std::memory_order_relaxed);
    if (before == 0 || static_cast<uint32_t>(before) != minor) continue;
    if (each.compare_exchange_strong(before, stranger)) return;
  }
  strangers[next_stranger++ % kStrangers] = stranger;
}

// No request to the mount process: what the kernel has, however old; inode and device never change.
bool ask(int fd, struct statx* shown) {
  const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT;
  return syscall(SYS_statx, fd, "", flags, STATX_TYPE | STATX_INO, shown) == 0;
}

// Every FUSE mount has a device without a driver.
bool may_be_mounted(const struct statx& shown) {
  return S_ISREG(shown.stx_mode) && shown.stx_dev_major == 0;
}

Attachment* find(uint32_t major, uint32_t minor) {
  for (Attachment& each : attachments) {
    if (each.is_of(major, minor)) return &each;
  }
  return nullptr;
}

// Null: nobody answers for the device; or, with `*later`, another thread is about to find out.
Attachment* attach(uint32_t major, uint32_t minor, bool* later) {
  *later = false;
  if (is_stranger(minor)) return nullptr;
  *later = attaching.test_and_set();
  if (*later) return nullptr;
  Attachment* found = find(major, minor);
  if (found == nullptr) {
    for (Attachment& each : attachments) {
      // One whose mount has gone stays where it is.
      if (each.socket() >= 0) continue;
      if (each.attach(major, minor) == 0) found = &each;
      break;
    }
  }
  if (found == nullptr) remember_stranger(minor);
  attaching.clear();
  return found;
}

// Whether one that is left to the kernel is a file of a mount is of interest only to who wants to
// know.
uint32_t reason_if_ours(int fd, uint32_t why) {
  struct statx shown;
  if (!report::wanted() || !ask(fd, &shown) || !may_be_mounted(shown)) return report::kNotOurs;
  const bool is_ours = attachment_of(shown.stx_dev_major, shown.stx_dev_minor) != nullptr;
  return is_ours ? why : report::kNotOurs;
}

// The word of a descriptor that is the kernel's, with the reason in the place of a handle.
uint64_t kernel_because(uint32_t why) { return kKernel | uint64_t{why} << kHandleShift; }

// Without a reason: it is no file of a mount.
uint32_t reason_of(uint64_t word) {
  const auto why = static_cast<uint32_t>(word >> kHandleShift);
  return (word & kKindMask) == kKernel && why != 0 ? why : report::kNotOurs;
}

// The word for this descriptor, which was unknown, with the mount's handle for it.
uint64_t introduce(int fd, const struct statx& shown, uint64_t before, Attachment* mount) {
  const report::Timing timing(report::kIntroduce);
  const Reply reply = mount->introduce(fd, shown.stx_ino);
  report::count(report::kIntroduce, reply.status);
  // All lanes are in use for the moment.
  if (reply.status == kNoLane && mount->alive()) return before;
  if (reply.status != 0) return kernel_because(reply.status);
  const int flags = static_cast<int>(syscall(SYS_fcntl, fd, F_GETFL));
  if (flags < 0) return kKernel;
  uint64_t word = kOurs | (before & (kOwnsOffset | uint64_t{0xffff} << kEpochShift));
  const int mode = flags & O_ACCMODE;
  rlimit limit{};
  const bool limited = getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
  if (mode != O_WRONLY) word |= kReads;
  if (mode != O_RDONLY && (flags & O_APPEND) == 0 && !limited) word |= kWrites;
  word |= static_cast<uint64_t>(mount - attachments) << kMountShift;
  word |= reply.value << kHandleShift;
  return word;
}

void release(uint64_t word) {
  if ((word & kKindMask) != kOurs) return;
  // Kept open for want of a lane, it is no harm: a file's removal waits for it, no more.
  attachments[word >> kMountShift & 0xf].release(static_cast<uint32_t>(word >> kHandleShift));
}

void replace(Entry* entry, uint64_t word) { release(entry->word.exchange(word)); }

// Whether the descriptor is the file that it is believed to be; it is unknown from now on if not.
bool is_still(Entry* entry, uint64_t word, const struct statx& shown) {
  const Attachment& mount = attachments[word >> kMountShift & 0xf];
  if (entry->inode.load(std::memory_order_acquire) == shown.stx_ino &&
      mount.is_of(shown.stx_dev_major, shown.stx_dev_minor) &&
      entry->word.load(std::memory_order_acquire) == word) {
    return true;
  }
  if (entry->word.compare_exchange_strong(word, kUnknown)) release(word);
  return false;
}

// Its open file description is still this process's alone.
bool owns_now(uint64_t word) {
  const auto as_of = static_cast<uint16_t>(word >> kEpochShift);
  return (word & kOwnsOffset) != 0 && as_of == epoch.load(std::memory_order_relaxed);
}

// Finds out about one that is unknown. True: it is ours, by `*word`.
bool meet(Entry* entry, int fd, const struct statx& shown, uint64_t* word) {
  const bool may_be = may_be_mounted(shown);
  Attachment* mount = may_be ? find(shown.stx_dev_major, shown.stx_dev_minor) : nullptr;
  bool later = false;
  if (may_be && mount == nullptr) mount = attach(shown.stx_dev_major, shown.stx_dev_minor, &later);
  if (later) return false;
  use_up_to(fd);
  const uint64_t ticket = kMeeting | uint64_t{++tickets} << kHandleShift;
  // One thread at a time: two would mix the handle of one file with the inode of another.
  if (!entry->word.compare_exchange_strong(*word, ticket)) return false;
  entry->inode.store(shown.stx_ino, std::memory_order_release);
  const uint64_t met =
      mount != nullptr && mount->alive() ? introduce(fd, shown, *word, mount) : kKernel;
  uint64_t expected = ticket;
  if (!entry->word.compare_exchange_strong(expected, met)) {
    release(met);
    return false;
  }
  *word = met;
  return (met & kKindMask) == kOurs && is_still(entry, met, shown);
}

void in_child() {
  for (Attachment& each : attachments) each.forget();
  for (int fd = top; fd >= 0; fd--) table[fd].word = kUnknown;
  attaching.clear();
  epoch++;
  home = getpid();
}

}  // namespace

void start() {
  home = getpid();
  pthread_atfork(all_shared, nullptr, in_child);
}

Attachment* attachment_of(uint32_t major, uint32_t minor) {
  Attachment* found = find(major, minor);
  bool later = false;
  if (found == nullptr) found = attach(major, minor, &later);
  return found != nullptr && found->alive() ? found : nullptr;
}

bool is_always() {
  static const bool always = [] {
    const char* paths = getenv("SEALFS_INTERCEPT_PATHS");
    return paths != nullptr && strcmp(paths, "always") == 0;
  }();
  return always;
}

bool is_at_home() { return getpid() == home.load(std::memory_order_relaxed); }

bool is_own(int fd) {
  if (fd < 0) return false;
  for (const Attachment& each : attachments) {
    if (each.socket() == fd && each.alive()) return true;
  }
  return false;
}

bool first_own(unsigned first, unsigned last, unsigned* own) {
  bool found = false;
  for (const Attachment& each : attachments) {
    const auto socket = static_cast<unsigned>(each.socket());
    if (!each.alive() || socket < first || socket > last || (found && socket > *own)) continue;
    *own = socket;
    found = true;
  }
  return found;
}

void opened(int fd) {
  Entry* entry = entry_of(fd);
  if (entry == nullptr || !is_at_home()) return;
  use_up_to(fd);
  replace(entry, kUnknown | kOwnsOffset | uint64_t{epoch.load()} << kEpochShift);
  report::count(report::kOpen, reason_if_ours(fd, report::kDescriptor));
}

void forget(int fd) {
  Entry* entry = entry_of(fd);
  if (entry == nullptr || entry->word.load(std::memory_order_relaxed) == 0) return;
  if (is_at_home()) replace(entry, kUnknown);
}

void forget_range(unsigned first, unsigned last) {
  const int end = static_cast<int>(std::min<unsigned>(last, kDescriptors - 1));
  for (int fd = std::min(end, top.load()); fd >= 0 && fd >= static_cast<int>(first); fd--) {
    forget(fd);
  }
}

void copied(int from, int to) {
  const Entry* source = entry_of(from);
  Entry* target = entry_of(to);
  if (target == nullptr || !is_at_home()) return;
  const uint64_t word = source == nullptr ? 0 : source->word.load();
  use_up_to(to);
  replace(target, kUnknown | (word & (kOwnsOffset | uint64_t{0xffff} << kEpochShift)));
}

void all_shared() { epoch++; }

bool mapped(int fd) {
  struct statx shown;
  // Attached or not yet: the mapping may last.
  if (!ask(fd, &shown) || !may_be_mounted(shown)) return false;
  mapped_inodes.add(shown.stx_ino);
  return true;
}

void refresh(int fd) {
  struct statx shown;
  if (!ask(fd, &shown) || !may_be_mounted(shown)) return;
  syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &shown);
}

void wrote(uint64_t inode) { written_inodes.add(inode); }

bool has_written(uint64_t inode) { return written_inodes.has(inode); }

void leave_to_kernel(int fd, uint32_t why) {
  Entry* entry = entry_of(fd);
  if (entry != nullptr && is_at_home()) replace(entry, kernel_because(why));
}

void stop_writes() { no_writes = true; }

// The first transfer of a descriptor that is too small to introduce it for goes to the kernel.
bool leaves_first(Entry* entry, int fd, uint64_t word) {
  if ((word & (kKindMask | kTried)) != kUnknown || is_always()) return false;
  use_up_to(fd);
  return entry->word.compare_exchange_strong(word, word | kTried);
}

bool owns_offset(int fd) {
  const Entry* entry = entry_of(fd);
  if (entry == nullptr || !is_at_home()) return false;
  return owns_now(entry->word.load(std::memory_order_acquire));
}

static Use find_use(int fd, struct statx* shown, bool may_meet) {
  Use none;
  Entry* entry = entry_of(fd);
  if (entry == nullptr) return none;
  uint64_t word = entry->word.load(std::memory_order_acquire);
  const uint64_t kind = word & kKindMask;
  none.why = reason_of(word);
  if (kind == kKernel || kind == kMeeting || !is_at_home()) return none;
  if (kind == kUnknown && !may_meet) return none;
  if (!ask(fd, shown)) return none;
  const bool known = (word & kKindMask) == kOurs;
  if (known ? !is_still(entry, word, *shown) : !meet(entry, fd, *shown, &word)) {
    none.why = reason_of(word);
    return none;
  }
  Attachment& mount = attachments[word >> kMountShift & 0xf];
  none.why = !mount.alive() ? kNoLane : static_cast<uint32_t>(Fallback::kInKernel);
  if (!mount.alive() || mapped_inodes.has(shown->stx_ino)) return none;
  Use found;
  found.attachment = &mount;
  found.handle = static_cast<uint32_t>(word >> kHandleShift);
  found.reads = (word & kReads) != 0;
  found.writes = (word & kWrites) != 0 && !no_writes.load(std::memory_order_relaxed);
  found.owns_offset = owns_now(word);
  return found;
}

Use use(int fd, size_t bytes, bool writes, struct statx* shown) {
  Entry* entry = entry_of(fd);
  const bool is_small = bytes < kWorthMeeting && (writes || bytes % kPageBytes != 0);
  if (is_small && entry != nullptr && is_at_home() && leaves_first(entry, fd, entry->word.load())) {
    Use none;
    none.why = reason_if_ours(fd, report::kFirst);
    return none;
  }
  return find_use(fd, shown, true);
}

Use use_if_known(int fd, struct statx* shown) { return find_use(fd, shown, false); }

bool count_kernels_call(int fd, report::Call call) {
  const Entry* entry = report::wanted() ? entry_of(fd) : nullptr;
  if (entry == nullptr) return false;
  const uint64_t word = entry->word.load(std::memory_order_relaxed);
  const bool is_ours = (word & kKindMask) == kOurs || reason_of(word) != report::kNotOurs;
  if (is_ours) report::count(call, report::kKernelsCall);
  return is_ours;
}

}  // namespace sealfs::intercept::descriptors
