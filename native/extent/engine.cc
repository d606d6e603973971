// Goal and method: see the header. Life of an operation:
//
//   submission ring -> accept() -> waiting_ -> backend -> end_call() -> completion ring
//                         |           ^                      |
//                     bad argument    └── short or EINTR ────┘
#include "native/extent/engine.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace sealfs::extent {
namespace {

bool is_transfer(Opcode opcode) { return opcode == Opcode::kRead || opcode == Opcode::kWrite; }

// 0 or an errno; the size of an ordinary file or a block device.
int size_of(int fd, OpenResult* result) {
  struct stat status;
  if (fstat(fd, &status) != 0) return errno;
  result->block_device = S_ISBLK(status.st_mode);
  if (result->block_device) return ioctl(fd, BLKGETSIZE64, &result->bytes) == 0 ? 0 : errno;
  if (!S_ISREG(status.st_mode)) return EINVAL;
  result->bytes = static_cast<uint64_t>(status.st_size);
  return 0;
}

}  // namespace

int preallocate(int fd, uint64_t offset, uint64_t length) {
  for (;;) {
    if (fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(length)) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

std::shared_ptr<Engine> Engine::create(std::shared_ptr<Arena> arena, EngineOptions options,
                                       std::string* error) {
  const uint32_t depth = std::clamp<uint32_t>(options.depth, 1, kDepthMax);
  std::shared_ptr<Engine> engine(new Engine(arena, depth));
  std::string reason = "asked for";
  if (!options.force_threads) engine->backend_ = make_uring_backend(arena, depth, &reason);
  if (!engine->backend_) {
    const uint32_t threads = std::clamp<uint32_t>(options.threads, 1, 256);
    engine->backend_ = make_thread_backend(arena, threads, reason);
  }
  if (engine->backend_) return engine;
  *error = "no disk engine: " + reason + ", and no thread could be started";
  return nullptr;
}

Engine::Engine(std::shared_ptr<Arena> arena, uint32_t depth)
    : arena_(std::move(arena)), ended_(depth), depth_(depth) {
  std::fill(std::begin(files_), std::end(files_), -1);
}

Engine::~Engine() {
  waiting_.clear();
  while (backend_ && with_backend_ > 0) {
    const uint32_t count = backend_->take_ended(ended_.data(), depth_);
    with_backend_ -= count;
    if (count == 0) usleep(100);
  }
  backend_.reset();
  for (int fd : files_) {
    if (fd >= 0) close(fd);
  }
}

OpenResult Engine::open(const std::string& path, bool create, uint64_t bytes) {
  OpenResult result;
  auto* slot = std::find(std::begin(files_), std::end(files_), -1);
  if (slot == std::end(files_)) return {.error = EMFILE};
  const int flags = O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0);
  int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0) return {.error = errno};
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) result.error = errno == EWOULDBLOCK ? EBUSY : errno;
  if (result.error == 0 && create) result.error = preallocate(fd, 0, bytes);
  if (result.error == 0) result.error = size_of(fd, &result);
  if (result.error != 0) {
    ::close(fd);
    if (create) unlink(path.c_str());
    return result;
  }
  // Set afterwards, on the same description: refused (EINVAL) where the file system has no direct
  // I/O, without a second open that could meet another file.
  result.direct = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT) == 0;
  *slot = fd;
  result.file = static_cast<uint32_t>(slot - std::begin(files_));
  backend_->file_opened(result.file, fd);
  return result;
}

void Engine::close_file(uint32_t file) {
  if (file >= kFilesMax || files_[file] < 0) return;
  backend_->file_closed(file);
  ::close(files_[file]);
  files_[file] = -1;
}

