// Goal: the memory that one program and the mount process share, seen from the side that trusts
// nothing in it. Method: what the program wrote is copied once and judged in the copy; whether a
// lane has a call under way stands in private memory, so that a bell rung twice, or a lane changed
// meanwhile, is no second call. Layout: native/common/intercept_layout.h.
#pragma once

#include <cstdint>
#include <memory>

#include "native/common/intercept_layout.h"

namespace sealfs::intercept {

class Region {
 public:
  // Null, with errno set, when the memory cannot be had. Sealed: the program cannot make it
  // shorter.
  static std::unique_ptr<Region> create();
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // The lanes that were rung for and have no call under way, one bit each; they are the caller's
  // until done(). Cheap when there is none.
  uint64_t take_bells();
  // A copy of what stands in lane `lane`.
  Request request(uint32_t lane) const;
  uint8_t* data(uint32_t lane) const;
  // Answers the call of the lane, and wakes who sleeps for it.
  void done(uint32_t lane, uint32_t status, uint64_t value);
  // Lanes that were taken and are not done.
  uint64_t busy() const { return busy_; }
  // Not now: they are found by take_bells again.
  void put_back(uint64_t lanes);

  // From now on a bell is followed by a message on the socket; or no longer.
  void set_asleep(bool asleep);
  bool bell_rung() const;

  int fd() const { return fd_; }
  uint8_t* base() const { return base_; }

 private:
  Region(int fd, uint8_t* base);
  Header* header() const { return reinterpret_cast<Header*>(base_); }
  Lane* lane(uint32_t index) const;

  const int fd_;
  uint8_t* const base_;
  uint64_t busy_ = 0;
  uint64_t kept_ = 0;  // taken from the bell, put back
};

}  // namespace sealfs::intercept
