// Goal: a program's connection with one mount process: attached once a mount, used by all threads.
// Method: a call claims one of the region's lanes, fills it, rings, and waits: a short adaptive
// spin, then a futex. Layout and handshake: native/common/intercept_layout.h, docs/intercept.md.
//
// Nothing here allocates, takes a lock that a signal handler could wait for, or outlives a fork:
// the memory is not inherited (MADV_DONTFORK), and the child forgets what it had.
#pragma once

#include <errno.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>

#include "native/common/intercept_layout.h"

namespace sealfs::intercept {

// Why a call did not go through a lane, beside the mount's Fallback reasons.
constexpr uint32_t kNoLane = 4200;  // all lanes are in use, or the mount process has gone

class Attachment {
 public:
  // 0, or an errno: nobody answers, or we are refused.
  int attach(uint32_t device_major, uint32_t device_minor);
  // After a fork, in the child: as if it had never been.
  void forget();

  // Not of one that has gone: the device's number may be another mount's by now.
  bool is_of(uint32_t major, uint32_t minor) const {
    return alive() && major_ == major && minor_ == minor;
  }
  bool alive() const { return attached_.load(std::memory_order_acquire) && !dead_.load(); }

  // A lane for one call, -1: none is free. Its data area is the caller's until `end`.
  int begin();
  uint8_t* data(int lane) const;
  // Waits for the answer. kNoLane: the mount process has gone, and the lane with it.
  Reply call(int lane, const Request& request);
  void end(int lane);
  // Nobody waits for the answer; ends the lane, too.
  void post(int lane, const Request& request);

  // Descriptor `fd` of this process, of this inode, for other calls: value is the handle.
  Reply introduce(int fd, uint64_t inode);
  // Nobody waits for it. Without a lane the handle stays until this process ends.
  void release(uint32_t handle);

  // Of the mount: kVersionsBytes of memory that is only read (intercept_layout.h).
  const uint32_t* versions() const { return versions_; }

  // The descriptor that the connection needs: programs must not close it.
  int socket() const { return socket_; }

 private:
  Lane* lane(int index) const;
  Header* header() const { return reinterpret_cast<Header*>(base_); }
  void submit(int lane, const Request& request);
  bool wait(Lane* lane, std::atomic<uint32_t>* spin_ns);
  bool sleep(Lane* lane);
  bool is_socket() const;
  bool has_gone();

  std::atomic<bool> attached_{false};
  std::atomic<bool> dead_{false};
  uint32_t major_ = 0;
  uint32_t minor_ = 0;
  uint8_t* base_ = nullptr;
  const uint32_t* versions_ = nullptr;
  int socket_ = -1;
  uint64_t socket_inode_ = 0;  // what `socket_` must be before a byte is written to it
  std::atomic<uint64_t> used_{0};
  std::atomic<uint64_t> posted_{0};
  // By operation, since what asks a server takes longer than what the mount process knows.
  std::atomic<uint32_t> spin_ns_[kOperations];
};

// Of a call that has no value. True: answered, with `*result` and errno as the call has it.
// `before`: errno at the beginning.
inline bool answered(uint32_t status, int before, int* result) {
  errno = before;
  if (status >= kFallbackFirst) return false;
  if (status != 0) errno = static_cast<int>(status);
  *result = status == 0 ? 0 : -1;
  return true;
}

}  // namespace sealfs::intercept