bool Engine::make_call(const Submission& submission, Call* call) const {
  const auto opcode = static_cast<Opcode>(submission.opcode);
  const uint32_t file = submission.file;
  if (file >= kFilesMax || files_[file] < 0) return false;
  *call = {opcode, file, files_[file], 0, 0, uint64_t{submission.block} * kBlockBytes};
  switch (opcode) {
    case Opcode::kRead:
    case Opcode::kWrite:
      call->memory = submission.memory;
      call->length = submission.length;
      return call->length > 0 && call->length <= INT32_MAX &&
             arena_->contains(call->memory, call->length);
    case Opcode::kSync:
      return true;
    case Opcode::kAllocate:
      call->length = uint64_t{submission.length} * kBlockBytes;
      return call->length > 0;
  }
  return false;
}

void Engine::accept(const Submission& submission) {
  Operation operation{{}, submission.tag, 0};
  in_flight_++;
  if (!make_call(submission, &operation.call)) {
    finished_.push_back({operation.tag, -EINVAL});
    return;
  }
  uint32_t id;
  if (free_.empty()) {
    id = static_cast<uint32_t>(operations_.size());
    operations_.push_back(operation);
  } else {
    id = free_.back();
    free_.pop_back();
    operations_[id] = operation;
  }
  waiting_.push_back(id);
}

void Engine::submit() {
  const uint32_t count = submissions_.count();
  for (uint32_t i = 0; i < count; i++) {
    Submission submission;
    std::memcpy(&submission, submissions_.record(i), sizeof submission);
    accept(submission);
  }
  submissions_.clear();
  start_waiting();
}

void Engine::start_waiting() {
  if (waiting_.empty()) return;
  while (!waiting_.empty() && with_backend_ < depth_) {
    const uint32_t id = waiting_.front();
    if (!backend_->start(id, operations_[id].call)) break;
    waiting_.pop_front();
    with_backend_++;
  }
  backend_->submit();
}

void Engine::end_call(const Ended& ended) {
  with_backend_--;
  Operation& operation = operations_[ended.id];
  Call& call = operation.call;
  if (ended.result == -EINTR || ended.result == -EAGAIN) {
    waiting_.push_back(ended.id);
    return;
  }
  if (!is_transfer(call.opcode)) return complete(ended.id, ended.result);
  if (ended.result < 0) return complete(ended.id, ended.result);
  const auto moved = static_cast<uint64_t>(ended.result);
  if (moved >= call.length || moved == 0) {
    return complete(ended.id, static_cast<int32_t>(operation.done + std::min(moved, call.length)));
  }
  // A short transfer: go on from the last whole block, as direct I/O wants its positions. Less
  // than one block means the end of the file, inside it.
  const uint64_t whole = moved - moved % kBlockBytes;
  if (whole == 0) return complete(ended.id, static_cast<int32_t>(operation.done + moved));
  operation.done += whole;
  call.memory += static_cast<uint32_t>(whole);
  call.position += whole;
  call.length -= whole;
  waiting_.push_front(ended.id);
}

bool Engine::report(const Completion& completion) {
  uint32_t* record = completions_.push();
  if (record == nullptr) return false;
  std::memcpy(record, &completion, sizeof completion);
  in_flight_--;
  return true;
}

void Engine::complete(uint32_t id, int32_t result) {
  const Completion completion{operations_[id].tag, result};
  free_.push_back(id);
  if (!finished_.empty() || !report(completion)) finished_.push_back(completion);
}

void Engine::flush_finished() {
  while (!finished_.empty() && report(finished_.front())) finished_.pop_front();
}

uint32_t Engine::harvest() {
  completions_.clear();
  flush_finished();
  if (with_backend_ > 0) {
    const uint32_t count = backend_->take_ended(ended_.data(), depth_);
    for (uint32_t i = 0; i < count; i++) end_call(ended_[i]);
  }
  start_waiting();
  return completions_.count();
}

bool Engine::arm() {
  if (!finished_.empty() || submissions_.count() > 0) return true;
  // Waiting operations start when others end; if none is with the backend, nothing would.
  if (!waiting_.empty() && with_backend_ == 0) return true;
  return backend_->arm();
}

}  // namespace sealfs::extent
