// Goal and method: places.h.
#include "native/intercept/places.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "native/intercept/descriptors.h"
#include "native/intercept/guarded_words.h"
#include "native/intercept/remembered.h"
#include "native/intercept/report.h"

namespace sealfs::intercept::places {
namespace {

// The latest ones: a node may have many, and dead ones that nobody has unmounted.
constexpr int kMounts = 64;
constexpr int kDirectories = 64;
constexpr size_t kMountInfoBytes = 256 * 1024;

// A mount of sealfs, as it was when the first path was looked at.
struct Mount {
  char path[PATH_MAX] = {};
  size_t bytes = 0;
  // What it led to when it was looked at last: words as below.
  GuardedWords<7> seen;
};

constexpr size_t kSeenMs = 0;
constexpr size_t kSeenAttachment = 1;
constexpr size_t kSeenHandle = 2;
constexpr size_t kSeenInode = 3;
constexpr size_t kSeenDevice = 4;  // major << 32 | minor
constexpr size_t kSeenBlockBytes = 5;
constexpr size_t kSeenAttributesMask = 6;

// A directory that the mount process knows: its inode, and the handle, 0: being introduced.
struct Directory {
  std::atomic<uint64_t> inode{0};
  std::atomic<uint32_t> handle{0};
  std::atomic<Attachment*> attachment{nullptr};
};

constinit Mount mounts[kMounts];
constinit std::atomic<int> mount_count{-1};
constinit std::atomic_flag reading = ATOMIC_FLAG_INIT;
constinit Directory directories[kDirectories];
constinit std::atomic<uint32_t> next_directory{0};
constinit std::atomic_flag introducing = ATOMIC_FLAG_INIT;
constinit std::atomic<bool> stopped{false};

// "\040" is a blank, proc_pid_mountinfo(5).
size_t unescape(const char* from, size_t bytes, char* to) {
  size_t used = 0;
  for (size_t i = 0; i < bytes; i++) {
    if (from[i] == '\\' && i + 3 < bytes) {
      to[used++] = static_cast<char>((from[i + 1] - '0') << 6 | (from[i + 2] - '0') << 3 |
                                     (from[i + 3] - '0'));
      i += 3;
    } else {
      to[used++] = from[i];
    }
  }
  to[used] = '\0';
  return used;
}

// One line of mountinfo: "36 35 0:45 / /mnt rw … - fuse.sealfs …".
void learn(const char* line, size_t bytes, int* count) {
  const char* end = line + bytes;
  constexpr char kType[] = " - fuse.sealfs ";
  if (memmem(line, bytes, kType, sizeof kType - 1) == nullptr) return;
  const char* field = line;
  for (int i = 0; i < 4; i++) {
    field = static_cast<const char*>(memchr(field, ' ', static_cast<size_t>(end - field)));
    if (field == nullptr) return;
    field++;
  }
  const char* last = static_cast<const char*>(memchr(field, ' ', static_cast<size_t>(end - field)));
  if (last == nullptr || last - field >= PATH_MAX) return;
  Mount& mount = mounts[(*count)++ % kMounts];
  mount.bytes = unescape(field, static_cast<size_t>(last - field), mount.path);
}

void read_mounts() {
  if (reading.test_and_set()) return;
  int count = 0;
  static char text[kMountInfoBytes];
  const int fd = static_cast<int>(
      syscall(SYS_openat, AT_FDCWD, "/proc/self/mountinfo", O_RDONLY | O_CLOEXEC, 0));
  size_t bytes = 0;
  while (fd >= 0 && bytes < sizeof text) {
    const long got = syscall(SYS_read, fd, text + bytes, sizeof text - bytes);
    if (got <= 0) break;
    bytes += static_cast<size_t>(got);
  }
  if (fd >= 0) syscall(SYS_close, fd);
  for (size_t at = 0; at < bytes;) {
    const void* end = memchr(text + at, '\n', bytes - at);
    if (end == nullptr) break;
    const size_t length = static_cast<size_t>(static_cast<const char*>(end) - (text + at));
    learn(text + at, length, &count);
    at += length + 1;
  }
  mount_count.store(std::min(count, kMounts), std::memory_order_release);
  reading.clear();
}

// `path` "": the directory itself.
bool ask(int directory, const char* path, struct statx* shown) {
  const int flags = AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | (*path == '\0' ? AT_EMPTY_PATH : 0);
  return syscall(SYS_statx, directory, path, flags, STATX_TYPE | STATX_INO, shown) == 0 &&
         S_ISDIR(shown->stx_mode) && shown->stx_dev_major == 0;
}

// The handle of the directory that `ask` has shown, 0: none.
uint32_t introduce(int directory, const char* path, const struct statx& shown,
                   Attachment* attachment) {
  const report::Timing timing(report::kIntroduce);
  const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
  const int fd =
      static_cast<int>(syscall(SYS_openat, directory, *path == '\0' ? "." : path, flags, 0));
  if (fd < 0) return 0;
  const Reply reply = attachment->introduce(fd, shown.stx_ino);
  report::count(report::kIntroduce, reply.status);
  syscall(SYS_close, fd);
  return reply.status == 0 ? static_cast<uint32_t>(reply.value) : 0;
}

uint32_t handle_of(int directory, const char* path, const struct statx& shown,
                   Attachment* attachment) {
  for (const Directory& each : directories) {
    if (each.inode.load(std::memory_order_acquire) != shown.stx_ino) continue;
    const uint32_t handle = each.handle.load(std::memory_order_acquire);
    const bool is_it = each.attachment.load(std::memory_order_acquire) == attachment &&
                       each.inode.load(std::memory_order_acquire) == shown.stx_ino;
    if (is_it && handle != 0) return handle;
  }
  if (introducing.test_and_set()) return 0;
  const uint32_t handle = introduce(directory, path, shown, attachment);
  if (handle != 0) {
    Directory& place = directories[next_directory++ % kDirectories];
    const uint32_t before = place.handle.load();
    Attachment* whose = place.attachment.load();
    // Its readers look at the inode last.
    place.inode.store(0, std::memory_order_release);
    place.handle.store(handle, std::memory_order_release);
    place.attachment.store(attachment, std::memory_order_release);
    place.inode.store(shown.stx_ino, std::memory_order_release);
    if (before != 0) whose->release(before);
  }
  introducing.clear();
  return handle;
}

// The mount whose path the absolute `path` begins with, the longest; null: none.
Mount* mount_of(const char* path) {
  Mount* best = nullptr;
  const int count = mount_count.load(std::memory_order_acquire);
  for (int i = 0; i < count; i++) {
    Mount& mount = mounts[i];
    const bool begins = strncmp(path, mount.path, mount.bytes) == 0 && path[mount.bytes] == '/';
    if (begins && (best == nullptr || mount.bytes > best->bytes)) best = &mount;
  }
  return best;
}

// What the mount process would leave to the kernel for its looks alone: "..", a slash or a dot
// last.
bool is_plain(const char* path) {
  const char* name = path;
  for (;;) {
    const char* end = strchrnul(name, '/');
    const auto bytes = end - name;
    if (bytes == 2 && name[0] == '.' && name[1] == '.') return false;
    if (*end == '\0') return bytes > 0 && name[bytes - 1] != '.';
    name = end + 1;
  }
}

void note_seen(Mount* mount, const Place& place, uint64_t at_ms) {
  const struct statx& shown = place.directory;
  auto& seen = mount->seen;
  if (!seen.begin()) return;
  seen.set(kSeenMs, at_ms);
  seen.set(kSeenAttachment, reinterpret_cast<uint64_t>(place.attachment));
  seen.set(kSeenHandle, place.handle);
  seen.set(kSeenInode, shown.stx_ino);
  seen.set(kSeenDevice, uint64_t{shown.stx_dev_major} << 32 | shown.stx_dev_minor);
  seen.set(kSeenBlockBytes, shown.stx_blksize);
  seen.set(kSeenAttributesMask, shown.stx_attributes_mask);
  seen.end();
}

const char* behind(const Mount* mount, const char* path) {
  const char* rest = mount == nullptr ? path : path + mount->bytes;
  while (*rest == '/') rest++;
  return rest;
}

}  // namespace

bool may_be_below(const char* path) {
  if (stopped.load(std::memory_order_relaxed) || !is_plain(path)) return false;
  if (mount_count.load(std::memory_order_acquire) < 0) read_mounts();
  if (mount_count.load(std::memory_order_acquire) <= 0) return false;
  return *path != '/' || mount_of(path) != nullptr;
}

Place find(int directory, const char* path) {
  Place place;
  if (!descriptors::is_at_home()) return place;
  Mount* mount = *path == '/' ? mount_of(path) : nullptr;
  const char* start = mount == nullptr ? "" : mount->path;
  const char* rest = behind(mount, path);
  const uint64_t now_ms = remembered::now_ms();
  if (*rest == '\0' || !ask(directory, start, &place.directory)) return place;
  Attachment* attachment =
      descriptors::attachment_of(place.directory.stx_dev_major, place.directory.stx_dev_minor);
  if (attachment == nullptr) return place;
  place.handle = handle_of(directory, start, place.directory, attachment);
  place.path = rest;
  if (place.handle != 0) place.attachment = attachment;
  if (place.handle != 0 && mount != nullptr) note_seen(mount, place, now_ms);
  return place;
}

bool find_again(const char* path, uint64_t now_ms, Place* place) {
  if (stopped.load(std::memory_order_relaxed)) return false;
  const Mount* mount = *path == '/' ? mount_of(path) : nullptr;
  if (mount == nullptr) return false;
  const auto& seen = mount->seen;
  const uint32_t sequence = seen.sequence();
  if (seen.word(kSeenMs) != now_ms) return false;
  struct statx& shown = place->directory;
  memset(&shown, 0, sizeof shown);
  place->attachment = reinterpret_cast<Attachment*>(seen.word(kSeenAttachment));
  place->handle = static_cast<uint32_t>(seen.word(kSeenHandle));
  shown.stx_ino = seen.word(kSeenInode);
  shown.stx_dev_major = static_cast<uint32_t>(seen.word(kSeenDevice) >> 32);
  shown.stx_dev_minor = static_cast<uint32_t>(seen.word(kSeenDevice));
  shown.stx_blksize = static_cast<uint32_t>(seen.word(kSeenBlockBytes));
  shown.stx_attributes_mask = seen.word(kSeenAttributesMask);
  place->path = behind(mount, path);
  return seen.is_still(sequence) && place->attachment->alive() && *place->path != '\0';
}

void look_again() {
  for (Mount& each : mounts) {
    if (!each.seen.begin()) continue;
    each.seen.set(kSeenMs, 0);
    each.seen.end();
  }
}

void stop() { stopped = true; }

bool is_stopped() { return stopped.load(std::memory_order_relaxed); }

void forget() {
  for (Mount& each : mounts) each.seen.reset();
  for (Directory& each : directories) {
    each.inode = 0;
    each.handle = 0;
  }
  introducing.clear();
  reading.clear();
}

}  // namespace sealfs::intercept::places
