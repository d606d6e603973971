// Goal: reading and writing through a lane. Method: a range of at most kDataBytes is copied between
// the program's buffers and the lane's data area. The file offset stays the kernel's: a read of a
// descriptor asks for it and moves it by what was read, under a lock of this process, and only
// while the open file description is this process's alone (descriptors.h).
//
// Whatever the mount does not do is asked of the kernel, which goes on where a lane stopped: both
// are the same file. So no transfer is shorter than the kernel's alone would be.
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "native/intercept/descriptors.h"
#include "native/intercept/entry.h"
#include "native/intercept/futex_lock.h"
#include "native/intercept/next.h"
#include "native/intercept/report.h"

namespace sealfs::intercept {
namespace {

Next<ssize_t(int, void*, size_t)> next_read{"read"};
Next<ssize_t(int, const void*, size_t)> next_write{"write"};
Next<ssize_t(int, void*, size_t, off_t)> next_pread{"pread64"};
Next<ssize_t(int, const void*, size_t, off_t)> next_pwrite{"pwrite64"};
Next<ssize_t(int, const iovec*, int)> next_readv{"readv"};
Next<ssize_t(int, const iovec*, int)> next_writev{"writev"};
Next<ssize_t(int, const iovec*, int, off_t)> next_preadv{"preadv64"};
Next<ssize_t(int, const iovec*, int, off_t)> next_pwritev{"pwritev64"};

// Not through a lane: the kernel is to be asked for all of it.
constexpr ssize_t kAskKernel = -2;

constexpr int kLocks = 64;
// One reader or writer of an offset at a time, as the kernel has it, and of a file's offsets.
constinit std::atomic<uint32_t> offset_locks[kLocks];
// A call of this thread is under way: a signal handler's goes to the kernel.
thread_local bool in_call __attribute__((tls_model("initial-exec"))) = false;

class InCall {
 public:
  InCall() : was_(in_call) { in_call = true; }
  ~InCall() { in_call = was_; }
  bool nested() const { return was_; }

 private:
  const bool was_;
};

// What read(2) and write(2) transfer at most.
constexpr size_t kTransferMax = 0x7ffff000;

// 0: nothing, or the kernel has something to say about it.
size_t total(const iovec* parts, int count) {
  if (count < 0 || count > IOV_MAX) return 0;
  size_t bytes = 0;
  for (int i = 0; i < count; i++) {
    if (parts[i].iov_len > kTransferMax) return 0;
    bytes += parts[i].iov_len;
    if (bytes > kTransferMax) return 0;
  }
  return bytes;
}

// A place in a program's buffers; moves forward.
class Cursor {
 public:
  Cursor(const iovec* parts, int count) : part_(parts), end_(parts + count) {}

  void scatter(const uint8_t* from, size_t bytes) {
    while (bytes > 0 && part_ < end_) {
      const size_t piece = next(bytes);
      memcpy(static_cast<uint8_t*>(part_->iov_base) + at_, from, piece);
      from += piece;
      bytes -= piece;
      step(piece);
    }
  }
  // What lies in one piece from here on, of `bytes` at most; null: the end.
  void* piece(size_t* bytes) const {
    const iovec* part = part_;
    size_t at = at_;
    for (; part < end_ && at == part->iov_len; part++) at = 0;
    if (part == end_) return nullptr;
    *bytes = std::min(*bytes, part->iov_len - at);
    return static_cast<uint8_t*>(part->iov_base) + at;
  }
  void skip(size_t bytes) {
    while (bytes > 0 && part_ < end_) {
      const size_t piece = next(bytes);
      bytes -= piece;
      step(piece);
    }
  }
  void gather(uint8_t* to, size_t bytes) {
    while (bytes > 0 && part_ < end_) {
      const size_t piece = next(bytes);
      memcpy(to, static_cast<const uint8_t*>(part_->iov_base) + at_, piece);
      to += piece;
      bytes -= piece;
      step(piece);
    }
  }

 private:
  size_t next(size_t bytes) const { return std::min(bytes, part_->iov_len - at_); }
  void step(size_t bytes) {
    at_ += bytes;
    if (at_ < part_->iov_len) return;
    part_++;
    at_ = 0;
  }

