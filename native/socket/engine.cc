// Goal and method: engine.h. Here: the life of connections, and the harvest.
#include "native/socket/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "native/common/address.h"

namespace sealfs::tcp {
namespace {

constexpr uint64_t kListenerFlag = uint64_t{1} << 32;
constexpr int kListenBacklog = 1024;
constexpr int kEpollBatch = 256;
// A peer whose host is gone is noticed after this, whether data is on its way or not.
constexpr unsigned kPeerGoneMs = 30'000;
constexpr int kKeepAliveIdleSeconds = 10;
constexpr int kKeepAliveIntervalSeconds = 5;

// Fails harmlessly on sockets that are not TCP (those of tests).
void set_options(int fd) {
  const int on = 1;
  const unsigned gone = kPeerGoneMs;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleSeconds, sizeof(int));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveIntervalSeconds, sizeof(int));
  (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &gone, sizeof gone);
}

int open_socket(int family) {
  return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

// The port is chosen when the peer is known, so that one port may serve for many peers.
bool bind_source(int fd, engine::Address& source) {
  const int on = 1;
  (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  return ::bind(fd, source.get(), source.bytes) == 0;
}

}  // namespace

std::shared_ptr<Engine> Engine::create(std::shared_ptr<Arena> arena, std::string* error) {
  const uint32_t area = arena->take_receive_area();
  if (area == 0) {
    *error = "the arena has no receive area left (ArenaShape.receiveAreas)";
    return nullptr;
  }
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) {
    arena->give_receive_area(area);
    *error = std::string("epoll: ") + strerror(errno);
    return nullptr;
  }
  return std::shared_ptr<Engine>(new Engine(std::move(arena), area, epoll_fd));
}

Engine::Engine(std::shared_ptr<Arena> arena, uint32_t area, int epoll_fd)
    : arena_(std::move(arena)),
      area_(area),
      area_end_(area + kReceiveAreaBytes),
      cursor_(area),
      epoll_fd_(epoll_fd),
      spare_fd_(::open("/dev/null", O_RDONLY | O_CLOEXEC)),
      gatherer_(*arena_) {}

Engine::~Engine() {
  shutdown();
  arena_->give_receive_area(area_);
  if (spare_fd_ >= 0) ::close(spare_fd_);
  ::close(epoll_fd_);
}

// ---------------------------------------------------------------- life of connections

Connection* Engine::allocate() {
  Connection* c = connections_.allocate();
  if (c != nullptr) counters_.connections++;
  return c;
}

bool Engine::attach(Connection& c, int fd) {
  set_options(fd);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = c.id;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  c.fd = fd;
  return true;
}

uint32_t Engine::reserve() {
  Connection* c = allocate();
  return c == nullptr ? 0 : c->id;
}

bool Engine::connect(uint32_t id, const std::string& address, uint16_t port,
                     const std::string& source) {
  Connection* c = find(id);
  if (c == nullptr || c->state != State::kReserved) return false;
  engine::Address peer;
  engine::Address local;
  int fd = -1;
  int error = 0;
  if (!engine::parse_address(address, port, &peer) ||
      (!source.empty() && !engine::parse_address(source, 0, &local))) {
    error = EINVAL;
  } else if ((fd = open_socket(peer.family())) < 0) {
    error = errno;
  } else if (!source.empty() && !bind_source(fd, local)) {
    error = errno;
  } else if (::connect(fd, peer.get(), peer.bytes) != 0 && errno != EINPROGRESS) {
    error = errno;
  } else if (!attach(*c, fd)) {
    error = errno;
  }
  if (error == 0) {
    c->state = State::kConnecting;
    return true;
  }
  if (fd >= 0) ::close(fd);
  events_.push(RecordKind::kConnectFailed, id, static_cast<uint32_t>(error));
  return true;
}

void Engine::finish_connect(Connection& c) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) error = errno;
  if (error != 0) {
    connect_failed(c, error);
    return;
  }
  c.state = State::kOpen;
  events_.push(RecordKind::kOpened, c.id, 0);
  mark_readable(c);
  flush(c);
}

void Engine::connect_failed(Connection& c, int error) {
  ::close(c.fd);
  c.fd = -1;
  c.state = State::kReserved;
  events_.push(RecordKind::kConnectFailed, c.id, static_cast<uint32_t>(error));
}

uint32_t Engine::adopt(int fd, bool incoming) {
  Connection* c = allocate();
  if (c == nullptr) return 0;
  if (!attach(*c, fd)) {
    close_connection(*c, static_cast<uint32_t>(errno));
    return 0;
  }
  c->state = State::kOpen;
  c->incoming = incoming;
  events_.push(incoming ? RecordKind::kAccepted : RecordKind::kOpened, c->id, 0);
  return c->id;
}

