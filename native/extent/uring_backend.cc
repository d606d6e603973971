// Goal: O_DIRECT transfers between arena and device without a copy or a page pinned per call.
// Method: one ring per thread with the arena as registered buffers (pieces of 1 GiB, the kernel's
// limit for one) and the device files as registered files. While the thread polls, completions are
// read straight from the completion queue and the eventfd is disabled; it is enabled only while
// the thread sleeps. Sources: io_uring_setup(2), io_uring_enter(2), io_uring_register(2).
#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "native/extent/backend.h"

namespace sealfs::extent {
namespace {

constexpr uint64_t kPieceBytes = 1u << 30;

class UringBackend final : public Backend {
 public:
  explicit UringBackend(std::shared_ptr<Arena> arena) : arena_(std::move(arena)) {}

  ~UringBackend() override {
    if (ring_made_) io_uring_queue_exit(&ring_);
    if (event_ >= 0) close(event_);
  }

  // Returns 0 or an errno.
  int initialise(uint32_t depth) {
    int error = make_ring(depth);
    if (error != 0) return error;
    event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_ < 0) return errno;
    error = io_uring_register_eventfd(&ring_, event_);
    if (error != 0) return -error;
    io_uring_cq_eventfd_toggle(&ring_, false);
    register_arena();
    files_registered_ = io_uring_register_files_sparse(&ring_, kFilesMax) == 0;
    return 0;
  }

  bool start(uint32_t id, const Call& call) override {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) {
      submit();
      entry = io_uring_get_sqe(&ring_);
      if (entry == nullptr) return false;
    }
    prepare(entry, call);
    if (files_registered_) entry->flags |= IOSQE_FIXED_FILE;
    entry->user_data = id;
    return true;
  }

  void submit() override {
    // EBUSY and EAGAIN: the kernel wants completions taken first; the entries stay queued and go
    // with the next call, which comes after every harvest.
    while (io_uring_sq_ready(&ring_) > 0) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted == -EINTR) continue;
      if (submitted <= 0) break;
    }
  }

  uint32_t take_ended(Ended* out, uint32_t max) override {
    if (armed_) disarm();
    uint32_t count = 0;
    io_uring_cqe* entry = nullptr;
    while (count < max && io_uring_peek_cqe(&ring_, &entry) == 0) {
      out[count++] = {static_cast<uint32_t>(entry->user_data), entry->res};
      io_uring_cqe_seen(&ring_, entry);
    }
    if (io_uring_sq_ready(&ring_) > 0) submit();
    return count;
  }

  int fd() const override { return event_; }

  bool arm() override {
    if (!armed_) {
      io_uring_cq_eventfd_toggle(&ring_, true);
      armed_ = true;
    }
    io_uring_cqe* entry = nullptr;
    return io_uring_peek_cqe(&ring_, &entry) == 0;
  }

  void file_opened(uint32_t file, int fd) override {
    if (files_registered_) io_uring_register_files_update(&ring_, file, &fd, 1);
  }

  void file_closed(uint32_t file) override {
    int none = -1;
    if (files_registered_) io_uring_register_files_update(&ring_, file, &none, 1);
  }

  const std::string& mode() const override { return mode_; }

 private:
  int make_ring(uint32_t depth) {
    // Completions are posted when this thread enters the kernel anyway, not by interrupting it;
    // the queue's flag tells the peek above when that is needed. Older kernels refuse the flags.
    for (uint32_t flags : {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                               IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_CLAMP,
                           IORING_SETUP_CLAMP}) {
      const int error = io_uring_queue_init(depth, &ring_, flags);
      if (error == 0) {
        ring_made_ = true;
        return 0;
      }
      if (error != -EINVAL) return -error;
    }
    return EINVAL;
  }

  void register_arena() {
    std::vector<iovec> pieces;
    for (uint64_t at = 0; at < arena_->bytes(); at += kPieceBytes) {
      pieces.push_back({arena_->base() + at, std::min(kPieceBytes, arena_->bytes() - at)});
    }
    const int error =
        io_uring_register_buffers(&ring_, pieces.data(), static_cast<unsigned>(pieces.size()));
    buffers_registered_ = error == 0;
    if (error != 0) {
      mode_ += std::string(" (buffers not registered: ") + strerror(-error);
      mode_ += error == -ENOMEM ? "; raise the memlock limit)" : ")";
    }
  }

  void prepare(io_uring_sqe* entry, const Call& call) {
    const int fd = files_registered_ ? static_cast<int>(call.file) : call.fd;
    uint8_t* memory = arena_->at(call.memory);
    const auto length = static_cast<uint32_t>(call.length);
    const uint64_t piece = call.memory / kPieceBytes;
    const bool fixed =
        buffers_registered_ && length > 0 && (call.memory + call.length - 1) / kPieceBytes == piece;
    const auto buffer = static_cast<int>(piece);
    switch (call.opcode) {
      case Opcode::kRead:
        if (fixed) {
          io_uring_prep_read_fixed(entry, fd, memory, length, call.position, buffer);
        } else {
          io_uring_prep_read(entry, fd, memory, length, call.position);
        }
        break;
      case Opcode::kWrite:
        if (fixed) {
          io_uring_prep_write_fixed(entry, fd, memory, length, call.position, buffer);
        } else {
          io_uring_prep_write(entry, fd, memory, length, call.position);
        }
        break;
      case Opcode::kSync:
        io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
        break;
      case Opcode::kAllocate:
        io_uring_prep_fallocate(entry, fd, 0, static_cast<off_t>(call.position),
                                static_cast<off_t>(call.length));
        break;
    }
  }

  void disarm() {
    io_uring_cq_eventfd_toggle(&ring_, false);
    armed_ = false;
    uint64_t count;
    // EAGAIN when nothing was signalled: then there is nothing to clear.
    [[maybe_unused]] const ssize_t ignored = read(event_, &count, sizeof count);
  }

  const std::shared_ptr<Arena> arena_;
  io_uring ring_{};
  bool ring_made_ = false;
  int event_ = -1;
  bool armed_ = false;
  bool buffers_registered_ = false;
  bool files_registered_ = false;
  std::string mode_ = "io_uring";
};

}  // namespace

std::unique_ptr<Backend> make_uring_backend(std::shared_ptr<Arena> arena, uint32_t depth,
                                            std::string* reason) {
  auto backend = std::make_unique<UringBackend>(std::move(arena));
  const int error = backend->initialise(depth);
  if (error == 0) return backend;
  *reason = std::string("io_uring: ") + strerror(error);
  return nullptr;
}

}  // namespace sealfs::extent
