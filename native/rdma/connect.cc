// Goal and method: engine.h. Here: the engine's and its connections' beginning, with librdmacm.
//
// Its events are copied and acknowledged at once, since an id whose events are not acknowledged
// cannot be destroyed. An id's context is the number of its connection; ids that listen, or linger
// behind a connection that is gone, have none.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "native/common/address.h"
#include "native/rdma/discover.h"
#include "native/rdma/engine.h"

namespace sealfs::rdma {
namespace {

constexpr int kListenBacklog = 1024;
// A connection takes at most this part of the buffers that are free, so that many find some.
constexpr uint32_t kCreditShare = 8;
constexpr int kNobodyListens = 8;  // IB_CM_REJ_INVALID_SERVICE_ID

void* context_of(uint32_t id) { return reinterpret_cast<void*>(uintptr_t{id}); }

void set_ack_timeout(rdma_cm_id* id) {
  uint8_t timeout = kAckTimeout;
  // Of use on RoCE and InfiniBand; where it is refused the device's own timeout stands.
  (void)rdma_set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &timeout, sizeof timeout);
}

bool watch(int epoll_fd, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

// librdmacm's functions return -1 and set errno.
uint32_t last_error() { return errno == ENODEV ? code(Reason::kNoRoute) : uint32_t(errno); }

}  // namespace

std::shared_ptr<Engine> Engine::create(std::shared_ptr<Arena> arena, const Options& options,
                                       std::string* error) {
  *error = why_no_rdma(discover_devices());
  if (error->empty()) *error = why_not_locked(arena->bytes());
  if (!error->empty()) return nullptr;
  EventChannel channel(rdma_create_event_channel());
  if (!channel || fcntl(channel->fd, F_SETFL, O_NONBLOCK) != 0) {
    *error = std::string("RDMA connection manager: ") + strerror(errno);
    return nullptr;
  }
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (epoll_fd < 0 || timer_fd < 0 || !watch(epoll_fd, channel->fd) || !watch(epoll_fd, timer_fd)) {
    *error = std::string("epoll: ") + strerror(errno);
    if (epoll_fd >= 0) ::close(epoll_fd);
    if (timer_fd >= 0) ::close(timer_fd);
    return nullptr;
  }
  std::shared_ptr<Engine> engine(
      new Engine(std::move(arena), options, std::move(channel), epoll_fd, timer_fd));
  if (engine->buffers_.capacity() == 0) {
    *error = "the arena has no receive area left (ArenaShape.receiveAreas)";
    return nullptr;
  }
  return engine;
}

// ---------------------------------------------------------------- what is asked for here

uint32_t Engine::reserve() {
  Connection* c = connections_.allocate();
  if (c == nullptr) return 0;
  c->announced = true;
  counters_.connections++;
  return c->id;
}

bool Engine::connect(uint32_t id, const std::string& address, uint16_t port,
                     const std::string& source) {
  Connection* c = connections_.find(id);
  if (c == nullptr || c->state != State::kReserved) return false;
  const uint32_t why = begin_connect(*c, address, port, source);
  if (why == 0) {
    c->state = State::kResolving;
    opening_++;
  } else {
    c->cm.reset();
    events_.push(RecordKind::kConnectFailed, id, why);
  }
  return true;
}

uint32_t Engine::begin_connect(Connection& c, const std::string& address, uint16_t port,
                               const std::string& source) {
  engine::Address peer;
  engine::Address here;
  if (!engine::parse_address(address, port, &peer) ||
      (!source.empty() && !engine::parse_address(source, 0, &here))) {
    return EINVAL;
  }
  rdma_cm_id* id = nullptr;
  if (rdma_create_id(channel_.get(), &id, context_of(c.id), RDMA_PS_TCP) != 0) return last_error();
  c.cm.reset(id);
  set_ack_timeout(id);
  sockaddr* from = source.empty() ? nullptr : here.get();
  return rdma_resolve_addr(id, from, peer.get(), kResolveMs) == 0 ? 0 : last_error();
}

int Engine::listen(const std::string& address, uint16_t* port) {
  Listener listener{nullptr, address, *port};
  const int error = open_listener(listener);
  if (error != 0) return error;
  *port = listener.port;
  listeners_.push_back(std::move(listener));
  return 0;
}

int Engine::open_listener(Listener& listener) {
  engine::Address here;
  if (!engine::parse_address(listener.address, listener.port, &here)) return EINVAL;
  rdma_cm_id* raw = nullptr;
  if (rdma_create_id(channel_.get(), &raw, nullptr, RDMA_PS_TCP) != 0) return errno;
  ConnectionId id(raw);
  if (rdma_bind_addr(raw, here.get()) != 0 || rdma_listen(raw, kListenBacklog) != 0) return errno;
  listener.port = ntohs(rdma_get_src_port(raw));
  listener.id = std::move(id);
  return 0;
}

// ---------------------------------------------------------------- events

void Engine::handle_cm() {
  CmEvent event;
  while (next_cm_event(&event)) on_cm_event(event);
}

bool Engine::next_cm_event(CmEvent* out) {
  rdma_cm_event* event = nullptr;
  if (rdma_get_cm_event(channel_.get(), &event) != 0) return false;
  const rdma_conn_param& param = event->param.conn;
  out->type = event->event;
  out->status = event->status;
  out->id = event->id;
  out->reads_answered = param.responder_resources;
  out->reads_made = param.initiator_depth;
  out->data_bytes = param.private_data == nullptr ? 0 : param.private_data_len;
  if (out->data_bytes > 0) memcpy(out->data.data(), param.private_data, out->data_bytes);
  (void)rdma_ack_cm_event(event);
  return true;
}

void Engine::on_cm_event(const CmEvent& event) {
  if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST) {
    on_request(event);
    return;
  }
  // Without a Device over it nobody else would let go of it.
  if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) DeviceUse(event.id->verbs).removed();
  const auto number = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(event.id->context));
  Connection* c = number == 0 ? nullptr : connections_.find(number);
  if (c == nullptr) {
    on_orphan_event(event);
  } else if (c->state != State::kDoomed) {
    on_connection_event(*c, event);
  }
}