  const iovec* part_;
  const iovec* const end_;
  size_t at_ = 0;
};

// At most kDataBytes. Bytes, or -1 with errno, or kAskKernel.
ssize_t transfer(int fd, const Use& use, bool writes, Cursor* cursor, size_t bytes,
                 uint64_t offset) {
  const auto which = writes ? report::kWrite : report::kRead;
  const int lane = use.attachment->begin();
  if (lane < 0) {
    report::count(which, kNoLane);
    return kAskKernel;
  }
  if (writes) cursor->gather(use.attachment->data(lane), bytes);
  Request request{};
  request.operation = static_cast<uint32_t>(writes ? Operation::kWrite : Operation::kRead);
  request.handle = use.handle;
  request.offset = offset;
  request.length = static_cast<uint32_t>(bytes);
  const Reply reply = use.attachment->call(lane, request);
  const size_t done = std::min<uint64_t>(reply.value, bytes);
  if (reply.status == 0 && !writes) cursor->scatter(use.attachment->data(lane), done);
  use.attachment->end(lane);
  report::count(which, reply.status);
  if (reply.status == 0) return static_cast<ssize_t>(done);
  if (reply.status < kFallbackFirst) {
    errno = static_cast<int>(reply.status);
    return -1;
  }
  if (reply.status != kNoLane && reply.status != static_cast<uint32_t>(Fallback::kBadRequest)) {
    descriptors::leave_to_kernel(fd, reply.status);
  }
  return kAskKernel;
}

// The rest of a transfer, from the kernel: what it moves, as far as nothing stops it.
size_t finish(int fd, bool writes, Cursor cursor, size_t bytes, uint64_t offset) {
  size_t done = 0;
  while (done < bytes) {
    size_t piece = bytes - done;
    void* at = cursor.piece(&piece);
    if (at == nullptr) break;
    const auto from = static_cast<off_t>(offset + done);
    const ssize_t moved =
        writes ? next_pwrite(fd, at, piece, from) : next_pread(fd, at, piece, from);
    if (moved <= 0) break;
    done += static_cast<size_t>(moved);
    cursor.skip(static_cast<size_t>(moved));
    if (static_cast<size_t>(moved) < piece) break;
  }
  return done;
}

// In pieces of what a lane holds, as the kernel sends them, too. What was done before a piece that
// fails counts: the next call meets the same again.
ssize_t transfer_all(int fd, uint64_t inode, const Use& use, bool writes, const iovec* parts,
                     int count, size_t bytes, uint64_t offset) {
  Cursor cursor(parts, count);
  size_t done = 0;
  while (done < bytes) {
    const size_t piece = std::min<size_t>(bytes - done, kDataBytes);
    const Cursor here = cursor;
    const ssize_t moved = transfer(fd, use, writes, &cursor, piece, offset + done);
    if (moved > 0 && writes) descriptors::wrote(inode);
    if (moved == kAskKernel && done > 0) {
      done += finish(fd, writes, here, bytes - done, offset + done);
      break;
    }
    if (moved < 0) return done == 0 ? moved : static_cast<ssize_t>(done);
    done += static_cast<size_t>(moved);
    if (static_cast<size_t>(moved) < piece) break;
  }
  return static_cast<ssize_t>(done);
}

bool may(const Use& use, bool writes) {
  const auto which = writes ? report::kWrite : report::kRead;
  if (use.attachment == nullptr) {
    report::count(which, use.why);
    return false;
  }
  if (writes ? use.writes : use.reads) return true;
  report::count(which, report::kOpenMode);
  return false;
}

// At `offset`.
ssize_t at_offset(int fd, bool writes, const iovec* parts, int count, off_t offset) {
  const InCall call;
  if (call.nested()) return kAskKernel;
  const int before = errno;
  struct statx shown;
  const size_t bytes = offset < 0 ? 0 : total(parts, count);
  const Use use = descriptors::use(fd, bytes, writes, &shown);
  ssize_t done = kAskKernel;
  if (may(use, writes)) {
    if (bytes > 0) {
      done = transfer_all(fd, shown.stx_ino, use, writes, parts, count, bytes,
                          static_cast<uint64_t>(offset));
    }
  }
  if (done != -1) errno = before;
  return done;
}

// At the descriptor's offset, which moves.
ssize_t at_position(int fd, bool writes, const iovec* parts, int count) {
  const InCall call;
  if (call.nested()) return kAskKernel;
  const int before = errno;
  struct statx shown;
  const size_t bytes = total(parts, count);
  const Use use = descriptors::use(fd, bytes, writes, &shown);
  ssize_t done = kAskKernel;
  if (use.attachment != nullptr && writes && !use.writes &&
      descriptors::has_written(shown.stx_ino)) {
    // An append, whose end becomes the offset.
    descriptors::refresh(fd);
  }
  const bool is_allowed = may(use, writes);
  if (is_allowed && !use.owns_offset) {
    report::count(writes ? report::kWrite : report::kRead, report::kSharedOffset);
  } else if (is_allowed) {
    const FutexLock lock(&offset_locks[shown.stx_ino % kLocks]);
    // Asked for and moved by one call, since most transfers are whole. By difference: what the
    // kernel has moved meanwhile counts, too.
    const auto whole = static_cast<off_t>(bytes);
    const off_t after = bytes > 0 ? lseek(fd, whole, SEEK_CUR) : -1;
    if (after >= whole) {
      done = transfer_all(fd, shown.stx_ino, use, writes, parts, count, bytes,
                          static_cast<uint64_t>(after - whole));
    }
    if (after >= 0 && done < whole) {
      (void)lseek(fd, std::max<off_t>(done, 0) - whole, SEEK_CUR);
    }
  }
  if (done != -1) errno = before;
  return done;
}

ssize_t plain_read(int fd, void* buffer, size_t bytes) {
  const report::Timing timing(report::kRead);
  const iovec part{buffer, bytes};
  const ssize_t done = at_position(fd, false, &part, 1);
  return done == kAskKernel ? next_read(fd, buffer, bytes) : done;
}

ssize_t plain_pread(int fd, void* buffer, size_t bytes, off_t offset) {
  const report::Timing timing(report::kRead);
  const iovec part{buffer, bytes};
  const ssize_t done = at_offset(fd, false, &part, 1, offset);
  return done == kAskKernel ? next_pread(fd, buffer, bytes, offset) : done;
}

ssize_t plain_pwrite(int fd, const void* buffer, size_t bytes, off_t offset) {
  const report::Timing timing(report::kWrite);
  const iovec part{const_cast<void*>(buffer), bytes};
  const ssize_t done = at_offset(fd, true, &part, 1, offset);
  return done == kAskKernel ? next_pwrite(fd, buffer, bytes, offset) : done;
}

ssize_t plain_preadv(int fd, const iovec* parts, int count, off_t offset) {
  const report::Timing timing(report::kRead);
  const ssize_t done = at_offset(fd, false, parts, count, offset);
  return done == kAskKernel ? next_preadv(fd, parts, count, offset) : done;
}

ssize_t plain_pwritev(int fd, const iovec* parts, int count, off_t offset) {
  const report::Timing timing(report::kWrite);
  const ssize_t done = at_offset(fd, true, parts, count, offset);
  return done == kAskKernel ? next_pwritev(fd, parts, count, offset) : done;
}

}  // namespace

void forget_offset_locks() {
  for (auto& lock : offset_locks) lock = 0;
}

}  // namespace sealfs::intercept

