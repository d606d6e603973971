// Goal: the same transfers where io_uring is refused (old kernels, seccomp profiles of
// containers). Method: a fixed pool of threads doing pread, pwrite, fdatasync and fallocate; calls
// go in through one locked queue, results come back through another, and an eventfd is written
// only while the owner sleeps.
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <vector>

#include "native/extent/backend.h"

namespace sealfs::extent {
namespace {

class ThreadBackend final : public Backend {
 public:
  ThreadBackend(std::shared_ptr<Arena> arena, const std::string& reason)
      : arena_(std::move(arena)), mode_("threads (" + reason + ")") {}

  ~ThreadBackend() override {
    {
      std::lock_guard<std::mutex> guard(lock_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (pthread_t thread : threads_) pthread_join(thread, nullptr);
    if (event_ >= 0) close(event_);
  }

  bool initialise(uint32_t threads) {
    event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_ < 0) return false;
    for (uint32_t i = 0; i < threads; i++) {
      pthread_t thread;
      if (pthread_create(&thread, nullptr, &ThreadBackend::run, this) != 0) break;
      pthread_setname_np(thread, "sealfs-disk");
      threads_.push_back(thread);
    }
    return !threads_.empty();
  }

  bool start(uint32_t id, const Call& call) override {
    std::lock_guard<std::mutex> guard(lock_);
    waiting_.push_back({id, call});
    started_++;
    return true;
  }

  void submit() override {
    if (started_ == 1) wake_.notify_one();
    if (started_ > 1) wake_.notify_all();
    started_ = 0;
  }

  uint32_t take_ended(Ended* out, uint32_t max) override {
    if (armed_) {
      armed_ = false;
      uint64_t count;
      // EAGAIN when nothing was signalled: then there is nothing to clear.
      [[maybe_unused]] const ssize_t ignored = read(event_, &count, sizeof count);
    }
    if (ended_count_.load(std::memory_order_acquire) == 0) return 0;
    std::lock_guard<std::mutex> guard(lock_);
    uint32_t count = 0;
    while (count < max && !ended_.empty()) {
      out[count++] = ended_.front();
      ended_.pop_front();
    }
    ended_count_.fetch_sub(count, std::memory_order_relaxed);
    return count;
  }

  int fd() const override { return event_; }

  bool arm() override {
    armed_ = true;
    // Sequentially consistent on both sides: either the worker sees `armed_` or we see its result.
    return ended_count_.load() != 0;
  }

  void file_opened(uint32_t, int) override {}
  void file_closed(uint32_t) override {}
  const std::string& mode() const override { return mode_; }

 private:
  struct Waiting {
    uint32_t id;
    Call call;
  };

  static void* run(void* self) {
    static_cast<ThreadBackend*>(self)->work();
    return nullptr;
  }

  void work() {
    std::unique_lock<std::mutex> guard(lock_);
    for (;;) {
      wake_.wait(guard, [this] { return stopping_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const Waiting next = waiting_.front();
      waiting_.pop_front();
      guard.unlock();
      const int32_t result = execute(next.call);
      guard.lock();
      ended_.push_back({next.id, result});
      ended_count_.fetch_add(1);
      if (armed_) {
        const uint64_t one = 1;
        // Fails only when the counter is full: then it is readable already.
        [[maybe_unused]] const ssize_t ignored = write(event_, &one, sizeof one);
      }
    }
  }

  int32_t execute(const Call& call) {
    uint8_t* memory = arena_->at(call.memory);
    const auto position = static_cast<off_t>(call.position);
    int64_t result = -1;
    switch (call.opcode) {
      case Opcode::kRead:
        result = pread(call.fd, memory, call.length, position);
        break;
      case Opcode::kWrite:
        result = pwrite(call.fd, memory, call.length, position);
        break;
      case Opcode::kSync:
        result = fdatasync(call.fd);
        break;
      case Opcode::kAllocate:
        result = fallocate(call.fd, 0, position, static_cast<off_t>(call.length));
        break;
    }
    return static_cast<int32_t>(result < 0 ? -errno : result);
  }

  const std::shared_ptr<Arena> arena_;
  const std::string mode_;
  std::vector<pthread_t> threads_;
  std::mutex lock_;
  std::condition_variable wake_;
  std::deque<Waiting> waiting_;
  std::deque<Ended> ended_;
  std::atomic<uint32_t> ended_count_{0};
  std::atomic<bool> armed_{false};
  bool stopping_ = false;
  uint32_t started_ = 0;  // since the last submit()
  int event_ = -1;
};

}  // namespace

std::unique_ptr<Backend> make_thread_backend(std::shared_ptr<Arena> arena, uint32_t threads,
                                             const std::string& reason) {
  auto backend = std::make_unique<ThreadBackend>(std::move(arena), reason);
  if (!backend->initialise(threads)) return nullptr;
  return backend;
}

}  // namespace sealfs::extent
