// Goal: frames over RDMA queue pairs, many connections of one thread, as an event source of its
// poller. What two ends say to each other, and why: docs/formats/rdma.md.
//
// Method: one harvest is
//
//   recycle   buffers handed up by the last harvest are posted again, and counted as credits
//   poll      completions: a receive is a frame (receive.cc), a send gives slots back (send.cc)
//   events    of the connection manager, now and then and after a sleep (connect.cc)
//   pump      what became possible is posted: one chain a connection (send.cc)
//   bury      connections found broken are taken down: queue pair first, then slots (engine.cc)
//
// and submit() takes what JavaScript asks for and pumps. pump() is the only place that posts sends.
// Completions found outside of a harvest (before a queue pair is destroyed, before sleeping) are
// kept in `stash_` for the next one, since records may be written in a harvest only.
//
// The descriptor to sleep on is an epoll of the connection manager's channel, the devices'
// completion channels and a timer (drain times, and events that came about outside of a harvest).
//
// Errors: whatever is wrong with a connection condemns that one, with a Reason or an errno.
// Files: engine.cc (harvest, end of connections), connect.cc (their beginning), receive.cc,
// send.cc, windows.cc (memory lent to peers).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "native/common/connection_table.h"
#include "native/common/engine_rings.h"
#include "native/common/event_source.h"
#include "native/rdma/buffers.h"
#include "native/rdma/chain.h"
#include "native/rdma/connection.h"
#include "native/rdma/device.h"

namespace sealfs::rdma {

using engine::Counters;
using engine::Record;
using engine::RecordKind;
using engine::Records;
using engine::Submission;
using engine::SubmissionKind;
using engine::Submissions;

struct Options {
  bool windows = true;      // use memory windows where the device has them
  uint32_t areas_max = 64;  // receive areas to take
};

class Engine : public EventSource, public std::enable_shared_from_this<Engine> {
 public:
  // Null, with a reason in `error` that names what would help: no device, no active port, no
  // receive area, too little memory that may be locked.
  static std::shared_ptr<Engine> create(std::shared_ptr<Arena> arena, const Options& options,
                                        std::string* error);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // ---- EventSource
  uint32_t harvest() override;
  void submit() override;
  int fd() const override { return epoll_fd_; }
  bool arm() override;
  uint32_t outstanding() const override { return awaiting_ + reads_; }

  // ---- control
  // A number for a connection to come, frames may be queued to it; 0: too many.
  uint32_t reserve();
  // Begins to connect a reserved one to a numeric address, from the numeric `source` unless it is
  // empty; a record follows. False: no such number.
  bool connect(uint32_t id, const std::string& address, uint16_t port, const std::string& source);
  // Listens on a numeric address; 0 or an errno. `port` 0: any; set to the bound one.
  int listen(const std::string& address, uint16_t* port);
  // After return nobody writes to the landing; may cost the connection (a record follows then).
  void withdraw(uint32_t id, uint32_t tag);
  // Every few seconds: probes idle connections, closes stalled ones.
  void tick();
  // Closes everything at once; no record follows.
  void shutdown();

  Records& records() { return records_; }
  Submissions& submissions() { return submissions_; }
  Counters& counters() { return counters_; }

  // For tests: breaks the connection as a failing network or device would.
  void break_queue_pair(uint32_t id);
  // For tests: whether keys of this connection are memory windows, and the bytes that go inline.
  bool uses_windows(uint32_t id);

 private:
  struct Stashed {
    Device* device;
    ibv_wc completion;
  };
  struct HandedUp {
    uint32_t buffer;
    uint32_t connection;
  };
  struct Listener {
    ConnectionId id;  // none: its device is gone, tick() tries again
    std::string address;
    uint16_t port;
  };
  struct Lingering {
    ConnectionId cm;
    uint32_t tick;
    bool removed;  // with its device, which goes first
  };
  // A copy of an event of the connection manager, acknowledged at once.
  struct CmEvent {
    rdma_cm_event_type type;
    int status;
    rdma_cm_id* id;
    uint8_t reads_answered;  // that the peer asks of us
    uint8_t reads_made;      // that it lets us have under way
    uint8_t data_bytes;
    std::array<uint8_t, 256> data;
  };
  // How the frame at the head of a queue is going to leave.
  struct Plan {
    uint32_t work = 1;
    uint32_t descriptors = 0;
    bool write = false;
    bool drop = false;
  };

  Engine(std::shared_ptr<Arena> arena, const Options& options, EventChannel channel, int epoll_fd,
         int timer_fd);

  // engine.cc
  void recycle();
  void repost(Connection& c, const uint32_t* buffers, uint32_t count);
  void settle_owing();
  void mark_owing(Connection& c);
  void poll(Device& device);
  void process(Device& device, const ibv_wc& completion);
  void serve_waiting();
  void serve_stuck();
  void end_drains();
  void drop_gone_devices();
  void pump_dirty();
  void wake_after(uint32_t milliseconds);
  void finish_sends();
  void stash(Device& device);
  void forget_stash(Device& device);
  void begin_close(Connection& c);
  void condemn(Connection& c, uint32_t reason);
  void bury_doomed();
  void bury(Connection& c);
  void detach(Connection& c);
  void destroy_queue_pair(Connection& c);
  void release_all_of(Connection& c);

