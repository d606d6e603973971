// Goal, method and life: notifier.h.
#include "native/fuse/notifier.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sealfs::fuse {
namespace {

// Newer than the kernel headers of Debian 12.
constexpr int kNotifyIncEpoch = 8;

}  // namespace

NoticeFrame epoch_frame() {
  NoticeFrame frame = {};
  frame.header.len = sizeof frame.header;
  frame.header.error = kNotifyIncEpoch;
  return frame;
}

NoticeFrame inode_frame(uint64_t node, int64_t offset, int64_t bytes) {
  NoticeFrame frame = {};
  frame.header.len = sizeof frame;
  frame.header.error = FUSE_NOTIFY_INVAL_INODE;
  frame.inode.ino = node;
  frame.inode.off = offset;
  frame.inode.len = bytes;
  return frame;
}

std::unique_ptr<Notifier> Notifier::create(Write write, bool epoch_works, Covered covered) {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return nullptr;
  return std::unique_ptr<Notifier>(
      new Notifier(std::move(write), epoch_works, std::move(covered), fd));
}

Notifier::Notifier(Write write, bool epoch_works, Covered covered, int event_fd)
    : write_(std::move(write)),
      covered_(std::move(covered)),
      epoch_works_(epoch_works),
      event_fd_(event_fd) {}

Notifier::~Notifier() {
  stop();
  join();
  close(event_fd_);
}

void Notifier::post(const std::vector<Notice>& notices, Lane lane) {
  if (notices.empty()) return;
  Queue& queue = queues_[lane];
  size_t refused = 0;
  {
    const std::lock_guard<std::mutex> lock(queue.mutex);
    if (queue.stopping) return;
    const size_t room = kQueueMax - queue.waiting.size();
    const size_t taken = std::min(room, notices.size());
    queue.waiting.insert(queue.waiting.end(), notices.begin(), notices.begin() + taken);
    refused = notices.size() - taken;
    if (!queue.thread.joinable()) {
      queue.running = true;
      queue.thread = std::thread([this, lane] { run(lane); });
    }
  }
  queue.posted += notices.size();
  queue.wake.notify_one();
  if (refused == 0) return;
  failed_ += refused;
  publish(&queue, refused);
}

uint32_t Notifier::take_written(Lane lane) {
  Queue& queue = queues_[lane];
  const uint64_t written = queue.written.load(std::memory_order_acquire);
  const uint64_t count = written - queue.taken;
  queue.taken = written;
  return static_cast<uint32_t>(count);
}

bool Notifier::take_kept() {
  const uint64_t kept = kept_;
  return std::exchange(kept_taken_, kept) != kept;
}

bool Notifier::pending() const {
  return queues_[kAttributes].posted != queues_[kAttributes].taken ||
         queues_[kPages].posted != queues_[kPages].taken;
}

bool Notifier::arm() {
  if (signalled_.load(std::memory_order_acquire)) {
    uint64_t count = 0;
    // Not yet written by the thread that has set the mark: look again at once.
    if (read(event_fd_, &count, sizeof count) != sizeof count) return true;
    signalled_.store(false, std::memory_order_seq_cst);
  }
  for (const Queue& queue : queues_) {
    if (queue.written.load(std::memory_order_seq_cst) != queue.taken) return true;
  }
  return false;
}

NoticeCounters Notifier::counters() const {
  return {queues_[kAttributes].written + queues_[kPages].written, unknown_, failed_, epochs_,
          kept_};
}

void Notifier::stop() {
  for (Queue& queue : queues_) {
    {
      const std::lock_guard<std::mutex> lock(queue.mutex);
      queue.stopping = true;
      queue.waiting.clear();
    }
    queue.wake.notify_one();
  }
}

bool Notifier::busy() const { return queues_[kAttributes].running || queues_[kPages].running; }

void Notifier::join() {
  for (Queue& queue : queues_) {
    if (queue.thread.joinable()) queue.thread.join();
  }
}

void Notifier::run(Lane lane) {
  Queue& queue = queues_[lane];
  std::vector<Notice> batch;
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(queue.mutex);
      queue.wake.wait(lock, [&queue] { return queue.stopping || !queue.waiting.empty(); });
      if (queue.stopping) break;
      batch.clear();
      std::swap(batch, queue.waiting);
    }
    const size_t step = lane == kPages ? 1 : kChunk;
    for (size_t at = 0; at < batch.size() && !queue.stopping; at += step) {
      const size_t count = std::min(step, batch.size() - at);
      if (lane == kPages) {
        write_inode(batch[at], static_cast<int64_t>(batch[at].offset),
                    static_cast<int64_t>(batch[at].length_bytes));
      } else {
        write_attributes(&batch[at], count);
      }
      publish(&queue, count);
    }
  }
  queue.running = false;
}

void Notifier::write_attributes(const Notice* notices, size_t count) {
  bool raise = false;
  for (size_t i = 0; i < count; i++) {
    const bool epoch = notices[i].kind == static_cast<uint32_t>(NoticeKind::kEpoch);
    if (epoch || !write_inode(notices[i], -1, 0)) raise = true;
  }
  if (!raise || !epoch_works_) return;
  if (covered_()) {
    kept_++;
    return;
  }
  epochs_++;
  if (write_(epoch_frame()) != 0) failed_++;
}

bool Notifier::write_inode(const Notice& notice, int64_t offset, int64_t bytes) {
  const int error = write_(inode_frame(notice.inode, offset, bytes));
  if (error == 0) return true;
  if (error == ENOENT) {
    unknown_++;
    return false;
  }
  failed_++;
  return true;
}

void Notifier::publish(Queue* queue, uint64_t count) {
  queue->written.fetch_add(count, std::memory_order_seq_cst);
  if (signalled_.exchange(true, std::memory_order_seq_cst)) return;
  const uint64_t one = 1;
  // A counter that is 0 or 1 takes it always.
  if (write(event_fd_, &one, sizeof one) != sizeof one) signalled_ = false;
}

}  // namespace sealfs::fuse
