// Goal: owners for what libibverbs and librdmacm hand out. A call that destroys fails only while
// something else still refers to the object, or when the device is gone; owners are declared in the
// order of their dependence, so the first cannot be, and for the second nothing can be done.
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <memory>

namespace sealfs::rdma {

template <auto kDestroy>
struct Destroy {
  template <typename T>
  void operator()(T* object) const {
    (void)kDestroy(object);
  }
};

using ProtectionDomain = std::unique_ptr<ibv_pd, Destroy<ibv_dealloc_pd>>;
using MemoryRegion = std::unique_ptr<ibv_mr, Destroy<ibv_dereg_mr>>;
using CompletionChannel = std::unique_ptr<ibv_comp_channel, Destroy<ibv_destroy_comp_channel>>;
using CompletionQueue = std::unique_ptr<ibv_cq, Destroy<ibv_destroy_cq>>;
using SharedReceiveQueue = std::unique_ptr<ibv_srq, Destroy<ibv_destroy_srq>>;
using EventChannel = std::unique_ptr<rdma_event_channel, Destroy<rdma_destroy_event_channel>>;

// The queue pair of an id goes before it: afterwards the device touches no memory for it any more.
struct DestroyId {
  void operator()(rdma_cm_id* id) const {
    if (id->qp != nullptr) rdma_destroy_qp(id);
    (void)rdma_destroy_id(id);
  }
};
using ConnectionId = std::unique_ptr<rdma_cm_id, DestroyId>;

struct DestroyWindow {
  void operator()(ibv_mw* window) const { (void)ibv_dealloc_mw(window); }
};
using MemoryWindow = std::unique_ptr<ibv_mw, DestroyWindow>;

}  // namespace sealfs::rdma
