// Goal: a transport engine as a JavaScript class, written once; its typed face is
// NativeTransportEngine of src/native/engine.ts.
//
// Engine is an EventSource with
//   uint32_t reserve();                        // 0: too many connections
//   bool connect(uint32_t id, const std::string& address, uint16_t port, const std::string&
//   source); int listen(const std::string& address, uint16_t* port);   // 0 or an errno; sets the
//   bound port void tick(); void shutdown(); Records& records(); Submissions& submissions();
//   Counters& counters();   // engine_rings.h void withdraw(uint32_t id, uint32_t tag);  //
//   optional: becomes a method if it is there
//
// Traits has
//   static constexpr const char* kName;        // of the class
//   static constexpr const char* kErrorCode;   // of an Error when create() fails
//   static std::shared_ptr<Engine> create(const Napi::CallbackInfo& info,
//                                         std::shared_ptr<Arena> arena, std::string* error);
//       // info[0] is the arena, what follows is the engine's own; null with a reason in *error,
//       // or with a JavaScript exception pending and *error empty
//   static void decorate(Napi::Object self, Engine& engine);  // optional: properties of its own
//
// The engine outlives its JavaScript object while the poller or one of the shown rings holds a
// share of it; shutdown() ends its connections at once.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/common/engine_layout.generated.h"
#include "native/common/napi_support.h"

namespace sealfs::engine {

template <typename Engine>
concept WithdrawsAtOnce = requires(Engine& e) {
  e.withdraw(uint32_t{}, uint32_t{});
};

template <typename Traits, typename Engine>
concept Decorates = requires(Napi::Object self, Engine& e) {
  Traits::decorate(self, e);
};

template <typename Engine, typename Traits>
class EngineObject : public Napi::ObjectWrap<EngineObject<Engine, Traits>> {
  using Base = Napi::ObjectWrap<EngineObject<Engine, Traits>>;

 public:
  static Napi::Function define(Napi::Env env) {
    std::vector<typename Base::PropertyDescriptor> methods{
        Base::template InstanceMethod<&EngineObject::reserve>("reserve"),
        Base::template InstanceMethod<&EngineObject::connect>("connect"),
        Base::template InstanceMethod<&EngineObject::listen>("listen"),
        Base::template InstanceMethod<&EngineObject::submit>("submit"),
        Base::template InstanceMethod<&EngineObject::tick>("tick"),
        Base::template InstanceMethod<&EngineObject::shutdown>("shutdown")};
    if constexpr (WithdrawsAtOnce<Engine>) {
      methods.push_back(Base::template InstanceMethod<&EngineObject::withdraw>("withdraw"));
    }
    return Base::DefineClass(env, Traits::kName, methods);
  }

  // new (arena handle, …)
  explicit EngineObject(const Napi::CallbackInfo& info) : Base(info) {
    Napi::Env env = info.Env();
    std::shared_ptr<Arena> arena =
        open_arena_handle(env, info.Length() > 0 ? info[0] : env.Undefined());
    if (!arena) return;
    std::string error;
    engine_ = Traits::create(info, std::move(arena), &error);
    if (!engine_) {
      if (!error.empty()) throw_error(env, Traits::kErrorCode, error);
      return;
    }
    // Shown once each, here: memory may have one ArrayBuffer only.
    Napi::Object self = info.This().template As<Napi::Object>();
    auto& records = engine_->records();
    auto& submissions = engine_->submissions();
    self.Set("records", show_memory(env, engine_, records.memory(), records.bytes()));
    self.Set("submissions", show_memory(env, engine_, submissions.memory(), submissions.bytes()));
    self.Set("counters", show_memory(env, engine_, &engine_->counters(), sizeof(Counters)));
    self.Set("source", make_source_handle(env, engine_));
    if constexpr (Decorates<Traits, Engine>) Traits::decorate(self, *engine_);
  }

  ~EngineObject() override {
    if (engine_) engine_->shutdown();
  }

 private:
  Napi::Value reserve(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), engine_->reserve());
  }

  // (connection, numeric address, port, numeric local address?) -> whether it began
  Napi::Value connect(const Napi::CallbackInfo& info) {
    uint32_t id = 0;
    uint32_t port = 0;
    std::string address;
    std::string source;
    const bool sourced = info.Length() > 3 && !info[3].IsUndefined();
    if (!read_u32(info, 0, "connection", &id) || !read_string(info, 1, "address", &address) ||
        !read_port(info, 2, &port) || (sourced && !read_string(info, 3, "source", &source))) {
      return info.Env().Undefined();
    }
    return Napi::Boolean::New(info.Env(),
                              engine_->connect(id, address, static_cast<uint16_t>(port), source));
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

  // (connection, tag): after return nobody writes to the landing
  Napi::Value withdraw(const Napi::CallbackInfo& info) {
    uint32_t id = 0;
    uint32_t tag = 0;
    if (read_u32(info, 0, "connection", &id) && read_u32(info, 1, "tag", &tag)) {
      if constexpr (WithdrawsAtOnce<Engine>) engine_->withdraw(id, tag);
    }
    return info.Env().Undefined();
  }

  static bool read_port(const Napi::CallbackInfo& info, size_t index, uint32_t* port) {
    if (!read_u32(info, index, "port", port)) return false;
    if (*port <= 65535) return true;
    throw_error(info.Env(), "ERR_BAD_PORT", "port: a number from 0 to 65535 is needed");
    return false;
  }

  std::shared_ptr<Engine> engine_;
};

}  // namespace sealfs::engine