void Engine::on_orphan_event(const CmEvent& event) {
  if (event.type == RDMA_CM_EVENT_DEVICE_REMOVAL) {
    for (auto& device : devices_) device->gone = device->gone || device->verbs == event.id->verbs;
    for (Listener& listener : listeners_) {
      if (listener.id.get() == event.id)
        lingering_.push_back({std::move(listener.id), tick_, true});
    }
    for (Lingering& l : lingering_) l.removed = l.removed || l.cm.get() == event.id;
    return;  // behind its device, in drop_gone_devices()
  }
  // A good-bye was answered, or nobody is left to answer it.
  std::erase_if(lingering_, [&](const Lingering& l) { return l.cm.get() == event.id; });
}

void Engine::on_connection_event(Connection& c, const CmEvent& event) {
  const bool opening = c.state == State::kResolving || c.state == State::kConnecting;
  uint32_t why = 0;
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      if (rdma_resolve_route(c.cm.get(), kResolveMs) != 0) connect_failed(c, last_error());
      return;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      request(c);
      return;
    case RDMA_CM_EVENT_ESTABLISHED:
      if (c.state == State::kAccepted) {
        established(c);
      } else if (c.state == State::kConnecting) {
        const uint16_t refusal = check_hello(event.data.data(), event.data_bytes, &c.peer);
        c.connected = true;
        if (refusal == 0) {
          established(c);
        } else {
          counters_.protocol_errors++;
          const bool version = refusal == static_cast<uint16_t>(RefusalCode::kVersion);
          connect_failed(c, code(version ? Reason::kVersionMismatch : Reason::kBadPrefix));
        }
      }
      return;
    case RDMA_CM_EVENT_DISCONNECTED:
      // Frames that came before the good-bye are handed up before it.
      if (c.device != nullptr) poll(*c.device);
      condemn(c, code(Reason::kPeerClosed));
      return;
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
      why = event.status == -ENODEV ? code(Reason::kNoRoute) : static_cast<uint32_t>(-event.status);
      break;
    case RDMA_CM_EVENT_REJECTED:
      why = code(refusal_reason(event.data.data(), event.data_bytes));
      if (why == code(Reason::kRejected) &&
          (event.status == kNobodyListens || event.status == -ECONNREFUSED)) {
        why = ECONNREFUSED;
      }
      break;
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
      why = code(Reason::kPeerUnreachable);
      break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      if (c.device != nullptr) c.device->gone = true;
      why = code(Reason::kDeviceGone);
      break;
    default:
      return;  // changes of addresses, and others that concern nobody here
  }
  if (opening) {
    connect_failed(c, why);
  } else {
    condemn(c, why);
  }
}

