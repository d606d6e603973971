// Goal: notices to the kernel (what it remembers is no longer true) that never hold up the loop.
// Method: two lanes, each a bounded queue and a thread of its own that writes frames to the
// device; how many are written is read by the loop, which an eventfd wakes. Attributes and the
// epoch (all names) share a lane that waits for no request of ours; dropping pages may wait for
// pages that are being read or written, so it has the other lane.
//
//   loop: post() ──> queue ──> thread: write(device) ──> count, eventfd ──> loop: take_written()
//
// The attributes lane works in chunks: its notices first, then, where one of them asked for it, the
// epoch once; but not while anything is mounted on the volume, since the kernel detaches what is
// mounted below a name that it drops (docs/leases.md, "The kernel"). A notice of an inode that the
// kernel does not know asks, too: the answer to a LOOKUP may be on its way to the process that will
// make the inode known, with what is true no more, and the next use of its name then asks again.
//
// Life: threads start at the first notice; stop() drops what is queued, then join().
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "native/fuse/layout.generated.h"
#include "native/fuse/libfuse.h"

namespace sealfs::fuse {

// As the kernel takes it (linux/fuse.h); `header.len` bytes of it.
struct NoticeFrame {
  fuse_out_header header;
  fuse_notify_inval_inode_out inode;
};
static_assert(sizeof(NoticeFrame) == 40);

struct NoticeCounters {
  uint64_t written = 0;  // of all notices
  uint64_t unknown = 0;  // of inodes that the kernel does not know
  uint64_t failed = 0;   // that it refused
  uint64_t epochs = 0;   // frames that raise the epoch
  uint64_t kept = 0;     // that were not written: the names stay
};

class Notifier {
 public:
  // Writes a frame to the device; returns an errno, 0: written. Called on the lanes' threads.
  using Write = std::function<int(const NoticeFrame& frame)>;
  // Something is mounted on the volume: to raise the epoch would unmount it. Asked on a lane's
  // thread, in the moment before.
  using Covered = std::function<bool()>;
  enum Lane { kAttributes = 0, kPages = 1 };

  static constexpr size_t kQueueMax = 65536;

  // Null when there is no eventfd left.
  static std::unique_ptr<Notifier> create(Write write, bool epoch_works, Covered covered);
  ~Notifier();
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // ---- the loop's

  static Lane lane_of(const Notice& notice) {
    return notice.kind == static_cast<uint32_t>(NoticeKind::kPages) ? kPages : kAttributes;
  }
  // Takes them in order. What is beyond kQueueMax waiting ones is refused: it counts as failed and
  // written, and JavaScript, which knows the limit, never sends it.
  void post(const std::vector<Notice>& notices, Lane lane);
  // Notices of the lane that have been written since the last call.
  uint32_t take_written(Lane lane);
  // After take_written: among what has been taken since the last call was an epoch that was not
  // raised.
  bool take_kept();
  bool pending() const;
  // Readable when there is something to take; see arm().
  int fd() const { return event_fd_; }
  // True: there is something to take, do not sleep. Makes fd() unreadable again.
  bool arm();
  NoticeCounters counters() const;

  // Nothing more is written, but for what is being written.
  void stop();
  // After stop(): a thread is still in a write.
  bool busy() const;
  void join();

 private:
  static constexpr size_t kChunk = 256;

  struct Queue {
    std::mutex mutex;
    std::condition_variable wake;
    std::vector<Notice> waiting;
    std::atomic<bool> stopping{false};
    std::thread thread;
    std::atomic<bool> running{false};
    std::atomic<uint64_t> written{0};
    uint64_t posted = 0;  // the loop's
    uint64_t taken = 0;   // the loop's
  };

  Notifier(Write write, bool epoch_works, Covered covered, int event_fd);
  void run(Lane lane);
  void write_attributes(const Notice* notices, size_t count);
  // False: the kernel does not know the inode.
  bool write_inode(const Notice& notice, int64_t offset, int64_t bytes);
  void publish(Queue* queue, uint64_t count);

  const Write write_;
  const Covered covered_;
  const bool epoch_works_;
  const int event_fd_;
  Queue queues_[2];
  std::atomic<bool> signalled_{false};
  std::atomic<uint64_t> unknown_{0};
  std::atomic<uint64_t> failed_{0};
  std::atomic<uint64_t> epochs_{0};
  std::atomic<uint64_t> kept_{0};
  uint64_t kept_taken_ = 0;  // the loop's
};

// Raises the epoch: every name that the kernel remembers is asked for again (Linux 6.16).
NoticeFrame epoch_frame();
// Attributes alone with a negative `offset`; pages from there on, `bytes` 0: to the end.
NoticeFrame inode_frame(uint64_t node, int64_t offset, int64_t bytes);

}  // namespace sealfs::fuse
