// Goal: an end of the rdma protocol (docs/formats/rdma.md) that says and does what it is told,
// however wrong, so that tests can see what an Engine makes of it. Method: bare verbs over one
// piece of registered memory, everything asynchronous, driven by step() beside the engine's own.
//
//   memory   [ arena, announced: 2 MiB | receive buffers | send buffers ]
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "native/rdma/protocol.h"
#include "native/rdma/verbs.h"

namespace sealfs::rdma {

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kLiarArena = 2 << 20;
constexpr uint32_t kLiarBuffers = 64;  // each way
constexpr uint32_t kLiarBuffer = 20'480;

struct FreeMemory {
  void operator()(uint8_t* memory) const { free(memory); }
};

// A frame as it came, and the key that it invalidated here (0: none).
struct Heard {
  Bytes bytes;
  uint32_t invalidated = 0;

  FramePrefix prefix() const {
    FramePrefix out{};
    memcpy(&out, bytes.data(), sizeof out);
    return out;
  }
  Descriptor descriptor(uint32_t index) const {
    Descriptor out{};
    memcpy(&out, bytes.data() + sizeof(FramePrefix) + index * sizeof out, sizeof out);
    return out;
  }
};

class Liar {
 public:
  Hello hello{};        // what it says of itself
  bool accepts = true;  // else it answers a request with `refusal`
  Bytes refusal;        // private data
  bool established = false;
  bool gone = false;  // told that the other end closed
  bool rejected = false;
  Bytes answer;              // private data of the peer's acceptance or rejection
  std::vector<ibv_wc> done;  // completions of sends, in order
  std::vector<Heard> heard;

  Liar() : memory_(static_cast<uint8_t*>(aligned_alloc(4096, kMemory))) {
    memset(memory_.get(), 0, kMemory);
    hello.magic = kMagic;
    hello.version = kVersion;
    hello.arena_address = reinterpret_cast<uint64_t>(memory_.get());
    hello.arena_bytes = kLiarArena;
    hello.credits = 32;
    hello.message_bytes = kMessageSlot;
    hello.reads_max = 4;
    channel_.reset(rdma_create_event_channel());
    if (!channel_) return;  // a machine without RDMA, where the tests skip themselves
    EXPECT_EQ(fcntl(channel_->fd, F_SETFL, O_NONBLOCK), 0);
  }

  // Begins to connect, from and to numeric IPv4 addresses.
  void connect(const char* from, const char* to, uint16_t port) {
    rdma_cm_id* id = nullptr;
    ASSERT_EQ(rdma_create_id(channel_.get(), &id, nullptr, RDMA_PS_TCP), 0);
    id_.reset(id);
    sockaddr_in here = address(from, 0);
    sockaddr_in there = address(to, port);
    ASSERT_EQ(rdma_resolve_addr(id, reinterpret_cast<sockaddr*>(&here),
                                reinterpret_cast<sockaddr*>(&there), 2000),
              0);
  }

  uint16_t listen(const char* at) {
    rdma_cm_id* id = nullptr;
    EXPECT_EQ(rdma_create_id(channel_.get(), &id, nullptr, RDMA_PS_TCP), 0);
    listener_.reset(id);
    sockaddr_in here = address(at, 0);
    EXPECT_EQ(rdma_bind_addr(id, reinterpret_cast<sockaddr*>(&here)), 0);
    EXPECT_EQ(rdma_listen(id, 8), 0);
    return ntohs(rdma_get_src_port(id));
  }

  void step() {
    rdma_cm_event* event = nullptr;
    while (rdma_get_cm_event(channel_.get(), &event) == 0) on_event(event);
    ibv_wc completion;
    while (cq_ && ibv_poll_cq(cq_.get(), 1, &completion) > 0) on_completion(completion);
  }

  uint8_t* arena() { return memory_.get(); }
  uint32_t rkey() const { return mr_->rkey; }
  Descriptor source(uint32_t at, uint32_t bytes) {
    return {static_cast<uint16_t>(DescriptorKind::kSource),
            0,
            rkey(),
            hello.arena_address + at,
            bytes,
            0};
  }

  // Sends these bytes as one message; with `invalidate` that key of the peer's ends.
  void send(const Bytes& bytes, uint32_t invalidate = 0) {
    const uint32_t at = kLiarArena + (kLiarBuffers + sends_++ % kLiarBuffers) * kLiarBuffer;
    ASSERT_LE(bytes.size(), kLiarBuffer);
    memcpy(memory_.get() + at, bytes.data(), bytes.size());
    const ibv_wr_opcode opcode = invalidate == 0 ? IBV_WR_SEND : IBV_WR_SEND_WITH_INV;
    ibv_send_wr work{};
    work.invalidate_rkey = invalidate;
    post(opcode, at, static_cast<uint32_t>(bytes.size()), work);
  }

  // RDMA WRITE to or READ from the peer's memory, into or from the beginning of the arena.
  void access(ibv_wr_opcode opcode, uint64_t remote, uint32_t rkey, uint32_t bytes) {
    ibv_send_wr work{};
    work.wr.rdma.remote_addr = remote;
    work.wr.rdma.rkey = rkey;
    post(opcode, 0, bytes, work);
  }