// What programs call: read(2), readv(2), pread(2) and their like.
using namespace sealfs::intercept;

SEALFS_ENTRY ssize_t read(int fd, void* buffer, size_t bytes) {
  return plain_read(fd, buffer, bytes);
}
// Of programs that were compiled with checks of their buffers (_FORTIFY_SOURCE).
SEALFS_ENTRY ssize_t __read_chk(int fd, void* buffer, size_t bytes, size_t room) {
  if (bytes > room) __builtin_trap();
  return plain_read(fd, buffer, bytes);
}
SEALFS_ENTRY ssize_t write(int fd, const void* buffer, size_t bytes) {
  const report::Timing timing(report::kWrite);
  const iovec part{const_cast<void*>(buffer), bytes};
  const ssize_t done = at_position(fd, true, &part, 1);
  return done == kAskKernel ? next_write(fd, buffer, bytes) : done;
}
SEALFS_ENTRY ssize_t pread(int fd, void* buffer, size_t bytes, off_t offset) {
  return plain_pread(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t pread64(int fd, void* buffer, size_t bytes, off_t offset) {
  return plain_pread(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t __pread_chk(int fd, void* buffer, size_t bytes, off_t offset, size_t room) {
  if (bytes > room) __builtin_trap();
  return plain_pread(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t __pread64_chk(int fd, void* buffer, size_t bytes, off_t offset, size_t room) {
  if (bytes > room) __builtin_trap();
  return plain_pread(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t pwrite(int fd, const void* buffer, size_t bytes, off_t offset) {
  return plain_pwrite(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t pwrite64(int fd, const void* buffer, size_t bytes, off_t offset) {
  return plain_pwrite(fd, buffer, bytes, offset);
}
SEALFS_ENTRY ssize_t readv(int fd, const iovec* parts, int count) {
  const report::Timing timing(report::kRead);
  const ssize_t done = at_position(fd, false, parts, count);
  return done == kAskKernel ? next_readv(fd, parts, count) : done;
}
SEALFS_ENTRY ssize_t writev(int fd, const iovec* parts, int count) {
  const report::Timing timing(report::kWrite);
  const ssize_t done = at_position(fd, true, parts, count);
  return done == kAskKernel ? next_writev(fd, parts, count) : done;
}
SEALFS_ENTRY ssize_t preadv(int fd, const iovec* parts, int count, off_t offset) {
  return plain_preadv(fd, parts, count, offset);
}
SEALFS_ENTRY ssize_t preadv64(int fd, const iovec* parts, int count, off_t offset) {
  return plain_preadv(fd, parts, count, offset);
}
SEALFS_ENTRY ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return plain_pwritev(fd, parts, count, offset);
}
SEALFS_ENTRY ssize_t pwritev64(int fd, const iovec* parts, int count, off_t offset) {
  return plain_pwritev(fd, parts, count, offset);
}
