// sealfs_socket.node: the socket engine for src/transport/tcp.ts, which sees it through
// src/native/socket.ts. The engine outlives its JavaScript object while the poller or one of the
// shown rings holds a share of it; shutdown() ends its connections at once.
#include <napi.h>

#include "native/common/napi_support.h"
#include "native/socket/engine.h"

namespace sealfs::tcp {

class SocketEngine : public Napi::ObjectWrap<SocketEngine> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "SocketEngine",
                       {InstanceMethod<&SocketEngine::reserve>("reserve"),
                        InstanceMethod<&SocketEngine::connect>("connect"),
                        InstanceMethod<&SocketEngine::listen>("listen"),
                        InstanceMethod<&SocketEngine::submit>("submit"),
                        InstanceMethod<&SocketEngine::tick>("tick"),
                        InstanceMethod<&SocketEngine::shutdown>("shutdown")});
  }

  // new SocketEngine(arena handle)
  explicit SocketEngine(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SocketEngine>(info) {
    Napi::Env env = info.Env();
    std::shared_ptr<Arena> arena =
        open_arena_handle(env, info.Length() > 0 ? info[0] : env.Undefined());
    if (!arena) return;
    std::string error;
    engine_ = Engine::create(std::move(arena), &error);
    if (!engine_) {
      throw_error(env, "ERR_SOCKET_ENGINE", error);
      return;
    }
    // Shown once each, here: memory may have one ArrayBuffer only.
    Napi::Object self = info.This().As<Napi::Object>();
    auto& records = engine_->records();
    auto& submissions = engine_->submissions();
    self.Set("records", show_memory(env, engine_, records.memory(), records.bytes()));
    self.Set("submissions", show_memory(env, engine_, submissions.memory(), submissions.bytes()));
    self.Set("counters", show_memory(env, engine_, &engine_->counters(), sizeof(Counters)));
    self.Set("source", make_source_handle(env, engine_));
  }

  ~SocketEngine() override {
    if (engine_) engine_->shutdown();
  }

 private:
  Napi::Value reserve(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), engine_->reserve());
  }

  // (connection, numeric address, port) -> whether it began
  Napi::Value connect(const Napi::CallbackInfo& info) {
    uint32_t id = 0;
    uint32_t port = 0;
    std::string address;
    if (!read_u32(info, 0, "connection", &id) || !read_string(info, 1, "address", &address) ||
        !read_port(info, 2, &port)) {
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(),
                              engine_->connect(id, address, static_cast<uint16_t>(port)));
  }

  // (numeric address, port) -> the bound port; throws an errno
  Napi::Value listen(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    uint32_t port = 0;
    std::string address;
    if (!read_string(info, 0, "address", &address) || !read_port(info, 1, &port)) {
      return env.Undefined();
    }
    uint16_t bound = static_cast<uint16_t>(port);
    const int error = engine_->listen(address, &bound);
    if (error != 0) {
      throw_errno(env, error, "listen on " + address + " port " + std::to_string(port));
      return env.Undefined();
    }
    return Napi::Number::New(env, bound);
  }

  Napi::Value submit(const Napi::CallbackInfo& info) {
    engine_->submit();
    return info.Env().Undefined();
  }

  Napi::Value tick(const Napi::CallbackInfo& info) {
    engine_->tick();
    return info.Env().Undefined();
  }

  Napi::Value shutdown(const Napi::CallbackInfo& info) {
    engine_->shutdown();
    return info.Env().Undefined();
  }

  static bool read_port(const Napi::CallbackInfo& info, size_t index, uint32_t* port) {
    if (!read_u32(info, index, "port", port)) return false;
    if (*port <= 65535) return true;
    throw_error(info.Env(), "ERR_SOCKET_BAD_PORT", "port: a number from 0 to 65535 is needed");
    return false;
  }

  std::shared_ptr<Engine> engine_;
};

static Napi::Object start(Napi::Env env, Napi::Object exports) {
  exports.Set("SocketEngine", SocketEngine::define(env));
  return exports;
}

}  // namespace sealfs::tcp

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  return sealfs::tcp::start(env, exports);
}

NODE_API_MODULE(sealfs_socket, init)