void Engine::connect_failed(Connection& c, uint32_t why) {
  detach(c);
  c.state = State::kReserved;
  opening_--;
  events_.push(RecordKind::kConnectFailed, c.id, why);
}

// ---------------------------------------------------------------- outgoing

Hello Engine::hello(const Connection& c) const {
  Hello out{};
  out.magic = kMagic;
  out.version = kVersion;
  out.flags = c.device->windows ? kHelloWindows : 0;
  out.arena_address = reinterpret_cast<uint64_t>(arena_->base());
  out.arena_bytes = arena_->span_bytes();
  out.credits = c.credits;
  out.message_bytes = kMessageSlot;
  out.reads_max = c.device->limits.reads_in;
  return out;
}

void Engine::request(Connection& c) {
  const uint32_t why = prepare(c);
  if (why != 0) {
    connect_failed(c, why);
    return;
  }
  const Hello mine = hello(c);
  rdma_conn_param param{};
  param.private_data = &mine;
  param.private_data_len = sizeof mine;
  param.responder_resources = c.device->limits.reads_in;
  param.initiator_depth = c.device->limits.reads_out;
  param.retry_count = kRetries;
  param.rnr_retry_count = kRnrRetries;
  if (rdma_connect(c.cm.get(), &param) != 0) {
    connect_failed(c, last_error());
    return;
  }
  c.state = State::kConnecting;
}

void Engine::established(Connection& c) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_RTS;
  attr.min_rnr_timer = c.device->limits.rnr_timer;
  // Where it is refused the connection manager's own stands.
  (void)ibv_modify_qp(c.cm->qp, &attr, IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER);
  c.state = State::kOpen;
  c.announced = true;
  c.peer_granted = c.peer.credits;
  c.active_tick = tick_;
  opening_--;
  events_.push(c.incoming ? RecordKind::kAccepted : RecordKind::kOpened, c.id);
  mark_dirty(c);
}

// ---------------------------------------------------------------- incoming

void Engine::on_request(const CmEvent& event) {
  ConnectionId cm(event.id);
  Refusal refusal{kMagic, 0, kVersion, 0};
  Connection* c = nullptr;
  Peer peer;
  refusal.code = check_hello(event.data.data(), event.data_bytes, &peer);
  if (refusal.code == 0 && event.reads_made == 0) {
    refusal.code = static_cast<uint16_t>(RefusalCode::kMalformed);
  }
  if (refusal.code != 0) {
    counters_.protocol_errors++;
  } else if ((c = connections_.allocate()) == nullptr) {
    refusal.code = static_cast<uint16_t>(RefusalCode::kNoQueuePair);
  } else {
    counters_.connections++;
    opening_++;
    c->incoming = true;
    c->state = State::kAccepted;
    c->peer = peer;
    c->cm = std::move(cm);
    c->cm->context = context_of(c->id);
    refusal.code = accept(*c, event);
  }
  if (refusal.code == 0) return;
  rdma_cm_id* id = c != nullptr ? c->cm.get() : cm.get();
  (void)rdma_reject(id, &refusal, sizeof refusal);
  if (c == nullptr) return;
  condemn(*c, code(Reason::kRejected));
  events_.push(RecordKind::kAcceptFailed, 0, ENOBUFS);
}

// 0 or the RefusalCode.
uint16_t Engine::accept(Connection& c, const CmEvent& event) {
  set_ack_timeout(c.cm.get());
  const uint32_t why = prepare(c);
  if (why == code(Reason::kNoReceiveBuffers)) {
    return static_cast<uint16_t>(RefusalCode::kNoReceiveBuffers);
  }
  if (why != 0) return static_cast<uint16_t>(RefusalCode::kNoQueuePair);
  const Hello mine = hello(c);
  rdma_conn_param param{};
  param.private_data = &mine;
  param.private_data_len = sizeof mine;
  param.responder_resources = std::min(event.reads_answered, c.device->limits.reads_in);
  param.initiator_depth = std::min(event.reads_made, c.device->limits.reads_out);
  param.rnr_retry_count = kRnrRetries;
  if (rdma_accept(c.cm.get(), &param) != 0) {
    return static_cast<uint16_t>(RefusalCode::kNoQueuePair);
  }
  c.connected = true;
  return 0;
}

