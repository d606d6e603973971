// Goal: the one C++ interface between a thread's poller and the native engines (sockets, disk,
// FUSE) that it harvests. Method: an engine implements EventSource and hands JavaScript an
// external made by `make_source_handle` (native/common/napi_support.h); JavaScript passes it to
// `Reactor.addSource`, which adds it to the poller of native/core.
//
// One thread owns a poller and all its sources; nothing here is thread-safe. An engine with
// threads of its own (a pool behind a disk engine) passes their results through an eventfd.
//
//   loop:  harvest() of every source ── counts ──> one JavaScript turn ──> submit() of every source
//            ^                                                                  │
//            └──── poll on, yielding, while it may pay ── arm() ── sleep on fd() ┘
#pragma once

#include <cstdint>

namespace sealfs {

class EventSource {
 public:
  virtual ~EventSource() = default;

  // Moves what is ready into the source's own record ring (memory that JavaScript sees, see
  // record_ring.h) and returns the number of records now in it, at most the ring's capacity.
  // Never blocks. Called many times a second when nothing is there: it must be cheap then. The
  // records, and memory that they point at, stay untouched until the next harvest.
  virtual uint32_t harvest() = 0;

  // Takes everything that JavaScript put into the source's submission ring and starts it. Called
  // after every turn (and from Reactor.requestTurn's turns), so JavaScript needs no call of its
  // own. Results that are there at once are kept for the next harvest.
  virtual void submit() {}

  // The descriptor that becomes readable when there is something to harvest; constant while the
  // source is added; -1 when the source has none (it is then found only by polling).
  virtual int fd() const = 0;

  // Called before the thread sleeps. True: there is work that fd() does not show, do not sleep.
  // A source that must request a notification (an armed eventfd, a cleared edge) does it here.
  virtual bool arm() { return false; }

  // Operations started and not finished, for which it is worth to poll longer before sleeping.
  virtual uint32_t outstanding() const { return 0; }
};

}  // namespace sealfs