  // The device goes silent: nobody is told.
  void vanish() { rdma_destroy_qp(id_.get()); }

 private:
  static constexpr size_t kMemory = kLiarArena + 2 * kLiarBuffers * kLiarBuffer;

  static sockaddr_in address(const char* text, uint16_t port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(port);
    EXPECT_EQ(inet_pton(AF_INET, text, &out.sin_addr), 1);
    return out;
  }

  void on_event(rdma_cm_event* event) {
    const rdma_cm_event_type type = event->event;
    rdma_cm_id* id = event->id;
    const rdma_conn_param& param = event->param.conn;
    const auto* data = static_cast<const uint8_t*>(param.private_data);
    if (data != nullptr) answer.assign(data, data + param.private_data_len);
    rdma_ack_cm_event(event);
    switch (type) {
      case RDMA_CM_EVENT_ADDR_RESOLVED:
        EXPECT_EQ(rdma_resolve_route(id, 2000), 0);
        return;
      case RDMA_CM_EVENT_ROUTE_RESOLVED:
        begin(false);
        return;
      case RDMA_CM_EVENT_CONNECT_REQUEST:
        if (id_) (void)id_.release();  // a second try of the same client: leaked, it is a test
        id_.reset(id);
        if (accepts) {
          begin(true);
        } else {
          EXPECT_EQ(rdma_reject(id, refusal.data(), static_cast<uint8_t>(refusal.size())), 0);
        }
        return;
      case RDMA_CM_EVENT_ESTABLISHED:
        established = true;
        return;
      case RDMA_CM_EVENT_REJECTED:
        rejected = true;
        return;
      case RDMA_CM_EVENT_DISCONNECTED:
        gone = true;
        return;
      default:
        return;
    }
  }

  void begin(bool incoming) {
    ibv_context* verbs = id_->verbs;
    pd_.reset(ibv_alloc_pd(verbs));
    cq_.reset(ibv_create_cq(verbs, 512, nullptr, nullptr, 0));
    ASSERT_TRUE(pd_ && cq_);
    mr_.reset(
        ibv_reg_mr(pd_.get(), memory_.get(), kMemory,
                   IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE));
    ASSERT_TRUE(mr_);
    ibv_qp_init_attr attr{};
    attr.qp_type = IBV_QPT_RC;
    attr.send_cq = attr.recv_cq = cq_.get();
    attr.cap = {kLiarBuffers, kLiarBuffers, 1, 1, 0};
    attr.sq_sig_all = 1;
    ASSERT_EQ(rdma_create_qp(id_.get(), pd_.get(), &attr), 0);
    for (uint32_t i = 0; i < kLiarBuffers; i++) receive(i);
    rdma_conn_param param{};
    param.private_data = &hello;
    param.private_data_len = sizeof hello;
    param.responder_resources = 4;
    param.initiator_depth = 4;
    param.retry_count = 7;
    param.rnr_retry_count = 7;
    ASSERT_EQ(incoming ? rdma_accept(id_.get(), &param) : rdma_connect(id_.get(), &param), 0);
  }

  void receive(uint32_t index) {
    ibv_sge piece{reinterpret_cast<uint64_t>(buffer(index)), kLiarBuffer, mr_->lkey};
    ibv_recv_wr work{};
    work.wr_id = index;
    work.sg_list = &piece;
    work.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    (void)ibv_post_recv(id_->qp, &work, &bad);
  }

  uint8_t* buffer(uint32_t index) { return memory_.get() + kLiarArena + index * kLiarBuffer; }

  void post(ibv_wr_opcode opcode, uint32_t at, uint32_t bytes, ibv_send_wr work) {
    ibv_sge piece{reinterpret_cast<uint64_t>(memory_.get() + at), bytes, mr_->lkey};
    work.wr_id = kSendWork;
    work.opcode = opcode;
    work.sg_list = &piece;
    work.num_sge = 1;
    ibv_send_wr* bad = nullptr;
    ASSERT_EQ(ibv_post_send(id_->qp, &work, &bad), 0);
  }

  void on_completion(const ibv_wc& completion) {
    if (completion.wr_id == kSendWork) {
      done.push_back(completion);
      return;
    }
    if (completion.status != IBV_WC_SUCCESS) return;
    const auto index = static_cast<uint32_t>(completion.wr_id);
    Heard one;
    one.bytes.assign(buffer(index), buffer(index) + completion.byte_len);
    // IBV_WC_IP_CSUM_OK is what rxe says instead (docs/rdma-machine.md).
    if ((completion.wc_flags & (IBV_WC_WITH_INV | IBV_WC_IP_CSUM_OK)) != 0) {
      one.invalidated = completion.invalidated_rkey;
    }
    heard.push_back(std::move(one));
    receive(index);
  }

  static constexpr uint64_t kSendWork = 1 << 20;

  std::unique_ptr<uint8_t, FreeMemory> memory_;
  uint32_t sends_ = 0;
  EventChannel channel_;
  ProtectionDomain pd_;
  CompletionQueue cq_;
  MemoryRegion mr_;
  ConnectionId listener_;
  ConnectionId id_;  // its queue pair goes before the rest
};

}  // namespace sealfs::rdma