  // connect.cc
  void handle_cm();
  bool next_cm_event(CmEvent* out);
  void on_cm_event(const CmEvent& event);
  void on_connection_event(Connection& c, const CmEvent& event);
  void on_orphan_event(const CmEvent& event);
  void on_request(const CmEvent& event);
  uint16_t accept(Connection& c, const CmEvent& event);
  void request(Connection& c);
  void established(Connection& c);
  void connect_failed(Connection& c, uint32_t why);
  uint32_t begin_connect(Connection& c, const std::string& address, uint16_t port,
                         const std::string& source);
  uint32_t prepare(Connection& c);
  uint32_t take_credits(Connection& c);
  uint32_t make_queue_pair(Connection& c);
  Device* device_for(rdma_cm_id* id, bool lends, uint32_t* why);
  ConnectionId make_anchor(rdma_cm_id* id);
  Hello hello(const Connection& c) const;
  int open_listener(Listener& listener);

  // receive.cc
  void on_receive(Device& device, const ibv_wc& completion);
  void take_received(Connection& c, uint32_t buffer, const ibv_wc& completion);
  uint32_t apply_prefix(Connection& c, const FramePrefix& prefix);
  void apply_descriptors(Connection& c, const Frame& frame);
  uint32_t take_reply_bulk(Connection& c, const Frame& frame, const ibv_wc& completion,
                           Inbound* inbound);
  bool hand_up(Connection& c, const Inbound& inbound);
  void hand_up_ready(Connection& c);
  void start_reads(Connection& c);
  bool post_read(Connection& c, Inbound& inbound);
  void finish_read(Connection& c, uint32_t sequence);

  // send.cc
  void take_frame(const Submission& s);
  void take_landing(const Submission& s);
  void mark_dirty(Connection& c);
  void pump(Connection& c);
  bool flush_chain(Connection& c);
  void send_frames(Connection& c);
  Plan plan(Connection& c, const Outgoing& frame);
  static bool releases_bulk(const Connection& c, const Outgoing& frame);
  void merge_segments(const Connection& c, uint32_t count);
  bool send_frame(Connection& c, const Plan& plan);
  void write_bulk(Connection& c, const RemoteLanding& landing);
  void send_message(Connection& c, const Segment& message, uint32_t prefix_slot,
                    const FramePrefix& prefix, bool invalidates, uint32_t rkey);
  void send_credit(Connection& c);
  void send_probe(Connection& c);
  void check_drained(Connection& c);
  void check_backlog(Connection& c);
  void on_sent(const ibv_wc& completion);
  void give_back(const Segment& segment);

  // windows.cc
  bool lend(Connection& c, uint32_t offset, uint32_t bytes, int access, uint32_t* window,
            uint32_t* rkey);
  bool tell_landings(Connection& c);
  bool tell_sources(Connection& c);
  void end_landing(Connection& c, uint32_t tag);
  void end_window(Connection& c, uint32_t window);
  void post_invalidations(Connection& c);
  void pulled(Connection& c, uint32_t count);

  std::shared_ptr<Arena> arena_;
  const Options options_;
  const int epoll_fd_;
  const int timer_fd_;
  Records records_{engine::kRecordsMax};
  Submissions submissions_{engine::kSubmissionsMax};
  Counters counters_{};
  engine::EventQueue events_;
  engine::FrameGatherer gathered_;
  Buffers buffers_;
  std::unique_ptr<Chain> chain_;

  std::vector<Stashed> stash_;
  std::vector<HandedUp> handed_;    // by the last harvest
  std::vector<uint32_t> owing_;     // connections that may owe their peer a credit frame
  std::vector<uint32_t> dirty_;     // with something to post
  std::vector<uint32_t> waiting_;   // for a bulk slot
  std::vector<uint32_t> starved_;   // for a prefix slot
  std::vector<uint32_t> stuck_;     // ready frames found no record
  std::vector<uint32_t> draining_;  // in the order of their ends
  std::vector<uint32_t> doomed_;
  std::vector<uint32_t> scratch_;
  std::vector<uint32_t> repost_;
  std::vector<Segment> merged_;          // bulk of the frame that is being sent
  std::vector<Descriptor> descriptors_;  // of the frame that is being sent
  uint32_t awaiting_ = 0;
  uint32_t reads_ = 0;
  uint32_t harvests_ = 0;
  uint32_t opening_ = 0;  // connections between connect or request and open
  uint32_t tick_ = 0;
  bool slept_ = false;
  bool timer_set_ = false;

  // Destroyed from the last to the first: connections' queue pairs before the devices that they
  // use, ids before the channel that reports on them.
  EventChannel channel_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<Listener> listeners_;
  std::vector<Lingering> lingering_;
  engine::ConnectionTable<Connection> connections_;
};

// The Reason for a completion's status, as a code.
uint32_t completion_reason(const ibv_wc& completion);

}  // namespace sealfs::rdma
