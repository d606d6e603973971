// Goal: two ways of doing disk I/O behind one small interface: io_uring, and a pool of threads
// where io_uring is refused. The engine (engine.h) owns the operations; a backend starts them and
// says which have ended, with the result of one system call. Continuing short transfers, retrying
// and the rings that JavaScript sees are the engine's work.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "native/common/arena.h"
#include "native/extent/layout.generated.h"

namespace sealfs::extent {

constexpr uint32_t kBlockBytes = wire::kBlockBytes;
constexpr uint32_t kFilesMax = 64;

// One system call: the rest of an operation that is still to be done.
struct Call {
  Opcode opcode;
  uint32_t file;      // index of the device file
  int fd;             // its descriptor
  uint32_t memory;    // arena offset
  uint64_t length;    // bytes
  uint64_t position;  // bytes from the start of the file
};

struct Ended {
  uint32_t id;     // as given to start()
  int32_t result;  // bytes, 0, or an errno negated
};

class Backend {
 public:
  virtual ~Backend() = default;
  // False: no room now, call again after take_ended().
  virtual bool start(uint32_t id, const Call& call) = 0;
  // Hands everything started to the kernel or the pool.
  virtual void submit() = 0;
  // Up to `max` ended calls; never blocks.
  virtual uint32_t take_ended(Ended* out, uint32_t max) = 0;
  // As in EventSource.
  virtual int fd() const = 0;
  virtual bool arm() = 0;
  virtual void file_opened(uint32_t file, int fd) = 0;
  virtual void file_closed(uint32_t file) = 0;
  // "io_uring", "io_uring (buffers not registered: …)" or "threads (…)".
  virtual const std::string& mode() const = 0;
};

// Null when io_uring is refused, with the reason.
std::unique_ptr<Backend> make_uring_backend(std::shared_ptr<Arena> arena, uint32_t depth,
                                            std::string* reason);
// Null when not even one thread can be started. `reason` is why this one was chosen.
std::unique_ptr<Backend> make_thread_backend(std::shared_ptr<Arena> arena, uint32_t threads,
                                             const std::string& reason);

}  // namespace sealfs::extent
