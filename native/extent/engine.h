// Goal: disk I/O for one thread as an event source: JavaScript writes records into a submission
// ring, gets records from a completion ring, and never waits. Method: the engine owns the
// operations in flight, opens and preallocates the device files, continues short transfers and
// retries interrupted ones; a Backend (backend.h) makes the system calls.
//
// The records are Submission and Completion of schema/extent.fbs.
// `block` counts 4 KiB blocks from the start of the file. The memory of an operation belongs to
// the engine from submit() until its completion record. A transfer completes with fewer bytes than
// asked only at the end of the file. Operations may complete in any order.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "native/common/arena.h"
#include "native/common/event_source.h"
#include "native/common/record_ring.h"
#include "native/extent/backend.h"

namespace sealfs::extent {

constexpr uint32_t kSubmissionWords = sizeof(Submission) / 4;
constexpr uint32_t kCompletionWords = sizeof(Completion) / 4;
constexpr uint32_t kRingRecords = 1024;
constexpr uint32_t kDepthDefault = 128;
constexpr uint32_t kDepthMax = 4096;
constexpr uint32_t kThreadsDefault = 8;

struct EngineOptions {
  uint32_t depth = kDepthDefault;      // operations handed to the kernel at a time
  uint32_t threads = kThreadsDefault;  // of the pool, where io_uring is not used
  bool force_threads = false;
};

struct OpenResult {
  int error = 0;  // errno; the rest is valid when it is 0
  uint32_t file = 0;
  bool direct = false;  // O_DIRECT is in force
  bool block_device = false;
  uint64_t bytes = 0;
};

class Engine final : public EventSource {
 public:
  // Null on failure, with a reason.
  static std::shared_ptr<Engine> create(std::shared_ptr<Arena> arena, EngineOptions options,
                                        std::string* error);
  // Waits for operations in flight: their memory may go away afterwards.
  ~Engine() override;

  // Opens an extent file or a block device for reading and writing, with O_DIRECT when the file
  // system allows it, and locks it against other processes (EBUSY). `create`: it must not exist
  // (EEXIST) and is made with `bytes` allocated; nothing is left behind on failure.
  OpenResult open(const std::string& path, bool create, uint64_t bytes);
  // Operations in flight on it end as usual; the caller waits for them first.
  void close_file(uint32_t file);

  uint32_t harvest() override;
  void submit() override;
  int fd() const override { return backend_->fd(); }
  bool arm() override;
  uint32_t outstanding() const override { return in_flight_; }

  const std::string& mode() const { return backend_->mode(); }
  SubmissionRing<kSubmissionWords>& submissions() { return submissions_; }
  RecordRing<kCompletionWords>& completions() { return completions_; }

 private:
  struct Operation {
    Call call;
    uint32_t tag;
    uint64_t done;  // bytes transferred by earlier calls
  };
  Engine(std::shared_ptr<Arena> arena, uint32_t depth);
  void accept(const Submission& submission);
  bool make_call(const Submission& submission, Call* call) const;
  // False: the ring is full.
  bool report(const Completion& completion);
  void start_waiting();
  void end_call(const Ended& ended);
  void complete(uint32_t id, int32_t result);
  void flush_finished();

  const std::shared_ptr<Arena> arena_;
  std::unique_ptr<Backend> backend_;
  SubmissionRing<kSubmissionWords> submissions_{kRingRecords};
  RecordRing<kCompletionWords> completions_{kRingRecords};
  std::vector<Operation> operations_;  // grows to the most ever pending
  std::vector<uint32_t> free_;         // indexes of unused operations
  std::deque<uint32_t> waiting_;       // operations not yet with the backend
  std::deque<Completion> finished_;    // that found the completion ring full, or ended at once
  std::vector<Ended> ended_;
  const uint32_t depth_;
  uint32_t in_flight_ = 0;     // accepted and not yet reported
  uint32_t with_backend_ = 0;  // at most depth_
  int files_[kFilesMax];
};

// fallocate(2) of [offset, offset + length); returns 0 or an errno. EINTR is retried.
int preallocate(int fd, uint64_t offset, uint64_t length);

}  // namespace sealfs::extent
