// Goal and method: device.h.
#include "native/rdma/device.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>

namespace sealfs::rdma {
namespace {

constexpr uint32_t kVendorRxe = 0xffffff;
constexpr uint32_t kVendorSiw = 0x626d74;
constexpr uint32_t kCompletionsStart = 4096;
constexpr uint32_t kCompletionsSiw = 32'768;  // it cannot make them more
constexpr uint32_t kCompletionsSlack = 64;
constexpr uint32_t kPostBatch = 32;
constexpr unsigned kAckBatch = 64;
constexpr uint8_t kReadsRxe = 4;
constexpr uint8_t kRnrTimerRxe = 26;  // 81.92 ms: rxe drowns in retries that come sooner

bool no_block(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

}  // namespace

std::unique_ptr<Device> Device::create(ibv_context* verbs, bool lends, bool windows_wanted,
                                       std::shared_ptr<Arena> arena, uint32_t* why) {
  std::unique_ptr<Device> device(new Device(verbs, lends, std::move(arena)));
  *why = device->query(windows_wanted) ? device->set_up() : code(Reason::kDeviceSetup);
  if (*why != 0) device.reset();
  return device;
}

Device::~Device() {
  if (gone) use_.removed();
  if (unacked_ > 0) ibv_ack_cq_events(cq_.get(), unacked_);  // destroying it would wait for these
}

bool Device::query(bool windows_wanted) {
  ibv_device_attr attr{};
  if (ibv_query_device(verbs, &attr) != 0) return false;
  rxe = attr.vendor_id == kVendorRxe;
  siw = attr.vendor_id == kVendorSiw;
  iwarp = verbs->device->transport_type == IBV_TRANSPORT_IWARP;
  const unsigned typed = IBV_DEVICE_MEM_WINDOW_TYPE_2A | IBV_DEVICE_MEM_WINDOW_TYPE_2B;
  windows = windows_wanted && !iwarp && attr.max_mw > 0 && (attr.device_cap_flags & typed) != 0 &&
            (attr.device_cap_flags & IBV_DEVICE_MEM_MGT_EXTENSIONS) != 0;
  const auto bound = [](auto wanted, int most) {
    return static_cast<decltype(wanted)>(std::min<int64_t>(wanted, std::max(1, most)));
  };
  limits.send_depth_out = bound(limits.send_depth_out, attr.max_qp_wr);
  limits.send_depth_in = bound(limits.send_depth_in, attr.max_qp_wr);
  limits.gather_max = bound(limits.gather_max, attr.max_sge);
  if (rxe) limits.reads_out = limits.reads_in = kReadsRxe;
  if (rxe) limits.rnr_timer = kRnrTimerRxe;
  limits.reads_out = bound(limits.reads_out, attr.max_qp_init_rd_atom);
  limits.reads_in = bound(limits.reads_in, attr.max_qp_rd_atom);
  completions_max_ = static_cast<uint32_t>(std::max(0, attr.max_cqe));
  receives_max_ = static_cast<uint32_t>(std::max(0, attr.max_srq_wr));
  // A frame needs two pieces; a chain of one frame must fit into the queue.
  return limits.gather_max >= 2 && limits.send_depth_in >= 128 && receives_max_ > 0;
}

// 0 or a Reason's code.
uint32_t Device::set_up() {
  pd_.reset(ibv_alloc_pd(verbs));
  if (!pd_) return code(Reason::kDeviceSetup);
  int access = IBV_ACCESS_LOCAL_WRITE;
  if (windows) access |= IBV_ACCESS_MW_BIND;
  if (lends) access |= IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  // The answer to an iWARP READ is a write by the peer: its sink must be open to that.
  if (iwarp) access |= IBV_ACCESS_REMOTE_WRITE;
  if (!keys_.open(arena_, pd_.get(), access)) {
    return code(errno == ENOMEM ? Reason::kMemoryLocked : Reason::kDeviceSetup);
  }
  channel_.reset(ibv_create_comp_channel(verbs));
  if (!channel_ || !no_block(channel_->fd)) return code(Reason::kDeviceSetup);
  const uint32_t entries = std::min(siw ? kCompletionsSiw : kCompletionsStart, completions_max_);
  cq_.reset(ibv_create_cq(verbs, static_cast<int>(entries), nullptr, channel_.get(), 0));
  return cq_ ? 0 : code(Reason::kDeviceSetup);
}

bool Device::reserve_completions(uint32_t count) {
  const uint32_t wanted = completions_reserved_ + count + kCompletionsSlack;
  if (wanted > completions_max_) return false;
  if (wanted > static_cast<uint32_t>(cq_->cqe)) {
    const uint32_t size = std::min(completions_max_, 2 * wanted);
    if (ibv_resize_cq(cq_.get(), static_cast<int>(size)) != 0) return false;
  }
  completions_reserved_ += count;
  return true;
}

bool Device::ready_to_receive(const Buffers& buffers) {
  if (srq_) return true;
  ibv_srq_init_attr attr{};
  attr.attr.max_wr = std::min(receives_max_, static_cast<uint32_t>(buffers.capacity()));
  attr.attr.max_sge = 1;
  srq_.reset(ibv_create_srq(pd_.get(), &attr));
  posted_.resize(buffers.capacity());
  return srq_ != nullptr;
}

uint32_t Device::post_receives(const Buffers& buffers, const uint32_t* indexes, uint32_t count) {
  ibv_recv_wr work[kPostBatch];
  ibv_sge pieces[kPostBatch];
  uint32_t posted = 0;
  while (posted < count) {
    const uint32_t now = std::min(count - posted, kPostBatch);
    const uint32_t* batch = indexes + posted;
    for (uint32_t i = 0; i < now; i++) {
      const uint64_t address = reinterpret_cast<uint64_t>(arena_->at(buffers.offset(batch[i])));
      pieces[i] = {address, kReceiveBytes, keys_.slots()->lkey};
      work[i] = {kReceiveWork | batch[i], i + 1 < now ? &work[i + 1] : nullptr, &pieces[i], 1};
    }
    ibv_recv_wr* bad = nullptr;
    const bool whole = ibv_post_srq_recv(srq_.get(), work, &bad) == 0;
    for (uint32_t i = 0; i < now && (whole || &work[i] != bad); i++, posted++) {
      posted_[batch[i]] = true;
    }
    if (!whole) break;
  }
  return posted;
}

void Device::drop_receives(Buffers& buffers) {
  srq_.reset();
  for (uint32_t i = 0; i < posted_.size(); i++) {
    if (posted_[i]) buffers.give(i);
    posted_[i] = false;
  }
  spare = 0;
}

bool Device::request_notification() {
  keys_.settle();
  if (!armed_) armed_ = ibv_req_notify_cq(cq_.get(), 0) == 0;
  return armed_;
}

void Device::take_notifications() {
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  if (ibv_get_cq_event(channel_.get(), &cq, &context) != 0) {
    gone = gone || (errno != EAGAIN && errno != EINTR);
    return;
  }
  armed_ = false;  // one event for each request
  if (++unacked_ >= kAckBatch) {
    ibv_ack_cq_events(cq_.get(), unacked_);
    unacked_ = 0;
  }
}

}  // namespace sealfs::rdma