int Engine::listen(const std::string& address, uint16_t* port) {
  engine::Address here;
  if (!engine::parse_address(address, *port, &here)) return EINVAL;
  const int fd = open_socket(here.family());
  if (fd < 0) return errno;
  const int on = 1;
  const int off = 0;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (here.family() == AF_INET6) {
    (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kListenerFlag | listeners_.size();
  if (::bind(fd, here.get(), here.bytes) != 0 || ::listen(fd, kListenBacklog) != 0 ||
      getsockname(fd, here.get(), &here.bytes) != 0 ||
      epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    const int error = errno;
    ::close(fd);
    return error;
  }
  *port = here.port();
  listeners_.push_back({fd, false});
  return 0;
}

void Engine::accept_from(Listener& listener) {
  listener.ready = false;
  for (uint32_t i = 0; i < kAcceptsPerHarvest; i++) {
    const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (adopt(fd, true) == 0) ::close(fd);
      continue;
    }
    if (errno == EAGAIN) return;
    if (errno == EMFILE || errno == ENFILE) {
      // Left in the queue it would be found ready for ever: accept it with the spare descriptor
      // and close it, which tells the peer.
      events_.push(RecordKind::kAcceptFailed, 0, static_cast<uint32_t>(errno));
      if (spare_fd_ < 0) return;
      ::close(spare_fd_);
      const int refused = accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (refused >= 0) ::close(refused);
      spare_fd_ = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    // Others (ECONNABORTED, EPROTO) concern one connection that is gone; see accept(2).
  }
  listener.ready = true;  // there may be more
}

void Engine::close_connection(Connection& c, uint32_t reason) {
  if (engine::is_protocol_error(reason)) counters_.protocol_errors++;
  if (c.fd >= 0) ::close(c.fd);  // ends the watch, too
  if (c.bulk_left > 0 && c.bulk_owns_slot) (void)arena_->give_bulk(c.bulk_offset);
  engine::release_all(*arena_, c.queue, c.queue_head);
  awaiting_ -= c.awaiting;
  counters_.connections--;
  events_.push(RecordKind::kClosed, c.id, reason);
  (void)connections_.remove(c);  // c is gone
}

void Engine::tick() {
  tick_++;
  connections_.each([this](Connection& c) {
    if (c.bulk_left > 0 && c.bulk_owns_slot && tick_ - c.progress_tick > kStallTicks) {
      close_connection(c, engine::code(Reason::kStalled));
    }
  });
}

void Engine::shutdown() {
  for (Listener& listener : listeners_) ::close(listener.fd);
  listeners_.clear();
  connections_.each(
      [this](Connection& c) { close_connection(c, engine::code(Reason::kClosedHere)); });
  gatherer_.drop_bulk();
  events_.clear();
  records_.clear();
  submissions_.clear();
}

// ---------------------------------------------------------------- harvest

void Engine::mark_readable(Connection& c) {
  c.readable = true;
  if (c.listed || c.waiting || c.backlogged || c.state != State::kOpen) return;
  c.listed = true;
  ready_.push_back(c.id);
}

void Engine::drain_epoll() {
  epoll_event events[kEpollBatch];
  int count;
  do {
    count = epoll_wait(epoll_fd_, events, kEpollBatch, 0);
    for (int i = 0; i < count; i++) {
      const uint64_t data = events[i].data.u64;
      if (data & kListenerFlag) {
        listeners_[static_cast<uint32_t>(data)].ready = true;
        continue;
      }
      Connection* c = find(static_cast<uint32_t>(data));
      if (c == nullptr) continue;
      if (c->state == State::kConnecting) {
        finish_connect(*c);
        continue;
      }
      const uint32_t what = events[i].events;
      if (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) c->hung_up = true;
      if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) mark_readable(*c);
      if ((what & EPOLLOUT) && c->blocked) {
        c->blocked = false;
        flush(*c);  // may close it
      }
    }
  } while (count == kEpollBatch);
  for (Listener& listener : listeners_) {
    if (listener.ready) accept_from(listener);
  }
}

// With few connections, a read that finds nothing costs what asking epoll costs, and one that finds
// something has saved that.
void Engine::ask_directly() {
  size_t kept = 0;
  for (const uint32_t id : hot_) {
    Connection* c = find(id);
    if (c == nullptr) continue;
    if (c->misses > kDirectMissesMax) {
      c->hot = false;
      continue;
    }
    mark_readable(*c);
    hot_[kept++] = id;
  }
  hot_.resize(kept);
}

void Engine::serve_waiting() {
  if (waiting_.empty() || arena_->free_bulk() == 0) return;
  scratch_.swap(waiting_);
  for (const uint32_t id : scratch_) {
    Connection* c = find(id);
    if (c == nullptr) continue;
    if (arena_->free_bulk() == 0) {
      waiting_.push_back(id);
      continue;
    }
    c->waiting = false;
    receive(*c);  // comes back to waiting_ when there is still no slot for it
    c = find(id);
    if (c != nullptr && c->readable) mark_readable(*c);
  }
  scratch_.clear();
}

void Engine::serve_ready() {
  scratch_.swap(ready_);
  for (const uint32_t id : scratch_) {
    Connection* c = find(id);
    if (c == nullptr) continue;
    c->listed = false;
    if (c->waiting || c->backlogged) continue;  // listed again when that is over
    if (area_full_) {
      mark_readable(*c);  // the first of the next harvest
      continue;
    }
    receive(*c);
    c = find(id);
    if (c != nullptr && c->readable) again_.push_back(id);
  }
  scratch_.clear();
  for (const uint32_t id : again_) {
    Connection* c = find(id);
    if (c != nullptr) mark_readable(*c);
  }
  again_.clear();
}

uint32_t Engine::harvest() {
  records_.clear();
  cursor_ = area_;
  area_full_ = false;
  const bool direct = !hot_.empty() && counters_.connections <= kDirectConnections;
  if (!direct || (++harvests_ & 3) == 0) drain_epoll();
  if (!events_.emit(records_)) return records_.count();
  if (direct) ask_directly();
  serve_waiting();
  serve_ready();
  (void)events_.emit(records_);
  return records_.count();
}

bool Engine::arm() {
  drain_epoll();
  if (!events_.empty() || !ready_.empty()) return true;
  if (!waiting_.empty() && arena_->free_bulk() > 0) return true;
  for (const Listener& listener : listeners_) {
    if (listener.ready) return true;
  }
  return false;
}

}  // namespace sealfs::tcp
