// sealfs_rdma.node: the rdma engine for src/transport/rdma.ts, which sees it through
// src/native/rdma.ts, and what devices this machine has.
//
// SEALFS_RDMA_WINDOWS=0 keeps it from using memory windows (docs/security.md says what that means).
#include <napi.h>
#include <stdlib.h>
#include <string.h>

#include "native/common/engine_object.h"
#include "native/rdma/discover.h"
#include "native/rdma/engine.h"

namespace sealfs::rdma {
namespace {

// new RdmaEngine(arena handle)
struct RdmaTraits {
  static constexpr const char* kName = "RdmaEngine";
  static constexpr const char* kErrorCode = "ERR_RDMA_ENGINE";

  static std::shared_ptr<Engine> create(const Napi::CallbackInfo& info,
                                        std::shared_ptr<Arena> arena, std::string* error) {
    Options options;
    const char* windows = getenv("SEALFS_RDMA_WINDOWS");
    options.windows = windows == nullptr || strcmp(windows, "0") != 0;
    return Engine::create(std::move(arena), options, error);
  }

  // breakQueuePair(connection), for tests: as a failing network would.
  static void decorate(Napi::Object self, Engine& engine) {
    std::weak_ptr<Engine> weak = engine.weak_from_this();
    self.Set("breakQueuePair",
             Napi::Function::New(self.Env(), [weak](const Napi::CallbackInfo& info) {
               uint32_t id = 0;
               const auto held = weak.lock();
               if (held && read_u32(info, 0, "connection", &id)) held->break_queue_pair(id);
             }));
  }
};

Napi::Value gid_object(Napi::Env env, const GidInfo& gid) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("index", Napi::Number::New(env, gid.index));
  out.Set("gid", Napi::String::New(env, gid.gid));
  out.Set("type", Napi::String::New(env, gid.type));
  out.Set("netdev", Napi::String::New(env, gid.netdev));
  out.Set("address", Napi::String::New(env, gid.address));
  return out;
}

Napi::Value limits_object(Napi::Env env, const DeviceInfo& device) {
  Napi::Object out = Napi::Object::New(env);
  out.Set("queuePairs", Napi::Number::New(env, device.queue_pairs_max));
  out.Set("sendDepth", Napi::Number::New(env, device.send_depth_max));
  out.Set("completions", Napi::Number::New(env, device.completions_max));
  out.Set("sharedReceives", Napi::Number::New(env, device.shared_receives_max));
  out.Set("gather", Napi::Number::New(env, device.gather_max));
  out.Set("readsOut", Napi::Number::New(env, device.reads_out_max));
  out.Set("readsIn", Napi::Number::New(env, device.reads_in_max));
  out.Set("windows", Napi::Number::New(env, device.windows_max));
  out.Set("activeMtu", Napi::Number::New(env, device.active_mtu));
  return out;
}

// devices() -> RdmaDevice[] of src/native/rdma.ts
Napi::Value devices(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Array out = Napi::Array::New(env);
  uint32_t count = 0;
  for (const DeviceInfo& device : discover_devices()) {
    Napi::Object one = Napi::Object::New(env);
    one.Set("name", Napi::String::New(env, device.name));
    one.Set("kind", Napi::String::New(env, device.kind));
    one.Set("nodeGuid", Napi::String::New(env, device.node_guid));
    one.Set("portState", Napi::String::New(env, device.port_state));
    one.Set("linkLayer", Napi::String::New(env, device.link_layer));
    Napi::Array gids = Napi::Array::New(env);
    for (size_t i = 0; i < device.gids.size(); i++) {
      gids.Set(static_cast<uint32_t>(i), gid_object(env, device.gids[i]));
    }
    one.Set("gids", gids);
    one.Set("limits", limits_object(env, device));
    one.Set("windows", Napi::Boolean::New(env, device.windows));
    one.Set("unusable", Napi::String::New(env, device.unusable));
    out.Set(count++, one);
  }
  return out;
}

Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("RdmaEngine", engine::EngineObject<Engine, RdmaTraits>::define(env));
  exports.Set("devices", Napi::Function::New(env, devices));
  return exports;
}

}  // namespace
}  // namespace sealfs::rdma

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::rdma::start(env, exports);
}

NODE_API_MODULE(sealfs_rdma, init)
