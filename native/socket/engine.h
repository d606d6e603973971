// Goal: frames over TCP, many connections of one thread, as an event source of its poller; message
// bytes are parsed where they were received, bulk is received where it stays.
//
// Wire: a frame is a FrameHeader, its message (messageBytes, header included), its bulk, and zeros
// up to a multiple of 8, so that every frame begins aligned (docs/internals.md, "Transport").
//
// Method: non-blocking sockets, edge-triggered in one epoll instance, registered once. A harvest
// reads into the receive area, a part of the arena that is filled from its start in every harvest:
//
//   area  [ conn 7: frame frame frame | conn 9: frame, part of a frame | … free … ]
//                                                     └ moved to conn 9's `held`, and back in
//                                                       front of what the next read brings
//
// When a frame has bulk, its destination (a bulk slot for a request's, the landing for a reply's)
// is found at once, what was read of it is copied there, and the rest is received there with readv.
// A request that finds no free slot stays in `held`, and its connection is not read until one is.
//
// Sending: submit() appends frames to their connections' queues and writes each queue with gathered
// sendmsg. What the socket does not take waits for its EPOLLOUT edge. Slots go back to the arena
// here as their last byte is out, or as the connection closes.
//
// Errors: whatever is wrong with a connection closes that one, with a Reason or an errno.
// Files: engine.cc (life of connections, harvest), receive.cc, send.cc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "native/common/event_source.h"
#include "native/socket/connection.h"

namespace sealfs::tcp {

class Engine : public EventSource {
 public:
  // Null, with a reason in `error`, when the arena has no receive area left or epoll fails.
  static std::shared_ptr<Engine> create(std::shared_ptr<Arena> arena, std::string* error);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // ---- EventSource
  uint32_t harvest() override;
  void submit() override;
  int fd() const override { return epoll_fd_; }
  bool arm() override;
  uint32_t outstanding() const override { return awaiting_; }

  // ---- control
  // A number for a connection to come, frames may be queued to it; 0: too many.
  uint32_t reserve();
  // Begins to connect a reserved one to a numeric address, from the local address `source` unless
  // that is empty; a record follows. False: no such number.
  bool connect(uint32_t id, const std::string& address, uint16_t port,
               const std::string& source = {});
  // Listens on a numeric address; 0 or an errno. `port` 0: any; set to the bound one.
  int listen(const std::string& address, uint16_t* port);
  // Takes over a connected stream socket, as if accepted (or connected); 0: too many.
  uint32_t adopt(int fd, bool incoming);
  // From time to time (every few seconds): closes stalled connections.
  void tick();
  // Closes everything at once; no record follows.
  void shutdown();

  engine::Records& records() { return records_; }
  engine::Submissions& submissions() { return submissions_; }
  Counters& counters() { return counters_; }

 private:
  struct Listener {
    int fd;
    bool ready;
  };

  Engine(std::shared_ptr<Arena> arena, uint32_t area, int epoll_fd);

  // engine.cc
  Connection* find(uint32_t id) { return connections_.find(id); }
  Connection* allocate();
  bool attach(Connection& c, int fd);
  void drain_epoll();
  void accept_from(Listener& listener);
  void finish_connect(Connection& c);
  void connect_failed(Connection& c, int error);
  void close_connection(Connection& c, uint32_t reason);
  void mark_readable(Connection& c);
  void ask_directly();
  void serve_waiting();
  void serve_ready();

  // receive.cc
  void receive(Connection& c);
  bool read_once(Connection& c);
  bool read_frames(Connection& c);
  bool read_bulk(Connection& c);
  ssize_t read_into(Connection& c, struct iovec* parts, int count, size_t asked);
  bool parse_held(Connection& c);
  bool parse(Connection& c, uint32_t position, uint32_t end);
  uint32_t begin_bulk(Connection& c, const wire::FrameHeader& header);
  void copy_bulk(Connection& c, uint32_t* position, uint32_t end);
  void finish_bulk(Connection& c);
  void push_message(Connection& c, uint32_t offset, uint32_t bytes, uint32_t bulk_offset,
                    uint32_t bulk_bytes, bool owns_slot);

  // send.cc
  void take_frame(const Submission& s);
  void take_landing(const Submission& s);
  void flush(Connection& c);
  bool send_some(Connection& c, size_t* sent);
  void consume(Connection& c, size_t sent);
  void check_backlog(Connection& c);

  std::shared_ptr<Arena> arena_;
  const uint32_t area_;
  const uint32_t area_end_;
  uint32_t cursor_;  // where the next read of this harvest goes
  bool area_full_ = false;
  const int epoll_fd_;
  int spare_fd_;  // given up for a moment to refuse a connection when descriptors run out
  engine::Records records_{engine::kRecordsMax};
  engine::Submissions submissions_{engine::kSubmissionsMax};
  Counters counters_{};

  engine::ConnectionTable<Connection> connections_;
  std::vector<Listener> listeners_;
  engine::EventQueue events_;
  std::vector<uint32_t> ready_;    // connections that may be read
  std::vector<uint32_t> waiting_;  // for a bulk slot
  std::vector<uint32_t> hot_;
  std::vector<uint32_t> dirty_;
  std::vector<uint32_t> scratch_;
  std::vector<uint32_t> again_;
  engine::FrameGatherer gatherer_;  // of the frame that is submitted next
  uint32_t awaiting_ = 0;
  uint32_t harvests_ = 0;
  uint32_t tick_ = 0;
};

}  // namespace sealfs::tcp