// ---------------------------------------------------------------- both

// Takes from the device what a connection needs; 0 or a Reason as a code. detach() gives it back,
// also after a failure.
uint32_t Engine::prepare(Connection& c) {
  uint32_t why = 0;
  c.device = device_for(c.cm.get(), !c.incoming, &why);
  if (c.device == nullptr) return why;
  why = make_queue_pair(c);
  return why != 0 ? why : take_credits(c);
}

// Without windows what connects out has a device of its own; see device.h.
Device* Engine::device_for(rdma_cm_id* id, bool lends, uint32_t* why) {
  ibv_context* verbs = id->verbs;
  for (auto& device : devices_) {
    if (device->verbs == verbs && (device->windows || device->lends == lends)) return device.get();
  }
  auto device = Device::create(verbs, lends, options_.windows, arena_, why);
  if (!device) return nullptr;
  // Whatever the peers do, no more receives than this can complete.
  if (!watch(epoll_fd_, device->channel_fd()) ||
      !device->reserve_completions(static_cast<uint32_t>(buffers_.capacity()))) {
    *why = code(Reason::kDeviceSetup);
    return nullptr;
  }
  device->anchor = make_anchor(id);
  devices_.push_back(std::move(device));
  return devices_.back().get();
}

// An id bound to the device of another one; none when it cannot be.
ConnectionId Engine::make_anchor(rdma_cm_id* id) {
  rdma_cm_id* raw = nullptr;
  if (rdma_create_id(channel_.get(), &raw, nullptr, RDMA_PS_TCP) != 0) return nullptr;
  ConnectionId anchor(raw);
  sockaddr_storage here{};
  const sockaddr* from = rdma_get_local_addr(id);
  memcpy(&here, from, from->sa_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  reinterpret_cast<sockaddr_in*>(&here)->sin_port = 0;  // at the same place in both families
  const bool bound = rdma_bind_addr(raw, reinterpret_cast<sockaddr*>(&here)) == 0;
  return bound && raw->verbs == id->verbs ? std::move(anchor) : nullptr;
}

uint32_t Engine::make_queue_pair(Connection& c) {
  Device& device = *c.device;
  if (!device.ready_to_receive(buffers_)) return code(Reason::kDeviceSetup);
  const Limits& limits = device.limits;
  c.depth = c.incoming ? limits.send_depth_in : limits.send_depth_out;
  if (!device.reserve_completions(c.depth)) return code(Reason::kNoQueuePair);
  c.completions = c.depth;
  device.connections++;
  for (uint32_t wanted = limits.inline_max;; wanted /= 2) {
    ibv_qp_init_attr attr{};
    attr.send_cq = attr.recv_cq = device.cq();
    attr.srq = device.srq();
    attr.qp_type = IBV_QPT_RC;
    attr.cap.max_send_wr = c.depth;
    attr.cap.max_send_sge = limits.gather_max;
    attr.cap.max_inline_data = wanted;
    if (rdma_create_qp(c.cm.get(), device.pd(), &attr) == 0) {
      c.inline_max = std::min(attr.cap.max_inline_data, kInlineMax);
      device.owners[c.cm->qp->qp_num] = c.id;
      return 0;
    }
    if (wanted < 32) return code(Reason::kNoQueuePair);
  }
}

// Buffers posted for a connection, fewer when they are scarce.
uint32_t Engine::take_credits(Connection& c) {
  Device& device = *c.device;
  const uint32_t free = device.spare + static_cast<uint32_t>(buffers_.available());
  const uint32_t wanted =
      std::min({kCreditsWanted, std::max(free / kCreditShare, kCreditsMin), free});
  if (wanted < kCreditsMin) return code(Reason::kNoReceiveBuffers);
  uint32_t have = std::min(device.spare, wanted);
  device.spare -= have;
  repost_.clear();
  while (have + repost_.size() < wanted) repost_.push_back(buffers_.take());
  const uint32_t asked = static_cast<uint32_t>(repost_.size());
  const uint32_t posted = device.post_receives(buffers_, repost_.data(), asked);
  for (uint32_t i = posted; i < asked; i++) buffers_.give(repost_[i]);
  have += posted;
  c.credits = c.granted = c.told = have;
  return have < kCreditsMin ? code(Reason::kDeviceSetup) : 0;
}

}  // namespace sealfs::rdma
